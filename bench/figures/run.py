"""Figures of one run: rows of results.csv in, pictures out. `crispsim report` embeds them.

Every function takes the rows of a run as they stand in results.csv; layers alike are folded, and weighed by how often
they are called. matplotlib is needed (`drawing.need_matplotlib`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sim import InputError
from ...sim.archs import BASELINE
from ...sim.result import CAUSE_COLUMNS
from ..run_folder import RunFolder
from .drawing import CAUSES, FONT, INK, PARTS, WIDTH, label_of, looks_of, rows_axis, save, svg_of, write_beside
from .records import Record, records_of, sums_of, values_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_roofline", "draw_run_energy", "draw_run_speedup", "draw_stalls", "roofline_table", "svg_of"]

NETWORK = "network"
LONGEST = 60  # rows of a chart; of more layers those with the most cycles are shown
PART_COLUMNS = {part: f"{part}_uj" for part in PARTS}
Roof = tuple[int, int, int]
# Columns of a machine's roofs: MACs and bytes a cycle.
ROOFS = ("peak_macs_per_cycle", "smem_read_bytes_per_cycle", "smem_write_bytes_per_cycle")

ALIKE = ("s", "k", "p", "groups", "nm", "block", "mask", "weight_sparsity")
_SUMMED = ("cycles", "energy_uj", *CAUSE_COLUMNS.values(), *PART_COLUMNS.values(), "macs_dense")
_ROW, _HEAD = 0.135, 0.85  # inches: a row, and what stands above and below them


def draw_run_speedup(rows: pd.DataFrame, path: Path) -> None:
    """Speedup over the dense machine, layer by layer and of the network, a mark for each architecture.

    rows : layer, arch, calls, cycles, speedup, and s, k, p, groups, nm, block, mask, weight_sparsity of each layer.
    """
    save(_speedups, rows, path)


def draw_run_energy(rows: pd.DataFrame, path: Path) -> None:
    """Energy of the network on each architecture, in pJ a dense MAC, part by part.

    rows : arch, calls, macs_dense and the seven parts, `mac_uj` to `leakage_uj`.
    """
    save(_energies, rows, path)


def draw_stalls(table: pd.DataFrame, path: Path) -> None:
    """Shares of core-cycles by cause, layer by layer and of the network, a panel for each architecture.

    table : layer, arch, calls, cycles, the six columns of core-cycles, and what tells layers apart as above.
    """
    save(_stalls, table, path)


def draw_roofline(table: pd.DataFrame, path: Path) -> None:
    """MACs issued a cycle over MACs a byte of SMEM traffic, a mark for each layer and architecture, below the roofs.

    table : as `roofline_table` gives it: layer, arch, cycles, macs_issued, smem_read_bytes, smem_write_bytes, and the
    machine's peak_macs_per_cycle, smem_read_bytes_per_cycle, smem_write_bytes_per_cycle.
    """
    save(_roofline, table, path)


def roofline_table(run: RunFolder) -> pd.DataFrame:
    """Rows of a run with the roofs of their machines.

    Raises
    ------
    InputError
        Its config.toml lacks a number of a machine.
    """
    roofs: dict[str, Roof] = {}
    try:
        for entry in run.config["arch"]:
            core, smem = entry["machine"]["core"], entry["machine"]["smem"]
            macs = int(core["count"]) * int(core["rows"]) * int(core["lanes"])
            roofs[entry["name"]] = macs, int(smem["read_bytes_per_cycle"]), int(smem["write_bytes_per_cycle"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run.path / 'config.toml'}: a machine without {error}") from error
    return with_roofs(run.rows, roofs)


def with_roofs(rows: pd.DataFrame, roofs: Mapping[str, Roof]) -> pd.DataFrame:
    """Rows with the three numbers of each architecture's machine: MACs and bytes a cycle, in the order of `ROOFS`."""
    columns = {name: [roofs[arch][index] for arch in rows["arch"]] for index, name in enumerate(ROOFS)}
    return rows.assign(**columns)


@dataclass(frozen=True)
class Line:
    """A line of a chart: its name, and by architecture the sums over its layers' calls."""

    label: str
    sums: dict[str, Record]


