"""A pruned network's folder is looked at once, when it is read: what is not whole, or is not its own, is refused."""

import csv
import json
import math
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from crispsim.bench.pruned_folder import FILES, LayerSparsity
from crispsim.bench.pruned_reader import HISTORY, is_pruned, read_pruned
from crispsim.sim import InputError
from tests import pruned_folders
from tests.pruned_folders import LAYERS, ODD_NAME, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("pruned") / "net")


@pytest.fixture
def own(folder, tmp_path):
    """A copy, to be changed."""
    return Path(shutil.copytree(folder, tmp_path / "own"))


def refused(folder):
    with pytest.raises(InputError) as caught:
        read_pruned(folder)
    (line,) = caught.value.lines
    assert "\n" not in line
    assert line.startswith(f"{folder}: not a pruned network's folder: ")
    return line.removeprefix(f"{folder}: not a pruned network's folder: ")


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def rewrite(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_what_was_written_is_read(folder):
    found = read_pruned(folder)
    assert found.layers == LAYERS
    assert found.report == json.loads((folder / "report.json").read_text())
    assert [row["epoch"] for row in found.history] == [1, 2, 3, 4]
    assert math.isnan(found.history[2]["loss"])
    assert found.history[3] == pruned_folders.HISTORY[3]
    assert is_pruned(folder)


def test_a_network_that_was_not_trained_has_no_history(tmp_path):
    folder = write_folder(tmp_path / "net", pruned_folders.record(history=()))
    assert (folder / "history.csv").read_text() == ",".join(HISTORY) + "\n"
    assert read_pruned(folder).history == ()


def test_it_needs_no_torch(folder):
    code = (
        "import sys; from pathlib import Path; from crispsim.bench.report import report_of; import crispsim.cli.figure;"
        f"report_of(Path({str(folder)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_needed(own, name):
    (own / name).unlink()
    assert refused(own) == f"{name} is missing; `crispsim prune --out {own}` writes one"
    (own / "checkpoint.pt").touch()
    assert refused(own) == f"{name} is missing; `crispsim prune --resume` goes on"
    assert is_pruned(own)


def test_a_folder_of_both_kinds_is_neither(own):
    (own / "results.csv").touch()
    with pytest.raises(InputError, match=r"holds report\.json of a pruned network and results\.csv of a run"):
        is_pruned(own)


def test_a_checkpoint_makes_no_run_a_pruned_network(tmp_path):
    (tmp_path / "checkpoint.pt").touch()
    assert is_pruned(tmp_path)
    (tmp_path / "results.csv").touch()
    assert not is_pruned(tmp_path)


def test_a_file_or_nothing_is_no_folder(own):
    assert refused(own / "report.json") == "it is a file"
    assert refused(own / "none") == "there is no such folder"


@pytest.mark.parametrize("name", ["sparsity.csv", "history.csv"])
def test_every_column_is_needed(own, name):
    rows = rows_of(own / name)
    assert rows[0] == ([f.name for f in fields(LayerSparsity)] if name == "sparsity.csv" else list(HISTORY))
    for place, column in enumerate(rows[0]):
        rewrite(own / name, [row[:place] + row[place + 1 :] for row in rows])
        assert refused(own).startswith(f"{name}: column {column!r} is missing; if an earlier version wrote it")


BROKEN = {
    "no JSON": ("report.json", b'{"command": ', "it is not JSON: line 1"),
    "no object": ("report.json", b"[1]", "report.json: must be a table"),
    "nested": ("report.json", b"[" * 100_000, "report.json: it is nested too deeply"),
    "an endless number": ("report.json", b'{"command": ' + b"9" * 5000 + b"}", "report.json: "),
    "no text": ("report.json", b"\xff\xfe", "report.json: it is not text in UTF-8"),
    "empty": ("report.json", b"", "report.json: it is empty"),
    "no text in a table": ("sparsity.csv", b"\xff\xfe", "sparsity.csv: it is not text in UTF-8"),
    "an open quote": ("sparsity.csv", b'layer\n"a', "sparsity.csv: it is not CSV"),
    "an empty table": ("sparsity.csv", b"", "sparsity.csv has no rows"),
    "an empty history": ("history.csv", b"", "history.csv: must have a row for each of 4 epochs"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_files_that_cannot_be_parsed(own, what):
    name, content, problem = BROKEN[what]
    (own / name).write_bytes(content)
    assert problem in refused(own)


@pytest.mark.parametrize(
    ("name", "row", "column", "value", "problem"),
    [
        ("sparsity.csv", 3, "s", "many", "row 4, column 's': 'many': must be a whole number"),
        ("sparsity.csv", 3, "p", "-1", "row 4, column 'p': '-1': must be at least 0 and below 2^63"),
        ("sparsity.csv", 3, "weights", "9" * 30, "column 'weights': '99999"),
        ("sparsity.csv", 3, "s", "9" * 5000, "must be a whole number"),
        ("sparsity.csv", 3, "sparsity", "nan", "column 'sparsity': 'nan': must be between 0 and 1"),
        ("sparsity.csv", 3, "calls", "0", "row 4: calls is 0: must be at least 1"),
        ("sparsity.csv", 3, "nm", "4:2", "row 4: nm: pattern 4:2"),
        ("sparsity.csv", 3, "block", "sixteen", "row 4: block 'sixteen': must be a number or none"),
        ("sparsity.csv", 3, "weights", "1153", "row 4: weights is 1153: must be 1152, as the other columns have it"),
        ("sparsity.csv", 3, "kept_weights", "272", "row 4: macs_kept is 512: must be 544"),
        ("sparsity.csv", 3, "sparsity", "0.5", "row 4: sparsity is 0.5: must be 0.777"),
        ("sparsity.csv", 3, "kept_blocks", "6", "row 4: kept_blocks is 6: there are 5 in each block row"),
        ("sparsity.csv", 3, "kept_blocks", "3", "its rows are not the layers of report.json"),
        ("sparsity.csv", 3, "layer", "other", "its rows are not the layers of report.json"),
        ("history.csv", 2, "loss", "much", "row 3, column 'loss': 'much': must be a number"),
        (
            "history.csv",
            2,
            "validation_accuracy",
            "1.5",
            "column 'validation_accuracy': '1.5': must be between 0 and 1",
        ),
        ("history.csv", 2, "seconds", "inf", "column 'seconds': 'inf': must be at least 0"),
        ("history.csv", 2, "epoch", "7", "must have a row for each of 4 epochs, in order"),
    ],
)
def test_cells_that_no_prune_wrote(own, name, row, column, value, problem):
    rows = rows_of(own / name)
    rows[row][rows[0].index(column)] = value
    rewrite(own / name, rows)
    assert problem in refused(own)


def test_more_than_nm_leaves_cannot_be_kept(own):
    rows = rows_of(own / "sparsity.csv")
    more = {"kept_weights": 577, "sparsity": 1 - 577 / 1152, "macs_kept": 1154}
    for column, value in more.items():
        rows[3][rows[0].index(column)] = str(value)
    rewrite(own / "sparsity.csv", rows)
    assert "row 4: kept_weights is 577: 2:4 leaves 576" in refused(own)


@pytest.mark.parametrize("name", ["sparsity.csv", "history.csv"])
def test_rows_cut_short_or_dropped(own, name):
    rows = rows_of(own / name)
    rewrite(own / name, [*rows[:-1], rows[-1][:4]])
    assert "does not have the columns of the heading" in refused(own)
    rewrite(own / name, [*rows[:-1], [*rows[-1], "more"]])
    assert "does not have the columns of the heading" in refused(own)
    rewrite(own / name, rows[:-1])
    assert refused(own)


REPORTS = {
    "a total that is another": (
        lambda r: r["totals"]["prunable"].update(kept_weights=705),
        "totals.prunable.kept_weights is 705, the rows of sparsity.csv add up to 704",
    ),
    "a ratio that is another": (
        lambda r: r["totals"]["network"].update(flops_ratio=0.5),
        "totals.network.flops_ratio is 0.5, the rows",
    ),
    "layers of a total": (
        lambda r: r["totals"]["prunable"]["layers"].pop(),
        "totals.prunable.layers do not agree with sparsity.csv",
    ),
    "no accuracy": (lambda r: r.pop("accuracy"), "accuracy: is missing"),
    "an accuracy above 1": (lambda r: r["accuracy"]["test"].update(after=1.01), "accuracy.test.after: must be less"),
    "an accuracy of NaN": (lambda r: r["accuracy"]["test"].update(before=math.nan), "accuracy.test.before: must be"),
    "of no images": (lambda r: r["accuracy"]["validation"].update(images=0), "accuracy.validation.images: must be"),
    "no classes": (lambda r: r.update(classes=[]), "classes: must not be empty"),
    "a class without a name": (lambda r: r["classes"][1].pop("name"), "classes.1.name: is missing"),
    "data that is text": (lambda r: r.update(data="digits"), "data: must be a table"),
    "a pattern of one number": (lambda r: r["config"].update(nm=[2]), "config.nm: must"),
    "a pattern that is none": (lambda r: r["config"].update(nm=[4, 2]), "config.nm: pattern 4:2"),
    "a checkpoint without hash": (lambda r: r["checkpoint"].pop("sha256"), "checkpoint.sha256: is missing"),
    "a dense layer more": (lambda r: r["dense_by_rule"].update(x="stem"), "dense_by_rule: does not agree"),
    "another note": (lambda r: r["without_blocks"].update({ODD_NAME: "so"}), "without_blocks: does not agree"),
    "a layer that is text": (lambda r: r.update(layers=["late"]), "layers.0: must be a table"),
    "a layer without a column": (lambda r: r["layers"][0].pop("p"), "rows are not the layers of report.json"),
    "more epochs": (lambda r: r["training"].update(epochs=5), "must have a row for each of 5 epochs"),
    "notices that are text": (lambda r: r.update(notices="none"), "notices: must be a list"),
}


@pytest.mark.parametrize("what", REPORTS)
def test_reports_that_no_prune_wrote(own, what):
    edit, problem = REPORTS[what]
    report = json.loads((own / "report.json").read_text())
    edit(report)
    (own / "report.json").write_text(json.dumps(report))
    line = refused(own)
    assert problem in line
    assert line.endswith("; if an earlier version wrote it, prune it again")
