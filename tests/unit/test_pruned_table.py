"""What `crispsim prune` prints of a pruned network: it fits, and says what its numbers are of."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from crispsim.cli.pruned_table import print_pruned
from crispsim.cli.terminal import Terminal
from crispsim.sim import read_layers
from tests.pruned_folders import layer, record

SHIPPED = Path(__file__).parents[2] / "sim" / "layers"
NOTES = {"conv1": "stem", "conv_proj": "stem", "fc": "classifier", "heads.head": "classifier"}


def printed(record, width) -> str:
    console = Terminal(width=width, file=StringIO())
    print_pruned(record, console)
    return console.file.getvalue()


def network(table):
    """The layers of a shipped network, half of the block columns of each gone."""
    rows = []
    for found in read_layers(SHIPPED / f"{table}.csv"):
        columns, note = -(-found.k // 64), NOTES.get(found.name, "")
        if columns == 1:
            note = f"N:M only: K = {found.k} is at most the block, 64"
        kept = max(1, columns // 2)
        pattern = {"nm": "dense"} if found.name in NOTES else {"block": "64", "blocks": (kept, columns)}
        rows.append(layer(found.name, found.s, found.k, found.s * kept * 32, p=found.p, note=note, **pattern))
    return rows


def row(text, name):
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


@pytest.mark.parametrize("table", ["resnet50", "vit_b16", "bert_base"])
@pytest.mark.parametrize("width", [80, 100, 120, 140])
def test_it_fits_and_every_row_has_its_own_name(table, width):
    rows = network(table)
    lines = printed(record(layers=rows), width).splitlines()
    assert max(map(len, lines)) <= width
    told = [line.split()[0] for line in lines if "B=64" in line]
    folded = sum(line.split()[1].startswith("x") for line in lines if "B=64" in line)
    assert len(set(told)) == len(told)
    assert folded or len(told) == sum(row.block == "64" for row in rows)


def test_whole_names_where_there_is_room():
    name = "encoder.layers.encoder_layer_3.self_attention.in_proj"
    rows = network("vit_b16")
    assert name in printed(record(layers=rows), 140)
    narrow = printed(record(layers=rows), 80)
    assert name not in narrow
    assert row(narrow, "…encoder_layer_3…in_proj")[1:7] == ["2:4", "B=64", "2304x768", "6", "of", "12"]


def test_numbers_are_whole_or_left_out_and_notes_stand_below():
    rows = network("resnet50")
    wide, narrow = printed(record(layers=rows), 140), printed(record(layers=rows), 80)
    first = next(each for each in rows if each.layer == "layer4.0.conv2")
    assert row(wide, "layer4.0.conv2")[7:] == [
        f"{first.weights:,}", f"{first.kept_weights:,}", "75.00%", f"{first.macs_kept:,}"
    ]  # fmt: skip
    assert row(narrow, "layer4.0.conv2")[7:] == ["75.00%", f"{first.macs_kept:,}"]
    for text in (wide, narrow):
        assert row(text, "conv1")[-1] == "a" and " a: stem\n" in text
        assert row(text, "fc")[-1] == "c" and " c: classifier\n" in text


def test_more_notes_than_letters():
    rows = [layer(f"l{index}", 16, 16, 128, note=f"reason {index}") for index in range(30)]
    text = printed(record(layers=rows), 80)
    assert row(text, "l25")[-1] == "z" and row(text, "l26")[-1] == "aa"
    assert " ab: reason 27\n" in text


def test_the_totals():
    rows = [
        layer("a", 16, 16, 128, p=10),
        layer("b", 16, 16, 64, block="4", blocks=(1, 4), p=2),
        layer("c", 1, 8, 8, nm="dense"),
    ]
    text = printed(record(layers=rows), 80)
    assert row(text, "sparsity")[1:] == [f"{1 - 192 / 512:.2%}", f"{1 - 200 / 520:.2%}"]
    assert [line.split()[2:] for line in text.splitlines() if line.startswith(" MACs kept")] == [["1,408", "1,416"]]
    assert row(text, "FLOPs")[2:] == [f"{1408 / 3072:.4f}", f"{1416 / 3080:.4f}"]


def test_what_before_and_after_are(monkeypatch):
    own = record()
    text = " ".join(printed(own, 140).split())
    assert "before: the network of runs/universal.pt, its head cut to the classes" in text
    assert "MACs: of one image" in text
    accuracy = own.accuracy["test"]
    assert f"{accuracy['before']:.2%} -> {accuracy['after']:.2%} of {accuracy['images']} test images" in text
    packed = replace(own, made={**own.made, "checkpoint": None, "dtype": "int8"})
    text = " ".join(printed(packed, 140).split())
    assert "before: the network as its factory makes it (no --checkpoint: untrained" in text
    assert "after: of the float32 weights, before they were packed as int8" in text
    text = printed(replace(own, made={**own.made, "dtype": "float32"}), 140)
    assert "after:" not in text
