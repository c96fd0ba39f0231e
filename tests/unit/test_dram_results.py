"""What is made of results of machines with a DRAM: columns, energy, totals, tables, folders, comparisons, figures."""

import csv
import io
import json
import math
from dataclasses import fields, replace

import pandas as pd
import pytest

from crispsim.bench.compare import compare_runs, json_of
from crispsim.bench.figures import run_energy, stalls
from crispsim.bench.figures.drawing import CAUSE_LOOKS, PART_LOOKS
from crispsim.bench.report.html import html_page
from crispsim.bench.report.markdown import markdown_page
from crispsim.bench.report.run_content import run_report
from crispsim.bench.run_folder import read_run
from crispsim.bench.sensitivity import records_of, study_run
from crispsim.bench.vocabulary import CAUSES as CAUSE_MEANINGS
from crispsim.bench.vocabulary import PARTS as PART_LABELS
from crispsim.cli.compare import print_comparison
from crispsim.cli.network_table import print_results
from crispsim.cli.terminal import Terminal
from crispsim.sim import COLUMNS, InputError, Layer, Machine, load_arch, simulate
from crispsim.sim.energy import PARTS, left_out
from crispsim.sim.result import CAUSE_COLUMNS, DRAM_COLUMNS, FUSION_COLUMNS, IDEAL, GroupResult
from tests.dram_results import MOVED, WAITED, behind_dram, write

SMALL = Layer(
    name="small", kind="gemm", in_height=24, in_width=1, kernel_h=1, kernel_w=1, in_channels=64, out_channels=40
)
LARGE = replace(SMALL, name="large", in_height=4000, in_channels=128, calls=3)
FIRST = ("dram_read_bytes", "dram_write_bytes", "dram_bound_cycles", "stall_dram_core_cycles", "dram_uj")


@pytest.fixture(scope="module")
def resident():
    return simulate([SMALL, LARGE], ["dense", "dstc"], block=None)


@pytest.fixture(scope="module")
def full(resident):
    return behind_dram(resident)


@pytest.fixture(scope="module")
def mixed(resident):
    return behind_dram(resident, ["dstc"])


