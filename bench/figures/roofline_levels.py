"""Layers below the roofs of every level, DRAM, SMEM and MACs, in the form Timeloop's users know.

`crispsim figure roofline-levels` has a panel for each architecture. Each layer stands in it twice, at the same height:
at its MACs per byte that crosses the DRAM's channel, and per byte that the SMEM's read port serves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from ...sim import Machine
from .drawing import INK, PART_LOOKS, WIDTH, label_of, save
from .figure_kind import FigureKind
from .records import Record, records_of, values_of, without_gaps

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 2  # side by side
PEAK = "peak_macs_per_cycle"
NO_DRAM = "no machine has a DRAM: run with one, such as --machine edge-lpddr4; `roofline` draws the SMEM alone"
_HEIGHT = 2.6  # inches of a row of panels
_HEADROOM = 1.6  # above the peak, for its label

TEXT = ("layer", "arch")


@dataclass(frozen=True)
class Level:
    """A level of memory: its name, the columns of its bytes and of its bandwidth (0: it is not there), its look."""

    name: str
    bytes: tuple[str, ...]
    bandwidth: str
    colour: str
    marker: str

    def intensity(self, row: Record) -> float:
        """MACs issued per byte of this level; 0 for a layer that moves nothing there."""
        moved = sum(row[column] for column in self.bytes)
        return row["macs_issued"] / moved if moved else 0.0

    def rate(self, row: Record) -> float:
        """MACs a cycle that this level allows the layer; 0 if it has no say."""
        return row[self.bandwidth] * self.intensity(row)


DRAM = Level(
    "DRAM", ("dram_read_bytes", "dram_write_bytes"), "dram_bytes_per_cycle", PART_LOOKS["dram"].colour, "o"
)  # fmt: skip
SMEM = Level("SMEM read port", ("smem_read_bytes",), "smem_read_bytes_per_cycle", "#B87400", "^")
LEVELS = (DRAM, SMEM)

COLUMNS = (
    *TEXT, "calls", "cycles", "macs_issued", *DRAM.bytes, *SMEM.bytes, PEAK, DRAM.bandwidth, SMEM.bandwidth,
)  # fmt: skip


def collect(rows: pd.DataFrame, machines: Mapping[str, Machine]) -> pd.DataFrame:
    """The columns of results.csv that the figure needs, and the roofs of each architecture's machine.

    Weights that came in the end of the layer before (`--fuse`) are left out: they passed the DRAM's roof there.
    """
    roofs = {
        arch: (machine.macs, machine.dram.bytes_per_cycle, machine.smem.read_bytes_per_cycle)
        for arch, machine in machines.items()
    }
    names = (PEAK, DRAM.bandwidth, SMEM.bandwidth)
    columns = {name: [roofs[arch][index] for arch in rows["arch"]] for index, name in enumerate(names)}
    absent = {name: 0 for name in DRAM.bytes if name not in rows}
    moved = without_gaps(rows)
    if "prefetched_bytes" in moved:
        moved = moved.assign(dram_read_bytes=moved["dram_read_bytes"] - moved["prefetched_bytes"].fillna(0))
    return moved.assign(**columns, **absent).loc[:, [*COLUMNS]].astype(dict.fromkeys(DRAM.bytes, int))


def lacks(table: pd.DataFrame) -> list[str]:
    """What a table must have to be drawn, and has not."""
    if not any(bandwidth > 0 for bandwidth in table[DRAM.bandwidth]):
        return [NO_DRAM]
    return [] if any(macs > 0 for macs in table["macs_issued"]) else ["no layer issues a MAC: nothing to draw"]


def says(table: pd.DataFrame) -> list[str]:
    """Over how many layers each level's roof is the lowest, and MACs a byte in the median, on each architecture."""
    rows, lines = [row for row in records_of(table) if row["macs_issued"] > 0], []
    for arch in values_of(rows, "arch"):
        own = [row for row in rows if row["arch"] == arch]
        lowest, intensities = [], []
        for level in LEVELS:
            known = [level.intensity(row) for row in own if level.rate(row)]
            if known:
                lowest.append(f"{level.name} {sum(lowest_roof(row) == level.name for row in own)}")
                intensities.append(f"{median(known):.2f} MACs a byte of {level.name}")
        lines.append(
            f"{arch}: the lowest roof of {len(own)} layers: {', '.join(lowest)}, MACs "
            f"{sum(lowest_roof(row) == 'MACs' for row in own)}; {', '.join(intensities)} in the median"
        )
    return lines


