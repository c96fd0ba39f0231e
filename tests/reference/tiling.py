"""What section 1 of the law decides before the clock starts: the machine, the mode, sets, tiles and windows.

The cycle-by-cycle part of the twin is `stationary.py`; M1-M6 are rules of `docs/microarchitecture.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import lcm
from typing import TYPE_CHECKING

from .result import ceil_div

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class RefMachine:
    """The machine; defaults as the preset `edge`. `column_tile` 0 takes the widest that fits."""

    cores: int = 4
    rows: int = 8
    lanes: int = 8
    rf_bytes: int = 1024
    rf_holds: str = "all"  # or "sums": the operands stream through registers outside
    rf_read_bytes_per_cycle: int = 0  # 0: no limit
    operand_bytes: int = 1
    sum_bytes: int = 4
    output_bytes: int = 1
    chunk_columns: int = 2
    chunk_slots: int = 4
    column_tile: int = 0
    read_bytes_per_cycle: int = 64
    write_bytes_per_cycle: int = 64
    latency_cycles: int = 2
    pipeline_cycles: int = 4
    block_index_bytes: int = 2

    def __post_init__(self) -> None:
        may_be_zero = ("rf_read_bytes_per_cycle", "column_tile", "pipeline_cycles", "block_index_bytes")
        for name, value in vars(self).items():
            if name != "rf_holds" and value < (0 if name in may_be_zero else 1):
                raise ValueError(f"machine: {name}={value} is too small")
        if self.rf_holds not in ("all", "sums"):
            raise ValueError(f"machine: rf_holds={self.rf_holds!r} is neither 'all' nor 'sums'")


@dataclass(frozen=True)
class Mode:
    """How the machine runs the weights (M3): n stored values per group of m positions."""

    n: int
    m: int
    groups_per_window: int

    @property
    def index_bits(self) -> int:
        return (self.m - 1).bit_length()  # ceil(log2 m)

    @property
    def positions_per_window(self) -> int:
        return self.m * self.groups_per_window

    def __str__(self) -> str:
        return "dense" if self.m == 1 else f"{self.n}:{self.m}"


@dataclass(frozen=True)
class Window:
    """The positions of K that one wave works on."""

    positions: list[int]
    groups: int
    blocks_beginning: int


def choose_mode(machine: RefMachine, arch: str, k: int, s: int, n: int, m: int, mask: np.ndarray | None) -> Mode:
    """Decide how the architecture runs these weights (M3, section 6)."""
    if not 1 <= n <= m:
        raise ValueError(f"pattern {n}:{m}: 1 <= n <= m is needed")
    if arch == "dense":
        n, m = 1, 1
    elif arch == "stc":
        if mask is None:
            raise ValueError("stc: a mask is needed to decide between 2:4 and dense")
        n, m = (2, 4) if fits_2_of_4(mask, s, k) else (1, 1)
    elif arch == "crisp-stc":
        n, m = (1, 1) if n == m else (n, m)
    else:
        raise ValueError(f"arch={arch!r} is none of dense, stc, crisp-stc")
    if n > machine.lanes:
        raise ValueError(f"{arch}: {n}:{m} needs {n} lanes, the machine has {machine.lanes}")
    return Mode(n, m, machine.lanes // n)


def fits_2_of_4(mask: np.ndarray, s: int, k: int) -> bool:
    """Tell whether every aligned group of 4 positions of every row has at most 2 nonzeros."""
    if mask.shape != (s, k):
        raise ValueError(f"stc: mask has shape {mask.shape}, the weights {(s, k)}")
    return all(
        sum(1 for nonzero in row[first : first + 4] if nonzero) <= 2
        for row in mask.tolist()
        for first in range(0, k, 4)
    )


def cores_per_set(machine: RefMachine, block: int | None, m: int) -> int:
    """Return how many neighbouring cores share their chunks (M5)."""
    band_rows = machine.cores * machine.rows
    if block is None:
        return machine.cores
    if block < 1 or block % lcm(machine.rows, m) != 0:
        raise ValueError(f"crisp-stc: block={block} is not a multiple of lcm({machine.rows}, {m})")
    if block % band_rows == 0:
        return machine.cores
    if band_rows % block == 0:
        return block // machine.rows
    raise ValueError(f"crisp-stc: block={block} neither divides {band_rows} rows nor is a multiple of them")


def choose_column_tile(machine: RefMachine, mode: Mode) -> int:
    """Return the columns of the widest tile: the first multiple of c too wide for the RF, less c (M4)."""
    operands = 0
    if machine.rf_holds == "all":
        values = machine.rows * mode.groups_per_window * mode.n
        slot = values * machine.operand_bytes + ceil_div(values * mode.index_bits, 8)
        chunk = machine.chunk_columns * mode.positions_per_window * machine.operand_bytes
        operands = 2 * slot + machine.chunk_slots * chunk
    nmax = 0
    while machine.rows * (nmax + machine.chunk_columns) * machine.sum_bytes + operands <= machine.rf_bytes:
        nmax += machine.chunk_columns
    if nmax == 0:
        raise ValueError(f"{mode}: rf_bytes={machine.rf_bytes} has no room for one chunk's sums")
    if machine.column_tile == 0:
        return nmax
    if machine.column_tile > nmax or machine.column_tile % machine.chunk_columns != 0:
        raise ValueError(f"{mode}: column_tile={machine.column_tile} is not a multiple of c up to {nmax}")
    return machine.column_tile


def deal_chunks(machine: RefMachine, p: int, column_tile: int) -> list[list[int]]:
    """Deal the chunks of a band to its tiles (M4): the columns of each chunk of each tile."""
    chunks = []
    left = p
    while left > 0:
        chunks.append(min(machine.chunk_columns, left))
        left -= chunks[-1]
    lengths = [0] * ceil_div(p, column_tile)
    for i in range(len(chunks)):  # one at a time, like cards: the earlier tiles end up longer
        lengths[i % len(lengths)] += 1
    tiles = []
    for length in lengths:
        tiles.append(chunks[:length])
        chunks = chunks[length:]
    return tiles


def check_block_cols(s: int, k: int, block: int, block_cols: list[list[int]] | None) -> None:
    """Check the kept block columns: a list for each block row, ascending, in range, none of them empty."""
    if block_cols is None or len(block_cols) != ceil_div(s, block):
        raise ValueError(f"crisp-stc: block_cols needs a list for each of {ceil_div(s, block)} block rows")
    for row, kept in enumerate(block_cols):
        if not kept:
            raise ValueError(f"crisp-stc: block row {row} keeps no block: no wave would write its zeros")
        if any(a >= b for a, b in pairwise(kept)) or kept[0] < 0 or kept[-1] * block >= k:
            raise ValueError(f"crisp-stc: block row {row}: {kept} is not ascending inside K={k}")


def cut_windows(mode: Mode, k: int, block: int | None, kept: list[int] | None) -> list[Window]:
    """Cut a block row's list of positions into groups and these into windows (M3)."""
    if block is None:
        positions, block_firsts = list(range(k)), []
    else:
        positions = [x for col in kept for x in range(col * block, (col + 1) * block) if x < k]
        block_firsts = [col * block for col in kept]
    groups = [positions[i : i + mode.m] for i in range(0, len(positions), mode.m)]
    windows = []
    for i in range(0, len(groups), mode.groups_per_window):
        mine = groups[i : i + mode.groups_per_window]
        inside = [x for group in mine for x in group]
        windows.append(Window(inside, len(mine), sum(1 for first in block_firsts if first in inside)))
    return windows


def kept_channels(k: int, channels: int, block: int | None, block_cols: list[list[int]] | None) -> int:
    """Return how many channels of the input some block row keeps a position of (D2)."""
    if block is None or block_cols is None:
        return channels
    kept = [x for row in block_cols for col in row for x in range(col * block, (col + 1) * block) if x < k]
    return len({x % channels for x in kept})
