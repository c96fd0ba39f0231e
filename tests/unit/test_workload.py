"""Which pattern a layer gets, and its weights from a seed or a packed file."""

import numpy as np
import pytest

from crispsim.formats import CrispMatrix, NMMatrix, PackedLayer, PackedModel, Pattern, draw_weights, write_model
from crispsim.sim import ARCHITECTURES, ArchSpec, InputError, Layer, Machine, simulate
from crispsim.sim.activations import draw_activations
from crispsim.sim.weights import Weights
from crispsim.sim.workload import (
    PatternRequest,
    exemption,
    layer_of_packed,
    packed_weights,
    resolve_patterns,
    synthetic_weights,
)


def conv(name="c", size=8, channels=64, filters=64, kernel=3, **more):
    return Layer(
        name=name,
        kind="conv",
        in_height=size,
        in_width=size,
        kernel_h=kernel,
        kernel_w=kernel,
        in_channels=channels,
        out_channels=filters,
        **more,
    )


def gemm(m, n, k, name="g", **more):
    return Layer(
        name=name, kind="gemm", in_height=m, in_width=1, kernel_h=1, kernel_w=1, in_channels=k, out_channels=n, **more
    )


def test_what_the_pruner_leaves_dense():
    assert exemption(conv(channels=4), last=False) == "stem"
    assert exemption(conv(channels=5), last=False) == ""
    assert exemption(gemm(5, 5, 4), last=False) == ""
    assert exemption(conv(groups=64), last=False) == "depthwise"
    assert exemption(conv(groups=2), last=False) == "grouped"
    assert exemption(gemm(1, 10, 64), last=True) == "classifier"
    assert exemption(gemm(1, 10, 64), last=False) == ""
    assert exemption(gemm(2, 10, 64), last=True) == ""


def test_patterns_of_a_network():
    layers = [conv(channels=3), conv(), conv(nm=(1, 4), block="none"), gemm(8, 8, 64), gemm(1, 10, 64)]
    stem, hybrid, own, short, head = resolve_patterns(layers, PatternRequest(nm=(2, 4), block=64, sparsity=0.9))
    assert (stem.pattern, stem.note) == (Pattern(), "stem")
    assert (hybrid.pattern, hybrid.sparsity) == (Pattern(n=2, m=4, block=64), 0.9)
    assert (own.pattern, own.sparsity) == (Pattern(n=1, m=4), None)
    assert (short.pattern, short.sparsity, short.note) == (Pattern(n=2, m=4), None, "K <= block")
    assert head.note == "classifier"
    everything = resolve_patterns(layers, PatternRequest(all_layers=True))
    assert [choice.note for choice in everything] == ["K <= block" if layer.k <= 64 else "" for layer in layers]


def test_impossible_sparsities_name_line_and_layer():
    low = {"file": "t.csv", "weight_sparsity": 0.4}
    layers = [conv(name="a", line=7, **low), conv(name="b"), conv(name="c", line=9, **low)]
    with pytest.raises(InputError) as caught:
        resolve_patterns(layers, PatternRequest())
    assert [line.split(": ")[:2] for line in caught.value.lines] == [["t.csv:7", "layer 'a'"], ["t.csv:9", "layer 'c'"]]


def test_drawn_weights_obey_the_request():
    layer = conv()
    (choice,) = resolve_patterns([layer], PatternRequest(nm=(1, 4), block=32, sparsity=0.9))
    ((weights, times),) = synthetic_weights(layer, choice, seed=1, index=0)
    kept = round((1 - 0.9) * 4 * 18)  # of ceil(576 / 32) = 18 blocks
    assert times == 1
    assert weights.block_cols.shape == (2, kept)
    assert weights.nonzeros == 64 * kept * 32 / 4
    assert weights.max_nonzeros_per_group(4) == 1


@pytest.mark.parametrize("m", [3, 4])
def test_weights_count_alike_however_they_are_held(m):
    matrix = draw_weights((20, 30), Pattern(n=2, m=4), None, 3)
    packed, dense = Weights(shape=(20, 30), matrix=matrix), Weights(shape=(20, 30), matrix=matrix.decode())
    np.testing.assert_array_equal(packed.column_nonzeros, dense.column_nonzeros)
    assert packed.max_nonzeros_per_group(m) == dense.max_nonzeros_per_group(m)
    assert (packed.mask, dense.mask, Weights(shape=(2, 2)).mask) == ("nm", "unstructured", "dense")


