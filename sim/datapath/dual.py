"""The datapath of dstc: int8 values moved in the order of a plan (docs/microarchitecture.md, M18-M27).

Operands are packed from their values alone. A plan's items must be slices of what was packed; its cores stand on the
items to which `advance` moves them, and gather, multiply and scatter what they find. A core's sequencer sees the two
slice maps of its tile: it must find every slice in which both have something, and no other (M20). Each step's cycles
are counted from the pieces really multiplied, and must be the plan's.

With a DRAM the cells of a group come in the order of its blocking (`cells.py`), and a step and its two items must be of
the same pieces.

Cores share nothing but streams, and a stream only brings items, which no core changes. So they run here one after
another, each in its own plan order; who took an item is counted over all of them.

Letters: `Y[S,P] = W[S,K] X[K,P]`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...formats.bits import read_code
from ...formats.jit import kernel
from ..archs.dual_plan import shape_of
from ..archs.dual_steps import Shape
from ..machine import Machine
from ..plan import (
    ACTIVE,
    BUSY,
    CORES,
    FIRST_CORE,
    INPUTS,
    REPEAT,
    RF,
    STEPS,
    TAIL_COLUMNS,
    TEAM_TILE_HI,
    TEAM_TILE_LO,
    WAVE_HI,
    WAVE_LO,
    Lowered,
)
from ..plan import WEIGHTS as WEIGHT_PIECES
from .cells import cells_of
from .dual_items import cells_of_shape, items_of_streams
from .dual_moves import drain, multiply_slices
from .dual_store import Condensed, condense
from .errors import DatapathError
from .pieces import check_needs

_DONE, _NO_TILE, _BAD_DRAIN, _BEYOND, _WRONG_SLICE, _WRONG_PIECE, _SKIPPED, _BAD_BITMAP, _BAD_CYCLES, _TWICE = range(10)

_FAULTS = {
    _NO_TILE: "the core has had all its tiles",
    _BAD_DRAIN: "it drains other bytes than its tile has results",
    _BEYOND: "a stream is not moved on, or beyond its last item",
    _WRONG_SLICE: "the core does not stand on the next slice of its tile in which both operands have something",
    _WRONG_PIECE: "an item comes from another piece than its step needs",
    _SKIPPED: "the tile ends before the last slice in which both operands have something",
    _BAD_BITMAP: "the set bits of a bitmap are not as many as its values, or one is beyond the tile",
    _BAD_CYCLES: "busy or stalled cycles are not those of the pieces multiplied",
    _TWICE: "a result is drained a second time",
}

_PLACES = 64  # bits of a word


def multiply(
    lowered: Lowered, machine: Machine, weights: NDArray[np.int8], activations: NDArray[np.int8]
) -> NDArray[np.int32]:
    """Multiply a group's weights and activations along the path and in the order of its plan.

    Parameters
    ----------
    lowered : Lowered
        `DualSide.lower(machine, S, P)` for the nonzeros of these operands.
    machine : Machine
    weights : ndarray, int8, shape (S, K)
    activations : ndarray, int8, shape (K, P)

    Returns
    -------
    ndarray, int32, shape (S, P)
        What the drains wrote: sums in two's complement of `machine.sum_bits`.

    Raises
    ------
    DatapathError
        Items, steps, their cycles or drains are not those that the values need; see `multiply_condensed`.
    ValueError
        Weights or activations have another dtype or shape.

    Notes
    -----
    Results narrower than a sum (`output_bits`) are drained as the whole sum, as in `stationary.py`.
    """
    for name, operand, form in (("weights", weights, "(S, K)"), ("activations", activations, "(K, P)")):
        if operand.dtype != np.int8 or operand.ndim != 2 or not operand.size:
            raise ValueError(f"{name} {operand.dtype} {operand.shape}: must be int8 {form}")
    if weights.shape[1] != activations.shape[0]:
        raise ValueError(f"activations {activations.shape}: must be (K = {weights.shape[1]}, P)")
    dstc = machine.dstc
    return multiply_condensed(
        lowered,
        machine,
        condense(weights, dstc.tile_rows, dstc.slice_positions),
        condense(activations.T, dstc.tile_columns, dstc.slice_positions),
    )


def multiply_condensed(
    lowered: Lowered, machine: Machine, weights: Condensed, activations: Condensed
) -> NDArray[np.int32]:
    """Multiply operands that are packed already.

    Parameters
    ----------
    lowered : Lowered
    machine : Machine
    weights, activations : Condensed
        In the tiles and slices of the machine.

    Returns
    -------
    ndarray, int32, shape (S, P)

    Raises
    ------
    DatapathError
        The plan is not of dstc's form; an item has another size, order or number of takers than planned, or none; a
        step takes other items or cycles than the values need, or is missing; a bitmap does not fit its values; a
        result is drained twice or not at all; `macs_issued` are not the products made.
    """
    plan = lowered.plan
    shape = shape_of(machine, weights.lines, activations.lines, weights.words.shape[1])
    cells, item_pieces, step_pieces = np.zeros(0, np.int64), *2 * [np.zeros((0, 2), np.int64)]
    bands, turns = cells_of_shape(shape)
    if plan.memory:
        cells = cells_of(plan, plan.memory, bands, turns)
        item_pieces, step_pieces = plan.memory.item_pieces, plan.memory.step_pieces
    ranges, stored = items_of_streams(lowered, shape, weights, activations, cells)
    _check_cores(lowered, shape)
    if plan.memory:
        check_needs(lowered, cells, bands, turns)
    outputs = np.zeros((shape.rows, shape.columns), np.int32)
    drained = np.zeros(outputs.shape, np.bool_)
    taken = np.zeros(len(plan.item_bytes), np.int64)
    status, tile, wave, products = _walk(
        shape, machine.sum_bits, plan.teams, plan.tiles, cells, plan.waves, plan.advance, item_pieces, step_pieces,
        plan.drain_bytes, machine.output_bytes, ranges[plan.team_streams], lowered.item_slices, stored,
        weights.words, weights.values, weights.starts, weights.slice_maps,
        activations.words, activations.values, activations.starts, activations.slice_maps,
        taken, outputs, drained,
    )  # fmt: skip
    if status != _DONE:
        raise DatapathError(f"{lowered.mode}: tile row {tile}, wave row {wave}: {_FAULTS[status]}")
    if not drained.all():
        row, column = map(int, np.argwhere(~drained)[0])
        raise DatapathError(f"{lowered.mode}: row {row}, column {column}: no drain wrote this result")
    sharers = plan.item_sharers[:, 0]
    wrong = np.flatnonzero((taken != sharers) | (taken == 0))
    if len(wrong):
        item = int(wrong[0])
        raise DatapathError(f"{lowered.mode}: item row {item}: {taken[item]} cores take it, of {sharers[item]} planned")
    if products != lowered.macs_issued:
        raise DatapathError(f"{lowered.mode}: {products} products made, {lowered.macs_issued} planned")
    return outputs


def _check_cores(lowered: Lowered, shape: Shape) -> None:
    """Refuse a plan whose teams are not single cores on the streams of their row and column (M18, M21)."""
    plan, cores = lowered.plan, lowered.plan.teams[:, FIRST_CORE]
    if (plan.teams[:, CORES] != 1).any() or (cores < 0).any() or (cores >= shape.core_rows * shape.core_columns).any():
        raise DatapathError(f"{lowered.mode}: a team is not one core of the grid")
    i, h = np.divmod(cores, shape.core_columns)
    streams = np.stack([np.array(lowered.weight_streams)[i], np.array(lowered.activation_streams)[h]], axis=1)
    if not np.array_equal(plan.team_streams, streams):
        raise DatapathError(f"{lowered.mode}: a core does not take the streams of its row and column")
    for lo, hi in plan.teams[:, TEAM_TILE_LO : TEAM_TILE_HI + 1].tolist():
        tiles = plan.tiles[lo:hi]
        if not 0 <= lo <= hi <= len(plan.tiles) or (tiles[:, [STEPS, TAIL_COLUMNS, ACTIVE]] != 1).any():
            raise DatapathError(f"{lowered.mode}: tile rows {lo} to {hi - 1}: not there, or not steps of one core each")
        waves = tiles[:, WAVE_LO : WAVE_HI + 1]
        if (waves < 0).any() or (waves > len(plan.waves)).any() or (np.diff(waves) < 0).any():
            raise DatapathError(f"{lowered.mode}: tile rows {lo} to {hi - 1}: they have waves that are not there")


@kernel
def _turn_after(turn, turns, all_turns, core_rows, core_columns, i, h, row_tiles, column_tiles):
    """The next turn, counted through all bands, in which core (i, h) has a tile (M18); all_turns if there is none."""
    turn += 1
    while turn < all_turns:
        if turn // turns * core_rows + i < row_tiles and turn % turns * core_columns + h < column_tiles:
            break
        turn += 1
    return turn


@kernel
def _first_of_both(a_map, b_map, s, slices):
    """The first slice from s on in which both tiles have something, as their slice maps say; slices if there is none.

    a_map, b_map : uint8 (bytes,), see `Condensed`.
    """
    while s < slices and read_code(a_map, s, 1) & read_code(b_map, s, 1) == 0:
        s += 1
    return s


@kernel
def _walk(
    shape, sum_bits, teams, tiles, cells, waves, advance, item_pieces, step_pieces,
    drain_bytes, output_bytes, ranges, item_slices, stored,
    a_words, a_values, a_starts, a_maps, b_words, b_values, b_starts, b_maps, taken, outputs, drained,
):  # fmt: skip
    """Walk a plan, core after core.

    teams, tiles, waves, advance, drain_bytes : the plan's. item_slices : see `Lowered`. With a DRAM, else empty:
    cells : int64 (tiles,), see `cells_of`. item_pieces, step_pieces : the plan's.
    ranges : int64 (teams, 2, 2), first item and end of its weights' and its activations' stream.
    stored : int64 (items,), see `items_of_streams`.
    a_..., b_... : the weights and the activations, see `Condensed`.
    taken (int64, (items,)), outputs (int32) and drained (bool), both (S, P), are **modified**.
    Returns _DONE or what went wrong, in which tile and wave row; and the products made.
    """
    grid_rows, grid_columns, positions = shape.core_rows, shape.core_columns, shape.positions
    slices = -(-shape.k // positions)
    turns = -(-len(b_words) // grid_columns)
    all_turns = -(-len(a_words) // grid_rows) * turns
    step = (shape.step_rows, shape.step_columns, shape.sums_per_cycle)
    sums = np.zeros(shape.tile_rows * shape.tile_columns, np.int32)
    row_at, column_at = np.zeros(_PLACES, np.int64), np.zeros(_PLACES, np.int64)
    products = 0
    for team in range(len(teams)):
        i, h = divmod(teams[team, FIRST_CORE], grid_columns)
        a_item, b_item, turn = ranges[team, 0, 0] - 1, ranges[team, 1, 0] - 1, -1
        for tile in range(teams[team, TEAM_TILE_LO], teams[team, TEAM_TILE_HI]):
            wave_lo, wave_hi = tiles[tile, WAVE_LO], tiles[tile, WAVE_HI]
            if len(cells) > 0:
                turn = cells[tile] - 1
            for _ in range(tiles[tile, REPEAT]):
                turn = _turn_after(turn, turns, all_turns, grid_rows, grid_columns, i, h, len(a_words), len(b_words))
                if turn == all_turns:
                    return _NO_TILE, tile, wave_lo, products
                row_tile, column_tile = turn // turns * grid_rows + i, turn % turns * grid_columns + h
                first_row, first_column = row_tile * shape.tile_rows, column_tile * shape.tile_columns
                rows = min(shape.tile_rows, shape.rows - first_row)
                columns = min(shape.tile_columns, shape.columns - first_column)
                sizes = (rows, columns, shape.tile_columns)
                if drain_bytes[tile, 0] != rows * columns * output_bytes:
                    return _BAD_DRAIN, tile, wave_lo, products
                expected = _first_of_both(a_maps[row_tile], b_maps[column_tile], 0, slices)
                for wave in range(wave_lo, wave_hi):
                    a_item += advance[wave, 0]
                    b_item += advance[wave, 1]
                    if advance[wave].min() < 1 or a_item >= ranges[team, 0, 1] or b_item >= ranges[team, 1, 1]:
                        return _BEYOND, tile, wave, products
                    own_turn, s = divmod(item_slices[a_item], slices)
                    if own_turn != turn or s != expected or item_slices[b_item] != item_slices[a_item]:
                        return _WRONG_SLICE, tile, wave, products
                    if len(cells) > 0 and (
                        item_pieces[a_item, WEIGHT_PIECES] != step_pieces[wave, WEIGHT_PIECES]
                        or item_pieces[b_item, INPUTS] != step_pieces[wave, INPUTS]
                    ):
                        return _WRONG_PIECE, tile, wave, products
                    taken[a_item] += 1
                    taken[b_item] += 1
                    lo, hi = s * positions, min(shape.k, (s + 1) * positions)
                    a_at, b_at = stored[a_item], stored[b_item]
                    fits, busy, stalled, made = multiply_slices(
                        a_words[a_at // slices, lo:hi], a_values[a_starts[a_at] : a_starts[a_at + 1]],
                        b_words[b_at // slices, lo:hi], b_values[b_starts[b_at] : b_starts[b_at + 1]],
                        sizes, step, sum_bits, row_at, column_at, sums,
                    )  # fmt: skip
                    if not fits:
                        return _BAD_BITMAP, tile, wave, products
                    if busy != waves[wave, BUSY] or stalled != waves[wave, RF]:
                        return _BAD_CYCLES, tile, wave, products
                    products += made
                    expected = _first_of_both(a_maps[row_tile], b_maps[column_tile], s + 1, slices)
                if expected < slices:
                    return _SKIPPED, tile, wave_hi, products
                if not drain(sums, sizes, first_row, first_column, outputs, drained):
                    return _TWICE, tile, wave_hi, products
    return _DONE, 0, 0, products
