"""A plan: what the engine runs, as integer arrays in compressed form.

An architecture lowers one convolution group to a plan; the engine knows nothing else. What repeats is stored
once with its count, so that a layer of 10^11 MACs needs kilobytes.

Teams, streams, queues
----------------------
A *team* is a group of neighbouring cores in lockstep (a sharing set). It runs its rows of `tiles` one after
another, each `repeat` times; a tile runs its rows of `waves`; a wave takes as many steps as the tile has chunks.
A tile without waves takes no time, and its outputs are written when the tile before it
ends. A *stream* brings operands to the teams that share it, in order, into its slots. It walks rows of `tiles` and of
the item tables of its own (a team's, where the stream is a team's own), with one item a step or one a wave. A *queue*
is a fixed order of reads over one or several streams; its head waits for its slot, and nothing overtakes it. Queues of
a lower `priority` number go first at the read port, round robin among equals.

docs/microarchitecture.md holds the law; M-numbers in the code name its rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .machine import Machine

Ints = npt.NDArray[np.int64]
SmallInts = npt.NDArray[np.int32]  # of the tables with a row for every wave or item, which can be long

# Columns of Plan.tiles.
REPEAT, WAVE_LO, WAVE_HI, STEPS, TAIL_COLUMNS, ACTIVE, PERIOD, PERIODIC_HI = range(8)
TILE_FIELDS = 8

# Columns of Plan.waves.
BUSY, RF = range(2)
WAVE_FIELDS = 2

# Columns of Plan.teams.
FIRST_CORE, CORES, TEAM_TILE_LO, TEAM_TILE_HI = range(4)
TEAM_FIELDS = 4

# The two fill streams from DRAM; columns of Memory.item_pieces and Memory.step_pieces.
INPUTS, WEIGHTS = range(2)

# Columns of Memory.cells.
PASS, INPUT_BASE, WEIGHT_BASE, INPUT_LATER, WEIGHT_LATER = range(5)
CELL_FIELDS = 5

# Columns of Fills.visits.
NEED_CELL, SIZE_LO, PIECES = range(3)

NO_PIECE = -1
NEVER = 1 << 62  # a piece that is not needed any more: later than all

# Columns of Plan.streams.
QUEUE, SLOTS, PER_STEP, MEMBER, ITEM_COLUMN, STREAM_TILE_LO, STREAM_TILE_HI, LAG = range(8)
STREAM_FIELDS = 8

EVERY_MEMBER = -1


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The SMEM's ports and the depth of the pipeline behind the MACs.

    read_bytes_per_cycle, write_bytes_per_cycle : int
    latency_cycles : int
        From a transfer's last byte to the first step that may use it; at least 1.
    pipeline_cycles : int
        From a step's end to the write of its results.
    """

    read_bytes_per_cycle: int
    write_bytes_per_cycle: int
    latency_cycles: int
    pipeline_cycles: int

    @classmethod
    def of(cls, machine: Machine) -> Ports:
        """Those of a machine."""
        return cls(
            read_bytes_per_cycle=machine.smem.read_bytes_per_cycle,
            write_bytes_per_cycle=machine.smem.write_bytes_per_cycle,
            latency_cycles=machine.smem.latency_cycles,
            pipeline_cycles=machine.core.pipeline_cycles,
        )


