"""Bad input: one line that names what, its value and the rule; exit code 2; nothing written. No traceback, ever."""

from importlib import resources
from pathlib import Path

import pytest

from crispsim.cli.main import run_command as crispsim

RESNET = str(resources.files("crispsim.sim") / "layers" / "resnet50.csv")
CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides"
GEMM = "Layer, M, N, K"

TABLES = {
    "missing column": ("Layer, M, N\na, 8, 8\n", "missing column 'K'"),
    "text in a number": (f"{GEMM}\na, 8, 8, x\n", "t.csv:2: column 'K': value 'x'"),
    "a symbol where a number belongs": (f"{CONV}\nb,56,56,3,3,64,B,1\n", "t.csv:2: column 'Num Filter': value 'B'"),
    "zero": (f"{GEMM}\na, 0, 8, 8\n", "t.csv:2: column 'M': value '0'"),
    "negative": (f"{GEMM}\na, 8, -8, 8\n", "t.csv:2: column 'N': value '-8'"),
    "fraction": (f"{GEMM}\na, 8, 8.5, 8\n", "value '8.5'"),
    "filter larger than input": (f"{CONV}\na,2,2,3,3,8,8,1\n", "larger than the padded input of 2"),
    "overflow": (f"{GEMM}\na, 4000000000, 4000000000, 4000000000\n", "overflow"),
    "too large to lay out": (f"{GEMM}\na, 1, 1, 4000000000\n", "K = 4000000000"),
    "too large to draw": (f"{GEMM}\na, 4000000000000, 1, 1\n", "input values = 4000000000000"),
    "block far beyond the layer": (f"{GEMM}, Block\na, 8, 64, 640, 1048576\n", "weights to draw a group"),
    "too many channels": (f"{CONV}, Groups\na,1,1,1,1,900000000,900000000,1,900000000\n", "channels = 900000000"),
    "number in other digits": (f"{GEMM}, Activation Sparsity\na, 8, 8, 8, 0_0.5\n", "value '0_0.5'"),
    "empty": ("", "empty file"),
    "only a header": (f"{GEMM}\n", "only a header"),
    "unknown header": ("foo, bar\n1, 2\n", "t.csv:1"),
    "tabs with one comma row": (GEMM.replace(", ", "\t") + "\na\t8\t8\t8\nb,8,8,8\n", "t.csv:3"),
    "wrong pattern in a row": (f"{GEMM}, NM\na, 8, 8, 8, 5:4\n", "value '5:4'"),
    "row sparser than its N:M": (f"{GEMM}, NM, Weight Sparsity\na, 8, 64, 640, 1:4, 0.5\n", "layer 'a': sparsity"),
    "block of a row for crisp-stc": (f"{GEMM}, Block\na, 8, 64, 640, 20\n", "block 20"),
    "groups that do not divide": (f"{CONV}, Groups\na,8,8,3,3,8,8,1,3\n", "column 'Groups': value '3'"),
}  # fmt: skip

