"""DSTC, the dual-side sparse tensor core: outer products of nonzeros under bitmaps (Wang et al., ISCA 2021).

Scaled to the same MACs (hardware.md 4; docs/microarchitecture.md, M18-M27). It is given unstructured weights of the
sparsity that the others have, unless it is pointed at theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...formats.pattern import Pattern
from ..bitmaps import Counts, row_tile_counts
from ..datapath.dual import multiply
from ..datapath.values import dense_int8
from ..machine import Machine
from ..plan import Lowered
from ..weights import Weights
from .base import Architecture, LoweredInput
from .dual_plan import core_rows, lower_tiles, shape_of

MODE = "dual"


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
        dstc, rows = machine.dstc, core_rows(machine)
        return (
            f"{rows} x {dstc.core_columns} cores of {dstc.tile_rows} x {dstc.tile_columns} sums, slices of "
            f"{dstc.slice_positions} positions, {dstc.step_rows} x {dstc.step_columns} MACs a cycle on nonzeros only"
        )

    def lower(self, machine: Machine, rows: int, columns: int) -> Lowered:
        """Lower a group of S = rows and P = columns.

        Raises
        ------
        InputError
            The machine's tiles, steps or cores do not fit each other.
        """
        shape = shape_of(machine, rows, columns, self.weights.shape[1])
        return lower_tiles(machine, shape, MODE, self.weights, self.activations.tile_counts(shape.tile_columns))


def _setup(machine: Machine, weights: Weights, activations: LoweredInput) -> DualSide:
    return DualSide(weights=row_tile_counts(weights.nonzero(), machine.dstc.tile_rows), activations=activations)


def _multiply(
    lowered: Lowered, _: DualSide, machine: Machine, weights: Weights, activations: NDArray[np.int8]
) -> NDArray[np.int32]:
    return multiply(lowered, machine, dense_int8(weights), activations)


def _check(machine: Machine, pattern: Pattern) -> None:
    core_rows(machine)


ARCHITECTURE = Architecture(
    name="dstc",
    summary="Dual-side sparse tensor core: outer products of nonzero weights and activations only, under bitmaps.",
    setup=_setup,
    check=_check,
    datapath=_multiply,
    masks="unstructured",
    reads_activation_bitmaps=True,
)
