"""Which cell of its group each tile row works on, where bands do not simply come one after another (D6, D7)."""

from __future__ import annotations

import numpy as np

from ..plan import PASS, REPEAT, TEAM_TILE_HI, TEAM_TILE_LO, Ints, Memory, Plan
from .errors import DatapathError

_BAND_A_PASS, _TURN_A_PASS = ("inputs", "inputs-single"), ("weights", "weights-single", "inputs-streamed")


def cells_of(plan: Plan, memory: Memory, bands: int, turns: int) -> Ints:
    """The cell of each tile row: (number of its band) * turns + (number of its turn).

    A pass is a band of a panel, a turn of a group, or one cell, and passes are numbered through all panels and groups:
    so a row's pass tells its band (or its turn). The turns of a band (the bands of a turn) come in order, however they
    are cut into panels: the rows of a team that have the same band (turn) tell the other.

    Parameters
    ----------
    bands, turns : int
        Of the group, N_b and N_t.

    Returns
    -------
    int64, (tiles,)
        0 for rows of no team.

    Raises
    ------
    DatapathError
        A row repeats, or its pass is none of the group's, or a team has more rows than cells.
    """
    cells = np.zeros(len(plan.tiles), np.int64)
    for lo, hi in plan.teams[:, TEAM_TILE_LO : TEAM_TILE_HI + 1].tolist():
        passes = memory.cells[lo:hi, PASS]
        if (plan.tiles[lo:hi, REPEAT] != 1).any():
            raise DatapathError(f"tile rows {lo} to {hi - 1}: one repeats, where every cell must have a row of its own")
        if memory.blocking in _BAND_A_PASS:
            band = passes % bands
            turn = _places(band)
        elif memory.blocking in _TURN_A_PASS:
            turn = passes % turns
            band = _places(turn)
        else:
            turn, band = np.divmod(passes, bands)
        wrong = np.flatnonzero((passes < 0) | (band >= bands) | (turn >= turns))
        if len(wrong):
            raise DatapathError(f"tile row {lo + wrong[0]}: pass {passes[wrong[0]]} is none of the group's")
        if (np.diff(passes) < 0).any():
            raise DatapathError(f"tile rows {lo} to {hi - 1}: their passes are not in order")
        cells[lo:hi] = band * turns + turn
    return cells


def order_of(plan: Plan, memory: Memory, cells: Ints, count: int) -> Ints:
    """The number of every cell of the group in the order in which the plan walks them: int64, (count,).

    cells : see `cells_of`. count : bands * turns.

    Raises
    ------
    DatapathError
        Two teams work on a cell in different passes.
    """
    passes = np.zeros(count, np.int64)
    for lo, hi in plan.teams[::-1, TEAM_TILE_LO : TEAM_TILE_HI + 1].tolist():
        passes[cells[lo:hi]] = memory.cells[lo:hi, PASS]  # the first team's last, which has rows everywhere
    for lo, hi in plan.teams[:, TEAM_TILE_LO : TEAM_TILE_HI + 1].tolist():
        if (passes[cells[lo:hi]] != memory.cells[lo:hi, PASS]).any():
            raise DatapathError("two teams work on a cell in different passes")
    order = np.empty_like(passes)
    order[np.argsort(passes, kind="stable")] = np.arange(count)
    return order


def _places(values: Ints) -> Ints:
    """How many times each value was there before: int64, as `values`."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    places = np.empty_like(values)
    places[order] = np.arange(len(values)) - np.repeat(begins, np.diff(begins, append=len(values)))
    return places
