"""What pages and pictures call the parts of energy and the causes of core-cycles, with what each is.

docs/files.md, section 4, has the definitions in full.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from ..sim.result import CAUSE_COLUMNS

# The parts of energy (`PART_uj` of results.csv): what they are called, and what they are.
PARTS = {
    "mac": ("MACs", "multiplications and additions"),
    "select": ("selection", "MUXes, popcounts, crossbars"),
    "rf": ("register file", "operands read and written"),
    "accumulator": ("partial sums", "read and written, wherever they are held"),
    "smem": ("SMEM", "weights and activations read, results written; with DRAM what it fills and takes back, too"),
    "metadata": ("metadata", "read from the SMEM"),
    "leakage": ("leakage", "of all memory arrays, over the latency"),
    "dram": ("DRAM", "bits read and written, over the interface and in the array"),
}
PART_COLUMNS = {part: f"{part}_uj" for part in PARTS}

# The memories of a machine.
MEMORIES = {"smem": "SMEM", "rf": "register file", "accumulator": "accumulation buffer"}

# The causes of core-cycles, which everywhere go by these names.
CAUSES = {
    "busy": "cores multiply",
    "stall_drain": "own sums of the tile before, or the last results, are not written out yet",
    "stall_smem": "an operand of the core's own has not arrived from the SMEM",
    "stall_dram": "an operand has not arrived in the SMEM from DRAM, or results are not out of it yet",
    "stall_rf": "a step takes longer than its MACs need, for a port of the register file or accumulation buffer",
    "stall_sync": "only another core of the sharing set is not ready",
    "idle": "no rows in this band, or all done",
}

# Units, the largest first, by their size in that of results.csv (us, uJ, uJ us).
LATENCY = ((1e6, "s"), (1e3, "ms"), (1, "µs"), (1e-3, "ns"))
ENERGY = ((1e6, "J"), (1e3, "mJ"), (1, "µJ"), (1e-3, "nJ"), (1e-6, "pJ"))
EDP = ((1e12, "J·s"), (1e9, "mJ·s"), (1e6, "µJ·s"), (1e3, "nJ·s"), (1, "pJ·s"), (1e-3, "fJ·s"), (1e-6, "aJ·s"))


def parts_in(names: Container[str]) -> dict[str, str]:
    """The parts of energy among columns, with their columns: DRAM's only where a machine has one.

    >>> list(parts_in(["mac_uj", "smem_uj"]))
    ['mac', 'smem']
    """
    return {part: column for part, column in PART_COLUMNS.items() if column in names}


def causes_in(names: Container[str]) -> dict[str, str]:
    """The causes of core-cycles among columns, with their columns: stall_dram only where a machine has a DRAM."""
    return {cause: column for cause, column in CAUSE_COLUMNS.items() if column in names}


def unit_for(values: Sequence[float], units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Size and name of the unit for numbers side by side: the largest that one of them reaches.

    >>> unit_for([4230.0, 940.5], ENERGY), unit_for([0.5, 0.012], ENERGY)
    ((1000.0, 'mJ'), (0.001, 'nJ'))
    """
    return next(((size, unit) for size, unit in units if max(values) >= size), units[-1])
