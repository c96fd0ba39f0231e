"""docs/validation.md: its tables are those of the committed CSVs, these are what the code makes, and its words hold."""

import io
import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crispsim.bench.figures import speedup as speedup_figure
from crispsim.bench.validation import (
    closed_forms,
    dram_claims,
    dstc_points,
    energy_claims,
    mask_reaction,
    memory_study,
    paper_claims,
)
from crispsim.bench.validation.dual_expectation import cost, drawn, drawn_columns, drawn_rows, hybrid_rows, independent
from crispsim.bench.validation.page import fill, section, table
from crispsim.cli.network_table import print_results
from crispsim.cli.terminal import Terminal
from crispsim.formats import Pattern, draw_unstructured, draw_weights, parse_nm
from crispsim.sim import Layer, Machine, simulate
from crispsim.sim.activations import draw_activations
from crispsim.sim.bitmaps import row_tile_counts

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "validation.md").read_text(encoding="utf-8")
MEMORY_PAGE = (DOCS / "memory.md").read_text(encoding="utf-8")

compiled = pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="minutes without compiled kernels")


def committed(name):
    return pd.read_csv(DOCS / f"{name}.csv")


def assert_committed(frame, name, **only):
    """The frame is the committed table's rows of these keys."""
    rows = committed(name)
    for column, value in only.items():
        rows = rows[rows[column] == value]
    made = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    pd.testing.assert_frame_equal(made, rows.reset_index(drop=True), check_exact=True)


# --- the page and its tables ---


def test_the_tables_are_those_of_the_committed_csvs():
    tables = {
        dstc_points.SECTION: dstc_points.markdown(committed("dstc-points")),
        **paper_claims.markdown(committed("paper-claims")),
        **mask_reaction.markdown(committed("mask-reaction")),
        **energy_claims.markdown(committed("energy-claims")),
        **dram_claims.markdown(committed("dram-claims")),
    }
    for name, text in tables.items():
        assert section(PAGE, name) == text, name
    for name, text in memory_study.markdown(committed("memory-capacity"), committed("memory-fuse")).items():
        assert section(MEMORY_PAGE, name) == text, name


def test_a_page_is_filled_between_its_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- t -->\nold\n<!-- /t -->\nafter\n")
    fill(page, "t", table(["a", "b"], [["x", 1]]))
    assert page.read_text() == "before\n<!-- t -->\n| a | b |\n| --- | ---: |\n| x | 1 |\n<!-- /t -->\nafter\n"
    with pytest.raises(ValueError, match="marker 'u'"):
        fill(page, "u", "")


# --- closed forms ---


@pytest.mark.parametrize(("size", "nonzeros", "values"), [(2, 3, 5), (3, 0, 4), (4, 6, 6), (3, 4, 7)])
def test_chances_are_those_of_all_draws(size, nonzeros, values):
    draws = list(itertools.combinations(range(values), nonzeros))
    hits = [sum(place < size for place in draw) for draw in draws]
    expected = np.bincount(hits, minlength=size + 1) / len(draws)
    np.testing.assert_allclose(drawn(size, nonzeros, values), expected, atol=1e-12)


@compiled
@pytest.mark.parametrize(
    ("nm", "block", "tile"), [((2, 4), 16, 32), ((1, 4), 32, 32), ((2, 4), 64, 32), ((1, 4), 32, 16)]
)
def test_chances_of_hybrid_masks_are_those_of_drawn_ones(nm, block, tile):
    pattern = Pattern(n=nm[0], m=nm[1], block=block)
    weights = draw_weights((4096, 1280), pattern, 1 - 0.3 * nm[0] / nm[1], 0, 0, 0)
    counts = row_tile_counts(weights.decode() != 0, tile)
    seen = np.bincount(counts.ravel(), minlength=tile + 1) / counts.size
    np.testing.assert_allclose(hybrid_rows(pattern, 0.3, tile), seen, atol=0.01)


@compiled
def test_chances_of_padded_strided_columns_are_those_of_drawn_maps():
    sizes = {"in_height": 15, "in_width": 13, "kernel_h": 3, "kernel_w": 3, "in_channels": 256, "out_channels": 40}
    layer = Layer(name="l", kind="conv", stride_h=2, pad_h=1, pad_w=1, batch=2, **sizes)
    activations = draw_activations(layer, 0.4, 0)
    counts = activations.of_group(0).tile_counts(32)
    seen = np.bincount(counts.ravel(), minlength=33) / counts.size
    np.testing.assert_allclose(drawn_columns(layer, activations.zeros, activations.values, 32), seen, atol=0.01)
    weights = draw_unstructured((layer.s, layer.k), 20_000, 0, 0, 0)
    seen = np.bincount(row_tile_counts(weights != 0, 32).ravel(), minlength=33) / (2 * layer.k)
    np.testing.assert_allclose(drawn_rows(layer, 20_000, 32), seen, atol=0.02)


