"""How much of each layer was pruned, and where the MACs are: `crispsim figure sparsity`, after the paper's figure 2.

The table is sparsity.csv of a pruned network's folder, as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ...formats import PatternError
from ..pruned_folder import LayerSparsity, totals_of
from ..vocabulary import unit_for
from .drawing import INK, WIDTH, Look, label_of, save
from .figure_kind import FigureKind
from .records import records_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT = ("layer", "kind", "nm", "block")
COLUMNS = tuple(field.name for field in fields(LayerSparsity) if field.name != "note")
LOOKS = {
    "by N:M": Look("#A9CBE4"),
    "by N:M, layer without blocks": Look("#A9CBE4", "////"),
    "by blocks, beyond N:M": Look("#00406B"),
}
_DENSE, _KEPT = Look("#D4D4D4"), Look("#E69F00")
_MACS = ((1e9, "GMAC"), (1e6, "MMAC"), (1e3, "kMAC"), (1, "MAC"))
_LARGEST = 1e18  # of a number in the table: beyond it nothing was counted

# By the number of layers: the last that has all names, that has counts of blocks, and that has names aslant.
_ALL_NAMED, _ALL_COUNTED, _ASLANT = 60, 60, 14
_LONGEST_NAME = 24


def collect(layers: Sequence[LayerSparsity]) -> pd.DataFrame:
    """The table of a pruned network's layers."""
    import pandas as pd

    return pd.DataFrame([asdict(layer) for layer in layers])


def lacks(table: pd.DataFrame) -> list[str]:
    """What a table must have to be drawn, and has not."""
    problems = [f"row {row}: {lack}" for row, layer in enumerate(_layers(table), start=2) for lack in _lacks(layer)]
    if not problems and not any(layer.kept_weights < layer.weights for layer in _layers(table)):
        return ["every layer is dense: nothing was pruned"]
    return problems


def _lacks(layer: LayerSparsity) -> list[str]:
    """The first thing that cannot be of one layer."""
    for name in COLUMNS:
        if name not in TEXT and not getattr(layer, name) < _LARGEST:
            return [f"{name} {getattr(layer, name)}: must be below {_LARGEST:g}"]
    if layer.weights != layer.groups * layer.s * layer.k:
        return [f"weights {layer.weights}: must be groups x s x k"]
    try:
        left = layer.left_by_nm
    except PatternError as error:
        return [str(error)]
    if layer.kept_weights > left:
        return [f"kept_weights {layer.kept_weights}: {layer.nm} leaves {left}"]
    if layer.kept_blocks > layer.block_columns:
        return [f"kept_blocks {layer.kept_blocks}: there are {layer.block_columns} in each block row"]
    if layer.macs_kept > layer.macs_dense:
        return [f"macs_kept {layer.macs_kept}: there are {layer.macs_dense}"]
    return []


def says(table: pd.DataFrame) -> list[str]:
    """Sparsity and FLOPs ratio of prunable layers and network, and the layers that lost most and least."""
    layers = _layers(table)
    lines = []
    for scope, name in (("prunable", "prunable layers"), ("network", "all layers")):
        total = totals_of(layers)[scope]
        lines.append(
            f"{name} ({len(total['layers'])}): {total['sparsity']:.2%} of {total['weights']:,} weights removed, "
            f"{total['flops_ratio']:.2%} of {total['macs_dense']:,} MACs left"
        )
    blocked = [layer for layer in layers if layer.block_columns]
    if blocked:
        most = max(blocked, key=lambda layer: layer.sparsity)
        full = sum(layer.kept_blocks == layer.block_columns for layer in blocked)
        lines.append(
            f"most: {most.layer}, {most.sparsity:.2%}, {most.kept_blocks} of {most.block_columns} blocks of each block "
            f"row left; all blocks are left in {full} of {len(blocked)} layers that have any"
        )
    return lines


def draw(table: pd.DataFrame, path: Path) -> None:
    """Shares of weights removed, layer by layer, by N:M and by blocks; below, each layer's MACs and those left."""
    save(_figure, table, path)


def _layers(table: pd.DataFrame) -> list[LayerSparsity]:
    names = {field.name for field in fields(LayerSparsity)}
    rows = [{name: value for name, value in row.items() if name in names} for row in records_of(table)]
    return [LayerSparsity(**{"note": "", **row}) for row in rows]


def _figure(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    layers = _layers(table)
    figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _draw_sparsity(upper, layers)
    _draw_macs(lower, layers)
    for axes in (upper, lower):
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="y")
    _name_layers(lower, layers)
    return figure


