"""A run's folder is looked at once, when it is read: what no run of this version writes is refused in one line."""

import json
import shutil
import tomllib
from pathlib import Path

import pandas
import pytest
import tomli_w

from crispsim.bench.run_folder import read_run
from crispsim.cli.main import run_command as crispsim
from crispsim.sim import InputError, Machine
from crispsim.sim.result import columns_of

NETWORK = "Layer, M, N, K\nfirst, 40, 64, 128\nlast, 12, 32, 64\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    (root / "net.csv").write_text(NETWORK)
    asked = ["run", "--layer-csv", str(root / "net.csv"), "--block", "32", "--quiet", "--arch", "stc", "--arch", "dstc"]
    assert crispsim([*asked, "--out", str(root / "energy")]) == 0
    assert crispsim([*asked, "--energy", "none", "--out", str(root / "none")]) == 0
    return root


@pytest.fixture
def own(folders, tmp_path):
    """A copy of the run with energy, to be changed."""
    return Path(shutil.copytree(folders / "energy", tmp_path / "own"))


def refused(folder):
    with pytest.raises(InputError) as caught:
        read_run(folder)
    (line,) = caught.value.lines
    assert line.startswith(f"{folder}: not a run's folder: ")
    return line.removeprefix(f"{folder}: not a run's folder: ")


def again(line):
    return f"{line}; if an earlier version wrote it, run it again"


@pytest.mark.parametrize("name", ["energy", "none"])
def test_what_a_run_wrote_is_read(folders, name):
    run = read_run(folders / name)
    assert run.archs == ["stc", "dstc"]
    assert run.has_energy == (name == "energy")
    assert run.machines == {"stc": Machine.load("edge"), "dstc": Machine.load("edge")}
    assert set(run.rows["requested_sparsity"].isna()) == {False}


@pytest.mark.parametrize("name", ["energy", "none"])
def test_every_column_is_needed(folders, name, tmp_path):
    own = Path(shutil.copytree(folders / name, tmp_path / "own"))
    rows = pandas.read_csv(own / "results.csv", dtype=str, keep_default_na=False)
    assert list(rows.columns) == list(columns_of(with_energy=name == "energy"))
    for column in rows.columns:
        rows.drop(columns=column).to_csv(own / "results.csv", index=False)
        assert refused(own) == again(f"results.csv: column {column!r} is missing")


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("cycles", "many", "must hold numbers only"),
        ("energy_uj", "inf", "must hold numbers only"),
        ("smem_read_bytes", "", "must hold numbers only"),
        ("requested_sparsity", "x", "must hold numbers only"),
        ("cycles", "0", "must be at least 1"),
        ("speedup", "0.0", "must be above 0"),
    ],
)
def test_cells_that_no_run_wrote(own, column, value, problem):
    rows = pandas.read_csv(own / "results.csv", dtype=str, keep_default_na=False)
    rows.loc[1, column] = value
    rows.to_csv(own / "results.csv", index=False)
    assert refused(own) == again(f"results.csv: column {column!r}: {problem}")


