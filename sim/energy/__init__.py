"""Energy and area: counts times figures, memories from CACTI (docs/energy.md)."""

from .memories import Memory, area_of, clock_notes, clock_warnings
from .model import PARTS, Energy, EnergyModel, Term, left_out
from .table import DEFAULT_TABLE, FIGURES, EnergyTable, Figure, load_table, table_names

__all__ = [
    "DEFAULT_TABLE",
    "FIGURES",
    "PARTS",
    "Energy",
    "EnergyModel",
    "EnergyTable",
    "Figure",
    "Memory",
    "Term",
    "area_of",
    "clock_notes",
    "clock_warnings",
    "left_out",
    "load_table",
    "table_names",
]
