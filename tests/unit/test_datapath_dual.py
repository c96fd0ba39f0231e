"""Values through the dual-side datapath: results by hand, wrapped sums, and that a wrong plan or packing shows."""

from dataclasses import replace

import numpy as np
import pytest

from crispsim.sim.activations import GivenColumns
from crispsim.sim.archs import ARCHITECTURES
from crispsim.sim.datapath import DatapathError
from crispsim.sim.datapath.dual import multiply, multiply_condensed
from crispsim.sim.datapath.dual_store import condense
from crispsim.sim.datapath.product import difference
from crispsim.sim.machine import Machine
from crispsim.sim.plan import (
    ACTIVE,
    FIRST_CORE,
    ITEM_COLUMN,
    MEMBER,
    PER_STEP,
    REPEAT,
    STEPS,
    STREAM_TILE_HI,
    STREAM_TILE_LO,
    TAIL_COLUMNS,
    TEAM_TILE_HI,
    TEAM_TILE_LO,
    WAVE_HI,
    WAVE_LO,
)
from crispsim.sim.weights import Weights

pytestmark = pytest.mark.kernel

SMALL = {
    "dstc.tile_rows": 4, "dstc.tile_columns": 5, "dstc.slice_positions": 3, "dstc.step_rows": 2,
    "dstc.step_columns": 2, "dstc.accumulator_values_per_cycle": 3,
}  # fmt: skip
MACHINE = Machine.load("edge", SMALL)  # 2 x 2 cores
S, K, P = 13, 11, 12  # two bands, the last with one row of cores; ragged rows, columns and slices
STREAM_COLUMNS = [PER_STEP, MEMBER, ITEM_COLUMN, STREAM_TILE_LO, STREAM_TILE_HI]  # the others are time only
ONE_CORE = Machine.load(MACHINE, {"core.count": 1, "dstc.core_columns": 1})


def lower(machine, weights, activations):
    given_weights = Weights(shape=weights.shape, matrix=weights)
    how = ARCHITECTURES["dstc"].setup(machine, given_weights, GivenColumns(nonzero=activations != 0))
    return how.lower(machine, weights.shape[0], activations.shape[1])


class Case:
    """Operands a quarter of which is nonzero, their plan, and what their product must be."""

    def __init__(self, machine=MACHINE):
        rng = np.random.default_rng(0)
        self.machine = machine
        self.weights = (rng.integers(1, 128, (S, K)) * (rng.random((S, K)) < 0.25)).astype(np.int8)
        self.activations = (rng.integers(1, 128, (K, P)) * (rng.random((K, P)) < 0.25)).astype(np.int8)
        self.weights[:4, 3:6] = 0  # a slice of the first tile that no core takes
        self.weights[4:8] = 0  # a row of cores without steps in the first band
        self.lowered = lower(machine, self.weights, self.activations)
        self.expected = (self.weights.astype(np.int64) @ self.activations).astype(np.int32)
        dstc = machine.dstc
        self.a = condense(self.weights, dstc.tile_rows, dstc.slice_positions)
        self.b = condense(self.activations.T, dstc.tile_columns, dstc.slice_positions)

    def fault(self, *, a=None, b=None, item_slices=None, weight_streams=None, **tables):
        """What is wrong with the result when the plan has these tables, or the machine these operands."""
        lowered = replace(
            self.lowered,
            plan=replace(self.lowered.plan, **tables),
            item_slices=self.lowered.item_slices if item_slices is None else item_slices,
            weight_streams=weight_streams or self.lowered.weight_streams,
        )
        try:
            got = multiply_condensed(lowered, self.machine, a or self.a, b or self.b)
        except DatapathError as error:
            return str(error)
        return difference(got, self.expected)

    def assert_every_number_shows(self, name, change, rows=slice(None), columns=slice(None)):
        """Change one number of a table after the other."""
        table = getattr(self.lowered.plan, name)
        for row in range(len(table))[rows]:
            for column in np.arange(table.shape[1])[columns]:
                changed = table.copy()
                changed[row, column] += change
                assert self.fault(**{name: changed}), (name, row, column)

    @property
    def work(self):
        """The tile rows of cores; those of streams follow."""
        return int(self.lowered.plan.teams[:, TEAM_TILE_HI].max())


