"""A pruned network on the terminal: every layer's sparsity, the totals, the accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ..bench.pruned_folder import LayerSparsity, PrunedRecord, totals_of
from .tables import plain_table, print_table, short_name
from .terminal import Terminal
from .training_progress import duration


def print_pruned(record: PrunedRecord, console: Terminal) -> None:
    """Print it."""
    layers = plain_table("Layers")
    layers.add_column("layer", no_wrap=True)
    layers.add_column("pattern", no_wrap=True)
    for title in ("S", "K", "blocks kept", "weights", "kept", "sparsity", "MACs kept"):
        layers.add_column(title, justify="right", no_wrap=True)
    layers.add_column("note", max_width=40)
    for rows in _runs(record.layers):
        layers.add_row(*_cells(rows))
    print_table(console, layers)
    totals = totals_of(record.layers)
    table = plain_table("Network")
    table.add_column("", no_wrap=True)
    for title in ("layers", "weights", "kept", "sparsity", "MACs", "MACs kept", "FLOPs ratio"):
        table.add_column(title, justify="right", no_wrap=True)
    for scope, name in (("prunable", "prunable layers"), ("network", "all layers")):
        total = totals[scope]
        table.add_row(
            name,
            f"{len(total['layers'])}",
            f"{total['weights']:,}",
            f"{total['kept_weights']:,}",
            f"{total['sparsity']:.2%}",
            f"{total['macs_dense']:,}",
            f"{total['macs_kept']:,}",
            f"{total['flops_ratio']:.4f}",
        )
    print_table(console, table)
    console.print(_accuracies(record.accuracy, record.made["classes"]))
    console.print(f"trained for {duration(record.seconds['training'])} on {record.made['training']['device_used']}")


def _runs(layers: Sequence[LayerSparsity]) -> list[list[LayerSparsity]]:
    """Neighbours that differ in nothing but their names stand in one row."""
    return [list(rows) for _, rows in groupby(layers, key=_cells_of_one)]


def _cells(rows: Sequence[LayerSparsity]) -> list[str]:
    name = short_name(rows[0].layer) + (f"  x{len(rows)}" if len(rows) > 1 else "")
    return [name, *_cells_of_one(rows[0])]


def _cells_of_one(row: LayerSparsity) -> list[str]:
    pattern = row.nm if row.block == "none" else f"{row.nm} block {row.block}"
    return [
        pattern,
        f"{row.s:,}",
        f"{row.k:,}",
        f"{row.kept_blocks} of {row.block_columns}" if row.block_columns else "",
        f"{row.weights:,}",
        f"{row.kept_weights:,}",
        f"{row.sparsity:.2%}",
        f"{row.macs_kept:,}",
        row.note,
    ]


def _accuracies(accuracy: dict[str, Any] | Any, classes: Sequence[dict[str, Any]]) -> str:
    said = [
        f"{100 * accuracy[split]['before']:.2f}% -> {100 * accuracy[split]['after']:.2f}% of "
        f"{accuracy[split]['images']:,} {split} images"
        for split in ("test", "validation")
    ]
    names = [str(entry["name"]) for entry in classes]
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"accuracy among {shown}: {', '.join(said)}"