OPTIONS = {
    "pattern 5:4": (["--nm", "5:4"], "pattern 5:4"),
    "pattern text": (["--nm", "half"], "'half'"),
    "N beyond the lanes": (["--nm", "9:16"], "9:16"),
    "block 12": (["--block", "12"], "block 12"),
    "block 0": (["--block", "0"], "block 0"),
    "block text": (["--block", "big"], "'big'"),
    "block no multiple of M": (["--nm", "2:4", "--block", "30"], "block 30"),
    "sparsity 1.5": (["--sparsity", "1.5"], "sparsity 1.5"),
    "sparsity nan": (["--sparsity", "nan"], "sparsity nan"),
    "sparsity inf": (["--sparsity", "inf"], "sparsity inf"),
    "sparsity below 1 - N/M": (["--sparsity", "0.3"], "sparsity 0.3"),
    "sparsity without blocks": (["--block", "none", "--sparsity", "0.9"], "sparsity 0.9"),
    "activation sparsity": (["--activation-sparsity", "-0.1"], "activation sparsity -0.1"),
    "activation sparsity nan": (["--activation-sparsity", "nan"], "activation sparsity nan"),
    "seed": (["--seed", "-1"], "seed -1"),
    "jobs": (["--jobs", "0"], "jobs 0"),
    "unknown architecture": (["--arch", "dens"], "did you mean 'dense'"),
    "architecture twice": (["--arch", "stc", "--arch", "stc"], "'stc': given 2 times"),
    "unknown machine": (["--machine", "cloud"], "machine 'cloud'"),
    "machine file missing": (["--machine", "none.toml"], "none.toml: cannot read"),
    "unknown key": (["--set", "smem.latncy=3"], "nearest known one is 'smem.latency_cycles'"),
    "no value": (["--set", "smem.latency_cycles"], "expected KEY=VALUE"),
    "value out of range": (["--set", "smem.latency_cycles=0"], "--set: smem.latency_cycles: value 0"),
    "value of the wrong type": (["--set", "smem.read_bytes_per_cycle=1.5"], "value 1.5"),
    "alias of the wrong type": (["--set", "smem.bytes_per_cycle=abc"], "--set: smem.bytes_per_cycle: value 'abc'"),
    "choice": (["--set", "rf.holds=some"], "--set: rf.holds: value 'some'"),
    "register file too small": (["--set", "rf.bytes=100"], "rf.bytes: value 100"),
    "column tile no multiple": (["--set", "column_tile=3"], "column_tile: value 3"),
    "column tile too wide": (["--set", "column_tile=1000"], "column_tile: value 1000"),
    "unknown energy table": (["--energy", "horowitz"], "'horowitz': unknown; known are horowitz45"),
    "energy file missing": (["--energy", "none.toml"], "none.toml: cannot read"),
    "memory that no source knows": (["--set", "smem.banks=7"], "smem: 262144 B, 7 banks"),
    "memory beyond the sources": (["--set", "smem.capacity_bytes=8388608"], "--energy none runs without energy"),
    "figure that the table lacks": (["--energy", "sparseloop", "--set", "operand_bits=16"], "no figure multiply_16"),
    "unknown ports": (["--set", "rf.ports=3rw"], "rf.ports: value '3rw'"),
    "a DRAM of negative bandwidth": (["--set", "dram.bytes_per_cycle=-1"], "--set: dram.bytes_per_cycle: value -1"),
    "a DRAM of broken bytes": (["--set", "dram.bytes_per_cycle=1.5"], "--set: dram.bytes_per_cycle: value 1.5"),
    "bandwidth as text": (["--machine", "edge-lpddr4", "--set", "dram.bytes_per_cycle=x"], "value 'x'"),
    "a DRAM without latency": (["--machine", "edge-lpddr5", "--set", "dram.latency_cycles=0"], "latency_cycles: value"),
    "negative energy a bit": (["--machine", "edge-lpddr4", "--set", "dram.pj_per_bit=-8"], "dram.pj_per_bit: value -8"),
    "a burst of broken results": (
        ["--machine", "edge-lpddr4", "--set", "output_bits=16", "--set", "dram.burst_bytes=63"],
        "--set: dram.burst_bytes: value 63: must be a multiple of an output's 2 bytes",
    ),
    "unknown key of the DRAM": (["--set", "dram.bandwidth=4"], "unknown key 'dram.bandwidth'"),
    "an SMEM that nothing fits into": (
        ["--machine", "edge-lpddr4", "--set", "smem.capacity_bytes=1000", "--energy", "none"],
        "dense: layer 'conv1': smem.capacity_bytes: 1000 B are left for this layer: too small",
    ),
    "fusion without a DRAM": (["--fuse"], "--fuse: dense runs on a machine without a DRAM"),
    "fusion where one has no DRAM": (
        ["--machine", "edge-lpddr4", "--fuse", "--arch", "stc", "--arch", "ideal.toml"], "--fuse: ideal runs on",
    ),
    "unknown option": (["--bogus"], "--bogus"),
    "weights that are none": (["--weights", RESNET], "header length"),
    "weights and a pattern": (["--weights", RESNET, "--nm", "2:4"], "--nm"),
}  # fmt: skip


