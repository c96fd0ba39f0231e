"""Reference twin of energy, area and the clock check: counts times figures, one product at a time.

Written from `docs/energy.md` alone (its rules E1-E9 are cited below) and without sight of `sim/`, but for the two
data files, which it reads with a reader of its own. Only arrays that stand in the table are known: nothing is
interpolated. Energies are in pJ throughout, and in uJ only where a figure's name says so.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA = Path(__file__).resolve().parents[2] / "sim" / "energy" / "data"
PARTS = ("mac", "select", "rf", "accumulator", "smem", "metadata", "leakage")


@dataclass(frozen=True, kw_only=True)
class EnergyMachine:
    """What of a machine has to do with energy; defaults as the preset `edge`."""

    clock_ghz: float = 1.0
    cores: int = 4
    operand_bits: int = 8
    sum_bits: int = 32
    smem_bytes: int = 262144
    smem_word_bits: int = 128
    smem_banks: int = 16
    smem_ports: str = "1rw"
    smem_read_bytes_per_cycle: int = 64
    smem_write_bytes_per_cycle: int = 64
    rf_bytes: int = 1024
    rf_word_bits: int = 64
    rf_banks: int = 1
    rf_ports: str = "1rw"
    rf_holds: str = "all"  # or "sums"
    rf_sums: str = "array"  # or "flip-flops"
    accumulator_bytes: int = 4096
    accumulator_word_bits: int = 32
    accumulator_banks: int = 16
    accumulator_ports: str = "1rw"
    dram_pj_per_bit: float | None = None  # None: no DRAM


class Counts(Protocol):
    """The counts of a layer that cost energy, and how long it takes; `RefResult` has them all."""

    @property
    def cycles(self) -> int: ...
    @property
    def macs_issued(self) -> int: ...
    @property
    def mux2_selections(self) -> int: ...
    @property
    def popcount_adders(self) -> int: ...
    @property
    def crossbar_bits(self) -> int: ...
    @property
    def rf_read_bytes(self) -> int: ...
    @property
    def rf_write_bytes(self) -> int: ...
    @property
    def accumulator_read_bytes(self) -> int: ...
    @property
    def accumulator_write_bytes(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def activation_bytes(self) -> int: ...
    @property
    def metadata_bytes(self) -> int: ...
    @property
    def smem_write_bytes(self) -> int: ...
    @property
    def writeback_bytes(self) -> int: ...
    @property
    def dram_read_bytes(self) -> int: ...
    @property
    def dram_write_bytes(self) -> int: ...


@dataclass(frozen=True)
class Sram:
    """One array, as its row of cacti_sram.csv has it."""

    word_bits: int
    banks: int
    read_pj: float
    write_pj: float
    leakage_mw: float
    area_mm2: float
    cycle_ns: float

    def read_pj_per_byte(self) -> float:
        return self.read_pj / (self.word_bits / 8)  # E2

    def write_pj_per_byte(self) -> float:
        return self.write_pj / (self.word_bits / 8)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """An energy table (E7): pJ of each operation, and where the memories stand in CACTI's table."""

    node: int
    mac: float  # one multiplication of operand_bits and one addition of sum_bits
    mux2_bit: float
    full_adder: float
    crossbar_bit: float
    register_bit: float
    smem_read_byte: float | None = None  # None: CACTI's, like all below
    smem_write_byte: float | None = None
    metadata_read_byte: float | None = None
    rf_read_byte: float | None = None
    rf_write_byte: float | None = None


@cache
def read_rows(name: str) -> list[dict[str, str]]:
    """Read a data file: '#' lines are comments, the first other line is the header."""
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def find_sram(node: int, size_bytes: int, word_bits: int, banks: int, ports: str) -> Sram:
    """Look an array up (E6), at 300 K and of itrs-lstp cells, as every shipped table has it.

    Raises
    ------
    LookupError
        There is no such row, or there are several.
    """
    rows = [
        row
        for row in read_rows("cacti_sram.csv")
        if int(row["tech_nm"]) == node
        and int(row["temp_k"]) == 300
        and row["cell_type"] == "itrs-lstp"
        and int(row["size_bytes"]) == size_bytes
        and int(row["word_bits"]) == word_bits
        and int(row["banks"]) == banks
        and row["ports"] == ports
    ]
    if len(rows) != 1:
        raise LookupError(f"{len(rows)} rows of {size_bytes} B, {word_bits} bit, {banks} banks, {ports} at {node} nm")
    numbers = {name: float(rows[0][name]) for name in ("read_pj", "write_pj", "leakage_mw", "area_mm2", "cycle_ns")}
    return Sram(word_bits, banks, **numbers)


def find_energy(operation: str, form: str, node: int, source: str) -> float:
    """Look an operation up in compute_energy.csv; several rows share a name, so the source is told by a word of it.

    Raises
    ------
    LookupError
        There is no such row, or there are several.
    """
    rows = [
        row
        for row in read_rows("compute_energy.csv")
        if (row["operation"], row["format"], row["tech_nm"]) == (operation, form, str(node)) and source in row["source"]
    ]
    if len(rows) != 1:
        raise LookupError(f"{len(rows)} rows of {operation} {form} at {node} nm from {source}")
    return float(rows[0]["energy"])


