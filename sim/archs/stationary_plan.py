"""From a weight-stationary set-up to a plan: waves, tiles, teams and streams (docs/microarchitecture.md, M2-M10)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..blocking import (
    INPUTS_STREAMED,
    Blocking,
    Demand,
    InputUnits,
    Pieces,
    Residency,
    cell_table,
    choose,
    later_needs,
    memory_of,
)
from ..machine import Machine
from ..plan import (
    ACTIVE,
    EVERY_MEMBER,
    INPUT_BASE,
    INPUT_LATER,
    INPUTS,
    PERIOD,
    PERIODIC_HI,
    REPEAT,
    STEPS,
    STREAM_FIELDS,
    TAIL_COLUMNS,
    TEAM_FIELDS,
    TEAM_TILE_HI,
    TEAM_TILE_LO,
    TILE_FIELDS,
    WAVE_FIELDS,
    WAVE_HI,
    WAVE_LO,
    WEIGHT_BASE,
    WEIGHT_LATER,
    WEIGHTS,
    Ints,
    Lowered,
    Memory,
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
        # Of every set, the bands it has rows in: the first ones, since inactive cores are the last of the last band.
        self._set_bands: list[list[tuple[_Waves, tuple[int, ...]]]] = [[] for _ in range(self._sets)]
        self._kinds: dict[tuple[int, tuple[int, ...]], _Waves] = {}
        self._wave_count = 0
        self._item_bytes: list[Ints] = []
        self._tables: dict[int, Ints] = {}  # those of item bytes, by their first wave
        self._metadata_bytes: list[Ints] = []
        self._counts: Counter[str] = Counter()

    def add_band(self, band: int) -> None:
        """Add the band to every sharing set that has rows in it (M2, M5, M6)."""
        core = self._machine.core
        for index in range(self._sets):
            first_row = band * self._machine.band_rows + index * self._how.set_cores * core.rows
            members = tuple(
                min(core.rows, self._rows - row)
                for row in range(first_row, first_row + self._how.set_cores * core.rows, core.rows)
                if row < self._rows
            )
            if members:
                block_row = first_row // self._how.block if self._how.block else 0
                waves = self._waves_of(self._how.kept_positions[block_row], members)
                self._set_bands[index].append((waves, members))
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
        self._tables[self._wave_count] = sizes
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

    def finish(self, column_tile: int, residency: Residency) -> Lowered:
        """The plan of all bands added, with the counts that follow from it."""
        how, machine = self._how, self._machine
        blocking = self.blocking(column_tile, residency) if machine.has_dram else None
        teams = np.zeros((self._sets, TEAM_FIELDS), np.int64)
        streams: list[list[int]] = []
        stream_fill: list[int] = []
        team_streams = np.zeros((self._sets, 1 + how.set_cores), np.int64)
        all_tiles: list[Ints] = []
        all_drains: list[Ints] = []
        all_cells: list[Ints] = []
        lo = 0
        for index in range(self._sets):
            tiles, drains, cells = self._tiles_of_set(index, blocking)
            hi = lo + len(tiles)
            teams[index] = index * how.set_cores, how.set_cores, lo, hi
            team_streams[index] = range(len(streams), len(streams) + 1 + how.set_cores)
            streams.append([index, machine.chunk_slots, 1, EVERY_MEMBER, 0, lo, hi, 0])
            stream_fill += [INPUTS] + [WEIGHTS] * how.set_cores
            for member in range(how.set_cores):
                used = int(np.count_nonzero(tiles[:, ACTIVE] > member))
                if used and blocking:  # bands in which it has no rows stand among the others
                    used = hi - lo
                streams.append([index, WEIGHT_SLOTS, 0, member, 1 + member, lo, lo + used, member])
            lo = hi
            all_tiles.append(tiles)
            all_drains.append(drains)
            all_cells.append(cells)
        sizes = small_ints(np.concatenate(self._item_bytes))
        plan = Plan(
            cores=machine.core.count,
            columns=machine.chunk_columns,
            ports=Ports.of(machine),
            teams=teams,
            team_streams=team_streams,
            streams=np.array(streams, np.int64).reshape(-1, STREAM_FIELDS),
            queue_priority=np.zeros(self._sets, np.int64),
            tiles=np.concatenate(all_tiles),
            drain_bytes=np.concatenate(all_drains),
            waves=np.tile(small_ints([[1, self._rf_stall()]]), (len(sizes), 1)).reshape(-1, WAVE_FIELDS),
            item_bytes=sizes,
            item_metadata_bytes=small_ints(np.concatenate(self._metadata_bytes)),
            item_sharers=np.ones_like(sizes),
            advance=np.ones((len(sizes), 1 + how.set_cores), np.int32),
        )
        plan = replace(plan, memory=self._memory(plan, blocking, np.concatenate(all_cells), stream_fill, residency))
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

    def _tiles_of_set(self, index: int, blocking: Blocking | None) -> tuple[Ints, Ints, Ints]:
        """A set's rows of the tile table, bytes each member drains a column, and, with a blocking, each row's cell.

        int64, (rows, tile fields), (rows, members), (rows,). Without a blocking bands come one after another, each with
        its column tiles, equal ones in one row; with one a row is a cell.
        """
        bands, machine = self._set_bands[index], self._machine
        fields = np.array(
            [[waves.lo, waves.hi, len(members), waves.periodic_hi] for waves, members in bands], np.int64
        ).reshape(-1, 4)
        drains = np.zeros((len(bands), self._how.set_cores), np.int64)
        for band, (_, members) in enumerate(bands):
            drains[band, : len(members)] = np.array(members) * machine.output_bytes
        runs = np.array(self._tile_runs, np.int64)
        if blocking is None:
            cells = np.zeros(0, np.int64)
            band, run = np.repeat(np.arange(len(bands)), len(runs)), np.tile(np.arange(len(runs)), len(bands))
        else:
            runs = np.repeat(runs, runs[:, 0], axis=0)
            runs[:, 0] = 1
            cells = np.flatnonzero(blocking.bands < len(bands))
            band, run = blocking.bands[cells], blocking.turns[cells]
        tiles = np.zeros((len(band), TILE_FIELDS), np.int64)
        tiles[:, REPEAT], tiles[:, STEPS], tiles[:, TAIL_COLUMNS] = runs[run].T
        tiles[:, WAVE_LO], tiles[:, WAVE_HI], tiles[:, ACTIVE], tiles[:, PERIODIC_HI] = fields[band].T
        tiles[:, PERIOD] = self._period
        return tiles, drains[band], cells

    def blocking(self, column_tile: int, residency: Residency) -> Blocking:
        """Cut the group up for an SMEM that does not hold all of it (D1-D6)."""
        machine, how = self._machine, self._how
        count = len(self._set_bands[0])
        sizes: dict[tuple[tuple[int, int], ...], int] = {}
        weights: list[Ints] = []
        chunks: list[Ints] = []  # bytes a column that all sets read in a wave
        kinds = np.zeros(count, np.int64)
        for band in range(count):
            sets = [own[band][0] for own in self._set_bands if band < len(own)]
            key = tuple((waves.lo, waves.hi) for waves in sets)
            if key not in sizes:
                sizes[key] = len(weights)
                most = max(waves.hi - waves.lo for waves in sets)
                stored, read = np.zeros(most, np.int64), np.zeros(most, np.int64)
                for waves in sets:
                    table = self._tables[waves.lo]
                    stored[: len(table)] += table[:, 1:].sum(axis=1)
                    read[: len(table)] += table[:, 0]
                weights.append(stored)
                chunks.append(read)
            kinds[band] = sizes[key]
        columns = np.array(
            [
                (steps - 1) * machine.chunk_columns + tail
                for repeats, steps, tail in self._tile_runs
                for _ in range(repeats)
            ],
            np.int64,
        )
        widths, turn_kinds = np.unique(columns, return_inverse=True)
        streamed = [read * width for read in chunks for width in widths]
        inputs = None
        if residency.kept_input_bytes is None:
            assert how.held is not None
            pixel_bytes = how.held.channels * machine.operand_bytes
            lo, hi = how.held.pixels.reaches(np.concatenate([[0], np.cumsum(columns)]))
            inputs = InputUnits.of(lo, hi, lambda i, j: (j - i) * pixel_bytes)
        staging = 2 * min(self._rows, machine.band_rows) * min(self._columns, column_tile) * machine.output_bytes
        return choose(
            Demand(
                capacity=machine.smem.capacity_bytes - residency.kept_bytes,
                staging=staging if residency.kept_output_bytes is None else 0,
                bands=count,
                turns=len(columns),
                weights=Pieces(kinds=weights),
                band_kinds=kinds,
                inputs=inputs,
                streamed=Pieces(kinds=streamed),
                cell_kinds=lambda bands, turns: kinds[bands] * len(widths) + turn_kinds[turns],
                streamed_bytes=sum(int(chunks[kind].sum()) for kind in kinds) * self._columns,
                read_ahead=machine.chunk_slots + 1,
                in_flight=machine.dram.bytes_per_cycle * machine.dram.latency_cycles,
                prefetch_bytes=residency.prefetch_bytes,
            )
        )

    def _memory(
        self, plan: Plan, blocking: Blocking | None, cells: Ints, stream_fill: list[int], residency: Residency
    ) -> Memory | None:
        if blocking is None:
            return None
        offsets = np.concatenate([np.arange(len(table)) for table in self._item_bytes])
        streamed = blocking.name in INPUTS_STREAMED
        pieces = np.stack([offsets * int(streamed), offsets], axis=1)
        table = cell_table(blocking, cells)
        for lo, hi in plan.teams[:, TEAM_TILE_LO : TEAM_TILE_HI + 1]:
            own = table[lo:hi]
            own[:, INPUT_LATER] = later_needs(own[:, INPUT_BASE])
            own[:, WEIGHT_LATER] = later_needs(own[:, WEIGHT_BASE])
        return memory_of(
            self._machine,
            blocking,
            residency,
            cells=table,
            stream_fill=np.array(stream_fill, np.int64),
            item_pieces=pieces,
            step_pieces=pieces,
        )

    def _rf_stall(self) -> int:
        """Cycles a column waits for the register file's port beyond its own (M13)."""
        bandwidth = self._machine.rf.read_bytes_per_cycle
        if bandwidth == 0:
            return 0
        return max(1, -(-self._window.positions * self._machine.operand_bytes // bandwidth)) - 1
