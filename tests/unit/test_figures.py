"""Figures: tables against independent recomputation, pictures against their tables, files whole or not at all."""

import itertools
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from crispsim.bench.figures import (
    drawing,
    energy,
    figure8_table,
    metadata,
    roofline,
    roofline_levels,
    run_energy,
    run_speedup,
    sparsity,
    speedup,
    stalls,
)
from crispsim.bench.figures.drawing import NETWORK, svg_of
from crispsim.bench.figures.figure_kind import FigureKind, read_table, write_figure
from crispsim.bench.figures.registry import FIGURES
from crispsim.bench.figures.run_rows import LONGEST, lines_of
from crispsim.bench.vocabulary import PARTS as PART_LABELS
from crispsim.sim import InputError, Layer, Machine, load_arch, simulate
from tests import pruned_folders

SIZES = {"first": (64, 256, 20), "second": (32, 192, 12), "last": (48, 320, 7)}
PARTS = ["mac", "select", "rf", "accumulator", "smem", "metadata", "leakage"]
CAUSES = ["busy", "stall_drain", "stall_smem", "stall_rf", "stall_sync", "idle"]


def gemm(name, s, k, p, calls=1):
    sizes = {"in_height": p, "in_width": 1, "kernel_h": 1, "kernel_w": 1, "in_channels": k, "out_channels": s}
    return Layer(name=name, kind="gemm", calls=calls, **sizes)


@pytest.fixture(scope="module")
def layers():
    made = [gemm(name, *sizes) for name, sizes in SIZES.items()]
    return [replace(made[0], calls=3), *made[1:]]


@pytest.fixture(scope="module")
def paper(layers):
    """The table of `speedup` and `energy`."""
    return figure8_table.collect(0.85, layers=layers, network="tiny", shown=["last", "first"])


@pytest.fixture(scope="module")
def results(layers):
    return simulate(layers, sparsity=0.85, block=32)


@pytest.fixture(scope="module")
def rows(results):
    return results.to_dataframe()


@pytest.fixture(scope="module")
def roofs(rows):
    return roofline.collect(rows, dict.fromkeys(rows["arch"], Machine.load("edge")))


@pytest.fixture(scope="module")
def behind(layers):
    """The layers with a DRAM."""
    return simulate(layers, machine="edge-lpddr4", sparsity=0.85, block=32, energy=None)


@pytest.fixture(scope="module")
def levels(behind):
    return roofline_levels.collect(behind.to_dataframe(), behind.machines)


@pytest.fixture(scope="module")
def tables(paper, rows, roofs, levels):
    """A small table of every figure."""
    return {
        "metadata": metadata.collect((64, 256)),
        "speedup": paper,
        "energy": paper,
        "stalls": stalls.collect(rows),
        "roofline": roofs,
        "roofline-levels": levels,
        "sparsity": sparsity.collect(pruned_folders.LAYERS),
    }


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """A function that returns the matplotlib figure which a draw function makes."""
    figure_class = pytest.importorskip("matplotlib.figure").Figure

    def call(draw, table):
        caught = []
        monkeypatch.setattr(figure_class, "savefig", lambda self, *_, **__: caught.append(self))
        draw(table, tmp_path / "x.svg")
        (figure,) = caught
        return figure

    return call


# --- tables ---


