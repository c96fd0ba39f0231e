"""Which weights, zeros and sizes an architecture is given: small layers, every expected number worked out anew.

Counts are taken with plain loops or numpy from the input's values and from the masks, or written out by hand.
"""

import itertools

import numpy as np
import pytest

from crispsim.formats import NMMatrix, PackedLayer, PackedModel, Pattern, draw_unstructured, draw_weights
from crispsim.sim import ARCHITECTURES, InputError, Layer, Machine, load_arch, simulate
from crispsim.sim.activations import GivenColumns, draw_activations, given_activations
from crispsim.sim.arch_spec import variant_names
from crispsim.sim.archs.dual_plan import core_rows
from crispsim.sim.bitmaps import full_tile_counts, row_tile_counts
from crispsim.sim.simulate import run_group
from crispsim.sim.weights import Weights
from tests.naive import stream

pytestmark = pytest.mark.kernel

DSTC, CRISP = ARCHITECTURES["dstc"], ARCHITECTURES["crisp-stc"]
DENSE, HALF = Pattern(), Pattern(n=2, m=4)


def conv(height, width, channels, filters, kernel_h=1, kernel_w=1, *, name="l", **more):
    return Layer(
        name=name, kind="conv", in_height=height, in_width=width, kernel_h=kernel_h, kernel_w=kernel_w,
        in_channels=channels, out_channels=filters, **more,
    )  # fmt: skip


def gemm(m, n, k, **more):
    return Layer(
        name="l", kind="gemm", in_height=m, in_width=1, kernel_h=1, kernel_w=1, in_channels=k, out_channels=n, **more
    )


def lowered(layer, values, group=0):
    """X[K, P] of a group from a map (samples, height, width, channels), by loops; K is taps, then channels."""
    own = layer.in_channels // layer.groups
    x = np.zeros((layer.k, layer.p), values.dtype)
    for column, (sample, oy, ox) in enumerate(np.ndindex(layer.batch, layer.out_height, layer.out_width)):
        for at, (a, b, c) in enumerate(np.ndindex(layer.kernel_h, layer.kernel_w, own)):
            y = oy * layer.stride_h + a * layer.dilation_h - layer.pad_h
            z = ox * layer.stride_w + b * layer.dilation_w - layer.pad_w
            if 0 <= y < layer.in_height and 0 <= z < layer.in_width:
                x[at, column] = values[sample, y, z, group * own + c]
    return x


def pairs(weights, x):
    """Products of a nonzero weight and a nonzero activation."""
    return int(((weights != 0).astype(np.int64) @ (x != 0).astype(np.int64)).sum())


# --- groups ---

DEPTHWISE = conv(9, 8, 4, 8, 3, 3, groups=4, pad_h=1, pad_w=1, batch=2)


def test_all_groups_of_a_depthwise_layer_count():
    values = draw_activations(DEPTHWISE, 0.4, 5, 0).int8_map
    rows = simulate([DEPTHWISE], activation_sparsity=0.4, seed=5).rows
    # Every group has two rows of nine weights, none of them zero.
    effectual = sum(pairs(np.ones((2, 9)), lowered(DEPTHWISE, values, group)) for group in range(4))
    assert [(row.weight_sparsity, row.macs_effectual, row.mask) for row in rows] == [(0.0, effectual, "dense")] * 4


def test_every_group_meets_its_own_input_on_dstc():
    layer, drawn = DEPTHWISE, draw_activations(DEPTHWISE, 0.6, 5, 0)
    weights, groups = Weights(shape=(2, 9)), []
    for group in range(4):
        x = drawn.of_group(group).int8_columns(layer.p) != 0
        np.testing.assert_array_equal(x, lowered(layer, drawn.int8_map, group) != 0)
        groups.append(run_group(DSTC, Machine.load(), weights, layer.p, GivenColumns(nonzero=x)))
        assert groups[-1].macs_issued == pairs(np.ones((2, 9)), x)
    (row,) = simulate([layer], ["dstc"], activation_sparsity=0.6, seed=5).rows
    assert row.cycles == sum(group.cycles for group in groups) != 4 * groups[0].cycles
    assert row.group.macs_issued == sum(group.macs_issued for group in groups) != 4 * groups[0].macs_issued


