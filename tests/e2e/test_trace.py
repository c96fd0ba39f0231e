"""`crispsim run --trace` as its user meets it: the file, what is told, what is refused."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from crispsim.cli.main import run_command as crispsim
from crispsim.formats import NMMatrix, PackedLayer, PackedModel, write_model
from crispsim.sim.errors import InputError

TABLE = "Layer, M, N, K\nfirst, 40, 64, 128\nsecond, 900, 64, 128\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLE)
    return tmp_path


def run(*options):
    return crispsim(["run", "--layer-csv", "t.csv", "--block", "32", "--arch", "crisp-stc", *options])


def layers(path):
    events = json.loads(Path(path).read_text())["traceEvents"]
    (thread,) = (
        event["tid"] for event in events if event["name"] == "thread_name" and event["args"]["name"] == "layer"
    )
    return [event["name"] for event in events if event.get("tid") == thread and event["ph"] == "X"]


def test_a_trace_is_written_and_a_shortened_window_told(capsys):
    assert run("--trace", "made/trace.json", "--trace-cycles", "20:50") == 0
    assert [name.split(",")[1].split(" of ")[0] for name in layers("made/trace.json")] == [" cycles 20-50"] * 2
    told = capsys.readouterr()
    assert "wrote made/trace.json" in told.out
    (line,) = (line for line in told.err.splitlines() if "trace:" in line)
    assert line.startswith("note: trace: cycles 20-50 of each layer; 2 layers on 1 architecture, 60 of ")
    assert line.endswith("; --trace-cycles, --trace-layer")
    assert sorted(path.name for path in Path("made").iterdir()) == ["trace.json"]


def test_a_whole_trace_needs_no_word(capsys):
    assert run("--trace", "trace.json", "--trace-layer", "first") == 0
    (name,) = layers("trace.json")
    assert name.startswith("first 64x128x40, cycles 0-")
    assert "note: trace" not in capsys.readouterr().err


def test_results_are_the_same_with_a_trace_and_the_trace_with_any_jobs():
    for number, jobs in enumerate("12"):
        options = ["--out", f"out{number}", "--trace", f"out{number}/trace.json.gz", "--jobs", jobs, "--quiet"]
        assert run(*options) == 0
    assert run("--out", "plain", "--quiet") == 0
    traces = [Path(f"out{number}/trace.json.gz").read_bytes() for number in range(2)]
    assert traces[0] == traces[1]
    assert json.loads(gzip.decompress(traces[0]))["traceEvents"]
    results = [Path(f"{name}/results.csv").read_bytes() for name in ("out0", "out1", "plain")]
    assert results[0] == results[1] == results[2]
    assert sorted(p.name for p in Path("out0").iterdir()) == [
        "config.toml", "results.csv", "summary.json", "trace.json.gz"
    ]  # fmt: skip


def test_the_layers_of_a_packed_model_are_known_by_name(capsys):
    weights = NMMatrix.encode(np.tile(np.array([1, 0, 2, 0], np.int8), (64, 32)), n=2, m=4)
    layer = PackedLayer(name="only", weights=weights, kind="gemm", in_channels=128, in_height=9, p=9, dtype="int8")
    write_model("m.crisp", PackedModel(layers=(layer,)))
    arguments = ["run", "--weights", "m.crisp", "--arch", "crisp-stc", "--trace", "x.json"]
    assert crispsim([*arguments, "--trace-layer", "once"]) == 2
    assert "no such layer; did you mean 'only'?" in capsys.readouterr().err
    assert crispsim([*arguments, "--trace-layer", "only"]) == 0
    assert layers("x.json")[0].startswith("only 64x128x")


def test_an_earlier_trace_is_replaced_and_quiet_is_quiet(capsys):
    Path("trace.json").write_text("mine")
    assert run("--trace", "trace.json", "--quiet") == 0
    assert layers("trace.json")
    assert capsys.readouterr() == ("", "")


REFUSED = {
    "cycles without a trace": (["--trace-cycles", "50"], "--trace-cycles: give --trace FILE"),
    "a layer without a trace": (["--trace-layer", "first"], "--trace-layer: give --trace FILE"),
    "no such layer": (["--trace", "x.json", "--trace-layer", "frist"], "'frist': no such layer; did you mean 'first'?"),
    "nothing": (["--trace", "x.json", "--trace-cycles", "0"], "'0': must be at least 1"),
    "backwards": (["--trace", "x.json", "--trace-cycles", "50:20"], "'50:20': FROM must be below TO = 20"),
    "empty": (["--trace", "x.json", "--trace-cycles", "20:20"], "'20:20': FROM must be below TO = 20"),
    "words": (["--trace", "x.json", "--trace-cycles", "all"], "'all': must be a number of cycles"),
    "negative": (["--trace", "x.json", "--trace-cycles", "-5"], "'-5': must be a number of cycles"),
    "open": (["--trace", "x.json", "--trace-cycles", "5:"], "'5:': must be a number of cycles"),
    "endless": (["--trace", "x.json", "--trace-cycles", "9" * 30], "must be a number of cycles"),
    "a folder": (["--trace", "folder"], "--trace folder: is there and no file"),
    "a device": (["--trace", "/dev/null"], "--trace /dev/null: is there and no file"),
    "under a file": (["--trace", "t.csv/x.json"], "the run reads or writes"),
    "no name": (["--trace", ""], "--trace: empty; give a file"),
    "the layer table": (["--trace", "./t.csv"], "the run reads or writes"),
    "a result": (["--trace", "out/results.csv", "--out", "out"], "the run reads or writes"),
    "a machine at fault": (["--trace", "x.json", "--set", "core.count=0"], "core.count"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_before_anything_is_simulated(case, capsys, monkeypatch, folder):
    options, message = REFUSED[case]
    (folder / "folder").mkdir()
    monkeypatch.setattr("crispsim.cli.run.simulate", lambda *_, **__: pytest.fail("simulated"))
    before = sorted(folder.rglob("*"))
    assert run(*options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("crispsim: ")
    assert message in lines[0]
    assert sorted(folder.rglob("*")) == before
    assert Path("t.csv").read_text() == TABLE


def test_what_cannot_be_written_leaves_nothing(capsys, monkeypatch, folder):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crispsim.cli.trace_file.write_trace", full)
    assert run("--trace", "x.json", "--out", "out") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "crispsim: --trace x.json: cannot write: No space left on device"
    )
    assert [path.name for path in folder.iterdir()] == ["t.csv"]


def test_a_run_folder_that_cannot_be_written_leaves_no_trace(monkeypatch, folder):
    def refuse(*_, **__):
        raise InputError("--out out: cannot write")

    monkeypatch.setattr("crispsim.cli.run.write_run", refuse)
    assert run("--trace", "x.json", "--out", "out") == 2
    assert [path.name for path in folder.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("options", "trace"),
    [
        (["--machine", "slow.toml"], "slow.toml"),
        (["--arch", "wide.toml"], "wide.toml"),
        (["--arch", "wide.toml"], "./slow.toml"),  # which wide.toml names
        (["--layer-csv", "t.csv"], "./t.csv"),
        (["--out", "o"], "o/results.csv"),
        (["--out", "o"], "o/results.csv/t.json"),
        (["--out", "x/y"], "x"),
    ],
)
def test_no_file_of_the_run_is_overwritten(options, trace, capsys):
    Path("slow.toml").write_text("chunk_slots = 2\n")
    Path("wide.toml").write_text('name = "wide"\narch = "crisp-stc"\nmachine = "slow.toml"\n')
    before = {path: path.read_text() for path in Path().iterdir()}
    assert run("--trace", trace, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"crispsim: --trace {Path(trace)}: the run reads or writes ")
    assert {path: path.read_text() for path in Path().iterdir()} == before


def test_a_trace_may_lie_in_the_runs_folder():
    assert run("--out", "o", "--trace", "o/trace.JSON.GZ", "--quiet") == 0
    assert json.loads(gzip.decompress(Path("o/trace.JSON.GZ").read_bytes()))["traceEvents"]
