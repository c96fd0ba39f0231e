"""`crispsim verify` as its user meets it: the table, what is refused, what a wrong result looks like."""

import dataclasses
from pathlib import Path

import pytest

from crispsim.cli.main import run_command as crispsim
from crispsim.sim.archs import ARCHITECTURES


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("Layer, M, N, K\nfirst, 40, 64, 128\nsecond, 90, 70, 130\n")
    return tmp_path


def run(*options):
    return crispsim(["verify", "--layer-csv", "t.csv", "--block", "32", *options])


@pytest.mark.parametrize(("columns", "run_of_all"), [("all", "130 of 130"), ("50", "90 of 130"), ("7", "14 of 130")])
def test_what_was_compared_is_counted(columns, run_of_all, capsys):
    assert run("--columns", columns) == 0
    text = capsys.readouterr().out
    rows = {line.split()[0]: line for line in text.splitlines() if line.split() and line.split()[0] in ARCHITECTURES}
    assert list(rows) == list(ARCHITECTURES)
    assert all(run_of_all in row for row in rows.values())
    if columns == "all":
        assert f"{64 * 40 + 70 * 90:,}" in rows["dstc"]
        # Nothing is pruned of the last layer's K = 130 but what 2:4 takes; dense issues every weight.
        assert f"{64 * 128 * 40 + 70 * 130 * 90:,}" in rows["dense"]
    assert "every result compared equals the integer product" in text


def test_quiet_says_nothing(capsys):
    assert run("--quiet", "--arch", "dstc-given-masks", "--seed", "3") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("columns", ["0", "-3", "many", "1.5", ""])
def test_bad_columns_are_refused(columns, capsys):
    assert run(f"--columns={columns}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"crispsim: --columns {columns}: must be an integer of at least 1, or all"


def test_a_wrong_result_is_one_line_and_exit_code_1(capsys, monkeypatch):
    right = ARCHITECTURES["stc"]

    def wrong(*operands):
        result = right.datapath(*operands)
        result[3, 5] += 1
        return result

    monkeypatch.setitem(ARCHITECTURES, "stc", dataclasses.replace(right, datapath=wrong))
    assert run() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("crispsim: wrong result: stc: layer 'first': row 3, column 5: got ")
    assert line.endswith("; 1 of 2560 values are wrong")