GROUPED = conv(6, 5, 3 * 8, 3 * 10, 3, 1, name="grouped", groups=3, pad_h=1, stride_w=2)


def test_every_group_has_an_unstructured_twin_of_its_own():
    seed, index = 4, 1  # the second layer
    first = conv(3, 3, 8, 8, name="first")
    results = simulate(
        [first, GROUPED], ["crisp-stc", "dstc"], nm="2:4", block=None, activation_sparsity=0.5, seed=seed,
        all_layers=True,
    )  # fmt: skip
    given, twin = results.rows[2:]
    values, shape = draw_activations(GROUPED, 0.5, seed, index).int8_map, (10, 24)
    inputs = [lowered(GROUPED, values, group) for group in range(3)]
    # 2:4 without blocks keeps half: 120 of the 240 weights of each group.
    twins = [draw_unstructured(shape, 120, seed, index, group) for group in range(3)]
    pruned = [draw_weights(shape, HALF, None, seed, index, group).decode() for group in range(3)]
    assert given.macs_effectual == sum(map(pairs, pruned, inputs))
    assert twin.macs_effectual == twin.group.macs_issued == sum(map(pairs, twins, inputs))
    assert twin.macs_effectual != sum(pairs(twins[0], x) for x in inputs)
    assert (given.mask, twin.mask, given.weight_sparsity, twin.weight_sparsity) == ("nm", "unstructured", 0.5, 0.5)
    expected = [
        run_group(DSTC, Machine.load(), Weights(shape=shape, matrix=w), GROUPED.p, GivenColumns(nonzero=x != 0))
        for w, x in zip(twins, inputs, strict=True)
    ]
    assert twin.cycles == sum(group.cycles for group in expected)


def test_an_observer_sees_the_first_group_once():
    seen = []
    layers = [conv(3, 3, 8, 8, name="first"), GROUPED]
    results = simulate(
        layers, nm="2:4", block=None, activation_sparsity=0.5, all_layers=True, observer=seen.append, seed=2
    )
    assert [(run.index, run.layer.name, run.spec.name) for run in seen] == [
        (index, layer.name, arch) for index, layer in enumerate(layers) for arch in ARCHITECTURES
    ]
    values, shape = draw_activations(GROUPED, 0.5, 2, 1).int8_map, (10, 24)
    for run, row in zip(seen[4:], results.rows[4:], strict=True):
        own = []
        for group in range(3):
            x = GivenColumns(nonzero=lowered(GROUPED, values, group) != 0)
            matrix = draw_weights(shape, HALF, None, 2, 1, group)
            if run.spec.name == "dstc":
                matrix = draw_unstructured(shape, 120, 2, 1, group)
            weights = Weights(shape=shape, matrix=matrix)
            setup = run.spec.architecture.setup(run.spec.machine, weights, x)
            plan = setup.lower(run.spec.machine, 10, GROUPED.p).plan
            cycles = run_group(run.spec.architecture, run.spec.machine, weights, GROUPED.p, x).cycles
            own.append((cycles, plan.waves.tolist(), plan.item_bytes.tolist()))
        assert (run.cycles, run.lowered.plan.waves.tolist(), run.lowered.plan.item_bytes.tolist()) == own[0]
        assert row.cycles == sum(cycles for cycles, *_ in own)
        if run.spec.name == "dstc":
            assert own[0] != own[1]


# --- the unstructured weights of a packed file ---


def packed_rows(mask):
    return np.packbits(mask, axis=-1, bitorder="little")


