"""Energy as counts times figures (docs/energy.md): what each count of a result costs on a machine, and why."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..archs.base import Architecture
from ..machine import Machine
from .memories import Memory, Part, memories_of
from .table import DEFAULT_TABLE, EnergyTable, Figure, load_table

# The parts of an energy, in the order of their columns.
PARTS = ("mac", "select", "rf", "accumulator", "smem", "metadata", "leakage", "dram")

# The figure of each count of selection.
_SELECTION = {"mux2_selections": "mux2_bit", "popcount_adders": "full_adder", "crossbar_bits": "crossbar_bit"}

_DRAM_COUNTS = ("dram_read_bytes", "dram_write_bytes")

# What the model has no source for, and so does not count; then, of machines without a DRAM and of those with one.
_LEFT_OUT = (
    "pipeline registers, weight latches, clock tree, control and sequencer: no figure in the sources",
    "wires between the SMEM and the cores beyond each array's own H-tree: no floor plan",
    "leakage and area of the logic (MACs, MUXes, popcounts, crossbars): no figure in the sources",
    "MACs that are not driven: taken as clock-gated",
    "ports of register files and accumulation buffers beyond the array's own: every access is charged, none is refused",
)
_WITHOUT_DRAM = "DRAM: everything lies in the SMEM"
_OF_DRAM = (
    "static and refresh power of the DRAM: not in dram.pj_per_bit, which is charged for the bits moved",
    "the memory controller: no figure in the sources",
)


def left_out(machines: Iterable[Machine]) -> list[str]:
    """What the energy of these machines leaves out, a line each.

    >>> left_out([Machine.load("edge")])[-1]
    'DRAM: everything lies in the SMEM'
    """
    found = {machine.has_dram for machine in machines}
    return [*_LEFT_OUT, *((_WITHOUT_DRAM,) if False in found else ()), *(_OF_DRAM if True in found else ())]


@dataclass(frozen=True, kw_only=True)
class Term:
    """One product of the sum: `pj` for each `count`, which goes to `part`.

    Parameters
    ----------
    part, count : str
        One of `PARTS`; a column of results.csv.
    pj, source
        What each count costs, and where that comes from.
    figures : tuple of str
        Figures that an energy table may have for it, in the order in which they are looked for, whether this table has
        them or not.
    memories : tuple of str
        Parts of the arrays whose accesses or leakage it costs where the table has none of its figures.
    units : int
        How many of a figure's unit each count is, such as the bits of a byte.
    """

    part: str
    count: str
    pj: float
    source: str
    figures: tuple[str, ...]
    memories: tuple[Part, ...]
    units: int


class _Price(NamedTuple):
    """What a count costs, as `Term` has it."""

    pj: float
    source: str
    figures: tuple[str, ...]
    memories: tuple[Part, ...] = ()
    units: int = 1


@dataclass(frozen=True, kw_only=True)
class Energy:
    """The energy of a layer, in uJ: disjoint parts that add up to the total."""

    mac_uj: float
    select_uj: float
    rf_uj: float
    accumulator_uj: float
    smem_uj: float
    metadata_uj: float
    leakage_uj: float
    dram_uj: float = 0.0

    @property
    def parts(self) -> dict[str, float]:
        """By column name; DRAM's is 0 on a machine without one."""
        return {f"{part}_uj": getattr(self, f"{part}_uj") for part in PARTS}

    @property
    def energy_uj(self) -> float:
        """The sum of the parts."""
        return math.fsum(self.parts.values())

    @classmethod
    def sum(cls, energies: Iterable[tuple[Energy, int]]) -> Energy:
        """Add energies, each a number of times."""
        energies = list(energies)
        return cls(
            **{
                f"{part}_uj": math.fsum(getattr(energy, f"{part}_uj") * times for energy, times in energies)
                for part in PARTS
            }
        )