def test_cost_of_certain_counts():
    dstc = Machine.load("edge", {"dstc.accumulator_values_per_cycle": 60}).dual_side
    full = cost(independent(32, 1.0), independent(32, 1.0), dstc)
    assert (full.mac_cycles, full.cycles, full.macs) == (16, 18, 1024)
    assert cost(independent(32, 0.0), independent(32, 1.0), dstc).cycles == 0


@compiled
@pytest.mark.parametrize(("nm", "block"), [("1:4", 16), ("2:4", 64), ("3:4", 32), ("3:4", 64)])
def test_compute_bounds_are_their_closed_forms(nm, block):
    n, m = parse_nm(nm)
    results = simulate(paper_claims.resnet50(), ["dense", "stc", "crisp-stc"], nm=nm, block=block)
    for row in results.rows:
        assert row.group.compute_bound_cycles == closed_forms.expected_bound(row, Pattern(n=n, m=m, block=block))


@compiled
def test_the_layers_of_the_page():
    for name, text in closed_forms.markdown().items():
        assert section(PAGE, name) == text, name
    for _, what, expected, measured in closed_forms.checks():
        if "expected" in what:
            assert int(measured.replace(",", "")) == pytest.approx(int(expected.replace(",", "")), rel=0.01)
        elif expected:
            assert measured == expected, what
    for _, _, _, expected, busy, _, _ in closed_forms.core_columns():
        assert float(str(busy).strip("%")) == pytest.approx(float(str(expected).strip("%")), abs=4)


# --- DSTC's published points ---


@compiled
def test_the_points_are_what_the_code_makes():
    assert_committed(dstc_points.points(), "dstc-points")


def test_the_closed_form_is_within_one_percent():
    points = committed("dstc-points")
    assert points["closed_form_error_percent"].abs().max() < 0.12
    product = points["granularity"] * points["port_factor"] * points["waits_factor"]
    np.testing.assert_allclose(product, points["over_ideal"], rtol=1e-4)
    errors = points.dropna().set_index(["port", "weight_density", "activation_density"])["error_percent"].abs()
    assert errors[errors > 12].index.tolist() == [(116, 0.3, 0.4)]
    assert points["waits_factor"].max() < 1.0185


# --- the paper's claims ---


@compiled
@pytest.mark.parametrize(
    ("machine", "sparsity", "blocks"),
    [pytest.param(*one, marks=() if one[:2] == ("edge", 0.9) else pytest.mark.slow) for one in paper_claims.STUDIES],
)
def test_the_claims_are_what_the_code_makes(machine, sparsity, blocks):
    assert_committed(paper_claims.study(machine, sparsity, blocks), "paper-claims", machine=machine, sparsity=sparsity)


def test_what_the_page_says_of_the_claims():
    claims = committed("paper-claims")
    edge = claims[(claims["machine"] == "edge") & (claims["sparsity"] <= 0.9)]
    network = edge[edge["stage"] == "network"]
    crisp = network[network["arch"] == "crisp-stc"]
    for nm in paper_claims.PATTERNS:
        for sparsity in paper_claims.SPARSITIES:
            rows = crisp[(crisp["nm"] == nm) & (crisp["sparsity"] == sparsity)]
            assert f"{rows['slowest'].min():.2f}-{rows['fastest'].max():.2f}x" in PAGE
            assert rows.loc[rows["speedup"].idxmax(), "block"] < 64
    beside = network.pivot(index=["sparsity", "nm", "block"], columns="arch", values="speedup")
    assert (beside["crisp-stc"] > beside["stc"]).all()
    assert (beside["crisp-stc"] > beside["dstc-equal-storage"]).all()
    assert (len(beside), int((beside["crisp-stc"] > beside["dstc"]).sum())) == (27, 20)
    assert claims[claims["arch"] == "stc"]["fastest"].max() == 2
    dense = edge[(edge["arch"] == "stc") & (edge["nm"] == "3:4")].groupby("stage")["cycles"].max()
    assert f"{dense['network'] - dense['early'] - dense['late']:,} of the dense machine's {dense['network']:,}" in PAGE
    free = claims[(claims["arch"] == "crisp-stc") & (claims["sparsity"] == 0.9) & (claims["nm"] != "3:4")]
    free = free[(free["nm"] != "1:4") | (free["block"] != 16)]
    free = free[(free["stage"] == "network") & (free["machine"] != paper_claims.WIDE)]
    assert (free["speedup"] / free["ceiling"]).min() > 0.947