def test_the_twins_of_a_file_are_run_group_by_group():
    rng = np.random.default_rng(3)
    layer = conv(3, 4, 2 * 12, 2 * 5, groups=2)
    pruned = tuple(NMMatrix.encode(draw_weights((5, 12), HALF, None, 7, 0, g).decode(), n=2, m=4) for g in range(2))
    masks = np.zeros((2, 5, 12), bool)
    masks[0, :, :6] = True  # 30 and 29 of the 60 weights of each group
    masks[1, :, 6:] = True
    masks[1, 4, 11] = False
    values = rng.integers(0, 2, (3, 4, 24)).astype(np.int8)
    values[:, :, 12:18] = 0  # what group 0's mask would meet in group 1
    packed = PackedLayer(
        name="l", weights=pruned, kind="conv", groups=2, in_channels=24, in_height=3, in_width=4, p=12, dtype="int8",
        unstructured=packed_rows(masks), activations=values,
    )  # fmt: skip
    said = []
    given, twin = simulate(weights=PackedModel(layers=(packed,)), archs=["crisp-stc", "dstc"], notice=said.append).rows
    inputs = [lowered(layer, values[None], group) for group in range(2)]
    assert given.macs_effectual == sum(pairs(w.decode(), x) for w, x in zip(pruned, inputs, strict=True))
    assert (given.weight_sparsity, twin.weight_sparsity) == (0.5, 1 - 59 / 120)
    assert twin.macs_effectual == sum(pairs(mask, x) for mask, x in zip(masks, inputs, strict=True))
    assert twin.macs_effectual not in [sum(pairs(mask, x) for x in inputs) for mask in masks]
    assert len(said) == 1
    assert said[0].startswith(
        "dstc: in 1 layer(s) the file's unstructured weights are not as sparse as its pruned ones"
    )
    assert said[0].endswith(": l")


@pytest.mark.parametrize(("missing", "told"), [(0, False), (1, False), (2, True)])
def test_a_twin_may_differ_by_a_thousandth(missing, told):
    """Of 40 x 25 = 1000 weights: one more or less may be."""
    weights = np.ones((40, 25), np.int8)
    mask = np.ones((40, 25), bool)
    mask[0, :missing] = False
    packed = PackedLayer(
        name="l", weights=weights, kind="gemm", in_channels=25, in_height=2, p=2, dtype="int8",
        unstructured=packed_rows(mask),
    )  # fmt: skip
    said = []
    (row,) = simulate(weights=PackedModel(layers=(packed,)), archs="dstc", notice=said.append).rows
    assert row.weight_sparsity == 1 - (1000 - missing) / 1000
    assert ["not as sparse" in line for line in said] == [True] * told


def test_a_pruned_layer_without_a_twin_is_drawn_one_and_it_is_told():
    pruned = draw_weights((5, 12), HALF, None, 7)
    packed = PackedLayer(name="l", weights=pruned, kind="gemm", in_channels=12, in_height=4, p=4, dtype="int8")
    model, said = PackedModel(layers=(packed,)), []
    (row,) = simulate(weights=model, archs="dstc", seed=6, activation_sparsity=0.5, notice=said.append).rows
    x = lowered(gemm(4, 5, 12), draw_activations(gemm(4, 5, 12), 0.5, 6, 0).int8_map)
    assert row.macs_effectual == pairs(draw_unstructured((5, 12), 30, 6, 0, 0), x)
    assert said == [
        "dstc: unstructured weights of the same sparsity are drawn for the 1 pruned layer(s) of which the file has "
        "none: l"
    ]


def test_a_channel_slow_twin_is_put_in_order():
    """K as channels of 2 x 3 taps, in the weights and in their mask; the input is a map of rows, columns, channels."""
    rng = np.random.default_rng(8)
    weights = rng.integers(1, 5, (3, 5 * 6)).astype(np.int8)
    mask = rng.random((3, 5 * 6)) < 0.3
    values = rng.integers(0, 2, (6, 7, 5)).astype(np.int8)
    packed = PackedLayer(
        name="l", weights=weights, kind="conv", kernel=(2, 3), in_channels=5, in_height=6, in_width=7, p=25,
        dtype="int8", k_order="chw", unstructured=packed_rows(mask), activations=values,
    )  # fmt: skip
    (row,) = simulate(weights=PackedModel(layers=(packed,)), archs="dstc").rows
    slow = fast = 0
    for s, y, x, a, b, c in np.ndindex(3, 5, 5, 2, 3, 5):
        nonzero = values[y + a, x + b, c] != 0
        slow += int(mask[s, c * 6 + a * 3 + b] and nonzero)
        fast += int(mask[s, (a * 3 + b) * 5 + c] and nonzero)
    assert row.macs_effectual == row.group.macs_issued == slow != fast
    assert row.weight_sparsity == 1 - int(mask.sum()) / 90


# --- nonzeros of tiles ---


def tiles_of(nonzero, size):
    """Nonzeros of each tile of columns of X[K, P] at each position, by slicing."""
    return [nonzero[:, at : at + size].sum(axis=1).tolist() for at in range(0, nonzero.shape[1], size)]


