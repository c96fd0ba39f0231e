"""Everything random comes from (seed, epoch): a run that was cut off goes on as if nothing had happened."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What random numbers are for: each has a stream of its own."""

    ORDER = 0
    AUGMENTATION = 1
    LAYERS = 2  # dropout and its like, through torch's global generator


def derived_seed(seed: int, epoch: int, purpose: Purpose, rank: int = 0) -> int:
    """A seed of 64 bits that depends on all of these, and on nothing else."""
    return int(np.random.SeedSequence([seed, epoch, int(purpose), rank]).generate_state(1, np.uint64)[0])


def generator(seed: int, epoch: int, purpose: Purpose, rank: int = 0) -> torch.Generator:
    """A generator on the CPU, seeded with `derived_seed`: the same numbers whatever the device."""
    return torch.Generator().manual_seed(derived_seed(seed, epoch, purpose, rank))


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Ask torch for deterministic kernels where it has them; the settings and random states before come back after.

    Some CUDA kernels have no deterministic twin (the backward pass of adaptive pooling, say). Torch uses the other one,
    and its warnings are dropped: bit-identical results are promised on the CPU.
    """
    if device.type == "cuda":
        # cuBLAS reads it when it is first used; set later it has no effect.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    # The deterministic mode fills every empty tensor with NaN, for debugging: a cost without a use here.
    fill = torch.utils.deterministic.fill_uninitialized_memory  # pyright: ignore[reportAttributeAccessIssue]
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*deterministic.*", category=UserWarning)
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            torch.utils.deterministic.fill_uninitialized_memory = fill  # pyright: ignore[reportAttributeAccessIssue]
