"""Values through the weight-stationary datapaths: int8 weights, wrapped sums, and that a wrong plan shows."""

from dataclasses import replace

import numpy as np
import pytest

from crispsim.formats import CrispMatrix, NMMatrix, Pattern, PatternError, draw_weights
from crispsim.formats.rng import random_word, stream_key
from crispsim.formats.synthetic import nonzero_int8
from crispsim.sim import Machine
from crispsim.sim.archs import ARCHITECTURES
from crispsim.sim.archs.dense import all_positions
from crispsim.sim.datapath import DatapathError, product
from crispsim.sim.datapath.product import difference, integer_product
from crispsim.sim.datapath.stationary import multiply
from crispsim.sim.datapath.values import int8_weights
from crispsim.sim.plan import (
    ACTIVE,
    FIRST_CORE,
    REPEAT,
    STEPS,
    STREAM_TILE_HI,
    TAIL_COLUMNS,
    TEAM_TILE_HI,
    TEAM_TILE_LO,
    WAVE_HI,
    WAVE_LO,
)
from crispsim.sim.weights import Weights

pytestmark = pytest.mark.kernel

S, K, P = 41, 76, 22  # two bands, the last with idle cores and a core of one row; short last groups of K
MACHINE = Machine.load("edge", {"core.count": 4, "core.rows": 8, "column_tile": 8, "chunk_columns": 2})
BLOCKS = Pattern(n=2, m=4, block=16)  # two sharing sets of two cores
UNREAD = object()  # the input: no weight-stationary machine looks at it
BAD_ROWS = "no member has rows, or one has none, more than a core's, or rows beyond S"
PATTERNS = {"dense": None, "stc": Pattern(n=2, m=4), "crisp-stc": BLOCKS}
EVERY = pytest.mark.parametrize("arch", list(PATTERNS))


class Case:
    """One group on one architecture, and what its product must be."""

    def __init__(self, arch, machine=MACHINE, pattern=None, k=K):
        pattern = pattern or PATTERNS[arch]
        sparsity = 0.8 if pattern and pattern.block else None
        drawn = draw_weights((S, k), pattern, sparsity, 3) if pattern else None
        self.machine, self.weights = machine, int8_weights(Weights(shape=(S, k), matrix=drawn), 5)
        self.how = ARCHITECTURES[arch].setup(machine, self.weights, UNREAD)
        self.lowered = self.how.lower(machine, S, P)
        self.activations = np.random.default_rng(1).integers(1, 128, (k, P), np.int8)  # no zero hides a wrong weight
        self.expected = integer_product(self.weights, self.activations, machine.sum_bits)

    def fault(self, weights=None, **tables):
        """What is wrong with the result when the plan has these tables, or the machine these weights."""
        lowered = replace(self.lowered, plan=replace(self.lowered.plan, **tables))
        try:
            got = multiply(lowered, self.how, self.machine, weights or self.weights, self.activations)
        except DatapathError as error:
            return str(error)
        return difference(got, self.expected)

    def tile_fault(self, row, field, change):
        """What is wrong with the result when one field of one tile row is another."""
        tiles = self.lowered.plan.tiles.copy()
        tiles[row, field] += change
        return self.fault(tiles=tiles)


@EVERY
def test_the_right_plan_gives_the_product(arch):
    case = Case(arch)
    assert case.how.mode == {"dense": "dense", "stc": "2:4", "crisp-stc": "2:4 block 16"}[arch]
    assert len(case.lowered.plan.teams) == (2 if arch == "crisp-stc" else 1)
    assert case.fault() is None


def test_by_hand():
    # Rows (1, -2, 0, 3) and (0, 0, 4, 0), X = (1, 10, 100, -3) and (2, 0, 1, 1): 1 - 20 - 9, 400; 2 + 3, 4.
    weights = Weights(shape=(2, 4), matrix=np.array([[1, -2, 0, 3], [0, 0, 4, 0]], np.int8))
    activations = np.array([[1, 2], [10, 0], [100, 1], [-3, 1]], np.int8)
    how = ARCHITECTURES["dense"].setup(MACHINE, weights, UNREAD)
    got = multiply(how.lower(MACHINE, 2, 2), how, MACHINE, weights, activations)
    assert got.tolist() == [[-28, 5], [400, 4]]