def test_every_sample_of_a_batch_has_the_given_map():
    layer = conv(3, 4, 11, 2, 2, 2, pad_w=1, batch=2)  # 10 columns a sample: tiles of 7 reach from one into the other
    nonzero = np.random.default_rng(2).random((3, 4, 11)) < 0.5
    x = lowered(layer, np.stack([nonzero, nonzero]))
    got = given_activations(layer, nonzero, None, 0).of_group(0).tile_counts(7)
    assert got.tolist() == tiles_of(x, 7)


def test_channels_of_a_group_may_end_in_the_last_word():
    """3 groups of 40 channels in two words: 64 from channel 80 on reach beyond them (bounds checks show it)."""
    layer = conv(2, 3, 120, 3, groups=3)
    nonzero = np.random.default_rng(4).random((2, 3, 120)) < 0.5
    given = given_activations(layer, nonzero, None, 0)
    for group in range(3):
        assert given.of_group(group).tile_counts(4).tolist() == tiles_of(lowered(layer, nonzero[None], group), 4)


def test_tiles_of_64_without_a_zero():
    assert row_tile_counts(np.ones((70, 3), bool), 64).tolist() == [[64] * 3, [6] * 3]
    assert full_tile_counts(70, 3, 64).tolist() == [[64] * 3, [6] * 3]
    layer = gemm(70, 1, 9)  # nine channels: counted a word at a time
    ones = np.ones((70, 1, 9), bool)
    assert given_activations(layer, ones, None, 0).of_group(0).tile_counts(64).tolist() == [[64] * 9, [6] * 9]


# --- what lies in the SMEM ---


