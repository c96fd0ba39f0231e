"""docs/files.md names every column, key and table there is, and its examples run."""

import json
import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from crispsim.bench.pruned_folder import LayerSparsity
from crispsim.cli.main import run_command as crispsim
from crispsim.prune.training import EpochRecord
from crispsim.sim import ARCHITECTURES, COLUMNS, Layer, Machine, load_arch, read_layers, simulate
from crispsim.sim.energy import load_table
from crispsim.sim.engine_state import CAUSES
from crispsim.sim.layer_columns import COLUMNS as TABLE_COLUMNS
from crispsim.sim.machine import describe, known_keys, preset_names
from crispsim.sim.result import columns_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def table(*titles: str) -> list[list[str]]:
    """Cells of the page's only table whose first columns have these titles."""
    head = re.escape("| " + " | ".join(titles) + " |")
    (rows,) = re.findall(rf"^{head}.*\n\|[-:|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def only_name(row: list[str]) -> str:
    (name,) = quoted(row[0])
    return name


def gemm(*, m: int, n: int, k: int) -> Layer:
    return Layer(
        name="small", kind="gemm", in_height=m, in_width=1, kernel_h=1, kernel_w=1, in_channels=k, out_channels=n
    )


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """Make a working directory of the page's example files."""
    monkeypatch.chdir(tmp_path)
    for _, name, text in BLOCKS:
        if name:
            Path(name).write_text(text)


def test_the_columns_of_results_csv_once_and_in_order():
    assert [only_name(row) for row in table("column", "unit")] == list(COLUMNS)


def test_the_columns_of_a_layer_table():
    optional = [column for column in TABLE_COLUMNS if not column.required]
    assert [quoted(row[0])[0] for row in table("column", "value")] == [column.title for column in optional]
    examples = "".join(text for language, _, text in BLOCKS if language == "csv")
    for column in TABLE_COLUMNS:
        assert not column.required or column.title in examples
        for alias in column.aliases:
            assert f"`{alias}`" in PAGE.lower()


def test_the_keys_of_a_machine_and_their_values_in_edge():
    rows = table("key", "`edge`")
    assert sorted(map(only_name, rows)) == sorted(known_keys())
    told = {only_name(row): row[1].strip('"') for row in rows if row[1]}
    assert told == {key: str(value) for key, value, _, _ in describe(Machine.load())}


def test_the_ranges_of_a_machines_keys():
    ranges = {only_name(row): re.search(r"(\d+) to (\d+)(?:\^(\d+))?", row[2]) for row in table("key", "`edge`")}
    for key, told in ranges.items():
        if told:
            section, _, name = key.replace("smem.bytes", "smem.read_bytes").rpartition(".")
            model = Machine.model_fields[section].annotation if section else Machine
            rules = {type(rule).__name__: rule for rule in model.model_fields[name].metadata}
            least, base, power = int(told[1]), int(told[2]), int(told[3] or 1)
            assert (rules["Ge"].ge, rules["Le"].le) == (least, base**power), key
    # Without one: a clock, three widths, five choices, a name.
    assert sum(told is not None for told in ranges.values()) == len(known_keys()) - 10


def test_the_keys_of_a_total():
    told = [name for row in table("key of a total", "what") for name in quoted(row[0])]
    resident = simulate([gemm(m=8, n=32, k=64)], "stc").total("stc").record()
    fused = simulate([gemm(m=8, n=32, k=64)], "stc", machine="edge-lpddr4", fuse=True, ideal=True)
    assert sorted(told) == sorted(resident | fused.total("stc").record())


def test_the_shipped_tables_presets_and_architectures():
    shipped = [path.stem for path in (ROOT / "sim" / "layers").glob("*.csv")]
    assert sorted(map(only_name, table("table", "what"))) == sorted(shipped)
    for name in (*ARCHITECTURES, *preset_names()):
        assert f"`{name}`" in PAGE or f"`{name}.toml`" in PAGE


def test_the_layer_tables(examples):
    names = [name for language, name, _ in BLOCKS if language == "csv"]
    notices: list[str] = []
    shapes = {name: [(row.s, row.k, row.p) for row in read_layers(name, notice=notices.append)] for name in names}
    assert notices == []
    assert shapes == {
        "conv.csv": [(64, 147, 112 * 112), (64, 576, 56 * 56)],
        "gemm.csv": [(2304, 768, 197), (1000, 768, 1)],
        "net.csv": [(128, 1152, 196), (256, 128, 49)],
    }


@pytest.mark.parametrize(("k", "sparsity"), [(576, 1 - 2 / 9 * 2 / 4), (128, 0.75)])
def test_sparsity_in_whole_blocks(k, sparsity, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"Layer, M, N, K\nlayer, 8, 64, {k}\n")
    row = simulate(read_layers(path), ["crisp-stc"]).rows[0]
    assert (row.weight_sparsity, row.requested_sparsity) == (pytest.approx(sparsity), 0.9)


def test_the_machine_and_the_architecture(examples):
    assert [name for language, name, _ in BLOCKS if language == "toml"] == ["slow.toml", "wide.toml", "mine.toml"]
    slow, wide = Machine.load("slow.toml"), load_arch("wide.toml", "slow.toml")
    assert slow == Machine.load(
        "edge", {"chunk_slots": 2, "smem.bytes_per_cycle": 32, "smem.latency_cycles": 4, "rf.bytes": 2048}
    )
    assert (wide.name, wide.architecture.name) == ("crisp-stc-wide", "crisp-stc")
    assert wide.machine == Machine.load("edge", {"smem.bytes_per_cycle": 128})
    assert load_table("mine.toml").figures["mac_8"].pj == 0.25


def test_the_command_and_its_folder(examples, capsys):
    (line,) = re.findall(r"^    crispsim (run .*)$", PAGE, re.MULTILINE)
    assert crispsim([*shlex.split(line), "--json"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["config.toml", "results.csv", "summary.json"]
    config = tomllib.loads(Path("out/config.toml").read_text())
    section = PAGE.partition("\n### config.toml\n")[2]
    for name in (*config, *config["options"], *config["input"][0], *config["arch"][0]):
        assert name == "machine" or name in [told.strip("[]") for told in quoted(section)], name
    keys = [name for row in table("key", "what") for name in quoted(row[0])]
    assert sorted([*keys, "rows"]) == sorted(json.loads(capsys.readouterr().out))


def test_the_python(examples, capsys):
    (code,) = (text for language, _, text in BLOCKS if language == "python")
    exec(compile(code, "docs/files.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["dense", "crisp-stc", "crisp-stc-wide"]
    assert lines[4].split()[:2] == ["mac", "macs_issued"]
    assert Path("results.csv").read_text().split("\n")[0] == ",".join(columns_of(with_energy=True))


def test_the_example_of_the_dram_level():
    """Its cycles are worked out by hand from the rules; this holds the engine and the page together."""
    text = (ROOT / "docs" / "microarchitecture.md").read_text(encoding="utf-8")
    text = " ".join(text.partition("\n### An example\n")[2].partition("\n### ")[0].split())
    row = simulate([gemm(m=4, n=32, k=16)], "dense", machine="edge-lpddr4").rows[0]
    assert (row.group.blocking, row.group.dram_read_bytes) == ("inputs", 576)
    assert f"`cycles` = max(157 + 100, 147 + 2) = {row.cycles} " in text
    causes = [dict(zip(CAUSES, cycles, strict=True)) for cycles in row.group.core_cycles.tolist()]
    busy, before, between, after, drain, idle = map(
        int,
        re.search(
            r"busy for (\d+) .*stall_dram for (\d+) \+ (\d+) \+ (\d+) .*for (\d+) and idle for (\d+)", text
        ).groups(),
    )
    assert causes == [
        {
            "busy": busy,
            "stall_rf": 0,
            "idle": idle,
            "stall_smem": 2 * (2 + core),
            "stall_drain": drain,
            "stall_sync": 2 * (3 - core),
            "stall_dram": before + between + after,
        }
        for core in range(4)
    ]
    assert f"takes {simulate([gemm(m=4, n=32, k=16)], 'dense').rows[0].cycles} cycles on `edge`" in text


def test_the_columns_of_a_pruned_networks_tables():
    told = [name for row in table("column of sparsity.csv", "unit") for name in quoted(row[0])]
    assert told == [field.name for field in fields(LayerSparsity)]
    told = [name for row in table("column of history.csv", "unit") for name in quoted(row[0])]
    assert told == [field.name for field in fields(EpochRecord)]
