"""Layers of a run below the roofs of their machine: `crispsim figure roofline`."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from .collection import FigureKind
from .records import records_of, values_of
from .run import ROOFS, draw_roofline, intensity_of

if TYPE_CHECKING:
    import pandas as pd

NEAR = 0.9

TEXT = ("layer", "arch")
COLUMNS = (
    *TEXT, "calls", "cycles", "macs_issued", "macs_effectual", "smem_read_bytes", "smem_write_bytes", *ROOFS,
)  # fmt: skip


def collect(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that the figure needs, of rows with roofs (`run.roofline_table`, `run.with_roofs`)."""
    return rows.loc[:, [*COLUMNS]]


def says(table: pd.DataFrame) -> list[str]:
    """How near to the compute roof the layers are on each architecture."""
    rows, lines = records_of(table), []
    for arch in values_of(rows, "arch"):
        own = [row for row in rows if row["arch"] == arch]
        shares = [row["macs_issued"] / (row["cycles"] * row[ROOFS[0]]) for row in own]
        near = sum(share >= NEAR for share in shares)
        intensity = median(intensity_of(row) for row in own)
        lines.append(
            f"{arch}: {near} of {len(own)} layers issue at least {NEAR:.0%} of the peak's MACs, the median "
            f"{median(shares):.1%}; {intensity:.2f} MACs a byte in the median"
        )
    return lines


FIGURE = FigureKind(
    name="roofline",
    summary="MACs a cycle over MACs a byte of SMEM traffic, below the machine's roofs, for a run",
    text=TEXT,
    numbers=tuple(name for name in COLUMNS if name not in TEXT),
    positive=("calls", "cycles", "macs_issued", "smem_read_bytes", *ROOFS),
    draw=draw_roofline,
    says=says,
)