# --- masks ---


@compiled
def test_the_reactions_are_what_the_code_makes():
    assert_committed(mask_reaction.reactions(), "mask-reaction")


def test_expected_step_cycles_of_masks():
    assert committed("mask-reaction")["expected_error_percent"].abs().max() < 0.2


# --- energy ---


@compiled
@pytest.mark.parametrize(
    ("sparsity", "nm", "block"),
    [
        pytest.param(*one, marks=() if one == (0.9, "2:4", 64) else pytest.mark.slow)
        for one in itertools.product(energy_claims.SPARSITIES, paper_claims.PATTERNS, paper_claims.BLOCKS)
    ],
)
def test_the_energies_are_what_the_code_makes(sparsity, nm, block):
    made = energy_claims.study(sparsity, nm, block)
    assert_committed(made, "energy-claims", sparsity=sparsity, nm=nm, block=block)


def test_the_bound_is_over_all_that_dense_spends():
    results = simulate(paper_claims.resnet50()[:3], ["dense", "stc", "crisp-stc"])
    models = results.energy_models
    spent = {t.count for t in models["dense"].terms if any(getattr(r.group, t.count) for r in results.of("dense"))}
    assert spent == set(energy_claims.SHARED_COUNTS)
    for arch in ("stc", "crisp-stc"):
        own, dense = ({t.count: t.pj for t in models[name].terms} for name in (arch, "dense"))
        assert own == dense


def test_what_the_page_says_of_energy():
    claims = committed("energy-claims")
    for (name, sparsity), rows in claims.groupby(["table", "sparsity"]):
        gains = rows.pivot(index=["nm", "block"], columns="arch", values="gain")
        assert (gains["crisp-stc"] > gains.drop(columns="crisp-stc").max(axis=1)).all()
        assert gains["stc"].max() < 1.58
        if name == "horowitz45":
            assert f"{gains['crisp-stc'].min():.1f}x to {gains['crisp-stc'].max():.1f}x at {100 * sparsity:g}%" in PAGE
            by_block = gains["crisp-stc"].unstack()
            assert (by_block[64] < by_block[[16, 32]].max(axis=1)).all()
        assert (gains["dstc"].max() < 1) == (sparsity == 0.8 and name != "sparseloop")
    share = (
        1 / claims[(claims["arch"] == "dstc") & (claims["sparsity"] == 0.9) & (claims["table"] == "horowitz45")]["gain"]
    )
    assert f"{100 * share.min():.0f}% to {100 * share.max():.0f}% of its" in " ".join(PAGE.split())
    assert claims["bound_most"].max() == 12
    assert f"{claims['bound'].max():.1f}x in the network" in PAGE
    crisp = claims[(claims["arch"] == "crisp-stc") & (claims["table"] == "horowitz45")]
    assert f"at most {crisp['gain_dense_smem_x1.9'].max():.1f}x here" in PAGE
    assert (crisp["gain"] < crisp["bound"]).all()
    assert (crisp["most"] < crisp["bound_most"]).all()


# --- with a DRAM ---


@compiled
@pytest.mark.parametrize(
    ("machine", "sparsity", "nm", "block"),
    [
        pytest.param(*one, marks=() if one == ("edge-lpddr4", *dram_claims.BREAKDOWN) else pytest.mark.slow)
        for one in ((name, *own) for name in dram_claims.MACHINES for own in dram_claims.configurations())
    ],
)
def test_the_claims_with_a_dram_are_what_the_code_makes(machine, sparsity, nm, block):
    made = dram_claims.study(machine, sparsity, nm, block)
    assert_committed(made, "dram-claims", machine=machine, sparsity=sparsity, nm=nm, block=block)


@compiled
@pytest.mark.parametrize(
    ("capacity", "bandwidth"),
    [
        pytest.param(*one, marks=() if one == (64, 8) else pytest.mark.slow)
        for one in itertools.product(memory_study.CAPACITIES, memory_study.BANDWIDTHS)
    ],
)
def test_capacity_and_bandwidth_are_what_the_code_makes(capacity, bandwidth):
    made = memory_study.capacity_study(capacity, bandwidth)
    assert_committed(made, "memory-capacity", smem_kib=capacity, dram_bytes_per_cycle=bandwidth)


