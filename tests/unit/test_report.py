"""What a report holds, and that it is a whole page of its own: valid, escaped, loading nothing, complete."""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import html5lib
import pandas
import pytest
import tomli_w
from markdown_it import MarkdownIt

from crispsim.bench.report import report_of, report_targets, write_report
from crispsim.bench.report.content import Column, Notes, Picture, Section, Table, Text, listed, significant
from crispsim.bench.report.html import html_page
from crispsim.bench.report.markdown import markdown_page
from crispsim.bench.report.pictures import inline
from crispsim.bench.report.run_content import run_report
from crispsim.bench.run_folder import read_run
from crispsim.cli.main import run_command as crispsim
from crispsim.sim import InputError

NAMES = ("<script>alert(1)</script>", "a \"quoted\" & 'odd' | `name` *x* \\", "中文 \u00e9 </style>", "fc")
NETWORK = f"""Layer, M, N, K, NM, Block, Weight Sparsity
{NAMES[0]}, 40, 64, 128,,,
"{NAMES[1].replace('"', '""')}", 40, 64, 128, 1:4, 32, 0.875
{NAMES[2]}, 3000, 64, 128, 2:4, none,
{NAMES[3]}, 1, 10, 64,,,
"""
SHAPE = ["--block", "32", "--sparsity", "0.75", "--quiet"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Runs of a small network with odd names: with energy, without, and on one architecture."""
    root = tmp_path_factory.mktemp("runs")
    (root / "odd names.csv").write_text(NETWORK, encoding="utf-8")
    asked = ["run", "--layer-csv", str(root / "odd names.csv"), *SHAPE]
    assert crispsim([*asked, "--out", str(root / "energy")]) == 0
    assert crispsim([*asked, "--energy", "none", "--out", str(root / "none")]) == 0
    assert crispsim([*asked, "--arch", "stc", "--out", str(root / "one")]) == 0
    return root


@pytest.fixture(scope="module")
def page(folders):
    return html_page(report_of(folders / "energy"))


@pytest.fixture(scope="module")
def tree(page):
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


@pytest.fixture
def own(folders, tmp_path):
    """A copy of the run with energy, to be changed."""
    return Path(shutil.copytree(folders / "energy", tmp_path / "own"))


def change(folder, edit, name="summary.json"):
    """Rewrite a file of a run after an edit of its content in place."""
    path = folder / name
    text = path.read_text(encoding="utf-8")
    content = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    edit(content)
    path.write_text(json.dumps(content) if name.endswith(".json") else tomli_w.dumps(content), encoding="utf-8")


def add_up(folder):
    """Make the totals of a run's cycles and energy what its rows, after an edit, add up to."""
    rows = pandas.read_csv(folder / "results.csv", keep_default_na=False)

    def edit(summary):
        for arch, total in summary["totals"].items():
            own = rows[rows["arch"] == arch]
            for key in ("cycles", "energy_uj"):
                total[key] = (own[key] * own["calls"]).sum().item()

    change(folder, edit)


def text_of(element):
    return "".join(element.itertext())


def cells_of(tree, table):
    """The texts of a table's rows, below its headings."""
    (found,) = [element for element in tree.iter("table") if element.get("id") == table]
    return [[text_of(cell) for cell in row] for row in found.find("tbody")]


def heads_of(tree, table):
    (found,) = [element for element in tree.iter("table") if element.get("id") == table]
    return [text_of(cell) for cell in found.find("thead").find("tr")]


def section_of(report, name) -> Section:
    return next(section for section in report.sections if section.id == name)


def table_of(report, name) -> Table:
    tables = [block for section in report.sections for block in section.blocks if isinstance(block, Table)]
    return next(table for table in tables if table.id == name)


def notes_of(report, section="reading"):
    """Term and text of every point in a part, that on how to read it unless named."""
    blocks = section_of(report, section).blocks
    return [item for block in blocks if isinstance(block, Notes) for item in block.items]


# --- the page as a page


@pytest.mark.parametrize("name", ["energy", "none", "one"])
def test_the_page_is_valid_html(folders, name):
    page = html_page(report_of(folders / name))
    html5lib.HTMLParser(strict=True).parse(page)  # raises at the first error


def test_names_are_shown_as_they_are_and_never_taken_for_html(tree, page):
    named = {row[0] for row in cells_of(tree, "layer-table")}
    assert named == {"\u0020".join(name.split()) for name in NAMES}
    assert len(list(tree.iter("script"))) == 1
    assert len(list(tree.iter("style"))) == 1
    assert "alert(1)</script>" not in page


def test_nothing_is_loaded_from_anywhere(tree, page):
    loading = {"src", "href", "srcset", "action", "poster", "data", "background", "{http://www.w3.org/1999/xlink}href"}
    found = [(key, value) for element in tree.iter() for key, value in element.attrib.items() if key in loading]
    assert found
    assert all(value.startswith("#") or value == "data:," for _, value in found)
    assert not re.search(r"@import|url\((?!#)", page)
    assert not re.search(r"fetch|XMLHttpRequest|import\(|WebSocket", page)
    (policy,) = [meta.get("content") for meta in tree.iter("meta") if meta.get("http-equiv")]
    assert "default-src 'none'" in policy


def test_ids_are_unique_and_every_reference_has_its_aim(tree, page):
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    named = {element.get(key) for element in tree.iter() for key in ("aria-labelledby", "aria-describedby")} - {None}
    links = {element.get("href")[1:] for element in tree.iter() if (element.get("href") or "").startswith("#")}
    drawn = set(re.findall(r"url\(#([^)]+)\)", page))
    assert links
    assert drawn
    assert (named | links | drawn) <= set(ids)


def test_there_are_four_figures_each_with_a_description(tree):
    drawings = list(tree.iter("{http://www.w3.org/2000/svg}svg"))
    assert [element.get("id") for element in drawings] == [
        "figure-speedup", "figure-energy", "figure-stalls", "figure-roofline",
    ]  # fmt: skip
    assert all(element.get("role") == "img" and element.get("aria-label") for element in drawings)


def test_a_figure_set_into_a_page_keeps_to_itself():
    svg = """<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
      width="7pt" viewBox="0 0 9 5"><metadata>made by http://example.org</metadata>
      <defs><style>*{stroke-linecap: butt}</style><path id="p" d="M 0.123456 1 L 2 3"/><clipPath id="c"/></defs>
      <g id="unused" clip-path="url(#c)"><use xlink:href="#p"/></g></svg>"""
    made = inline(svg, "one", 'says "so"')
    assert 'id="one-p"' in made
    assert 'href="#one-p"' in made
    assert 'clip-path="url(#one-c)"' in made
    assert "#one * {stroke-linecap: butt}" in made
    assert "M 0.12 1 L 2 3" in made
    assert 'aria-label="says &quot;so&quot;"' in made
    assert not re.search(r"unused|metadata|http|width|xmlns|ns0", made)
    assert inline(svg, "two", "").count("one") == 0


# --- what it says


def test_every_row_and_column_of_the_results_is_in_the_table_of_layers(tree, folders):
    rows = pandas.read_csv(folders / "energy" / "results.csv", dtype=str, keep_default_na=False)
    report = report_of(folders / "energy")
    table = table_of(report, "layer-table")
    names = [column.meaning.partition(":")[0] for column in table.columns]
    assert sorted(names) == sorted(rows.columns)
    assert len(cells_of(tree, "layer-table")) == len(rows) == len(table.rows)
    units = {"µs": 1, "ms": 1e3, "ns": 1e-3, "µJ": 1, "nJ": 1e-3, "pJ·s": 1, "fJ·s": 1e-3, "nJ·s": 1e3}
    sizes = [units.get(column.unit, 1) for column in table.columns]
    assert {column.unit for column, size in zip(table.columns, sizes, strict=True) if size != 1}
    for row, own in zip(table.rows, rows.to_dict(orient="records"), strict=True):
        for name, value, size in zip(names, row, sizes, strict=True):
            if own[name] == "":
                assert value is None
            elif size == 1:
                assert str(value) == own[name] or float(value) == float(own[name])
            else:
                assert value * size == pytest.approx(float(own[name]), rel=1e-12)


def test_a_rounded_cell_of_the_layers_has_its_value_to_sort_by(tree, folders):
    rows = read_run(folders / "energy").rows
    (table,) = [element for element in tree.iter("table") if element.get("id") == "layer-table"]
    at = next(i for i, head in enumerate(heads_of(tree, "layer-table")) if head.startswith("utilization"))
    exact = [float(row[at].get("data-v") or text_of(row[at])) for row in table.find("tbody")]
    for found, value, row in zip(exact, rows["utilization"], table.find("tbody"), strict=True):
        assert found == value or (found / 100 == value and "data-v" not in row[at].attrib)


def test_all_totals_stand_in_the_page(tree, folders):
    summary = json.loads((folders / "energy" / "summary.json").read_text())
    shown = {row[0]: row[2:] for row in cells_of(tree, "all-totals")}
    for place, total in enumerate(summary["totals"].values()):
        flat = {key: value for key, value in total.items() if key not in ("arch", "core_cycles")}
        flat |= {f"core_cycles.{cause}": cycles for cause, cycles in total["core_cycles"].items()}
        for key, value in flat.items():
            cell = shown[key][place].replace(",", "")
            if isinstance(value, int):
                assert cell == str(value)
            else:
                assert float(cell) == pytest.approx(value, rel=5e-4)
    assert len(shown) == len(flat)


def test_the_headline_is_of_the_totals_and_marks_the_best(folders):
    run = read_run(folders / "energy")
    table = table_of(report_of(folders / "energy"), "headline")
    totals = list(run.summary["totals"].values())
    labels = [column.label for column in table.columns]
    for key, label, better in (
        ("cycles", "cycles", min), ("speedup", "speedup", max), ("energy_gain", "energy gain", max),
        ("tops_per_watt_dense", "efficiency, dense", max), ("tops_per_watt_effectual", "efficiency, effectual", max),
    ):  # fmt: skip
        at = labels.index(label)
        values = [total[key] for total in totals]
        assert [row[at] for row in table.rows] == values
        best = {row for row, column in table.best if column == at}
        assert best == {row for row, value in enumerate(values) if value == better(values)}
    scales = {"ms": 1e3, "µs": 1, "mJ": 1e3, "µJ": 1, "nJ·s": 1e3, "µJ·s": 1e6, "pJ·s": 1}
    for key, label in (("latency_us", "latency"), ("energy_uj", "energy"), ("edp_uj_us", "EDP")):
        at = labels.index(label)
        scale = scales[table.columns[at].unit]
        assert [row[at] * scale for row in table.rows] == pytest.approx([total[key] for total in totals])
    assert table.rows[0][0] == "dense (reference)"
    assert not any(column == labels.index("utilization") for _, column in table.best)


def test_a_column_in_which_all_are_alike_marks_none(own):
    rows = pandas.read_csv(own / "results.csv", keep_default_na=False)
    rows.assign(energy_uj=5.0).to_csv(own / "results.csv", index=False)
    add_up(own)
    report = report_of(own)
    table = table_of(report, "headline")
    at = [column.label for column in table.columns].index("energy")
    assert not any(column == at for _, column in table.best)
    assert verdict_of(report).endswith(". dense, stc, dstc and crisp-stc take equally much energy (20.00 µJ).")


@pytest.mark.parametrize(
    ("latency", "energy", "said"),
    [
        ((9, 2, 3, 4), (9, 2, 3, 4), "stc is the fastest (2.000 µs): 2.10 times as fast as dense. It also takes the"),
        ((9, 2, 2, 4), (9, 2, 2, 4), "stc and dstc are equally fast, before all others (2.000 µs): 2.10 to 3.20 times "
         "as fast as dense. They also take the least energy (2.000 µJ): dense takes 1.50 times as much."),
        ((9, 2, 2.00004, 4), (9, 8, 2, 2), "stc and dstc are equally fast, before all others (2.000 µs): 2.10 to 3.20 "
         "times as fast as dense. dstc and crisp-stc take the least energy (2.000 µJ): dense takes 1.50 to 4.00 times"),
        ((2, 2, 3, 4), (2, 2, 3, 4), "dense and stc are equally fast, before all others (2.000 µs). They also take the "
         "least energy (2.000 µJ)."),
        ((2, 2, 2, 2), (2, 2, 2, 2), "dense, stc, dstc and crisp-stc take equally long (2.000 µs). They also take "
         "equally much energy (2.000 µJ)."),
        ((2, 2.01, 3, 4), (9, 2, 2.01, 4), "dense is the fastest (2.000 µs). stc takes the least energy (2.000 µJ)"),
    ],
)  # fmt: skip
def test_all_that_share_the_first_place_are_named_and_marked(own, latency, energy, said):
    run = read_run(own)
    for total, us, uj in zip(run.summary["totals"].values(), latency, energy, strict=True):
        total |= {"latency_us": float(us), "energy_uj": float(uj)}
    for arch, speedup, gain in (("stc", 2.1, 1.5), ("dstc", 3.2, 1.5), ("crisp-stc", 2.1, 4.0)):
        run.summary["totals"][arch] |= {"speedup": speedup, "energy_gain": gain}
    report = run_report(run, None)
    assert verdict_of(report).startswith(said)
    table = table_of(report, "headline")
    labels = [column.label for column in table.columns]
    for label, values in (("latency", latency), ("energy", energy)):
        marked = {row for row, at in table.best if at == labels.index(label)}
        least = {row for row, value in enumerate(values) if f"{value:.3f}" == f"{min(values):.3f}"}
        assert marked == (least if len(least) < 4 else set())


def verdict_of(report):
    return section_of(report, "results").blocks[0].text


def test_breakdowns_add_up(folders):
    run, report = read_run(folders / "energy"), report_of(folders / "energy")
    for name, key in (("stall-table", "core_cycles"), ("energy-table", None)):
        table = table_of(report, name)
        *parts, whole = table.rows
        for place, (arch, total) in enumerate(run.summary["totals"].items()):
            at = 1 + 2 * place
            assert table.columns[at].label == arch
            assert sum(row[at] for row in parts) == pytest.approx(whole[at])
            assert sum(row[at + 1] for row in parts) == pytest.approx(1) == whole[at + 1]
            assert whole[at] == pytest.approx(sum(total[key].values()) if key else total["energy_uj"])


def test_pictures_tables_and_columns_use_the_same_words(folders, tree):
    report = report_of(folders / "energy")
    columns = {column.meaning.partition(":")[0]: column.label for column in table_of(report, "layer-table").columns}
    drawings = {drawing.get("id"): drawing for drawing in tree.iter("{http://www.w3.org/2000/svg}svg")}
    for table, ending, figure in (("energy-table", "_uj", "energy"), ("stall-table", "_core_cycles", "stalls")):
        words = [row[0] for row in table_of(report, table).rows[:-1]]
        own = [label for name, label in columns.items() if name.endswith(ending) and name != "energy_uj"]
        assert words == own
        texts = [text_of(text) for text in drawings[f"figure-{figure}"].iter("{http://www.w3.org/2000/svg}text")]
        assert [text for text in texts if text in words] == words
    assert "register file" in columns.values()
    assert {row[0] for row in table_of(report, "costs").rows} <= set(columns.values())


@pytest.mark.parametrize(("factor", "unit"), [(1, "µJ"), (1e3, "mJ"), (1e6, "J"), (1e-3, "nJ"), (1e-6, "pJ")])
def test_energies_are_in_the_unit_that_the_largest_reaches(own, factor, unit):
    before = {arch: total["energy_uj"] for arch, total in read_run(own).summary["totals"].items()}

    def scale(summary):
        for total in summary["totals"].values():
            for key in total:
                if key.endswith("_uj"):
                    total[key] *= factor

    change(own, scale)
    rows = pandas.read_csv(own / "results.csv", keep_default_na=False)
    rows["energy_uj"] *= factor
    rows.to_csv(own / "results.csv", index=False)
    assert max(before.values()) < 1000
    report = report_of(own)
    at, column = next(
        (at, column) for at, column in enumerate(table_of(report, "headline").columns) if column.label == "energy"
    )
    whole = table_of(report, "energy-table").rows[-1][1]
    size = {"J": 1e6, "mJ": 1e3, "µJ": 1, "nJ": 1e-3, "pJ": 1e-6}[unit]
    assert column.unit == unit == table_of(report, "energy-table").columns[1].unit
    assert [row[at] for row in table_of(report, "headline").rows] == pytest.approx(
        [factor * value / size for value in before.values()]
    )
    assert whole == pytest.approx(factor * before["dense"] / size)


def test_what_one_must_know_is_said(own):
    def warn(summary):
        summary["warnings"] = ["the SMEM cycles in 3.45 ns"]
        summary["notices"] = ["one row skipped"]
        summary["energy"]["left_out"] = ["clock tree"]
        summary["energy"]["clock_notes"] = ["dense: smem: 3 cycles; the machine takes 2"]

    change(own, warn)
    rows = pandas.read_csv(own / "results.csv", keep_default_na=False)
    rows.loc[rows["arch"] == "dstc", "sram_origin"] = "interpolated"
    rows.to_csv(own / "results.csv", index=False)
    report = report_of(own)
    notes = dict(notes_of(report))
    assert notes_of(report, "results") == [("Warning", "the SMEM cycles in 3.45 ns")]
    below = section_of(report, "results").blocks[1]
    assert isinstance(below, Notes) and below.role == "warning"
    assert "Warning" not in notes
    assert notes["Notice"] == "one row skipped"
    assert "clock tree" in notes["Left out of the energy"]
    assert notes["Clock and SMEM"] == "dense: smem: 3 cycles; the machine takes 2."
    assert "interpolated between rows of the table for dstc" in notes["Memory figures"]
    assert notes["Masks"].startswith("dstc is given unstructured weights")
    assert notes["Dense by rule"] == "classifier: fc."
    totals = read_run(own).summary["totals"]
    beyond = totals["dense"]["layers_beyond_smem"]
    assert "SMEM-resident ideal" in notes["Memory"]
    assert f"dense {beyond} of 4 layers, by up to" in notes["Memory"]
    assert f"{totals['dense']['largest_smem_excess_bytes'] / 1024:.1f} KiB" in notes["Memory"]


def test_nothing_is_said_that_does_not_hold(folders):
    notes = dict(notes_of(report_of(folders / "one")))
    assert not {"Warning", "Masks", "Clocks", "Memory figures"} & set(notes)
    assert not notes_of(report_of(folders / "one"), "results")


def test_without_energy_there_is_nothing_about_it(folders):
    report = report_of(folders / "none")
    page = html_page(report)
    assert not {"energy", "sources"} & {section.id for section in report.sections}
    assert not re.search(r"µJ|TOPS|mm²|figure-energy", page)
    assert ("energy", "not computed") in report.facts
    assert [column.label for column in table_of(report, "headline").columns] == [
        "architecture", "cycles", "latency", "speedup", "utilization",
    ]  # fmt: skip


def test_results_of_an_smem_that_is_too_small_are_marked(folders, tree):
    report = report_of(folders / "energy")
    run = read_run(folders / "energy")
    (text,) = [
        block for block in section_of(report, "results").blocks if isinstance(block, Text) and block.role != "lead"
    ]
    assert text.role == "warning"
    assert text.text.startswith(
        "SMEM-resident ideal, no DRAM: every tensor is taken to lie in the SMEM, though up to 1 of 4"
    )
    assert table_of(report, "memory").rows == [
        [arch, total["layers_beyond_smem"], total["largest_smem_excess_bytes"]]
        for arch, total in run.summary["totals"].items()
    ]
    marked = heads_of(tree, "layer-table").index(
        next(h for h in heads_of(tree, "layer-table") if h.startswith("ideal"))
    )
    shown = [row[marked] for row in cells_of(tree, "layer-table")]
    assert shown == run.rows["smem_resident_ideal"].tolist()
    assert "yes" in shown


def test_a_run_with_a_dram_shows_what_it_moved(folders, tmp_path):
    asked = ["run", "--layer-csv", str(folders / "odd names.csv"), *SHAPE, "--machine", "edge-lpddr4"]
    assert crispsim([*asked, "--out", str(tmp_path / "run")]) == 0
    run, report = read_run(tmp_path / "run"), report_of(tmp_path / "run")
    html5lib.HTMLParser(strict=True).parse(html_page(report))
    totals = run.summary["totals"]
    (text,) = [
        block for block in section_of(report, "results").blocks if isinstance(block, Text) and block.role != "lead"
    ]
    assert (text.role, text.text) == ("", f"Tensors start and end in DRAM ({run.summary['dram']}).")
    lead = next(block.text for block in section_of(report, "results").blocks if isinstance(block, Text))
    fast = min(totals.values(), key=lambda total: total["cycles"])
    real, _, ideal = lead.partition(" With every tensor in the SMEM, an ideal without DRAM, ")
    assert f"{fast['speedup']:.2f} times as fast as dense" in real
    assert ideal.startswith(f"{fast['arch']} would take {fast['ideal_cycles']:,} cycles (")
    assert f"{fast['ideal_speedup']:.2f} times as fast as dense" in ideal
    assert f"dense takes {fast['ideal_energy_gain']:.2f} times as much" in ideal
    headline = table_of(report, "headline")
    labels = [column.label for column in headline.columns]
    for label, key in (("cycles", "cycles"), ("speedup", "speedup"), ("energy gain", "energy_gain")):
        place = labels.index(label)
        assert labels[place + 1] == f"{label}, ideal"
        shown = [row[place : place + 2] for row in headline.rows]
        assert shown == [[total[key], total[f"ideal_{key}"]] for total in totals.values()]
    assert labels[labels.index("energy") + 1] == "energy, ideal"
    for row, total in zip(table_of(report, "memory").rows, totals.values(), strict=True):
        causes, energy = total["core_cycles"], total["dram_uj"] / total["energy_uj"]
        assert row[1:] == pytest.approx(
            [
                total["dram_read_bytes"] / 1e6, total["dram_write_bytes"] / 1e6,
                total["dram_bound_cycles"] / total["cycles"], causes["stall_dram"] / sum(causes.values()), energy,
            ]
        )  # fmt: skip
    moved = table_of(report, "dram-table")
    for place, total in enumerate(totals.values()):
        column = [row[1 + 2 * place] for row in moved.rows]
        assert column[-1] == pytest.approx((total["dram_read_bytes"] + total["dram_write_bytes"]) / 1e6)
        assert column[0] == pytest.approx(total["dram_weight_bytes"] / 1e6)
    blockings = table_of(report, "blockings")
    for place, arch in enumerate(run.archs):
        counted = {row[0]: row[1 + place] for row in blockings.rows if row[1 + place]}
        assert counted == run.rows[run.rows["arch"] == arch]["blocking"].value_counts().to_dict()
    assert all(row[-1] for row in blockings.rows)
    assert "figure-roofline-levels" in [block.id for block in section_of(report, "figures").blocks]
    shown = [column.label for column in table_of(report, "layer-table").columns if column.group in ("", "main")]
    assert {"blocking", "DRAM read", "DRAM written"} <= set(shown)


def test_a_sparsity_that_follows_from_the_pattern_is_told(own):
    change(own, lambda s: s["options"].update(sparsity="as N:M gives", block="none"))
    assert ("weight sparsity asked", "as N:M gives") in report_of(own).facts


def test_a_run_that_multiplies_nothing_has_no_roofline(own):
    rows = pandas.read_csv(own / "results.csv", keep_default_na=False)
    rows.assign(macs_issued=0).to_csv(own / "results.csv", index=False)
    pictures = [block.id for block in section_of(report_of(own), "figures").blocks]
    assert pictures == ["figure-speedup", "figure-energy", "figure-stalls"]


def test_one_architecture(folders):
    report = report_of(folders / "one")
    assert report.title == "odd names on stc"
    table = table_of(report, "headline")
    assert len(table.rows) == 1
    assert not table.best
    assert "which was simulated for this and is not among the 1 shown" in table.caption


def test_every_field_of_the_machine_with_unit_and_meaning(folders):
    run = read_run(folders / "energy")
    rows = {row[0]: row[1:] for row in table_of(report_of(folders / "energy"), "machine-table").rows}
    machine = run.config["arch"][0]["machine"]
    flat = {key: value for key, value in machine.items() if not isinstance(value, dict)}
    flat |= {f"{s}.{key}": value for s, own in machine.items() if isinstance(own, dict) for key, value in own.items()}
    assert {key: row[0] for key, row in rows.items()} == flat
    assert rows["smem.capacity_bytes"][1:] == ["B", "capacity; tensors beyond it are reported without a DRAM"]
    assert all(row[2] for row in rows.values())


def test_machines_that_differ_are_set_side_by_side(own):
    def widen(config):
        config["arch"][3]["machine"]["smem"]["read_bytes_per_cycle"] = 128
        config["arch"][2]["machine"]["clock_ghz"] = 0.5

    change(own, widen, "config.toml")
    report = report_of(own)
    assert " times as fast as dense on the same machine. " in verdict_of(report)
    table = table_of(report, "machine-differences")
    assert [column.label for column in table.columns] == ["field", "dense", "dstc", "crisp-stc", "unit", "meaning"]
    assert [row[:4] for row in table.rows] == [
        ["clock_ghz", 1.0, 0.5, 1.0], ["smem.read_bytes_per_cycle", 64, 64, 128],
    ]  # fmt: skip
    assert "the machine of dense and stc" in table_of(report, "machine-table").caption
    assert "dstc 0.5 GHz" in dict(notes_of(report))["Clocks"]


def test_memories_and_sources_are_those_of_the_summary(folders):
    energy = read_run(folders / "energy").summary["energy"]
    report = report_of(folders / "energy")
    shown = {(row[0], row[1]): row for row in table_of(report, "memories").rows}
    assert set(shown) == {("SMEM", "all"), ("register file", "all"), ("accumulation buffer", "dstc")}
    places = {column.label: (place, column.unit) for place, column in enumerate(table_of(report, "memories").columns)}
    for part, name, whose in (("smem", "SMEM", "all"), ("accumulator", "accumulation buffer", "dstc")):
        memory = next(memory for memory in energy["memories"]["dstc"] if memory["part"] == part)
        for label, unit, value in (
            ("read", "pJ/access", memory["read_pj"]), ("write", "pJ/access", memory["write_pj"]),
            ("leakage", "µW", 1000 * memory["leakage_mw"]), ("area", "mm²", memory["area_mm2"]),
            ("size", "B", memory["size_bytes"]),
        ):  # fmt: skip
            place, own = places[label]
            assert (shown[name, whose][place], own) == (value, unit)
    figures = table_of(report, "figure-sources").rows
    assert [(row[0], row[1], row[4]) for row in figures] == [
        (figure["name"], figure["pj"], figure["source"]) for figure in energy["figures"]
    ]
    areas = {row[0]: row[1:] for row in table_of(report, "area").rows}
    assert areas["total"] == [area["total"] for area in energy["area_mm2"].values()]


def test_it_says_how_to_run_it_again(page, folders):
    config = read_run(folders / "energy").config
    for text in (config["input"][0]["sha256"], config["versions"]["numba"], "odd names.csv"):
        assert text in page
    assert (folders / "energy" / "config.toml").read_text().count("[[arch]]") == page.count("[[arch]]") == 4


def test_a_column_that_the_report_does_not_know_is_shown(own):
    rows = pandas.read_csv(own / "results.csv", keep_default_na=False)
    rows["new_count"] = range(len(rows))
    rows.to_csv(own / "results.csv", index=False)
    table = table_of(report_of(own), "layer-table")
    assert table.columns[-1].label == "new_count"
    assert [row[-1] for row in table.rows] == [*range(len(rows))]


def test_signs_that_no_page_may_hold_are_replaced(own, tmp_path):
    change(own, lambda s: s.update(command="crispsim run --out \x1b[31m\x00 \udcff"))
    report = report_of(own)
    targets = report_targets(own, tmp_path / "page", ["html", "md"])
    write_report(report, targets)
    page = targets["html"].read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(page)
    assert "--out \ufffd[31m\ufffd \ufffd" in page
    assert "\\udcff" in targets["md"].read_text(encoding="utf-8")


def test_without_matplotlib_it_says_so(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report = report_of(folders / "energy")
    assert not any(isinstance(block, Picture) for section in report.sections for block in section.blocks)
    page = html_page(report)
    assert "matplotlib is not installed" in page
    assert "pip install &#x27;crispsim[plot]&#x27;" in page
    assert "<svg" not in page
    assert len(report.notices) == 1


def test_the_same_folder_gives_the_same_bytes(folders, page):
    assert html_page(report_of(folders / "energy")) == page


# --- Markdown


def test_markdown_tables_are_well_formed_and_names_are_as_they_are(folders):
    report = report_of(folders / "energy")
    text = markdown_page(report)
    made = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    tree = html5lib.parse(made, namespaceHTMLElements=False)
    tables = list(tree.iter("table"))
    own = [block for section in report.sections for block in section.blocks if isinstance(block, Table)]
    assert len(tables) == len(own)
    for found, table in zip(tables, own, strict=True):
        rows = [[text_of(cell) for cell in row] for row in found.find("tbody")]
        assert len(rows) == len(table.rows)
        assert [row[0] for row in rows] == [" ".join(str(row[0]).split()) for row in table.rows]
        kept = [c for c in table.columns if not table.explore or c.group in ("", *table.shown_groups)]
        assert {len(row) for row in rows} == {len(kept)}
    assert not list(tree.iter("script"))
    assert "config.toml" in text
    assert text.count("Only in the web page") == 4


def test_every_line_of_a_markdown_table_has_as_many_cells(folders):
    """Without a parser: bars that no backslash precedes."""
    text = markdown_page(report_of(folders / "none"))
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 8  # headline, memory, layers, stalls, bounds, totals, machine, settings
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}) == 1