def test_the_papers_table_is_what_simulate_says(paper, layers):
    assert list(paper["layer"].unique()) == ["last", "first", "network"]
    assert len(paper) == 3 * 3 * 3 * 4
    cells = paper.set_index(["nm", "block", "layer", "arch"])
    for nm, block in itertools.product(("1:4", "2:4", "3:4"), (16, 32, 64)):
        results = simulate(layers, nm=nm, block=block, sparsity=0.85)
        for arch in results.archs:
            own = {row.layer.name: row.row() for row in results.of(arch)}
            dense = {row.layer.name: row.row() for row in results.of("dense")}
            for name in ("last", "first"):
                cell = cells.loc[nm, block, name, arch]
                assert cell["sizes"] == "x".join(map(str, SIZES[name]))
                assert cell["cycles"] == own[name]["cycles"]
                assert cell["speedup"] == pytest.approx(dense[name]["cycles"] / own[name]["cycles"], rel=1e-6)
                assert cell["energy_gain"] == pytest.approx(dense[name]["energy_uj"] / own[name]["energy_uj"], rel=1e-6)
                assert sum(cell[f"{part}_uj"] for part in PARTS) == pytest.approx(cell["energy_uj"], rel=1e-6)
            cell = cells.loc[nm, block, "network", arch]
            for measure, ratio in (("cycles", "speedup"), ("energy_uj", "energy_gain")):
                sums = [3 * t["first"][measure] + t["second"][measure] + t["last"][measure] for t in (own, dense)]
                assert cell[measure] == pytest.approx(sums[0], rel=1e-6)
                assert cell[ratio] == pytest.approx(sums[1] / sums[0], rel=1e-6)
            weights = {name: s * k for name, (s, k, _) in SIZES.items()}
            zeros = sum(own[name]["weight_sparsity"] * weights[name] for name in own)
            assert cell["weight_sparsity"] == pytest.approx(zeros / sum(weights.values()), rel=1e-6)


def test_layers_are_chosen_by_their_work_unless_named(layers):
    many = [gemm(f"l{index}", 16, 64 + 64 * index, 4) for index in range(10)]
    table = figure8_table.collect(0.9, layers=many, network="tiny", archs=["dense", "stc"], energy=None)
    assert list(table["layer"].unique()) == [f"l{index}" for index in range(2, 10)] + ["network"]
    assert "energy_uj" not in table
    for shown, message in (
        (["frist"], "--layer 'frist': not a layer of tiny; did you mean 'first'?"),
        (["first", "first"], "--layer: 2 layers: must be at most 12, each once"),
    ):
        with pytest.raises(InputError, match=message):
            figure8_table.collect(layers=layers, network="tiny", shown=shown)
    with pytest.raises(InputError, match="layer 'network': the figure calls the whole network so"):
        figure8_table.collect(layers=[gemm("network", 16, 64, 4)], network="tiny")


def test_progress_counts_all_runs_as_one(layers):
    told = []
    figure8_table.collect(
        layers=layers,
        network="t",
        archs=["dense", "stc"],
        energy=None,
        progress=lambda layer, done, total: told.append((done, total)),
    )
    assert {total for _, total in told} == {27}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert (told[0][0], told[-1][0]) == (0, 27)
    assert sum(done == 0 for done, _ in told) == 1  # what begins a bar


