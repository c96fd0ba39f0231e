"""Machine presets, files and overrides; architecture files."""

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from crispsim.sim import InputError, Machine, load_arch
from crispsim.sim.arch_spec import variant_names
from crispsim.sim.energy.rows import compute_rows
from crispsim.sim.machine import describe, flatten, known_keys, name_of, parse_overrides, preset_names

PRESETS = Path(str(resources.files("crispsim.sim") / "presets"))
COMPLETE = ("edge", "paper")  # the others name what differs from edge
WITH_DRAM = ("edge-lpddr4", "edge-lpddr5", "edge-dram32")


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


def test_presets_without_a_dram_and_with_one():
    assert preset_names() == sorted([*COMPLETE, *WITH_DRAM])
    assert [name for name in preset_names() if Machine.load(name).has_dram] == sorted(WITH_DRAM)
    for name in COMPLETE:
        dram = Machine.load(name).dram
        assert (dram.name, dram.bytes_per_cycle, Machine.load(name).dram_line) == ("none", 0, "none")


@pytest.mark.parametrize("name", WITH_DRAM)
def test_a_preset_with_a_dram_is_edge_but_for_it(name):
    machine, edge = Machine.load(name), Machine.load("edge")
    assert machine.model_copy(update={"dram": edge.dram}) == edge
    own = tomllib.loads((PRESETS / f"{name}.toml").read_text())
    assert list(own) == ["dram"]
    assert all(value != getattr(edge.dram, key) for key, value in own["dram"].items())
    assert machine.dram.name != "none"


def test_bandwidths_of_drams_are_their_peak_rounded_down():
    """32 bits at so many transfers a second; a cycle is 1 ns."""
    for name, transfers in (("edge-lpddr4", 4266e6), ("edge-lpddr5", 6400e6)):
        dram = Machine.load(name).dram
        assert dram.bytes_per_cycle == int(transfers * 32 / 8 / 1e9)
        assert dram.burst_bytes == 16 * 32 / 8  # bursts of 16
    assert Machine.load("edge-dram32").dram.bytes_per_cycle == 32


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("edge", ("LPDDR4", "tool")),
        ("paper", ("LPDDR4", "tool")),
        ("edge-lpddr4", ("LPDDR4", "tool")),
        ("edge-dram32", ("LPDDR4", "tool")),
        ("edge-lpddr5", ("LPDDR5", "guess")),
    ],
)
def test_energies_of_drams_are_those_of_the_shipped_table(name, row):
    (found,) = compute_rows()["DRAM access", row[0], "-", row[1]]
    assert (Machine.load(name).dram.pj_per_bit, found.unit) == (found.energy, "pJ/bit")
    if name in ("edge", "edge-lpddr5"):  # said where the number stands
        (line,) = (line for line in (PRESETS / f"{name}.toml").read_text().splitlines() if "pj_per_bit = " in line)
        assert f"compute_energy.csv: DRAM access, {row[0]}, {row[1]}" in line


def test_what_is_guessed_is_called_a_guess():
    (line,) = (
        line for line in (PRESETS / "edge.toml").read_text().splitlines() if re.match("latency_cycles = 1", line)
    )
    assert "guess" in line


def test_what_a_dram_is_called():
    assert Machine.load("edge-lpddr5").dram_line == "LPDDR5-6400 x32, 25 B/cycle peak, latency 100 cycles, 6.4 pJ/bit"
    own = Machine.load("edge", {"dram.bytes_per_cycle": 32, "dram.latency_cycles": 1})
    assert own.dram_line == "32 B/cycle peak, latency 1 cycle, 8 pJ/bit"


def test_what_a_machine_is_called():
    for name in preset_names():
        assert name_of(Machine.load(name)) == name
    assert name_of(Machine.load("edge", {"dram.bytes_per_cycle": 17})) == "edge with dram.bytes_per_cycle = 17"
    assert name_of(Machine.load("edge-lpddr4", {"chunk_slots": 6})) == "edge-lpddr4 with chunk_slots = 6"
    many = {"chunk_slots": 6, "core.rows": 4, "core.lanes": 4, "rf.bytes": 2048, "smem.capacity_bytes": 65536}
    assert name_of(Machine.load("paper", many)) == "paper with 5 fields changed"


@pytest.mark.parametrize("name", preset_names())
def test_every_number_of_a_preset_has_its_source_beside_it(name):
    text = (PRESETS / f"{name}.toml").read_text()
    lines = [line for line in text.splitlines() if re.match(r"\w+ = ", line)]
    assert len(lines) == len(flatten(tomllib.loads(text)))
    assert name not in COMPLETE or len(lines) == len(known_keys()) - 1
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
        (
            {"dram.byte_per_cycle": 1},
            "--set: unknown key 'dram.byte_per_cycle'; the nearest known one is 'dram.bytes_per_cycle'",
        ),
        ({"dram.bytes_per_cycle": -1}, "--set: dram.bytes_per_cycle: value -1: must be greater than or equal to 0"),
        ({"dram.latency_cycles": 0}, "--set: dram.latency_cycles: value 0: must be greater than or equal to 1"),
        ({"dram.burst_bytes": 0}, "--set: dram.burst_bytes: value 0: must be greater than or equal to 1"),
        ({"dram.pj_per_bit": -0.5}, "--set: dram.pj_per_bit: value -0.5: must be greater than or equal to 0"),
        ({"dram.pj_per_bit": float("inf")}, "--set: dram.pj_per_bit: value inf"),
        ({"dram.name": 5}, "--set: dram.name: value 5: must be a valid string"),
        ({"dram.name": ""}, "--set: dram.name: value '': must have at least 1 character"),
        (
            {"dram.bytes_per_cycle": 8, "dram.burst_bytes": 7, "output_bits": 16},
            "--set: dram.burst_bytes: value 7: must be a multiple of an output's 2 bytes",
        ),
        ({"column_tile": 5}, "--set: column_tile: value 5: must be a multiple of chunk_columns = 2"),
    ],
)
def test_a_bad_value_is_one_line_with_its_origin(overrides, message):
    with pytest.raises(InputError) as caught:
        Machine.load("edge", overrides)
    assert len(caught.value.lines) == 1
    assert str(caught.value).startswith(message)


def test_a_burst_of_part_of_an_output_is_refused_only_where_there_is_a_dram():
    assert Machine.load("edge", {"dram.burst_bytes": 7, "output_bits": 16}).dram.burst_bytes == 7
    assert Machine.load("edge", {"dram.burst_bytes": 7, "dram.bytes_per_cycle": 8}).has_dram


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
