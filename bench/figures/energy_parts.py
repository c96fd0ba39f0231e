"""Bars of energy, stacked part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..vocabulary import PARTS, parts_in
from .drawing import PART_LOOKS
from .records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def stack_parts(axes: Axes, sums: Sequence[Record]) -> list[float]:
    """Stack the parts of energy that are there, a bar from the top for each record (`mac_uj` ..., `macs_dense`).

    Returns the bars' lengths, in pJ a dense MAC.
    """
    foot = [0.0] * len(sums)
    for part, column in parts_in(sums[0]).items():
        look = PART_LOOKS[part]
        values = [1e6 * own[column] / own["macs_dense"] for own in sums]
        axes.barh(
            range(len(sums)), values, 0.68, foot, color=look.colour, hatch=look.hatch, edgecolor="white",
            linewidth=0.3, label=PARTS[part][0],
        )  # fmt: skip
        foot = [low + value for low, value in zip(foot, values, strict=True)]
    return foot
