"""DSTC, the dual-side sparse tensor core: outer products of nonzeros under bitmaps (Wang et al., ISCA 2021).

Scaled to the same MACs (hardware.md 4; docs/microarchitecture.md, M18-M27). It is given unstructured weights of the
sparsity that the others have, unless it is pointed at theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...formats.pattern import Pattern
from ..bitmaps import Counts, row_tile_counts
from ..errors import InputError
from ..machine import Machine
from ..plan import Lowered
from ..weights import Weights
from .base import Architecture, LoweredInput
from .dual_plan import lower_tiles
from .dual_steps import Shape

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
        dstc = machine.dstc
        shape = Shape(
            rows=rows,
            columns=columns,
            k=self.weights.shape[1],
            core_rows=core_rows(machine),
            core_columns=dstc.core_columns,
            tile_rows=dstc.tile_rows,
            tile_columns=dstc.tile_columns,
            positions=dstc.slice_positions,
            step_rows=dstc.step_rows,
            step_columns=dstc.step_columns,
            sums_per_cycle=dstc.accumulator_values_per_cycle,
            operand_bytes=machine.operand_bytes,
        )
        return lower_tiles(machine, shape, MODE, self.weights, self.activations.tile_counts(dstc.tile_columns))


def core_rows(machine: Machine) -> int:
    """Rows of the grid the cores stand in (M18).

    Raises
    ------
    InputError
        They do not fill whole rows, the sums do not fit their buffer, or a step needs more MACs than a core has.
    """
    dstc, macs = machine.dstc, machine.core.rows * machine.core.lanes
    if machine.core.count % dstc.core_columns:
        raise InputError(
            f"dstc.core_columns: value {dstc.core_columns}: must divide the {machine.core.count} cores (core.count)"
        )
    sums = dstc.tile_rows * dstc.tile_columns * machine.sum_bytes
    if sums > dstc.accumulator_bytes:
        raise InputError(
            f"dstc.accumulator_bytes: value {dstc.accumulator_bytes}: too small for {dstc.tile_rows} x "
            f"{dstc.tile_columns} sums of {machine.sum_bits} bits, {sums} bytes"
        )
    if dstc.step_rows * dstc.step_columns > macs:
        raise InputError(
            f"dstc.step_rows: value {dstc.step_rows}: a step of {dstc.step_rows} x {dstc.step_columns} needs more "
            f"than the {macs} MACs of a core (core.rows x core.lanes)"
        )
    return machine.core.count // dstc.core_columns


def _setup(machine: Machine, weights: Weights, activations: LoweredInput) -> DualSide:
    return DualSide(weights=row_tile_counts(weights.nonzero(), machine.dstc.tile_rows), activations=activations)


def _check(machine: Machine, pattern: Pattern) -> None:
    core_rows(machine)


ARCHITECTURE = Architecture(
    name="dstc",
    summary="Dual-side sparse tensor core: outer products of nonzero weights and activations only, under bitmaps.",
    setup=_setup,
    check=_check,
    masks="unstructured",
    reads_activation_bitmaps=True,
)
