"""Timing diagrams: what is drawn is what the trace says, and a picture is made of it."""

import gzip
import json

import pytest
from click.testing import CliRunner

from crispsim.bench.figures.timing import STALLS, collect, main, read_trace
from crispsim.cli.main import run_command as crispsim


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """One trace of two architectures and two layers."""
    folder = tmp_path_factory.mktemp("traces")
    (folder / "t.csv").write_text("Layer, M, N, K\na, 20, 16, 128\nb, 20, 16, 64\n")
    path = folder / "t.json.gz"
    arguments = ["--layer-csv", str(folder / "t.csv"), "--arch", "crisp-stc", "--arch", "dstc", "--block", "16"]
    assert crispsim(["run", *arguments, "--sparsity", "0.75", "--quiet", "--trace", str(path)]) == 0
    return path


def test_bars_are_the_traces_slices_cut_to_the_cycles_asked_for(traces):
    events = json.loads(gzip.decompress(traces.read_bytes()))["traceEvents"]
    diagram = collect(read_trace(traces), "crisp-stc", 3, 30)
    assert diagram.title == "crisp-stc: a 16x128x20"
    rows = {row.name: row for row in diagram.rows}
    process = next(event["pid"] for event in events if event["args"].get("name") == "crisp-stc")
    own = [event for event in events if event["pid"] == process]
    names = {event["tid"]: event["args"]["name"] for event in own if event["name"] == "thread_name"}
    shown = {name: [] for name in names.values() if name != "layer"}
    for event in own:
        if event["ph"] == "X" and event["ts"] < 30 and event["ts"] + event["dur"] > 3:
            shown.setdefault(names[event["tid"]], []).append((max(3, event["ts"]), min(30, event["ts"] + event["dur"])))
    shown.pop("layer")
    assert {name: sorted(spans) for name, spans in shown.items()} == {
        name: [(bar.start, bar.end) for bar in row.bars] for name, row in rows.items() if "%" not in name
    }
    core = rows["core 0 MACs"].bars
    assert [bar.start for bar in core] == [3, *(bar.end for bar in core[:-1])]
    assert {bar.kind for bar in core} <= {"MAC", *STALLS}
    wave = rows["weights of core 0, slot 1"].bars[0]
    assert wave.start < wave.usable < wave.end
    assert (wave.kind, wave.text) == ("weights", "wave 1")
    assert rows["read port, % of bandwidth"].percent[0][0] == 3


def test_dstc_has_steps_and_slices(traces):
    rows = {row.name: row for row in collect(read_trace(traces), "dstc", 0, 60).rows}
    assert "step 0" in [bar.text for bar in rows["core 0 MACs"].bars]
    assert rows["A0 weights, slot 0"].bars[0].text == "slice 0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arch", "stc", "--from", "0", "--to", "9"], "'stc': the trace has crisp-stc, dstc"),
        (["--arch", "dstc", "--from", "0", "--to", "9000"], "2 layers there, not one"),
        (["--arch", "dstc", "--from", "8000", "--to", "9000"], "0 layers there, not one"),
        (["--arch", "dstc", "--from", "9", "--to", "9"], "--from 9: must be below --to 9"),
    ],
)
def test_what_cannot_be_drawn_is_said(traces, options, message, tmp_path):
    result = CliRunner().invoke(main, [str(traces), *options, "--out", str(tmp_path / "x.svg")])
    assert result.exit_code != 0
    assert message in result.output
    assert not (tmp_path / "x.svg").exists()


def test_a_file_that_is_no_trace_is_said(tmp_path):
    (tmp_path / "t.csv").write_text("a, b")
    for name, message in (("t.csv", "not a trace"), ("none.json", "cannot read")):
        options = [
            str(tmp_path / name),
            "--arch",
            "dense",
            "--from",
            "0",
            "--to",
            "9",
            "--out",
            str(tmp_path / "x.svg"),
        ]
        assert message in CliRunner().invoke(main, options).output


def test_a_picture_is_the_same_every_time(traces, tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg"):
        options = [str(traces), "--arch", "dstc", "--from", "0", "--to", "60", "--out", str(tmp_path / name)]
        assert CliRunner().invoke(main, options).exit_code == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"stall_smem" in (tmp_path / "a.svg").read_bytes()


def test_a_dram_has_a_row_of_its_own(tmp_path):
    (tmp_path / "t.csv").write_text("Layer, M, N, K\na, 20, 16, 128\n")
    path, picture = tmp_path / "t.json", tmp_path / "t.png"
    arguments = ["--layer-csv", str(tmp_path / "t.csv"), "--arch", "crisp-stc", "--machine", "edge-lpddr4"]
    assert crispsim(["run", *arguments, "--block", "16", "--sparsity", "0.75", "--quiet", "--trace", str(path)]) == 0
    rows = {row.name: row for row in collect(read_trace(path), "crisp-stc", 0, 300).rows}
    channel = rows["DRAM channel"].bars
    assert [(channel[0].kind, channel[0].text), channel[-1].kind] == [("DRAM", "inputs 0"), "write-back"]
    assert {bar.kind for bar in rows["write port"].bars} == {"DRAM", "results"}
    assert "write-back" in {bar.kind for bar in rows["read port"].bars}
    assert rows["core 0 MACs"].bars[0].text == "stall_dram"
    assert max(value for _, value in rows["DRAM channel, % of bandwidth"].percent) == 100
    command = [str(path), "--arch", "crisp-stc", "--from", "0", "--to", "300", "--out", str(picture)]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert picture.stat().st_size > 10_000
