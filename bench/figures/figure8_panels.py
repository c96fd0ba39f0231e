"""Panels of the paper's figure 8: a group of bars for each layer, a panel for each pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...sim.archs import BASELINE
from .drawing import INK, NETWORK, Look, label_of, looks_of
from .figure8_table import BLOCKED, shown_bars
from .records import Record, values_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHADES = (Look("#A9CBE8"), Look("#4C92C9"), Look("#00406B"))


def bar_looks(rows: Sequence[Record]) -> dict[tuple[str, int], Look]:
    """A look for each bar of a group, by (architecture, block): crisp-stc's blocks are shades of one colour."""
    bars = shown_bars(rows)
    looks = looks_of(dict.fromkeys(arch for arch, _ in bars))
    shades = iter(_SHADES[-len([arch for arch, _ in bars if arch == BLOCKED]) :] * len(bars))
    return {(arch, block): next(shades) if arch == BLOCKED else looks[arch] for arch, block in bars}


def bar_name(arch: str, block: int) -> str:
    """What the legend says of a bar."""
    return f"{arch}, B = {block}" if arch == BLOCKED else label_of(arch)


def draw_groups(axes: Axes, rows: Sequence[Record], measure: str, foot: float = 0) -> list[str]:
    """Draw a ratio over dense of one pattern's rows, a group of bars for each layer, standing on a value.

    Returns the layers, from the left.
    """
    looks = {key: look for key, look in bar_looks(rows).items() if key[0] != BASELINE}
    layers = values_of(rows, "layer")
    values = {(row["arch"], row["block"], row["layer"]): float(row[measure]) for row in rows}
    thick = 0.86 / len(looks)
    for place, ((arch, block), look) in enumerate(looks.items()):
        shift = thick * (place - (len(looks) - 1) / 2)
        heights = [values[arch, block, layer] - foot for layer in layers]
        boxes = axes.bar(
            [index + shift for index in range(len(layers))], heights, 0.94 * thick, foot, color=look.colour,
            hatch=look.hatch, edgecolor="white", linewidth=0.3, label=bar_name(arch, block), zorder=2,
        )  # fmt: skip
        axes.bar_label(boxes, [f"{height + foot:.1f}" for height in heights], rotation=90, padding=2, zorder=4)
    axes.axhline(1, color=INK, linewidth=0.8, zorder=3)
    axes.set_xlim(-0.55, len(layers) - 0.45)
    if NETWORK in layers:
        axes.axvline(len(layers) - 1.5, color=INK, linewidth=0.6)
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    return layers


def name_groups(axes: Axes, rows: Sequence[Record], layers: Sequence[str]) -> None:
    """Write layers and their sizes below the groups."""
    sizes = {row["layer"]: row["sizes"] for row in rows}
    names = [f"{_in_two(layer)}\n{_in_two(sizes[layer], 'x')}" for layer in layers]
    axes.set_xticks(range(len(layers)), names)


def _in_two(text: str, sign: str = ".") -> str:
    """A long name as two lines, parted at its last sign."""
    head, _, tail = label_of(text, 24).rpartition(sign)
    return f"{head}\n{sign if sign != '.' else ''}{tail}" if head and len(text) > 9 else text