def test_the_right_plan_gives_the_product():
    case = Case()
    assert case.fault() is None
    assert difference(multiply(case.lowered, MACHINE, case.weights, case.activations), case.expected) is None


def test_by_hand():
    # Rows (1, -2, 0, 3) and (0, 0, 4, 0), X = (1, 10, 100, -3) and (2, 0, 1, 1): 1 - 20 - 9, 400; 2 + 3, 4.
    weights = np.array([[1, -2, 0, 3], [0, 0, 4, 0]], np.int8)
    activations = np.array([[1, 2], [10, 0], [100, 1], [-3, 1]], np.int8)
    got = multiply(lower(MACHINE, weights, activations), MACHINE, weights, activations)
    assert got.dtype == np.int32
    assert got.tolist() == [[-28, 5], [400, 4]]


@pytest.mark.parametrize(("bits", "expected"), [(8, -16), (16, 25072), (32, 90608)])
def test_sums_wrap_at_the_bits_of_a_sum(bits, expected):
    # 7 * 127 * 127 - 128 * 127 - 99 * 61 = 90608 = 65536 + 25072 = 354 * 256 - 16.
    weights = np.array([[127] * 7 + [-128, -99]], np.int8)
    activations = np.array([127] * 7 + [127, 61], np.int8)[:, None]
    machine = Machine.load(MACHINE, {"sum_bits": bits})
    assert multiply(lower(machine, weights, activations), machine, weights, activations).tolist() == [[expected]]


@pytest.mark.parametrize("which", ["weights", "activations", "both", "nowhere together"])
def test_operands_without_nonzeros_give_zeros(which):
    weights, activations = np.ones((S, K), np.int8), np.ones((K, P), np.int8)
    if which in ("weights", "both"):
        weights[:] = 0
    if which in ("activations", "both"):
        activations[:] = 0
    if which == "nowhere together":  # a zero-cycle step for every slice
        weights[:, ::2] = 0
        activations[1::2] = 0
    lowered = lower(MACHINE, weights, activations)
    assert len(lowered.plan.waves) == (0 if which != "nowhere together" else 4 * 4 * 3)
    assert lowered.plan.waves.sum() == 0
    assert not multiply(lowered, MACHINE, weights, activations).any()


@pytest.mark.parametrize("tile", [1, 32, 63, 64])
def test_tiles_up_to_a_whole_word(tile):
    rng = np.random.default_rng(tile)
    machine = Machine.load(
        "edge", {"dstc.tile_rows": tile, "dstc.tile_columns": tile, "dstc.accumulator_bytes": 4 * tile * tile}
    )
    weights, activations = rng.integers(-128, 128, (65, 9), np.int8), rng.integers(-128, 128, (9, 65), np.int8)
    got = multiply(lower(machine, weights, activations), machine, weights, activations)
    assert (got == weights.astype(np.int64) @ activations).all()


# Plans


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("advance", 1), ("advance", -1), ("item_sharers", 1), ("item_sharers", -1), ("waves", 1), ("waves", -1),
        ("item_bytes", 1), ("item_bytes", -1), ("item_metadata_bytes", 1), ("item_metadata_bytes", -1),
        ("teams", 1), ("teams", -1), ("team_streams", 1), ("team_streams", -1),
    ],
)  # fmt: skip
def test_any_wrong_number_of_a_table_shows(name, change):
    Case().assert_every_number_shows(name, change)


@pytest.mark.parametrize("change", [1, -1])
def test_any_wrong_number_of_a_tile_or_stream_shows(change):
    case = Case()
    tiles = case.lowered.plan.tiles
    assert (tiles[: case.work, WAVE_LO] == tiles[: case.work, WAVE_HI]).any()
    case.assert_every_number_shows(
        "tiles", change, slice(case.work), [REPEAT, WAVE_LO, WAVE_HI, STEPS, TAIL_COLUMNS, ACTIVE]
    )
    case.assert_every_number_shows("tiles", change, slice(case.work, None), [REPEAT, WAVE_LO, WAVE_HI, STEPS])
    case.assert_every_number_shows("streams", change, columns=STREAM_COLUMNS)
    case.assert_every_number_shows("drain_bytes", change, slice(case.work))