def figures_of(table: str, machine: EnergyMachine) -> Figures:
    """Gather the figures of a shipped energy table for a machine (E7).

    Raises
    ------
    LookupError
        The table has no such figure, or is none of the shipped.
    """
    operand, total = f"int{machine.operand_bits}", f"int{machine.sum_bits}"
    if table == "horowitz22":
        if machine.operand_bits == 16:  # has no row of its own at 22 nm
            multiply = find_energy("mul", "int16", 45, "Horowitz") * 0.2941
        else:
            multiply = find_energy("mul", operand, 22, "Horowitz x Stillmaker")
        return Figures(
            node=22,
            mac=multiply + find_energy("add", total, 22, "Horowitz x Stillmaker"),
            mux2_bit=find_energy("mux 4:1", "per bit", 22, "NanGate") / 3,
            full_adder=find_energy("full adder (popcount or prefix step)", "per FA", 45, "NanGate") * 0.2941,
            crossbar_bit=find_energy("crossbar 1-to-4 NoC", "per bit", 40, "aladdin") * 0.3384,
            register_bit=find_energy("register read or write", "per bit", 22, "aladdin"),
        )
    if table not in ("horowitz45", "sparseloop"):
        raise LookupError(f"no energy table {table!r}")
    logic = {
        "mux2_bit": find_energy("mux 4:1", "per bit", 45, "NanGate") / 3,
        "full_adder": find_energy("full adder (popcount or prefix step)", "per FA", 45, "NanGate"),
        "crossbar_bit": find_energy("crossbar 1-to-4 NoC", "per bit", 40, "aladdin"),
        "register_bit": find_energy("register read or write", "per bit", 45, "aladdin"),
    }
    if table == "horowitz45":
        multiply = find_energy("mul", operand, 45, "Horowitz")
        return Figures(node=45, mac=multiply + find_energy("add", total, 45, "Horowitz"), **logic)
    return Figures(
        node=45,
        mac=find_energy("mac", f"{operand} (8 b adder)", 45, "sparseloop"),
        smem_read_byte=285.7 / 64,
        smem_write_byte=317.0 / 64,
        metadata_read_byte=25.87 / 8,
        rf_read_byte=1.66,
        rf_write_byte=1.68,
        **logic,
    )


def arrays_of(machine: EnergyMachine, node: int, *, dual: bool) -> dict[str, tuple[int, Sram]]:
    """Return each array of a machine and how many of it there are (E2); `dual`: the machine runs dstc."""
    smem = find_sram(node, machine.smem_bytes, machine.smem_word_bits, machine.smem_banks, machine.smem_ports)
    rf = find_sram(node, machine.rf_bytes, machine.rf_word_bits, machine.rf_banks, machine.rf_ports)
    arrays = {"smem": (1, smem), "rf": (machine.cores, rf)}
    if dual:
        accumulator = find_sram(
            node,
            machine.accumulator_bytes,
            machine.accumulator_word_bits,
            machine.accumulator_banks,
            machine.accumulator_ports,
        )
        arrays["accumulator"] = (machine.cores, accumulator)
    return arrays


def per_byte(own: float | None, cacti: float) -> float:
    """Return the table's own figure a byte if it has one, else CACTI's."""
    return cacti if own is None else own


def mac_pj(counts: Counts, figures: Figures) -> float:
    return counts.macs_issued * figures.mac


def select_pj(counts: Counts, machine: EnergyMachine, figures: Figures) -> float:
    muxes = counts.mux2_selections * machine.operand_bits * figures.mux2_bit
    popcounts = counts.popcount_adders * figures.full_adder
    crossbars = counts.crossbar_bits * figures.crossbar_bit
    return muxes + popcounts + crossbars


def rf_pj(counts: Counts, machine: EnergyMachine, figures: Figures, rf: Sram) -> float:
    if machine.rf_holds == "sums":  # operands stream through registers outside, on every machine
        return (counts.rf_read_bytes + counts.rf_write_bytes) * 8 * figures.register_bit
    reads = counts.rf_read_bytes * per_byte(figures.rf_read_byte, rf.read_pj_per_byte())
    writes = counts.rf_write_bytes * per_byte(figures.rf_write_byte, rf.write_pj_per_byte())
    return reads + writes


def stationary_sums_pj(counts: Counts, machine: EnergyMachine, figures: Figures, rf: Sram) -> float:
    """Sums of dense, stc and crisp-stc: in the register file, or in flip-flops."""
    if machine.rf_sums == "flip-flops":
        return (counts.accumulator_read_bytes + counts.accumulator_write_bytes) * 8 * figures.register_bit
    reads = counts.accumulator_read_bytes * per_byte(figures.rf_read_byte, rf.read_pj_per_byte())
    writes = counts.accumulator_write_bytes * per_byte(figures.rf_write_byte, rf.write_pj_per_byte())
    return reads + writes