def lines_of(table: pd.DataFrame) -> list[Line]:
    """Layers alike together, in the order of the network; the whole network last.

    Of more than `LONGEST` different layers those with the most cycles are kept, the rest summed up in one line.
    """
    layers: dict[Hashable, list[Record]] = {}
    met: Counter[Hashable] = Counter()
    for row in records_of(table):  # a name that stands twice is two layers
        key = row["layer"], row["arch"]
        layers.setdefault((row["layer"], met[key]), []).append(row)
        met[key] += 1
    alike: dict[Hashable, list[list[Record]]] = {}
    for rows in layers.values():
        alike.setdefault(tuple(tuple(row[name] for name in ALIKE) for row in rows), []).append(rows)
    groups = list(alike.values())
    rest: list[list[Record]] = []
    if len(groups) > LONGEST:
        longest = sorted(groups, key=lambda group: -sum(row["cycles"] * row["calls"] for rows in group for row in rows))
        kept = {id(group) for group in longest[: LONGEST - 1]}
        rest = [rows for group in groups if id(group) not in kept for rows in group]
        groups = [group for group in groups if id(group) in kept]
    lines = [Line(_name(group), _sums(group)) for group in groups]
    if rest:
        lines.append(Line(f"{len(rest)} other layers", _sums(rest)))
    return [*lines, Line(NETWORK, _sums(list(layers.values())))]


def _name(group: list[list[Record]]) -> str:
    times = sum(int(rows[0]["calls"]) for rows in group)
    name = label_of(str(group[0][0]["layer"]))
    return f"{name}  ×{times}" if times > 1 else name


def _sums(layers: list[list[Record]]) -> dict[str, Record]:
    """Sums over calls, by architecture; `base_cycles` are the dense machine's."""
    rows = [row for layer in layers for row in layer]
    names = [name for name in _SUMMED if name in rows[0]]
    sums = {}
    for arch in values_of(rows, "arch"):
        own = [row for row in rows if row["arch"] == arch]
        sums[arch] = sums_of(own, names)
        if "speedup" in rows[0]:
            sums[arch]["base_cycles"] = sum(row["speedup"] * row["cycles"] * row["calls"] for row in own)
    return sums


