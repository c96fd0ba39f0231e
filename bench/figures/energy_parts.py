"""Bars of energy, stacked part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..vocabulary import PART_COLUMNS, PARTS
from .drawing import PART_LOOKS
from .records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def stack_parts(axes: Axes, sums: Sequence[Record]) -> list[float]:
    """Stack the seven parts of energy, a bar from the top for each record (`mac_uj` ..., `macs_dense`).

    Returns the bars' lengths, in pJ a dense MAC.
    """
    foot = [0.0] * len(sums)
    for part, (name, _) in PARTS.items():
        look = PART_LOOKS[part]
        values = [1e6 * own[PART_COLUMNS[part]] / own["macs_dense"] for own in sums]
        axes.barh(
            range(len(sums)), values, 0.68, foot, color=look.colour, hatch=look.hatch, edgecolor="white",
            linewidth=0.3, label=name,
        )  # fmt: skip
        foot = [low + value for low, value in zip(foot, values, strict=True)]
    return foot
