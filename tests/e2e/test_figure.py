"""`crispsim figure` as its user meets it: files, what it prints, refusals, exit codes."""

import csv

import pytest

from crispsim.bench.figures import drawing
from crispsim.cli import figure as command
from crispsim.cli.main import run_command as crispsim
from tests.pruned_folders import write_folder

SMALL = """Layer, M, N, K
first, 20, 64, 256
second, 12, 32, 192
head, 1, 10, 64
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.csv"
    path.write_text(SMALL)
    return str(path)


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_without_a_name_the_figures_are_listed(capsys):
    assert crispsim(["figure"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["metadata", "speedup", "energy", "stalls", "roofline", "roofline-levels", "sparsity"]
    assert [line.split()[0] for line in lines] == names
    assert crispsim(["figure", "speedups"]) == 2
    error = capsys.readouterr().err
    assert error == f"crispsim: figure 'speedups': must be one of {', '.join(names)}\n"


@pytest.mark.parametrize("name", ["metadata", "speedup", "energy", "stalls", "roofline", "roofline-levels", "sparsity"])
def test_help_has_an_example(name, capsys):
    assert crispsim(["figure", name, "--help"]) == 0
    assert f"Example: crispsim figure {name}" in capsys.readouterr().out


def test_only_what_a_figure_takes_is_offered(capsys):
    offered = {}
    for name in ("speedup", "energy"):
        assert crispsim(["figure", name, "--help"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        offered[name] = said.partition("--energy ")[2].partition("[default")[0]
    assert "none" in offered["speedup"]
    assert "none" not in offered["energy"]
    assert offered["energy"].startswith("NAME|FILE.toml Energy table")


def test_metadata(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "made" / "figures"
    assert crispsim(["figure", "metadata", "--shape", "64x256", "--nm", "1:4", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["metadata.csv", "metadata.png", "metadata.svg"]
    rows = read_csv(out / "metadata.csv")
    assert {row["block"] for row in rows} == {"16", "32", "64"}
    assert all(row["assumption"] for row in rows)
    said = capsys.readouterr().out
    assert "paper: about 5" in said
    assert said.endswith(f"wrote {out}/metadata.csv, {out}/metadata.svg, {out}/metadata.png\n")


def test_one_simulation_serves_speedup_and_energy(small, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    out = str(tmp_path)
    own = ["--layer-csv", small, "--layer", "first", "--set", "smem.bytes_per_cycle=32", "--sparsity", "0.8"]
    assert crispsim(["figure", "speedup", *own, "--out", out]) == 0
    assert "1:4, B = 64: stc network" in capsys.readouterr().out
    rows = read_csv(tmp_path / "speedup.csv")
    assert {row["network"] for row in rows} == {"small"}
    assert {row["requested_sparsity"] for row in rows} == {"0.8"}
    assert {row["layer"] for row in rows} == {"first", "network"}

    arguments = ["run", "--layer-csv", small, "--sparsity", "0.8", "--nm", "1:4", "--block", "32", "--quiet"]
    assert crispsim([*arguments, "--set", "smem.bytes_per_cycle=32", "--out", f"{out}/run"]) == 0
    wanted = {row["arch"]: row for row in read_csv(tmp_path / "run" / "results.csv") if row["layer"] == "first"}
    found = {row["arch"]: row for row in rows if (row["nm"], row["block"], row["layer"]) == ("1:4", "32", "first")}
    for arch, row in wanted.items():
        assert found[arch]["cycles"] == row["cycles"]
        assert float(found[arch]["energy_uj"]) == pytest.approx(float(row["energy_uj"]), rel=1e-6)

    monkeypatch.setattr(command.figure8_table, "collect", None)  # nothing is simulated again
    assert crispsim(["figure", "energy", "--from", f"{out}/speedup.csv", "--out", out]) == 0
    assert (tmp_path / "energy.csv").read_bytes() == (tmp_path / "speedup.csv").read_bytes()
    assert (tmp_path / "energy.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["stalls", "roofline", "roofline-levels"])
def test_of_a_run_and_of_the_same_simulation(name, small, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run, asked = str(tmp_path / "run"), ["run", "--layer-csv", small, "--sparsity", "0.8", "--quiet"]
    machine = ["--machine", "edge-lpddr4"] if name == "roofline-levels" else []  # what it takes by itself
    assert crispsim([*asked, *machine, "--out", run]) == 0
    assert crispsim(["figure", name, "--run", run, "--out", str(tmp_path / "a")]) == 0
    first = capsys.readouterr().out
    arguments = ["figure", name, "--layer-csv", small, "--sparsity", "0.8", "--out", str(tmp_path / "b")]
    assert crispsim(arguments) == 0
    assert capsys.readouterr().out == first.replace(str(tmp_path / "a"), str(tmp_path / "b"))
    for ending in ("csv", "svg", "png"):
        assert (tmp_path / f"a/{name}.{ending}").read_bytes() == (tmp_path / f"b/{name}.{ending}").read_bytes()
    assert first.startswith("dense: ")
    assert len(read_csv(tmp_path / f"a/{name}.csv")) == 12


def test_sparsity_of_a_folder_and_of_its_table(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    net = write_folder(tmp_path / "net")
    assert crispsim(["figure", "sparsity", "--run", str(net), "--out", str(tmp_path / "a")]) == 0
    first = capsys.readouterr().out
    assert first.startswith("prunable layers (3): 65.08% of 2,016 weights removed, ")
    own = ["--from", str(net / "sparsity.csv")]
    assert crispsim(["figure", "sparsity", *own, "--out", str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out == first.replace(str(tmp_path / "a"), str(tmp_path / "b"))
    for ending in ("csv", "svg", "png"):
        assert (tmp_path / f"a/sparsity.{ending}").read_bytes() == (tmp_path / f"b/sparsity.{ending}").read_bytes()
    assert (tmp_path / "a/sparsity.csv").read_bytes() == (net / "sparsity.csv").read_bytes()

    before = {path.name: path.read_bytes() for path in net.iterdir()}
    assert crispsim(["figure", "sparsity", *own, "--out", str(net)]) == 2
    assert "net: holds report.json, so that sparsity.csv is a pruned network's" in capsys.readouterr().err
    assert crispsim(["figure", "sparsity", "--out", str(tmp_path / "c")]) == 2
    assert "figure sparsity: give --run DIR, a pruned network, or --from" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in net.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["metadata", "--shape", "12"], "'12': must be SxK, such as 512x4608"),
        (["metadata", "--shape", "99999x99999"], "of at most 67108864 weights"),
        (["metadata", "--nm", "4:2"], "pattern 4:2: N:M needs 1 <= N <= M"),
        (["metadata", "--sparsity", "0.2"], "pattern 2:4 alone already prunes 0.5"),
        (["speedup", "--sparsity", "0.6"], "sparsity 0.6: pattern 1:4 alone already prunes 0.75"),
        (["speedup", "--layer", "conv9"], "--layer 'conv9': not a layer of small; did you mean"),
        (["speedup", "--energy", "nonsense"], "nonsense"),
        (["energy", "--energy", "none"], "--energy none: the figure is of energy"),
        (["stalls", "--run", "nowhere"], "nowhere: not a run's folder"),
        (["stalls", "--run", "nowhere", "--sparsity", "0.8"], "--sparsity: leave it out with --run"),
        (["roofline", "--from", "nowhere.csv"], "nowhere.csv: cannot read"),
        (["roofline-levels", "--machine", "edge"], "figure roofline-levels: no machine has a DRAM: run with one, such"),
        (["roofline-levels", "--run", "nowhere", "--machine", "edge-lpddr5"], "--machine: leave it out with --run"),
        (["roofline", "--from", "nowhere.csv", "--seed", "1"], "--seed: leave it out with --from"),
        (["stalls", "--from", "nowhere.csv", "--run", "nowhere"], "--run: leave it out with --from"),
        (["sparsity", "--run", "nowhere"], "nowhere: not a pruned network's folder: there is no such folder"),
        (["sparsity", "--from", "small.csv"], "small.csv: not a table of the figure sparsity: no column layer"),
        (["sparsity", "--from", "nowhere.csv", "--run", "nowhere"], "--run: leave it out with --from"),
        (["speedup", "--set", "smem.bytes=1"], "smem.bytes"),
        (["stalls", "--out", "small.csv"], "--out small.csv: small.csv is a file; give a folder"),
    ],
)
def test_refusals_are_a_line_and_write_nothing(arguments, message, small, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    if arguments[0] not in ("metadata", "sparsity") and "--run" not in arguments and "--from" not in arguments:
        arguments = [*arguments, "--layer-csv", small]
    assert crispsim(["figure", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()
    assert [line for line in error if line.startswith("crispsim: ")]
    assert message in " ".join(error)
    assert [path.name for path in tmp_path.iterdir()] == ["small.csv"]


def test_a_run_can_be_drawn_verbosely_but_not_one_without_a_mac(small, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    asked = ["run", "--layer-csv", small, "--arch", "dstc", "--activation-sparsity", "1", "--quiet"]
    assert crispsim([*asked, "--out", str(tmp_path / "run")]) == 0
    own = ["--run", str(tmp_path / "run"), "--out", str(tmp_path / "a")]
    assert crispsim(["figure", "roofline", *own]) == 2
    assert capsys.readouterr().err == "crispsim: figure roofline: no layer issues a MAC: nothing to draw\n"
    assert not (tmp_path / "a").exists()
    assert crispsim(["figure", "stalls", *own, "-v"]) == 0
    assert crispsim(["figure", "stalls", "--from", str(tmp_path / "a/stalls.csv"), "--out", str(tmp_path / "b")]) == 0
    assert (tmp_path / "a/stalls.svg").read_bytes() == (tmp_path / "b/stalls.svg").read_bytes()


def test_without_matplotlib_nothing_is_simulated(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(drawing.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(command.figure8_table, "collect", None)
    assert crispsim(["figure", "speedup", "--layer-csv", small, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "crispsim: figures need matplotlib: pip install 'crispsim[plot]'\n"
    assert not (tmp_path / "out").exists()
