"""`crispsim run` and `crispsim archs` as their user meets them: output, files, exit codes."""

import csv
import dataclasses
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from crispsim.cli.main import run_command as crispsim
from crispsim.cli.network_table import print_results
from crispsim.cli.terminal import Terminal
from crispsim.formats import PackedLayer, PackedModel, Pattern, draw_weights
from crispsim.sim import Layer, Machine, read_layers, simulate
from crispsim.sim.result import columns_of

LAYERS = Path(str(resources.files("crispsim.sim") / "layers"))

SMALL = """Layer, M, N, K, NM, Block, Weight Sparsity
first, 40, 64, 128,,,
own, 40, 64, 128, 1:4, 32, 0.875
none, 40, 64, 128, 2:4, none,
head, 1, 10, 64,,,
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.csv"
    path.write_text(SMALL)
    return path


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_out_holds_results_summary_and_config(small, tmp_path, capsys):
    out = tmp_path / "made" / "out"
    arguments = [
        "run",
        "--layer-csv",
        str(small),
        "--block",
        "32",
        "--sparsity",
        "0.75",
        "--seed",
        "3",
        "--out",
        str(out),
    ]
    assert crispsim(arguments) == 0
    assert sorted(p.name for p in out.iterdir()) == ["config.toml", "results.csv", "summary.json"]
    assert [p.name for p in out.parent.iterdir()] == ["out"]  # nothing half-made is left

    rows = read_csv(out / "results.csv")
    assert list(rows[0]) == list(columns_of(with_energy=True))
    assert [(row["layer"], row["arch"]) for row in rows[:4]] == [
        ("first", a) for a in ("dense", "stc", "dstc", "crisp-stc")
    ]
    for row in rows:
        causes = ("busy", "stall_drain", "stall_smem", "stall_rf", "stall_sync", "idle")
        assert sum(int(row[f"{cause}_core_cycles"]) for cause in causes) == 4 * int(row["cycles"])
        parts = (row["weight_bytes"], row["metadata_bytes"], row["activation_bytes"])
        assert sum(map(int, parts)) == int(row["smem_read_bytes"])

    summary = json.loads((out / "summary.json").read_text())
    assert summary["totals"]["stc"]["cycles"] == sum(int(row["cycles"]) for row in rows if row["arch"] == "stc")
    assert summary["dram"] == "none"
    assert summary["dense_by_rule"] == {"head": "classifier"}

    config = tomllib.loads((out / "config.toml").read_text())
    assert config["seed"] == 3
    assert config["options"]["sparsity"] == 0.75
    assert config["input"][0]["path"] == str(small)
    assert Machine.model_validate(config["arch"][0]["machine"]) == Machine.load()
    assert "crisp-stc" in capsys.readouterr().out


def test_a_rows_own_columns_win(small, tmp_path):
    out = tmp_path / "out"
    assert (
        crispsim(
            ["run", "--layer-csv", str(small), "--block", "64", "--sparsity", "0.75", "--quiet", "--out", str(out)]
        )
        == 0
    )
    rows = {row["layer"]: row for row in read_csv(out / "results.csv") if row["arch"] == "crisp-stc"}
    assert (rows["first"]["nm"], rows["first"]["block"], rows["first"]["weight_sparsity"]) == ("2:4", "64", "0.75")
    assert (rows["own"]["nm"], rows["own"]["block"], rows["own"]["weight_sparsity"]) == ("1:4", "32", "0.875")
    assert (rows["none"]["nm"], rows["none"]["block"], rows["none"]["mode"]) == ("2:4", "none", "2:4")
    assert (rows["head"]["nm"], rows["head"]["mask"], rows["head"]["note"]) == ("dense", "dense", "classifier")
    assert rows["own"]["requested_sparsity"] == "0.875"


def test_all_layers_prunes_the_classifier_too(small, tmp_path):
    out = tmp_path / "out"
    assert (
        crispsim(["run", "--layer-csv", str(small), "--all-layers", "--block", "32", "--quiet", "--out", str(out)]) == 0
    )
    assert read_csv(out / "results.csv")[-1]["nm"] == "2:4"


def test_the_same_seed_writes_the_same_bytes(small, tmp_path):
    for name in ("a", "b"):
        assert crispsim(["run", "--layer-csv", str(small), "--quiet", "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a" / "results.csv").read_bytes() == (tmp_path / "b" / "results.csv").read_bytes()


def test_json_is_the_only_thing_on_standard_output(small, capsys):
    assert crispsim(["run", "--layer-csv", str(small), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["rows"]) == 16
    assert set(document["totals"]) == {"dense", "stc", "dstc", "crisp-stc"}


def test_an_arch_file_has_a_name_and_a_machine_of_its_own(small, tmp_path):
    (tmp_path / "wide.toml").write_text('name = "wide"\narch = "crisp-stc"\n[set.smem]\nbytes_per_cycle = 128\n')
    arguments = [
        "run",
        "--layer-csv",
        str(small),
        "--arch",
        "crisp-stc",
        "--arch",
        str(tmp_path / "wide.toml"),
        "--quiet",
    ]
    assert crispsim([*arguments, "--set", "smem.latency_cycles=5", "--out", str(tmp_path / "out")]) == 0
    config = tomllib.loads((tmp_path / "out" / "config.toml").read_text())
    assert [a["name"] for a in config["arch"]] == ["crisp-stc", "wide"]
    assert [a["machine"]["smem"]["read_bytes_per_cycle"] for a in config["arch"]] == [64, 128]
    assert [a["machine"]["smem"]["latency_cycles"] for a in config["arch"]] == [5, 5]


def test_an_earlier_run_is_replaced_and_other_files_left_alone(small, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    for _ in range(2):
        assert crispsim(["run", "--layer-csv", str(small), "--quiet", "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["config.toml", "mine.txt", "results.csv", "summary.json"]


def test_a_folder_is_written_from_within(small, tmp_path):
    """Its parent may be read-only, or another file system: nothing is made beside a folder that is there."""
    out = tmp_path / "out"
    out.mkdir()
    made = []
    mkdir = Path.mkdir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", lambda path, *a, **k: (made.append(path.parent), mkdir(path, *a, **k))[1])
        assert crispsim(["run", "--layer-csv", str(small), "--quiet", "--out", str(out)]) == 0
    assert out in made
    assert tmp_path not in made
    assert sorted(p.name for p in out.iterdir()) == ["config.toml", "results.csv", "summary.json"]


def test_the_terminal_shows_layers_totals_and_what_is_ideal(capsys):
    assert crispsim(["run", "--layer-csv", str(LAYERS / "resnet50.csv"), "--arch", "dense", "--arch", "crisp-stc"]) == 0
    text = capsys.readouterr().out
    for expected in (
        "layer4.1.conv1",
        "x6",
        "Network",
        "stall_smem",
        "stem: conv1",
        "SMEM-resident ideal",
    ):
        assert expected in text


def test_archs_lists_and_shows(capsys):
    assert crispsim(["archs"]) == 0
    assert "crisp-stc" in capsys.readouterr().out
    assert crispsim(["archs", "show", "stc", "--machine", "paper"]) == 0
    text = capsys.readouterr().out
    assert "smem.read_bytes_per_cycle" in text
    assert "runs 2:4" in text
    assert "refused:" not in text


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["verify", "--help"], ["archs", "--help"], ["archs", "show", "--help"]]
)
def test_every_command_has_help_with_an_example(arguments, capsys):
    assert crispsim(arguments) == 0
    assert "Example: crispsim" in capsys.readouterr().out


def kind_of(row):
    layer = row.layer
    return layer.s, layer.k, layer.p, layer.groups, row.nm, row.block, row.weight_sparsity


@pytest.mark.parametrize("columns", [60, 80, 100, 140, 200])
def test_no_number_is_cropped_whatever_the_width(columns):
    results = simulate(read_layers(LAYERS / "mobilenetv2.csv")[:12])
    file = io.StringIO()
    print_results(results, Terminal(width=columns, file=file))
    assert "…" not in file.getvalue()
    kinds = {row.layer.name: kind_of(row) for row in results.of("dense")}
    for row in results.rows:
        alike = [other.cycles for other in results.of(row.arch) if kinds[other.layer.name] == kinds[row.layer.name]]
        assert f"{sum(alike) / len(alike):,.0f}" in file.getvalue()


def test_layers_alike_are_folded_and_a_mean_says_so():
    layer = Layer(
        name="a", kind="gemm", in_height=90, in_width=1, kernel_h=1, kernel_w=1, in_channels=256, out_channels=64
    )
    results = simulate([layer, dataclasses.replace(layer, name="b", calls=2)], all_layers=True, sparsity=0.75)
    file = io.StringIO()
    print_results(results, Terminal(width=140, file=file))
    (line,) = (line for line in file.getvalue().splitlines() if " x3 " in line)
    one, other = (row.cycles for row in results.of("dstc"))
    assert one != other
    assert f"~{(one + 2 * other) / 3:,.0f}" in line
    assert f"{results.of('crisp-stc')[0].cycles:,}" in line
    assert f"they lie within {300 * abs(one - other) / (one + 2 * other):.1f}%" in file.getvalue()
    assert "masks: dstc on unstructured weights of the sparsity of dense, stc, crisp-stc" in file.getvalue()


A_GEMM = Layer(
    name="one", kind="gemm", in_height=40, in_width=1, kernel_h=1, kernel_w=1, in_channels=128, out_channels=64
)
A_CONV = Layer(
    name="one", kind="conv", in_height=9, in_width=9, kernel_h=3, kernel_w=3, in_channels=8, out_channels=8,
    nm=(2, 4), block="none",
)  # fmt: skip
UNLIKE = {
    "activation sparsity": (A_GEMM, {"activation_sparsity": 0.25}, {"activation_sparsity": 0.5}),
    "weight sparsity": (A_GEMM, {"block": 32, "weight_sparsity": 0.5}, {"block": 32, "weight_sparsity": 0.75}),
    "N:M": (A_GEMM, {"nm": (2, 4), "block": "none"}, {"nm": (4, 8), "block": "none"}),
    "block": (A_GEMM, {"block": 32, "weight_sparsity": 0.75}, {"block": 64, "weight_sparsity": 0.75}),
    # 3 x 3 outputs: floor(6 / 3) + 1 and floor(8 / 3) + 1; 2 x 2: floor(6 / 4) + 1 and floor(6 / 5) + 1.
    "padding": (A_CONV, {"stride_h": 3, "stride_w": 3}, {"stride_h": 3, "stride_w": 3, "pad_h": 1, "pad_w": 1}),
    "stride": (A_CONV, {"stride_h": 4, "stride_w": 4}, {"stride_h": 5, "stride_w": 5}),
}


# Of a packed file, where no row says what tells layers apart: pattern, sparsity asked, share of zeros in the input.
PACKED_UNLIKE = {
    "activation sparsity": (((2, 4, None), None, 4), ((2, 4, None), None, 3)),
    "weight sparsity": (((2, 4, 32), 0.75, 4), ((2, 4, 32), 0.5, 4)),
    "N:M": (((2, 4, None), None, 4), ((4, 8, None), None, 4)),
    "block": (((2, 4, 32), 0.75, 4), ((2, 4, 64), 0.75, 4)),
}


def names_in_the_table(results, shape):
    """The first two words of each line of the table of layers."""
    file = io.StringIO()
    print_results(results, Terminal(width=160, file=file))
    return [tuple(line.split()[:2]) for line in file.getvalue().splitlines() if shape in line]


@pytest.mark.parametrize("what", UNLIKE)
def test_layers_that_differ_are_not_folded(what):
    layer, first, second = UNLIKE[what]
    one, other = (dataclasses.replace(layer, **fields) for fields in (first, second))
    shape = f"{one.s}x{one.k}x{one.p}"
    assert shape == f"{other.s}x{other.k}x{other.p}"
    for pair, folded in (((one, other), False), ((one, one), True)):
        layers = [pair[0], dataclasses.replace(pair[1], name="other")]
        names = names_in_the_table(simulate(layers, ["dstc", "crisp-stc"], all_layers=True), shape)
        assert names == ([("one", "x2")] if folded else [("one", shape), ("other", shape)])


@pytest.mark.parametrize("what", PACKED_UNLIKE)
def test_packed_layers_that_differ_are_not_folded(what):
    """dstc, listed first, has unstructured weights of any pattern: what the others have tells layers apart, too."""

    def packed(name, pattern, sparsity, every):
        n, m, block = pattern
        return PackedLayer(
            name=name, weights=draw_weights((64, 128), Pattern(n=n, m=m, block=block), sparsity, 1), kind="gemm",
            in_channels=128, in_height=12, p=12, dtype="int8",
            activations=(np.arange(12 * 128).reshape(12, 1, 128) % every).astype(np.int8),
        )  # fmt: skip

    one, other = PACKED_UNLIKE[what]
    for second, folded in ((other, False), (one, True)):
        model = PackedModel(layers=(packed("one", *one), packed("other", *second)))
        names = names_in_the_table(simulate(weights=model, archs=["dstc", "crisp-stc"]), "64x128x12")
        assert names == ([("one", "x2")] if folded else [("one", "64x128x12"), ("other", "64x128x12")])


@pytest.mark.parametrize(
    ("archs", "note"),
    [
        (["dstc", "crisp-stc"], "dstc on unstructured weights of the sparsity of crisp-stc"),
        (["dstc", "stc", "crisp-stc"], "dstc on unstructured weights of the sparsity of stc, crisp-stc"),
        (["crisp-stc", "dstc"], "dstc on unstructured weights of the sparsity of crisp-stc"),
        (["dense", "crisp-stc"], None),
    ],
)
def test_whose_masks_differ_is_told(archs, note, small, capsys):
    asked = [word for arch in archs for word in ("--arch", arch)]
    assert crispsim(["run", "--layer-csv", str(small), "--block", "32", *asked]) == 0
    text = " ".join(capsys.readouterr().out.split())  # wherever lines are broken
    assert text.count("masks: ") == (note is not None)
    if note is not None:
        assert f"masks: {note} (column mask of results.csv)" in text


def test_names_are_printed_as_they_are(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("Layer, M, N, K\n[/bold], 8, 8, 8\n[red]x[/red], 9, 8, 8\n:smile:, 10, 8, 8\n")
    assert crispsim(["run", "--layer-csv", str(tmp_path / "t.csv")]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("[/bold]", "[red]x[/red]", ":smile:"))


def test_a_shipped_table_is_known_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert crispsim(["run", "--layer-csv", "bert_base", "--arch", "stc", "--quiet"]) == 0


def test_help_without_a_command(capsys):
    assert crispsim([]) == 0
    assert "Commands:" in capsys.readouterr().out


COMMAND = [sys.executable, "-c", "from crispsim.cli.entry import main; main()"]


def test_output_that_cannot_be_written_is_one_line(small):
    with Path("/dev/full").open("w") as full:
        arguments = [*COMMAND, "run", "--layer-csv", str(small)]
        process = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1].startswith("crispsim: cannot write to standard output")


def test_a_reader_that_leaves_early_is_no_error(small):
    command = f"{shlex.join([*COMMAND, 'run', '--layer-csv', str(small)])}; echo status $? >&2"
    process = subprocess.run(f"({command}) | head -1", shell=True, capture_output=True, text=True, check=True)
    assert process.stderr.splitlines()[-1] == "status 0"


def test_names_that_the_terminal_cannot_show(tmp_path):
    (tmp_path / "t.csv").write_text("Layer, M, N, K\n中文, 8, 8, 8\n", encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    arguments = [*COMMAND, "run", "--layer-csv", "t.csv"]
    process = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert process.returncode == 0
    assert "\\u4e2d" in process.stdout


def test_interrupted_runs_leave_nothing_and_say_130(tmp_path):
    (tmp_path / "long.csv").write_text("Layer, M, N, K\nlong, 400000000, 64, 576\n")  # minutes of drawing activations
    code = "from crispsim.cli.entry import main; print('ready', flush=True); main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", "--layer-csv", "long.csv", "--arch", "dense", "--out", "out"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1.5)
    errors = b""
    for _ in range(6):  # on a busy machine the first may fall into an import, where extension modules can swallow it
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=10)
            break
        except subprocess.TimeoutExpired:
            continue
    assert process.returncode == 130
    assert errors.decode().splitlines()[-1] == "crispsim: interrupted; nothing was written"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.csv"]


def test_energy_in_the_table_the_summary_and_the_rows(small, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["run", "--layer-csv", str(small), "--block", "32", "--sparsity", "0.75", "--out", str(out)]
    assert crispsim(arguments) == 0
    text = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    for total in summary["totals"].values():
        assert f"{total['energy_uj'] / 1000:,.4g}" in text
        assert f"{total['energy_gain']:.2f}x" in text
    assert "energy: table horowitz45 (45 nm)" in text
    for row in read_csv(out / "results.csv"):
        terms = summary["energy"]["pj_per_count"][row["arch"]]
        for part in ("mac", "select", "rf", "accumulator", "smem", "metadata", "leakage"):
            own = sum(float(row[term["count"]]) * term["pj"] for term in terms if term["part"] == part)
            assert float(row[f"{part}_uj"]) == pytest.approx(own / 1e6, rel=1e-12)
    table = tomllib.loads((out / "config.toml").read_text())["energy"]
    assert (table["table"], table["node_nm"]) == ("horowitz45", 45)
    assert table["figures"]["multiply_8"]["pj"] == 0.2


def test_without_energy_its_columns_and_rows_are_absent(small, tmp_path, capsys):
    out = tmp_path / "out"
    odd = ["--set", "smem.banks=7", "--set", "rf.bytes=900"]  # memories that no source knows
    assert (
        crispsim(["run", "--layer-csv", str(small), "--block", "32", "--energy", "none", *odd, "--out", str(out)]) == 0
    )
    captured = capsys.readouterr()
    assert not [line for line in captured.out.splitlines() if "energy" in line and not line.startswith("wrote")]
    assert not [name for name in read_csv(out / "results.csv")[0] if "uj" in name or "watt" in name]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["energy"] is None
    assert "energy_uj" not in summary["totals"]["dense"]
    assert tomllib.loads((out / "config.toml").read_text())["energy"] == {"table": "none"}


def test_an_sram_that_cannot_make_the_clock_gets_its_warning(small, tmp_path, capsys):
    out = tmp_path / "out"
    wide = ["--set", "smem.bytes_per_cycle=256", "--arch", "stc"]
    assert crispsim(["run", "--layer-csv", str(small), "--block", "32", *wide, "--out", str(out)]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert "smem: 16 banks of 128-bit words (1rw) cannot make the clock" in line
    assert json.loads((out / "summary.json").read_text())["warnings"] == [line.removeprefix("warning: ")]


def test_an_interpolated_memory_is_marked_everywhere(small, tmp_path, capsys):
    out = tmp_path / "out"
    between = ["--set", "smem.capacity_bytes=300000", "--arch", "stc"]
    assert crispsim(["run", "--layer-csv", str(small), "--block", "32", *between, "--out", str(out)]) == 0
    assert "interpolated: smem of 300000 B, 16 x 128 bit" in capsys.readouterr().out
    assert {row["sram_origin"] for row in read_csv(out / "results.csv")} == {"interpolated"}
    smem, rf = json.loads((out / "summary.json").read_text())["energy"]["memories"]["stc"]
    assert (smem["origin"], smem["cycle_ns"], rf["origin"]) == ("interpolated", None, "table")


def test_a_folder_of_a_shipped_tables_name_is_not_in_its_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert crispsim(["run", "--layer-csv", "bert_base", "--arch", "dense", "--quiet", "--out", "bert_base"]) == 0


@pytest.mark.parametrize(
    ("machine", "name", "bandwidth"),
    [
        (["--machine", "edge-lpddr4"], "edge-lpddr4", 17),
        (["--set", "dram.bytes_per_cycle=32"], "edge with dram.bytes_per_cycle = 32", 32),
    ],
)
def test_a_dram_behind_the_smem(machine, name, bandwidth, small, capsys):
    assert crispsim(["run", "--layer-csv", str(small), "--block", "32", *machine, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["machine"] == name
    assert f"{bandwidth} B/cycle peak" in told["dram"]
    assert not told["memory"].startswith("SMEM-resident")
    for row in told["rows"]:
        moved = row["dram_read_bytes"] + row["dram_write_bytes"]
        assert row["cycles"] >= row["dram_bound_cycles"] >= moved / bandwidth
        assert row["dram_read_bytes"] == sum(row[f"dram_{name}_bytes"] for name in ("weight", "input", "residual"))
        parts = ("weight_bytes", "metadata_bytes", "activation_bytes", "writeback_bytes")
        assert row["smem_read_bytes"] == sum(row[name] for name in parts)
        spent = sum(value for name, value in row.items() if name.endswith("_core_cycles"))
        assert spent == 4 * row["cycles"]
        assert row["dram_uj"] == pytest.approx(64 * moved / 1e6)
        assert row["blocking"]
        assert "smem_resident_ideal" not in row


CHAIN = """Layer, M, N, K
up, 40, 256, 64
down, 40, 64, 256
side, 48, 32, 64
"""


def totals_of(folder):
    return json.loads((folder / "summary.json").read_text())["totals"]


def test_fuse_shows_totals_with_and_without(tmp_path, capsys):
    (tmp_path / "net.csv").write_text(CHAIN)
    asked = ["run", "--layer-csv", str(tmp_path / "net.csv"), "--block", "32", "--machine", "edge-lpddr4"]
    assert crispsim([*asked, "--out", str(tmp_path / "plain"), "--quiet"]) == 0
    assert crispsim([*asked, "--out", str(tmp_path / "fused"), "--fuse"]) == 0
    printed = capsys.readouterr().out

    rows = read_csv(tmp_path / "fused" / "results.csv")
    own = [*columns_of(with_energy=True, with_dram=True, with_resident=False, with_fusion=True)]
    assert list(rows[0]) == own and own[-3:] == ["input_kept", "output_kept", "prefetched_bytes"]
    kept = {(row["layer"], row["input_kept"], row["output_kept"]) for row in rows}
    assert kept == {("up", "no", "yes"), ("down", "yes", "no"), ("side", "no", "no")}
    assert {row["dram_write_bytes"] for row in rows if row["layer"] == "up"} == {"0"}
    assert {row["dram_input_bytes"] for row in rows if row["layer"] == "down"} == {"0"}
    assert all(int(row["prefetched_bytes"]) > 0 for row in rows if row["layer"] == "side")
    plain = read_csv(tmp_path / "plain" / "results.csv")
    assert list(plain[0]) == own[:-3]

    fused, without = totals_of(tmp_path / "fused"), totals_of(tmp_path / "plain")
    for arch, total in fused.items():
        for name in ("cycles", "dram_read_bytes", "dram_write_bytes", "energy_uj"):
            assert total[f"unfused_{name}"] == without[arch][name] > total[name]
        assert f"{total['unfused_cycles']:,}" in printed
    assert "cycles, without --fuse" in printed and "energy, mJ, without --fuse" in printed
    assert "tensors that stay in SMEM: dense 1 of 3, stc 1 of 3, dstc 1 of 3, crisp-stc 1 of 3" in printed
    for folder, fuse in (("fused", True), ("plain", False)):
        assert json.loads((tmp_path / folder / "summary.json").read_text())["fuse"] is fuse
        assert tomllib.loads((tmp_path / folder / "config.toml").read_text())["fuse"] is fuse

    assert crispsim(["compare", str(tmp_path / "plain"), str(tmp_path / "fused")]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"fuse +False +True", printed)
    assert "; with --fuse" in printed.splitlines()[3]
    assert crispsim(["sensitivity", str(tmp_path / "fused")]) == 0
    printed = capsys.readouterr().out
    assert "machine edge-lpddr4; DRAM: LPDDR4-4266 x32, 17 B/cycle peak" in printed
    assert re.search(r"dram +LPDDR4\*", printed)


def test_the_ideal_stands_beside_a_dram(small, tmp_path, capsys):
    asked = ["run", "--layer-csv", str(small), "--block", "32", "--out"]
    dram = ["--machine", "edge-lpddr4"]
    assert crispsim([*asked, str(tmp_path / "dram"), *dram]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert crispsim([*asked, str(tmp_path / "ideal")]) == 0
    assert "cycles, SMEM-resident ideal" not in capsys.readouterr().out
    assert crispsim([*asked, str(tmp_path / "bare"), *dram, "--energy", "none", "--quiet"]) == 0
    real, ideal, bare = (totals_of(tmp_path / name) for name in ("dram", "ideal", "bare"))
    names = ("cycles", "speedup", "energy_uj", "energy_gain")
    for arch, total in real.items():
        assert {name: total[f"ideal_{name}"] for name in names} == {name: ideal[arch][name] for name in names}
        assert {name for name in bare[arch] if name.startswith("ideal")} == {"ideal_cycles", "ideal_speedup"}
        assert not any(name.startswith("ideal") for name in ideal[arch])
    shown = [
        ["cycles", *(f"{total['cycles']:,}" for total in real.values())],
        ["cycles, SMEM-resident ideal", *(f"{total['ideal_cycles']:,}" for total in real.values())],
        ["speedup, SMEM-resident ideal", *(f"{total['ideal_speedup']:.2f}x" for total in real.values())],
        ["energy, mJ, SMEM-resident ideal", *(f"{t['ideal_energy_uj'] / 1000:,.4g}" for t in real.values())],
        ["energy gain, SMEM-resident ideal", *(f"{total['ideal_energy_gain']:.2f}x" for total in real.values())],
    ]
    places = [printed.index(" ".join(line)) for line in shown]
    assert places == sorted(places)
    assert crispsim(["compare", str(tmp_path / "ideal"), str(tmp_path / "dram")]) == 0
    assert crispsim(["report", str(tmp_path / "dram"), "--format", "md"]) == 0
    assert "an ideal without DRAM" in (tmp_path / "dram" / "report.md").read_text()


def test_fuse_does_not_depend_on_jobs_or_on_the_other_architectures(tmp_path, capsys):
    (tmp_path / "net.csv").write_text(CHAIN)
    asked = ["run", "--layer-csv", str(tmp_path / "net.csv"), "--block", "32", "--machine", "edge-lpddr4", "--fuse"]
    found = []
    for more in (["--jobs", "1"], ["--jobs", "3"], ["--arch", "crisp-stc"]):
        assert crispsim([*asked, *more, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["rows"] == found[1]["rows"]
    assert found[2]["rows"] == [row for row in found[0]["rows"] if row["arch"] == "crisp-stc"]
    assert found[2]["totals"]["crisp-stc"] == found[0]["totals"]["crisp-stc"]


def test_the_help_has_an_example_with_a_dram(capsys):
    assert crispsim(["run", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "Example: crispsim run --layer-csv resnet50 --machine edge-lpddr4 --fuse" in " ".join(printed.split())
