"""Energy of one run, part by part: a picture of `crispsim report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..vocabulary import ENERGY, parts_in, unit_for
from .drawing import WIDTH, label_of, save, write_beside
from .energy_parts import stack_parts
from .records import records_of, sums_of, values_of, without_gaps

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Energy of the network on each architecture, in pJ a dense MAC, part by part.

    rows : arch, calls, macs_dense and the parts, `mac_uj` to `leakage_uj` and, with a DRAM, `dram_uj`.
    """
    save(_figure, rows, path)


def _figure(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    rows = records_of(without_gaps(table))
    parts = parts_in(rows[0]).values()
    sums = {
        arch: sums_of([row for row in rows if row["arch"] == arch], ["macs_dense", *parts])
        for arch in values_of(rows, "arch")
    }
    figure = Figure(figsize=(WIDTH, 1.0 + 0.3 * len(sums)), layout="constrained")
    axes = figure.subplots()
    totals = stack_parts(axes, list(sums.values()))
    spent = [sum(own[column] for column in parts) for own in sums.values()]
    size, unit = unit_for(spent, ENERGY)
    for place, (total, whole) in enumerate(zip(totals, spent, strict=True)):
        write_beside(axes, total, place, f"{total:.3g} pJ, {whole / size:,.4g} {unit}")
    axes.set_yticks(range(len(sums)), [label_of(arch) for arch in sums])
    axes.set_ylim(len(sums) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("energy of the network (pJ per dense MAC)")
    axes.set_xlim(0, 1.25 * max(totals))
    axes.grid(axis="x")
    figure.legend(loc="outside upper center", ncols=len(parts))
    return figure
