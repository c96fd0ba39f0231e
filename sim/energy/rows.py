"""The rows of compute_energy.csv: energies of arithmetic, MUXes, registers and DRAM, with their sources."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib import resources

Key = tuple[str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: energy in pJ per op, bit or cycle, as `unit` says. kind : published, tool, derived or guess."""

    energy: float
    unit: str
    kind: str
    source: str
    note: str


@functools.cache
def compute_rows() -> dict[Key, list[Row]]:
    """All rows by (operation, format, node in nm, kind), in the order of the file."""
    folder = resources.files(__package__ or "crispsim.sim.energy") / "data"
    lines = (folder / "compute_energy.csv").read_text(encoding="utf-8").splitlines()
    rows: dict[Key, list[Row]] = {}
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        made = Row(
            energy=float(row["energy"]), unit=row["unit"], kind=row["kind"], source=row["source"], note=row["note"]
        )
        rows.setdefault((row["operation"], row["format"], row["tech_nm"], row["kind"]), []).append(made)
    return rows
