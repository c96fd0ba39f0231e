"""Energy of selected layers in the manner of the paper's figure 8, and where it goes: `crispsim figure energy`.

The table is that of `crispsim figure speedup` (module `figure8_table`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..vocabulary import parts_in
from .drawing import BAND, NETWORK, WIDTH, save, write_beside
from .energy_parts import stack_parts
from .figure8_panels import bar_name, draw_groups, name_groups
from .figure8_table import (
    CLAIMED_ENERGY,
    CLAIMED_STC,
    ENERGIES,
    NUMBERS,
    TEXT,
    claims_apply,
    collect,
    lacks,
    shown_bars,
    spans,
)
from .figure_kind import FigureKind
from .records import Record, records_of, sums_of, values_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURE", "collect", "draw", "says"]


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Energy gains, a panel for each pattern, and below what the network's energy is spent on."""
    save(_figure, rows, path)


def says(rows: pd.DataFrame) -> list[str]:
    """The network's gain and the span of the layers' for each pattern, at the largest block."""
    lines = spans(rows, "energy_gain")
    if claims_apply(rows):
        lines.append(f"paper, layers: crisp-stc up to {CLAIMED_ENERGY}x, stc up to {CLAIMED_STC}x")
    return lines


def _figure(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator

    rows, claimed = records_of(table), claims_apply(table)
    patterns, layers = values_of(rows, "nm"), values_of(rows, "layer")
    heights = [0.6 + 1.75 * len(patterns), 2.3]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    above, below = (figure.add_subfigure(spec) for spec in figure.add_gridspec(2, 1, height_ratios=heights))
    panels = above.subplots(len(patterns), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, nm in zip(panels, patterns, strict=True):
        draw_groups(axes, [row for row in rows if row["nm"] == nm], "energy_gain", foot=1)
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_locator(LogLocator(base=2, numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if claimed:
            ends = [-0.55, len(layers) - (1.5 if NETWORK in layers else 0.45)]
            label = f"paper, crisp-stc, up to {CLAIMED_ENERGY}×"
            axes.fill_between(ends, 1, CLAIMED_ENERGY, color=BAND, linewidth=0, zorder=0, label=label)
            axes.fill_between(
                ends, 1, CLAIMED_STC, facecolor="none", edgecolor="#B87400", linestyle=":", linewidth=1.1, zorder=1,
                label=f"paper, stc, up to {CLAIMED_STC}×",
            )  # fmt: skip
        axes.set_ylabel("energy gain (×, log)")
        axes.set_title(nm)
    gains = [row["energy_gain"] for row in rows]
    panels[0].set_ylim(0.36 * min(1, *gains), max(1.8 * max(gains), 1.4 * CLAIMED_ENERGY if claimed else 0))
    name_groups(panels[-1], rows, layers)
    asked, network = f"{100 * rows[0]['requested_sparsity']:g}% sparsity asked", rows[0]["network"]
    panels[-1].set_xlabel(f"layer of {network} and its S x K x P; {asked}; energy of dense over own")
    handles, labels = panels[0].get_legend_handles_labels()
    above.legend(handles, labels, loc="outside upper center", ncols=4)
    lower = below.subplots(1, len(patterns), sharey=True, sharex=True, squeeze=False)[0]
    _breakdown(list(lower), rows, patterns)
    handles, labels = lower[0].get_legend_handles_labels()
    below.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _breakdown(panels: list[Axes], rows: list[Record], patterns: list[str]) -> None:
    """What the network's energy is spent on, on each architecture; that of all layers shown if it is not there."""
    whole = [row for row in rows if row["layer"] == NETWORK]
    bars = shown_bars(rows)
    longest = 0.0
    for axes, nm in zip(panels, patterns, strict=True):
        sums = []
        for bar in bars:
            own = [
                row | {"calls": 1} for row in whole or rows if (row["arch"], row["block"]) == bar and row["nm"] == nm
            ]
            sums.append(sums_of(own, ["macs_dense", *parts_in(rows[0]).values()]))
        totals = stack_parts(axes, sums)
        for place, total in enumerate(totals):
            write_beside(axes, total, place, f"{total:.2f}")
        longest = max(longest, *totals)
        axes.set_title(nm)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"pJ per dense MAC, {'network' if whole else 'layers above'}")
    panels[0].set_xlim(0, 1.2 * longest)
    panels[0].set_yticks(range(len(bars)), [bar_name(arch, block) for arch, block in bars])
    panels[0].set_ylim(len(bars) - 0.4, -0.6)


FIGURE = FigureKind(
    name="energy",
    summary="energy of the same layers over dense, and what it is spent on (paper, figure 8)",
    text=TEXT,
    numbers=(*NUMBERS, *ENERGIES, "energy_gain"),
    positive=("cycles", "block", "macs_dense", "energy_uj", "energy_gain"),
    draw=draw,
    says=says,
    lacks=lacks,
)