def refuse(arguments, expected, folder: Path, capsys):
    before = sorted(folder.rglob("*"))
    assert crispsim(["run", *arguments]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("crispsim: ")
    assert expected in lines[0]
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", TABLES)
def test_layer_tables(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, expected = TABLES[name]
    Path("t.csv").write_text(text)
    refuse(["--layer-csv", "t.csv", "--block", "32", "--out", "out"], expected, tmp_path, capsys)


@pytest.mark.parametrize("more", [[], ["--fuse"], ["--jobs", "1"]])
def test_a_layer_too_large_for_a_small_smem_is_refused_before_any_runs(more, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crispsim.cli.progress.LayerProgress.update", lambda *_: pytest.fail("began"))
    Path("t.csv").write_text(f"{GEMM}\nsmall, 4, 16, 64\nlarge, 400, 640, 640\n")
    machine = ["--machine", "edge-lpddr4", "--set", "smem.capacity_bytes=1600", "--energy", "none"]
    arguments = ["--layer-csv", "t.csv", "--block", "32", "--out", "out", *machine, *more]
    refuse(arguments, "t.csv:3: dense: layer 'large': smem.capacity_bytes: 1600 B", tmp_path, capsys)


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ideal.toml").write_text('name = "ideal"\narch = "stc"\nmachine = "edge"\n')
    arguments, expected = OPTIONS[name]
    refuse(["--layer-csv", RESNET, "--out", "out", *arguments], expected, tmp_path, capsys)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("arch = 3\n", "arch: value 3"),
        ('name = "x"\n', "arch: missing"),
        ('arch = "crisp"\n', "did you mean 'crisp-stc'"),
        ('arch = "stc"\ncolor = "red"\n', "unknown key 'color'"),
        ('arch = "stc"\nset = 3\n', "set: value 3"),
        ('arch = "stc"\n[set.smem]\nlatency_cycles = 0\n', "a.toml: smem.latency_cycles: value 0"),
        ('arch = "stc"\n[set]\nsmen = 1\n', "unknown key 'smen'"),
        ("arch = \n", "not TOML"),
        ('arch = "stc"\nname = "dense"\n', "name: value 'dense'"),
        ('arch = "stc"\nname = ""\n', "name: value ''"),
        ('arch = "stc"\nname = "a\\nb"\n', "name: value 'a\\nb'"),
    ],
)
def test_architecture_files(content, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(content)
    refuse(["--layer-csv", RESNET, "--arch", "a.toml"], expected, tmp_path, capsys)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"chunk_slots = 0\n", "m.toml: chunk_slots: value 0"),
        (b"chunk_slots = [4]\n", "m.toml: chunk_slots: value [4]"),
        (b"smem = 3\n", "unknown key 'smem'"),
        (b"[rf]\nholds = 2026-11-22\n", "m.toml: rf.holds"),
        (b"chunk_slots = 1\nchunk_slots = 2\n", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b"[core]\nrow = 8\n", "nearest known one is 'core.rows'"),
    ],
)
def test_machine_files(content, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("m.toml").write_bytes(content)
    refuse(["--layer-csv", RESNET, "--machine", "m.toml"], expected, tmp_path, capsys)
    Path("d.toml").mkdir()
    refuse(["--layer-csv", RESNET, "--machine", "d.toml"], "d.toml: cannot read", tmp_path, capsys)


def test_files_that_cannot_be_read(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("binary.csv").write_bytes(bytes(range(256)))
    refuse(["--layer-csv", "binary.csv"], "binary.csv", tmp_path, capsys)
    refuse(["--layer-csv", "missing.csv"], "no such file", tmp_path, capsys)
    refuse(["--layer-csv", str(tmp_path)], "is a directory", tmp_path, capsys)
    refuse(["--weights", "missing.safetensors"], "missing.safetensors", tmp_path, capsys)
    refuse([], "give --layer-csv FILE", tmp_path, capsys)
    refuse(["--layer-csv", ""], "--layer-csv: empty", tmp_path, capsys)
    refuse(["--weights", ""], "--weights: empty", tmp_path, capsys)


def test_out_that_exists_as_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("out").write_text("mine")
    refuse(["--layer-csv", RESNET, "--out", "out"], "out is a file", tmp_path, capsys)
    refuse(["--layer-csv", RESNET, "--out", "out/deeper"], "out is a file", tmp_path, capsys)
    assert Path("out").read_text() == "mine"


@pytest.mark.parametrize("out", ["", ".", "/"])
def test_out_that_names_no_folder_of_its_own(out, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse(["--layer-csv", RESNET, "--out", out], "a folder of its own", tmp_path, capsys)


@pytest.mark.parametrize("name", ["results.csv", "summary.json/inside"])
def test_out_that_holds_somebody_elses_files(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("out", name).parent.mkdir(parents=True)
    Path("out", name).write_text("mine")
    refuse(["--layer-csv", RESNET, "--out", "out"], "not a run's folder", tmp_path, capsys)


def test_at_most_ten_bad_rows_are_reported_together(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(f"{GEMM}\n" + "a, 0, 8, 8\n" * 12)
    assert crispsim(["run", "--layer-csv", "t.csv"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "crispsim: and 2 more"


def test_an_internal_error_is_one_line_and_exit_code_1(capsys, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("crispsim.cli.run.simulate", broken)
    assert crispsim(["run", "--layer-csv", RESNET]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "crispsim: internal error: ZeroDivisionError: oops; -v shows the traceback"
    ]
    assert crispsim(["-v", "run", "--layer-csv", RESNET]) == 1
    assert "Traceback" in capsys.readouterr().err