@pytest.mark.parametrize("change", [1, -1])
def test_a_stream_that_should_bring_nothing_shows(change):
    weights, activations = np.zeros((4, 3), np.int8), np.ones((3, 5), np.int8)
    lowered = lower(ONE_CORE, weights, activations)
    assert len(lowered.plan.tiles) == 1
    for stream, column in np.ndindex(2, 2):
        streams = lowered.plan.streams.copy()
        streams[stream, [STREAM_TILE_LO, STREAM_TILE_HI][column]] += change
        with pytest.raises(DatapathError):
            multiply(replace(lowered, plan=replace(lowered.plan, streams=streams)), ONE_CORE, weights, activations)


def test_a_stream_that_moves_too_far_names_the_step():
    case = Case()
    advance = case.lowered.plan.advance.copy()
    advance[0, 0] += 1
    assert case.fault(advance=advance).startswith("dual: tile row 0, wave row 0: the core does not stand on the next")
    advance[0, 0] = 0
    assert "a stream is not moved on" in case.fault(advance=advance)


def test_streams_that_move_too_far_together_show():
    case = Case()
    for wave in range(len(case.lowered.plan.waves) - 1):
        advance = case.lowered.plan.advance.copy()
        advance[wave : wave + 2] += [[1], [-1]]
        assert case.fault(advance=advance), wave


def without_step(case, wave):
    """A plan that agrees with itself but leaves out a step: streams move on, its items have a sharer less."""
    plan = case.lowered.plan
    tiles, advance = plan.tiles.copy(), plan.advance.copy()
    for team in plan.teams.tolist():
        rows = slice(team[TEAM_TILE_LO], team[TEAM_TILE_HI])
        lo, hi = tiles[rows.start, WAVE_LO], tiles[rows.stop - 1, WAVE_HI]
        if lo <= wave < hi - 1:
            advance[wave + 1] += advance[wave]
        if lo <= wave < hi:
            streams, items = plan.team_streams[team[FIRST_CORE]], plan.advance[lo : wave + 1].sum(axis=0) - 1
        tiles[rows, WAVE_LO] -= tiles[rows, WAVE_LO] > wave
        tiles[rows, WAVE_HI] -= tiles[rows, WAVE_HI] > wave
    sharers = plan.item_sharers.copy()
    for stream, item in zip(streams, items, strict=True):
        sharers[tiles[plan.streams[stream, STREAM_TILE_LO], WAVE_LO] + item, 0] -= 1
    return {
        "tiles": tiles,
        "advance": np.delete(advance, wave, axis=0),
        "waves": np.delete(plan.waves, wave, axis=0),
        "item_sharers": sharers,
    }


def test_a_step_left_out_shows_even_where_the_plan_agrees_with_itself():
    case = Case()
    waves = case.lowered.plan.waves
    assert (waves.sum(axis=1) == 0).any()  # a zero-cycle step, which changes no result, among them
    for wave in range(len(waves)):
        fault = case.fault(**without_step(case, wave))
        assert "the core does not stand on the next slice" in fault or "the tile ends before the last slice" in fault


def test_a_plan_for_other_zeros_shows():
    case = Case()
    for place in np.ndindex(S, K):
        weights = case.weights.copy()
        weights[place] = weights[place] == 0  # one nonzero more or less
        with pytest.raises(DatapathError):
            multiply(lower(MACHINE, weights, case.activations), MACHINE, case.weights, case.activations)


def test_the_same_zeros_with_other_values_take_the_same_plan():
    case = Case()
    got = multiply(case.lowered, MACHINE, -case.weights, case.activations)
    assert difference(got, -case.expected) is None


