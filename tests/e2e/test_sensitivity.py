"""`crispsim sensitivity` as its user meets it: what is printed at any width, JSON, the CSV, exit codes."""

import csv
import io
import json
import os
import re
from pathlib import Path

import pytest

from crispsim.bench.run_folder import read_run
from crispsim.bench.sensitivity import records_of, study_run
from crispsim.cli.main import run_command as crispsim
from crispsim.cli.sensitivity import print_study
from crispsim.cli.terminal import Terminal

TABLE = "Layer, M, N, K, Calls\nfirst, 40, 64, 256, 1\nsecond, 30, 64, 512, 12\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    (root / "net.csv").write_text(TABLE)

    def run(name, *arguments):
        asked = ["run", "--layer-csv", str(root / "net.csv"), "--quiet", "--out", str(root / name), "--block", "32"]
        assert crispsim([*asked, *arguments]) == 0
        return root / name

    return {
        "base": run("base"),
        "no energy": run("none", "--energy", "none"),
        "one": run("one", "--arch", "crisp-stc"),
        "22 nm": run("node", "--energy", "horowitz22"),
        "paper": run("paper", "--machine", "paper"),
    }


def sensitivity(*arguments):
    return crispsim(["sensitivity", *map(str, arguments)])


def printed(folder, width):
    file = io.StringIO()
    print_study(study_run(read_run(folder)), Terminal(width=width, file=file))
    return file.getvalue()


@pytest.mark.parametrize("name", ["base", "22 nm", "paper"])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 200])
def test_no_number_is_cropped_whatever_the_width(width, name, folders):
    text = printed(folders[name], width)
    study = study_run(read_run(folders[name]))
    assert "…" not in text
    words = text.split()
    for conclusion in study.conclusions:
        assert f"{conclusion.a} < {conclusion.b}" in text
        for span in (conclusion.one_at_a_time, conclusion.all_at_once):
            assert f"{span.least:.2f}x" in words and f"{span.greatest:.2f}x" in words
    for record in records_of(study):
        assert f"{record['energy_uj'] / 1000:#.4g}" in words
        if record["arch"] != "dense":
            assert f"{record['energy_gain']:.2f}x" in words
    assert f"{study.combinations:,} combinations" in " ".join(words)


def test_what_is_said(folders, capsys):
    assert sensitivity(folders["base"]) == 0
    text = capsys.readouterr().out
    study = study_run(read_run(folders["base"]))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    energy, _, edp = text.partition("Energy-delay product")
    for conclusion in study.conclusions:
        text = {"energy": energy, "edp": edp}[conclusion.measure]
        line = next(
            line for line in lines if line.startswith(f"{conclusion.a} < {conclusion.b} {conclusion.ratio:.2f}x")
        )
        assert conclusion.verdict in line
        if conclusion.overturned_by:
            item, label = conclusion.overturned_by[0]
            assert f"{conclusion.a} < {conclusion.b}: depends on {item}: {label}" in text
        else:
            assert f"{conclusion.a} < {conclusion.b}: depends" not in text
    assert {c.verdict for c in study.conclusions} >= {"stands", "depends"}
    assert "0.2087 / 0.4365" in edp  # a byte of the register file
    assert "Energy gain over dense" in edp
    assert "not varied: register_bit: makes no difference to this run" in edp
    rf = [line for line in lines if line.startswith("rf CACTI*")]
    assert len(rf) == 1 and "B, read / write" in rf[0]


def test_the_items_with_most_effect_come_first(folders):
    study = study_run(read_run(folders["base"]))
    changes: dict[str, float] = {}
    for item in study.items:
        for arch, energies in study.energies.items():
            own = [r["energy_uj"] for r in records_of(study) if (r["item"], r["arch"]) == (item.name, arch)]
            change = (max(own) - min(own)) / study.at(energies)
            changes[item.name] = max(changes.get(item.name, 0), change)
    lines = printed(folders["base"], 200).partition("One item at a time")[2].splitlines()
    names = [line.split()[0] for line in lines if line.split() and line.split()[0] in changes and "*" in line]
    assert names == sorted(changes, key=lambda name: -changes[name])


def test_one_architecture_has_neither_conclusions_nor_gains(folders, capsys):
    assert sensitivity(folders["one"]) == 0
    text = capsys.readouterr().out
    assert "A takes less than B" not in text
    assert "no gains: dense is not in this run" in text
    assert "crisp-stc" in text


def test_no_gain_over_dense_of_another_machine(folders, tmp_path, capsys):
    (tmp_path / "fast.toml").write_text('arch = "crisp-stc"\n[set]\nclock_ghz = 2\n[set.rf]\nsums = "flip-flops"\n')
    (tmp_path / "dense2.toml").write_text((tmp_path / "fast.toml").read_text().replace("crisp-stc", "dense"))
    (tmp_path / "net.csv").write_text(TABLE)
    asked = ["run", "--layer-csv", str(tmp_path / "net.csv"), "--quiet", "--block", "32", "--out"]
    archs = ["--arch", "dense", "--arch", "crisp-stc", "--arch", str(tmp_path / "fast.toml")]
    line = "no gain is given for fast: dense was not run on the same machine"

    assert crispsim([*asked, str(tmp_path / "a"), *archs]) == 0
    assert sensitivity(tmp_path / "a") == 0
    text = capsys.readouterr().out
    assert line in text.splitlines()
    gains = text.partition("Energy gain over dense")[2].partition("Largest part")[0]
    assert "crisp-stc" in gains and "fast" not in gains
    (head,) = re.findall(r"item +alternative .*mJ.*", text)
    assert head.split()[-4:] == ["mJ", "mJ", "gain", "mJ"]  # of dense, crisp-stc and fast

    assert crispsim([*asked, str(tmp_path / "b"), *archs, "--arch", str(tmp_path / "dense2.toml")]) == 0
    assert sensitivity(tmp_path / "b") == 0
    text = capsys.readouterr().out
    assert "no gain" not in text
    gain = json.loads((tmp_path / "b" / "summary.json").read_text())["totals"]["fast"]["energy_gain"]
    rows = text.partition("Energy gain over dense2")[2].partition("Largest part")[0].splitlines()
    assert [row.split()[:2] for row in rows if "x" in row and row.split()[0] == "fast"] == [["fast", f"{gain:.2f}x"]]