@pytest.mark.parametrize(("bits", "expected"), [(8, -16), (16, 25072), (32, 90608)])
def test_sums_wrap_at_the_bits_of_a_sum(bits, expected):
    # 7 * 127 * 127 - 128 * 127 - 99 * 61 = 90608 = 65536 + 25072 = 354 * 256 - 16.
    weights = Weights(shape=(1, 9), matrix=np.array([[127] * 7 + [-128, -99]], np.int8))
    activations = np.array([127] * 7 + [127, 61], np.int8)[:, None]
    machine = Machine.load("edge", {"sum_bits": bits})
    how = ARCHITECTURES["dense"].setup(machine, weights, UNREAD)
    assert multiply(how.lower(machine, 1, 1), how, machine, weights, activations).tolist() == [[expected]]
    assert integer_product(weights, activations, bits).tolist() == [[expected]]


@EVERY
def test_a_dropped_wave_shows(arch):
    case = Case(arch)
    waves = int(np.diff(case.lowered.plan.tiles[0, [WAVE_LO, WAVE_HI]])[0])
    assert waves > 1
    assert case.tile_fault(0, WAVE_HI, -1).endswith("values are wrong")
    assert case.tile_fault(0, WAVE_LO, 1)
    assert "no drain wrote" in case.tile_fault(0, WAVE_HI, -waves)


@EVERY
def test_a_wave_too_many_shows(arch):
    case = Case(arch)
    assert case.tile_fault(0, WAVE_HI, 1)


@EVERY
def test_shifted_columns_show(arch):
    # 22 columns are 11 chunks: tiles of 4, 4 and 3.
    case = Case(arch)
    tiles = case.lowered.plan.tiles
    assert tiles[:2, REPEAT].tolist() == [2, 1]
    assert tiles[:2, STEPS].tolist() == [4, 3]
    for row, field in [(0, STEPS), (1, TAIL_COLUMNS)]:
        assert "no drain wrote" in case.tile_fault(row, field, -1)
    for row, field in [(0, STEPS), (1, STEPS), (0, TAIL_COLUMNS)]:
        assert "its columns do not fit" in case.tile_fault(row, field, 1)
    swapped = tiles.copy()
    swapped[1, STEPS : TAIL_COLUMNS + 1] = 2, 3  # 5 columns with a last chunk of 3
    assert "its columns do not fit" in case.fault(tiles=swapped)
    swapped = tiles.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert case.fault(tiles=swapped)


@EVERY
def test_a_missing_or_repeated_tile_shows(arch):
    case = Case(arch)
    assert "no drain wrote" in case.tile_fault(-1, REPEAT, -1)
    assert case.tile_fault(0, REPEAT, 1)


@EVERY
def test_swapped_bands_show(arch):
    case = Case(arch)
    lo, hi = case.lowered.plan.teams[0, [TEAM_TILE_LO, TEAM_TILE_HI]]
    assert hi - lo == 4
    order = [*range(len(case.lowered.plan.tiles))]
    order[lo:hi] = [lo + 2, lo + 3, lo, lo + 1]
    assert case.fault(tiles=case.lowered.plan.tiles[order], drain_bytes=case.lowered.plan.drain_bytes[order])


def test_bands_in_which_a_later_member_works_later_show():
    case = Case("dense")
    order = [2, 3, 0, 1]
    fault = case.fault(tiles=case.lowered.plan.tiles[order], drain_bytes=case.lowered.plan.drain_bytes[order])
    assert fault == "stream 3 walks tile rows [0, 2]: not those in which team 0 needs it"


@EVERY
def test_wrong_rows_show(arch):
    case = Case(arch)
    for tile, member, change in [(0, 0, 1), (0, 0, -8), (0, 1, -8), (2, 1, 1)]:  # the last is the row beyond S
        drains = case.lowered.plan.drain_bytes.copy()
        drains[tile, member] += change * case.machine.output_bytes
        assert case.fault(drain_bytes=drains).endswith(BAD_ROWS)
    drains[0, 0] -= case.machine.output_bytes
    assert case.fault(drain_bytes=drains)


def test_a_band_without_rows_shows():
    case = Case("dense")
    plan = case.lowered.plan
    idle, teams = plan.tiles[-1:].copy(), plan.teams.copy()
    idle[0, ACTIVE] = 0
    teams[0, TEAM_TILE_HI] += 1
    tables = {"tiles": np.append(plan.tiles, idle, 0), "drain_bytes": np.append(plan.drain_bytes, [[0] * 4], 0)}
    assert case.fault(teams=teams, **tables).endswith(BAD_ROWS)


@EVERY
def test_wrong_members_show(arch):
    case = Case(arch)
    active = case.lowered.plan.tiles[0, ACTIVE]
    assert active == case.how.set_cores
    assert case.tile_fault(0, ACTIVE, -1)
    assert case.tile_fault(0, ACTIVE, 1).endswith(BAD_ROWS)


def test_two_teams_on_one_core_show():
    case = Case("crisp-stc", k=64)  # whole blocks, so that every block row keeps as many positions
    teams = case.lowered.plan.teams.copy()
    teams[1, FIRST_CORE] = 0
    assert case.fault(teams=teams).endswith("a result is drained a second time")