SUMMARIES = {
    "a total that is no table": (lambda s: s["totals"].update(stc=5), "totals.stc: must be a valid dictionary"),
    "a total that is text": (lambda s: s["totals"]["stc"].update(speedup="fast"), "totals.stc.speedup: must be a"),
    "a total that is not finite": (lambda s: s["totals"]["dstc"].update(mac_uj=float("nan")), "totals.dstc.mac_uj"),
    "no cycles": (lambda s: s["totals"]["stc"].pop("cycles"), "totals.stc.cycles: must be a number"),
    "cycles of 0": (lambda s: s["totals"]["stc"].update(cycles=0), "totals.stc.cycles: must be above 0"),
    "no causes": (lambda s: s["totals"]["stc"].pop("core_cycles"), "totals.stc.core_cycles.busy: must be a number"),
    "no energy of a total": (lambda s: s["totals"]["stc"].pop("rf_uj"), "totals.stc.rf_uj: must be a number"),
    "no architectures": (lambda s: s.update(totals={}), "summary.json is of none, config.toml of stc, dstc"),
    "options that are no table": (lambda s: s.update(options=[]), "options: must be a valid dictionary"),
    "energy of an earlier version": (lambda s: s.pop("energy"), "energy: is missing"),
    "energies that are not told of": (lambda s: s.update(energy=None), "results.csv has energies"),
    "energy that is text": (lambda s: s.update(energy="horowitz45"), "energy: must be a valid dictionary"),
    "memories that are a list": (lambda s: s["energy"].update(memories=[]), "energy.memories: must be a valid dict"),
    "a memory that is a number": (lambda s: s["energy"]["memories"].update(stc=[3]), "energy.memories.stc.0: must be"),
    "a memory without its energy": (lambda s: s["energy"]["memories"]["stc"][0].pop("read_pj"), "stc.0.read_pj: is m"),
    "memories of another": (lambda s: s["energy"]["memories"].update(x=[]), "energy.memories is of stc, dstc, x"),
    "an area that is text": (lambda s: s["energy"]["area_mm2"]["stc"].update(total="x"), "area_mm2.stc.total: must"),
    "warnings that are text": (lambda s: s.update(warnings="hot"), "warnings: must be a valid list"),
}


@pytest.mark.parametrize("what", SUMMARIES)
def test_summaries_that_no_run_wrote(what, own):
    edit, problem = SUMMARIES[what]
    path = own / "summary.json"
    summary = json.loads(path.read_text())
    edit(summary)
    path.write_text(json.dumps(summary))
    assert problem in refused(own)


CONFIGS = {
    "no machine": (lambda c: c["arch"][1].pop("machine"), "arch.1.machine: is missing"),
    "a field of a machine of an earlier version": (
        lambda c: c["arch"][0]["machine"]["smem"].pop("banks"), "arch.0.machine.smem.banks: is missing",
    ),
    "a field that no machine has": (
        lambda c: c["arch"][0]["machine"]["core"].update(lanez=8), "arch.0.machine.core.lanez: Extra inputs are not",
    ),
    "a clock that is text": (lambda c: c["arch"][0]["machine"].update(clock_ghz="1"), "arch.0.machine.clock_ghz: must"),
    "a machine that does not hold together": (
        lambda c: c["arch"][0]["machine"].update(column_tile=3), "column_tile: value 3: must be a multiple of",
    ),
    "other architectures": (lambda c: c["arch"].reverse(), "results.csv is of stc, dstc, config.toml of dstc, stc"),
    "no architectures": (lambda c: c.update(arch=[]), "arch: List should have at least 1 item"),
}  # fmt: skip


@pytest.mark.parametrize("what", CONFIGS)
def test_configurations_that_no_run_wrote(what, own):
    edit, problem = CONFIGS[what]
    path = own / "config.toml"
    config = tomllib.loads(path.read_text())
    edit(config)
    path.write_text(tomli_w.dumps(config))
    assert problem in refused(own)


def test_files_that_are_something_else(own):
    for name, text in (("summary.json", "[]"), ("summary.json", "{"), ("config.toml", "=")):
        before = (own / name).read_text()
        (own / name).write_text(text)
        assert refused(own)
        (own / name).write_text(before)
    (own / "results.csv").write_bytes(b"\xff\xfe\x00")
    assert refused(own)
    (own / "results.csv").write_text("")
    assert refused(own) == "No columns to parse from file"


@pytest.mark.parametrize(
    "command", [["report"], ["figure", "stalls", "--run"], ["figure", "roofline", "--run"], ["sensitivity"]]
)
def test_commands_say_it_in_a_line(command, own, tmp_path, capsys):
    rows = pandas.read_csv(own / "results.csv", dtype=str, keep_default_na=False)
    rows.drop(columns="groups").to_csv(own / "results.csv", index=False)
    before = sorted(tmp_path.rglob("*"))
    assert crispsim([*command, str(own), *(["--out", str(tmp_path / "out")] if command[0] == "figure" else [])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == again(f"crispsim: {own}: not a run's folder: results.csv: column 'groups' is missing")
    assert sorted(tmp_path.rglob("*")) == before