def test_json_and_csv_tell_the_same(folders, capsys, tmp_path):
    out = tmp_path / "new" / "o.csv"
    assert sensitivity(folders["base"], "--json", "--out", out) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["combinations"] == 3 * 3 * 4 * 3 * 2 * 2 * 3 * 3 * 4
    assert [c["says"] for c in told["conclusions"]] == ["a < b"] * 12
    assert {gain["arch"] for gain in told["gains"]} == {"stc", "dstc", "crisp-stc"}
    assert [part["arch"] for part in told["largest_parts"]] == ["dense", "stc", "dstc", "crisp-stc"]
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(told["alternatives"]) == 4 * (3 + 3 + 4 + 3 + 2 + 2 + 3 + 3 + 4)
    for row, record in zip(rows, told["alternatives"], strict=True):
        assert {key: row[key] for key in ("item", "alternative", "arch", "kind", "why", "source")} == {
            key: record[key] for key in ("item", "alternative", "arch", "kind", "why", "source")
        }
        for key in ("energy_uj", "mac_uj", "leakage_uj", "edp_uj_us", "energy_gain"):
            assert float(row[key]) == record[key]
        pairs = dict(pair.split("=") for pair in row["pj"].split())
        assert {name: float(value) for name, value in pairs.items()} == record["pj"]
    as_run = {row["arch"]: float(row["energy_uj"]) for row in rows if row["as_run"] == "True"}
    totals = json.loads((folders["base"] / "summary.json").read_text())["totals"]
    assert as_run == pytest.approx({arch: total["energy_uj"] for arch, total in totals.items()}, rel=1e-12)
    assert [path.name for path in out.parent.iterdir()] == ["o.csv"]


def test_wrote_is_said(folders, capsys, tmp_path):
    assert sensitivity(folders["22 nm"], "--out", tmp_path / "o.csv") == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == f"wrote {tmp_path / 'o.csv'}"
    assert "energy table horowitz22 (22 nm)" in text
    assert "horowitz22's own*" in text
    assert "not varied: smem: no other source at 22 nm" in text


def test_registers_of_the_paper_machine(folders, capsys):
    """Its operands stream through registers; its accumulation buffer has words of 8 bits."""
    assert sensitivity(folders["paper"], "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert "register_bit" in [item["item"] for item in told["items"]]
    assert told["left_out"] == ["technology: itrs-lstp, 350 K: CACTI's table lacks the memories of this run there"]


def refused(capsys, *arguments):
    assert sensitivity(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("crispsim: ")
    return line


def test_what_is_refused(folders, capsys, tmp_path):
    assert "run with --energy none: it has no energy to vary" in refused(capsys, folders["no energy"])
    assert "not a run's folder: results.csv is missing" in refused(capsys, tmp_path)
    assert "nowhere: not a run's folder: there is no such folder" in refused(capsys, tmp_path / "nowhere")
    assert "results.csv: not a run's folder: it is a file" in refused(capsys, folders["base"] / "results.csv")
    own = folders["base"] / "results.csv"
    before = own.read_bytes()
    assert "is a file of a run" in refused(capsys, folders["base"], "--out", own)
    assert own.read_bytes() == before
    assert "is there and no file" in refused(capsys, folders["base"], "--out", tmp_path)
    mine = tmp_path / "mine.toml"
    figures = (
        '[figures]\nmac_8 = { pj = 1, kind = "guess", source = "s" }\n'
        'mux2_bit = { pj = 0.1, kind = "guess", source = "s" }\n'
    )
    mine.write_text(f'node_nm = 65\ncell_type = "itrs-lstp"\ntemperature_k = 300\n{figures}')
    asked = ["run", "--layer-csv", str(tmp_path / "net.csv"), "--quiet", "--out", str(tmp_path / "n65")]
    (tmp_path / "net.csv").write_text(TABLE)
    more = ["--arch", "dense", "--energy", str(mine), "--set", "smem.banks=1", "--block", "32"]
    assert crispsim([*asked, *more]) == 0
    assert "energy table at 65 nm: other sources are known at 45 and 22 nm only" in refused(capsys, tmp_path / "n65")


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="minutes without compiled kernels")
def test_the_page_shows_what_the_command_prints(tmp_path):
    page = (Path(__file__).resolve().parents[2] / "docs" / "sensitivity.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```\n(energy table .*?)```", page, re.DOTALL)
    assert crispsim(["run", "--layer-csv", "resnet50", "--quiet", "--out", str(tmp_path / "run")]) == 0
    lines = [line.rstrip() for line in printed(tmp_path / "run", 140).splitlines()]
    assert [line for line in shown.splitlines() if line and line not in lines] == []
