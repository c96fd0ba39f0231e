"""Layers of a run below the roofs of their machine: `crispsim figure roofline`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from ...sim import Machine
from .drawing import FONT, INK, WIDTH, label_of, save
from .figure_kind import FigureKind
from .records import Record, records_of, values_of
from .run_rows import marks_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

NEAR = 0.9
Roof = tuple[int, int, int]
# Columns of a machine's roofs: MACs and bytes a cycle.
ROOFS = ("peak_macs_per_cycle", "smem_read_bytes_per_cycle", "smem_write_bytes_per_cycle")

# Roofs of machines that differ: no architecture has these colours.
_ROOF_COLOURS = (INK, "#B00020", "#5E3C99", "#7A5C00")
_ROOF_WIDTH = 4.0  # points, of the widest
_ROOF_LABEL = 50  # signs of a line of a label

TEXT = ("layer", "arch")
COLUMNS = (
    *TEXT, "calls", "cycles", "macs_issued", "macs_effectual", "smem_read_bytes", "smem_write_bytes", *ROOFS,
)  # fmt: skip


def roofs_of(machine: Machine) -> Roof:
    """What bounds a machine, in the order of `ROOFS`."""
    return machine.macs, machine.smem.read_bytes_per_cycle, machine.smem.write_bytes_per_cycle


def collect(rows: pd.DataFrame, machines: Mapping[str, Machine]) -> pd.DataFrame:
    """The columns of results.csv that the figure needs, and the roofs of each architecture's machine."""
    roofs = {arch: roofs_of(machine) for arch, machine in machines.items()}
    columns = {name: [roofs[arch][index] for arch in rows["arch"]] for index, name in enumerate(ROOFS)}
    return rows.assign(**columns).loc[:, [*COLUMNS]]


def lacks(table: pd.DataFrame) -> list[str]:
    """What a table must have to be drawn, and has not."""
    return [] if any(macs > 0 for macs in table["macs_issued"]) else ["no layer issues a MAC: nothing to draw"]


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


def draw(table: pd.DataFrame, path: Path) -> None:
    """MACs issued a cycle over MACs a byte of SMEM traffic, a mark for each layer and architecture, below the roofs."""
    save(_figure, table, path)


def _figure(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    rows = [row for row in records_of(table) if row["macs_issued"] > 0]
    archs = values_of(rows, "arch")
    points = {
        arch: [(intensity_of(row), row["macs_issued"] / row["cycles"]) for row in rows if row["arch"] == arch]
        for arch in archs
    }
    whose: dict[Roof, list[str]] = {}
    for arch in archs:
        for roof in dict.fromkeys(tuple(row[name] for name in ROOFS) for row in rows if row["arch"] == arch):
            whose.setdefault((roof[0], roof[1], roof[2]), []).append(label_of(arch))
    beyond = 0.3 * len(whose) if len(whose) > 1 else 0  # the roofs' own legend
    figure = Figure(figsize=(WIDTH, 4.0 + beyond), layout="constrained")
    axes = figure.subplots()
    across = [x for own in points.values() for x, _ in own]
    low = 0.6 * min(*across, *(peak / (read + write) for peak, read, write in whose))
    high = 1.6 * max(*across, *(peak / read for peak, read, _ in whose))
    floor = 0.6 * min(y for own in points.values() for _, y in own)
    drawn: list[list[Line2D]] = []
    for index, ((peak, read, write), names) in enumerate(whose.items()):
        of = "" if len(whose) == 1 else f" ({', '.join(names)})"
        style = {
            "color": _ROOF_COLOURS[index % len(_ROOF_COLOURS)],
            "linewidth": 0.9 + min(1.8, _ROOF_WIDTH / len(whose)) * (len(whose) - 1 - index),
        }  # the earlier the wider, so that of two that lie on each other both are seen
        both = _draw_roof(axes, low, high, peak, read + write, "-", f"{read + write:g} B/cycle, both SMEM ports{of}")
        one = _draw_roof(axes, low, high, peak, read, "--", f"{read:g} B/cycle, read port{of}")
        for line in (both, one):
            line.set(**style)
        drawn.append([both, one])
    peaks: dict[float, list[int]] = {}
    for index, (peak, *_) in enumerate(whose):
        peaks.setdefault(peak, []).append(index)
    for peak, owners in peaks.items():
        colour = _ROOF_COLOURS[owners[0] % len(_ROOF_COLOURS)] if len(owners) == 1 else INK
        axes.annotate(f"{peak:g} MAC/cycle", (low, peak), (4, 3), textcoords="offset points", color=colour)
    for arch, mark in marks_of(archs).items():
        label = f"{label_of(arch)}, {len(points[arch])} layers"
        axes.plot([x for x, _ in points[arch]], [y for _, y in points[arch]], label=label, **mark)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlim(low, high)
    axes.set_ylim(floor, 1.3 * max(peak for peak, *_ in whose))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid()
    axes.set_xlabel("MACs issued per byte read from or written to the SMEM (MAC/B)")
    axes.set_ylabel("MACs issued per cycle (MAC/cycle)")
    if len(whose) == 1:
        figure.legend(loc="outside upper center", ncols=3)
        return figure
    roofs = [line for own in drawn for line in own]
    marks = [line for line in axes.get_lines() if line not in roofs]
    figure.legend(handles=marks, loc="outside upper center", ncols=3)
    labels = [textwrap.fill(str(line.get_label()), _ROOF_LABEL, break_on_hyphens=False) for line in roofs]
    figure.legend(roofs, labels, loc="outside lower center", ncols=2, fontsize=FONT, handlelength=3)
    return figure


def _draw_roof(axes: Axes, low: float, high: float, peak: float, slope: float, style: str, label: str) -> Line2D:
    """A bandwidth's slope up to the peak, and the peak from there."""
    ridge = peak / slope
    (line,) = axes.plot([low, ridge, high], [low * slope, peak, peak], style, label=label, zorder=2)
    return line


def intensity_of(row: Record) -> float:
    """MACs issued per byte of SMEM traffic."""
    return row["macs_issued"] / (row["smem_read_bytes"] + row["smem_write_bytes"])


FIGURE = FigureKind(
    name="roofline",
    summary="MACs a cycle over MACs a byte of SMEM traffic, below the machine's roofs, for a run",
    text=TEXT,
    numbers=tuple(name for name in COLUMNS if name not in TEXT),
    positive=("calls", "cycles", "smem_read_bytes", *ROOFS),
    lacks=lacks,
    draw=draw,
    says=says,
)