@compiled
@pytest.mark.parametrize(
    ("network", "fuse"),
    [
        pytest.param(*one, marks=() if one == ("resnet50", True) else pytest.mark.slow)
        for one in itertools.product(memory_study.NETWORKS, (False, True))
    ],
)
def test_fusion_is_what_the_code_makes(network, fuse):
    made = memory_study.fuse_study(network, fuse)
    assert_committed(made, "memory-fuse", network=network, fuse="yes" if fuse else "no")


def test_the_readme_leads_with_a_dram_beside_the_ideal():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    first = dram_claims.first_result(committed("dram-claims"))
    assert section(readme, "first-result") == first
    assert first.splitlines()[2].startswith("| **DRAM** (`edge-lpddr4`) | cycles |")


@compiled
def test_the_readmes_terminal_is_what_the_code_gives():
    results = simulate(paper_claims.resnet50(), machine="edge-lpddr4", ideal=True)
    file = io.StringIO()
    print_results(results, Terminal(width=100, file=file))
    said = [line.rstrip() for line in file.getvalue().splitlines()]
    shown = (DOCS.parent / "README.md").read_text(encoding="utf-8").partition("\nNetwork\n")[2].partition("\n```")[0]
    for line in shown.splitlines():
        assert line.strip() in map(str.strip, said), line


def test_the_ideal_beside_the_drams_is_that_of_the_claims():
    key = ["sparsity", "nm", "block", "arch", "stage"]
    claims, behind = (
        frame[frame["machine"] == "edge"] for frame in (committed("paper-claims"), committed("dram-claims"))
    )
    own = behind[behind["arch"] != "dense"].set_index(key)
    assert len(own) == 18 * 3 * 3
    assert (claims.set_index(key).loc[own.index, "cycles"] == own["cycles"]).all()
    energies = committed("energy-claims").set_index(["sparsity", "nm", "block", "arch", "table"])["gain"]
    for row in behind[behind["stage"] == "network"].itertuples():
        assert row.gain == pytest.approx(energies[row.sparsity, row.nm, row.block, row.arch, "horowitz45"], rel=1e-4)


def test_what_the_page_says_of_a_dram():
    key = ["machine", "sparsity", "nm", "block"]
    frame = committed("dram-claims")
    behind = frame[frame["machine"] != "edge"]
    late = behind[(behind["arch"] == "dstc") & (behind["stage"] == "late")]
    assert late["dram_bound_layers"].max() == 0
    assert late["dram_bound_percent"].max() < 34
    lpddr4 = late[late["machine"] == "edge-lpddr4"]
    assert (lpddr4["stall_dram_percent"].min(), lpddr4["stall_dram_percent"].max()) == pytest.approx(
        (2.9, 3.7), abs=0.05
    )
    by_stage = frame[frame["arch"] == "dstc"].pivot(index=key, columns="stage", values="speedup")
    less = (by_stage["late"] < by_stage["early"]).groupby("machine").sum().to_dict()
    assert less == {"edge": 12, "edge-lpddr4": 4, "edge-lpddr5": 12, "edge-dram32": 12}
    network = frame[frame["stage"] == "network"]
    speedups = network.pivot(index=key, columns="arch", values="speedup")
    for others, count in (("stc", 18), ("dstc", 14)):
        assert set((speedups["crisp-stc"] > speedups[others]).groupby("machine").sum()) == {count}
    for gain in ("gain", "gain_sparseloop"):
        gains = network.pivot(index=key, columns="arch", values=gain)
        assert (gains["crisp-stc"] > gains.drop(columns="crisp-stc").max(axis=1)).all()
    crisp = network[(network["arch"] == "crisp-stc") & (network["machine"] == "edge-lpddr4")]
    for sparsity, said in ((0.9, (2.4, 2.9)), (0.8, (1.8, 2.3))):
        own = crisp[crisp["sparsity"] == sparsity]["gain"]
        assert (own.min(), own.max()) == pytest.approx(said, abs=0.05)
    assert f"{crisp['gain_limit'].max():.2f}x if only DRAM took energy" in PAGE
    assert f"gains more than {crisp['gain_most'].max():.2f}x" in PAGE
    fused = committed("memory-fuse").pivot(index=["network", "arch"], columns="fuse")
    for measure in ("cycles", "dram_read_bytes", "dram_write_bytes", "energy_uj"):
        assert (fused[measure]["yes"] <= fused[measure]["no"]).all()


# --- the figure ---


@compiled
def test_the_figures_table():
    assert section(PAGE, speedup_figure.SECTION) == speedup_figure.markdown(speedup_figure.collect())
