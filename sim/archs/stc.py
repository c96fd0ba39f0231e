"""NVIDIA's Sparse Tensor Core: 2:4 or dense, blocks never skipped, so at most 2x (paper, section II; hardware.md 4)."""

from __future__ import annotations

from ...formats.pattern import Pattern
from ..datapath.stationary import multiply
from ..layer import Layer
from ..machine import Machine
from ..weights import Weights
from .base import Architecture, LoweredInput
from .dense import all_positions
from .stationary import Stationary, column_tile_of

N, M = 2, 4


def _setup(machine: Machine, weights: Weights, activations: LoweredInput) -> Stationary:
    """2:4 if every aligned group of 4 holds at most 2 nonzeros (1:4 too), dense otherwise."""
    k = weights.shape[1]
    if weights.max_nonzeros_per_group(M) <= N:
        return all_positions(machine, k, n=N, m=M, activations=activations)
    return all_positions(machine, k, activations=activations)


def _check(machine: Machine, pattern: Pattern, _: Layer) -> None:
    for n, m in ((1, 1), (N, M)):
        column_tile_of(machine, all_positions(machine, 1, n=n, m=m))


ARCHITECTURE = Architecture(
    name="stc",
    summary="NVIDIA Sparse Tensor Core: weights of at most 2 in 4 run 2:4, all others dense; no blocks are skipped.",
    setup=_setup,
    check=_check,
    datapath=multiply,
)
