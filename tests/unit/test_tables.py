"""The terminal's tables: names stay apart, lines end without blanks."""

import re
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispsim.cli import terminal as terminal_module
from crispsim.cli.tables import plain_table, print_table, short_name, short_names, spellings
from crispsim.cli.terminal import Terminal, say
from crispsim.sim import read_layers

SHIPPED = Path(__file__).parents[2] / "sim" / "layers"


@pytest.mark.parametrize("table", ["vit_b16", "bert_base", "resnet50", "mobilenetv2", "vgg16"])
def test_the_names_of_shipped_networks_stay_apart_and_keep_their_numbers(table):
    names = [layer.name for layer in read_layers(SHIPPED / f"{table}.csv")]
    short = short_names(names)
    assert list(short) == names
    assert len(set(short.values())) == len(names)
    for name, told in short.items():
        assert len(told) <= 32
        assert re.findall(r"\d+", told) == re.findall(r"\d+", name)
        assert told == name or len(name) > 32


def test_parts_without_numbers_are_left_out_first():
    assert short_name("encoder.layers.encoder_layer_11.mlp.0") == "…encoder_layer_11.mlp.0"
    assert short_name("blocks.0.layers.1.window_attention.attn_layer.1.to_qkv") == "…0…1…1.to_qkv"
    assert short_name("a" * 20 + "b" * 20) == "a" * 15 + "…" + "b" * 15


def test_names_that_shortening_would_make_alike_stay_whole():
    left, right, other = (f"network.{middle}.layer.0.attention.projection" for middle in ("left", "right", "x.1"))
    assert short_name(left) == short_name(right)
    assert short_names([left, right, other]) == {left: left, right: right, other: "…1.layer.0.attention.projection"}


@given(st.lists(st.text("ab1._…", min_size=1, max_size=80), unique=True, max_size=8))
def test_short_names_differ(names):
    assert len(set(short_names(names).values())) == len(names)


def test_whole_names_come_first():
    long = "encoder.layers.encoder_layer_3.mlp.0"
    assert spellings(["a", "b"]) == [{"a": "a", "b": "b"}]
    assert spellings(["a", long]) == [{"a": "a", long: long}, {"a": "a", long: "…encoder_layer_3.mlp.0"}]


@pytest.mark.parametrize("width", [10, 80])
def test_lines_that_are_no_terminals_end_without_blanks(width):
    table = plain_table("Title")
    table.add_column("name")
    table.add_column("note")
    table.add_row("a", "a long note")
    table.add_row("b", "")
    console = Terminal(width=width, file=StringIO())
    print_table(console, table)
    lines = console.file.getvalue().splitlines()
    assert lines == [line.rstrip() for line in lines]
    assert " a     a long note" in lines


@pytest.mark.parametrize("is_terminal", [True, False])
def test_prose_wraps_at_words_on_a_terminal_only(is_terminal, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(terminal_module.sys.stdout, "isatty", lambda: is_terminal, raising=False)
    said = "wrote some/long/folder/of-mine/file.csv and another"
    say(said)
    lines = capsys.readouterr().out.splitlines()
    assert lines == (["wrote", "some/long/folder/of-mine/file.csv", "and another"] if is_terminal else [said])