@pytest.fixture(scope="module")
def folders(resident, full, mixed, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    named = {"resident": resident, "full": full, "mixed": mixed}
    return {name: write(root / name, results) for name, results in named.items()}


def cells(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def printed(show):
    file = io.StringIO()
    show(Terminal(width=140, file=file))
    return file.getvalue()


def test_columns_of_a_dram_follow_the_energy_gain_and_are_absent_without_one(resident, full, mixed):
    """interfaces.md: with a DRAM level also these, in this order; never filled with zeros."""
    at = full.columns.index("energy_gain") + 1
    assert tuple(full.columns[at : at + 5]) == FIRST
    assert set(resident.columns).isdisjoint(DRAM_COLUMNS)
    assert set(full.columns) == set(COLUMNS) - {"smem_resident_ideal", *FUSION_COLUMNS}
    assert [*mixed.columns, *FUSION_COLUMNS] == list(COLUMNS)
    for results in (resident, full, mixed):
        assert list(results.columns) == [column for column in COLUMNS if column in results.columns]
    bare = [column for column in full.columns if column in DRAM_COLUMNS and not column.endswith("_uj")]
    assert [c for c in replace(full, energy_models={}).columns if c in DRAM_COLUMNS] == bare


def test_a_row_says_what_moved_and_what_it_cost(resident, full):
    for row, before in zip(full.rows, resident.rows, strict=True):
        values, old = row.row(), before.row()
        assert list(values) == list(full.columns)
        assert {name: values[name] for name in MOVED} == MOVED
        assert values["stall_dram_core_cycles"] == 4 * WAITED
        assert sum(values[column] for column in CAUSE_COLUMNS.values()) == 4 * values["cycles"]
        assert values["dram_uj"] == pytest.approx((1100 + 500) * 8 * 8 / 1e6, rel=1e-12)  # 8 pJ a bit
        # CACTI: 262144 B, 128-bit words, 16 banks: 65.029 pJ a read, 77.5033 a write.
        smem = 400 * 65.029 / 16 + (700 + 300) * 77.5033 / 16
        assert values["smem_uj"] == pytest.approx(old["smem_uj"] + smem / 1e6, rel=1e-12)
        assert values["energy_uj"] == pytest.approx(math.fsum(values[f"{part}_uj"] for part in PARTS), rel=1e-12)
        assert {part: values[f"{part}_uj"] for part in PARTS if part not in ("smem", "dram")} == {
            part: old[f"{part}_uj"] for part in PARTS if part not in ("smem", "dram")
        }
        assert values["smem_needed_bytes"] == old["smem_needed_bytes"]  # what is filled in is not needed twice


def test_energy_a_bit_is_the_machines_own():
    model = behind_dram(simulate([SMALL], ["stc"], block=None), preset="edge-lpddr5").energy_models["stc"]
    terms = [term for term in model.terms if term.part == "dram"]
    assert [(term.count, term.pj) for term in terms] == [("dram_read_bytes", 8 * 6.4), ("dram_write_bytes", 8 * 6.4)]
    assert all("6.4" in term.source and "LPDDR5-6400 x32" in term.source for term in terms)
    assert [term.count for term in model.terms if term.part == "smem"][-1] == "writeback_bytes"


def test_without_a_dram_there_is_no_such_term(resident):
    for model in resident.energy_models.values():
        assert {term.part for term in model.terms} <= set(PARTS) - {"dram"}
        assert "writeback_bytes" not in [term.count for term in model.terms]


def test_what_is_left_out_depends_on_the_dram():
    edge, lpddr = Machine.load("edge"), Machine.load("edge-lpddr4")
    without, behind, both = left_out([edge]), left_out([lpddr]), left_out([edge, lpddr])
    assert "DRAM: everything lies in the SMEM" in without
    assert not any("everything lies" in line for line in behind)
    assert any("refresh power of the DRAM" in line for line in behind)
    assert not any("refresh" in line for line in without)
    assert set(both) == {*without, *behind}


def test_totals(resident, full, mixed):
    calls = 1 + 3
    total = full.total("dense")
    assert {name: getattr(total, name) for name in MOVED if name != "blocking"} == {
        name: calls * value for name, value in MOVED.items() if name != "blocking"
    }
    assert total.core_cycles["stall_dram"] == calls * 4 * WAITED
    record = total.record()
    assert record["dram_uj"] == pytest.approx(calls * 1600 * 64 / 1e6)
    assert record["core_cycles"]["stall_dram"] == calls * 4 * WAITED
    bare = resident.total("dense").record()
    assert set(record) - set(bare) == (
        (set(DRAM_COLUMNS) - {"stall_dram_core_cycles", "blocking"}) | {f"ideal_{name}" for name in IDEAL}
    )
    assert "stall_dram" not in bare["core_cycles"]
    assert [set(mixed.total(arch).record()) for arch in mixed.archs] == [set(bare), set(record)]
    assert record["energy_uj"] == pytest.approx(sum(record[f"{part}_uj"] for part in PARTS), rel=1e-12)


def test_groups_that_were_blocked_differently_are_mixed(full):
    group = full.rows[0].group
    other = replace(group, blocking="inputs")
    assert GroupResult.sum([(group, 2), (group, 1)]).blocking == "weights"
    both = GroupResult.sum([(group, 2), (other, 1)])
    assert (both.blocking, both.dram_read_bytes, both.writeback_bytes) == ("mixed", 3 * 1100, 3 * 400)
    assert {field.name: field.default for field in fields(GroupResult) if field.name in MOVED} == {
        name: "" if name == "blocking" else 0 for name in MOVED
    }


def test_results_beyond_the_capacity_are_marked_only_without_a_dram(resident, mixed):
    assert [row.row()["smem_resident_ideal"] for row in resident.rows] == ["no", "no", "yes", "yes"]
    assert [row.row().get("smem_resident_ideal") for row in mixed.rows] == ["no", None, "yes", None]
    text = " ".join(printed(lambda console: print_results(resident, console)).split())
    assert text.count("* beyond its capacity: dense: 1 of 2 layers need more than its 256 KiB") == 1
    for row in resident.rows:
        assert (f" {row.cycles:,}* " in text) == (row.layer.name == "large")
    marked = printed(lambda console: print_results(mixed, console))
    dense, dual = (f"{row.cycles:,}" for row in mixed.rows[2:])
    assert f"{dense}*" in marked
    assert f"{dual}*" not in marked
    assert "*" not in printed(lambda console: print_results(behind_dram(resident), console))


def test_the_terminal_shows_the_dram_where_there_is_one(resident, full, mixed):
    rows = ("DRAM read, MB", "DRAM written, MB", "DRAM bound", "core-cycles stall_dram", "energy dram")
    texts = [printed(lambda console, own=results: print_results(own, console)) for results in (resident, full, mixed)]
    assert not any(row in texts[0] for row in rows)
    assert all(row in text for row in rows for text in texts[1:])
    assert "machine: edge\n" in texts[0]
    assert "SMEM-resident ideal" in texts[0]
    assert "no DRAM" in texts[0]
    assert "DRAM: LPDDR4-4266 x32, 17 B/cycle peak, latency 100 cycles, 8 pJ/bit" in texts[1]
    assert "machine: edge-lpddr4\n" in texts[1]
    for name in ("cycles", "speedup", "energy, mJ", "energy gain"):
        assert [f"{name}, SMEM-resident ideal" in text for text in texts] == [False, True, True]
    assert "no DRAM" not in texts[1]
    for row in rows:
        (line,) = (line for line in texts[2].splitlines() if line.strip().startswith(row))
        assert line.split()[-2] == "-"  # dense has none
    assert "dense: none; dstc: LPDDR4-4266 x32" in texts[2]
    assert "dense: SMEM-resident ideal" in texts[2]
    assert "(dense: no DRAM)" in texts[2]


def test_the_summary_names_machine_dram_and_memory(folders):
    told = {name: read_run(folder).summary for name, folder in folders.items()}
    assert told["resident"]["machine"] == "edge"
    assert told["resident"]["dram"] == "none"
    assert told["resident"]["memory"] == "SMEM-resident ideal: every tensor is taken to lie in SMEM"
    assert told["full"]["machine"] == "edge-lpddr4"
    assert told["full"]["dram"] == "LPDDR4-4266 x32, 17 B/cycle peak, latency 100 cycles, 8 pJ/bit"
    assert told["full"]["memory"].startswith("tensors start and end in DRAM")
    assert told["mixed"]["machine"] == "dense: edge; dstc: edge-lpddr4"
    assert told["mixed"]["memory"].startswith("dense: SMEM-resident ideal")


def test_rows_without_a_dram_have_blank_cells_and_the_others_whole_numbers(folders, mixed):
    rows = cells(folders["mixed"])
    assert list(rows[0]) == [name for name in COLUMNS if name not in FUSION_COLUMNS]
    for row, result in zip(rows, mixed.rows, strict=True):
        own = result.row()
        assert {name for name in row if row[name] == "" and name not in own} == set(mixed.columns) - set(own)
        assert {name: row[name] for name in MOVED if name in own} == {
            name: str(value) for name, value in MOVED.items() if name in own
        }
    run = read_run(folders["mixed"])
    assert run.has_dram
    assert run.rows["dram_read_bytes"].isna().tolist() == [True, False, True, False]
    assert run.rows["blocking"].tolist() == ["", "weights", "", "weights"]
    frame = mixed.to_dataframe()
    assert frame["dram_read_bytes"].sum() == 2 * 1100
    assert str(frame["dram_read_bytes"].dtype) == "Int64"
    assert not read_run(folders["resident"]).has_dram


@pytest.mark.parametrize("name", ["full", "mixed"])
def test_a_folder_with_a_dram_needs_all_of_its_columns(name, folders, tmp_path):
    rows = pd.read_csv(folders[name] / "results.csv", dtype=str, keep_default_na=False)
    for file in ("summary.json", "config.toml"):
        (tmp_path / file).write_text((folders[name] / file).read_text())
    for column in DRAM_COLUMNS:
        rows.drop(columns=column).to_csv(tmp_path / "results.csv", index=False)
        with pytest.raises(InputError, match=f"column '{column}' is missing"):
            read_run(tmp_path)


@pytest.mark.parametrize(
    ("row", "value", "problem"),
    [(0, "5", "must be empty where the machine has no DRAM"), (1, "", "must hold numbers"), (1, "-1", "negative")],
)
def test_cells_of_a_dram_that_no_run_wrote(row, value, problem, folders, tmp_path):
    rows = pd.read_csv(folders["mixed"] / "results.csv", dtype=str, keep_default_na=False)
    for file in ("summary.json", "config.toml"):
        (tmp_path / file).write_text((folders["mixed"] / file).read_text())
    rows.loc[row, "dram_write_bytes"] = value
    rows.to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(InputError, match=f"'dram_write_bytes': .*{problem}"):
        read_run(tmp_path)


@pytest.mark.parametrize("key", ["dram_read_bytes", "dram_bound_cycles", "dram_uj", "core_cycles.stall_dram"])
def test_totals_of_a_dram_are_needed_only_where_there_is_one(key, folders, tmp_path):
    for file in ("results.csv", "config.toml"):
        (tmp_path / file).write_text((folders["mixed"] / file).read_text())
    summary = json.loads((folders["mixed"] / "summary.json").read_text())
    total = summary["totals"]["dstc"]
    (total["core_cycles"] if "." in key else total).pop(key.rpartition(".")[2])
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match=f"totals.dstc.{key}: must be a number"):
        read_run(tmp_path)


@pytest.mark.parametrize("names", [("resident", "full"), ("full", "resident"), ("full", "full"), ("resident", "mixed")])
def test_a_comparison_counts_no_dram_as_nothing_moved(names, folders):
    a, b = (read_run(folders[name]) for name in names)
    comparison = compare_runs(a, b)
    for arch in comparison.archs:
        own = a.machines[arch.a].has_dram, b.machines[arch.b].has_dram
        told = {"dram_read_bytes", "dram_uj", "core_cycles.stall_dram", "writeback_bytes"}
        assert (told <= set(arch.totals)) == any(own)
        assert (not told & set(arch.totals)) == (not any(own))
        assert ("blocking_a" in arch.layers) == ("dram_uj_ratio" in arch.layers) == any(own)
        if any(own):
            moved = arch.totals["dram_read_bytes"]
            assert (moved.a, moved.b) == tuple(4 * 1100 * has for has in own)
            assert arch.layers["dram_write_bytes_a"].tolist() == [500 * own[0]] * 2
            assert arch.layers["blocking_b"].tolist() == ["weights" if own[1] else ""] * 2
    json.dumps(json_of(comparison), allow_nan=False)
    assert comparison.identical == (names[0] == names[1])
    text = printed(lambda console: print_comparison(comparison, console, 0))
    assert ("DRAM read, B" in text) == ("core-cycles stall_dram" in text) == (names[0] != names[1])
    if names == ("resident", "full"):
        assert "machine.dram.bytes_per_cycle" in text
        assert "SMEM-resident ideal" in text


def test_a_change_in_cycles_is_split_with_the_dram_in_it(resident, tmp_path):
    """The layers take longer by what each core waits for the DRAM, and by nothing else."""
    rows = []
    behind = behind_dram(resident)
    for row, before in zip(behind.rows, resident.rows, strict=True):
        spent = row.group.core_cycles.copy()
        spent[:, :-1] = before.group.core_cycles[:, :-1]
        rows.append(replace(row, group=replace(row.group, core_cycles=spent, cycles=row.cycles + WAITED)))
    paths = [write(tmp_path / "a", resident), write(tmp_path / "b", replace(behind, rows=tuple(rows)))]
    for arch in compare_runs(read_run(paths[0]), read_run(paths[1])).archs:
        assert arch.layers["cycles_change"].tolist() == [WAITED] * 2
        assert arch.layers["stall_dram_share"].tolist() == [1.0] * 2
        shares = [column for column in arch.layers if column.endswith("_share")]
        assert arch.layers[shares].sum(axis=1).tolist() == pytest.approx([1.0] * 2)


@pytest.mark.parametrize("name", ["resident", "full", "mixed"])
def test_figures_and_reports(name, folders, tmp_path):
    pytest.importorskip("matplotlib")
    run = read_run(folders[name])
    table = stalls.collect(run.rows)
    assert ("stall_dram_core_cycles" in table) == run.has_dram
    assert not table.isna().any(axis=None)
    stalls.draw(table, tmp_path / "stalls.svg")
    run_energy.draw(run.rows, tmp_path / "energy.svg")
    assert ("stall_dram" in (tmp_path / "stalls.svg").read_text()) == run.has_dram
    assert (">DRAM<" in (tmp_path / "energy.svg").read_text()) == run.has_dram
    assert len(stalls.says(table)) == 2
    report = run_report(run, None)
    for text in (html_page(report), markdown_page(report).replace("\\", "")):
        assert ("DRAM bound" in text) == ("stall_dram" in text) == run.has_dram
        assert ("LPDDR4-4266 x32" in text) == run.has_dram
        assert "SMEM-resident" in text
        assert ("With every tensor in the SMEM, an ideal without DRAM, dstc would take" in text) == run.has_dram


def test_the_ideal_is_the_network_on_the_machines_without_their_dram(resident, mixed):
    machine = Machine.load("edge-lpddr4", {"smem.capacity_bytes": 1 << 16})
    specs = [load_arch("dense", machine), load_arch("dstc", machine), load_arch("crisp-stc", "edge")]
    layers = [SMALL, replace(LARGE, calls=1)]
    bare = [replace(spec, machine=Machine.load(spec.machine, {"dram.bytes_per_cycle": 0})) for spec in specs]
    plain = simulate(layers, bare, block=32)
    for own, fuse in ((specs, False), (specs[:2], True)):
        results = simulate(layers, own, block=32, fuse=fuse, ideal=True)
        without = simulate(layers, own, block=32, fuse=fuse)
        assert without.ideal is None
        assert [row.row() for row in results.rows] == [row.row() for row in without.rows]
        assert (results.unfused is not None) == fuse
        assert results.ideal is not None
        assert [row.row() for row in results.ideal.rows] == [
            row.row() for row in plain.rows if row.arch in results.archs
        ]
        for arch in results.archs:
            assert results.ideal.total(arch).record() == plain.total(arch).record()
            told, ideal = results.total(arch).record(), plain.total(arch)
            beside = {name: value for name, value in told.items() if name.startswith("ideal_")}
            if arch == "crisp-stc":
                assert not beside
                continue
            assert beside == {
                "ideal_cycles": ideal.cycles,
                "ideal_speedup": ideal.speedup,
                "ideal_energy_uj": ideal.energy_values["energy_uj"],
                "ideal_energy_gain": ideal.energy_values["energy_gain"],
            }
            assert told == without.total(arch).record() | beside
    assert list(simulate([SMALL], specs[:1], energy=None, ideal=True).total("dense").record())[-2:] == [
        "ideal_cycles", "ideal_speedup",
    ]  # fmt: skip
    assert simulate([SMALL], ["dense"], ideal=True).ideal is None


@pytest.mark.parametrize("key", [f"ideal_{name}" for name in IDEAL])
@pytest.mark.parametrize(
    ("value", "problem"),
    [(None, "a number"), (float("inf"), "a number"), ("1", "a number"), (0, "above 0"), (-1.5, "above 0")],
)
def test_totals_of_the_ideal_are_checked(key, value, problem, folders, tmp_path):
    _with_total(folders["mixed"], tmp_path, key, value)
    with pytest.raises(InputError, match=f"totals.dstc.{key}: must be {problem}"):
        read_run(tmp_path)


def test_cycles_of_the_ideal_are_whole(folders, tmp_path):
    _with_total(folders["mixed"], tmp_path, "ideal_cycles", 10.5)
    with pytest.raises(InputError, match=r"totals\.dstc\.ideal_cycles: must be a whole number"):
        read_run(tmp_path)


def _with_total(folder, own, key, value):
    """A copy of a run's folder with another total of dstc; None: without it."""
    for file in ("results.csv", "config.toml"):
        (own / file).write_text((folder / file).read_text())
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["totals"]["dstc"][key] > 0 and key not in summary["totals"]["dense"]
    summary["totals"]["dstc"][key] = value
    (own / "summary.json").write_text(json.dumps(summary))


def test_every_part_and_cause_has_a_name_a_meaning_and_a_look():
    assert list(PART_LABELS) == list(PART_LOOKS) == list(PARTS)
    assert list(CAUSE_MEANINGS) == list(CAUSE_LOOKS) == list(CAUSE_COLUMNS)


@pytest.mark.parametrize("name", ["full", "mixed"])
def test_the_energies_of_a_dram_come_out_again(name, folders):
    run = read_run(folders[name])
    study = study_run(run)
    for record in records_of(study):
        told = run.summary["totals"][record["arch"]]
        if record["as_run"]:
            assert record["dram_uj"] == pytest.approx(told.get("dram_uj", 0), rel=1e-12)
            assert record["energy_uj"] == pytest.approx(told["energy_uj"], rel=1e-12)