@EVERY
def test_windows_cut_wrongly_show(arch):
    case = Case(arch)
    plan, n, rows = case.lowered.plan, case.how.n, case.machine.core.rows
    for wave in range(len(plan.waves)):
        for column, change, fault in [
            (0, 1, "its chunk is larger than a window"),
            (0, -1, ""),
            (1, rows * n, "not whole groups for its rows, or go beyond its chunk"),
            (1, -rows * n, "values are wrong"),
            (1, 1, "not whole groups"),
            (1, -1, "not whole groups"),
        ]:
            sizes = plan.item_bytes.copy()
            sizes[wave, column] += change
            found = case.fault(item_bytes=sizes)
            assert found, (wave, column, change)
            assert fault in found


def test_half_a_group_shows():
    case = Case("stc")
    sizes = case.lowered.plan.item_bytes.copy()
    sizes[0, 1] -= case.machine.core.rows  # one value of two less in every row
    assert "not whole groups" in case.fault(item_bytes=sizes)


def test_padding_of_k_is_not_read():
    # A value at position 3 of K = 3 belongs to no column of W; the chunk holds there what it held before.
    weights = Weights(shape=(1, 3), matrix=NMMatrix.encode(np.array([[5, 0, 7]], np.int8), n=2, m=4))
    how = ARCHITECTURES["stc"].setup(MACHINE, weights, UNREAD)
    lowered, activations = how.lower(MACHINE, 1, 1), np.array([[1], [1], [1]], np.int8)
    assert multiply(lowered, how, MACHINE, weights, activations).tolist() == [[12]]
    weights.matrix.nm_index[0, 0] = 0b1100  # positions 0 and 3
    assert integer_product(weights, activations, 32).tolist() == [[5]]
    assert multiply(lowered, how, MACHINE, weights, activations).tolist() != [[5]]


@EVERY
def test_a_stream_out_of_step_with_its_team_shows(arch):
    case = Case(arch)
    for stream in range(len(case.lowered.plan.streams)):
        streams = case.lowered.plan.streams.copy()
        streams[stream, STREAM_TILE_HI] -= 1
        assert case.fault(streams=streams).startswith(f"stream {stream} walks tile rows")


@pytest.mark.parametrize("pattern", [Pattern(n=2, m=4), BLOCKS, Pattern(n=1, m=4, block=32)])
def test_a_flipped_index_bit_shows(pattern):
    case = Case("crisp-stc", pattern=pattern)
    matrix = case.weights.matrix
    for bit in range(4):
        index = matrix.nm_index.copy()
        index.reshape(len(index), -1)[0, 0] ^= 1 << bit
        assert case.fault(replace(case.weights, matrix=replace(matrix, nm_index=index)))


def test_an_index_beyond_m_is_refused():
    # 2:3 has 2-bit indices; 3 names no position.
    case = Case("crisp-stc", pattern=Pattern(n=2, m=3))
    index = case.weights.matrix.nm_index.copy()
    index[0, 0] |= 0b1100
    matrix = replace(case.weights.matrix, nm_index=index)
    assert "an index is not below M" in case.fault(replace(case.weights, matrix=matrix))


def test_swapped_block_columns_show():
    case = Case("crisp-stc")
    matrix = case.weights.matrix
    within, between = matrix.block_cols.copy(), matrix.block_cols.copy()
    within[0, :2] = within[0, 1::-1]
    between[[0, 1]] = between[[1, 0]]
    assert (between != matrix.block_cols).any()
    for block_cols in (within, between):
        wrong = replace(matrix)
        object.__setattr__(wrong, "block_cols", block_cols)  # past the check that they ascend
        assert case.fault(replace(case.weights, matrix=wrong))


def test_a_moved_value_shows():
    case = Case("crisp-stc")
    values = case.weights.matrix.values.copy()
    values[0, 0, 0, :2] = values[0, 0, 0, 1::-1]
    assert values[0, 0, 0, 0] != values[0, 0, 0, 1]
    fault = case.fault(replace(case.weights, matrix=replace(case.weights.matrix, values=values)))
    assert fault.startswith("row 0, column 0")
    assert fault.endswith(f"of {S * P} values are wrong")