def _chart(lines: Sequence[Line], columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side, a row for each line, the network set apart by a rule."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, _HEAD + _ROW * len(lines)), layout="constrained")
    panels = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    rows_axis(panels[0], [line.label for line in lines])
    for axes in panels:
        axes.tick_params(axis="y", length=0)
        axes.axhline(len(lines) - 1.5, color=INK, linewidth=0.6)
    return figure, list(panels)


def _marks(archs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How marks are drawn: hollow, the earlier the larger, so that none hides another; the last one's are full."""
    marks = {}
    for index, (arch, look) in enumerate(looks_of(archs).items()):
        last = index == len(archs) - 1
        marks[arch] = {
            "marker": look.marker,
            "linestyle": "none",
            "color": look.colour,
            "markersize": 3.6 if last else 7.0 - 2.4 * index / max(1, len(archs) - 1),
            "markerfacecolor": look.colour if last else "none",
            "markeredgewidth": 0.6 if last else 1.1,
            "zorder": 3 + index,
        }
    return marks


def _speedups(table: pd.DataFrame) -> Figure:
    lines = lines_of(table)
    figure, (axes,) = _chart(lines)
    archs = [arch for arch in lines[-1].sums if arch != BASELINE] or [BASELINE]
    for arch, mark in _marks(archs).items():
        own = [line.sums.get(arch) for line in lines]
        values = [sums["base_cycles"] / sums["cycles"] if sums else None for sums in own]
        label = f"{label_of(arch)}, network {values[-1]:.2f}×"
        axes.plot([math.nan if value is None else value for value in values], range(len(lines)), label=label, **mark)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_xlim(left=0)
    axes.grid()
    axes.set_xlabel("speedup over dense, in cycles (×)")
    figure.legend(loc="outside upper center", ncols=min(4, len(archs)))
    return figure


def _energies(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    rows = records_of(table)
    sums = {
        arch: sums_of([row for row in rows if row["arch"] == arch], ["macs_dense", *PART_COLUMNS.values()])
        for arch in values_of(rows, "arch")
    }
    figure = Figure(figsize=(WIDTH, 1.0 + 0.3 * len(sums)), layout="constrained")
    axes = figure.subplots()
    totals = stack_parts(axes, list(sums.values()))
    for place, (total, own) in enumerate(zip(totals, sums.values(), strict=True)):
        spent = sum(own[column] for column in PART_COLUMNS.values())
        write_beside(axes, total, place, f"{total:.3g} pJ, {spent:{',.0f' if spent >= 100 else '.3g'}} µJ")
    axes.set_yticks(range(len(sums)), [label_of(arch) for arch in sums])
    axes.set_ylim(len(sums) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("energy of the network (pJ per dense MAC)")
    axes.set_xlim(0, 1.25 * max(totals))
    axes.grid(axis="x")
    figure.legend(loc="outside upper center", ncols=len(PARTS))
    return figure


def stack_parts(axes: Axes, sums: Sequence[Record]) -> list[float]:
    """Stack the seven parts of energy, a bar from the top for each record (`mac_uj` ..., `macs_dense`).

    Returns the bars' lengths, in pJ a dense MAC.
    """
    foot = [0.0] * len(sums)
    for part, look in PARTS.items():
        values = [1e6 * own[PART_COLUMNS[part]] / own["macs_dense"] for own in sums]
        axes.barh(
            range(len(sums)), values, 0.68, foot, color=look.colour, hatch=look.hatch, edgecolor="white",
            linewidth=0.3, label=part,
        )  # fmt: skip
        foot = [low + value for low, value in zip(foot, values, strict=True)]
    return foot


def _stalls(table: pd.DataFrame) -> Figure:
    lines = lines_of(table)
    archs = list(lines[-1].sums)
    figure, panels = _chart(lines, len(archs))
    nothing = dict.fromkeys(CAUSE_COLUMNS.values(), 0)
    for axes, arch in zip(panels, archs, strict=True):
        own = [line.sums.get(arch, nothing) for line in lines]
        spent = [max(1, sum(sums[column] for column in CAUSE_COLUMNS.values())) for sums in own]
        foot = [0.0] * len(lines)
        for cause, column in CAUSE_COLUMNS.items():
            values = [100 * sums[column] / total for sums, total in zip(own, spent, strict=True)]
            look = CAUSES[cause]
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
        axes.set_title(label_of(arch, 24))
    figure.supxlabel("share of core-cycles (%); the number beside a bar is its busy share", fontsize=FONT)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(CAUSES))
    return figure


def _roofline(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    axes = figure.subplots()
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
    across = [x for own in points.values() for x, _ in own]
    low = 0.6 * min(*across, *(peak / (read + write) for peak, read, write in whose))
    high = 1.6 * max(*across, *(peak / read for peak, read, _ in whose))
    floor = 0.6 * min(y for own in points.values() for _, y in own)
    for (peak, read, write), names in whose.items():
        of = "" if len(whose) == 1 else f" ({', '.join(names)})"
        _draw_roof(axes, low, high, peak, read + write, "-", f"{read + write:g} B/cycle, both SMEM ports{of}")
        _draw_roof(axes, low, high, peak, read, "--", f"{read:g} B/cycle, read port{of}")
    peaks = dict.fromkeys(peak for peak, *_ in whose)
    for peak in peaks:
        names = [name for roof, own in whose.items() if roof[0] == peak for name in own]
        of = "" if len(peaks) == 1 else f" ({', '.join(names)})"
        axes.annotate(f"{peak:g} MAC/cycle{of}", (low, peak), (4, 2), textcoords="offset points")
    for arch, mark in _marks(archs).items():
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
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def intensity_of(row: Record) -> float:
    """MACs issued per byte of SMEM traffic."""
    return row["macs_issued"] / (row["smem_read_bytes"] + row["smem_write_bytes"])


def _draw_roof(axes: Axes, low: float, high: float, peak: float, slope: float, style: str, label: str) -> None:
    """A bandwidth's slope up to the peak, and the peak from there."""
    ridge = peak / slope
    axes.plot([low, ridge, high], [low * slope, peak, peak], style, color=INK, linewidth=0.9, label=label, zorder=2)
