"""The stall table: shares that add up, repeats folded, and the committed tables being those of the code."""

import io
import os
from pathlib import Path

import pandas as pd
import pytest

from crispsim.bench.stalls import excess_shares, notable, stall_table
from crispsim.sim import Layer, Machine, read_layers, shipped_layers, simulate

ROOT = Path(__file__).resolve().parents[2]


def gemm(name, p, k=300):
    sizes = {"in_height": p, "in_width": 1, "kernel_h": 1, "kernel_w": 1}
    return Layer(name=name, kind="gemm", in_channels=k, out_channels=70, **sizes)


@pytest.mark.parametrize(("columns", "overrides"), [(1, {}), (50, {}), (50, {"smem.bytes_per_cycle": 8})])
def test_shares_add_up_to_the_excess(columns, overrides):

    results = simulate(
        [gemm("l", columns)], machine=Machine.load("edge", overrides), block=16, sparsity=0.75, all_layers=True
    )
    for row in results.rows:
        excess = row.cycles / row.group.compute_bound_cycles - 1
        assert sum(excess_shares(row).values()) == pytest.approx(excess, abs=1e-12)


def test_repeats_are_folded_and_notable_rows_picked():
    table = stall_table([gemm("a", 40, 320), gemm("b", 40, 320), gemm("c", 1, 320)], 0.9)
    lockstep = table[table["arch"] != "dstc"]  # whose cycles follow every mask
    assert set(lockstep[lockstep["layer"] == "a"]["times"]) == {2}
    assert len(lockstep) == 2 * 3 * 9
    picked = notable(table)
    assert set(picked["layer"]) >= {"c"}
    assert picked["excess_percent"].is_monotonic_decreasing


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="minutes without compiled kernels")
def test_the_committed_table_is_what_the_code_makes():
    table = stall_table(read_layers(shipped_layers()["resnet50"]), 0.9)
    text = table.to_csv(index=False, lineterminator="\n")
    committed = pd.read_csv(ROOT / "docs" / "stalls.csv")
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text)), committed)


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="slow without compiled kernels")
def test_the_readme_shows_what_the_code_gives():
    results = simulate(read_layers(shipped_layers()["resnet50"]))
    readme = (ROOT / "README.md").read_text()
    for arch in results.archs:
        total = results.total(arch)
        assert f"{total.cycles:,}" in readme
        assert f"{total.speedup:.2f}x" in readme