def test_what_cannot_be_multiplied_is_refused():
    case = Case("dense")
    with pytest.raises(ValueError, match="must be int8"):
        multiply(case.lowered, case.how, MACHINE, case.weights, case.activations.astype(np.int16))
    with pytest.raises(ValueError, match="K = 76"):
        multiply(case.lowered, case.how, MACHINE, case.weights, case.activations[1:])
    with pytest.raises(TypeError, match="without values"):
        multiply(case.lowered, case.how, MACHINE, Weights(shape=(S, K)), case.activations)
    with pytest.raises(TypeError, match="float32"):
        integer_product(Weights(shape=(1, 1), matrix=np.ones((1, 1), np.float32)), case.activations, 32)
    with pytest.raises(PatternError, match="2:4 allows 2"):
        multiply(case.lowered, all_positions(MACHINE, K, n=2, m=4), MACHINE, case.weights, case.activations)
    with pytest.raises(ValueError, match="the machine runs 2:4 block 16"):
        multiply(case.lowered, Case("crisp-stc").how, MACHINE, case.weights, case.activations)
    other = Case("crisp-stc", pattern=Pattern(n=1, m=4, block=16))
    with pytest.raises(ValueError, match="weights of pattern 2:4 block 16: the machine runs 1:4 block 16"):
        multiply(other.lowered, other.how, MACHINE, Case("crisp-stc").weights, case.activations)


def test_a_product_in_parts_is_the_product(monkeypatch):
    case = Case("dense")
    monkeypatch.setattr(product, "_COLUMNS", 5)
    assert (integer_product(case.weights, case.activations, 32) == case.expected).all()


def test_difference_names_the_first_wrong_value():
    got = np.array([[1, 2], [3, 4]], np.int32)
    assert difference(got, got.copy()) is None
    assert (
        difference(got, got + np.eye(2, dtype=np.int32)[::-1])
        == "row 0, column 1: got 2, expected 3; 2 of 4 values are wrong"
    )
    with pytest.raises(ValueError, match="must be the same"):
        difference(got, got[:1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_quantised_floats_keep_their_mask(dtype):
    values = np.array([[1000, -1000, 1e-4, -1e-4], [0, -0.0, 500, 10]], dtype)
    got = int8_weights(Weights(shape=values.shape, matrix=values), 0).matrix
    assert got.dtype == np.int8
    assert got.tolist() == [[127, -127, 1, -1], [0, 0, 64, 1]]


@pytest.mark.parametrize("pattern", [Pattern(n=2, m=4), BLOCKS])
def test_quantised_packed_values_keep_their_places(pattern):
    packed = draw_weights((20, 40), pattern, None, 1)
    halves = replace(packed, values=(packed.values / 128).astype(np.float16))
    got = int8_weights(Weights(shape=(20, 40), matrix=halves), 0).matrix
    assert isinstance(got, CrispMatrix if pattern.block else NMMatrix)
    assert got.values.dtype == np.int8
    assert (got.nm_index == packed.nm_index).all()
    assert ((got.decode() != 0) == (packed.decode() != 0)).all()


def test_extreme_floats():
    largest, smallest = np.finfo(np.float64).max, np.nextafter(0, 1)
    for values, expected in [([largest, -smallest], [127, -1]), ([smallest, 0], [127, 0]), ([0, 0], [0, 0])]:
        matrix = np.array([values])
        assert int8_weights(Weights(shape=(1, 2), matrix=matrix), 0).matrix.tolist() == [expected]
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="finite"):
            int8_weights(Weights(shape=(1, 1), matrix=np.array([[bad]])), 0)


def test_int8_values_stay():
    for matrix in (draw_weights((20, 40), BLOCKS, None, 1), np.arange(-128, 128, dtype=np.int8).reshape(4, 64)):
        weights = Weights(shape=matrix.shape, matrix=matrix)
        got = int8_weights(weights, 0).matrix
        assert (getattr(got, "values", got) == getattr(matrix, "values", matrix)).all()


def test_masks_get_values_drawn_from_the_seed():
    mask = np.random.default_rng(0).random((30, 50)) < 0.3
    weights = Weights(shape=mask.shape, matrix=mask)
    got = int8_weights(weights, 7, 1, 2).matrix
    assert got.dtype == np.int8
    assert ((got != 0) == mask).all()
    assert (got == int8_weights(weights, 7, 1, 2).matrix).all()
    for other in [(8, 1, 2), (7, 2, 2), (7, 1, 3)]:
        assert (got != int8_weights(weights, *other).matrix).any()
    full = int8_weights(Weights(shape=mask.shape), 7, 1, 2).matrix
    assert (full != 0).all()
    assert (full[mask] == got[mask]).all()  # a value depends on its place, not on the mask
    key = stream_key(7, 1, 2, 4)
    assert full[1, :3].tolist() == [
        nonzero_int8(np.uint64(random_word(key, np.uint64(50 + column)))) for column in range(3)
    ]
    assert set(int8_weights(Weights(shape=(100, 200)), 0).matrix.ravel()) == {*range(-128, 128)} - {0}