def packed_network(folder):
    rng = np.random.default_rng(0)
    hybrid = draw_weights((48, 9 * 32), Pattern(n=2, m=4, block=32), 0.75, 1)
    depthwise = tuple(rng.integers(1, 9, (1, 9)).astype(np.int8) for _ in range(48))
    shared = {"dtype": "int8", "in_width": 6, "in_height": 6}
    layers = (
        PackedLayer(
            name="a", weights=hybrid, kind="conv", kernel=(3, 3), padding=(1, 1), in_channels=32, p=36, **shared
        ),
        PackedLayer(name="b", weights=depthwise, kind="conv", kernel=(3, 3), in_channels=48, groups=48, p=16, **shared),
        PackedLayer(
            name="head",
            weights=NMMatrix.encode(hybrid.decode()[:10, :48], n=2, m=4),
            kind="gemm",
            in_channels=48,
            in_height=3,
            p=3,
            dtype="int8",
            activations=np.arange(3 * 48, dtype=np.int8).reshape(3, 1, 48) % 4,
        ),
    )
    path = folder / "model.safetensors"
    write_model(path, PackedModel(layers=layers))
    return path, hybrid


def test_a_packed_file_is_its_own_layer_table(tmp_path):
    path, hybrid = packed_network(tmp_path)
    results = simulate(weights=path)
    first, *_, head = [row for row in results.rows if row.arch == "crisp-stc"]
    assert (first.mask, first.nm, first.block, first.group.mode) == ("hybrid", "2:4", "32", "2:4 block 32")
    assert first.weight_sparsity == 1 - hybrid.nonzeros() / (48 * 288)
    assert head.activation_sparsity == 0.25  # the file's own activations: every fourth is zero
    assert results.rows[4].layer.groups == 48
    # A layer table that names the tensors gives the same numbers.
    table = [conv("x", 6, 32, 48, 3, pad_h=1, pad_w=1, tensor="a")]
    assert [row.cycles for row in simulate(table, weights=path).rows] == [row.cycles for row in results.rows[:4]]


def test_zero_points_say_which_stored_values_are_zero():
    """Zero point 7: a stored 0 is a weight, a stored 7 none. stc must not take such a matrix for 2:4."""
    stored = np.array([[0, 0, 7, 3], [7, 7, 7, 1]], np.int8)
    shared = {"kind": "gemm", "in_channels": 4, "in_height": 2, "p": 2, "dtype": "int8", "scales": (1.0, 1.0)}
    packed = PackedLayer(name="a", weights=stored, zero_points=(7, 0), **shared)
    ((weights, _),) = packed_weights(layer_of_packed(packed), PackedModel(layers=(packed,)))
    assert weights.column_nonzeros.tolist() == [2, 2, 1, 2]
    assert weights.max_nonzeros_per_group(4) == 4


def test_a_row_may_not_contradict_the_file(tmp_path):
    path, _ = packed_network(tmp_path)
    for column, own in (
        ("Block", {"block": 16}),
        ("NM", {"nm": (2, 4)}),
        ("Weight Sparsity", {"weight_sparsity": 0.9}),
    ):
        with pytest.raises(InputError, match=f"column '{column}'"):
            simulate([conv("a", 6, 32, 48, 3, pad_h=1, pad_w=1, **own)], weights=path)
    with pytest.raises(InputError, match=r"the activations of .* are of \(3, 1, 48\)"):
        simulate([gemm(5, 10, 48, name="head")], weights=path)
    (row, *_) = simulate([gemm(5, 10, 48, name="head", activation_sparsity=0.5)], weights=path).rows
    assert row.activation_sparsity == 0.5


def test_wider_weights_than_operands_are_told(tmp_path):
    layer = PackedLayer(
        name="a", weights=np.ones((8, 8), np.float32), kind="gemm", in_channels=8, in_height=2, p=2, dtype="float32"
    )
    said = []
    simulate(weights=PackedModel(layers=(layer,)), notice=said.append)
    assert said == ["packed weights of float32 are run as 8-bit operands (operand_bits)"]
    said.clear()
    half = PackedLayer(
        name="a", weights=np.ones((8, 8), np.float16), kind="gemm", in_channels=8, in_height=2, p=2, dtype="float16"
    )
    simulate(
        weights=PackedModel(layers=(half,)), machine=Machine.load("edge", {"operand_bits": 16}), notice=said.append
    )
    assert said == []


