"""Lowering to the weight-stationary dataflow that dense, stc and crisp-stc share (docs/microarchitecture.md, M2-M10).

An architecture says how its cores are set up (`Stationary`): the N:M its lanes run, the sets of cores that share
activations, and the positions of K that each block row keeps. Everything else follows here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..blocking import ALL_IN_DRAM, Blocking, Residency
from ..errors import InputError
from ..input_pixels import InputPixels
from ..machine import Machine
from ..plan import Lowered
from .base import LoweredInput
from .stationary_plan import WEIGHT_SLOTS, PlanBuilder


@dataclass(frozen=True, kw_only=True)
class HeldInput:
    """A group's input on its way from DRAM (D2).

    pixels : InputPixels
    channels : int
        Channels that are moved: those that some block row keeps.
    """

    pixels: InputPixels
    channels: int


@dataclass(frozen=True, kw_only=True)
class Stationary:
    """How a weight-stationary machine runs one convolution group.

    Parameters
    ----------
    n, m : int
        Stored values of every group of m positions; 1:1 runs dense.
    block : int or None
        Side of the kept blocks, None when all of K is run.
    kept_positions : tuple of int
        Real positions of K that each block row keeps; one entry when there are no blocks.
    kept_blocks : int
        Blocks each block row keeps; 0 without blocks.
    set_cores : int
        Cores of a sharing set.
    held : HeldInput or None
        What of the input is moved from DRAM; None on a machine without one.
    """

    n: int = 1
    m: int = 1
    block: int | None = None
    kept_positions: tuple[int, ...]
    kept_blocks: int = 0
    set_cores: int
    held: HeldInput | None = None

    @property
    def index_bits(self) -> int:
        """Bits of a stored value's index, ceil(log2 m)."""
        return math.ceil(math.log2(self.m)) if self.m > 1 else 0

    @property
    def mode(self) -> str:
        """How the machine runs, as the `mode` column says it."""
        inner = "dense" if self.m == 1 else f"{self.n}:{self.m}"
        return inner if self.block is None else f"{inner} block {self.block}"

    def explain(self, machine: Machine) -> str:
        """What a wave works on and how wide a tile is, in a line."""
        window = window_of(machine, self)
        lanes = f"{window.values} of {machine.core.lanes} lanes"
        dense_tops = machine.peak_tops * window.positions / machine.core.lanes
        return (
            f"{window.positions} positions of K a wave, {lanes}, column tile {column_tile_of(machine, self)}; "
            f"peak {dense_tops:.4g} TOPS of dense work"
        )

    def lower(self, machine: Machine, rows: int, columns: int, residency: Residency = ALL_IN_DRAM) -> Lowered:
        """Lower a group of S = rows and P = columns.

        Raises
        ------
        InputError
            The machine cannot run this pattern, or its SMEM is too small.
        """
        return self._builder(machine, rows, columns).finish(column_tile_of(machine, self), residency)

    def blocking(self, machine: Machine, rows: int, columns: int, residency: Residency = ALL_IN_DRAM) -> Blocking:
        """How a group of S = rows and P = columns is cut up on a machine with a DRAM level.

        Raises
        ------
        InputError
            As `lower`.
        """
        return self._builder(machine, rows, columns).blocking(column_tile_of(machine, self), residency)

    def _builder(self, machine: Machine, rows: int, columns: int) -> PlanBuilder:
        tile_runs = deal_tiles(columns, machine.chunk_columns, column_tile_of(machine, self))
        builder = PlanBuilder(machine, self, window_of(machine, self), rows, tile_runs)
        for band in range(-(-rows // machine.band_rows)):
            builder.add_band(band)
        return builder


def held_input(
    machine: Machine, activations: LoweredInput, kept: Callable[[int], int] = lambda channels: channels
) -> HeldInput | None:
    """What of an input is moved from DRAM, `kept` of its channels; None where there is none: nothing depends on it."""
    if not machine.has_dram:
        return None
    return HeldInput(pixels=activations.pixels, channels=kept(activations.pixels.channels))


@dataclass(frozen=True, kw_only=True)
class Window:
    """What one wave works on, at its full size (M3).

    groups, positions, values : int
        Groups of m, positions of K, and stored values a row.
    """

    groups: int
    positions: int
    values: int


def window_of(machine: Machine, how: Stationary) -> Window:
    """The window of a wave (M3).

    Raises
    ------
    InputError
        N is larger than the lanes of a row.
    """
    lanes = machine.core.lanes
    if how.n > lanes:
        raise InputError(f"pattern {how.n}:{how.m}: N is larger than the {lanes} lanes of a core's row")
    groups = lanes // how.n
    return Window(groups=groups, positions=groups * how.m, values=groups * how.n)


def column_tile_of(machine: Machine, how: Stationary) -> int:
    """Columns of a tile: what the register file holds beside the operands, or the machine's own smaller choice (M4).

    Raises
    ------
    InputError
        Not even one chunk fits, or the machine's `column_tile` is larger than what fits.
    """
    window, rows, chunk = window_of(machine, how), machine.core.rows, machine.chunk_columns
    left = machine.rf.bytes
    if machine.rf.holds == "all":
        stored = rows * window.values
        slot = stored * machine.operand_bytes + _bytes_of_bits(stored * how.index_bits)
        left -= WEIGHT_SLOTS * slot + machine.chunk_slots * chunk * window.positions * machine.operand_bytes
    fits = left // (rows * machine.sum_bytes) // chunk * chunk
    if fits <= 0:
        raise InputError(
            f"rf.bytes: value {machine.rf.bytes}: too small for two weight slots, {machine.chunk_slots} chunk slots "
            f"and the sums of one chunk of {chunk} columns when running {how.mode}"
        )
    if machine.column_tile > fits:
        raise InputError(
            f"column_tile: value {machine.column_tile}: the register file holds at most {fits} columns "
            f"when running {how.mode}"
        )
    return machine.column_tile or fits


def deal_tiles(columns: int, chunk: int, column_tile: int) -> list[tuple[int, int, int]]:
    """Deal the chunks of P columns to column tiles as evenly as possible, longer ones first (M4).

    Returns
    -------
    list of (repeats, chunks, columns of the last chunk)

    >>> deal_tiles(49, 2, 26)
    [(1, 13, 2), (1, 12, 1)]
    """
    chunks, tiles = -(-columns // chunk), -(-columns // column_tile)
    short, longer = divmod(chunks, tiles)
    tail = columns - (chunks - 1) * chunk
    dealt = [(longer, short + 1, chunk), (tiles - longer, short, chunk)]
    dealt = [run for run in dealt if run[0]]
    if tail == chunk:
        return dealt
    repeats, last_chunks, _ = dealt.pop()
    if repeats > 1:
        dealt.append((repeats - 1, last_chunks, chunk))
    return [*dealt, (1, last_chunks, tail)]


def _bytes_of_bits(bits: int) -> int:
    return -(-bits // 8)