def lowest_roof(row: Record) -> str:
    """What allows a layer the fewest MACs a cycle: a level, or the MACs."""
    rates = {level.name: level.rate(row) for level in LEVELS if level.rate(row)}
    return min(rates | {"MACs": row[PEAK]}, key=lambda name: (rates | {"MACs": row[PEAK]})[name])


def draw(table: pd.DataFrame, path: Path) -> None:
    """MACs issued a cycle over MACs a byte, a panel for each architecture, each layer once for each level."""
    save(_figure, table, path)


def _figure(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    rows = [row for row in records_of(table) if row["macs_issued"] > 0]
    archs = values_of(rows, "arch")
    across = min(PANELS, len(archs))
    down = -(-len(archs) // across)
    figure = Figure(figsize=(WIDTH, 0.6 + _HEIGHT * down), layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    panels = [axes for line in grid for axes in line]
    across_all = [level.intensity(row) for row in rows for level in LEVELS if level.rate(row)]
    ridges = [row[PEAK] / row[level.bandwidth] for row in rows for level in LEVELS if row[level.bandwidth]]
    low, high = 0.7 * min(*across_all, *ridges), 1.5 * max(*across_all, *ridges)
    floor = 0.7 * min(row["macs_issued"] / row["cycles"] for row in rows)
    top = _HEADROOM * max(row[PEAK] for row in rows)
    for axes, arch in zip(panels, archs, strict=False):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xlim(low, high)
        axes.set_ylim(floor, top)
        _panel(axes, [row for row in rows if row["arch"] == arch])
        axes.set_title(label_of(arch))
    for axes in panels[len(archs) :]:
        axes.remove()
    _label(panels[: len(archs)], across)
    handles = {}
    for axes in panels[: len(archs)]:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=2)
    return figure


def _panel(axes: Axes, rows: Sequence[Record]) -> None:
    """One architecture: its roofs with their numbers, and its layers."""
    (low, high), (floor, _) = axes.get_xlim(), axes.get_ylim()
    peak = max(row[PEAK] for row in rows)
    axes.plot([low, high], [peak, peak], color=INK, linewidth=1.0, zorder=2)
    axes.annotate(f"{peak:g} MAC/cycle", (high, peak), (-3, 3), textcoords="offset points", ha="right", color=INK)
    for level in LEVELS:
        bandwidth = max(row[level.bandwidth] for row in rows)
        points = [(level.intensity(row), row["macs_issued"] / row["cycles"]) for row in rows if level.rate(row)]
        if not bandwidth:
            continue
        ridge = peak / bandwidth
        start = max(low, floor / bandwidth)
        axes.plot([start, ridge], [bandwidth * start, peak], color=level.colour, linewidth=1.2, zorder=2)
        _write_along(axes, bandwidth, (start, ridge), f"{level.name.split()[0]} {bandwidth:g} B/cycle", level.colour)
        axes.plot(
            [x for x, _ in points], [y for _, y in points], marker=level.marker, linestyle="none", markersize=3.6,
            markerfacecolor="none", markeredgecolor=level.colour, markeredgewidth=0.9, zorder=3,
            label=f"layer at its MACs per byte of the {level.name}",
        )  # fmt: skip
    axes.grid()


def _write_along(axes: Axes, bandwidth: float, ends: tuple[float, float], text: str, colour: str) -> None:
    """Write a roof's name along its slope, above its lower end."""
    x = ends[0] * (ends[1] / ends[0]) ** 0.1
    y = 1.12 * bandwidth * x
    axes.text(
        x, y, text, color=colour, rotation=math.degrees(math.atan2(y, x)), rotation_mode="anchor",
        transform_rotates_text=True,
    )  # fmt: skip


def _label(panels: Sequence[Axes], across: int) -> None:
    from matplotlib.ticker import FuncFormatter

    for place, axes in enumerate(panels):
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if place % across == 0:
            axes.set_ylabel("MACs issued per cycle (MAC/cycle)")
        if place + across >= len(panels):
            axes.set_xlabel("MACs issued per byte moved (MAC/B)")
            axes.tick_params(axis="x", labelbottom=True)


FIGURE = FigureKind(
    name="roofline-levels",
    summary="MACs a cycle over MACs a byte of DRAM and of SMEM traffic, below every level's roof, for a run",
    text=TEXT,
    numbers=tuple(name for name in COLUMNS if name not in TEXT),
    positive=("calls", "cycles", "smem_read_bytes", PEAK, SMEM.bandwidth),
    lacks=lacks,
    draw=draw,
    says=says,
)
