"""What pages and pictures call the parts of energy and the causes of core-cycles, with what each is.

docs/files.md, section 4, has the definitions in full.
"""

from __future__ import annotations

from collections.abc import Sequence

# The parts of energy (`PART_uj` of results.csv): what they are called, and what they are.
PARTS = {
    "mac": ("MACs", "multiplications and additions"),
    "select": ("selection", "MUXes, popcounts, crossbars"),
    "rf": ("register file", "operands read and written"),
    "accumulator": ("partial sums", "read and written, wherever they are held"),
    "smem": ("SMEM", "weights and activations read, results written"),
    "metadata": ("metadata", "read from the SMEM"),
    "leakage": ("leakage", "of all memory arrays, over the latency"),
}
PART_COLUMNS = {part: f"{part}_uj" for part in PARTS}

# The memories of a machine.
MEMORIES = {"smem": "SMEM", "rf": "register file", "accumulator": "accumulation buffer"}

# The causes of core-cycles, which everywhere go by these names.
CAUSES = {
    "busy": "cores multiply",
    "stall_drain": "own sums of the tile before, or the last results, are not written out yet",
    "stall_smem": "an operand of the core's own has not arrived from the SMEM",
    "stall_rf": "a step takes longer than its MACs need, for a port of the register file or accumulation buffer",
    "stall_sync": "only another core of the sharing set is not ready",
    "idle": "no rows in this band, or all done",
}

# Units, the largest first, by their size in that of results.csv (us, uJ, uJ us).
LATENCY = ((1e6, "s"), (1e3, "ms"), (1, "µs"), (1e-3, "ns"))
ENERGY = ((1e6, "J"), (1e3, "mJ"), (1, "µJ"), (1e-3, "nJ"), (1e-6, "pJ"))
EDP = ((1e12, "J·s"), (1e9, "mJ·s"), (1e6, "µJ·s"), (1e3, "nJ·s"), (1, "pJ·s"), (1e-3, "fJ·s"), (1e-6, "aJ·s"))


def unit_for(values: Sequence[float], units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Size and name of the unit for numbers side by side: the largest that one of them reaches.

    >>> unit_for([4230.0, 940.5], ENERGY), unit_for([0.5, 0.012], ENERGY)
    ((1000.0, 'mJ'), (0.001, 'nJ'))
    """
    return next(((size, unit) for size, unit in units if max(values) >= size), units[-1])
