"""A machine's arrays: which there are, their area, and whether they make the clock."""

import pytest

from crispsim.sim import InputError, Layer, Machine, simulate
from crispsim.sim.energy import area_of, clock_notes, clock_warnings, load_table
from crispsim.sim.energy.memories import memories_of


def memories(buffer: bool = False, **changes: object):
    machine = Machine.load("edge", {key.replace("__", "."): value for key, value in changes.items()})
    return machine, memories_of(machine, accumulation_buffer=buffer, table=load_table())


def test_the_arrays_of_the_default_machine():
    """Rows 262144,128,16,1rw and 1024,64,1,1rw and 4096,32,16,1rw at 45 nm, itrs-lstp, 300 K."""
    _, arrays = memories(buffer=True)
    assert [(m.part, m.count, m.sram.read_pj, m.sram.write_pj) for m in arrays] == [
        ("smem", 1, 65.029, 77.5033),
        ("rf", 4, 1.66966, 3.49161),
        ("accumulator", 4, 2.99896, 3.43254),
    ]
    assert [m.part for m in memories()[1]] == ["smem", "rf"]
    assert area_of(arrays) == pytest.approx(
        {"smem": 0.961891, "rf": 4 * 0.0035993, "accumulator": 4 * 0.0230851, "total": 0.961891 + 4 * 0.0266844}
    )


def test_the_default_machine_makes_its_clock_exactly():
    """16 banks in 2 cycles of 1 ns (1.12712 ns each): 8 accesses of 16 B a cycle, 128 B = 64 + 64."""
    assert clock_warnings(*memories(buffer=True)) == []
    (line,) = clock_warnings(*memories(smem__write_bytes_per_cycle=65))
    assert "16 banks of 128-bit words (1rw) cannot make the clock" in line
    assert "cycle time is 1.13 ns, so that at 1 GHz they serve 128 B/cycle, reads and writes together" in line
    assert "the machine asks for 129" in line


def test_at_half_the_clock_it_serves_twice_as_much():
    wide = {"smem__bytes_per_cycle": 128}
    assert clock_warnings(*memories(clock_ghz=0.5, **wide)) == []
    assert len(clock_warnings(*memories(clock_ghz=0.9, **wide))) == 1


def test_a_port_for_each_serves_both_at_once():
    """262144,256,16,1r1w: 1.27253 ns, 2 cycles: 8 x 32 B on each port."""
    separate = {"smem__ports": "1r1w", "smem__word_bits": 256}
    assert clock_warnings(*memories(smem__bytes_per_cycle=256, **separate)) == []
    (line,) = clock_warnings(*memories(smem__write_bytes_per_cycle=257, **separate))
    assert "serve 256 B/cycle on each port; the machine asks for 257" in line


def test_two_ports_share_reads_and_writes():
    """262144,512,2,2rw: 4.49323 ns, 5 cycles: 2 ports x 2 banks x 64 B / 5."""
    both = {"smem__ports": "2rw", "smem__word_bits": 512, "smem__banks": 2}
    assert clock_warnings(*memories(smem__read_bytes_per_cycle=25, smem__write_bytes_per_cycle=26, **both)) == []
    (line,) = clock_warnings(*memories(smem__read_bytes_per_cycle=26, smem__write_bytes_per_cycle=26, **both))
    assert "serve 51.2 B/cycle" in line


def test_arrays_in_the_cores_must_cycle_in_one():
    """The register file takes 0.627464 ns, the buffer 0.489138 ns."""
    assert clock_warnings(*memories(buffer=True, clock_ghz=1.59)) == []
    assert [line.partition(":")[0] for line in clock_warnings(*memories(buffer=True, clock_ghz=1.6))] == ["rf"]
    lines = clock_warnings(*memories(buffer=True, clock_ghz=2.1))
    assert [line.partition(":")[0] for line in lines] == ["smem", "rf", "accumulator"]
    assert "cycle time is 0.627 ns, and a cycle at 2.1 GHz is 0.476 ns" in lines[1]


def test_an_interpolated_array_has_no_cycle_time_to_check():
    machine, arrays = memories(smem__capacity_bytes=300000, smem__bytes_per_cycle=1024)
    (line,) = clock_notes(machine, arrays)
    assert line.startswith("smem: interpolated")
    assert clock_warnings(machine, arrays) == []


def test_an_smem_slower_than_its_machine_says_is_told():
    """262144,128,16,1rw: 2.23668 ns, 3 cycles at 1 GHz, 2 at 0.8 GHz."""
    (line,) = clock_notes(*memories())
    assert line == (
        "smem: CACTI's access time is 2.24 ns, 3 cycles at 1 GHz; the machine takes 2 (smem.latency_cycles)"
    )
    assert clock_notes(*memories(smem__latency_cycles=3)) == []
    assert clock_notes(*memories(clock_ghz=0.8)) == []


def test_a_run_says_where_its_memories_come_from_and_what_cannot_make_its_clock():
    layer = Layer(
        name="l", kind="gemm", in_height=40, in_width=1, kernel_h=1, kernel_w=1, in_channels=64, out_channels=32
    )
    plain = simulate([layer], ["dense", "dstc"])
    assert {row.row()["sram_origin"] for row in plain.rows} == {"table"}
    between = simulate([layer], ["dense", "dstc"], machine=Machine.load("edge", {"rf.bytes": 1300}))
    assert {row.row()["sram_origin"] for row in between.rows} == {"interpolated"}
    assert {row.row()["sram_origin"] for row in simulate([layer], "stc", energy="sparseloop").rows} == {"energy table"}
    fast = simulate([layer], ["dense", "dstc"], machine=Machine.load("edge", {"clock_ghz": 2.1}))
    assert [line.partition(":")[0] for line in fast.warnings()] == ["dense, dstc", "dense, dstc", "dstc"]


def test_what_no_source_knows_is_refused_with_the_part_and_the_nearest():
    with pytest.raises(InputError, match=r"^smem: .* nearest there: 4 or 16 banks.*--energy none"):
        memories(smem__banks=8)
    with pytest.raises(InputError, match=r"^accumulator: "):
        memories(buffer=True, dstc__accumulator_bytes=1024)