# --- numbers


@pytest.mark.parametrize(
    ("form", "value", "shown"),
    [
        ("count", 16014951, "16,014,951"), ("percent", 0.98421, "98.4"), ("fixed", 6.0589, "6.06"),
        ("significant", 2643.198, "2,643"), ("significant", 0.00123456, "0.001235"), ("significant", 0.0, "0"),
        ("significant", 3e-9, "3.000e-09"), ("exact", 0.0026, "0.0026"), ("exact", 262144, "262,144"),
        ("exact", 1.0, "1"), ("any", True, "yes"), ("any", None, ""), ("significant", float("nan"), ""),
        ("text", 3, "3"),
    ],
)  # fmt: skip
def test_how_numbers_are_shown(form, value, shown):
    assert Column(label="x", form=form).shown(value) == shown


def test_words_in_a_sentence():
    assert [listed([*"abc"[:n]]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert significant(999.96) == "1,000.0"


# --- files


def test_where_files_are_written(own, tmp_path):
    assert report_targets(own, None, ["html", "md"]) == {"html": own / "report.html", "md": own / "report.md"}
    for name in ("page", "page.html", "page.md"):
        made = report_targets(own, tmp_path / name, ["html", "md"])
        assert made == {"html": tmp_path / "page.html", "md": tmp_path / "page.md"}
    assert report_targets(own, tmp_path / "v1.2", ["md", "html"])["md"] == tmp_path / "v1.2.md"
    (tmp_path / "link.html").symlink_to(own / "results.csv")
    (tmp_path / "folder.html").mkdir()
    for out, rule in (
        (tmp_path / "link.html", "is a file of a run"), (own / "results.csv" / "a.html", "is a file; give a path in a"),
        (tmp_path / "folder.html", "is there and no file"), (tmp_path / "a.md", "not that of --format html"),
        (tmp_path / "a.pdf", r"not that of --format html: must be \.html"), (tmp_path / "a", "must be .html"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=rule):
            report_targets(own, out, ["html"])
    with pytest.raises(InputError, match=r"results.csv: not a run's folder: it is a file"):
        report_targets(own / "results.csv", None, ["html"])


def test_files_are_written_both_or_neither(folders, tmp_path, monkeypatch):
    report = report_of(folders / "one")
    targets = report_targets(folders / "one", tmp_path / "page", ["html", "md"])
    targets["html"].write_text("before")
    write = Path.write_text

    def full(path, *arguments, **options):
        if path.suffix == ".md":
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(InputError, match="cannot write: No space left"):
            write_report(report, targets)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert targets["html"].read_text() == "before"
    write_report(report, targets)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "page.md"]
    assert targets["html"].read_text().startswith("<!DOCTYPE html>")


def test_of_many_layers_of_a_kind_the_first_are_named(own):
    change(own, lambda s: s.update(dense_by_rule={f"conv{place}": "depthwise" for place in range(30)}))
    note = dict(notes_of(report_of(own)))["Dense by rule"]
    assert "conv23 and 6 more (column note of the layers)." in note
    assert "conv24" not in note
