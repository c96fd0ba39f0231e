"""`crispsim report` and `crispsim figure sparsity` on what `crispsim prune` writes: from command to page."""

import json
import shutil
from pathlib import Path

import html5lib
import pytest

from crispsim.cli.main import run_command as crispsim

ASKED = [
    "prune", "--data", "digits", "--model", "crispsim.prune.models:resnet_tiny", "--classes", "1,3,7",
    "--samples-per-class", "16", "--quiet",
]  # fmt: skip
PATTERNS = {
    "crisp": ["--block", "16", "--sparsity", "0.8", "--steps", "2", "--epochs", "3"],
    "blocks": ["--nm", "dense", "--block", "16", "--sparsity", "0.6", "--steps", "1", "--epochs", "1"],
    "dense": ["--nm", "dense", "--block", "none", "--sparsity", "0", "--steps", "0", "--epochs", "1"],
}


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """Folders as `crispsim prune` writes them, by pattern."""
    root = tmp_path_factory.mktemp("pruned")
    for name, options in PATTERNS.items():
        assert crispsim([*ASKED, *options, "--out", str(root / name)]) == 0
    return root


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pruned_folder_has_a_page(pruned, name, tmp_path, capsys):
    own = pruned / name
    before = {path.name for path in own.iterdir()}
    assert crispsim(["report", str(own), "--format", "both", "--out", str(tmp_path / "page")]) == 0
    assert capsys.readouterr().out.count("wrote ") == 2
    assert {path.name for path in own.iterdir()} == before
    page = (tmp_path / "page.html").read_text()
    html5lib.HTMLParser(strict=True).parse(page)
    assert ("figure-sparsity" in page) == (name != "dense")
    said = (tmp_path / "page.md").read_text()
    after = json.loads((own / "report.json").read_text())["accuracy"]["test"]["after"]
    assert f"it gets {100 * after:.1f}% right" in said


def test_by_itself_the_page_stands_in_the_folder(pruned, tmp_path, capsys):
    own = Path(shutil.copytree(pruned / "crisp", tmp_path / "own"))
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    assert crispsim(["report", str(own)]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {own}/report.html (")
    assert {path.name for path in own.iterdir()} == {*before, "report.html"}
    assert {name: (own / name).read_bytes() for name in before} == before


def test_the_figure_is_of_the_same_folder(pruned, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert crispsim(["figure", "sparsity", "--run", str(pruned / "crisp"), "--out", str(tmp_path)]) == 0
    prunable = json.loads((pruned / "crisp" / "report.json").read_text())["totals"]["prunable"]
    said = capsys.readouterr().out
    assert f"prunable layers (8): {prunable['sparsity']:.2%} of {prunable['weights']:,} weights removed" in said
    assert crispsim(["figure", "sparsity", "--run", str(pruned / "dense"), "--out", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == "crispsim: figure sparsity: every layer is dense: nothing was pruned\n"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("report.json", "{", "report.json: it is not JSON"),
        ("sparsity.csv", "layer\n", "sparsity.csv has no rows"),
        ("history.csv", None, "history.csv is missing; `crispsim prune --resume` goes on"),
        ("report.json", None, "report.json is missing"),
        ("results.csv", "", "of a pruned network and results.csv of a run"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_in_a_line(pruned, tmp_path, capsys, name, content, message):
    own = Path(shutil.copytree(pruned / "crisp", tmp_path / "own"))
    if content is None:
        (own / name).unlink()
    else:
        (own / name).write_text(content)
    assert crispsim(["report", str(own)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"crispsim: {own}: ")
    assert message in line
    assert not (own / "report.html").exists()
