"""What the charts of one run share: its rows folded to the lines of a chart, layers alike together, and the marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..vocabulary import causes_in
from .drawing import INK, NETWORK, WIDTH, label_of, looks_of, rows_axis
from .records import Record, records_of, sums_of, values_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST = 60  # rows of a chart; of more layers those with the most cycles are shown

ALIKE = ("s", "k", "p", "groups", "nm", "block", "mask", "weight_sparsity")
PANELS = 4  # side by side at most
_ROW, _HEAD, _GAP = 0.135, 0.85, 0.45  # inches: a row, what stands above and below all, and between panels


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
    sums = {}
    for arch in values_of(rows, "arch"):
        own = [row for row in rows if row["arch"] == arch]
        sums[arch] = sums_of(own, ("cycles", *causes_in(rows[0]).values()))
        if "speedup" in rows[0]:
            sums[arch]["base_cycles"] = sum(row["speedup"] * row["cycles"] * row["calls"] for row in own)
    return sums


def chart_of(lines: Sequence[Line], count: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of panels, `panels_across` of them side by side.

    Each has a row for each line, the network set apart by a rule; panels side by side have their names once.
    """
    from matplotlib.figure import Figure

    across = panels_across(count)
    down = -(-count // across)
    height = _HEAD + _GAP * (down - 1) + _ROW * len(lines) * down
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(down, across, sharey="row", squeeze=False)
    panels = [axes for row in grid for axes in row]
    for axes in panels[count:]:
        axes.remove()
    for row in grid:
        rows_axis(row[0], [line.label for line in lines])
    for axes in panels[:count]:
        axes.tick_params(axis="y", length=0)
        axes.axhline(len(lines) - 1.5, color=INK, linewidth=0.6)
    return figure, panels[:count]


def panels_across(count: int) -> int:
    """Panels side by side, at most `PANELS`, so that rows of panels are as even as can be.

    >>> [panels_across(count) for count in (1, 4, 5, 6, 7, 9)]
    [1, 4, 3, 3, 4, 3]
    """
    return -(-count // -(-count // PANELS))


def marks_of(archs: Sequence[str]) -> dict[str, dict[str, Any]]:
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
