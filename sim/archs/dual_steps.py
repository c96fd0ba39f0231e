"""The steps of a dual-side machine's cores and the items of its streams, counted and written (M18-M22, D7, D8).

Sides: 0 are the weights (rows, core rows), 1 the activations (columns, core columns). Of each side the kernels get, for
every tile, its nonzeros at each position (uint8) and in each slice (int64, `slices`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...formats.jit import kernel
from ..plan import INPUTS, NO_PIECE, Ints
from ..plan import WEIGHTS as WEIGHT_FILLS

WEIGHTS, ACTIVATIONS = range(2)

# What `write_steps` counts: products, operand values and bitmap bytes read by the cores, full adders of popcounts.
MACS, READ_VALUES, READ_BITMAP_BYTES, POPCOUNT_ADDERS = range(4)
COUNTS = 4


class Shape(NamedTuple):
    """Sizes of a group and of its machine, as kernels take them.

    The group: S, P and K. The machine: cores along rows and columns, a tile's sides, positions of a slice, a step's
    sides, sums a cycle, bytes of an operand.
    """

    rows: int
    columns: int
    k: int
    core_rows: int
    core_columns: int
    tile_rows: int
    tile_columns: int
    positions: int
    step_rows: int
    step_columns: int
    sums_per_cycle: int
    operand_bytes: int

    @property
    def slices(self) -> int:
        """Slices of K."""
        return -(-self.k // self.positions)


class Cells(NamedTuple):
    """The bands and turns of a group in their order, and the pieces that they need from DRAM.

    bands, turns : int64, (cells,)
    input_base, weight_base : int64, (cells,), or empty without a DRAM
        Number of the cell's first piece of either stream; -1 for none.
    input_ranks, weight_ranks : int64, (turns, slices) and (bands, slices)
        What each slice adds to it.
    """

    bands: Ints
    turns: Ints
    input_base: Ints
    weight_base: Ints
    input_ranks: Ints
    weight_ranks: Ints


@kernel
def ceil_div(a, b):
    """a / b, rounded up."""
    return -(-a // b)


@kernel
def slice_sums(nonzeros, positions):
    """Nonzeros (uint8, [tiles, K]) of each tile in each slice: int64, (tiles, slices)."""
    tiles, k = nonzeros.shape
    sums = np.zeros((tiles, ceil_div(k, positions)), np.int64)
    for tile in range(tiles):
        for position in range(k):
            sums[tile, position // positions] += nonzeros[tile, position]
    return sums


@kernel
def sharers(shape, side, own, others, band, turn, s):
    """How many cores take slice s of a tile of this side (M21): those whose other tile has something there.

    own : int64, (slices,), the tile's nonzeros. others : int64, (tiles, slices), of the other side.
    """
    if own[s] == 0:
        return 0
    first, across = turn * shape.core_columns, shape.core_columns
    if side == ACTIVATIONS:
        first, across = band * shape.core_rows, shape.core_rows
    count = 0
    for tile in range(first, min(len(others), first + across)):
        count += int(others[tile, s] > 0)
    return count


@kernel
def count_steps(shape, weights, activations, core):
    """Steps of a core (M20). weights, activations : int64, (tiles, slices)."""
    count = 0
    for row_tile in range(core // shape.core_columns, len(weights), shape.core_rows):
        for column_tile in range(core % shape.core_columns, len(activations), shape.core_columns):
            for s in range(weights.shape[1]):
                count += int(weights[row_tile, s] > 0 and activations[column_tile, s] > 0)
    return count


@kernel
def count_items(shape, cells, weights, activations, side, line):
    """Items of the stream of a core row (or column) `line` (M21)."""
    bands, turns, count = cells.bands, cells.turns, 0
    for cell in range(len(bands)):
        count += _items_of_cell(shape, weights, activations, side, line, bands[cell], turns[cell])
    return count


@kernel
def _items_of_cell(shape, weights, activations, side, line, band, turn):
    """Items that a stream has in one turn of a band."""
    tile = band * shape.core_rows + line if side == WEIGHTS else turn * shape.core_columns + line
    own, others = (weights, activations) if side == WEIGHTS else (activations, weights)
    count = 0
    if tile < len(own):
        for s in range(weights.shape[1]):
            count += int(sharers(shape, side, own[tile], others, band, turn, s) > 0)
    return count


@kernel
def write_steps(
    shape, cells, a, b, weights, activations, core, at, tiles, outputs, waves, advance, pieces, counts
):  # fmt: skip
    """Write the tiles and steps of a core, from row `at` of waves on.

    a, b : uint8, (tiles, K). weights, activations : int64, (tiles, slices). Modifies tiles (wave rows [lo, hi) of each
    tile), outputs (its sums), waves, advance, counts and, unless it is empty, pieces (see `_write_pieces`).
    """
    i, h = core // shape.core_columns, core % shape.core_columns
    bands, turns = cells.bands, cells.turns
    tile, item_a, item_b, used_a, used_b = 0, 0, 0, -1, -1
    for cell in range(len(bands)):
        band, turn = bands[cell], turns[cell]
        row_tile, column_tile = band * shape.core_rows + i, turn * shape.core_columns + h
        if row_tile >= len(weights) or column_tile >= len(activations):
            # The streams of its row and of its column go on without it.
            item_a += _items_of_cell(shape, weights, activations, WEIGHTS, i, band, turn)
            item_b += _items_of_cell(shape, weights, activations, ACTIVATIONS, h, band, turn)
            continue
        own_rows = min(shape.tile_rows, shape.rows - row_tile * shape.tile_rows)
        own_columns = min(shape.tile_columns, shape.columns - column_tile * shape.tile_columns)
        tiles[tile, 0] = at
        for s in range(weights.shape[1]):
            has_a = sharers(shape, WEIGHTS, weights[row_tile], activations, band, turn, s) > 0
            has_b = sharers(shape, ACTIVATIONS, activations[column_tile], weights, band, turn, s) > 0
            if weights[row_tile, s] > 0 and activations[column_tile, s] > 0:
                lo, hi = s * shape.positions, min(shape.k, (s + 1) * shape.positions)
                waves[at, 0], waves[at, 1] = _step_cycles(shape, a[row_tile], b[column_tile], lo, hi, counts)
                counts[READ_BITMAP_BYTES] += ceil_div(own_rows * (hi - lo), 8) + ceil_div(own_columns * (hi - lo), 8)
                counts[POPCOUNT_ADDERS] += (hi - lo) * (own_rows + own_columns - 2)
                advance[at, 0], advance[at, 1] = item_a - used_a, item_b - used_b
                used_a, used_b = item_a, item_b
                if len(pieces) > 0:
                    _write_pieces(cells, cell, s, pieces[at])
                at += 1
            item_a += int(has_a)
            item_b += int(has_b)
        tiles[tile, 1] = at
        outputs[tile] = own_rows * own_columns
        tile += 1


@kernel
def _write_pieces(cells, cell, s, pieces):
    """Write the numbers of the two pieces that a slice of a cell needs (D8); modifies pieces (int64, (2,))."""
    pieces[INPUTS] = pieces[WEIGHT_FILLS] = NO_PIECE
    if cells.input_base[cell] != NO_PIECE:
        pieces[INPUTS] = cells.input_base[cell] + cells.input_ranks[cells.turns[cell], s]
    if cells.weight_base[cell] != NO_PIECE:
        pieces[WEIGHT_FILLS] = cells.weight_base[cell] + cells.weight_ranks[cells.bands[cell], s]


@kernel
def _step_cycles(shape, a, b, lo, hi, counts):
    """Busy and register-file-stall cycles of a step over positions lo to hi - 1 (M20); adds to counts."""
    busy = cycles = 0
    for position in range(lo, hi):
        na, nb = np.int64(a[position]), np.int64(b[position])  # uint8 would wrap around
        if na > 0 and nb > 0:
            groups = ceil_div(na, shape.step_rows)
            steps = groups * ceil_div(nb, shape.step_columns)
            busy += steps
            cycles += max(steps, ceil_div(na * nb, shape.sums_per_cycle))
            counts[MACS] += na * nb
            counts[READ_VALUES] += na + nb * groups
    return busy, cycles - busy


@kernel
def write_items(shape, cells, weights, activations, side, line, sizes, item_slices, pieces):
    """Write the items of a stream (M21). Returns the bytes that cores take of them (M27).

    Modifies sizes (int32, (3, items): bytes, metadata bytes, sharers), item_slices (see `Lowered`) and, unless it is
    empty, pieces (see `_write_pieces`).
    """
    bands, turns, turns_of_band = cells.bands, cells.turns, ceil_div(len(activations), shape.core_columns)
    own, others = (weights, activations) if side == WEIGHTS else (activations, weights)
    tile_size, size = (shape.tile_rows, shape.rows) if side == WEIGHTS else (shape.tile_columns, shape.columns)
    slices, at, taken = weights.shape[1], 0, 0
    for cell in range(len(bands)):
        band, turn = bands[cell], turns[cell]
        tile = band * shape.core_rows + line if side == WEIGHTS else turn * shape.core_columns + line
        if tile >= len(own):
            continue
        lines = min(tile_size, size - tile * tile_size)
        slice_map = ceil_div(slices, 8)
        for s in range(slices):
            count = sharers(shape, side, own[tile], others, band, turn, s)
            if count > 0:
                bitmap = ceil_div(lines * min(shape.positions, shape.k - s * shape.positions), 8)
                values = own[tile, s] * shape.operand_bytes
                sizes[0, at], sizes[1, at], sizes[2, at] = values + bitmap + slice_map, bitmap + slice_map, count
                item_slices[at] = (band * turns_of_band + turn) * slices + s
                if len(pieces) > 0:
                    _write_pieces(cells, cell, s, pieces[at])
                taken += count * (values + bitmap)
                slice_map = 0
                at += 1
    return taken