def _draw_sparsity(axes: Axes, layers: Sequence[LayerSparsity]) -> None:
    """A bar for each prunable layer in two tones, a cross for each dense one, a line for the prunable ones together."""
    prunable = [place for place, layer in enumerate(layers) if layer.prunable]
    blocked = [place for place in prunable if layers[place].block_columns]
    by_nm, by_blocks = [layer.removed_by_nm for layer in layers], [layer.removed_by_blocks for layer in layers]
    nothing = [0.0] * len(layers)
    parts = (
        (blocked, by_nm, nothing),
        ([place for place in prunable if place not in blocked], by_nm, nothing),
        (blocked, by_blocks, by_nm),
    )
    for (name, look), (places, shares, foot) in zip(LOOKS.items(), parts, strict=True):
        if any(shares[place] for place in places):
            axes.bar(
                places, [100 * shares[place] for place in places], 0.78, [100 * foot[place] for place in places],
                color=look.colour, hatch=look.hatch, edgecolor="white", linewidth=0.2, label=name,
            )  # fmt: skip
    dense = [place for place, layer in enumerate(layers) if not layer.prunable]
    if dense:
        axes.plot(
            dense, [2.5] * len(dense), "x", color="#6E6E6E", markersize=3.6, markeredgewidth=1, label="dense",
        )  # fmt: skip
    total = 100 * totals_of(layers)["prunable"]["sparsity"]
    axes.axhline(total, color="#C04A00", linewidth=1, linestyle="--", label=f"prunable layers together, {total:.1f}%")
    if len(layers) <= _ALL_COUNTED:
        for place in blocked:
            layer = layers[place]
            axes.annotate(
                f"{layer.kept_blocks}/{layer.block_columns}", (place, 100 * layer.sparsity), (0, 2),
                textcoords="offset points", ha="center", va="bottom", rotation=90 if len(layers) > _ASLANT else 0,
                fontsize=5.5 if len(layers) > _ASLANT else 6.5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},  # the line passes behind it
            )  # fmt: skip
    axes.set_ylim(0, 120 if len(layers) > _ASLANT else 110)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("weights removed (%)")
    counts = "; above a bar: blocks kept of those in each block row" if blocked and len(layers) <= _ALL_COUNTED else ""
    axes.set_title(f"Sparsity of each layer{counts}")
    axes.figure.legend(loc="outside upper center", ncols=5)


def _draw_macs(axes: Axes, layers: Sequence[LayerSparsity]) -> None:
    """The MACs of each layer, and before them those left."""
    size, unit = unit_for([layer.macs_dense for layer in layers], _MACS)
    places = range(len(layers))
    for name, look, values in (
        ("dense", _DENSE, [layer.macs_dense for layer in layers]),
        ("left", _KEPT, [layer.macs_kept for layer in layers]),
    ):
        axes.bar(places, [value / size for value in values], 0.78, color=look.colour, label=name)
    total = totals_of(layers)["network"]
    whole, of_whole = unit_for([total["macs_dense"]], _MACS)
    axes.set_ylabel(f"work of a layer ({unit})")
    axes.set_title(
        f"MACs of each layer: {100 * total['flops_ratio']:.1f}% of the network's "
        f"{total['macs_dense'] / whole:,.2f} {of_whole} are left"
    )
    axes.legend(loc="upper right", ncols=2)
    axes.margins(y=0.2)


def _name_layers(axes: Axes, layers: Sequence[LayerSparsity]) -> None:
    """Names below the bars, aslant if few, upright if many; of very many each so many-th."""
    step = -(-len(layers) // _ALL_NAMED)
    places = range(0, len(layers), step)
    names = [label_of(layers[place].layer, _LONGEST_NAME) for place in places]
    aslant = len(layers) <= _ASLANT
    axes.set_xticks(
        places, names, rotation=30 if aslant else 90, ha="right" if aslant else "center",
        va="top", rotation_mode="anchor" if aslant else None, fontsize=6.5 if aslant else 6, color=INK,
    )  # fmt: skip
    axes.set_xlim(-0.7, len(layers) - 0.3)


FIGURE = FigureKind(
    name="sparsity",
    summary="how much N:M and blocks removed of each layer of a pruned network, and the MACs left",
    text=TEXT,
    numbers=tuple(name for name in COLUMNS if name not in TEXT),
    positive=("s", "k", "groups", "p", "calls", "weights", "macs_dense"),
    draw=draw,
    says=says,
    lacks=lacks,
    beside="report.json",
)
