"""The datapath of dense, stc and crisp-stc: int8 values moved in the order of a plan (docs/microarchitecture.md).

A plan says how much moves and in which order, not which values: the place of a tile in its team's order (with a DRAM,
and its pass: `cells.py`) gives its band and columns (M2, M4, M6), the place of a wave in its tile the window (M3). How
many positions, values, rows and columns move is read from the plan. So a plan that leaves out, repeats, shortens or
reorders anything moves other values than the product needs, and shows.

Letters: `Y[S,P] = W[S,K] X[K,P]`, N:M and the layout of stored weights as in `store.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...formats.jit import kernel
from ..archs.stationary import Stationary, window_of
from ..blocking import INPUTS_STREAMED
from ..machine import Machine
from ..plan import (
    ACTIVE,
    CORES,
    FIRST_CORE,
    INPUT_BASE,
    INPUTS,
    ITEM_COLUMN,
    MEMBER,
    REPEAT,
    STEPS,
    STREAM_TILE_HI,
    STREAM_TILE_LO,
    TAIL_COLUMNS,
    TEAM_TILE_HI,
    TEAM_TILE_LO,
    WAVE_HI,
    WAVE_LO,
    WEIGHT_BASE,
    WEIGHTS,
    Ints,
    Lowered,
    Plan,
)
from ..weights import Weights
from .cells import cells_of
from .errors import DatapathError
from .moves import (
    BAD_ROWS,
    BAD_TILE,
    BAD_WEIGHTS,
    BAD_WINDOW,
    DONE,
    FAULTS,
    TWICE,
    accumulate,
    drain,
    point,
    read_chunk,
    read_weights,
    rows_fit,
)
from .pieces import check_bytes, check_needs
from .store import store

_STALE = 85  # what a chunk slot holds before anything was read into it


def multiply(
    lowered: Lowered, how: Stationary, machine: Machine, weights: Weights, activations: NDArray[np.int8]
) -> NDArray[np.int32]:
    """Multiply a group's weights and activations along the path and in the order of its plan.

    Parameters
    ----------
    lowered : Lowered
        `how.lower(machine, S, P)`.
    how : Stationary
        The machine's set-up for these weights.
    machine : Machine
    weights : Weights
        int8, (S, K); see `int8_weights`. Packed as the machine stores them.
    activations : ndarray, int8, shape (K, P)

    Returns
    -------
    ndarray, int32, shape (S, P)
        What the drains wrote: sums in two's complement of `machine.sum_bits`.

    Raises
    ------
    DatapathError
        The plan moves something that is not there, or leaves a result out or drains it twice.
    TypeError, ValueError
        Weights or activations have another dtype or shape; the weights are not packed as `how` says.
    PatternError
        The weights do not obey the machine's N:M.

    Notes
    -----
    Results narrower than a sum (`output_bits`) are drained as the whole sum: the law says what their bytes cost, not
    how they are rounded.
    """
    (s, k), plan = weights.shape, lowered.plan
    if activations.dtype != np.int8 or activations.ndim != 2 or len(activations) != k or not activations.size:
        raise ValueError(f"activations {activations.dtype} {activations.shape}: must be int8 (K = {k}, P)")
    stored, window = store(how, weights), window_of(machine, how)
    chunk_columns, weight_columns = _item_columns(lowered)
    outputs = np.zeros((s, activations.shape[1]), np.int32)
    drained = np.zeros(outputs.shape, np.bool_)
    status, tile, wave = _walk(
        plan.teams.astype(np.int64),
        plan.tiles.astype(np.int64),
        _first_cells(lowered, machine, outputs.shape),
        plan.drain_bytes.astype(np.int64) // machine.output_bytes,
        (plan.item_bytes.astype(np.int64) - plan.item_metadata_bytes) // machine.operand_bytes,
        chunk_columns,
        weight_columns,
        plan.columns,
        lowered.column_tile,
        (machine.core.count, machine.core.rows, machine.sum_bits),
        (window.groups, window.positions),
        (how.n, how.m, how.index_bits),
        stored.values,
        stored.nm_index,
        stored.block_cols,
        np.ascontiguousarray(activations),
        outputs,
        drained,
    )
    if status != DONE:
        raise DatapathError(f"{how.mode}: tile row {tile}, wave row {wave}: {FAULTS[status]}")
    if not drained.all():
        row, column = map(int, np.argwhere(~drained)[0])
        raise DatapathError(f"{how.mode}: row {row}, column {column}: no drain wrote this result")
    return outputs


def _item_columns(lowered: Lowered) -> tuple[Ints, Ints]:
    """Columns of `item_bytes` of each team's chunks, (teams,), and of its members' weights, (teams, members).

    Raises DatapathError where a stream does not walk the tile rows in which its team or member works.
    """
    plan = lowered.plan
    chunks = np.full(len(plan.teams), -1, np.int64)
    weights = np.full((len(plan.teams), plan.drain_bytes.shape[1]), -1, np.int64)
    for team, streams in enumerate(plan.team_streams.tolist()):
        for stream in (number for number in streams if number >= 0):
            row = plan.streams[stream]
            needed = 1
            if stream in lowered.activation_streams:
                chunks[team] = row[ITEM_COLUMN]
            else:
                weights[team, row[MEMBER]] = row[ITEM_COLUMN]
                needed = int(row[MEMBER]) + 1
            _check_range(plan, team, stream, needed)
    if (chunks < 0).any() or (weights < 0).any():
        raise DatapathError("a team has no stream of chunks, or a member none of weights")
    return chunks, weights


def _check_range(plan: Plan, team: int, stream: int, needed: int) -> None:
    """Refuse a stream that leaves its team's order: it walks the rows of `needed` active members, which come first.

    With a DRAM others stand among them, and it walks all rows.
    """
    lo, hi = plan.teams[team, TEAM_TILE_LO : TEAM_TILE_HI + 1].tolist()
    used = plan.tiles[lo:hi, ACTIVE] >= needed
    walked = plan.streams[stream, STREAM_TILE_LO : STREAM_TILE_HI + 1].tolist()
    if plan.memory and used.any():
        used[:] = True
    count = int(used.sum())
    if walked != [lo, lo + count] or not used[:count].all():
        raise DatapathError(f"stream {stream} walks tile rows {walked}: not those in which team {team} needs it")


def _first_cells(lowered: Lowered, machine: Machine, shape: tuple[int, int]) -> Ints:
    """The cell of each tile row, of its first tile where it repeats: int64, (tiles,); see `cells_of`.

    shape : S and P. Raises DatapathError where a row is in no cell, or needs pieces that are not moved for it (D8).
    """
    plan, memory = lowered.plan, lowered.plan.memory
    turns = -(-shape[1] // lowered.column_tile)
    if memory is None:
        cells = np.cumsum(plan.tiles[:, REPEAT]) - plan.tiles[:, REPEAT]
        for lo, hi in plan.teams[:, TEAM_TILE_LO : TEAM_TILE_HI + 1].tolist():
            cells[lo:hi] -= cells[lo:hi][:1]
        return cells
    bands = -(-shape[0] // machine.band_rows)
    cells = cells_of(plan, memory, bands, turns)
    if not np.array_equal(memory.item_pieces, memory.step_pieces):
        raise DatapathError(f"{lowered.mode}: items come from other pieces than their steps need")
    check_needs(lowered, cells, bands, turns)
    sums = np.concatenate([np.zeros((1, plan.item_bytes.shape[1]), np.int64), np.cumsum(plan.item_bytes, axis=0)])
    read = sums[plan.tiles[:, WAVE_HI]] - sums[plan.tiles[:, WAVE_LO]]
    members = np.arange(plan.item_bytes.shape[1] - 1)
    weights = (read[:, 1:] * (members < plan.tiles[:, [ACTIVE]])).sum(axis=1)
    check_bytes(lowered, WEIGHTS, cells, memory.cells[:, WEIGHT_BASE], weights)
    if memory.blocking in INPUTS_STREAMED:
        chunks = read[:, 0] * ((plan.tiles[:, STEPS] - 1) * plan.columns + plan.tiles[:, TAIL_COLUMNS])
        check_bytes(lowered, INPUTS, cells, memory.cells[:, INPUT_BASE], chunks)
    return cells


@kernel
def _walk(
    teams,
    tiles,
    cells,
    rows,
    operands,
    chunk_columns,
    weight_columns,
    columns,
    tile_columns,
    cores,
    whole_window,
    pattern,
    values,
    nm_index,
    block_cols,
    activations,
    outputs,
    drained,
):
    """Walk the plan, team after team, and move values; the plan's tables are trusted to point into one another.

    teams, tiles : int64, as in Plan. cells : int64 (tiles,), see `_first_cells`.
    rows : int64 (tiles, members), of each active member.
    operands : int64 (waves, item columns), positions of a chunk, or stored values of a member's weights.
    chunk_columns, weight_columns : int64, see `_item_columns`. columns, tile_columns : of a chunk and of the sums.
    cores : cores, rows of one, bits of a sum. whole_window : its groups and positions.
    pattern : N, M, index bits.
    values, nm_index, block_cols : see `Stored`. activations : int8 (K, P).
    outputs (int32) and drained (bool), both (S, P), zeroed, are **modified**.
    Returns (status, tile row, wave row); DONE, or what is wrong there.
    """
    core_count, core_rows, sum_bits = cores
    window_groups, window_positions = whole_window
    n, m, _ = pattern
    p, (height, stored) = outputs.shape[1], values.shape[2:]
    slots = np.zeros((rows.shape[1], core_rows, window_groups * n), np.int8)
    selects = np.zeros(slots.shape, np.uint32)
    lanes = np.zeros(rows.shape[1], np.int64)
    sources = np.zeros(window_positions, np.int64)
    chunk = np.full((columns, window_positions), _STALE, np.int8)
    sums = np.zeros((core_count, core_rows, tile_columns), np.int32)
    tiles_per_band = -(-p // tile_columns)
    shorter, longer = divmod(-(-p // columns), tiles_per_band)  # chunks of a tile, and how many tiles have one more
    for team in range(len(teams)):
        first_core = teams[team, FIRST_CORE]
        for tile in range(teams[team, TEAM_TILE_LO], teams[team, TEAM_TILE_HI]):
            steps, tail, active = tiles[tile, STEPS], tiles[tile, TAIL_COLUMNS], tiles[tile, ACTIVE]
            wave_lo, wave_hi = tiles[tile, WAVE_LO], tiles[tile, WAVE_HI]
            width, heights = (steps - 1) * columns + tail, rows[tile, :active]
            team_sums = sums[first_core : first_core + active]
            for repetition in range(tiles[tile, REPEAT]):
                band, number = divmod(cells[tile] + repetition, tiles_per_band)
                row = (band * core_count + first_core) * core_rows
                first_column = (number * shorter + min(number, longer)) * columns
                if tail > columns or width > tile_columns or first_column + width > p:
                    return BAD_TILE, tile, wave_lo
                if active > teams[team, CORES] or not rows_fit(heights, row, core_rows, len(outputs)):
                    return BAD_ROWS, tile, wave_lo
                kept_blocks, block = block_cols[row // height], stored // n * m
                for wave in range(wave_lo, wave_hi):
                    window = wave - wave_lo
                    positions, first = operands[wave, chunk_columns[team]], window * window_positions
                    if not point(kept_blocks, block, first, positions, len(activations), sources):
                        return BAD_WINDOW, tile, wave
                    for member in range(active):
                        lanes[member] = operands[wave, weight_columns[team, member]] // heights[member]
                        if lanes[member] * heights[member] != operands[wave, weight_columns[team, member]]:
                            return BAD_WEIGHTS, tile, wave
                    group = window * window_groups
                    status = read_weights(
                        values, nm_index, pattern, positions, group, row, heights, lanes, slots, selects
                    )
                    if status != DONE:
                        return status, tile, wave
                    for step in range(steps):
                        offset, count = step * columns, columns if step < steps - 1 else tail
                        column = first_column + offset
                        read_chunk(activations, sources, positions, column, count, chunk)
                        accumulate(slots, selects, heights, lanes, chunk, count, offset, sum_bits, team_sums)
                        last = wave == wave_hi - 1
                        if last and not drain(team_sums, offset, heights, count, row, column, outputs, drained):
                            return TWICE, tile, wave
    return DONE, 0, 0