def test_groups_differ_in_zeros_zero_points_and_mode():
    """Of two groups the first has zeros by its zero point only, in every group of four: stc runs it 2:4."""
    first, second = np.array([[7, 7, 1, 2]], np.int8), np.array([[7, 7, 1, 2]], np.int8)
    layer = PackedLayer(
        name="a", weights=(first, second), kind="conv", kernel=(1, 1), groups=2, in_channels=8, in_height=2, in_width=2,
        p=4, dtype="int8", scales=(1.0, 1.0), zero_points=(7, 0),
    )  # fmt: skip
    dense, stc, *_ = simulate(weights=PackedModel(layers=(layer,)), activation_sparsity=0.0).rows
    assert (dense.mask, dense.weight_sparsity, dense.macs_effectual) == ("unstructured", 0.25, (2 + 4) * 4)
    assert (dense.group.mode, stc.group.mode) == ("dense", "mixed")
    assert stc.group.column_tile == 22  # the narrower one


def test_depthwise_groups_meet_their_own_channels():
    layer = conv("dw", 5, 6, 6, 3, groups=6)
    drawn = draw_activations(layer, 0.5, 0, 0)
    (row, *_) = simulate([layer], activation_sparsity=0.5).rows
    assert row.macs_effectual == drawn.nonzeros.sum()


def test_a_channel_slow_dense_layer_meets_the_same_activations():
    rng = np.random.default_rng(1)
    fast = rng.integers(-1, 2, (3, 2 * 3 * 5)).astype(np.int8)  # K as (2, 3) taps of 5 channels
    slow = np.ascontiguousarray(fast.reshape(3, 6, 5).transpose(0, 2, 1)).reshape(3, 30)
    shared = {
        "kind": "conv",
        "kernel": (2, 3),
        "in_channels": 5,
        "in_height": 6,
        "in_width": 7,
        "p": 25,
        "dtype": "int8",
    }
    counts = {
        simulate(weights=PackedModel(layers=(PackedLayer(name="a", weights=w, k_order=order, **shared),)))
        .rows[0]
        .macs_effectual
        for w, order in ((fast, "hwc"), (slow, "chw"))
    }
    assert len(counts) == 1


def test_each_machine_has_its_own_baseline():
    narrow = Machine.load("edge", {"smem.bytes_per_cycle": 4})
    specs = [
        ArchSpec(name=n, architecture=ARCHITECTURES["stc"], machine=m, masks="given")
        for n, m in (("a", Machine.load()), ("b", narrow))
    ]
    both = simulate([conv()], specs).rows
    alone = [simulate([conv()], ["dense"], machine=m).rows[0].cycles for m in (Machine.load(), narrow)]
    assert [row.baseline_cycles for row in both] == alone
    assert alone[0] < alone[1]


def test_a_rows_activation_sparsity_of_zero_wins():
    (row, *_) = simulate([conv(activation_sparsity=0.0)]).rows
    assert row.activation_sparsity == 0.0


def test_totals_of_unlike_layers_are_ratios_of_sums():
    results = simulate([gemm(4096, 64, 64, "big"), gemm(8192, 64, 64, "bigger"), gemm(2, 8, 8, "small")], ["dense"])
    rows, total = results.rows, results.total("dense")
    issued, cycles = sum(row.group.macs_issued for row in rows), sum(row.cycles for row in rows)
    assert total.utilization == issued / (cycles * 256)
    assert total.layers_beyond_smem == 2
    assert total.largest_smem_excess_bytes == 2 * 8192 * 64 + 64 * 64 - 262144


def test_what_lies_in_the_smem_has_the_machines_width_and_every_block_row():
    """16-bit operands; 2:4 in blocks of 32, one of two kept, two block rows: 64 x 16 values, 2 bits each, 2 x 2 B."""
    machine = Machine.load("edge", {"operand_bits": 16, "rf.bytes": 2048})
    (row,) = simulate([gemm(10, 64, 64)], ["crisp-stc"], machine=machine, block=32, sparsity=0.75).rows
    assert row.smem_needed_bytes == 10 * 64 * 2 + 64 * 16 * 2 + 64 * 16 * 2 // 8 + 2 * 2 + 10 * 64


