"""From nonzeros of tiles to a dual-side machine's plan (docs/microarchitecture.md, M18-M27, D1-D8).

Nothing repeats in random masks, so that the plan has a row for every step of every core and every slice read: a few
times the size of the bitmaps themselves.
"""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np

from ..bitmaps import Counts
from ..blocking import (
    INPUTS_STREAMED,
    Blocking,
    Demand,
    InputUnits,
    Pieces,
    Residency,
    cell_table,
    choose,
    later_needs,
    memory_of,
)
from ..errors import InputError
from ..input_pixels import InputPixels
from ..machine import Machine
from ..plan import (
    CELL_FIELDS,
    EVERY_MEMBER,
    INPUT_BASE,
    INPUT_LATER,
    INPUTS,
    NO_PIECE,
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
from ..plan import WEIGHTS as WEIGHT_FILLS
from .base import LoweredInput
from .dual_steps import (
    ACTIVATIONS,
    COUNTS,
    MACS,
    POPCOUNT_ADDERS,
    READ_BITMAP_BYTES,
    READ_VALUES,
    WEIGHTS,
    Cells,
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


def blocking_of(machine: Machine, shape: Shape, a: Counts, given: LoweredInput, residency: Residency) -> Blocking:
    """How `lower_tiles` cuts a group up on a machine with a DRAM level; parameters as there.

    Raises
    ------
    InputError
        The SMEM is too small.
    """
    weights = slice_sums(a, shape.positions)
    activations = slice_sums(given.tile_counts(shape.tile_columns), shape.positions)
    return _blocking(machine, shape, weights, activations, given.pixels, given.nonzeros_before(), residency)


def lower_tiles(
    machine: Machine, shape: Shape, mode: str, a: Counts, given: LoweredInput, residency: Residency
) -> Lowered:
    """Lower a group, given the nonzeros of its tiles.

    Parameters
    ----------
    machine : Machine
    shape : Shape
    mode : str
        How the machine runs.
    a : uint8, (row tiles, K)
        Nonzero weights of each row tile at each position.
    given : LoweredInput
    residency : Residency

    Raises
    ------
    InputError
        The SMEM is too small.
    """
    b = given.tile_counts(shape.tile_columns)
    weights, activations = slice_sums(a, shape.positions), slice_sums(b, shape.positions)
    before = given.nonzeros_before() if machine.has_dram else None
    blocking, cells = None, _cells_in_a_row(shape)
    if before is not None:
        blocking = _blocking(machine, shape, weights, activations, given.pixels, before, residency)
        cells = _cells_of_blocking(shape, blocking, weights, activations)
    cores = shape.core_rows * shape.core_columns
    # Streams stand in the order of their queues, activations first (M23).
    lines = [(ACTIVATIONS, h) for h in range(shape.core_columns)] + [(WEIGHTS, i) for i in range(shape.core_rows)]
    steps = [count_steps(shape, weights, activations, core) for core in range(cores)]
    items = [count_items(shape, cells, weights, activations, side, line) for side, line in lines]

    waves, advance = np.empty((sum(steps), 2), np.int32), np.empty((sum(steps), 2), np.int32)
    sizes, item_slices = np.empty((3, sum(items)), np.int32), np.empty(sum(items), np.int64)
    step_pieces, item_pieces = (np.empty((sum(rows) if blocking else 0, 2), np.int64) for rows in (steps, items))
    counts, taken = np.zeros(COUNTS, np.int64), 0
    teams, streams = np.zeros((cores, TEAM_FIELDS), np.int64), np.zeros((len(lines), STREAM_FIELDS), np.int64)
    tiles: list[Ints] = []
    outputs: list[Ints] = []
    tile_lo = 0
    for core, lo in enumerate(accumulate(steps[:-1], initial=0)):
        own = np.tile(np.array(_TILE, np.int64), (len(_cells_of(shape, cells, core)), 1))
        sums = np.zeros(len(own), np.int64)
        ranges = own[:, WAVE_LO : WAVE_HI + 1]
        write_steps(
            shape, cells, a, b, weights, activations, core, lo, ranges, sums, waves, advance, step_pieces, counts
        )
        teams[core] = core, 1, tile_lo, tile_lo + len(own)
        tile_lo += len(own)
        tiles.append(own)
        outputs.append(sums)
    for queue, lo in enumerate(accumulate(items[:-1], initial=0)):
        side, line = lines[queue]
        hi = lo + items[queue]
        taken += write_items(
            shape, cells, weights, activations, side, line, sizes[:, lo:hi], item_slices[lo:hi], item_pieces[lo:hi]
        )
        own = np.array([_TILE] if hi > lo else [], np.int64).reshape(-1, TILE_FIELDS)
        own[:, WAVE_LO : WAVE_HI + 1] = lo, hi
        streams[queue] = queue, machine.dstc.slice_slots, 0, EVERY_MEMBER, 0, tile_lo, tile_lo + len(own), 0
        tile_lo += len(own)
        tiles.append(own)
        outputs.append(np.zeros(len(own), np.int64))

    memory = None
    if blocking is not None and before is not None:
        memory = memory_of(
            machine,
            blocking,
            residency,
            cells=_cell_rows(shape, blocking, cells, tiles, step_pieces),
            stream_fill=np.array([WEIGHT_FILLS if side == WEIGHTS else INPUTS for side, _ in lines], np.int64),
            item_pieces=item_pieces,
            step_pieces=step_pieces,
            nonzeros=int(before[-1]),
            values=max(1, given.pixels.count * given.pixels.channels),  # 0 would mean outputs as they are
        )
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
        memory=memory,
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


def _row_tiles(shape: Shape) -> int:
    return -(-shape.rows // shape.tile_rows)


def _column_tiles(shape: Shape) -> int:
    return -(-shape.columns // shape.tile_columns)


def _cells_in_a_row(shape: Shape) -> Cells:
    """All bands, each with all its turns (M18), of a group that lies in the SMEM."""
    bands, turns = -(-_row_tiles(shape) // shape.core_rows), -(-_column_tiles(shape) // shape.core_columns)
    none, no_ranks = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)
    return Cells(
        bands=np.repeat(np.arange(bands), turns),
        turns=np.tile(np.arange(turns), bands),
        input_base=none,
        weight_base=none,
        input_ranks=no_ranks,
        weight_ranks=no_ranks,
    )


def _cells_of(shape: Shape, cells: Cells, core: int) -> Ints:
    """The cells in which a core has a tile, a row tile and a column tile of its own (M18): int64, (tiles,)."""
    i, h = divmod(core, shape.core_columns)
    has_rows = cells.bands * shape.core_rows + i < _row_tiles(shape)
    return np.flatnonzero(has_rows & (cells.turns * shape.core_columns + h < _column_tiles(shape)))


def _blocking(
    machine: Machine,
    shape: Shape,
    weights: Ints,
    activations: Ints,
    pixels: InputPixels,
    before: Ints,
    residency: Residency,
) -> Blocking:
    """Cut the group up for an SMEM that does not hold all of it (D1-D6).

    Parameters
    ----------
    weights, activations : int64, (tiles, slices)
    before : int64, (pixels + 1,)
        `LoweredInput.nonzeros_before`.
    """
    band_bytes = _piece_bytes(shape, weights, shape.rows, shape.tile_rows, shape.core_rows)
    turn_bytes = _piece_bytes(shape, activations, shape.columns, shape.tile_columns, shape.core_columns)
    band_columns, turn_columns = shape.core_rows * shape.tile_rows, shape.core_columns * shape.tile_columns
    streamed = Pieces(kinds=[sizes[sizes > 0] for sizes in turn_bytes])
    band_pieces = [sizes[sizes > 0] for sizes in band_bytes]
    for band, sizes in enumerate(band_pieces):
        if len(sizes):  # the slice maps of all its row tiles (D4)
            row_tiles = min(shape.core_rows, len(weights) - band * shape.core_rows)
            sizes[0] += row_tiles * math.ceil(shape.slices / 8)
    inputs = None
    if residency.kept_input_bytes is None:
        channels, operand_bytes = pixels.channels, shape.operand_bytes
        starts = np.append(np.arange(0, shape.columns, turn_columns), shape.columns)
        inputs = InputUnits.of(
            *pixels.reaches(starts),
            lambda i, j: (before[j] - before[i]) * operand_bytes + -(-(j - i) * channels // 8),
        )
    staging = 2 * min(shape.rows, band_columns) * min(shape.columns, turn_columns) * machine.output_bytes
    return choose(
        Demand(
            capacity=machine.smem.capacity_bytes - residency.kept_bytes,
            staging=staging if residency.kept_output_bytes is None else 0,
            bands=len(band_bytes),
            turns=len(turn_bytes),
            weights=Pieces(kinds=band_pieces),
            band_kinds=np.arange(len(band_bytes)),
            inputs=inputs,
            streamed=streamed,
            cell_kinds=lambda bands, turns: turns,
            streamed_bytes=int(streamed.totals.sum()) * len(band_bytes),
            read_ahead=machine.dstc.slice_slots + 1,
            in_flight=machine.dram.bytes_per_cycle * machine.dram.latency_cycles,
            prefetch_bytes=residency.prefetch_bytes,
        )
    )


def _cells_of_blocking(shape: Shape, blocking: Blocking, weights: Ints, activations: Ints) -> Cells:
    """The cells of a blocking, and the pieces of their slices. weights, activations : int64, (tiles, slices)."""
    weight_ranks, input_ranks = _ranks(weights, shape.core_rows), _ranks(activations, shape.core_columns)
    if blocking.name not in INPUTS_STREAMED:
        input_ranks[:] = 0
    return Cells(
        bands=blocking.bands,
        turns=blocking.turns,
        input_base=blocking.input_base,
        weight_base=blocking.weight_base,
        input_ranks=input_ranks,
        weight_ranks=weight_ranks,
    )


def _piece_bytes(shape: Shape, nonzeros: Ints, lines: int, tile_lines: int, grid: int) -> Ints:
    """Bytes of each slice of each band (or turn), over its tiles that have something there; 0 where none has (D4, D5).

    int64, (bands, slices), without slice maps. nonzeros : int64, (tiles, slices). lines : rows (or columns) of the
    group. tile_lines : of a full tile. grid : tiles of a band.
    """
    own_lines = np.minimum(tile_lines, lines - tile_lines * np.arange(len(nonzeros)))
    sizes = nonzeros * shape.operand_bytes + _bitmap_bytes(shape, nonzeros, own_lines)
    return np.add.reduceat(sizes, np.arange(0, len(sizes), grid), axis=0)


def _bitmap_bytes(shape: Shape, nonzeros: Ints, lines: Ints) -> Ints:
    """Bytes of the bitmaps of each tile's slices, 0 where it has no nonzeros: int64, (tiles, slices)."""
    real_positions = np.minimum(shape.positions, shape.k - shape.positions * np.arange(shape.slices))
    return -(-lines[:, None] * real_positions // 8) * (nonzeros > 0)


def _ranks(nonzeros: Ints, grid: int) -> Ints:
    """The number of each slice's piece among those of its band (or turn), where it has one: int64, (bands, slices).

    nonzeros : int64, (tiles, slices). grid : tiles of a band.
    """
    has_piece = np.add.reduceat(nonzeros, np.arange(0, len(nonzeros), grid), axis=0) > 0
    return np.cumsum(has_piece, axis=1) - 1


def _cell_rows(shape: Shape, blocking: Blocking, cells: Cells, tiles: list[Ints], step_pieces: Ints) -> Ints:
    """The rows of `Memory.cells`: of all cores' tiles, then of the streams'. Pieces are numbered by step and item.

    tiles : the rows of `Plan.tiles` of every core, then of every stream.
    """
    rows: list[Ints] = []
    for core in range(shape.core_rows * shape.core_columns):
        own, table = tiles[core], cell_table(blocking, _cells_of(shape, cells, core))
        table[:, INPUT_BASE : INPUT_BASE + 2] = np.minimum(table[:, INPUT_BASE : INPUT_BASE + 2], 0)
        has_steps = own[:, WAVE_LO] < own[:, WAVE_HI]
        for fill in (INPUTS, WEIGHT_FILLS):
            lowest = np.full(len(own), NO_PIECE)
            lowest[has_steps] = step_pieces[own[has_steps, WAVE_LO], fill]
            table[:, INPUT_LATER + fill] = later_needs(lowest)
        rows.append(table)
    return np.concatenate([*rows, np.zeros((sum(map(len, tiles[len(rows) :])), CELL_FIELDS), np.int64)])


def _stored_bytes(weights: Ints, shape: Shape) -> int:
    """The weights as they lie in the SMEM, once: nonzeros, bitmaps of slices that have some, slice maps."""
    real_rows = np.minimum(shape.tile_rows, shape.rows - shape.tile_rows * np.arange(len(weights)))
    bitmaps = _bitmap_bytes(shape, weights, real_rows)
    slice_maps = len(weights) * math.ceil(shape.slices / 8)
    return int(weights.sum()) * shape.operand_bytes + int(bitmaps.sum()) + slice_maps
