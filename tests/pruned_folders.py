"""The folder of a small pruned network, as `crispsim prune` writes it, without any training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from crispsim.bench.pruned_folder import LayerSparsity, PrunedRecord, write_pruned
from crispsim.formats import CrispMatrix, PackedLayer, PackedModel

ODD_NAME = '<b>a "quoted" & odd</b> | `x` *y* $z$'
NOTE = "noise with drawn labels: accuracies mean nothing"


def layer(name, s, k, kept, *, nm="2:4", block="none", blocks=(0, 0), p=1, calls=1, kind="conv", note=""):
    """A row of sparsity.csv; kept : weights. blocks : kept and all of each block row."""
    return LayerSparsity(
        layer=name, kind=kind, nm=nm, block=block, s=s, k=k, groups=1, p=p, calls=calls, block_columns=blocks[1],
        kept_blocks=blocks[0], weights=s * k, kept_weights=kept, sparsity=1 - kept / (s * k),
        macs_dense=s * k * p * calls, macs_kept=kept * p * calls,
        prunable=int((nm, block) != ("dense", "none")), note=note,
    )  # fmt: skip


# Rows of 72 = 4 x 16 + 8 columns: of 2:4, 36 a row are left, 2 blocks of 16 have 16. Rows of 38 = 9 x 4 + 2: 18 + 2.
LAYERS = (
    layer("stem", 8, 9, 72, nm="dense", p=64, note="stem"),
    layer(ODD_NAME, 16, 16, 128, p=32, note="N:M only: K = 16 is at most the block, 16"),
    layer("late", 16, 72, 256, block="16", blocks=(2, 5), calls=2),
    layer("ragged", 16, 38, 320, block="16", blocks=(3, 3), p=2),
    layer("head", 3, 16, 48, nm="dense", kind="gemm", note="classifier"),
)


def epoch(number, iteration, loss):
    """A row of history.csv."""
    return {
        "epoch": number, "iteration": iteration, "stretch": iteration + 1, "loss": loss, "train_accuracy": 0.5,
        "validation_accuracy": number / 8, "learning_rate": 0.1 / number, "sparsity": iteration / 3, "seconds": 0.25,
    }  # fmt: skip


HISTORY = (epoch(1, 0, 2.5), epoch(2, 0, 1.5), epoch(3, 1, float("nan")), epoch(4, 2, 0.5))


def record(layers=LAYERS, history=HISTORY, **more):
    """What is written; more : of how it was made."""
    matrix = CrispMatrix.encode(np.tile([[1, 2, 0, 0]], (4, 2)).astype(np.int8), n=2, m=4, block=4)
    packed = PackedLayer(
        name="late", weights=matrix, dtype="int8", kind="conv", in_channels=8, in_height=1, in_width=1, p=1
    )
    made = {
        "command": "crispsim prune --data 'noise' --out out",
        "versions": {"crispsim": "0.1.0", "torch": "2.13.0"},
        "model": "my.models:net",
        "model_arguments": {"depth": 3},
        "checkpoint": {"path": "runs/universal.pt", "sha256": "ab" * 32},
        "data": {
            "asked": "noise", "name": "noise", "note": NOTE, "classes": 6, "input_shape": [1, 8, 8],
            "preprocessing": {"input": "as they are"},
            "images": {"train": 1200, "validation": 60, "test": 90},
        },
        "classes": [{"index": 4, "name": "eel"}, {"index": 1, "name": "1"}, {"index": 0, "name": "<i>ant</i>"}],
        "config": {
            "nm": [2, 4], "block": 16, "sparsity": 0.65, "steps": 2, "criterion": "eq1", "normalise": "weights",
            "schedule": "linear", "sr_ste": 0.0, "include": [], "exclude": ["a", "b"],
        },
        "training": {"epochs": len(history), "batch_size": 32, "seed": 7, "device": "auto", "device_used": "cpu"},
        "dtype": "int8",
    }  # fmt: skip
    return PrunedRecord(
        made=made | more,
        accuracy={
            "among": "the user's classes",
            "before_is": "the network as it came",
            "test": {"images": 40, "before": 0.25, "after": 0.85},
            "validation": {"images": 32, "before": 0.125, "after": 0.5},
        },
        history=history,
        layers=layers,
        masks={},
        model=PackedModel(layers=(packed,)),
        seconds={"training": 61.4, "this_process": 70.0},
        notices=[f"data noise: {NOTE}", "one thing more"],
    )


def write_folder(folder: Path, written: PrunedRecord | None = None) -> Path:
    """Write it."""
    write_pruned(folder, written or record())
    return folder


def many_layers(count):
    """A network of so many layers."""
    return tuple(replace(LAYERS[1 + place % 3], layer=f"layer{place}.with.a.long.name") for place in range(count))