def test_swapped_repeated_and_missing_tiles_show():
    case = Case()
    plan = case.lowered.plan
    lo, hi = plan.teams[0, [TEAM_TILE_LO, TEAM_TILE_HI]]
    assert hi - lo == 4
    for order in ([1, 0, 2, 3], [2, 3, 0, 1], [0, 0, 2, 3]):
        rows = [*(lo + np.array(order)), *range(hi, len(plan.tiles))]
        assert case.fault(tiles=plan.tiles[rows], drain_bytes=plan.drain_bytes[rows])
    for repeat, message in [(0, "no drain wrote this result"), (2, "drains other bytes")]:
        tiles = plan.tiles.copy()
        tiles[hi - 1 if repeat == 0 else lo, 0] = repeat
        assert message in case.fault(tiles=tiles)
    teams = plan.teams.copy()
    teams[0, TEAM_TILE_HI] += 1
    assert "the core has had all its tiles" in case.fault(teams=teams)
    teams[:2] = plan.teams[0]
    streams = plan.team_streams.copy()
    streams[1] = streams[0]
    assert "a result is drained a second time" in case.fault(teams=teams, team_streams=streams)


def test_drains_of_other_sizes_show():
    case = Case()
    for row in range(case.work):
        drains = case.lowered.plan.drain_bytes.copy()
        drains[row] += 1
        assert f"tile row {row}, " in case.fault(drain_bytes=drains)


def test_items_of_other_slices_show():
    case = Case()
    slices = case.lowered.item_slices
    for item in range(len(slices)):
        for change in (-1, 1, 1000):
            changed = slices.copy()
            changed[item] += change
            assert case.fault(item_slices=changed), (item, change)


def test_items_out_of_order_show_even_where_every_core_finds_its_own():
    # Two cores side by side; the first takes a step on slice 0 only, the second on slice 1 only.
    machine = Machine.load(MACHINE, {"core.count": 2, "dstc.core_columns": 2})
    weights, activations = np.ones((4, 6), np.int8), np.ones((6, 10), np.int8)
    activations[3:, :5] = activations[:3, 5:] = 0
    lowered = lower(machine, weights, activations)
    plan = lowered.plan
    assert lowered.item_slices.tolist() == [0, 1, 0, 1]  # of each column's stream, then two of the weights'
    assert plan.advance.tolist() == [[1, 1], [2, 1]]
    swapped = replace(
        lowered, plan=replace(plan, advance=plan.advance[::-1].copy()), item_slices=np.array([0, 1, 1, 0])
    )
    swapped.plan.advance[:, 1] = 1
    with pytest.raises(DatapathError, match="stream 2: its items are not in the order of their slices"):
        multiply(swapped, machine, weights, activations)


def test_streams_of_the_wrong_cores_show():
    case = Case()
    own = case.lowered.weight_streams
    assert case.fault(weight_streams=own[::-1])
    assert case.fault(weight_streams=own[:1]).startswith("1 streams for 2 core rows")
    assert case.fault(team_streams=case.lowered.plan.team_streams[:, ::-1].copy())


def test_an_item_that_no_core_takes_shows():
    # Two slices; the second has weights, but no activations. Its item is added as the last of the weights' stream.
    weights, activations = np.ones((4, 6), np.int8), np.ones((6, 5), np.int8)
    activations[3:] = 0
    lowered = lower(ONE_CORE, weights, activations)
    plan = lowered.plan
    assert lowered.item_slices.tolist() == [0, 0]
    tiles = plan.tiles.copy()
    tiles[-1, WAVE_HI] += 1
    longer = replace(
        lowered,
        plan=replace(
            plan,
            tiles=tiles,
            item_bytes=np.append(plan.item_bytes, [[12 + 2]], axis=0),
            item_metadata_bytes=np.append(plan.item_metadata_bytes, [[2]], axis=0),
            item_sharers=np.append(plan.item_sharers, [[0]], axis=0),
        ),
        item_slices=np.array([0, 0, 1]),
    )
    with pytest.raises(DatapathError, match="item row 2: 0 cores take it, of 0 planned"):
        multiply(longer, ONE_CORE, weights, activations)


def test_other_products_than_issued_show():
    case = Case()
    with pytest.raises(DatapathError, match="products made"):
        multiply(replace(case.lowered, macs_issued=1), MACHINE, case.weights, case.activations)