def dual_sums_pj(counts: Counts, machine: EnergyMachine, figures: Figures, accumulator: Sram) -> float:
    """Sums of dstc: scattered, so that each is accesses of its own (E2), unless the table knows bytes only."""
    if figures.rf_read_byte is not None and figures.rf_write_byte is not None:
        reads = counts.accumulator_read_bytes * figures.rf_read_byte
        return reads + counts.accumulator_write_bytes * figures.rf_write_byte
    sum_bytes = machine.sum_bits // 8
    assert counts.accumulator_read_bytes % sum_bytes == 0 and counts.accumulator_write_bytes % sum_bytes == 0
    accesses_a_sum = math.ceil(machine.sum_bits / machine.accumulator_word_bits)
    reads = counts.accumulator_read_bytes // sum_bytes * accesses_a_sum * accumulator.read_pj
    writes = counts.accumulator_write_bytes // sum_bytes * accesses_a_sum * accumulator.write_pj
    return reads + writes


def smem_pj(counts: Counts, figures: Figures, smem: Sram) -> float:
    reads = (counts.weight_bytes + counts.activation_bytes) * per_byte(figures.smem_read_byte, smem.read_pj_per_byte())
    writes = counts.smem_write_bytes * per_byte(figures.smem_write_byte, smem.write_pj_per_byte())
    return reads + writes


def metadata_pj(counts: Counts, figures: Figures, smem: Sram) -> float:
    return counts.metadata_bytes * per_byte(figures.metadata_read_byte, smem.read_pj_per_byte())


def latency_us(counts: Counts, machine: EnergyMachine) -> float:
    return counts.cycles / machine.clock_ghz / 1000


def energy_uj(counts: Counts, machine: EnergyMachine, table: str, *, dual: bool) -> dict[str, float]:
    """Return the parts of a layer's energy by the names of `PARTS` (E1), and with a DRAM "dram" (E10), in uJ.

    Raises
    ------
    LookupError
        A figure or an array is not in the tables.
    """
    figures = figures_of(table, machine)
    arrays = arrays_of(machine, figures.node, dual=dual)
    smem, rf = arrays["smem"][1], arrays["rf"][1]
    if dual:
        sums = dual_sums_pj(counts, machine, figures, arrays["accumulator"][1])
    else:
        sums = stationary_sums_pj(counts, machine, figures, rf)
    leakage_mw = sum(count * array.leakage_mw for count, array in arrays.values())  # E4
    leakage_nj = leakage_mw * latency_us(counts, machine)
    smem_all = smem_pj(counts, figures, smem)
    behind = {}
    if machine.dram_pj_per_bit is not None:  # E10
        smem_all += counts.writeback_bytes * per_byte(figures.smem_read_byte, smem.read_pj_per_byte())
        bits = 8 * (counts.dram_read_bytes + counts.dram_write_bytes)
        behind["dram"] = bits * machine.dram_pj_per_bit / 1e6
    return {
        "mac": mac_pj(counts, figures) / 1e6,
        "select": select_pj(counts, machine, figures) / 1e6,
        "rf": rf_pj(counts, machine, figures, rf) / 1e6,
        "accumulator": sums / 1e6,
        "smem": smem_all / 1e6,
        "metadata": metadata_pj(counts, figures, smem) / 1e6,
        "leakage": leakage_nj / 1e3,
        **behind,
    }


def area_mm2(machine: EnergyMachine, table: str, *, dual: bool) -> dict[str, float]:
    """Return the area of all arrays of each part, and their total (E8)."""
    arrays = arrays_of(machine, figures_of(table, machine).node, dual=dual)
    areas = {part: count * array.area_mm2 for part, (count, array) in arrays.items()}
    return {**areas, "total": sum(areas.values())}


def too_slow(machine: EnergyMachine, table: str, *, dual: bool) -> set[str]:
    """Name the parts that cannot make the clock (E9)."""
    arrays = arrays_of(machine, figures_of(table, machine).node, dual=dual)
    found = {part for part in arrays if part != "smem" and arrays[part][1].cycle_ns * machine.clock_ghz > 1}
    smem = arrays["smem"][1]
    accesses_a_cycle = smem.banks / math.ceil(smem.cycle_ns * machine.clock_ghz)
    bytes_a_cycle = accesses_a_cycle * smem.word_bits / 8  # of each port
    reads, writes = machine.smem_read_bytes_per_cycle, machine.smem_write_bytes_per_cycle
    needed = {"1rw": reads + writes, "1r1w": max(reads, writes), "2rw": (reads + writes) / 2}[machine.smem_ports]
    return found | ({"smem"} if bytes_a_cycle < needed else set())


def derived(parts: Mapping[str, float], dense: Mapping[str, float], latency: float, macs: int, effectual: int):
    """Work out section 3 of a row: totals, EDP, gain over dense and TOPS/W. Energies in uJ, latency in us."""
    energy = sum(parts.values())
    return {
        "energy_uj": energy,
        "edp_uj_us": energy * latency,
        "energy_gain": sum(dense.values()) / energy,
        "tops_per_watt_dense": 2 * macs / (energy * 1e6),
        "tops_per_watt_effectual": 2 * effectual / (energy * 1e6),
    }
