"""A run's folder is looked at once, when it is read: what no run of this version writes is refused in one line."""

import io
import json
import shutil
import tomllib
from pathlib import Path

import pandas
import pytest
import tomli_w

from crispsim.bench.run_checks import why_unread
from crispsim.bench.run_folder import read_run
from crispsim.cli.main import run_command as crispsim
from crispsim.sim import InputError, Machine
from crispsim.sim.result import FUSION_COLUMNS, UNFUSED, columns_of

NETWORK = "Layer, M, N, K\nfirst, 40, 64, 128\nlast, 12, 32, 64\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    (root / "net.csv").write_text(NETWORK)
    asked = ["run", "--layer-csv", str(root / "net.csv"), "--block", "32", "--quiet", "--arch", "stc", "--arch", "dstc"]
    assert crispsim([*asked, "--out", str(root / "energy")]) == 0
    assert crispsim([*asked, "--energy", "none", "--out", str(root / "none")]) == 0
    assert crispsim([*asked, "--machine", "edge-lpddr4", "--fuse", "--out", str(root / "fuse")]) == 0
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
        ("cycles", "-5", "must be at least 1"),
        ("speedup", "0.0", "must be above 0"),
        ("macs_issued", "-1", "must not be negative"),
        ("leakage_uj", "-0.5", "must not be negative"),
    ],
)
def test_cells_that_no_run_wrote(own, column, value, problem):
    rows = pandas.read_csv(own / "results.csv", dtype=str, keep_default_na=False)
    rows.loc[1, column] = value
    rows.to_csv(own / "results.csv", index=False)
    assert refused(own) == again(f"results.csv: column {column!r}: {problem}")


RULE = "every layer has one row for each of stc, dstc, in this order"
ROWS = {
    "none": (lambda r: r[:0], "results.csv has no rows"),
    "one dropped": (lambda r: r[:2] + r[3:], f"results.csv: row 4 is 'last' on dstc, not 'last' on stc: {RULE}"),
    "one twice": (lambda r: [*r[:1], *r], f"results.csv: row 3 is 'first' on stc, not 'first' on dstc: {RULE}"),
    "two in another order": (lambda r: [r[1], r[0], *r[2:]], f"row 2 is 'first' on dstc, not 'first' on stc: {RULE}"),
    "a layer's of two": (lambda r: [r[0], r[3], r[2], r[1]], f"row 3 is 'last' on dstc, not 'first' on dstc: {RULE}"),
    "the last dropped": (lambda r: r[:-1], f"results.csv: 'last' has no row for dstc: {RULE}"),
    "a layer dropped": (lambda r: r[:-2], "totals.stc.cycles is "),
    "a layer twice": (lambda r: [*r, *r[2:]], "totals.stc.cycles is "),
}


@pytest.mark.parametrize("what", ROWS)
def test_rows_that_no_run_wrote(what, own):
    edit, problem = ROWS[what]
    head, *lines = (own / "results.csv").read_text().splitlines(keepends=True)
    (own / "results.csv").write_text("".join([head, *edit(lines)]))
    assert problem in refused(own)


@pytest.mark.parametrize(("column", "factor"), [("calls", 2), ("cycles", 3), ("energy_uj", 1 + 1e-8)])
def test_totals_are_the_sums_of_the_rows(own, column, factor):
    rows = pandas.read_csv(own / "results.csv", keep_default_na=False)
    rows.loc[3, column] *= factor
    rows.to_csv(own / "results.csv", index=False)
    told = "energy_uj" if column == "energy_uj" else "cycles"
    total = json.loads((own / "summary.json").read_text())["totals"]["dstc"][told]
    found = (rows.loc[[1, 3], told] * rows.loc[[1, 3], "calls"]).sum()
    line = refused(own)
    assert line.startswith(f"summary.json: totals.dstc.{told} is {total}, the rows of results.csv add up to ")
    assert float(line.split(" add up to ")[1].split(";")[0]) == pytest.approx(found, rel=1e-12)


def test_what_floats_round_is_no_difference(own):
    rows = pandas.read_csv(own / "results.csv", keep_default_na=False)
    rows["energy_uj"] *= 1 + 1e-11
    rows.to_csv(own / "results.csv", index=False)
    assert read_run(own)