@pytest.mark.parametrize("operand_bytes", [1, 2])
def test_what_a_dual_layer_keeps_in_the_smem(operand_bytes):
    """37 rows are tiles of 32 and 5, 131 positions eight slices of 16 and one of 3; most slices are empty."""
    weights = np.zeros((37, 131), np.int8)
    weights[[0, 31, 7], [0, 15, 3]] = 1  # row tile 0, slice 0
    weights[9, 130] = 1  # row tile 0, the last slice
    weights[[32, 36], [16, 31]] = 1  # row tile 1, slice 1
    weights[36, 128] = 1  # row tile 1, the last slice
    bitmaps = (32 * 16 // 8) + (32 * 3 // 8) + (5 * 16 // 8) + 2  # 5 x 3 bits are 2 B
    slice_maps = 2 * 2  # 9 bits for each row tile
    stored = 7 * operand_bytes + bitmaps + slice_maps
    values = np.zeros((7, 1, 131), np.int8)
    values[:, 0, :10] = 1
    packed = PackedLayer(
        name="l", weights=weights, kind="gemm", in_channels=131, in_height=7, p=7, dtype="int8", activations=values
    )
    machine = Machine.load("edge", {"operand_bits": 8 * operand_bytes, "rf.bytes": 2048})
    dense, row = simulate(weights=PackedModel(layers=(packed,)), archs=["dense", "dstc"], machine=machine).rows
    # The input: 70 values, and a bit for each of 7 x 131 = 917: 115 B. The output: 37 x 7 values of 8 bits.
    assert row.smem_needed_bytes == 70 * operand_bytes + 115 + stored + 37 * 7
    assert dense.smem_needed_bytes == (917 + 37 * 131) * operand_bytes + 37 * 7


# --- what dstc refuses ---

SLICES_OF_64 = {"dstc.slice_positions": 64}
LIMITS = {
    # Two output rows, one position.
    "input values": ({}, DENSE, 1 << 35, lambda n: conv(n, 1, 1, 1, stride_h=1 << 34)),
    "tiles of S x P": ({}, DENSE, 1 << 23, lambda n: gemm(32 * n, 32, 1)),
    # 8192 x 8192; 2^26 + 1 = (2^13 + 1)^2 - 2^14 = 8065 x 8321.
    "steps": (
        {}, DENSE, 1 << 26,
        lambda n: gemm(32, 32 * (8192 if n == 1 << 26 else 8065), 16 * (8192 if n == 1 << 26 else 8321)),
    ),
    # One tile of S and one of P; 2^31 + 1 = 3 x 715827883, two tiles of S and one of P.
    "K x (tiles of S + tiles of P)": (
        SLICES_OF_64, DENSE, 1 << 31, lambda n: gemm(1, 32, n // 2) if n == 1 << 31 else gemm(1, 33, n // 3)
    ),
    "S x K": ({}, HALF, 1 << 31, lambda n: gemm(1, 1 << 16, 1 << 15) if n == 1 << 31 else gemm(1, 3, n // 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_the_largest_layers_of_dstc(name):
    fields, pattern, most, layer_of = LIMITS[name]
    machine = Machine.load("edge", fields)
    DSTC.check(machine, pattern, layer_of(most))
    with pytest.raises(InputError) as caught:
        DSTC.check(machine, pattern, layer_of(most + 1))
    assert str(caught.value).startswith(f"{name} = {most + 1}: too large for the bitmaps of this architecture, ")
    assert f"must be at most {most};" in str(caught.value)


def test_dense_weights_are_not_unpacked():
    DSTC.check(Machine.load(), DENSE, gemm(1, 3, ((1 << 31) + 1) // 3))


@pytest.mark.parametrize("step", [(8, 8), (16, 4), (64, 1), (1, 64), (1, 1)])
def test_steps_of_all_macs_or_fewer(step):
    fields = dict(zip(("dstc.step_rows", "dstc.step_columns"), step, strict=True))
    DSTC.check(Machine.load("edge", fields), DENSE, gemm(8, 8, 8))


def test_a_step_of_one_mac_more():
    machine = Machine.load("edge", {"dstc.step_rows": 13, "dstc.step_columns": 5})
    for refused in (lambda: core_rows(machine), lambda: DSTC.check(machine, DENSE, gemm(8, 8, 8))):
        with pytest.raises(
            InputError, match=r"dstc\.step_rows: value 13: a step of 13 x 5 needs more than the 64 MACs"
        ):
            refused()


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(4, 1, 4), (4, 2, 2), (4, 4, 1), (12, 3, 4), (12, 0, 4), (7, 7, 1)]
)
def test_core_rows(count, columns, rows):
    assert core_rows(Machine.load("edge", {"core.count": count, "dstc.core_columns": columns})) == rows


def test_cores_fill_whole_rows_and_sums_fit():
    with pytest.raises(InputError, match=r"dstc\.core_columns: value 3: must divide the 4 cores"):
        core_rows(Machine.load("edge", {"dstc.core_columns": 3}))
    core_rows(Machine.load("edge", {"dstc.accumulator_bytes": 32 * 32 * 4}))
    with pytest.raises(InputError, match=r"dstc\.accumulator_bytes: value 4095: too small for 32 x 32 sums"):
        core_rows(Machine.load("edge", {"dstc.accumulator_bytes": 32 * 32 * 4 - 1}))


# --- fields of the machine that follow others ---


def shape_of(machine):
    dstc = machine.dual_side
    return dstc.step_rows, dstc.step_columns, dstc.core_columns


def test_steps_follow_the_cores():
    assert shape_of(Machine.load()) == (8, 8, 2)
    assert shape_of(Machine.load("edge", {"core.lanes": 16})) == (8, 16, 2)
    assert shape_of(Machine.load("edge", {"core.rows": 5, "core.lanes": 3})) == (5, 3, 2)
    for count, columns in zip((1, 2, 3, 4, 6, 8, 9, 12), (1, 1, 1, 2, 2, 2, 3, 3), strict=True):
        assert shape_of(Machine.load("edge", {"core.count": count})) == (8, 8, columns)


def test_fields_that_are_given_win():
    own = {"dstc.step_rows": 4, "dstc.step_columns": 2, "dstc.core_columns": 1}
    for some in itertools.chain.from_iterable(itertools.combinations(own, n) for n in range(4)):
        machine = Machine.load("edge", {"core.lanes": 16} | {key: own[key] for key in some})
        usual = {"dstc.step_rows": 8, "dstc.step_columns": 16, "dstc.core_columns": 2}
        assert shape_of(machine) == tuple((usual | {key: own[key] for key in some}).values())


def test_zero_in_a_file_or_on_the_command_line_follows_the_cores(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(
        'arch = "dstc"\n[set]\ncore.lanes = 16\ncore.count = 6\n[set.dstc]\nstep_rows = 4\ncore_columns = 0\n'
    )
    assert shape_of(load_arch(str(path)).machine) == (4, 16, 2)
    assert shape_of(load_arch(str(path), overrides={"dstc.step_rows": 0, "core.count": 9}).machine) == (8, 16, 3)
    base = Machine.load("edge", {"dstc.step_rows": 2, "dstc.step_columns": 2, "dstc.core_columns": 4})
    zeros = dict.fromkeys(("dstc.step_rows", "dstc.step_columns", "dstc.core_columns"), 0)
    assert shape_of(Machine.load(base, zeros)) == (8, 8, 2)
    assert Machine.load(base, zeros) == Machine.load()


def test_a_loaded_machine_goes_on_following_its_cores():
    assert shape_of(Machine.load(Machine.load(), {"core.lanes": 16, "core.count": 9})) == (8, 16, 3)
    assert shape_of(Machine.load("edge", {"core.rows": 100})) == (100, 8, 2)  # more than a step can be set to


@pytest.mark.parametrize("value", ["8", 2000, 0])
def test_a_wrong_field_of_the_cores_is_one_line_too(value):
    with pytest.raises(InputError) as caught:
        Machine.load("edge", {"core.rows": value})
    (line,) = caught.value.lines
    assert line.startswith(f"--set: core.rows: value {value!r}: must be")


@pytest.mark.parametrize("key", ["dstc.step_rows", "dstc.step_columns", "dstc.core_columns"])
@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("8", "must be a valid integer"),
        (True, "must be a valid integer"),
        (0.0, "must be a valid integer"),
        (1.5, "must be a valid integer"),
        (False, "must be a valid integer"),
        (-1, "must be greater than or equal to 0"),
        (65, "must be less than or equal to 64"),
    ],
)
def test_a_wrong_value_of_them_is_one_line(key, value, rule):
    with pytest.raises(InputError) as caught:
        Machine.load("edge", {key: value})
    assert list(caught.value.lines) == [f"--set: {key}: value {value!r}: {rule}"]


@pytest.mark.parametrize("value", [True, "4", 4.0, 0, -4])
def test_a_wrong_number_of_cores_is_one_line(value):
    with pytest.raises(InputError) as caught:
        Machine.load("edge", {"core.count": value})
    assert len(caught.value.lines) == 1
    assert str(caught.value).startswith(f"--set: core.count: value {value!r}: must be ")


# --- the unstructured draw ---


@pytest.mark.parametrize(
    ("nonzeros", "names"), [(0, (1, 2, 3)), (31, (1, 2, 3)), (7, (0, 0, 0)), (70, (2**64 - 1, 5, 0))]
)
def test_unstructured_weights_are_these_bytes_for_ever(nonzeros, names):
    """SplitMix64 of stream 3 in Python's own integers: 70 words decide, the 70 after them are the values."""
    words = stream((*names, 3), 140)
    expected, wanted = [], nonzeros
    for position in range(70):
        kept = (words[position] >> 11) / 2**53 * (70 - position) < wanted
        value = ((words[70 + position] % 2**32) * 255 >> 32) - 128  # one of 255, without 0
        expected.append((value + (value >= 0)) * kept)
        wanted -= kept
    assert wanted == 0
    assert draw_unstructured((7, 10), nonzeros, *names).reshape(-1).tolist() == expected


# --- architecture files ---


@pytest.mark.parametrize("name", [*ARCHITECTURES, *variant_names()])
def test_a_file_may_not_have_the_name_of_what_is_shipped(name, tmp_path):
    for path, text in ((tmp_path / f"{name}.toml", ""), (tmp_path / "mine.toml", f'name = "{name}"\n')):
        path.write_text(f'{text}arch = "stc"\n')
        with pytest.raises(InputError, match=f"name: value '{name}': is a registered architecture's or variant's"):
            load_arch(str(path))


@pytest.mark.parametrize("name", [*variant_names(), "dstc-wide", "sct"])
def test_a_file_varies_a_registered_architecture_only(name, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'arch = "{name}"\n')
    with pytest.raises(InputError) as caught:
        load_arch(str(path))
    (line,) = caught.value.lines
    before, _, rest = line.partition("did you mean ")
    assert before == f"{path}: arch: {name!r}: unknown architecture, "
    suggested, _, known = rest.partition("? Known are ")
    assert suggested.strip("'") in ARCHITECTURES
    assert known.split(", ") == list(ARCHITECTURES)
