"""Tensors that stay in the SMEM and weights that come early: by cases, against every choice, and on whole networks."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crispsim.sim import InputError, Layer, Machine, load_arch, simulate
from crispsim.sim.fusion import fewest_bytes, may_stay
from crispsim.sim.result import FUSION_COLUMNS

ARCHS = ("dense", "stc", "dstc", "crisp-stc")
LPDDR4 = Machine.load("edge-lpddr4")


def conv(name, channels, filters, size=8, kernel=1, **more):
    return Layer(
        name=name, kind="conv", in_height=size, in_width=size, kernel_h=kernel, kernel_w=kernel, in_channels=channels,
        out_channels=filters, pad_h=kernel // 2, pad_w=kernel // 2, **more,
    )  # fmt: skip


def gemm(name, p, s, k, **more):
    sizes = {"in_height": p, "in_width": 1, "kernel_h": 1, "kernel_w": 1, "in_channels": k, "out_channels": s}
    return Layer(name=name, kind="gemm", **sizes, **more)


def run(layers, archs=ARCHS, machine=LPDDR4, *, fuse=True, **more):
    given = {"nm": "2:4", "block": 16, "sparsity": 0.75, "energy": None} | more
    return simulate(layers, archs, machine=machine, fuse=fuse, **given)


def moved(row):
    return row.group.dram_read_bytes + row.group.dram_write_bytes


# Which tensors can stay ----------------------------------------------------------------------------------------------

CHAIN = [conv("a", 8, 16), conv("b", 16, 24, kernel=3), conv("c", 24, 8)]


def changed(index, **fields):
    return [replace(layer, **fields) if place == index else layer for place, layer in enumerate(CHAIN)]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([], []),
        (CHAIN[:1], [False]),
        (CHAIN, [True, True, False]),
        ([CHAIN[0], conv("pooled", 16, 8, size=4)], [False, False]),  # a pooling layer lies between
        ([conv("strided", 8, 16, stride_h=2, stride_w=2), conv("b", 16, 8, size=4)], [True, False]),
        ([conv("a", 8, 16), conv("b", 24, 8)], [False, False]),  # other channels: a branch, or a concatenation
        ([conv("a", 8, 16), conv("b", 16, 16, kernel=3, groups=16)], [True, False]),
        ([conv("square", 16, 16), conv("b", 16, 8)], [True, False]),
        (changed(0, calls=2), [False, True, False]),
        (changed(1, calls=2), [False, False, False]),
        (changed(1, batch=2), [False, False, False]),
        ([*CHAIN, conv("d", 8, 16, residual="a")], [False, True, True, False]),  # a is added to d
        ([conv("e", 8, 16), *changed(0, residual="e")], [False, False, True, False]),  # e is added, a has one
        ([conv("e", 8, 16, residual="from another table"), CHAIN[1]], [False, False]),
        ([gemm("up", 32, 64, 16), gemm("down", 32, 16, 64)], [True, False]),
        ([gemm("up", 32, 64, 16), gemm("other tokens", 33, 16, 64)], [False, False]),
        ([gemm("query", 32, 16, 16), gemm("key", 32, 16, 16), gemm("up", 32, 64, 16)], [False, False, False]),
        ([gemm("to 1 x 1", 1, 10, 16), conv("b", 10, 8, size=1)], [True, False]),
    ],
)
def test_what_may_stay(layers, expected):
    assert may_stay(layers) == expected


# Which do ------------------------------------------------------------------------------------------------------------


@st.composite
def choices(draw):
    count = draw(st.integers(1, 7))
    may = [*draw(st.lists(st.booleans(), min_size=count - 1, max_size=count - 1)), False]
    sizes = st.integers(0, 5) | st.just(math.inf)
    costs = {
        (index, before, after): draw(sizes if before or after else st.integers(0, 5))
        for index in range(count)
        for before, after in itertools.product((False, True), repeat=2)
    }
    return may, costs


@given(choices())
def test_the_fewest_bytes_of_all_choices(case):
    may, costs = case
    found = fewest_bytes(may, lambda *way: costs[way])
    every = itertools.product(*((False, True) if possible else (False,) for possible in may))
    sums = {
        kept: sum(costs[index, index > 0 and kept[index - 1], stays] for index, stays in enumerate(kept))
        for kept in every
    }
    assert tuple(found) == min(sums, key=lambda kept: (sums[kept], kept))


# Whole networks ------------------------------------------------------------------------------------------------------


@st.composite
def networks(draw):
    layers, channels, size = [], draw(st.sampled_from([8, 16, 32])), draw(st.integers(3, 9))
    for index in range(draw(st.integers(2, 4))):
        kind = draw(st.sampled_from(["1x1", "3x3", "depthwise"]))
        filters = channels if kind == "depthwise" else draw(st.sampled_from([8, 32, 72]))
        groups = channels if kind == "depthwise" else 1
        kernel, calls = 1 if kind == "1x1" else 3, draw(st.sampled_from([1, 1, 1, 2]))
        alike = [layer.name for layer in layers if (layer.out_channels, layer.p) == (filters, size * size)]
        residual = draw(st.sampled_from(alike)) if alike and draw(st.booleans()) else None
        layers.append(conv(f"l{index}", channels, filters, size, kernel, groups=groups, calls=calls, residual=residual))
        channels = filters
    return layers


@settings(max_examples=25, deadline=None)
@given(networks(), st.sampled_from([3000, 6000, 12000, 1 << 18]), st.sampled_from([1, 4, 16]), st.booleans())
def test_what_fusion_keeps_and_saves(layers, capacity, bandwidth, all_layers):
    machine = Machine.load(LPDDR4, {"smem.capacity_bytes": capacity, "dram.bytes_per_cycle": bandwidth})
    try:
        fused = run(layers, machine=machine, all_layers=all_layers)
    except InputError as error:
        assert "smem.capacity_bytes" in str(error)
        assume(False)
    plain = run(layers, machine=machine, all_layers=all_layers, fuse=False)
    assert plain.unfused is None
    may = may_stay(layers)
    for arch in ARCHS:
        assert fused.total(arch).unfused.record() == plain.total(arch).record()
        own, without = fused.of(arch), plain.of(arch)
        assert not own[0].fused.kept_input_bytes
        for index, (row, other) in enumerate(zip(own, without, strict=True)):
            kept = row.fused.kept_output_bytes is not None
            assert may[index] or not kept
            if kept:
                assert row.group.dram_write_bytes == row.group.writeback_bytes == 0
                assert own[index + 1].fused.kept_input_bytes == row.fused.kept_output_bytes == row.output_bytes
                assert own[index + 1].group.dram_input_bytes == 0
                assert row.fused.kept_bytes <= capacity
            assert row.group.macs_issued == other.group.macs_issued
            assert row.group.core_cycles.sum() == machine.core.count * row.cycles
            assert row.group.prefetched_bytes <= row.fused.prefetch_bytes
            assert not row.group.prefetched_bytes or (index and layers[index].calls == layers[index - 1].calls == 1)
            if not kept and row.fused.kept_input_bytes is None and not row.group.prefetched_bytes:
                assert row.cycles == other.cycles
        if arch != "dstc":  # whose results are compressed on the channel, which the choice does not know
            assert sum(moved(row) * row.layer.calls for row in own) <= sum(
                moved(row) * row.layer.calls for row in without
            )
    for row in fused.of("dense"):
        assert row.baseline_cycles == row.cycles


def test_a_chain_that_fits_moves_its_ends_and_its_weights_only():
    fused = run(CHAIN, ["dense"], sparsity=None, nm="1:1", block=None)
    rows = fused.of("dense")
    assert [row.fused.kept_output_bytes for row in rows] == [16 * 64, 24 * 64, None]
    assert [row.group.dram_input_bytes for row in rows] == [8 * 64, 0, 0]
    assert [row.group.dram_write_bytes for row in rows] == [0, 0, 8 * 64]
    assert [row.group.dram_weight_bytes for row in rows] == [8 * 16, 9 * 16 * 24, 24 * 8]
    total = fused.total("dense")
    assert total.cycles < total.unfused.cycles


def test_weights_come_in_the_end_of_the_layer_before():
    layers = [conv("a", 16, 64, size=16), conv("b", 32, 64, size=16)]  # no chain
    for row in run(layers).of("dense")[1:]:
        without = run(layers, ["dense"], fuse=False).of("dense")[1]
        assert 0 < row.group.prefetched_bytes <= row.group.dram_weight_bytes == without.group.dram_weight_bytes
        assert row.group.smem_write_bytes == without.group.smem_write_bytes
        assert row.cycles < without.cycles
        assert row.group.dram_bound_cycles < without.group.dram_bound_cycles


def test_architectures_that_share_all_but_their_weights_are_fused_each_by_itself():
    both = run(CHAIN, ["dstc", "dstc-given-masks"])
    for arch in ("dstc", "dstc-given-masks"):
        alone = run(CHAIN, [arch])
        assert both.total(arch).record() == alone.total(arch).record()
        assert [row.row() for row in both.of(arch)] == [row.row() for row in alone.of(arch)]


def test_groups_of_a_layer_get_early_weights_once():
    layers = [conv("a", 8, 16, size=12), conv("depthwise", 16, 16, size=12, kernel=3, groups=16), conv("b", 16, 8, 12)]
    fused = run(layers, ["dense", "stc", "crisp-stc"])
    for arch in fused.archs:
        row = fused.of(arch)[1]
        assert row.group.prefetched_bytes <= 9  # the weights of one group
        assert row.baseline_cycles == row.cycles  # all run it dense


def test_columns_and_totals():
    fused, plain = run(CHAIN, energy="horowitz45"), run(CHAIN, energy="horowitz45", fuse=False)
    assert fused.fused and not plain.fused
    assert set(fused.columns) - set(plain.columns) == set(FUSION_COLUMNS)
    rows = fused.of("stc")
    assert [[row.row()[name] for name in FUSION_COLUMNS[:2]] for row in rows] == [
        ["no", "yes"], ["yes", "yes"], ["yes", "no"],
    ]  # fmt: skip
    assert list(rows[0].row()) == list(fused.columns) == list(fused.to_dataframe().columns)
    told, other = fused.total("stc").record(), plain.total("stc").record()
    for name in ("cycles", "dram_read_bytes", "dram_write_bytes", "energy_uj"):
        assert told[f"unfused_{name}"] == other[name] > told[name]
    assert not any(name.startswith("unfused") for name in other)


# Refused -------------------------------------------------------------------------------------------------------------


def test_refused_without_a_dram():
    with pytest.raises(InputError, match="--fuse: dense runs on a machine without a DRAM"):
        run(CHAIN, machine="edge")
    specs = [load_arch("stc", "edge-lpddr4"), load_arch("crisp-stc", "edge")]
    with pytest.raises(InputError, match="--fuse: crisp-stc"):
        run(CHAIN, specs)


@pytest.mark.parametrize("jobs", [0, 1.5])
def test_jobs_are_checked_though_layers_run_one_at_a_time(jobs):
    with pytest.raises(InputError, match=f"jobs {jobs}: must be an integer of at least 1"):
        run(CHAIN, jobs=jobs)


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("arch", ARCHS)
def test_a_layer_that_does_not_fit_is_refused_before_any_runs(fuse, arch):
    machine = Machine.load(LPDDR4, {"smem.capacity_bytes": 1600})
    layers = [conv("small", 8, 8), conv("large", 64, 256, kernel=3), conv("end", 256, 8)]
    with pytest.raises(InputError, match=f"^{arch}: layer 'large': smem.capacity_bytes: "):
        run(layers, [arch], machine, fuse=fuse, progress=lambda *_: pytest.fail("began"))


def test_what_surely_fits_is_not_looked_at_beforehand(monkeypatch):
    asked = []
    monkeypatch.setattr("crispsim.sim.fusion._bytes_by_way", lambda *given: asked.append(given))
    run(CHAIN, fuse=False)
    assert not asked