def test_metadata_is_the_designs_worked_case():
    # S = 512, K = 4608, 2:4, B = 64, 14 of 72 blocks: design "Formats", metadata arithmetic.
    table = metadata.collect(blocks=(64,))
    assert set(table["kept_blocks"]) == {14}
    bits = list(zip(table["format"], table["metadata_bits"], strict=True))
    stored, pointers = 512 * 14 * 64 // 2, 513 * 18
    assert [value for name, value in bits if name == "CSR"] == [stored * width + pointers for width in (10, 13, 16)]
    assert bits[3] == ("ELLPACK", stored * 13)
    assert bits[5] == ("Bitmap", 512 * 4608)
    assert bits[6] == ("Bitmap", 512 * 4608 // 512 + stored * 2)  # every element of the kept blocks' tiles
    assert bits[7] == ("N:M alone", 512 * 4608 // 2 * 2)
    assert bits[8] == ("Blocked-ELL", 8 * 14 * 7)
    assert bits[9] == ("CRISP", stored * 2 + 8 * 14 * 7)
    assert bits[10] == ("CRISP, paper's formula", stored * 2 + 8 * 14 * 3)
    assert [round(ratio, 1) for ratio in table["over_crisp"][:4]] == [5.0, 6.5, 8.0, 6.5]
    # The fullest row of the unstructured mask is longer than all others' mean of 448.
    assert bits[4][1] > 512 * 448 * 13
    assert bits[4][1] % (512 * 13) == 0
    assert list(table["paper"]) == [5, 5, 5, 7, 7, 0, 0, 0, 0, 0, 0]
    assert all(table["metadata_kib"] == table["metadata_bits"] / 8192)
    assert all(table["assumption"] != "")


def test_the_metadata_of_the_docs_is_what_the_code_makes():
    path = Path(__file__).resolve().parents[2] / "docs" / "figure-metadata.csv"
    assert_frame_equal(read_table(FIGURES["metadata"], path), metadata.collect())


def test_without_metadata_there_is_nothing_to_compare():
    with pytest.raises(InputError, match="64 x 64, dense block 64: it takes no metadata"):
        metadata.collect((64, 64), nm="dense", blocks=(64,))


def test_folded_layers_add_up(layers, rows, results):
    twice = simulate([layers[0], replace(layers[0], name="again", calls=1), *layers[1:]], sparsity=0.85, block=32)
    folded = lines_of(twice.to_dataframe())
    assert [line.label for line in folded] == ["first  ×4", "second", "last", NETWORK]
    own = twice.to_dataframe()
    for arch in twice.archs:
        of_arch = own[own["arch"] == arch].set_index("layer")
        for column in ("cycles", "stall_smem_core_cycles"):
            expected = 3 * of_arch.at["first", column] + of_arch.at["again", column]
            assert folded[0].sums[arch][column] == pytest.approx(expected)
        total = twice.total(arch)
        assert folded[-1].sums[arch]["cycles"] == total.cycles
        assert {cause: folded[-1].sums[arch][f"{cause}_core_cycles"] for cause in CAUSES} == {
            cause: total.core_cycles[cause] for cause in CAUSES
        }


def test_of_very_many_layers_the_longest_are_shown(rows):
    more = pd.concat(
        [rows.assign(layer=rows["layer"] + str(index), s=rows["s"] + index, cycles=rows["cycles"] * (1 + index % 50))
         for index in range(30)],
        ignore_index=True,
    )  # fmt: skip
    lines = lines_of(more)
    assert len(lines) == LONGEST + 1
    assert (lines[-2].label, lines[-1].label) == ("31 other layers", NETWORK)
    for arch in lines[-1].sums:
        assert sum(line.sums[arch]["cycles"] for line in lines[:-1]) == lines[-1].sums[arch]["cycles"]
    shown = [line.sums["dense"]["cycles"] for line in lines[:-2]]
    assert min(shown) * 31 >= lines[-2].sums["dense"]["cycles"]


def test_what_figures_say_is_in_their_tables(tables, results, paper):
    said = stalls.says(tables["stalls"])
    for line, arch in zip(said, results.archs, strict=True):
        spent = results.total(arch).core_cycles
        others = {cause: cycles for cause, cycles in spent.items() if cause != "busy"}
        worst = max(others, key=lambda cause: others[cause])
        assert line == (
            f"{arch}: {spent['busy'] / sum(spent.values()):.2%} of core-cycles busy; the most of the rest {worst}, "
            f"{others[worst] / sum(spent.values()):.2%}"
        )
    cell = paper.set_index(["nm", "block", "layer", "arch"])["speedup"]
    own = [cell["1:4", 64, name, "crisp-stc"] for name in ("network", "first", "last")]
    line = speedup.says(paper)[0]
    assert line.startswith("1:4, B = 64: stc network ")
    assert line.endswith(f"crisp-stc network {own[0]:.2f}x, layers {min(own[1:]):.2f}x to {max(own[1:]):.2f}x")
    assert len(energy.says(paper)) == 3  # the paper speaks of ResNet-50
    assert energy.says(paper.assign(network="resnet50"))[-1] == "paper, layers: crisp-stc up to 30x, stc up to 2x"
    assert not figure8_table.claims_apply(paper.assign(network="resnet50", requested_sparsity=0.95))
    rows = [row.row() for row in results.of("dstc")]
    shares = [row["macs_issued"] / (256 * row["cycles"]) for row in rows]
    intensities = [row["macs_issued"] / (row["smem_read_bytes"] + row["smem_write_bytes"]) for row in rows]
    assert roofline.says(tables["roofline"])[2] == (
        f"dstc: {sum(share >= 0.9 for share in shares)} of 3 layers issue at least 90% of the peak's MACs, the median "
        f"{sorted(shares)[1]:.1%}; {sorted(intensities)[1]:.2f} MACs a byte in the median"
    )
    own = tables["metadata"].query("block == 64")
    ratios = {name: own.loc[own["format"] == name, "over_crisp"] for name in ("CSR", "ELLPACK")}
    crisp = own[own["format"] == "CRISP"].iloc[0]
    assert metadata.says(tables["metadata"]) == [
        *(
            f"{name}: {min(found):.1f} to {max(found):.1f} times CRISP's metadata at B = 64, as assumed (paper: about "
            f"{paper})"
            for (name, found), paper in zip(ratios.items(), (5, 7), strict=True)
        ),
        f"CRISP: {crisp['metadata_bits'] / 8192:.1f} KiB for {crisp['stored_values']:,} values at B = 64",
    ]


# --- pictures ---


def test_bars_of_speedup_are_the_table(paper, drawn):
    figure = drawn(speedup.draw, paper)
    cell = paper.set_index(["nm", "block", "layer", "arch"])["speedup"]
    bars = [("stc", 64), ("dstc", 64), ("crisp-stc", 16), ("crisp-stc", 32), ("crisp-stc", 64)]
    for axes, nm in zip(figure.axes, ("1:4", "2:4", "3:4"), strict=True):
        assert len(axes.containers) == len(bars)
        for container, (arch, block) in zip(axes.containers, bars, strict=True):
            heights = [patch.get_height() for patch in container]
            assert heights == pytest.approx([cell[nm, block, name, arch] for name in ("last", "first", "network")])


def test_bars_of_energy_stand_on_one_and_stack_up(paper, drawn):
    figure = drawn(energy.draw, paper)
    cells = paper.set_index(["nm", "block", "layer", "arch"])
    gains, parts = figure.axes[:3], figure.axes[3:]
    for axes, nm in zip(gains, ("1:4", "2:4", "3:4"), strict=True):
        tops = [patch.get_y() + patch.get_height() for patch in axes.containers[-1]]
        wanted = [cells.at[(nm, 64, name, "crisp-stc"), "energy_gain"] for name in ("last", "first", "network")]
        assert tops == pytest.approx(wanted)
    for axes, nm in zip(parts, ("1:4", "2:4", "3:4"), strict=True):
        ends = [0.0] * 6
        for container, part in zip(axes.containers, PARTS, strict=True):
            assert container.get_label() == PART_LABELS[part][0]
            ends = [end + patch.get_width() for end, patch in zip(ends, container, strict=True)]
        network = [("dense", 64), ("stc", 64), ("dstc", 64), *(("crisp-stc", block) for block in (16, 32, 64))]
        own = [cells.loc[nm, block, "network", arch] for arch, block in network]
        assert ends == pytest.approx([1e6 * row["energy_uj"] / row["macs_dense"] for row in own], rel=1e-5)


def test_the_papers_ranges_are_drawn_where_they_apply(paper, tmp_path):
    pytest.importorskip("matplotlib")
    own = paper.assign(layer=paper["layer"].replace({"last": "layer1.0.conv1"}))
    assert "paper" not in svg_of(speedup.draw, own)
    said = svg_of(speedup.draw, own.assign(network="resnet50"))
    for label in ("paper, crisp-stc, 80% to 90% pruned", "paper, dstc, early layers", "paper, stc, at most"):
        assert label in said
    assert "paper" not in svg_of(energy.draw, own)
    said = svg_of(energy.draw, own.assign(network="resnet50"))
    for label in ("paper, crisp-stc, up to 30×", "paper, stc, up to 2×"):
        assert label in said


def test_bars_and_marks_of_metadata_are_the_table(tables, drawn):
    table = tables["metadata"]
    (axes,) = drawn(metadata.draw, table).axes
    bars = {}
    for container in axes.containers:
        (bar,) = container
        block = int(container.get_label().removeprefix("B = "))
        bars.setdefault(block, []).append((bar.get_y(), bar.get_width()))
    marks = [line.get_xdata()[0] for line in axes.lines]
    for block, own in table.groupby("block"):
        places, widths = zip(*sorted(bars[block]), strict=True)
        assert list(widths) == pytest.approx(list(own["metadata_kib"]))  # from the top as in the table
        assert len(set(places)) == len(own)
    named = table[table["paper"] > 0]
    crisp = table[table["format"] == "CRISP"].set_index("block")["metadata_kib"]
    assert sorted(marks) == pytest.approx(sorted(named["paper"] * crisp.loc[named["block"]].to_numpy()))


def test_stalls_fill_the_bar(rows, drawn, results):
    figure = drawn(stalls.draw, rows)
    assert [axes.get_title("left") for axes in figure.axes] == results.archs
    for axes, arch in zip(figure.axes, results.archs, strict=True):
        widths = [[patch.get_width() for patch in container] for container in axes.containers]
        assert [sum(bar) for bar in zip(*widths, strict=True)] == pytest.approx([100] * 4)
        spent = results.total(arch).core_cycles
        network = [100 * spent[cause] / sum(spent.values()) for cause in CAUSES]
        assert [own[-1] for own in widths] == pytest.approx(network)


@pytest.mark.parametrize(("count", "across"), [(1, 1), (4, 4), (5, 3), (6, 3), (9, 3)])
def test_panels_of_many_architectures_stand_in_rows_and_nothing_overlaps(rows, drawn, count, across):
    names = [f"dstc-equal-storage-{index}" for index in range(count)]
    dense = rows[rows["arch"] == "dense"]
    table = pd.concat([dense.assign(arch=name) for name in names], ignore_index=True)
    figure = drawn(stalls.draw, table)
    figure.draw_without_rendering()
    shown = figure.axes
    assert len(shown) == count
    tops = [round(axes.get_window_extent().y1) for axes in shown]
    assert tops.count(tops[0]) == across
    assert len(set(tops)) == -(-count // across)
    whole = figure.bbox
    titles = [axes._left_title.get_window_extent() for axes in shown]
    boxes = [*titles, *(text.get_window_extent() for axes in shown for text in axes.texts)]
    assert all(box.x1 <= whole.x1 for box in boxes)
    for one, two in itertools.combinations(titles, 2):
        assert not one.overlaps(two)
    for axes in shown:
        bars_end = axes.transData.transform((100, 0))[0]
        assert all(text.get_window_extent().x0 >= bars_end for text in axes.texts)
        ticks = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(one.x1 < two.x0 for one, two in itertools.pairwise(ticks))


def test_points_lie_below_the_roofs(roofs, drawn):
    figure = drawn(roofline.draw, roofs)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert {"128 B/cycle, both SMEM ports", "64 B/cycle, read port"} < set(lines)
    for arch in roofs["arch"].unique():
        x, y = lines[f"{arch}, 3 layers"].get_data()
        own = roofs[roofs["arch"] == arch]
        assert list(x) == pytest.approx(list(own["macs_issued"] / (own["smem_read_bytes"] + own["smem_write_bytes"])))
        assert list(y) == pytest.approx(list(own["macs_issued"] / own["cycles"]))
        assert all(rate <= min(256, 128 * intensity) for intensity, rate in zip(x, y, strict=True))


def test_machines_of_their_own_have_roofs_of_their_own(rows, drawn):
    own = Machine.load("edge", {"core.count": 2, "smem.bytes_per_cycle": 32})
    two = roofline.collect(rows, dict.fromkeys(rows["arch"], Machine.load("edge")) | {"dstc": own})
    figure = drawn(roofline.draw, two)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    first = [
        lines[f"{label} (dense, stc, crisp-stc)"] for label in ("128 B/cycle, both SMEM ports", "64 B/cycle, read port")
    ]
    second = [lines[f"{label} (dstc)"] for label in ("64 B/cycle, both SMEM ports", "32 B/cycle, read port")]
    looks = [{(line.get_color(), line.get_linewidth()) for line in own} for own in (first, second)]
    assert len(looks[0]) == len(looks[1]) == 1
    ((colour, width),), ((other, narrower),) = looks
    assert colour != other
    assert width > narrower  # the later, drawn above, covers no more than the middle of the earlier
    assert [line.get_linestyle() for line in (*first, *second)] == ["-", "--", "-", "--"]
    assert {text.get_text(): text.get_color() for text in axes.texts} == {
        "256 MAC/cycle": colour,
        "128 MAC/cycle": other,
    }
    marks, roofs_legend = [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]
    assert marks == [f"{arch}, 3 layers" for arch in ("dense", "stc", "dstc", "crisp-stc")]
    assert [" ".join(text.split()) for text in roofs_legend] == [line.get_label() for line in (*first, *second)]
    figure.draw_without_rendering()
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1


def test_a_runs_speedups_and_energies(rows, drawn, results):
    (axes,) = drawn(run_speedup.draw, rows).axes
    lines = {line.get_label().partition(",")[0]: line for line in axes.lines}
    for arch in results.archs[1:]:
        values = [*rows.loc[rows["arch"] == arch, "speedup"], results.total(arch).speedup]
        assert list(lines[arch].get_xdata()) == pytest.approx(values)
    (axes,) = drawn(run_energy.draw, rows).axes
    for index, arch in enumerate(results.archs):
        own = rows[rows["arch"] == arch]
        spent, macs = ((own[column] * own["calls"]).sum() for column in ("energy_uj", "macs_dense"))
        bar = sum(container[index].get_width() for container in axes.containers)
        assert bar == pytest.approx(1e6 * spent / macs)


def test_every_layer_lies_twice_below_the_roofs_of_its_levels(behind, levels, drawn):
    figure = drawn(roofline_levels.draw, levels)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(panels) == behind.archs
    for arch, axes in panels.items():
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        lines = axes.get_lines()
        (peak,) = [line for line in lines if set(line.get_ydata()) == {256}]
        assert len(peak.get_xdata()) == 2
        slopes = [line for line in lines if line is not peak and len(line.get_xdata()) == 2]
        assert [line.get_ydata()[0] / line.get_xdata()[0] for line in slopes] == pytest.approx([17, 64])
        assert [line.get_ydata()[1] for line in slopes] == [256, 256]
        marks = [line for line in lines if line.get_linestyle() == "None"]
        own = behind.of(arch)
        moved = [lambda g: g.dram_read_bytes + g.dram_write_bytes, lambda g: g.smem_read_bytes]
        for line, slope, of in zip(marks, (17, 64), moved, strict=True):
            groups = [row.group for row in own]
            assert list(line.get_xdata()) == pytest.approx([g.macs_issued / of(g) for g in groups])
            assert list(line.get_ydata()) == pytest.approx([g.macs_issued / g.cycles for g in groups])
            assert all(y <= min(256, slope * x) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_what_the_levels_say_is_of_the_bounds(behind, levels):
    for line, arch in zip(roofline_levels.says(levels), behind.archs, strict=True):
        counts = {"DRAM": 0, "SMEM read port": 0, "MACs": 0}
        for row in behind.of(arch):
            g = row.group
            takes = {
                "DRAM": (g.dram_read_bytes + g.dram_write_bytes) / 17,
                "SMEM read port": g.smem_read_bytes / 64,
                "MACs": g.macs_issued / 256,
            }
            counts[max(takes, key=lambda name: takes[name])] += 1
        assert line.startswith(
            f"{arch}: the lowest roof of 3 layers: " + ", ".join(f"{n} {c}" for n, c in counts.items())
        )


def test_levels_where_only_some_machines_have_a_dram(rows, layers, drawn):
    specs = [load_arch("dense"), load_arch("crisp-stc", "edge-lpddr4")]
    mixed = simulate(layers, specs, sparsity=0.85, block=32, energy=None)
    table = roofline_levels.collect(mixed.to_dataframe(), mixed.machines)
    figure = drawn(roofline_levels.draw, table)
    assert [sum(line.get_linestyle() == "None" for line in axes.get_lines()) for axes in figure.axes] == [1, 2]
    assert "DRAM" not in roofline_levels.says(table)[0]
    resident = roofline_levels.collect(rows, dict.fromkeys(rows["arch"], Machine.load("edge")))
    assert roofline_levels.lacks(resident) == [roofline_levels.NO_DRAM]


@pytest.mark.parametrize("name", FIGURES)
def test_pictures_are_whole_and_alike_every_time(name, tables, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    kind = FIGURES[name]
    files = write_figure(kind, tables[name], tmp_path / "a" / "b")
    assert [path.name for path in files] == [f"{name}.csv", f"{name}.svg", f"{name}.png"]
    assert sorted(files) == sorted((tmp_path / "a" / "b").iterdir())
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]

    table = read_table(kind, files[0])
    assert_frame_equal(table, tables[name].reset_index(drop=True), check_dtype=True)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.fonttype": "path"}):  # a user's own
        again = write_figure(kind, table, tmp_path / "a" / "b")
    twin = write_figure(kind, tables[name], tmp_path / "c")
    for path, other in zip(again, twin, strict=True):
        assert path.read_bytes() == other.read_bytes()

    root = ElementTree.parse(files[1]).getroot()
    texts = {"".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")}
    crisp = {f"crisp-stc, B = {block}" for block in (16, 32, 64)}
    assert (
        texts
        >= {
            "metadata": set(table.get("format", ())) | {"B = 16", "B = 32", "B = 64"},
            "speedup": {"stc", "dstc", "1:4", "2:4", "3:4", "network", *crisp},
            "energy": {"dense", "stc", "dstc", "network", *crisp, *(PART_LABELS[part][0] for part in PARTS)},
            "stalls": {"dense", "stc", "dstc", "crisp-stc", "network", *CAUSES},
            "roofline": {f"{arch}, 3 layers" for arch in ("dense", "stc", "dstc", "crisp-stc")},
            "roofline-levels": {
                "dense",
                "stc",
                "dstc",
                "crisp-stc",
                "256 MAC/cycle",
                "DRAM 17 B/cycle",
                "SMEM 64 B/cycle",
                "MACs issued per byte moved (MAC/B)",
                "MACs issued per cycle (MAC/cycle)",
            },
            "sparsity": {"stem", "late", "2/5", "3/3", "dense", *sparsity.LOOKS},
        }[name]
    )
    assert b"<dc:date>" not in files[1].read_bytes()
    pixels = imread(files[2])
    assert pixels.shape[1] == 1400
    assert len({tuple(pixel) for pixel in pixels[::7, ::7].reshape(-1, pixels.shape[2])}) > 5


@pytest.mark.parametrize("draw", [stalls.draw, run_speedup.draw, run_energy.draw, roofline.draw])
def test_odd_names_can_be_drawn(draw, rows, roofs):
    pytest.importorskip("matplotlib")
    names = {"first": "$x_1$ <script>", "second": "a--b & 层\x07", "last": "x" * 90}
    own = rows.assign(**{name: roofs[name] for name in roofline.ROOFS})
    own = own.assign(layer=own["layer"].replace(names), arch=own["arch"].replace({"stc": "my $arch$ --"}))
    ElementTree.fromstring(svg_of(draw, own))
    one = own[own["arch"] == "dense"]
    ElementTree.fromstring(svg_of(draw, one))


def test_looks_differ_in_lightness_or_hatch():
    for looks in (
        sparsity.LOOKS,
        drawing.CAUSE_LOOKS,
        drawing.PART_LOOKS,
        drawing.looks_of(["dense", "stc", "dstc", "crisp-stc"]),
    ):
        for one, two in itertools.combinations(looks.values(), 2):
            assert one.hatch != two.hatch or abs(_lightness(one.colour) - _lightness(two.colour)) > 0.08, (one, two)
    assert len(set(drawing.looks_of(["a", "b", "c", "d", "stc"]).values())) == 5


def _lightness(colour):
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# --- files ---


def spoil(table, path, change):
    """Write a table with something changed."""
    change(table.copy().astype(object)).to_csv(path, index=False)
    return path


def put(row, column, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("speedup", put(3, "speedup", "fast"), "row 5, column speedup: 'fast': must be a number above 0"),
        ("speedup", put(0, "cycles", -1), "row 2, column cycles: '-1': must be a number above 0"),
        ("speedup", put(1, "weight_sparsity", "inf"), "row 3, column weight_sparsity: 'inf': must be a number of at"),
        ("energy", put(2, "smem_uj", "nan"), "row 4, column smem_uj: 'nan': must be a number of at least 0"),
        ("energy", put(4, "arch", ""), "row 6, column arch: '': must not be empty"),
        ("stalls", put(0, "calls", 0), "row 2, column calls: '0': must be a number above 0"),
        ("roofline", lambda t: t.drop(columns="cycles"), "the figure roofline: no column cycles"),
        ("metadata", lambda t: t.drop(index=t.index), "the table has no rows"),
        ("speedup", lambda t: t.drop(index=5), "0 rows of 1:4, block 16, layer first, stc: must be one"),
        ("energy", put(4, "arch", "stc"), "2 rows of 1:4, block 16, layer first, stc: must be one"),
        ("speedup", lambda t: t.drop(index=t.index[t["arch"] != "dense"]), "no architecture beside"),
        ("metadata", lambda t: t.assign(metadata_kib=0), "no format takes any metadata"),
        ("roofline", lambda t: t.assign(macs_issued=0), "no layer issues a MAC"),
        ("roofline-levels", lambda t: t.assign(macs_issued=0), "no layer issues a MAC"),
        ("roofline-levels", lambda t: t.assign(dram_bytes_per_cycle=0), "no machine has a DRAM: run with one, such as"),
        ("stalls", lambda t: t.assign(**{f"{cause}_core_cycles": 0 for cause in CAUSES}), "row 2: no core-cycles"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_drawn_is_said(name, change, message, tables, tmp_path):
    path = spoil(tables[name], tmp_path / "t.csv", change)
    with pytest.raises(InputError) as caught:
        read_table(FIGURES[name], path)
    assert f"{path}: " in caught.value.lines[0]
    assert any(message in line for line in caught.value.lines)


def test_what_is_no_table_is_said(tmp_path):
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00a,b\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    for path, message in (
        ("none.csv", "cannot read"),
        ("bytes.csv", "not a CSV table: it is not text in UTF-8"),
        ("empty.csv", "not a CSV table: it is empty"),
        ("ragged.csv", "not a CSV table: its rows do not all have the columns of its heading"),
        ("", "cannot read"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            read_table(FIGURES["stalls"], tmp_path / path)
        assert len(caught.value.lines) == 1


def test_nothing_half_written_is_left(tables, tmp_path):
    def fails(table, path):
        if path.suffix == ".png":
            raise OSError(28, "No space left on device")
        path.write_text("<svg/>")

    kind = FIGURES["stalls"]
    bad = FigureKind(
        name=kind.name, summary="", text=kind.text, numbers=kind.numbers, draw=fails, says=kind.says
    )  # fmt: skip
    folder = tmp_path / "new"
    with pytest.raises(InputError, match=r"--out .*new: cannot write: No space left on device"):
        write_figure(bad, tables["stalls"], folder)
    assert not [*tmp_path.iterdir()]
    folder.mkdir()
    (folder / "stalls.svg").write_text("earlier")
    (folder / "other").write_text("untouched")
    with pytest.raises(InputError):
        write_figure(bad, tables["stalls"], folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "stalls.svg": "earlier", "other": "untouched",
    }  # fmt: skip


def test_a_folder_that_cannot_be_written_is_said(tables, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "f" / "stalls.png").mkdir(parents=True)
    for folder, message in (
        (tmp_path / "file" / "x", "is a file; give a folder"),
        (tmp_path / "f", "stalls.png is a folder"),
    ):
        with pytest.raises(InputError, match=message):
            write_figure(FIGURES["stalls"], tables["stalls"], folder)
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["stalls.png"]


def test_without_matplotlib_the_line_says_how_to_get_it(rows, monkeypatch, tmp_path):
    monkeypatch.setattr(drawing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'crispsim\[plot\]'"):
        stalls.draw(rows, tmp_path / "x.svg")
    assert not [*tmp_path.iterdir()]
