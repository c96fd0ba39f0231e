"""What core-cycles of a run were spent on, layer by layer: `crispsim figure stalls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...sim.result import CAUSE_COLUMNS
from .collection import FigureKind
from .records import records_of, sums_of, values_of
from .run import ALIKE, draw_stalls

if TYPE_CHECKING:
    import pandas as pd

TEXT = ("layer", "arch", "nm", "block", "mask")
COLUMNS = ("layer", "arch", "calls", "cycles", *ALIKE, *CAUSE_COLUMNS.values())


def collect(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns of results.csv that the figure needs."""
    return rows.loc[:, [*COLUMNS]]


def says(table: pd.DataFrame) -> list[str]:
    """The network's busy share on each architecture, and its largest stall."""
    rows, lines = records_of(table), []
    for arch in values_of(rows, "arch"):
        sums = sums_of([row for row in rows if row["arch"] == arch], CAUSE_COLUMNS.values())
        shares = {cause: sums[column] / sum(sums.values()) for cause, column in CAUSE_COLUMNS.items()}
        busy = shares.pop("busy")
        cause = max(shares, key=lambda name: shares[name])
        lines.append(f"{arch}: {busy:.2%} of core-cycles busy; the most of the rest {cause}, {shares[cause]:.2%}")
    return lines


FIGURE = FigureKind(
    name="stalls",
    summary="what core-cycles are spent on, layer by layer, on every architecture of a run",
    text=TEXT,
    numbers=tuple(name for name in COLUMNS if name not in TEXT),
    positive=("calls", "cycles", "busy_core_cycles"),
    draw=draw_stalls,
    says=says,
)
