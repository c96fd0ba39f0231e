"""Whether every step finds what it needs among the pieces that a plan moves from DRAM (D8, D9)."""

from __future__ import annotations

import numpy as np

from ...formats.jit import kernel
from ..blocking import INPUTS_STREAMED, WEIGHTS_STREAMED
from ..plan import (
    INPUT_BASE,
    INPUT_LATER,
    INPUTS,
    NEED_CELL,
    NEVER,
    NO_PIECE,
    PASS,
    PIECES,
    SIZE_LO,
    TEAM_TILE_HI,
    TEAM_TILE_LO,
    WAVE_HI,
    WAVE_LO,
    WEIGHTS,
    Fills,
    Ints,
    Lowered,
    Memory,
)
from .cells import order_of
from .errors import DatapathError

_NAMES = {INPUTS: "inputs", WEIGHTS: "weights"}

_FINE, _NOT_MOVED, _OTHER_VISIT, _OUT_OF_ORDER, _FREED = range(5)

_FAULTS = {
    _NOT_MOVED: "it needs a piece that is not moved",
    _OTHER_VISIT: "it needs a piece of another visit than its first one",
    _OUT_OF_ORDER: "it needs a piece before the one of the wave before",
    _FREED: "what later rows need of the pieces is not what the plan says, so that slots are freed at another time",
}


def check_needs(lowered: Lowered, cells: Ints, bands: int, turns: int) -> None:
    """Refuse a plan whose steps need pieces that it does not move, not then, or frees too early.

    Parameters
    ----------
    cells : int64, (tiles,)
        See `cells_of`.
    bands, turns : int

    Raises
    ------
    DatapathError
        A visit's sizes are not there, or not positive; a step needs a piece beyond those moved, or out of order, or of
        a visit that is moved for other cells; a slot is freed at another time than its last need's end; a stream reads
        the wrong operand's pieces.
    """
    plan, memory = lowered.plan, lowered.plan.memory
    assert memory is not None
    number = order_of(plan, memory, cells, bands * turns)[cells]
    teams = plan.teams[:, TEAM_TILE_LO : TEAM_TILE_HI + 1].tolist()
    rows = np.concatenate([np.arange(lo, hi) for lo, hi in teams])
    for fill, fills in enumerate(memory.fills):
        _check_visits(_NAMES[fill], fills)
        starts = np.concatenate([[0], np.cumsum(fills.visits[:, PIECES])])
        lowest = np.full(len(plan.tiles), NO_PIECE)
        steps = np.ascontiguousarray(memory.step_pieces[:, fill], np.int64)
        status, row = _check_rows(plan.teams, plan.tiles, memory.cells, steps, starts, fill, lowest)
        if status != _FINE:
            raise DatapathError(f"{lowered.mode}: tile row {row}, {_NAMES[fill]}: {_FAULTS[status]}")
        # The visit of a row: the last that is moved for a cell not after the first one that shares it (D3, D8).
        shared = _sharing(memory, fill, cells, turns)
        first = np.full(int(shared.max(initial=0)) + 1, bands * turns)
        np.minimum.at(first, shared[rows], number[rows])
        visit = np.searchsorted(starts, lowest, side="right") - 1
        expected = np.searchsorted(fills.visits[:, NEED_CELL], first[shared], side="right") - 1
        wrong = rows[(lowest[rows] != NO_PIECE) & (visit[rows] != expected[rows])]
        # Without any are tiles without steps, all of an input that lies in the SMEM, and turns of padding only (D3).
        sweep = _sweeps(memory, fill, turns)
        moved = np.full(int(sweep.max(initial=0)) + 1, bands * turns)
        np.minimum.at(moved, sweep[rows], number[rows])
        began = np.append(fills.visits[:, NEED_CELL], -1)[expected] >= moved[sweep]
        works = plan.tiles[:, WAVE_LO] < plan.tiles[:, WAVE_HI]
        without = rows[((lowest == NO_PIECE) & began & works)[rows]]
        if len(without):
            raise DatapathError(f"{lowered.mode}: tile row {without[0]}, {_NAMES[fill]}: it needs no piece")
        if len(wrong):
            raise DatapathError(
                f"{lowered.mode}: tile row {wrong[0]}, {_NAMES[fill]}: it needs pieces of visit {visit[wrong[0]]}, and "
                f"those of its cell are visit {expected[wrong[0]]}"
            )
    for fill, streams in ((INPUTS, lowered.activation_streams), (WEIGHTS, lowered.weight_streams)):
        if (memory.stream_fill[list(streams)] != fill).any():
            raise DatapathError(f"{lowered.mode}: a stream of {_NAMES[fill]} is read from other pieces")


