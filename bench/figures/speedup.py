"""Speedups of selected layers in the manner of the paper's figure 8: `crispsim figure speedup`.

The table of docs/validation.md is made by

    python -m crispsim.bench.figures.speedup --out docs/images/figure-speedup.svg --page docs/validation.md
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..validation import page
from .drawing import BAND, NETWORK, WIDTH, save
from .figure8_panels import draw_groups, name_groups
from .figure8_table import (
    BLOCKED,
    CLAIMED_DSTC,
    CLAIMED_SPARSITY,
    CLAIMED_SPEEDUP,
    CLAIMED_STC,
    EARLY,
    NUMBERS,
    TEXT,
    claims_apply,
    collect,
    lacks,
    spans,
)
from .figure_kind import FigureKind
from .records import records_of, values_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECTION = "figure"


def draw(rows: pd.DataFrame, path: Path) -> None:
    """A panel for each pattern, a group of bars for each layer; the paper's ranges behind them where they apply."""
    save(_figure, rows, path)


def says(rows: pd.DataFrame) -> list[str]:
    """The network's speedup and the span of the layers' for each pattern, at the largest block."""
    lines = spans(rows, "speedup")
    if claims_apply(rows):
        ranges = ", ".join(f"{low}-{high}x ({nm})" for nm, (low, high) in CLAIMED_SPEEDUP.items())
        low, high = CLAIMED_DSTC
        lines.append(f"paper, layers: crisp-stc {ranges}; stc at most {CLAIMED_STC}x; dstc {low}-{high}x early")
    return lines


def markdown(table: pd.DataFrame) -> str:
    """The table of the page; stc and dstc are those beside crisp-stc with the largest blocks."""
    rows = records_of(table)
    cells = {(row["nm"], row["block"], row["layer"], row["arch"]): row for row in rows}
    blocks = sorted(values_of(rows, "block"))
    head = ["N:M", "layer", "SxKxP", f"pruned, B = {blocks[-1]}", "stc", "dstc"]
    head += [f"crisp-stc, B = {block}" for block in blocks]
    lines = []
    for nm in values_of(rows, "nm"):
        for layer in [layer for layer in values_of(rows, "layer") if layer != NETWORK]:
            own = [cells[nm, block, layer, BLOCKED] for block in blocks]
            others = [cells[nm, blocks[-1], layer, arch] for arch in ("stc", "dstc")]
            speedups = [f"{row['speedup']:.2f}" for row in (*others, *own)]
            lines.append([nm, layer, own[-1]["sizes"], f"{own[-1]['weight_sparsity']:.1%}", *speedups])
    return page.table(head, lines, left=2)


def _figure(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows, claimed = records_of(table), claims_apply(table)
    patterns, layers = values_of(rows, "nm"), values_of(rows, "layer")
    figure = Figure(figsize=(WIDTH, 0.9 + 1.75 * len(patterns)), layout="constrained")
    panels = figure.subplots(len(patterns), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, nm in zip(panels, patterns, strict=True):
        draw_groups(axes, [row for row in rows if row["nm"] == nm], "speedup")
        if claimed:
            _claims(axes, nm, layers)
        axes.set_ylabel("speedup (×)")
        axes.set_title(nm)
        axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    panels[0].set_ylim(0, max(1.18 * max(row["speedup"] for row in rows), 14.5 if claimed else 0))
    name_groups(panels[-1], rows, layers)
    asked, network = f"{100 * rows[0]['requested_sparsity']:g}% sparsity asked", rows[0]["network"]
    panels[-1].set_xlabel(f"layer of {network} and its S x K x P; {asked}; cycles of dense over own")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def _claims(axes: Axes, nm: str, layers: list[str]) -> None:
    """The paper's ranges: crisp-stc's over all layers, dstc's over the early ones, stc's limit."""
    low, high = CLAIMED_SPARSITY
    if nm in CLAIMED_SPEEDUP:
        label = f"paper, crisp-stc, {low:.0%} to {high:.0%} pruned"
        axes.fill_between(
            [-0.55, len(layers) - (1.5 if NETWORK in layers else 0.45)],
            *CLAIMED_SPEEDUP[nm],
            color=BAND,
            linewidth=0,
            zorder=0,
            label=label,
        )
    early = [index for index, layer in enumerate(layers) if layer.startswith(EARLY)]
    if early:
        axes.fill_between(
            [early[0] - 0.5, early[-1] + 0.5], *CLAIMED_DSTC, facecolor="none", edgecolor="#009E73", linestyle="--",
            linewidth=1.0, zorder=1, label="paper, dstc, early layers",
        )  # fmt: skip
    axes.axhline(CLAIMED_STC, color="#B87400", linestyle=":", linewidth=1.1, zorder=1, label="paper, stc, at most")


FIGURE = FigureKind(
    name="speedup",
    summary="speedup of layers for 1:4, 2:4, 3:4 and blocks of 16, 32, 64 on every architecture (paper, figure 8)",
    text=TEXT,
    numbers=NUMBERS,
    positive=("cycles", "speedup", "block", "macs_dense"),
    draw=draw,
    says=says,
    lacks=lacks,
)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The figure, .svg or .png.")
@click.option(
    "--page", "page_path", type=click.Path(path_type=Path, exists=True), help="Page whose table is to be replaced."
)
def main(out: Path, page_path: Path | None) -> None:
    """Draw speedups layer by layer; needs matplotlib."""
    rows = collect()
    out.parent.mkdir(parents=True, exist_ok=True)
    draw(rows, out)
    click.echo(markdown(rows))
    if page_path:
        page.fill(page_path, SECTION, markdown(rows))


if __name__ == "__main__":
    main()
