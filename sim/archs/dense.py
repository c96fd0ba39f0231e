"""The dense tensor core: every weight is multiplied, zeros included."""

from __future__ import annotations

from ...formats.pattern import Pattern
from ..datapath.stationary import multiply
from ..layer import Layer
from ..machine import Machine
from ..weights import Weights
from .base import Architecture, LoweredInput
from .stationary import Stationary, column_tile_of, held_input


def all_positions(
    machine: Machine, k: int, *, n: int = 1, m: int = 1, activations: LoweredInput | None = None
) -> Stationary:
    """Run all K positions with one set of all cores, dense or N:M; the input is needed to lower it with a DRAM."""
    held = held_input(machine, activations) if activations else None
    return Stationary(n=n, m=m, kept_positions=(k,), set_cores=machine.core.count, held=held)


def _setup(machine: Machine, weights: Weights, activations: LoweredInput) -> Stationary:
    return all_positions(machine, weights.shape[1], activations=activations)


def _check(machine: Machine, pattern: Pattern, _: Layer) -> None:
    column_tile_of(machine, all_positions(machine, 1))


ARCHITECTURE = Architecture(
    name="dense",
    summary="Dense tensor core: every weight, zeros included; nothing is gated or skipped.",
    setup=_setup,
    check=_check,
    datapath=multiply,
)
