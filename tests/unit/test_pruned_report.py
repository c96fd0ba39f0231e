"""What the report of a pruned network holds: all of its folder, what each share is a share of, names as they are."""

import json
import re
import sys

import html5lib
import pytest
from markdown_it import MarkdownIt

from crispsim.bench.report import report_of
from crispsim.bench.report.content import Notes, Picture, Table, Text
from crispsim.bench.report.html import html_page
from crispsim.bench.report.markdown import markdown_page
from tests.pruned_folders import HISTORY, LAYERS, NOTE, ODD_NAME, record, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("pruned") / "net")


@pytest.fixture(scope="module")
def report(folder):
    return report_of(folder)


@pytest.fixture(scope="module")
def page(report):
    return html_page(report)


@pytest.fixture(scope="module")
def tree(page):
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def blocks_of(report, kind):
    return [block for section in report.sections for block in section.blocks if isinstance(block, kind)]


def table_of(report, name):
    return next(table for table in blocks_of(report, Table) if table.id == name)


def records_of(table):
    """Rows by the headings of the columns."""
    return [dict(zip([column.label for column in table.columns], row, strict=True)) for row in table.rows]


def notes_of(report):
    return dict(item for block in blocks_of(report, Notes) for item in block.items)


def lead_of(report):
    return next(block.text for block in blocks_of(report, Text) if block.role == "lead")


def test_the_page_is_valid_and_loads_nothing(tree, page):
    assert not re.search(r"@import|url\((?!#)|https?://(?!www.w3.org)", page)
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    drawings = [element.get("id") for element in tree.iter("{http://www.w3.org/2000/svg}svg")]
    assert drawings == ["figure-sparsity", "figure-training"]


def test_names_are_never_taken_for_html(tree):
    (found,) = [element for element in tree.iter("table") if element.get("id") == "layer-table"]
    assert ["".join(row[0].itertext()) for row in found.find("tbody")] == [row.layer for row in LAYERS]
    assert not list(found.iter("b"))
    text = "".join(tree.find("body").itertext())
    assert "eel (4), 1 and <i>ant</i> (0)" in text


def test_the_first_sentences_are_the_numbers(report):
    assert report.title == "net fine-tuned and pruned for 3 of 6 classes of noise"
    dense, left = (sum(getattr(row, name) for row in LAYERS) for name in ("macs_dense", "macs_kept"))
    assert lead_of(report) == (
        f"net keeps 34.9% of its prunable weights, 38.6% of all, and {left / dense:.1%} of the network's MACs. Of 40 "
        "test images of the user's 3 classes it gets 85.0% right; the network as it came, 25.0%."
    )
    assert dict(report.facts) == {
        "layers": "5", "pattern": "2:4, blocks of 16", "sparsity asked": "65%", "iterations": "2", "epochs": "4",
        "started from": "universal.pt", "packed as": "int8", "seed": "7",
    }  # fmt: skip


def test_accuracies_come_with_the_number_of_images(report):
    table = table_of(report, "accuracy")
    assert table.rows == [["test", 40, 0.25, 0.85, "+60.0", 2.5], ["validation", 32, 0.125, 0.5, "+37.5", 100 / 32]]
    assert "Before: the network as it came. After: fine-tuned and pruned." in table.caption
    warnings = [item for block in blocks_of(report, Notes) if block.role == "warning" for item in block.items]
    assert warnings == [("Data noise", NOTE)]


def test_totals_come_with_their_denominators(report, folder):
    totals = json.loads((folder / "report.json").read_text())["totals"]
    table = table_of(report, "totals")
    for row, total, layers in zip(records_of(table), (totals["prunable"], totals["network"]), (3, 5), strict=True):
        assert (row["layers"], row["weights"], row["weights kept"]) == (layers, total["weights"], total["kept_weights"])
        assert row["sparsity"] == pytest.approx(100 * total["sparsity"])
        assert (row["dense MACs"], row["MACs kept"]) == (total["macs_dense"], total["macs_kept"])
        assert float(row["FLOPs ratio"]) == pytest.approx(total["flops_ratio"], abs=5e-5)
    assert "the sparsity asked for is theirs" in table.caption


