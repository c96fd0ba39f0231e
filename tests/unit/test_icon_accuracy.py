"""The study of accuracy on icons: its commands are commands, its table is that of the rows it wrote."""

import csv
import json
import re
from pathlib import Path

import pytest

from crispsim.bench.validation.icon_accuracy import (
    DRAWS,
    SPARSITIES,
    accuracy_table,
    pretrain_command,
    prune_command,
    rows_of,
)
from crispsim.bench.validation.page import section
from crispsim.cli.pretrain import pretrain
from crispsim.cli.prune import prune

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "pruning.md").read_text(encoding="utf-8")


def shipped():
    with (ROOT / "docs" / "icon-accuracy.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_page_shows_the_rows():
    assert section(PAGE, "icon accuracy") == accuracy_table(shipped())


def test_every_draw_has_every_sparsity_and_the_same_images():
    rows = shipped()
    assert {(row["draw"], row["sparsity_asked"]) for row in rows} == {
        (str(draw), sparsity) for draw in range(DRAWS) for sparsity in SPARSITIES
    }
    for draw in range(DRAWS):
        own = [row for row in rows if row["draw"] == str(draw)]
        assert len({(row["classes"], row["test_images"], row["test_accuracy_before"]) for row in own}) == 1
        assert len(own[0]["classes"].split()) == 10
    for row in rows:
        if row["sparsity_asked"] != "dense":
            assert float(row["sparsity_asked"]) <= float(row["sparsity"]) < float(row["sparsity_asked"]) + 0.02


def test_nothing_on_the_page_waits_to_be_filled_in():
    assert not re.findall(r"\b[A-Z]+_[A-Z]+\b", PAGE)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_the_commands_are_the_commands(sparsity):
    folder = Path("out")
    name, *arguments = pretrain_command(folder, "icons", 12)
    made = pretrain.make_context(name, arguments).params
    name, *arguments = prune_command(folder, "icons", 3, sparsity, 50)
    asked = prune.make_context(name, arguments).params
    assert asked["checkpoint"] == made["out"]
    assert (asked["num_classes"], asked["seed"], asked["epochs"]) == (10, 3, 50)
    pattern = (asked["nm"], asked["block"], asked["sparsity"])
    assert pattern == (("dense", None, "0") if sparsity == "dense" else ("2:4", 16, sparsity))


def test_a_row_holds_what_the_report_says():
    total = {"sparsity": 0.81, "flops_ratio": 0.35}
    report = {
        "totals": {"prunable": total, "network": total | {"sparsity": 0.8}},
        "accuracy": {
            "test": {"images": 400, "before": 0.9, "after": 0.95},
            "validation": {"images": 200, "before": 0.8, "after": 0.85},
        },
        "classes": [{"index": 4, "name": "sun"}, {"index": 7, "name": "moon"}],
    }
    (row,) = rows_of([(2, "0.8", json.loads(json.dumps(report)))])
    assert (row["draw"], row["sparsity"], row["sparsity_network"], row["flops_ratio"]) == (2, 0.81, 0.8, 0.35)
    assert (row["test_images"], row["test_accuracy_before"], row["test_accuracy"]) == (400, 0.9, 0.95)
    assert row["classes"] == "sun moon"


def test_mean_and_spread_of_the_draws():
    rows = [
        {"draw": draw, "sparsity_asked": "0.8", "sparsity_network": 0.8, "flops_ratio": 0.3, "test_accuracy": accuracy}
        for draw, accuracy in enumerate((0.90, 0.94, 0.98))
    ]
    assert accuracy_table(rows).splitlines()[-1] == "| 80% | 80.0% | 0.300 | 94.0 ± 4.0 | 90.0 | 94.0 | 98.0 |"
