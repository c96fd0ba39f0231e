"""Speedups of selected ResNet-50 layers in the manner of the paper's figure 8, as a figure and as a table.

The paper does not name the layers of its figure; these are one of each kind a stage has. Run it as

    python -m crispsim.bench.figures.speedup --out docs/images/speedup-resnet50.svg --page docs/validation.md
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from ...sim import read_layers, shipped_layers, simulate
from ..validation.page import fill, table
from ..validation.paper_claims import BLOCKS, PATTERNS, speedup

LAYERS = (
    "layer1.0.conv3", "layer1.0.conv2", "layer2.1.conv3", "layer2.1.conv2", "layer3.1.conv1", "layer3.1.conv2",
    "layer4.1.conv1", "layer4.1.conv2",
)  # fmt: skip
SECTION = "figure"
DRAWN_BLOCK = 64
CLAIMED = {"1:4": (7, 14), "2:4": (5, 12), "3:4": (2, 8)}  # of CRISP-STC (paper, section IV-B)

# Okabe and Ito's palette: apart for every kind of colour vision, and in grey.
_BARS = {"stc": ("#E69F00", ""), "dstc": ("#56B4E9", "//"), "crisp-stc": ("#004D80", "")}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One layer on one architecture: what a bar of the figure shows."""

    nm: str
    block: int
    layer: str
    sizes: str
    arch: str
    weight_sparsity: float
    speedup: float


def collect(sparsity: float = 0.9) -> list[Bar]:
    """Speedup of each of the layers on each architecture, for every pattern and block."""
    layers = read_layers(shipped_layers()["resnet50"])
    return [
        Bar(
            nm=nm,
            block=block,
            layer=row.layer.name,
            sizes=f"{row.layer.s}x{row.layer.k}x{row.layer.p}",
            arch=row.arch,
            weight_sparsity=row.weight_sparsity,
            speedup=speedup(row),
        )
        for nm in PATTERNS
        for block in BLOCKS
        for row in simulate(layers, list(_BARS), nm=nm, block=block, sparsity=sparsity).rows
        if row.layer.name in LAYERS
    ]


def markdown(bars: list[Bar]) -> str:
    """The table of the page; stc and dstc are those beside crisp-stc with blocks of 64."""
    cells = {(bar.nm, bar.block, bar.layer, bar.arch): bar for bar in bars}
    head = ["N:M", "layer", "SxKxP", "pruned, B = 64", "stc", "dstc", *(f"crisp-stc, B = {block}" for block in BLOCKS)]
    rows = []
    for nm in PATTERNS:
        for layer in LAYERS:
            own = [cells[nm, block, layer, "crisp-stc"] for block in BLOCKS]
            others = [cells[nm, DRAWN_BLOCK, layer, arch] for arch in ("stc", "dstc")]
            speedups = [f"{bar.speedup:.2f}" for bar in (*others, *own)]
            rows.append([nm, layer, own[-1].sizes, f"{own[-1].weight_sparsity:.1%}", *speedups])
    return table(head, rows, left=2)


def draw(bars: list[Bar], path: Path) -> None:
    """Draw one panel a pattern; the same bars give the same bytes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn = {(bar.nm, bar.arch, bar.layer): bar for bar in bars if bar.block == DRAWN_BLOCK}
    with mpl.rc_context():
        mpl.rc("svg", hashsalt="crispsim")
        mpl.rc("font", size=9, family="DejaVu Sans")
        mpl.rc("hatch", linewidth=0.6)
        figure, axes = plt.subplots(len(PATTERNS), 1, figsize=(8, 8.4), sharex=True, layout="constrained")
        for axis, nm in zip(axes, PATTERNS, strict=True):
            low, high = CLAIMED[nm]
            axis.axhspan(low, high, color="#E4E4E4", zorder=0, label="paper, CRISP-STC, 80-90% pruned")
            axis.axhline(1, color="black", linewidth=0.8, zorder=3)
            for place, (arch, (colour, hatch)) in enumerate(_BARS.items()):
                heights = [drawn[nm, arch, layer].speedup for layer in LAYERS]
                places = [index + 0.28 * (place - 1) for index in range(len(LAYERS))]
                boxes = axis.bar(
                    places, heights, 0.26, color=colour, hatch=hatch, edgecolor="white", label=arch, zorder=2
                )
                axis.bar_label(boxes, fmt="%.1f", fontsize=7, padding=1)
            axis.set_ylabel("speedup over dense, x")
            axis.set_title(f"{nm}, blocks of {DRAWN_BLOCK}", loc="left", fontsize=9, fontweight="bold")
            axis.set_ylim(0, 15)
            axis.set_yticks(range(0, 15, 2))
            axis.grid(axis="y", color="#C8C8C8", linewidth=0.5, zorder=1)
            axis.spines[["top", "right"]].set_visible(False)
        names = [f"{layer}\n{drawn[PATTERNS[0], 'stc', layer].sizes}" for layer in LAYERS]
        axes[-1].set_xticks(range(len(LAYERS)), names, fontsize=7)
        axes[-1].set_xlabel("layer of ResNet-50 and its S x K x P; 90% sparsity asked")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=120)
        plt.close(figure)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The figure, .svg or .png.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page whose table is to be replaced.")
def main(out: Path, page: Path | None) -> None:
    """Draw speedups layer by layer; needs matplotlib."""
    bars = collect()
    draw(bars, out)
    click.echo(markdown(bars))
    if page:
        fill(page, SECTION, markdown(bars))


if __name__ == "__main__":
    main()