def _sharing(memory: Memory, fill: int, cells: Ints, turns: int) -> Ints:
    """Equal numbers for tile rows that share a visit, or the unit of a turn (D3, D8): int64, (tiles,)."""
    inputs_outermost = memory.blocking in ("inputs", "inputs-single")
    if memory.blocking in (INPUTS_STREAMED if fill == INPUTS else WEIGHTS_STREAMED):
        return cells
    if fill == INPUTS:
        once = inputs_outermost or memory.blocking in WEIGHTS_STREAMED
        return cells % turns if once else memory.cells[:, PASS]
    return memory.cells[:, PASS] if inputs_outermost else cells // turns


def _sweeps(memory: Memory, fill: int, turns: int) -> Ints:
    """Equal numbers for tile rows of one sweep through the units of the input, a group of bands: int64, (tiles,)."""
    passes = memory.cells[:, PASS]
    grouped = memory.blocking in ("weights", "weights-single") and fill == INPUTS
    return passes // turns if grouped else np.zeros_like(passes)


def _check_visits(name: str, fills: Fills) -> None:
    lo, count = fills.visits[:, SIZE_LO], fills.visits[:, PIECES]
    if (lo < 0).any() or (count < 1).any() or (lo + count > len(fills.sizes)).any() or (fills.sizes < 1).any():
        raise DatapathError(f"{name}: a visit moves pieces that have no size")
    if (np.diff(fills.visits[:, NEED_CELL]) < 0).any():
        raise DatapathError(f"{name}: visits are not in the order of the cells that first need them")
    if not 0 <= fills.prefetched <= fills.slots:
        raise DatapathError(f"{name}: {fills.prefetched} pieces are there from the start, in {fills.slots} slots")


def check_bytes(lowered: Lowered, fill: int, cells: Ints, pieces: Ints, read: Ints) -> None:
    """Refuse a plan that reads more of a visit's pieces in a cell than they hold.

    Parameters
    ----------
    fill : INPUTS or WEIGHTS
    cells, pieces, read : int64, (n,)
        So many bytes are read in this cell of the visit of this piece (-1: of none).

    Raises
    ------
    DatapathError
    """
    memory = lowered.plan.memory
    assert memory is not None
    needs = pieces != NO_PIECE
    cells, pieces, read = cells[needs], pieces[needs], read[needs]
    fills = memory.fills[fill]
    starts = np.cumsum(fills.visits[:, PIECES]) - fills.visits[:, PIECES]
    visits = np.searchsorted(starts, pieces, side="right") - 1
    sums = np.concatenate([[0], np.cumsum(fills.sizes)])
    lo = fills.visits[:, SIZE_LO]
    held = sums[lo + fills.visits[:, PIECES]] - sums[lo]
    _, key = np.unique(cells * (len(starts) + 1) + visits, return_inverse=True)
    totals = np.zeros(len(cells), np.int64)
    np.add.at(totals, key, read)
    wrong = np.flatnonzero(totals[key] > held[visits])
    if len(wrong):
        at = wrong[0]
        raise DatapathError(
            f"{lowered.mode}: cell {cells[at]} reads {totals[key[at]]} bytes of {_NAMES[fill]} of which "
            f"{held[visits[at]]} are moved"
        )


@kernel
def _check_rows(teams, tiles, cells, step_pieces, starts, fill, lowest):
    """Walk every team's rows from the last to the first; lowest (int64, (tiles,)) is **modified**: what each needs.

    teams, tiles, cells : the plan's. step_pieces : int64 (waves,), those of the fill.
    starts : int64 (visits + 1,), first piece of each visit, and all.
    Returns _FINE or what is wrong, in which tile row.
    """
    for team in range(len(teams)):
        later = NEVER
        for row in range(teams[team, TEAM_TILE_HI] - 1, teams[team, TEAM_TILE_LO] - 1, -1):
            if cells[row, INPUT_LATER + fill] != later:
                return _FREED, row
            base = cells[row, INPUT_BASE + fill]
            if base == NO_PIECE:
                continue
            first, last = NO_PIECE, NO_PIECE
            for wave in range(tiles[row, WAVE_LO], tiles[row, WAVE_HI]):
                piece = base + step_pieces[wave]
                if piece == NO_PIECE:
                    continue
                if piece < 0 or piece >= starts[-1]:
                    return _NOT_MOVED, row
                if piece < last:
                    return _OUT_OF_ORDER, row
                if first == NO_PIECE:
                    first = piece
                last = piece
            if first == NO_PIECE:
                continue
            visit = np.searchsorted(starts, first, side="right")
            if last >= starts[visit]:
                return _OTHER_VISIT, row
            lowest[row] = first
            later = min(later, first)
    return _FINE, 0
