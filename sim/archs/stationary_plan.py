"""From a weight-stationary set-up to a plan: waves, tiles, teams and streams (docs/microarchitecture.md, M2-M10)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from ..machine import Machine
from ..plan import (
    ACTIVE,
    EVERY_MEMBER,
    STREAM_FIELDS,
    TEAM_FIELDS,
    TILE_FIELDS,
    WAVE_FIELDS,
    Ints,
    Lowered,
    Plan,
    Ports,
    small_ints,
)

if TYPE_CHECKING:
    from .stationary import Stationary, Window

WEIGHT_SLOTS = 2  # of every core: one in use, one being filled (M9)


@dataclass(frozen=True)
class _Waves:
    """The waves over one kind of block row, for members with given rows."""

    lo: int
    hi: int
    periodic_hi: int
    positions: int  # sums over the waves
    stored_values: int  # of one row
    weight_bytes: int  # weights and indices of all members, block columns left out


class PlanBuilder:
    """Collects the row bands of one convolution group, and makes the plan of them.

    Parameters
    ----------
    machine : Machine
    how : Stationary
    window : Window
        What a wave works on.
    rows : int
        S of the group.
    tile_runs : list of (repeats, chunks, columns of the last chunk)
        The column tiles of every band.
    """

    def __init__(
        self, machine: Machine, how: Stationary, window: Window, rows: int, tile_runs: list[tuple[int, int, int]]
    ) -> None:
        self._machine, self._how, self._window, self._rows, self._tile_runs = machine, how, window, rows, tile_runs
        self._sets = machine.core.count // how.set_cores
        self._tiles_per_band = sum(repeats for repeats, _, _ in tile_runs)
        self._columns = sum(
            repeats * ((chunks - 1) * machine.chunk_columns + tail) for repeats, chunks, tail in tile_runs
        )
        block = how.block or window.positions
        # Waves after which the same number of blocks begins again (1 without blocks).
        self._period = math.lcm(block, window.positions) // window.positions
        self._set_tiles: list[list[list[int]]] = [[] for _ in range(self._sets)]
        self._set_drains: list[list[list[int]]] = [[] for _ in range(self._sets)]
        self._kinds: dict[tuple[int, tuple[int, ...]], _Waves] = {}
        self._wave_count = 0
        self._item_bytes: list[Ints] = []
        self._metadata_bytes: list[Ints] = []
        self._counts: Counter[str] = Counter()

    def add_band(self, band: int) -> None:
        """Add the band's tiles to every sharing set that has rows in it (M2, M5, M6)."""
        core = self._machine.core
        for index in range(self._sets):
            first_row = band * self._machine.band_rows + index * self._how.set_cores * core.rows
            members = tuple(
                min(core.rows, self._rows - row)
                for row in range(first_row, first_row + self._how.set_cores * core.rows, core.rows)
                if row < self._rows
            )
            if members:
                self._add_set(index, first_row, members)

    def _add_set(self, index: int, first_row: int, members: tuple[int, ...]) -> None:
        block_row = first_row // self._how.block if self._how.block else 0
        waves = self._waves_of(self._how.kept_positions[block_row], members)
        drain = [rows * self._machine.output_bytes for rows in members]
        drain += [0] * (self._how.set_cores - len(members))
        for repeats, chunks, tail in self._tile_runs:
            tile = [repeats, waves.lo, waves.hi, chunks, tail, len(members), self._period, waves.periodic_hi]
            self._set_tiles[index].append(tile)
            self._set_drains[index].append(drain)
        self._count(waves, members)

    def _count(self, waves: _Waves, members: tuple[int, ...]) -> None:
        machine, counts, columns = self._machine, self._counts, self._columns
        rows, wave_count = sum(members), waves.hi - waves.lo
        weights = waves.weight_bytes * self._tiles_per_band
        window_reads = waves.positions * columns * machine.operand_bytes * len(members)
        sums = rows * columns * machine.sum_bytes * wave_count
        counts["macs_issued"] += rows * waves.stored_values * columns
        counts["rf_write_bytes"] += weights + window_reads
        counts["rf_read_bytes"] += weights + window_reads
        counts["accumulator_write_bytes"] += sums
        counts["accumulator_read_bytes"] += sums  # no read in the first wave, one more by the drain
        counts["resident_bytes"] += waves.weight_bytes

    def _waves_of(self, kept: int, members: tuple[int, ...]) -> _Waves:
        """The wave rows over `kept` positions for members with these rows; made once for each kind."""
        known = self._kinds.get((kept, members))
        if known:
            return known
        machine, how, window = self._machine, self._how, self._window
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
        self._item_bytes.append(sizes)
        self._metadata_bytes.append(metadata)
        short = groups[-1] < window.groups or positions[-1] < window.positions
        waves = _Waves(
            lo=self._wave_count,
            hi=self._wave_count + count,
            periodic_hi=self._wave_count + count - int(short),
            positions=kept,
            stored_values=group_count * how.n,
            weight_bytes=weight_bytes,
        )
        self._wave_count += count
        self._kinds[kept, members] = waves
        return waves

    def finish(self, column_tile: int) -> Lowered:
        """The plan of all bands added, with the counts that follow from it."""
        how, machine = self._how, self._machine
        teams = np.zeros((self._sets, TEAM_FIELDS), np.int64)
        streams: list[list[int]] = []
        team_streams = np.zeros((self._sets, 1 + how.set_cores), np.int64)
        lo = 0
        for index, tiles in enumerate(self._set_tiles):
            hi = lo + len(tiles)
            teams[index] = index * how.set_cores, how.set_cores, lo, hi
            team_streams[index] = range(len(streams), len(streams) + 1 + how.set_cores)
            streams.append([index, machine.chunk_slots, 1, EVERY_MEMBER, 0, lo, hi, 0])
            for member in range(how.set_cores):
                used = sum(tile[ACTIVE] > member for tile in tiles)
                streams.append([index, WEIGHT_SLOTS, 0, member, 1 + member, lo, lo + used, member])
            lo = hi
        sizes = small_ints(np.concatenate(self._item_bytes))
        plan = Plan(
            cores=machine.core.count,
            columns=machine.chunk_columns,
            ports=Ports.of(machine),
            teams=teams,
            team_streams=team_streams,
            streams=np.array(streams, np.int64).reshape(-1, STREAM_FIELDS),
            queue_priority=np.zeros(self._sets, np.int64),
            tiles=np.array([*chain(*self._set_tiles)], np.int64).reshape(-1, TILE_FIELDS),
            drain_bytes=np.array([*chain(*self._set_drains)], np.int64).reshape(-1, how.set_cores),
            waves=np.tile(small_ints([[1, self._rf_stall()]]), (len(sizes), 1)).reshape(-1, WAVE_FIELDS),
            item_bytes=sizes,
            item_metadata_bytes=small_ints(np.concatenate(self._metadata_bytes)),
            item_sharers=np.ones_like(sizes),
            advance=np.ones((len(sizes), 1 + how.set_cores), np.int32),
        )
        activation_streams = range(0, len(streams), 1 + how.set_cores)
        if how.block:  # the block columns of a block row, once
            self._counts["resident_bytes"] += len(how.kept_positions) * how.kept_blocks * machine.block_index_bytes
        return Lowered(
            plan=plan,
            mode=how.mode,
            column_tile=column_tile,
            activation_streams=tuple(activation_streams),
            weight_streams=tuple(i for i in range(len(streams)) if i not in activation_streams),
            mux_selections=self._counts["macs_issued"] if how.m > 1 else 0,
            mux2_selections=self._counts["macs_issued"] * (how.m - 1),
            popcount_adders=0,
            crossbar_bits=0,
            item_slices=None,
            **self._counts,
        )

    def _rf_stall(self) -> int:
        """Cycles a column waits for the register file's port beyond its own (M13)."""
        bandwidth = self._machine.rf.read_bytes_per_cycle
        if bandwidth == 0:
            return 0
        return max(1, -(-self._window.positions * self._machine.operand_bytes // bandwidth)) - 1
