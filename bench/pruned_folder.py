"""What `crispsim prune` leaves in its folder, written whole or not at all when the network is done.

model.safetensors the packed weights, layers.csv the layer table that `crispsim run` reads, masks.safetensors the masks
in the shapes of the weights, report.json how it was made and what came of it, sparsity.csv a row a layer (the data of
the paper's figure 2), history.csv a row an epoch. checkpoint.pt is the training's own and stands beside them from the
first epoch on. Columns and keys: docs/files.md. Needs no torch.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..formats import FormatError, PackedModel, parse_nm, write_model
from ..sim import InputError, write_layers
from .network_layers import layers_of_packed
from .whole_files import check_folder, whole_folder

CHECKPOINT = "checkpoint.pt"
FILES = ("model.safetensors", "layers.csv", "masks.safetensors", "report.json", "sparsity.csv", "history.csv")

# Columns of history.csv and what they hold.
HISTORY: dict[str, type[int] | type[float]] = {
    "epoch": int, "iteration": int, "stretch": int, "loss": float, "train_accuracy": float,
    "validation_accuracy": float, "learning_rate": float, "sparsity": float, "seconds": float,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LayerSparsity:
    """A row of sparsity.csv.

    layer, kind : name, and conv or gemm. nm, block : the layer's pattern, "dense" and "none" where it has none. s, k :
    per convolution group. p : output positions. calls : per inference. block_columns, kept_blocks : of each block row,
    0 without blocks. weights, kept_weights : real ones of all groups, and those that the masks keep. sparsity : 1 -
    kept / weights. macs_dense, macs_kept : weights and kept weights x p x calls. prunable : 1 where the pruner worked
    on it (rule R2): the denominator of the sparsity asked for; else 0. note : why it is dense or has no blocks.
    """

    layer: str
    kind: str
    nm: str
    block: str
    s: int
    k: int
    groups: int
    p: int
    calls: int
    block_columns: int
    kept_blocks: int
    weights: int
    kept_weights: int
    sparsity: float
    macs_dense: int
    macs_kept: int
    prunable: int
    note: str

    @property
    def left_by_nm(self) -> int:
        """Weights that N:M leaves where no block is pruned: min(N, r) of each group of r (rule R6)."""
        n, m = parse_nm(self.nm)
        return self.groups * self.s * (self.k // m * n + min(n, self.k % m))

    @property
    def removed_by_nm(self) -> float:
        """The share of the weights that N:M removes by itself."""
        return 1 - self.left_by_nm / self.weights

    @property
    def removed_by_blocks(self) -> float:
        """The share of the weights that pruned blocks remove beyond it."""
        return (self.left_by_nm - self.kept_weights) / self.weights


@dataclass(frozen=True, kw_only=True)
class PrunedRecord:
    """A pruned network and how it was made; everything JSON can hold.

    made : command, versions, model, data, classes, configuration, training. accuracy : by split, before and after.
    history : a record an epoch. masks : bool arrays in the shapes of the weights, under the weights'
    names in the state dict.
    """

    made: Mapping[str, Any]
    accuracy: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    layers: Sequence[LayerSparsity]
    masks: Mapping[str, np.ndarray]
    model: PackedModel
    seconds: Mapping[str, float]
    notices: Sequence[str] = ()


def check_pruned_target(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that cannot be written, or holds an earlier run that is neither to be resumed nor overwritten.

    Raises
    ------
    InputError
        It is one of these.
    """
    if not str(folder).strip() or folder == Path() or folder.resolve() == Path("/"):
        raise InputError(f"--out {folder}: give a folder of its own")
    if resume and overwrite:
        raise InputError("--resume and --overwrite: give one of them")
    check_folder(folder)
    there = [name for name in (CHECKPOINT, *FILES) if os.path.lexists(folder / name)]
    if there and not resume and not overwrite:
        raise InputError(
            f"--out {folder}: holds {there[0]} of an earlier run; --resume goes on, --overwrite begins anew"
        )


def clear_results(folder: Path) -> None:
    """Remove an earlier run's results, so that none of them stands beside a new run's checkpoint."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def totals_of(layers: Sequence[LayerSparsity]) -> dict[str, Any]:
    """Sparsity and MACs over the prunable layers and over the whole network, with what each is a share of."""
    return {
        scope: {
            "layers": [row.layer for row in rows],
            "weights": sum(row.weights for row in rows),
            "kept_weights": sum(row.kept_weights for row in rows),
            "sparsity": _share_gone([(row.weights, row.kept_weights) for row in rows]),
            "macs_dense": sum(row.macs_dense for row in rows),
            "macs_kept": sum(row.macs_kept for row in rows),
            "flops_ratio": 1 - _share_gone([(row.macs_dense, row.macs_kept) for row in rows]),
        }
        for scope, rows in (("prunable", [row for row in layers if row.prunable]), ("network", list(layers)))
    }


def report_of(record: PrunedRecord) -> dict[str, Any]:
    """The content of report.json."""
    return {
        **record.made,
        "accuracy": dict(record.accuracy),
        "totals": totals_of(record.layers),
        "totals_are": "weights of convolutions, linear and attention layers, without biases, norms, embeddings; MACs "
        "are weights x output positions of one input, with the head of the user's classes; flops_ratio is kept / dense",
        "dense_by_rule": {row.layer: row.note for row in record.layers if not row.prunable},
        "without_blocks": {row.layer: row.note for row in record.layers if row.prunable and row.block == "none"},
        "layers": [asdict(row) for row in record.layers],
        "seconds": dict(record.seconds),
        "notices": list(record.notices),
    }


def write_pruned(folder: Path, record: PrunedRecord) -> None:
    """Write a pruned network's files, all of them or none; earlier ones are replaced, other files left alone.

    Raises
    ------
    InputError
        The folder cannot be written, or the model cannot be packed.
    """
    from safetensors.numpy import save

    with whole_folder(folder, FILES) as staging:
        try:
            write_model(staging / "model.safetensors", record.model)
        except FormatError as error:
            raise InputError(f"{folder}: {error}") from error
        write_layers(staging / "layers.csv", layers_of_packed(record.model))
        masks = save({name: np.ascontiguousarray(mask) for name, mask in record.masks.items()})
        (staging / "masks.safetensors").write_bytes(masks)
        (staging / "report.json").write_text(json.dumps(report_of(record), indent=2) + "\n", encoding="utf-8")
        rows = [asdict(row) for row in record.layers]
        _write_csv(staging / "sparsity.csv", [field.name for field in fields(LayerSparsity)], rows)
        _write_csv(staging / "history.csv", list(HISTORY), record.history)


def _share_gone(pairs: Sequence[tuple[int, int]]) -> float:
    """1 - sum of what is kept / sum of what there was; 0 of nothing."""
    there, kept = (sum(numbers) for numbers in zip(*pairs, strict=True)) if pairs else (0, 0)
    return 1 - kept / there if there else 0.0


def _write_csv(path: Path, columns: Sequence[str], rows: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
