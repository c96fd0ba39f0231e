"""What core-cycles of a run were spent on, layer by layer: `crispsim figure stalls`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...sim.result import CAUSE_COLUMNS, causes_of
from ..vocabulary import causes_in
from .drawing import CAUSE_LOOKS, FONT, label_of, save
from .figure_kind import FigureKind
from .records import records_of, sums_of, values_of, without_gaps
from .run_rows import ALIKE, chart_of, lines_of, panels_across

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TEXT = ("layer", "arch", "nm", "block", "mask")
_TITLE = 72  # signs of titles side by side
COLUMNS = (
    "layer", "arch", "calls", "cycles", *ALIKE, *(CAUSE_COLUMNS[cause] for cause in causes_of(with_dram=False)),
)  # fmt: skip


def collect(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns of results.csv that the figure needs; of a machine with a DRAM also its stall."""
    more = [column for column in causes_in(rows.columns).values() if column not in COLUMNS]
    return without_gaps(rows).loc[:, [*COLUMNS, *more]]


def lacks(table: pd.DataFrame) -> list[str]:
    """What a table must have to be drawn, and has not."""
    spent = table[list(causes_in(table.columns).values())].to_numpy().sum(axis=1)
    return [f"row {row}: no core-cycles" for row, cycles in enumerate(spent, start=2) if cycles == 0]


def says(table: pd.DataFrame) -> list[str]:
    """The network's busy share on each architecture, and its largest stall."""
    rows, lines, causes = records_of(table), [], causes_in(table.columns)
    for arch in values_of(rows, "arch"):
        sums = sums_of([row for row in rows if row["arch"] == arch], causes.values())
        shares = {cause: sums[column] / sum(sums.values()) for cause, column in causes.items()}
        busy = shares.pop("busy")
        cause = max(shares, key=lambda name: shares[name])
        lines.append(f"{arch}: {busy:.2%} of core-cycles busy; the most of the rest {cause}, {shares[cause]:.2%}")
    return lines


def draw(table: pd.DataFrame, path: Path) -> None:
    """Shares of core-cycles by cause, layer by layer and of the network, a panel for each architecture."""
    save(_figure, table, path)


def _figure(table: pd.DataFrame) -> Figure:
    lines = lines_of(table)
    archs = list(lines[-1].sums)
    figure, panels = chart_of(lines, len(archs))
    longest = _TITLE // panels_across(len(archs))
    causes = causes_in(table.columns)
    nothing = dict.fromkeys(causes.values(), 0)
    for axes, arch in zip(panels, archs, strict=True):
        own = [line.sums.get(arch, nothing) for line in lines]
        spent = [max(1, sum(sums[column] for column in causes.values())) for sums in own]
        foot = [0.0] * len(lines)
        for cause, column in causes.items():
            values = [100 * sums[column] / total for sums, total in zip(own, spent, strict=True)]
            look = CAUSE_LOOKS[cause]
            axes.barh(
                range(len(lines)), values, 0.78, foot, color=look.colour, hatch=look.hatch, edgecolor="white",
                linewidth=0.2, label=cause,
            )  # fmt: skip
            if cause == "busy":
                for place, value in enumerate(values):
                    axes.text(130, place, f"{value:.1f}", ha="right", va="center_baseline")
            foot = [low + value for low, value in zip(foot, values, strict=True)]
        axes.set_xlim(0, 130)
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.set_title(label_of(arch, longest))
    figure.supxlabel("share of core-cycles (%); the number beside a bar is its busy share", fontsize=FONT)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(causes))
    return figure


FIGURE = FigureKind(
    name="stalls",
    summary="what core-cycles are spent on, layer by layer, on every architecture of a run",
    text=TEXT,
    numbers=tuple(name for name in COLUMNS if name not in TEXT),
    positive=("calls", "cycles"),
    lacks=lacks,
    draw=draw,
    says=says,
)
