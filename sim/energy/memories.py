"""The memory arrays of a machine, and what CACTI says of each (docs/energy.md, E2, E4, E8, E9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..machine import Machine
from .sram import Sram, SramShape, find_sram
from .table import EnergyTable

Part = Literal["smem", "rf", "accumulator"]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One kind of array of a machine.

    part : smem, rf or accumulator. count : how many of it there are. sram : one of them.
    """

    part: Part
    count: int
    sram: Sram

    @property
    def area_mm2(self) -> float:
        """Of all of them."""
        return self.count * self.sram.area_mm2

    @property
    def leakage_mw(self) -> float:
        """Of all of them."""
        return self.count * self.sram.leakage_mw

    @property
    def word_bytes(self) -> float:
        """Bytes of a word."""
        return self.sram.shape.word_bits / 8

    def record(self) -> dict[str, Any]:
        """As summary.json has it: sizes of one array, leakage and area of one."""
        shape, sram = self.sram.shape, self.sram
        return {
            "part": self.part,
            "count": self.count,
            "size_bytes": shape.size_bytes,
            "word_bits": shape.word_bits,
            "banks": shape.banks,
            "ports": shape.ports,
            "read_pj": sram.read_pj,
            "write_pj": sram.write_pj,
            "leakage_mw": sram.leakage_mw,
            "area_mm2": sram.area_mm2,
            "access_ns": sram.access_ns,
            "cycle_ns": sram.cycle_ns,
            "origin": sram.origin,
            "source": sram.source,
        }


def memories_of(machine: Machine, *, accumulation_buffer: bool, table: EnergyTable) -> tuple[Memory, ...]:
    """The arrays of a machine, with CACTI's figures at the table's technology.

    Parameters
    ----------
    machine : Machine
    accumulation_buffer : bool
        Whether each core has one for its sums (dstc).
    table : EnergyTable

    Raises
    ------
    InputError
        CACTI's table does not have such an array, or anything around it.
    """
    smem, rf, dstc = machine.smem, machine.rf, machine.dstc
    shapes: list[tuple[Part, int, SramShape]] = [
        ("smem", 1, _shape(smem.capacity_bytes, smem.word_bits, smem.banks, smem.ports)),
        ("rf", machine.core.count, _shape(rf.bytes, rf.word_bits, rf.banks, rf.ports)),
    ]
    if accumulation_buffer:
        buffer = _shape(
            dstc.accumulator_bytes, dstc.accumulator_word_bits, dstc.accumulator_banks, dstc.accumulator_ports
        )
        shapes.append(("accumulator", machine.core.count, buffer))
    return tuple(
        Memory(part=part, count=count, sram=find_sram(shape, table.technology, part=part))
        for part, count, shape in shapes
    )


def area_of(memories: Sequence[Memory]) -> dict[str, float]:
    """Area of each kind of array and of all, in mm2. Logic has no source, and is not in it."""
    areas: dict[str, float] = {memory.part: memory.area_mm2 for memory in memories}
    return areas | {"total": sum(areas.values())}


def clock_warnings(machine: Machine, memories: Sequence[Memory]) -> list[str]:
    """A line for each array that cannot run as the machine asks (E9)."""
    warnings = []
    for memory in memories:
        cycle, shape = memory.sram.cycle_ns, memory.sram.shape
        if cycle is None:
            continue
        cycles = math.ceil(cycle * machine.clock_ghz)
        banks = (
            f"{shape.banks} {'bank' if shape.banks == 1 else 'banks'} of {shape.word_bits}-bit words ({shape.ports})"
        )
        if memory.part == "smem":
            served, asked, how = _served(machine, memory, cycles)
            if asked > served:
                warnings.append(
                    f"smem: {banks} cannot make the clock: CACTI's cycle time is {cycle:.3g} ns, so that at "
                    f"{machine.clock_ghz:g} GHz they serve {served:g} B/cycle{how}; the machine asks for {asked:g}; "
                    f"set smem.banks, smem.word_bits or smem.ports"
                )
        elif cycles > 1:
            warnings.append(
                f"{memory.part}: {banks} cannot make the clock: CACTI's cycle time is {cycle:.3g} ns, and a cycle at "
                f"{machine.clock_ghz:g} GHz is {1 / machine.clock_ghz:.3g} ns"
            )
    return warnings


def clock_notes(machine: Machine, memories: Sequence[Memory]) -> list[str]:
    """A line for each array whose clock could not be checked, and for an SMEM slower than its machine says it is."""
    notes = []
    for memory in memories:
        access = memory.sram.access_ns
        if memory.sram.cycle_ns is None or access is None:
            notes.append(f"{memory.part}: interpolated, so that its cycle time is not known and the clock not checked")
        elif memory.part == "smem" and (cycles := math.ceil(access * machine.clock_ghz)) > machine.smem.latency_cycles:
            notes.append(
                f"smem: CACTI's access time is {access:.3g} ns, {cycles} cycles at {machine.clock_ghz:g} GHz; the "
                f"machine takes {machine.smem.latency_cycles} (smem.latency_cycles)"
            )
    return notes


def _served(machine: Machine, memory: Memory, cycles: int) -> tuple[float, float, str]:
    """Bytes a cycle that a port of all banks serves, those asked of it, and which port that is."""
    read, write = machine.smem.read_bytes_per_cycle, machine.smem.write_bytes_per_cycle
    port = memory.sram.shape.banks * memory.word_bytes / cycles
    if memory.sram.shape.ports == "1rw":
        return port, read + write, ", reads and writes together"
    if memory.sram.shape.ports == "2rw":
        return 2 * port, read + write, ", reads and writes together"
    return port, max(read, write), " on each port"


def _shape(size_bytes: int, word_bits: int, banks: int, ports: Any) -> SramShape:
    return SramShape(size_bytes=size_bytes, word_bits=word_bits, banks=banks, ports=ports)
