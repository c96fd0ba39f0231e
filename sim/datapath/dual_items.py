"""Whether the items of a dual-side plan's streams are the slices that the packed operands hold (M21)."""

from __future__ import annotations

import numpy as np

from ..archs.dual_steps import ACTIVATIONS, WEIGHTS, Shape
from ..blocking import INPUTS_STREAMED
from ..plan import (
    EVERY_MEMBER,
    INPUTS,
    ITEM_COLUMN,
    MEMBER,
    PER_STEP,
    REPEAT,
    STEPS,
    STREAM_TILE_HI,
    STREAM_TILE_LO,
    WAVE_HI,
    WAVE_LO,
    Ints,
    Lowered,
    Plan,
)
from ..plan import WEIGHTS as WEIGHT_PIECES
from .cells import order_of
from .dual_store import Condensed
from .errors import DatapathError
from .pieces import check_bytes


def items_of_streams(
    lowered: Lowered, shape: Shape, weights: Condensed, activations: Condensed, cells: Ints
) -> tuple[Ints, Ints]:
    """Which items each stream brings, and where they are stored.

    Parameters
    ----------
    lowered : Lowered
    shape : Shape
    weights, activations : Condensed
    cells : int64, (tiles,)
        With a DRAM, else empty: see `cells_of`.

    Returns
    -------
    ranges : int64, (streams, 2)
        First row of the item tables, and end.
    stored : int64, (items,)
        (tile * slices + slice) in the operand of the item's stream, as in `Condensed.starts`.

    Raises
    ------
    DatapathError
        Streams or items are not of the form that dstc has; an item is a slice that is not there or comes out of order;
        its nonzeros, bitmap or slice map have another size than the plan says, or than is moved from DRAM.
    """
    plan, slices = lowered.plan, lowered.item_slices
    if slices is None:
        raise DatapathError("the plan does not say of every item which slice it is")
    ranges, stored = np.zeros((len(plan.streams), 2), np.int64), np.zeros(len(slices), np.int64)
    bands, turns = cells_of_shape(shape)
    order = np.arange(bands * turns) if not plan.memory else order_of(plan, plan.memory, cells, bands * turns)
    for side, streams, grid in (
        (WEIGHTS, lowered.weight_streams, shape.core_rows),
        (ACTIVATIONS, lowered.activation_streams, shape.core_columns),
    ):
        if len(streams) != grid:
            raise DatapathError(f"{len(streams)} streams for {grid} core {('rows', 'columns')[side]}")
        for line, stream in enumerate(streams):
            lo, hi = ranges[stream] = _range_of(plan, stream)
            operand = weights if side == WEIGHTS else activations
            try:
                stored[lo:hi] = _find(shape, operand, side, line, slices[lo:hi], order)
                _check_sizes(shape, operand, side, stored[lo:hi], slices[lo:hi], plan, lo)
            except DatapathError as error:
                raise DatapathError(f"stream {stream}: {error}") from error
    if plan.memory:
        _check_pieces(lowered, shape, slices, ranges)
    return ranges, stored


def cells_of_shape(shape: Shape) -> tuple[int, int]:
    """Bands and turns of a group (M18)."""
    bands = -(-shape.rows // (shape.tile_rows * shape.core_rows))
    return bands, -(-shape.columns // (shape.tile_columns * shape.core_columns))


def _check_pieces(lowered: Lowered, shape: Shape, slices: Ints, ranges: Ints) -> None:
    """Refuse a plan whose streams read more in a cell than is moved for it, slice maps left out (D4, D5)."""
    plan, memory = lowered.plan, lowered.plan.memory
    assert memory is not None
    for fill, streams in ((WEIGHT_PIECES, lowered.weight_streams), (INPUTS, lowered.activation_streams)):
        if fill == INPUTS and memory.blocking not in INPUTS_STREAMED:
            continue
        cells, pieces, read = [], [], []
        for lo, hi in ranges[list(streams)].tolist():
            own = slices[lo:hi] // shape.slices
            maps = (np.diff(own, prepend=-1) != 0) * -(-shape.slices // 8)
            cells.append(own)
            pieces.append(memory.item_pieces[lo:hi, fill])
            read.append(plan.item_bytes[lo:hi, 0] - maps)
        check_bytes(lowered, fill, *map(np.concatenate, (cells, pieces, read)))


def _range_of(plan: Plan, stream: int) -> tuple[int, int]:
    """First and end of a stream's items, which are one tile row's waves."""
    row = plan.streams[stream]
    tiles = plan.tiles[row[STREAM_TILE_LO] : row[STREAM_TILE_HI]]
    if len(tiles) != row[STREAM_TILE_HI] - row[STREAM_TILE_LO] or len(tiles) > 1:
        raise DatapathError(f"stream {stream}: must walk one tile row, or none")
    if row[PER_STEP] or row[MEMBER] != EVERY_MEMBER or row[ITEM_COLUMN]:
        raise DatapathError(f"stream {stream}: must bring an item a wave, to every member, of item column 0")
    if not len(tiles):
        return 0, 0
    lo, hi = int(tiles[0, WAVE_LO]), int(tiles[0, WAVE_HI])
    if tiles[0, REPEAT] != 1 or tiles[0, STEPS] != 1 or not 0 <= lo < hi <= len(plan.item_bytes):
        raise DatapathError(f"stream {stream}: must bring items that are there, once")
    return lo, hi


def _find(shape: Shape, operand: Condensed, side: int, line: int, labels: Ints, order: Ints) -> Ints:
    """Where a stream's items are stored. labels : their `Lowered.item_slices`. order : the place of every cell."""
    bands, turns = cells_of_shape(shape)
    if (labels < 0).any() or (labels >= bands * turns * shape.slices).any():
        raise DatapathError("an item is no slice of the layer")
    cell, s = np.divmod(labels, shape.slices)
    if (np.diff(order[cell] * shape.slices + s) <= 0).any():
        raise DatapathError("its items are not in the order of their slices")
    band, turn = np.divmod(cell, turns)
    tile = band * shape.core_rows + line if side == WEIGHTS else turn * shape.core_columns + line
    if (tile >= len(operand.words)).any():
        raise DatapathError("an item is of a tile that is not there")
    return tile * shape.slices + s


def _check_sizes(
    shape: Shape, operand: Condensed, side: int, stored: Ints, labels: Ints, plan: Plan, first: int
) -> None:
    """Refuse items, from row `first` of the item tables on, of other sizes than their slices have."""
    tile, s = np.divmod(stored, shape.slices)
    tile_lines = shape.tile_rows if side == WEIGHTS else shape.tile_columns
    lines = np.minimum(tile_lines, operand.lines - tile * tile_lines)
    positions = np.minimum(shape.positions, shape.k - s * shape.positions)
    first_of_turn = np.diff(labels // shape.slices, prepend=-1) != 0
    metadata = -(-lines * positions // 8) + first_of_turn * operand.slice_maps.shape[1]
    values = (operand.starts[stored + 1] - operand.starts[stored]) * shape.operand_bytes
    sizes = plan.item_bytes[first : first + len(stored), 0].astype(np.int64)
    planned = plan.item_metadata_bytes[first : first + len(stored), 0]
    for name, packed, said in (("bitmap and map", metadata, planned), ("nonzeros", values, sizes - planned)):
        wrong = np.flatnonzero(packed != said)
        if len(wrong):
            at = wrong[0]
            raise DatapathError(f"item row {first + at}: {name} of {packed[at]} bytes, the plan says {said[at]}")