def test_a_machine_with_other_steps_shows():
    case = Case()
    for change in ({"dstc.step_rows": 1}, {"dstc.step_columns": 1}, {"dstc.accumulator_values_per_cycle": 1}):
        with pytest.raises(DatapathError, match="busy or stalled cycles"):
            multiply(case.lowered, Machine.load(MACHINE, change), case.weights, case.activations)


# Packed operands


@pytest.mark.parametrize("side", ["a", "b"])
def test_every_flipped_bit_shows(side):
    case = Case()
    operand, positions = getattr(case, side), MACHINE.dstc.slice_positions
    for tile, position in np.ndindex(operand.words.shape):
        for bit in [*range(6), 63]:
            words = operand.words.copy()
            words[tile, position] ^= np.uint64(1) << np.uint64(bit)
            fault = case.fault(**{side: replace(operand, words=words)})
            if operand.slice_maps[tile, 0] >> (position // positions) & 1:
                assert "the set bits of a bitmap" in fault, (tile, position, bit)
            else:  # a slice without nonzeros: nobody brings it
                assert fault is None


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_bit_beyond_its_tile_shows(side):
    case = Case()
    operand = getattr(case, side)
    for tile, position in np.argwhere(operand.words).tolist():
        words = operand.words.copy()
        word = int(words[tile, position])
        words[tile, position] = word ^ 1 << word.bit_length() - 1 ^ 1 << 63
        assert "the set bits of a bitmap" in case.fault(**{side: replace(operand, words=words)})


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_moved_bit_shows(side):
    case = Case()
    operand = getattr(case, side)
    other = case.b if side == "a" else case.a
    moved = 0
    for tile, position in np.ndindex(operand.words.shape):
        word = int(operand.words[tile, position])
        free = ~word & 0xF
        if word & 0xF and free and other.words[:, position].any() and tile < len(operand.words) - 1:
            words = operand.words.copy()
            words[tile, position] = word ^ (word & 0xF & -(word & 0xF)) ^ (free & -free)
            assert case.fault(**{side: replace(operand, words=words)}).endswith("values are wrong")
            moved += 1
    assert moved >= 10


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_wrong_slice_map_shows(side):
    case = Case()
    operand = getattr(case, side)
    for tile in range(len(operand.slice_maps)):
        maps = operand.slice_maps.copy()
        maps[tile, 0] ^= 0b11
        assert case.fault(**{side: replace(operand, slice_maps=maps)})


@pytest.mark.parametrize("side", ["a", "b"])
def test_values_cut_or_placed_wrongly_show(side):
    case = Case()
    operand = getattr(case, side)
    for cut in range(1, len(operand.starts) - 1):
        starts = operand.starts.copy()
        starts[cut] += 1 if starts[cut] < starts[-1] else -1
        fault = case.fault(**{side: replace(operand, starts=starts)})
        in_use = operand.starts[cut + 1] > operand.starts[cut - 1]  # a slice that nobody brings may hold anything
        assert ("nonzeros of" in fault) if in_use else fault is None
    values = operand.values[::-1].copy()
    assert case.fault(**{side: replace(operand, values=values)}).endswith("values are wrong")


# What cannot be multiplied


def test_operands_of_another_type_or_shape_are_refused():
    case = Case()
    with pytest.raises(ValueError, match=r"activations int16 .* must be int8"):
        multiply(case.lowered, MACHINE, case.weights, case.activations.astype(np.int16))
    with pytest.raises(ValueError, match=r"must be int8 \(S, K\)"):
        multiply(case.lowered, MACHINE, case.weights[0], case.activations)
    with pytest.raises(ValueError, match="K = 11"):
        multiply(case.lowered, MACHINE, case.weights, case.activations[1:])
    with pytest.raises(ValueError, match="must be int8"):
        multiply(case.lowered, MACHINE, case.weights, case.activations[:, :0])


def test_a_plan_that_does_not_name_its_slices_is_refused():
    case = Case()
    with pytest.raises(DatapathError, match="which slice it is"):
        multiply(replace(case.lowered, item_slices=None), MACHINE, case.weights, case.activations)
