"""Machine presets, files and overrides; architecture files."""

import tomllib
from importlib import resources
from pathlib import Path

import pytest

from crispsim.sim import InputError, Machine, load_arch
from crispsim.sim.arch_spec import variant_names
from crispsim.sim.machine import describe, flatten, known_keys, parse_overrides, preset_names

PRESETS = Path(str(resources.files("crispsim.sim") / "presets"))


def test_edge_is_the_papers_topology_with_an_edge_devices_bandwidth():
    """Paper, section III-E: 256 KB SMEM, four cores of 64 MACs and 1 KB; hardware.md section 2 for the rest."""
    edge = Machine.load()
    assert edge == Machine.load("edge")
    assert edge.smem.capacity_bytes == 256 * 1024
    assert (edge.core.count, edge.core.rows * edge.core.lanes, edge.rf.bytes) == (4, 64, 1024)
    assert (edge.smem.read_bytes_per_cycle, edge.smem.write_bytes_per_cycle, edge.smem.latency_cycles) == (64, 64, 2)
    assert (edge.core.pipeline_cycles, edge.chunk_columns, edge.chunk_slots, edge.block_index_bytes) == (4, 2, 4, 2)
    assert (edge.operand_bytes, edge.sum_bytes, edge.output_bytes) == (1, 4, 1)
    assert (edge.macs, edge.band_rows) == (256, 32)


def test_paper_is_the_artifacts_machine():
    """hardware.md section 2: 42 + 42 B/cycle, 8-bit sums, partial sums only in the register file."""
    paper = Machine.load("paper")
    assert (paper.smem.read_bytes_per_cycle, paper.smem.write_bytes_per_cycle) == (42, 42)
    assert (paper.sum_bytes, paper.rf.holds) == (1, "sums")


@pytest.mark.parametrize("name", preset_names())
def test_every_number_of_a_preset_has_its_source_beside_it(name):
    text = (PRESETS / f"{name}.toml").read_text()
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    assert len(lines) == len(flatten(tomllib.loads(text))) == len(known_keys()) - 1
    assert all(len(line.partition("#")[2].strip()) > 5 for line in lines)


def test_every_field_is_described():
    assert [key for key, *_ in describe(Machine.load())] == [
        key for key in known_keys() if key != "smem.bytes_per_cycle"
    ]
    for key, _, unit, meaning in describe(Machine.load()):
        assert meaning, key
        assert unit or "bytes" not in key, key


def test_overrides_win_later_ones_most_and_the_alias_sets_both_ports():
    machine = Machine.load(
        "edge", {"smem.bytes_per_cycle": 32}, {"smem.write_bytes_per_cycle": 8}, origins=("file", "--set")
    )
    assert (machine.smem.read_bytes_per_cycle, machine.smem.write_bytes_per_cycle) == (32, 8)


def test_a_file_names_only_what_differs(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text("chunk_slots = 6\n[smem]\nbytes_per_cycle = 128\n")
    machine = Machine.load(path)
    assert machine == Machine.load("edge", {"chunk_slots": 6, "smem.bytes_per_cycle": 128})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"smem.latncy_cycles": 1},
            "--set: unknown key 'smem.latncy_cycles'; the nearest known one is 'smem.latency_cycles'",
        ),
        ({"smem.latency_cycles": 0}, "--set: smem.latency_cycles: value 0: must be greater than or equal to 1"),
        ({"smem.latency_cycles": True}, "--set: smem.latency_cycles: value True: must be a valid integer"),
        ({"clock_ghz": float("nan")}, "--set: clock_ghz: value nan"),
        ({"clock_ghz": 0.0}, "--set: clock_ghz: value 0.0: must be greater than 0"),
        ({"operand_bits": 4}, "--set: operand_bits: value 4: must be 8 or 16"),
        ({"column_tile": 5}, "--set: column_tile: value 5: must be a multiple of chunk_columns = 2"),
    ],
)
def test_a_bad_value_is_one_line_with_its_origin(overrides, message):
    with pytest.raises(InputError) as caught:
        Machine.load("edge", overrides)
    assert len(caught.value.lines) == 1
    assert str(caught.value).startswith(message)


def test_an_architecture_file_varies_a_registered_one(tmp_path):
    path = tmp_path / "slow.toml"
    path.write_text('arch = "stc"\nmachine = "paper"\n[set]\nchunk_slots = 8\n')
    spec = load_arch(str(path), overrides={"chunk_slots": 6})
    assert (spec.name, spec.architecture.name, spec.machine.chunk_slots) == ("slow", "stc", 6)
    assert spec.machine.smem.read_bytes_per_cycle == 42


def test_an_architecture_file_varies_a_given_machine(tmp_path):
    path = tmp_path / "slow.toml"
    path.write_text('arch = "stc"\n[set]\nchunk_slots = 8\n')
    spec = load_arch(str(path), Machine.load("paper", {"rf.bytes": 2048}))
    assert (spec.machine.chunk_slots, spec.machine.rf.bytes, spec.machine.sum_bits) == (8, 2048, 8)


def test_of_several_settings_the_last_wins_alias_or_not():
    texts = ["smem.bytes_per_cycle=32", "smem.read_bytes_per_cycle=16", "smem.bytes_per_cycle=48"]
    smem = Machine.load("edge", parse_overrides(texts)).smem
    assert (smem.read_bytes_per_cycle, smem.write_bytes_per_cycle) == (48, 48)
    smem = Machine.load("edge", parse_overrides(texts[:2])).smem
    assert (smem.read_bytes_per_cycle, smem.write_bytes_per_cycle) == (16, 32)


def test_shipped_variants_are_known_by_name_and_listed():
    assert variant_names() == ["dstc-equal-storage", "dstc-given-masks"]
    for name in variant_names():
        spec = load_arch(name)
        assert (spec.name, spec.architecture.name) == (name, "dstc")
    assert load_arch("dstc").masks == load_arch("dstc-equal-storage").masks == "unstructured"
    assert load_arch("dstc-given-masks").masks == load_arch("crisp-stc").masks == "given"
    assert load_arch("dstc-equal-storage", "paper").machine.sum_bits == 8  # on whatever machine


def test_masks_of_an_architecture_file(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('name = "a"\narch = "stc"\nmasks = "unstructured"\n')
    assert load_arch(str(path)).masks == "unstructured"
    path.write_text('name = "a"\narch = "stc"\nmasks = "mine"\n')
    with pytest.raises(InputError, match="masks: value 'mine': must be 'given' or 'unstructured'"):
        load_arch(str(path))


def test_an_unknown_architecture_names_variants_too():
    with pytest.raises(InputError, match="did you mean 'dstc-given-masks'"):
        load_arch("dstc-given-mask")


def test_of_several_mappings_every_one_counts_and_the_last_wins():
    machine = Machine.load("edge", {"chunk_slots": 5, "chunk_columns": 1}, {"chunk_slots": 6}, {"rf.bytes": 2048})
    assert (machine.chunk_slots, machine.chunk_columns, machine.rf.bytes) == (6, 1, 2048)
    with pytest.raises(InputError, match="--set: unknown key 'nope'"):
        Machine.load("edge", {}, {"nope": 1})
