"""From nonzeros of tiles to a dual-side machine's plan (docs/microarchitecture.md, M18-M27).

Nothing repeats in random masks, so that the plan has a row for every step of every core and every slice read: a few
times the size of the bitmaps themselves.
"""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np

from ..bitmaps import Counts
from ..errors import InputError
from ..machine import Machine
from ..plan import (
    EVERY_MEMBER,
    STREAM_FIELDS,
    TEAM_FIELDS,
    TILE_FIELDS,
    WAVE_HI,
    WAVE_LO,
    Ints,
    Lowered,
    Plan,
    Ports,
)
from .dual_steps import (
    ACTIVATIONS,
    COUNTS,
    MACS,
    POPCOUNT_ADDERS,
    READ_BITMAP_BYTES,
    READ_VALUES,
    WEIGHTS,
    Shape,
    count_items,
    count_steps,
    slice_sums,
    write_items,
    write_steps,
)

# A tile row that runs once, in steps of one column, on one core; its waves are filled in.
_TILE = (1, 0, 0, 1, 1, 1, 0, 0)


def core_rows(machine: Machine) -> int:
    """Rows of the grid the cores stand in (M18).

    Raises
    ------
    InputError
        They do not fill whole rows, the sums do not fit their buffer, or a step needs more MACs than a core has.
    """
    dstc, macs = machine.dual_side, machine.core.rows * machine.core.lanes
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


def shape_of(machine: Machine, rows: int, columns: int, k: int) -> Shape:
    """The sizes of a group of S = rows, P = columns and K = k, and of its machine.

    Raises
    ------
    InputError
        As `core_rows`.
    """
    dstc = machine.dual_side
    return Shape(
        rows=rows,
        columns=columns,
        k=k,
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


def lower_tiles(machine: Machine, shape: Shape, mode: str, a: Counts, b: Counts) -> Lowered:
    """Lower a group, given the nonzeros of its tiles.

    Parameters
    ----------
    machine : Machine
    shape : Shape
    mode : str
        How the machine runs.
    a : uint8, (row tiles, K)
        Nonzero weights of each row tile at each position.
    b : uint8, (column tiles, K)
        Nonzero activations of each column tile.
    """
    weights, activations = slice_sums(a, shape.positions), slice_sums(b, shape.positions)
    cores = shape.core_rows * shape.core_columns
    # Streams stand in the order of their queues, activations first (M23).
    lines = [(ACTIVATIONS, h) for h in range(shape.core_columns)] + [(WEIGHTS, i) for i in range(shape.core_rows)]
    steps = [count_steps(shape, weights, activations, core) for core in range(cores)]
    items = [count_items(shape, weights, activations, side, line) for side, line in lines]

    waves, advance = np.empty((sum(steps), 2), np.int32), np.empty((sum(steps), 2), np.int32)
    sizes, item_slices = np.empty((3, sum(items)), np.int32), np.empty(sum(items), np.int64)
    counts, taken = np.zeros(COUNTS, np.int64), 0
    teams, streams = np.zeros((cores, TEAM_FIELDS), np.int64), np.zeros((len(lines), STREAM_FIELDS), np.int64)
    tiles: list[Ints] = []
    outputs: list[Ints] = []
    tile_lo = 0
    for core, lo in enumerate(accumulate(steps[:-1], initial=0)):
        own = np.tile(np.array(_TILE, np.int64), (_tiles_of(shape, core), 1))
        sums = np.zeros(len(own), np.int64)
        ranges = own[:, WAVE_LO : WAVE_HI + 1]
        write_steps(shape, a, b, weights, activations, core, lo, ranges, sums, waves, advance, counts)
        teams[core] = core, 1, tile_lo, tile_lo + len(own)
        tile_lo += len(own)
        tiles.append(own)
        outputs.append(sums)
    for queue, lo in enumerate(accumulate(items[:-1], initial=0)):
        side, line = lines[queue]
        hi = lo + items[queue]
        taken += write_items(shape, weights, activations, side, line, sizes[:, lo:hi], item_slices[lo:hi])
        own = np.array([_TILE] if hi > lo else [], np.int64).reshape(-1, TILE_FIELDS)
        own[:, WAVE_LO : WAVE_HI + 1] = lo, hi
        streams[queue] = queue, machine.dstc.slice_slots, 0, EVERY_MEMBER, 0, tile_lo, tile_lo + len(own), 0
        tile_lo += len(own)
        tiles.append(own)
        outputs.append(np.zeros(len(own), np.int64))

    plan = Plan(
        cores=cores,
        columns=1,
        ports=Ports.of(machine),
        teams=teams,
        team_streams=np.array(
            [(shape.core_columns + core // shape.core_columns, core % shape.core_columns) for core in range(cores)],
            np.int64,
        ),
        streams=streams,
        queue_priority=np.array([side == WEIGHTS for side, _ in lines], np.int64),
        tiles=np.concatenate(tiles),
        drain_bytes=np.concatenate(outputs)[:, None] * machine.output_bytes,
        waves=waves,
        item_bytes=sizes[0][:, None],
        item_metadata_bytes=sizes[1][:, None],
        item_sharers=sizes[2][:, None],
        advance=advance,
    )
    macs = int(counts[MACS])
    return Lowered(
        plan=plan,
        mode=mode,
        column_tile=shape.tile_columns,
        weight_streams=tuple(range(shape.core_columns, len(lines))),
        activation_streams=tuple(range(shape.core_columns)),
        macs_issued=macs,
        mux_selections=0,
        mux2_selections=0,
        popcount_adders=int(counts[POPCOUNT_ADDERS]),
        crossbar_bits=2 * macs * machine.sum_bits,
        resident_bytes=_stored_bytes(weights, shape),
        rf_read_bytes=int(counts[READ_VALUES]) * shape.operand_bytes + int(counts[READ_BITMAP_BYTES]),
        rf_write_bytes=taken,
        accumulator_read_bytes=(macs + shape.rows * shape.columns) * machine.sum_bytes,
        accumulator_write_bytes=macs * machine.sum_bytes,
        item_slices=item_slices,
    )


def _tiles_of(shape: Shape, core: int) -> int:
    """Tiles a core runs: each of its row tiles with each of its column tiles (M18)."""
    i, h = divmod(core, shape.core_columns)
    row_tiles, column_tiles = -(-shape.rows // shape.tile_rows), -(-shape.columns // shape.tile_columns)
    return len(range(i, row_tiles, shape.core_rows)) * len(range(h, column_tiles, shape.core_columns))


def _stored_bytes(weights: Ints, shape: Shape) -> int:
    """The weights as they lie in the SMEM, once: nonzeros, bitmaps of slices that have some, slice maps."""
    real_rows = np.minimum(shape.tile_rows, shape.rows - shape.tile_rows * np.arange(len(weights)))
    real_positions = np.minimum(shape.positions, shape.k - shape.positions * np.arange(weights.shape[1]))
    bitmaps = -(-real_rows[:, None] * real_positions // 8) * (weights > 0)
    slice_maps = len(weights) * math.ceil(shape.slices / 8)
    return int(weights.sum()) * shape.operand_bytes + int(bitmaps.sum()) + slice_maps
