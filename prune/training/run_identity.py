"""What tells one run from another: what it was asked for, in plain values that its checkpoint keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from ..data import Splits
from ..processes import Ranks
from .config import TrainingConfig


def describe_run(
    data: Splits,
    training: TrainingConfig,
    ranks: Ranks,
    classes: Sequence[int],
    device: torch.device,
    **more: object,
) -> dict[str, Any]:
    """What decides a run's result: kept in its checkpoint, and compared on resuming.

    Parameters
    ----------
    data : Splits
        Its name, classes, sizes, note and origin are kept (not its images).
    training : TrainingConfig
    ranks : Ranks
        Each number of processes has batches of its own.
    classes : sequence of int
        Indices among all classes of the data.
    device : torch.device
        On the CPU the number of torch's threads is kept: sums are cut up by it.
    **more
        Further plain values.
    """
    names = hashlib.sha256("\n".join(data.class_names).encode()).hexdigest()[:16]
    return {
        "training": training.to_dict(),
        "classes": [int(index) for index in classes],
        "processes": ranks.world,
        "data": {
            "name": data.name,
            "class_names": names,
            "input_shape": list(data.input_shape),
            "sizes": [len(data.train), len(data.validation), len(data.test)],
            "note": data.note,
            "origin": data.origin,
        },
        **({"threads": torch.get_num_threads()} if device.type == "cpu" else {}),
        **more,
    }
