"""What a run was asked for, in the plain values that its checkpoint keeps and that resuming compares."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from ..data import Splits
from .config import TrainingConfig
from .distributed import Ranks


def describe_run(
    data: Splits, training: TrainingConfig, ranks: Ranks, classes: Sequence[int], **more: object
) -> dict[str, Any]:
    """What decides a run's result: kept in its checkpoint, and compared on resuming.

    Parameters
    ----------
    data : Splits
        Its name, classes and sizes are kept (not its images).
    training : TrainingConfig
    ranks : Ranks
        Each number of processes has batches of its own.
    classes : sequence of int
        Indices among all classes of the data.
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
        },
        **more,
    }
