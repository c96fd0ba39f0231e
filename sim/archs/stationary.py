"""Lowering to the weight-stationary dataflow that dense, stc and crisp-stc share (docs/microarchitecture.md, M2-M10).

An architecture says how its cores are set up (`Stationary`): the N:M its lanes run, the sets of cores that share
activations, and the positions of K that each block row keeps. Everything else follows here.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..machine import Machine
from ..plan import EVERY_MEMBER, STREAM_FIELDS, TEAM_FIELDS, TILE_FIELDS, WAVE_FIELDS, Lowered, Plan, Ports


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
    """

    n: int = 1
    m: int = 1
    block: int | None = None
    kept_positions: tuple[int, ...]
    kept_blocks: int = 0
    set_cores: int

    @property
    def index_bits(self) -> int:
        """Bits of a stored value's index, ceil(log2 m)."""
        return math.ceil(math.log2(self.m)) if self.m > 1 else 0

    @property
    def mode(self) -> str:
        """How the machine runs, as the `mode` column says it."""
        inner = "dense" if self.m == 1 else f"{self.n}:{self.m}"
        return inner if self.block is None else f"{inner} block {self.block}"

    def lower(self, machine: Machine, rows: int, columns: int) -> Lowered:
        """Lower a group of S = rows and P = columns.

        Raises
        ------
        InputError
            The machine cannot run this pattern.
        """
        column_tile = column_tile_of(machine, self)
        bands = -(-rows // machine.band_rows)
        builder = _Builder(machine, self, rows, deal_tiles(columns, machine.chunk_columns, column_tile))
        for band in range(bands):
            builder.add_band(band)
        return builder.finish(column_tile)


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
        left -= 2 * slot + machine.chunk_slots * chunk * window.positions * machine.operand_bytes
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


@dataclass
class _Waves:
    """The waves over one kind of block row, for members with given rows."""

    lo: int
    hi: int
    periodic_hi: int
    positions: int  # sums over the waves
    stored_values: int  # of one row
    weight_bytes: int  # weights and indices of all members, block columns left out


@dataclass
class _Builder:
    machine: Machine
    how: Stationary
    rows: int
    tile_runs: list[tuple[int, int, int]]
    tiles: list[list[int]] = field(default_factory=list)
    drains: list[list[int]] = field(default_factory=list)
    wave_count: int = 0
    item_bytes: list[np.ndarray] = field(default_factory=list)
    metadata_bytes: list[np.ndarray] = field(default_factory=list)
    kinds: dict[tuple[int, tuple[int, ...]], _Waves] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.window = window_of(self.machine, self.how)
        self.sets = self.machine.core.count // self.how.set_cores
        self.set_tiles: list[list[tuple[list[int], list[int]]]] = [[] for _ in range(self.sets)]
        self.columns = sum(
            repeats * ((chunks - 1) * self.machine.chunk_columns + tail) for repeats, chunks, tail in self.tile_runs
        )
        self.tiles_per_band = sum(repeats for repeats, _, _ in self.tile_runs)

    def add_band(self, band: int) -> None:
        core = self.machine.core
        for index in range(self.sets):
            first_row = band * self.machine.band_rows + index * self.how.set_cores * core.rows
            members = tuple(
                min(core.rows, self.rows - row)
                for row in range(first_row, first_row + self.how.set_cores * core.rows, core.rows)
                if row < self.rows
            )
            if members:
                self._add_set(index, first_row, members)

    def _add_set(self, index: int, first_row: int, members: tuple[int, ...]) -> None:
        block_row = first_row // self.how.block if self.how.block else 0
        waves = self._waves_of(self.how.kept_positions[block_row], members)
        drain = [rows * self.machine.output_bytes for rows in members]
        drain += [0] * (self.how.set_cores - len(members))
        period = self._period()
        for repeats, chunks, tail in self.tile_runs:
            tile = [repeats, waves.lo, waves.hi, chunks, tail, len(members), period, waves.periodic_hi]
            self.set_tiles[index].append((tile, drain))
        self._count(waves, members)

    def _count(self, waves: _Waves, members: tuple[int, ...]) -> None:
        machine, counts, columns = self.machine, self.counts, self.columns
        rows, wave_count = sum(members), waves.hi - waves.lo
        weights = waves.weight_bytes * self.tiles_per_band
        window_reads = waves.positions * columns * machine.operand_bytes * len(members)
        sums = rows * columns * machine.sum_bytes * wave_count
        counts["macs_issued"] += rows * waves.stored_values * columns
        counts["rf_write_bytes"] += weights + window_reads
        counts["rf_read_bytes"] += weights + window_reads
        counts["accumulator_write_bytes"] += sums
        counts["accumulator_read_bytes"] += sums  # no read in the first wave, one more by the drain
        counts["resident_bytes"] += waves.weight_bytes + self.how.kept_blocks * machine.block_index_bytes

    def _period(self) -> int:
        """Waves after which the same number of blocks begins again (1 without blocks)."""
        block = self.how.block or self.window.positions
        return math.lcm(block, self.window.positions) // self.window.positions

    def _waves_of(self, kept: int, members: tuple[int, ...]) -> _Waves:
        """The wave rows over `kept` positions for members with these rows; made once for each kind."""
        known = self.kinds.get((kept, members))
        if known:
            return known
        machine, how, window = self.machine, self.how, self.window
        group_count = -(-kept // how.m)
        count = -(-group_count // window.groups)
        groups = np.full(count, window.groups, np.int64)
        groups[-1] = group_count - (count - 1) * window.groups
        positions = np.full(count, window.positions, np.int64)
        positions[-1] = kept - (count - 1) * window.positions
        begins = np.zeros(count, np.int64)
        if how.block:
            np.add.at(begins, np.arange(how.kept_blocks) * how.block // window.positions, 1)

        sizes = np.zeros((count, 1 + how.set_cores), np.int64)
        metadata = np.zeros_like(sizes)
        sizes[:, 0] = positions * machine.operand_bytes
        weight_bytes = 0
        for member, rows in enumerate(members):
            stored = rows * groups * how.n
            sizes[:, 1 + member] = -(-stored * (machine.operand_bits + how.index_bits) // 8)
            weight_bytes += int(sizes[:, 1 + member].sum())
            if member == 0:
                sizes[:, 1] += begins * machine.block_index_bytes
            metadata[:, 1 + member] = sizes[:, 1 + member] - stored * machine.operand_bytes
        self.item_bytes.append(sizes)
        self.metadata_bytes.append(metadata)
        short = groups[-1] < window.groups or positions[-1] < window.positions
        waves = _Waves(
            lo=self.wave_count,
            hi=self.wave_count + count,
            periodic_hi=self.wave_count + count - int(short),
            positions=kept,
            stored_values=group_count * how.n,
            weight_bytes=weight_bytes,
        )
        self.wave_count += count
        self.kinds[kept, members] = waves
        return waves

    def finish(self, column_tile: int) -> Lowered:
        how, machine = self.how, self.machine
        teams = np.zeros((self.sets, TEAM_FIELDS), np.int64)
        streams: list[list[int]] = []
        team_streams = np.zeros((self.sets, 1 + how.set_cores), np.int64)
        for index, tiles in enumerate(self.set_tiles):
            lo = len(self.tiles)
            self.tiles += [tile for tile, _ in tiles]
            self.drains += [drain for _, drain in tiles]
            hi = len(self.tiles)
            teams[index] = index * how.set_cores, how.set_cores, lo, hi
            team_streams[index] = range(len(streams), len(streams) + 1 + how.set_cores)
            streams.append([index, machine.chunk_slots, 1, EVERY_MEMBER, 0, lo, hi, 0])
            for member in range(how.set_cores):
                used = sum(active > member for _, _, _, _, _, active, _, _ in self.tiles[lo:hi])
                streams.append([index, 2, 0, member, 1 + member, lo, lo + used, member])
        sizes = np.concatenate(self.item_bytes)
        plan = Plan(
            cores=machine.core.count,
            columns=machine.chunk_columns,
            ports=Ports(
                read_bytes_per_cycle=machine.smem.read_bytes_per_cycle,
                write_bytes_per_cycle=machine.smem.write_bytes_per_cycle,
                latency_cycles=machine.smem.latency_cycles,
                pipeline_cycles=machine.core.pipeline_cycles,
            ),
            teams=teams,
            team_streams=team_streams,
            streams=np.array(streams, np.int64).reshape(-1, STREAM_FIELDS),
            queue_priority=np.zeros(self.sets, np.int64),
            tiles=np.array(self.tiles, np.int64).reshape(-1, TILE_FIELDS),
            drain_bytes=np.array(self.drains, np.int64).reshape(-1, how.set_cores),
            waves=np.tile(np.array([[1, self._rf_stall()]], np.int64), (len(sizes), 1)).reshape(-1, WAVE_FIELDS),
            item_bytes=sizes,
            item_metadata_bytes=np.concatenate(self.metadata_bytes),
            item_sharers=np.ones_like(sizes),
            advance=np.ones((len(sizes), 1 + how.set_cores), np.int64),
        )
        groups = range(0, len(streams), 1 + how.set_cores)
        return Lowered(
            plan=plan,
            mode=how.mode,
            column_tile=column_tile,
            activation_streams=tuple(groups),
            weight_streams=tuple(i for i in range(len(streams)) if i not in groups),
            mux_selections=self.counts["macs_issued"] if how.m > 1 else 0,
            **self.counts,
        )

    def _rf_stall(self) -> int:
        """Cycles a column waits for the register file's port beyond its own (M13)."""
        bandwidth = self.machine.rf.read_bytes_per_cycle
        if bandwidth == 0:
            return 0
        return max(1, -(-self.window.positions * self.machine.operand_bytes // bandwidth)) - 1
