"""CRISP-STC: kept blocks only, N:M inside them (paper, section III-E and figure 6; hardware.md 3 and 4)."""

from __future__ import annotations

import math

from ...formats.pattern import Pattern
from ..datapath.stationary import multiply
from ..errors import InputError
from ..layer import Layer
from ..machine import Machine
from ..weights import Weights
from .base import Architecture, LoweredInput
from .dense import all_positions
from .stationary import Stationary, column_tile_of, held_input


def _setup(machine: Machine, weights: Weights, activations: LoweredInput) -> Stationary:
    pattern, k = weights.pattern, weights.shape[1]
    if pattern.block is None:
        return all_positions(machine, k, n=pattern.n, m=pattern.m, activations=activations)
    block_cols = weights.block_cols
    last = -(-k // pattern.block) - 1
    padded = (last + 1) * pattern.block - k
    whole = block_cols.shape[1] * pattern.block
    return Stationary(
        n=pattern.n,
        m=pattern.m,
        block=pattern.block,
        kept_positions=tuple(whole - padded * int(row[-1] == last) for row in block_cols),
        kept_blocks=block_cols.shape[1],
        set_cores=sharing_set_cores(machine, pattern),
        held=held_input(machine, activations, weights.kept_channels),
    )


def sharing_set_cores(machine: Machine, pattern: Pattern) -> int:
    """Cores that share a block row, and with it the activations (M5).

    Raises
    ------
    InputError
        The block does not fit the rows of a core or of all cores.
    """
    block, rows, band = pattern.block, machine.core.rows, machine.band_rows
    if block is None:
        return machine.core.count
    unit = math.lcm(rows, pattern.m)
    if block % unit:
        raise InputError(
            f"block {block}: crisp-stc needs a multiple of {unit}, the common multiple of its {rows} rows a core and "
            f"M = {pattern.m}"
        )
    if block % band and band % block:
        raise InputError(f"block {block}: crisp-stc needs a divisor or a multiple of the {band} rows of its cores")
    return min(block, band) // rows


def _check(machine: Machine, pattern: Pattern, _: Layer) -> None:
    cores = sharing_set_cores(machine, pattern)
    how = Stationary(n=pattern.n, m=pattern.m, block=pattern.block, kept_positions=(1,), set_cores=cores)
    column_tile_of(machine, how)
    column_tile_of(machine, all_positions(machine, 1))


ARCHITECTURE = Architecture(
    name="crisp-stc",
    summary="CRISP-STC: the kept blocks of each block row only, any N:M with N up to the lanes inside them.",
    setup=_setup,
    check=_check,
    datapath=multiply,
)
