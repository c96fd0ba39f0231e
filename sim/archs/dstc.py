"""DSTC, the dual-side sparse tensor core: outer products of nonzeros under bitmaps (Wang et al., ISCA 2021).

Scaled to the same MACs (hardware.md 4; docs/microarchitecture.md, M18-M27). It is given unstructured weights of the
sparsity that the others have, unless it is pointed at theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...formats.pattern import Pattern
from ..bitmaps import Counts
from ..blocking import ALL_IN_DRAM, Blocking, Residency
from ..datapath.dual import multiply
from ..datapath.values import dense_int8
from ..errors import InputError
from ..layer import Layer
from ..machine import Machine
from ..plan import Lowered
from ..weights import Weights
from .base import Architecture, LoweredInput
from .dual_plan import blocking_of, core_rows, lower_tiles, shape_of

MODE = "dual"

# What takes gigabytes beyond: the input's bitmap, the tables of tiles, steps and nonzeros, pruned weights unpacked.
LARGEST_INPUT, LARGEST_TILES, LARGEST_STEPS = 1 << 35, 1 << 23, 1 << 26
LARGEST_COUNTS, LARGEST_WEIGHTS = 1 << 31, 1 << 31


@dataclass(frozen=True, kw_only=True, eq=False)
class DualSide:
    """A dual-side machine set up for one convolution group. No two are equal: zeros differ.

    weights : uint8, (row tiles, K): nonzeros of each row tile at each position.
    activations : LoweredInput
    """

    weights: Counts = field(repr=False)
    activations: LoweredInput = field(repr=False)

    @property
    def mode(self) -> str:
        """How the machine runs, as the `mode` column says it."""
        return MODE

    def explain(self, machine: Machine) -> str:
        """What its tiles, slices and steps are, in a line."""
        dstc, rows = machine.dual_side, core_rows(machine)
        return (
            f"{rows} x {dstc.core_columns} cores of {dstc.tile_rows} x {dstc.tile_columns} sums, slices of "
            f"{dstc.slice_positions} positions, {dstc.step_rows} x {dstc.step_columns} MACs a cycle on nonzeros only"
        )

    def lower(self, machine: Machine, rows: int, columns: int, residency: Residency = ALL_IN_DRAM) -> Lowered:
        """Lower a group of S = rows and P = columns.

        Raises
        ------
        InputError
            The machine's tiles, steps or cores do not fit each other, or its SMEM is too small.
        """
        shape = shape_of(machine, rows, columns, self.weights.shape[1])
        return lower_tiles(machine, shape, MODE, self.weights, self.activations, residency)

    def blocking(self, machine: Machine, rows: int, columns: int, residency: Residency = ALL_IN_DRAM) -> Blocking:
        """How a group of S = rows and P = columns is cut up on a machine with a DRAM level.

        Raises
        ------
        InputError
            As `lower`.
        """
        shape = shape_of(machine, rows, columns, self.weights.shape[1])
        return blocking_of(machine, shape, self.weights, self.activations, residency)


def _setup(machine: Machine, weights: Weights, activations: LoweredInput) -> DualSide:
    return DualSide(weights=weights.tile_counts(machine.dstc.tile_rows), activations=activations)


def _multiply(
    lowered: Lowered, _: DualSide, machine: Machine, weights: Weights, activations: NDArray[np.int8]
) -> NDArray[np.int32]:
    return multiply(lowered, machine, dense_int8(weights), activations)


def _check(machine: Machine, pattern: Pattern, layer: Layer) -> None:
    core_rows(machine)
    dstc = machine.dstc
    row_tiles, column_tiles = -(-layer.s // dstc.tile_rows), -(-layer.p // dstc.tile_columns)
    tiles = row_tiles * column_tiles
    sizes = [
        ("input values", layer.inputs, LARGEST_INPUT),
        ("tiles of S x P", tiles, LARGEST_TILES),
        ("steps", tiles * -(-layer.k // dstc.slice_positions), LARGEST_STEPS),
        ("K x (tiles of S + tiles of P)", layer.k * (row_tiles + column_tiles), LARGEST_COUNTS),
        ("S x K", 0 if pattern.kind == "dense" else layer.s * layer.k, LARGEST_WEIGHTS),
    ]
    for name, size, most in sizes:
        if size > most:
            raise InputError(
                f"{name} = {size}: too large for the bitmaps of this architecture, must be at most {most}; "
                f"choose others with --arch"
            )


ARCHITECTURE = Architecture(
    name="dstc",
    summary="Dual-side sparse tensor core: outer products of nonzero weights and activations only, under bitmaps.",
    setup=_setup,
    check=_check,
    datapath=_multiply,
    masks="unstructured",
    reads_activation_bitmaps=True,
    has_accumulation_buffer=True,
    selection_counts=("popcount_adders", "crossbar_bits"),
)
