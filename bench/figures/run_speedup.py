"""Speedups of one run, layer by layer: a picture of `crispsim report`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ...sim.archs import BASELINE
from .drawing import INK, label_of, save
from .run_rows import chart_of, lines_of, marks_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Speedup over the dense machine, layer by layer and of the network, a mark for each architecture.

    rows : layer, arch, calls, cycles, speedup, and s, k, p, groups, nm, block, mask, weight_sparsity of each layer.
    """
    save(_figure, rows, path)


def _figure(table: pd.DataFrame) -> Figure:
    lines = lines_of(table)
    figure, (axes,) = chart_of(lines)
    archs = [arch for arch in lines[-1].sums if arch != BASELINE] or [BASELINE]
    for arch, mark in marks_of(archs).items():
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