@dataclass(frozen=True, kw_only=True)
class EnergyModel:
    """The energy of an architecture on a machine, under a table.

    Parameters
    ----------
    machine : Machine
    architecture : Architecture
        Where its sums lie, and what its selection counts.
    table : EnergyTable
    memories : tuple of Memory
        As `memories_of` gives them.
    """

    machine: Machine
    architecture: Architecture
    table: EnergyTable
    memories: tuple[Memory, ...]

    @classmethod
    def of(
        cls, machine: Machine, architecture: Architecture, table: str | Path | EnergyTable = DEFAULT_TABLE
    ) -> EnergyModel:
        """The model of a machine.

        Raises
        ------
        InputError
            The table lacks a figure, or CACTI's an array.
        """
        table = load_table(table)
        memories = memories_of(machine, accumulation_buffer=architecture.has_accumulation_buffer, table=table)
        made = cls(machine=machine, architecture=architecture, table=table, memories=memories)
        _ = made.terms  # whatever is missing is missed here
        return made

    def energy(self, counts: Any) -> Energy:
        """Of anything that has the counts as attributes."""
        parts = {
            part: [term.pj * getattr(counts, term.count) for term in self.terms if term.part == part] for part in PARTS
        }
        return Energy(**{f"{part}_uj": math.fsum(values) / 1e6 for part, values in parts.items()})

    @property
    def origin(self) -> str:
        """Where the memories' figures come from: the least certain of table, energy table, live and interpolated."""
        origins = {memory.sram.origin for memory in self.memories}
        for origin in ("interpolated", "live"):
            if origin in origins:
                return origin
        return "energy table" if "smem_read_byte" in self.table.figures else "table"

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """Every product of the sum, part by part."""
        smem, rf = self._memory("smem"), self._memory("rf")
        sums_read, sums_written = self._sums(rf)
        operands = self._registers() if self.machine.rf.holds == "sums" else self._bytes(rf, "rf")
        smem_read, smem_written = self._bytes(smem, "smem")
        terms = [
            ("mac", "macs_issued", self._mac()),
            *(("select", count, figure) for count, figure in self._selection()),
            ("rf", "rf_read_bytes", operands[0]),
            ("rf", "rf_write_bytes", operands[1]),
            ("accumulator", "accumulator_read_bytes", sums_read),
            ("accumulator", "accumulator_write_bytes", sums_written),
            ("smem", "weight_bytes", smem_read),
            ("smem", "activation_bytes", smem_read),
            ("smem", "smem_write_bytes", smem_written),
            *([("smem", "writeback_bytes", smem_read)] if self.machine.has_dram else []),
            ("metadata", "metadata_bytes", self._byte("metadata_read_byte", smem_read)),
            ("leakage", "cycles", self._leakage()),
            *((("dram", count, self._dram()) for count in _DRAM_COUNTS) if self.machine.has_dram else ()),
        ]
        return tuple(Term(part=part, count=count, **price._asdict()) for part, count, price in terms)

    def figures(self) -> list[Figure]:
        """The table's figures that some product of the sum takes."""
        used = self._mac_figures()
        for term in self.terms:
            if term.part != "mac":
                used += [self.table.figures[name] for name in term.figures if name in self.table.figures][:1]
        return list(dict.fromkeys(used))

    def _memory(self, part: Part) -> Memory:
        """The arrays of a part, which the machine has."""
        return next(memory for memory in self.memories if memory.part == part)

    def _figure(self, name: str, why: str) -> Figure:
        return self.table.figure(name, why)

    def _mac_figures(self) -> list[Figure]:
        replacing, *two = self._mac_names()
        if replacing in self.table.figures:
            return [self.table.figures[replacing]]
        settings = f"operand_bits = {self.machine.operand_bits}", f"sum_bits = {self.machine.sum_bits}"
        return [self._figure(name, why) for name, why in zip(two, settings, strict=True)]

    def _mac_names(self) -> tuple[str, str, str]:
        """The figure of a MAC, and those of multiplication and addition, which it replaces."""
        operand, total = self.machine.operand_bits, self.machine.sum_bits
        return f"mac_{operand}", f"multiply_{operand}", f"add_{total}"

    def _mac(self) -> _Price:
        figures = self._mac_figures()
        source = " + ".join(figure.name for figure in figures)
        return _Price(sum(figure.pj for figure in figures), source, self._mac_names())

    def _selection_figures(self) -> list[tuple[Figure, str, int]]:
        """Figures of selection: (figure, count, how many of it each count is)."""
        bits = {"mux2_selections": self.machine.operand_bits}
        return [
            (self._figure(_SELECTION[count], f"{self.architecture.name}: {count}"), count, bits.get(count, 1))
            for count in self.architecture.selection_counts
        ]

    def _selection(self) -> list[tuple[str, _Price]]:
        prices = []
        for figure, count, times in self._selection_figures():
            source = figure.name + (f" x {times} bits" if times > 1 else "")
            prices.append((count, _Price(figure.pj * times, source, (figure.name,), units=times)))
        return prices

    def _leakage(self) -> _Price:
        pj = sum(memory.leakage_mw for memory in self.memories) / self.machine.clock_ghz
        source = "standby leakage of all arrays, CACTI; mW over the clock in GHz"
        return _Price(pj, source, (), tuple(memory.part for memory in self.memories))

    def _dram(self) -> _Price:
        dram = self.machine.dram
        return _Price(8 * dram.pj_per_bit, f"dram.pj_per_bit = {dram.pj_per_bit:g}, x 8 ({dram.name})", (), units=8)

    def _byte(self, name: str, otherwise: _Price) -> _Price:
        """The table's figure of a byte, or what it costs otherwise."""
        price = otherwise._replace(figures=(name, *otherwise.figures))
        figure = self.table.figures.get(name)
        return price if figure is None else price._replace(pj=figure.pj, source=figure.name)

    def _bytes(self, memory: Memory, prefix: str) -> tuple[_Price, _Price]:
        """Reading and writing a byte of words that ragged transfers share."""
        sram, source = memory.sram, f"{memory.part}: a {memory.sram.shape.word_bits}-bit access, a byte of it"
        read, write = (
            _Price(pj / memory.word_bytes, source, (), (memory.part,)) for pj in (sram.read_pj, sram.write_pj)
        )
        return self._byte(f"{prefix}_read_byte", read), self._byte(f"{prefix}_write_byte", write)

    def _registers(self) -> tuple[_Price, _Price]:
        figure = self._figure("register_bit", "operands or sums in registers")
        price = _Price(8 * figure.pj, "register_bit x 8", (figure.name,), units=8)
        return price, price

    def _sums(self, rf: Memory) -> tuple[_Price, _Price]:
        """Reading and writing a byte of partial sums."""
        if not self.architecture.has_accumulation_buffer:
            return self._registers() if self.machine.rf.sums == "flip-flops" else self._bytes(rf, "rf")
        buffer = self._memory("accumulator")
        sram, sum_bytes = buffer.sram, self.machine.sum_bytes
        accesses = -(-self.machine.sum_bits // sram.shape.word_bits)
        times = "an access" if accesses == 1 else f"{accesses} accesses"
        source = f"accumulator: {times} of {sram.shape.word_bits} bits a sum, a byte of it"
        read, write = (
            _Price(pj * accesses / sum_bytes, source, (), (buffer.part,)) for pj in (sram.read_pj, sram.write_pj)
        )
        return self._byte("buffer_read_byte", read), self._byte("buffer_write_byte", write)
