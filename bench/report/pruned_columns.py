"""The columns of a pruned network's tables as a report heads, groups and explains them (docs/files.md, section 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ..pruned_folder import LayerSparsity
from .content import Cell, Column, Form

MAIN, SHAPE, FIT, TRAINING = "main", "shape and pattern", "fit", "training"

_Entry: TypeAlias = tuple[str, str, str, Form, str, str]  # name, label, unit, form, group, meaning

# By name of sparsity.csv, but for those in brackets, which are worked out of it; columns of a group stand together.
_LAYER: tuple[_Entry, ...] = (
    ("layer", "layer", "", "text", "", "the module's name"),
    ("(pattern)", "pattern", "", "text", "", "N:M and side B of the blocks, or dense"),
    ("sparsity", "sparsity", "%", "percent", MAIN, "1 - weights kept / weights"),
    ("(by_nm)", "by N:M", "%", "percent", MAIN, "share of the weights that N:M removes by itself"),
    ("(by_blocks)", "by blocks", "%", "percent", MAIN, "share of the weights that blocks remove beyond it"),
    ("kept_blocks", "blocks kept", "", "count", MAIN, "of each block row"),
    ("block_columns", "of", "blocks", "count", MAIN, "blocks in each block row"),
    ("weights", "weights", "", "count", MAIN, "of all groups"),
    ("kept_weights", "weights kept", "", "count", MAIN, "those that the masks keep; one may happen to be 0"),
    ("macs_dense", "dense MACs", "MAC", "count", MAIN, "weights x P x calls"),
    ("macs_kept", "MACs kept", "MAC", "count", MAIN, "weights kept x P x calls"),
    ("note", "note", "", "text", MAIN, "why it is dense, has no blocks, or is down to one"),
    ("kind", "kind", "", "text", SHAPE, "conv or gemm"),
    ("nm", "N:M", "", "text", SHAPE, "N:M of its weights, or dense"),
    ("block", "block", "", "text", SHAPE, "side of its blocks, or none"),
    ("s", "S", "row", "count", SHAPE, "rows of its weight matrix, per group"),
    ("k", "K", "", "count", SHAPE, "columns of its weight matrix, per group"),
    ("p", "P", "", "count", SHAPE, "output positions of one input"),
    ("groups", "groups", "", "count", SHAPE, "convolution groups"),
    ("calls", "calls", "", "count", SHAPE, "how often the network calls it"),
)
_EPOCH: tuple[_Entry, ...] = (
    ("epoch", "epoch", "", "text", "", "from 1"),
    ("stretch", "stretch", "", "text", "", "of fine-tuning between iterations, from 1"),
    ("iteration", "iterations", "done", "count", FIT, "pruning iterations done before it"),
    ("sparsity", "sparsity", "%", "percent", FIT, "of the prunable weights, in it"),
    ("loss", "loss", "", "significant", FIT, "mean over the images as they were trained on"),
    ("train_accuracy", "training accuracy", "%", "percent", FIT, "of the images as they were trained on"),
    ("validation_accuracy", "validation accuracy", "%", "percent", FIT, "after it, among the user's classes"),
    ("learning_rate", "learning rate", "", "significant", TRAINING, "at its first batch"),
    ("seconds", "time", "s", "significant", TRAINING, "training and validation"),
)


def _columns(entries: Sequence[_Entry]) -> list[Column]:
    return [
        Column(label=label, unit=unit, form=form, group=group, meaning=f"{name}: {meaning}")
        for name, label, unit, form, group, meaning in entries
    ]


def _pattern(layer: LayerSparsity) -> str:
    """N:M and side of the blocks, on one line: "dense", "2:4", "2:4, B = 16", "B = 16"."""
    if layer.block == "none":
        return layer.nm
    return ("" if layer.nm == "dense" else f"{layer.nm},\u00a0") + f"B\u00a0=\u00a0{layer.block}"


def layer_rows(layers: Sequence[LayerSparsity]) -> tuple[list[Column], list[list[Cell]]]:
    """Columns and rows of the table of layers: every column of sparsity.csv, and what N:M and blocks removed."""
    rows: list[list[Cell]] = []
    for layer in layers:
        values: dict[str, Cell] = {
            "(pattern)": _pattern(layer),
            "(by_nm)": layer.removed_by_nm if layer.nm != "dense" else None,
            "(by_blocks)": layer.removed_by_blocks if layer.block_columns else None,
        }
        if not layer.block_columns:
            values |= {"kept_blocks": None, "block_columns": None}
        rows.append([values[name] if name in values else getattr(layer, name) for name, *_ in _LAYER])
    return _columns(_LAYER), rows


def epoch_rows(history: Sequence[Mapping[str, Any]]) -> tuple[list[Column], list[list[Cell]]]:
    """Columns and rows of the table of epochs."""
    return _columns(_EPOCH), [[epoch[name] for name, *_ in _EPOCH] for epoch in history]