@dataclass(frozen=True, kw_only=True)
class Fills:
    """What one stream brings from DRAM into the SMEM, piece by piece (D8).

    visits : int64, (visits, 3)
        Cell that needs it first, first row of `sizes`, number of pieces.
    sizes : int64, (rows,)
        Bytes of a piece; visits may share rows.
    slots : int
        Pieces the SMEM holds at a time.
    prefetched : int
        Pieces there from the start (D21).
    """

    visits: Ints
    sizes: Ints
    slots: int
    prefetched: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of all pieces, those prefetched too."""
        sums = np.concatenate([[0], np.cumsum(self.sizes)])
        lo = self.visits[:, SIZE_LO]
        return int((sums[lo + self.visits[:, PIECES]] - sums[lo]).sum())

    @property
    def prefetched_bytes(self) -> int:
        """Bytes of the pieces there from the start."""
        left, total = self.prefetched, 0
        for _, lo, pieces in self.visits.tolist():
            if left <= 0:
                break
            total += int(self.sizes[lo : lo + min(left, pieces)].sum())
            left -= pieces
        return total


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The level behind the SMEM, and what moves between the two (section 8 of the law).

    bytes_per_cycle, latency_cycles, burst_bytes : int
        The channel's bandwidth, its latency, the longest burst.
    blocking : str
        The name of the blocking (D6).
    fills : (Fills, Fills)
        Inputs and weights.
    cells : int64, (tiles, 5)
        Beside each row of `Plan.tiles`: its pass (D7); the number of its input and of its weight piece, to which
        `step_pieces` and `item_pieces` are added (-1: needs none); the lowest number that its team needs of each in
        later rows (NEVER: none).
    stream_fill : int64, (streams,)
        The fill stream that a stream's items come from: INPUTS or WEIGHTS.
    item_pieces, step_pieces : int64, (items, 2) and (waves, 2)
        What is added to the number of a row's piece for this item of a stream, or this wave of a team.
    writes_back : bool
        Whether outputs leave for DRAM (False: they stay, D20).
    residual : bool
        Whether as many bytes are read for every output written back (D15).
    output_bytes : int
        Of one output.
    nonzeros, values : int
        Of the group's input, where outputs are written back compressed as it is (D14); values 0: as they are.
    """

    bytes_per_cycle: int
    latency_cycles: int
    burst_bytes: int
    blocking: str
    fills: tuple[Fills, Fills]
    cells: Ints
    stream_fill: Ints
    item_pieces: Ints
    step_pieces: Ints
    writes_back: bool
    residual: bool
    output_bytes: int
    nonzeros: int
    values: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One convolution group, lowered.

    Attributes
    ----------
    cores : int
    columns : int
        Columns of a full chunk; the last step of a tile has TAIL_COLUMNS.
    ports : Ports
    teams : int64, (teams, 4)
        First core, number of cores, and the tile rows [lo, hi).
    team_streams : int64, (teams, operands)
        The stream of each operand, -1 where a team has fewer.
    streams : int64, (streams, 8)
        Queue; slots; 1 for an item a step, 0 for one a wave; the member it is for (-1: every one); the column of
        `item_bytes` that holds its sizes; tile rows [lo, hi); and, for an item a wave, its LAG: items beyond the
        first SLOTS stand in the queue at step min(LAG, last) of the wave before (M10).
    queue_priority : int64, (queues,)
        From 0, the first to be served, to queues - 1.
    tiles : int64, (tiles, 8)
        Times it repeats; wave rows [lo, hi); steps a wave; columns of the last step; active cores; PERIOD: rows w and
        w + PERIOD of [lo, PERIODIC_HI) are equal in every wave table (0: nothing is known).
    drain_bytes : int64, (tiles, members)
        Bytes each member writes per column of the tile.
    waves : int32, (waves, 2)
        Busy and register-file-stall cycles per column.
    item_bytes, item_metadata_bytes : int32, (items, item columns)
        Size of a stream's item of that wave of the stream's tiles, and how much of it is metadata; per column for an
        item a step.
    item_sharers : int32, (items, item columns)
        Teams that need the item; its slot is freed when all of them are done.
    advance : int32, (waves, operands)
        By how many items of the operand's stream this wave moves on from the one before (1 unless it skips some).
    memory : Memory or None
        None: everything lies in the SMEM.
    """

    cores: int
    columns: int
    ports: Ports
    teams: Ints
    team_streams: Ints
    streams: Ints
    queue_priority: Ints
    tiles: Ints
    drain_bytes: Ints
    waves: SmallInts
    item_bytes: SmallInts
    item_metadata_bytes: SmallInts
    item_sharers: SmallInts
    advance: SmallInts
    memory: Memory | None = None

    @property
    def compute_bound_cycles(self) -> int:
        """Step cycles of the busiest core, stall_rf included (hardware.md section 6)."""
        cycles = [0] * self.cores
        step_cycles = self.tiles[:, REPEAT] * self._tile_columns() * self._sums_of_tiles(self.waves.sum(axis=1))
        for first, count, lo, hi in self.teams.tolist():
            for member in range(count):
                active = self.tiles[lo:hi, ACTIVE] > member
                cycles[first + member] = int(step_cycles[lo:hi][active].sum())
        return max(cycles, default=0)

    def check_range(self) -> None:
        """Refuse a plan whose byte positions could pass the engine's integers.

        No run is longer than all its steps, transfers and waits one after another, at a byte a cycle.

        Raises
        ------
        OverflowError
            That many cycles, times the wider port, pass 2^62.
        """
        ports, longest = self.ports, 0.0  # floats do not wrap around, and are near enough
        repeats, columns = self.tiles[:, REPEAT].astype(float), self._tile_columns()
        waits = ports.latency_cycles + ports.pipeline_cycles + 2
        item_bytes = [self._sums_of_tiles(column) for column in self.item_bytes.T]
        for stream in self.streams.tolist():
            own = slice(stream[STREAM_TILE_LO], stream[STREAM_TILE_HI])
            times = columns[own] if stream[PER_STEP] else 1
            longest += float((repeats[own] * times * item_bytes[stream[ITEM_COLUMN]][own]).sum())
        work = columns * (self._sums_of_tiles(self.waves.sum(axis=1)) + self.drain_bytes.sum(axis=1))
        work += (self.tiles[:, WAVE_HI] - self.tiles[:, WAVE_LO]) * self.tiles[:, STEPS] * waits
        for _, _, lo, hi in self.teams.tolist():
            longest += float((repeats[lo:hi] * work[lo:hi]).sum())
        widest = max(ports.read_bytes_per_cycle, ports.write_bytes_per_cycle)
        if self.memory:
            outputs = float((repeats * columns * self.drain_bytes.sum(axis=1)).sum())
            moved = 3.0 * outputs + sum(fills.bytes for fills in self.memory.fills)
            longest += moved * (2 + self.memory.latency_cycles)
            widest = max(widest, self.memory.bytes_per_cycle)
        if longest * widest >= 1 << 62:
            raise OverflowError(f"about {longest:.3g} cycles: too long for the engine's 64-bit byte positions")

    def _tile_columns(self) -> Ints:
        """Columns of each tile: int64, (tiles,)."""
        return (self.tiles[:, STEPS] - 1) * self.columns + self.tiles[:, TAIL_COLUMNS]

    def _sums_of_tiles(self, values: npt.NDArray[np.integer]) -> Ints:
        """Sum of a column of a wave or item table over each tile's rows: int64, (tiles,).

        Meaningful for the tiles of those that walk the table.
        """
        sums = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
        lo, hi = (np.minimum(self.tiles[:, column], len(values)) for column in (WAVE_LO, WAVE_HI))
        return sums[hi] - sums[lo]


def small_ints(values: npt.ArrayLike) -> SmallInts:
    """The same numbers as int32, for the tables of a plan.

    Raises
    ------
    OverflowError
        One of them does not fit.
    """
    wide = np.asarray(values, np.int64)
    if wide.size and max(-int(wide.min()), int(wide.max())) >= 1 << 31:
        raise OverflowError(f"a wave or transfer of {int(wide.max()):.3g}: too large for the engine's 32-bit tables")
    return wide.astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """A plan with the counts that follow from it in closed form.

    macs_issued : MAC slots driven. mux_selections : selections of the activation-selection unit; mux2_selections : of
    the two-way MUXes that it is made of. popcount_adders, crossbar_bits : dstc's (docs/energy.md, E3). resident_bytes :
    the weights as stored, once, with their metadata. The rest in bytes too; `docs/microarchitecture.md` sections 5 and
    6 define each. `weight_streams` and `activation_streams` tell the plan's streams apart. `item_slices` : int64,
    (items,) or None, says what each row of the item tables is where their order does not: dstc's (band * turns +
    turn) * slices + slice.
    """

    plan: Plan
    mode: str
    column_tile: int
    weight_streams: tuple[int, ...]
    activation_streams: tuple[int, ...]
    macs_issued: int
    mux_selections: int
    mux2_selections: int
    popcount_adders: int
    crossbar_bits: int
    resident_bytes: int
    rf_read_bytes: int
    rf_write_bytes: int
    accumulator_read_bytes: int
    accumulator_write_bytes: int
    item_slices: Ints | None