def test_a_rows_own_sparsity_is_shown_though_blocks_do_not_fit():
    (choice,) = resolve_patterns([gemm(8, 64, 64, weight_sparsity=0.9)], PatternRequest())
    assert (choice.pattern, choice.requested, choice.note) == (Pattern(n=2, m=4), 0.9, "K <= block")
    assert resolve_patterns([gemm(8, 64, 64)], PatternRequest())[0].requested is None
    (choice,) = resolve_patterns([gemm(8, 64, 64, block=64)], PatternRequest())
    assert (choice.pattern, choice.note) == (Pattern(n=2, m=4, block=64), "")  # its own block wins


@pytest.mark.parametrize(
    ("nm", "sparsity"), [((1, 3), 0.6666666666666666), ((1, 3), 0.6667e0 - 3.4e-5), ((3, 7), 4 / 7)]
)
def test_sparsities_without_an_exact_decimal(nm, sparsity):
    (choice,) = resolve_patterns([gemm(8, 64, 630)], PatternRequest(nm=nm, block=None, sparsity=sparsity))
    assert choice.pattern == Pattern(n=nm[0], m=nm[1])


def test_packed_weights_must_fit_the_layer(tmp_path):
    path, _ = packed_network(tmp_path)
    with pytest.raises(InputError, match="no layer 'z' in the file; it has a, b, head"):
        simulate([conv("z")], weights=path)
    with pytest.raises(InputError, match="S x K = 48 x 288"):
        simulate([conv("a")], weights=path)


def test_the_order_of_k_is_respected(tmp_path):
    """A dense layer packed channel-slowest is brought to channel-fastest; a packed matrix is refused."""
    dense = np.arange(2 * 12, dtype=np.int8).reshape(2, 12)
    shared = {
        "kind": "conv",
        "kernel": (2, 2),
        "in_channels": 3,
        "in_height": 4,
        "in_width": 4,
        "p": 9,
        "dtype": "int8",
    }
    slow = PackedLayer(name="a", weights=dense, k_order="chw", **shared)
    ((weights, _),) = packed_weights(layer_of_packed(slow), PackedModel(layers=(slow,)))
    expected = [np.count_nonzero(dense[:, c * 4 + tap]) for tap in range(4) for c in range(3)]
    assert weights.column_nonzeros.tolist() == expected
    matrix = CrispMatrix.encode(dense, n=1, m=1, block=4, k_order="chw")
    packed = PackedLayer(name="a", weights=matrix, k_order="chw", **shared)
    with pytest.raises(InputError, match="k_order 'chw'"):
        list(packed_weights(layer_of_packed(packed), PackedModel(layers=(packed,))))


def test_python_takes_and_refuses_what_the_command_does():
    with pytest.raises(InputError, match="nothing to simulate"):
        simulate()
    with pytest.raises(InputError, match="there are no layers"):
        simulate([])
    with pytest.raises(InputError, match="no architecture"):
        simulate([conv()], [])
    with pytest.raises(InputError, match="too large to simulate"):
        simulate([gemm(1, 1, 1 << 30)])
    with pytest.raises(InputError, match="weights to draw a group"):
        simulate([gemm(8, 1 << 14, 1 << 21)])


def test_results_are_sums_then_ratios_of_sums():
    results = simulate([conv("a"), conv("b", calls=3)], ["dense", "crisp-stc"], block=32)
    total = results.total("crisp-stc")
    rows = results.of("crisp-stc")
    assert total.cycles == rows[0].cycles + 3 * rows[1].cycles
    assert total.speedup == (rows[0].baseline_cycles + 3 * rows[1].baseline_cycles) / total.cycles
    assert sum(total.core_cycles.values()) == 4 * total.cycles


def test_speedup_is_against_dense_on_the_same_machine_even_when_not_asked_for():
    asked = simulate([conv()], ["dense", "crisp-stc"], machine="paper")
    alone = simulate([conv()], ["crisp-stc"], machine="paper")
    assert alone.rows[0].baseline_cycles == asked.rows[0].cycles
    assert alone.rows[0].row()["speedup"] == asked.rows[0].cycles / asked.rows[1].cycles