SUMMARIES = {
    "a total that is no table": (lambda s: s["totals"].update(stc=5), "totals.stc: must be a table"),
    "a total that is text": (lambda s: s["totals"]["stc"].update(speedup="fast"), "totals.stc.speedup: must be a"),
    "a total that is not finite": (lambda s: s["totals"]["dstc"].update(mac_uj=float("nan")), "totals.dstc.mac_uj"),
    "no cycles": (lambda s: s["totals"]["stc"].pop("cycles"), "totals.stc.cycles: must be a number"),
    "cycles of 0": (lambda s: s["totals"]["stc"].update(cycles=0), "totals.stc.cycles: must be above 0"),
    "no causes": (lambda s: s["totals"]["stc"].pop("core_cycles"), "totals.stc.core_cycles.busy: must be a number"),
    "no energy of a total": (lambda s: s["totals"]["stc"].pop("rf_uj"), "totals.stc.rf_uj: must be a number"),
    "no architectures": (lambda s: s.update(totals={}), "summary.json is of none, config.toml of stc, dstc"),
    "options that are no table": (lambda s: s.update(options=[]), "options: must be a table"),
    "energy of an earlier version": (lambda s: s.pop("energy"), "energy: is missing"),
    "energies that are not told of": (lambda s: s.update(energy=None), "results.csv has energies"),
    "energy that is text": (lambda s: s.update(energy="horowitz45"), "energy: must be a table"),
    "memories that are a list": (lambda s: s["energy"].update(memories=[]), "energy.memories: must be a table"),
    "a memory that is a number": (lambda s: s["energy"]["memories"].update(stc=[3]), "energy.memories.stc.0: must be"),
    "a memory without its energy": (lambda s: s["energy"]["memories"]["stc"][0].pop("read_pj"), "stc.0.read_pj: is m"),
    "memories of another": (lambda s: s["energy"]["memories"].update(x=[]), "energy.memories is of stc, dstc, x"),
    "an area that is text": (lambda s: s["energy"]["area_mm2"]["stc"].update(total="x"), "area_mm2.stc.total: must"),
    "warnings that are text": (lambda s: s.update(warnings="hot"), "warnings: must be a list"),
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
        lambda c: c["arch"][0]["machine"]["core"].update(lanez=8), "arch.0.machine.core.lanez: there is no such field",
    ),
    "a clock that is text": (lambda c: c["arch"][0]["machine"].update(clock_ghz="1"), "arch.0.machine.clock_ghz: must"),
    "a machine that does not hold together": (
        lambda c: c["arch"][0]["machine"].update(column_tile=3), "column_tile: value 3: must be a multiple of",
    ),
    "other architectures": (lambda c: c["arch"].reverse(), "summary.json is of stc, dstc, config.toml of dstc, stc"),
    "no architectures": (lambda c: c.update(arch=[]), "arch: must not be empty"),
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
    for name, text in (("summary.json", "[]"), ("summary.json", "{"), ("config.toml", "="), ("results.csv", "")):
        before = (own / name).read_text()
        (own / name).write_text(text)
        assert refused(own)
        (own / name).write_text(before)
    (own / "results.csv").write_bytes(b"\xff\xfe\x00")
    assert refused(own)


@pytest.mark.parametrize(
    ("parse", "said"),
    [
        (lambda: pandas.read_csv(io.StringIO("")), "it is empty"),
        (lambda: pandas.read_csv(io.StringIO("a\n1\n1,2,3\n")), "its rows do not all have the columns of its heading"),
        (lambda: b"\xff".decode("utf-8"), "it is not text in UTF-8"),
        (lambda: json.loads(" \n"), "it is empty"),
        (lambda: json.loads('{"a": 1,\n}'), "it is not JSON: line "),
        (lambda: tomllib.loads("="), "it is not TOML: "),
    ],
)
def test_why_a_file_cannot_be_read_is_said_in_plain_words(parse, said):
    with pytest.raises(ValueError) as caught:
        parse()
    assert why_unread(caught.value).startswith(said)


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


# With --fuse ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fused(folders, tmp_path):
    return Path(shutil.copytree(folders / "fuse", tmp_path / "own"))


def test_what_a_run_with_fuse_wrote_is_read(folders, fused):
    run = read_run(folders / "fuse")
    assert run.fused and not read_run(folders / "energy").fused
    assert run.machine_line.startswith("machine edge-lpddr4; DRAM: LPDDR4") and run.machine_line.endswith("--fuse")
    assert run.rows["output_kept"].tolist() == ["no"] * 4
    rows = pandas.read_csv(fused / "results.csv", dtype=str, keep_default_na=False)
    assert list(rows.columns) == list(
        columns_of(with_energy=True, with_dram=True, with_resident=False, with_fusion=True)
    )
    for column in FUSION_COLUMNS:
        rows.drop(columns=column).to_csv(fused / "results.csv", index=False)
        assert refused(fused) == again(f"results.csv: column {column!r} is missing")


@pytest.mark.parametrize("name", UNFUSED)
def test_the_totals_without_it_are_needed(fused, name):
    summary = json.loads((fused / "summary.json").read_text())
    del summary["totals"]["dstc"][f"unfused_{name}"]
    (fused / "summary.json").write_text(json.dumps(summary))
    assert refused(fused) == again(f"summary.json: totals.dstc.unfused_{name}: must be a number")


def test_both_files_must_say_whether_it_was_with_fuse(fused):
    config = tomllib.loads((fused / "config.toml").read_text())
    (fused / "config.toml").write_text(tomli_w.dumps(config | {"fuse": False}))
    assert refused(fused) == again("summary.json: fuse is true, config.toml's false")
    del config["fuse"]
    (fused / "config.toml").write_text(tomli_w.dumps(config))
    assert refused(fused) == again("config.toml: fuse: is missing")