def test_what_one_must_know_is_said_once(report, page):
    notes = notes_of(report)
    assert notes["Sparsity"].startswith("asked 65% of the prunable weights, reached 65.08%; ")
    assert notes["Dense by rule"] == "stem: stem; classifier: head."
    assert notes["N:M without blocks"] == f"N:M only: K = 16 is at most the block, 16: {ODD_NAME}."
    assert notes["Notice"] == "one thing more"
    assert notes["Packed weights"].startswith("int8; the accuracies are those of the network before packing")
    assert page.count(NOTE) == 1


def test_every_layer_and_column_is_in_the_table(report):
    table = table_of(report, "layer-table")
    names = [column.meaning.partition(":")[0] for column in table.columns]
    for row, own in zip(table.rows, LAYERS, strict=True):
        found = dict(zip(names, row, strict=True))
        for name in (name for name in names if not name.startswith("(")):
            blockless = name in ("kept_blocks", "block_columns") and not own.block_columns
            assert found[name] == (None if blockless else getattr(own, name))
        removed = (found["(by_nm)"] or 0) + (found["(by_blocks)"] or 0)
        assert removed == pytest.approx(own.sparsity)
    assert [row[1].replace("\u00a0", " ") for row in table.rows] == [
        "dense", "2:4", "2:4, B = 16", "2:4, B = 16", "dense",
    ]  # fmt: skip
    assert table.explore


def test_every_epoch_is_in_the_table(report):
    table = table_of(report, "epoch-table")
    names = [column.meaning.partition(":")[0] for column in table.columns]
    assert sorted(names) == sorted(HISTORY[0])
    rows = [dict(zip(names, row, strict=True)) for row in table.rows]
    assert [str(row) for row in rows] == [str({name: own[name] for name in names}) for own in HISTORY]  # one is NaN


def test_it_says_how_it_was_made(report, page):
    settings = {
        row[0]: row[1] for name in ("start", "config", "training") for row in table_of(report, f"{name}-table").rows
    }
    assert settings["checkpoint"] == "runs/universal.pt"
    assert settings["SHA-256 of the checkpoint"] == "ab" * 32
    assert settings["model argument depth"] == 3
    assert settings["test images, of all classes"] == "90"
    assert (settings["nm"], settings["include"], settings["exclude"]) == ("2:4", "none", "a, b")
    assert settings["device_used"] == "cpu"
    assert table_of(report, "versions").rows == [["crispsim", "0.1.0"], ["torch", "2.13.0"]]
    assert "crispsim prune --data &#x27;noise&#x27; --out out" in page


def test_a_network_that_was_neither_trained_nor_pruned(tmp_path):
    kept = write_folder(
        tmp_path / "net", record(layers=(LAYERS[0], LAYERS[4]), history=(), dtype="float32", checkpoint=None)
    )
    report = report_of(kept)
    html5lib.HTMLParser(strict=True).parse(html_page(report))
    assert report.title == "net left as it came for 3 of 6 classes of noise"
    assert lead_of(report).startswith("net was left as it came, not pruned. Of 40 test images")
    assert not blocks_of(report, Picture)
    assert "figures" not in {section.id for section in report.sections}
    assert "Not pruned" in notes_of(report)
    assert not {"Sparsity", "Packed weights"} & set(notes_of(report))
    assert dict(report.facts)["started from"] == "the factory's weights"


def test_very_many_classes_are_folded(tmp_path):
    classes = [{"index": number, "name": f"class {number}"} for number in range(100)]
    page = html_page(report_of(write_folder(tmp_path / "net", record(classes=classes))))
    assert "The user&#x27;s 100 classes, in the order" in page
    assert "class 99 (99)</code></pre></details>" in page


def test_without_matplotlib_it_says_so(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report = report_of(folder)
    assert not blocks_of(report, Picture)
    assert "matplotlib is not installed" in html_page(report)
    assert len(report.notices) == 1


def test_markdown_has_the_same_tables(report):
    made = MarkdownIt("gfm-like", {"linkify": False}).render(markdown_page(report))
    tree = html5lib.parse(made, namespaceHTMLElements=False)
    tables = list(tree.iter("table"))
    own = blocks_of(report, Table)
    assert len(tables) == len(own)
    for found, table in zip(tables, own, strict=True):
        assert len(found.find("tbody")) == len(table.rows)
    names = ["".join(row[0].itertext()) for row in tables[own.index(table_of(report, "layer-table"))].find("tbody")]
    assert names == [row.layer for row in LAYERS]


def test_the_same_folder_gives_the_same_bytes(folder, page):
    assert html_page(report_of(folder)) == page
