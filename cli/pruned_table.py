"""A pruned network on the terminal: every layer's sparsity, the totals, the accuracies, and what they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from string import ascii_lowercase
from typing import Any

from rich.table import Table

from ..bench.pruned_folder import LayerSparsity, PrunedRecord, totals_of
from .tables import plain_table, print_first, print_table, spellings
from .terminal import Terminal
from .training_progress import duration

# A layer's columns after its name and pattern, and what is left out, one after the other, where a terminal is narrow.
_COLUMNS = ("SxK", "blocks", "weights", "kept", "sparsity", "MACs kept")
_LEFT_OUT = ("weights", "kept", "MACs kept")
_MOST_CLASSES = 10


def print_pruned(record: PrunedRecord, console: Terminal) -> None:
    """Print the layers, the network's totals, the accuracies, and notes.

    Parameters
    ----------
    record : PrunedRecord
    console : Terminal
    """
    marks = _marks(record.layers)
    print_first(console, _layouts(record.layers, marks))
    for note, mark in marks.items():
        console.print_rows(f" {mark}: {note}", style="dim")
    if marks:
        console.print_rows("")
    print_table(console, _network(record.layers))
    console.print_rows(_accuracies(record.accuracy, record.made["classes"]))
    training = record.made["training"]
    console.print_rows(f"trained for {duration(record.seconds['training'])} on {training['device_used']}")
    for note in _notes(record.made):
        console.print_rows(note, style="dim")


# --- layers ---


def _layouts(layers: Sequence[LayerSparsity], marks: Mapping[str, str]) -> Iterator[list[Table]]:
    """All columns, then ever fewer; with whole names, then with short ones."""
    named = spellings(row.layer for row in layers)
    for gone in range(len(_LEFT_OUT) + 1):
        columns = [name for name in _COLUMNS if name not in _LEFT_OUT[:gone]]
        for names in named:
            yield [_layer_table(layers, names, columns, marks)]


def _layer_table(
    layers: Sequence[LayerSparsity], names: Mapping[str, str], columns: Sequence[str], marks: Mapping[str, str]
) -> Table:
    table = plain_table("Layers")
    table.add_column("layer", no_wrap=True)
    table.add_column("pattern", no_wrap=True)
    grouped = any(row.groups > 1 for row in layers)
    for name in columns:
        table.add_column("groups * SxK" if grouped and name == "SxK" else name, justify="right", no_wrap=True)
    if marks:
        table.add_column("", no_wrap=True)
    for _, run in groupby(layers, key=_all_cells):  # neighbours that differ in nothing but their names
        rows = list(run)
        cells = _cells(rows[0])
        times = f"  x{len(rows)}" if len(rows) > 1 else ""
        mark = [marks.get(rows[0].note, "")] if marks else []
        table.add_row(names[rows[0].layer] + times, _pattern(rows[0]), *(cells[name] for name in columns), *mark)
    return table


def _all_cells(row: LayerSparsity) -> tuple[object, ...]:
    return (_pattern(row), _cells(row), row.note)


def _pattern(row: LayerSparsity) -> str:
    return row.nm if row.block == "none" else f"{row.nm} B={row.block}"


def _cells(row: LayerSparsity) -> dict[str, str]:
    return {
        "SxK": f"{row.groups} * {row.s}x{row.k}" if row.groups > 1 else f"{row.s}x{row.k}",
        "blocks": f"{row.kept_blocks} of {row.block_columns}" if row.block_columns else "",
        "weights": f"{row.weights:,}",
        "kept": f"{row.kept_weights:,}",
        "sparsity": f"{row.sparsity:.2%}",
        "MACs kept": f"{row.macs_kept:,}",
    }


def _marks(layers: Sequence[LayerSparsity]) -> dict[str, str]:
    """A letter, or two, for each different note, in the order of the layers."""
    notes = dict.fromkeys(row.note for row in layers if row.note)
    letters = [*ascii_lowercase, *(first + second for first in ascii_lowercase for second in ascii_lowercase)]
    return dict(zip(notes, letters, strict=False))


# --- the network ---


def _network(layers: Sequence[LayerSparsity]) -> Table:
    totals = totals_of(layers)
    table = plain_table("Network")
    table.add_column("", no_wrap=True)
    for title in ("prunable layers", "all layers"):
        table.add_column(title, justify="right", no_wrap=True)
    sums = [totals[scope] for scope in ("prunable", "network")]
    rows = {
        "layers": [f"{len(total['layers']):,}" for total in sums],
        "weights": [f"{total['weights']:,}" for total in sums],
        "weights kept": [f"{total['kept_weights']:,}" for total in sums],
        "sparsity": [f"{total['sparsity']:.2%}" for total in sums],
        "MACs": [f"{total['macs_dense']:,}" for total in sums],
        "MACs kept": [f"{total['macs_kept']:,}" for total in sums],
        "FLOPs ratio": [f"{total['flops_ratio']:.4f}" for total in sums],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _accuracies(accuracy: Mapping[str, Any], classes: Sequence[Mapping[str, Any]]) -> str:
    said = [
        f"{100 * accuracy[split]['before']:.2f}% -> {100 * accuracy[split]['after']:.2f}% of "
        f"{accuracy[split]['images']:,} {split} images"
        for split in ("test", "validation")
    ]
    names = [str(entry["name"]) for entry in classes]
    more = f" and {len(names) - _MOST_CLASSES} more" if len(names) > _MOST_CLASSES else ""
    return f"accuracy among {', '.join(names[:_MOST_CLASSES])}{more}: {', '.join(said)}"


def _notes(made: Mapping[str, Any]) -> list[str]:
    """What the accuracies and the MACs are of."""
    start = made["checkpoint"]
    came = (
        f"the network of {start['path']}"
        if start
        else "the network as its factory makes it (no --checkpoint: untrained, unless the factory loads weights)"
    )
    notes = [f"before: {came}, its head cut to the classes"]
    if made["dtype"] != "float32":
        notes.append(f"after: of the float32 weights, before they were packed as {made['dtype']}")
    return [
        *notes,
        "MACs: of one image; a layer keeps the same share of them as of its weights; FLOPs ratio: MACs kept / MACs",
    ]
