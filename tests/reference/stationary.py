"""Reference twin of dense, stc and crisp-stc: the weight-stationary machine, stepped one cycle at a time.

Written from `docs/microarchitecture.md` alone (its rules M1-M17 are cited below) and without sight of `sim/`.
One call is one convolution group, `Y[S,P] = W[S,K] X[K,P]`. In every cycle, in this order: steps end, steps
start, the running steps work, the two ports serve that cycle's bytes, every core says what it was doing.
Nothing is skipped and nothing is solved for. What is decided before the first cycle is in `tiling.py`, and with a DRAM
(rules D1-D21) in `blocking.py`; what moves behind the SMEM is in `dram.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from .blocking import Cell, Units, choose_blocking
from .dram import BackBurst, DramLevel, Piece, RefDram, RefInput, SetCell, WriteQueue
from .ports import Port, Write, WritePort, circular
from .result import STATES, RefResult, ceil_div, collect
from .tiling import (
    Mode,
    RefMachine,
    Window,
    check_block_cols,
    choose_column_tile,
    choose_mode,
    cores_per_set,
    cut_windows,
    deal_chunks,
    kept_channels,
)

if TYPE_CHECKING:
    import numpy as np

__all__ = ["STATES", "RefMachine", "RefResult", "run_reference"]


@dataclass
class Wave:
    """One stationary weight tile per active member of a set, held while the column tile streams past."""

    number: int
    window: Window
    rows: list[int]  # real rows of each member, 0: inactive in this band
    first_of_tile: bool
    last_of_tile: bool
    cell: Cell
    place: int  # among the waves of its tile
    outputs: SetCell | None  # with a DRAM: of its tile
    steps: list[Step] = field(default_factory=list)

    def active(self) -> list[int]:
        return [member for member, rows in enumerate(self.rows) if rows > 0]


@dataclass
class Step:
    """One chunk of columns going through the lanes."""

    number: int
    wave: Wave
    place: int  # i of "the i-th chunk of the tile" (M12)
    columns: int
    start: int | None = None
    ended: bool = False
    pieces: list[Piece] = field(default_factory=list)  # that it needs (D8)

    def first_of_tile(self) -> bool:
        return self.wave.first_of_tile and self.place == 0


@dataclass(frozen=True)
class WaveEnd:
    """The moment that frees the weight slots of a wave."""

    wave: Wave

    @property
    def ended(self) -> bool:
        return self.wave.steps[-1].ended


@dataclass
class Read:
    """One transfer from SMEM: the chunk of a step (member None) or one member's weights of a wave."""

    set_index: int
    wave: Wave
    member: int | None
    weight_bytes: int
    index_bytes: int
    block_bytes: int
    activation_bytes: int
    slot_freed_by: Step | WaveEnd | None  # None: the slot is free from the start
    piece: Piece | None  # that it is read from (D13); None: lies in the SMEM from the start
    usable_from: int | None = None

    @property
    def size(self) -> int:
        return self.weight_bytes + self.index_bytes + self.block_bytes + self.activation_bytes

    def has_slot(self) -> bool:
        return self.slot_freed_by is None or self.slot_freed_by.ended

    def can_be_served(self, t: int) -> bool:
        return self.has_slot() and (self.piece is None or self.piece.there(t))

    def usable(self, t: int) -> bool:
        return self.usable_from is not None and self.usable_from <= t


@dataclass
class Core:
    """One tensor core: where its sums last drained to, and what it did in each cycle so far."""

    index: int
    ever_has_rows: bool
    drains: dict[int, Write] = field(default_factory=dict)  # by place: the last write of these sums
    last_drain: Write | None = None
    cycles: Counter[str] = field(default_factory=Counter)

    def sums_free(self, place: int, t: int) -> bool:
        return place not in self.drains or self.drains[place].served_before(t)


class SharingSet:
    """Cores in lockstep on one stream of activation chunks (M5), walking through their steps (M6)."""

    def __init__(self, machine: RefMachine, mode: Mode, counts: Counter[str], index: int, members: list[Core]):
        self.machine, self.mode, self.counts = machine, mode, counts
        self.dram: DramLevel | None = None
        self.index, self.members = index, members
        self.waves: list[Wave] = []
        self.steps: list[Step] = []
        self.reads: list[Read] = []  # in the fixed order of M10; the first still to be served is the head
        self.chunks: dict[int, Read] = {}  # by step
        self.weights: dict[tuple[int, int], Read] = {}  # by wave, member
        self.done = 0  # steps that have ended; the number of the running or next one
        self.rho = 1
        if machine.rf_read_bytes_per_cycle:
            window_bytes = mode.positions_per_window * machine.operand_bytes
            self.rho = max(1, ceil_div(window_bytes, machine.rf_read_bytes_per_cycle))  # M13

    # --- before the clock starts ---

    def add_tile(self, rows: list[int], windows: list[Window], chunks: list[int], cell: Cell) -> None:
        """Append the waves and steps of one column tile (M6); `chunks` holds the columns of each."""
        outputs = None
        if self.dram is not None:
            outputs = self.dram.add_set_cell(self.index, sum(rows) * sum(chunks) * self.machine.output_bytes)
        for number, window in enumerate(windows):
            first, last = window is windows[0], window is windows[-1]
            wave = Wave(len(self.waves), window, rows, first, last, cell, number, outputs)
            for place, columns in enumerate(chunks):
                step = Step(len(self.steps) + place, wave, place, columns)
                if self.dram is not None:
                    step.pieces = self.dram.pieces_of(step, cell, number)
                wave.steps.append(step)
            self.waves.append(wave)
            self.steps.extend(wave.steps)

    def list_reads(self) -> None:
        """Create every transfer with its sort key of M10, after its pass (D7), and sort."""
        slots = self.machine.chunk_slots
        keyed: list[tuple[tuple[int, int, int, int, int], Read]] = []
        for step in self.steps:
            q = step.number
            read = self._chunk_read(step)
            self.chunks[q] = read
            keyed.append(((step.wave.cell.pass_number, max(0, q - slots + 1), 0, q, 0), read))
        for wave in self.waves:
            w = wave.number
            for j in wave.active():
                position = 0
                if w >= 2:
                    before = self.waves[w - 1]
                    position = before.steps[0].number + min(j, len(before.steps) - 1)
                read = self._weight_read(wave, j)
                self.weights[w, j] = read
                keyed.append(((wave.cell.pass_number, position, 1, w, j), read))
        self.reads = [read for _, read in sorted(keyed, key=lambda entry: entry[0])]

    def _chunk_read(self, step: Step) -> Read:
        size = step.columns * len(step.wave.window.positions) * self.machine.operand_bytes  # M7
        before = step.number - self.machine.chunk_slots
        freed_by = self.steps[before] if before >= 0 else None
        piece = None if self.dram is None else self.dram.input_piece(step.wave.cell, step.wave.place)
        return Read(self.index, step.wave, None, 0, 0, 0, size, freed_by, piece)

    def _weight_read(self, wave: Wave, member: int) -> Read:
        value_bytes, index_bytes, block_bytes = weight_bytes(
            self.machine, self.mode, wave.window, wave.rows[member], member
        )
        own = [earlier for earlier in self.waves[: wave.number] if earlier.rows[member] > 0]  # M9, D7
        freed_by = WaveEnd(own[-2]) if len(own) >= 2 else None
        piece = None if self.dram is None else self.dram.weight_piece(wave.cell, wave.place)
        return Read(self.index, wave, member, value_bytes, index_bytes, block_bytes, 0, freed_by, piece)

    def stored_values(self, wave: Wave, member: int) -> int:
        return wave.rows[member] * wave.window.groups * self.mode.n

    # --- the clock ---

    def head(self) -> Read | None:
        return self.reads[0] if self.reads else None

    def next_step(self) -> Step | None:
        """Return the step that is running, else the one that comes next, else None."""
        return self.steps[self.done] if self.done < len(self.steps) else None

    def end_step(self, t: int, write_port: WritePort) -> None:
        """If the running step's last cycle was t-1: free its slots; in a tile's last wave, drain (M14)."""
        step = self.next_step()
        if step is None or step.start is None or t < step.start + step.columns * self.rho:
            return
        step.ended = True
        self.done += 1
        if not step.wave.last_of_tile:
            return
        for member in step.wave.active():
            core, rows = self.members[member], step.wave.rows[member]
            size = rows * step.columns * self.machine.output_bytes
            write = Write(t + self.machine.pipeline_cycles, core.index, size, cell=step.wave.outputs)
            write_port.waiting.append(write)
            core.drains[step.place] = core.last_drain = write
            self.counts["accumulator_read_bytes"] += rows * step.columns * self.machine.sum_bytes

    def start_step(self, t: int) -> None:
        """Start the next step if everything in M12 holds."""
        step = self.next_step()
        if step is None or step.start is not None:
            return
        if not self.dram_ready(step, t):
            return
        if all(self.member_ready(step, member, t) for member in step.wave.active()):
            step.start = t
            if step.wave.outputs is not None:
                step.wave.outputs.staged = True
            if step.place == 0:
                for member in step.wave.active():  # weights and indices go into latches once per wave
                    read = self.weights[step.wave.number, member]
                    self.counts["rf_read_bytes"] += read.weight_bytes + read.index_bytes

    def dram_ready(self, step: Step, t: int) -> bool:
        """Tell whether a step's pieces are there, and for a cell's first step the staging is free (D16, D18)."""
        if self.dram is None:
            return True
        if not all(piece.there(t) for piece in step.pieces):
            return False
        assert step.wave.outputs is not None
        return not step.first_of_tile() or self.dram.staging_free(self.index, step.wave.outputs, t)

    def operands_usable(self, step: Step, member: int, t: int) -> bool:
        return self.chunks[step.number].usable(t) and self.weights[step.wave.number, member].usable(t)

    def sums_free(self, step: Step, member: int, t: int) -> bool:
        return not step.wave.first_of_tile or self.members[member].sums_free(step.place, t)

    def member_ready(self, step: Step, member: int, t: int) -> bool:
        return self.operands_usable(step, member, t) and self.sums_free(step, member, t)

    def run_cycle(self, t: int) -> None:
        """Do one cycle of the running step's work: a column every rho cycles."""
        step = self.next_step()
        if step is None or step.start is None or (t - step.start) % self.rho != 0:
            return
        for member in step.wave.active():
            macs = self.stored_values(step.wave, member)
            sums = step.wave.rows[member] * self.machine.sum_bytes
            self.counts["macs_issued"] += macs
            if self.mode.m > 1:
                self.counts["mux_selections"] += macs
                for _ in range(self.mode.m - 1):  # the two-way MUXes of each selection's tree (energy.md, E3)
                    self.counts["mux2_selections"] += macs
            self.counts["rf_read_bytes"] += len(step.wave.window.positions) * self.machine.operand_bytes
            self.counts["accumulator_write_bytes"] += sums
            self.counts["accumulator_read_bytes"] += 0 if step.wave.first_of_tile else sums

    def state(self, member: int, t: int) -> str:
        """Say what a member does in cycle t: the first of M17 that holds."""
        core, step = self.members[member], self.next_step()
        if step is not None and step.start is not None and step.wave.rows[member] > 0:
            return "busy" if (t - step.start) % self.rho == 0 else "stall_rf"
        if not core.ever_has_rows:
            return "idle"
        if step is None:
            assert core.last_drain is not None
            if not core.last_drain.served_before(t):
                return "stall_drain"
            return "idle" if self.dram is None or self.dram.all_sent_before(self.index, t) else "stall_dram"
        if step.wave.rows[member] == 0:
            return "idle"
        if not self.dram_ready(step, t):
            return "stall_dram"
        if not self.operands_usable(step, member, t):
            return "stall_smem"
        if not self.sums_free(step, member, t):
            return "stall_drain"
        assert any(not self.member_ready(step, other, t) for other in step.wave.active() if other != member)
        return "stall_sync"


class ReadPort(Port["Read | BackBurst"]):
    """SMEM's read port (M11): round robin over the sets whose head has its slot; write-backs first (D14)."""

    def __init__(self, machine: RefMachine, sets: list[SharingSet], counts: Counter[str], dram: DramLevel | None):
        super().__init__(machine.read_bytes_per_cycle, counts, "smem_read_bytes")
        self.latency = machine.latency_cycles
        self.sets, self.dram = sets, dram
        self.last_served = len(sets) - 1  # so that the search begins at set 0

    def choose(self, t: int) -> Read | BackBurst | None:
        """Take the first head with a slot in circular order after the set served last."""
        back = None if self.dram is None else self.dram.choose_back(t)
        if back is not None:
            return back
        for index in circular(len(self.sets), self.last_served):
            head = self.sets[index].head()
            if head is not None and head.can_be_served(t):
                self.last_served = index
                return self.sets[index].reads.pop(0)
        return None

    def served(self, read: Read | BackBurst, t: int) -> None:
        if isinstance(read, BackBurst):
            assert self.dram is not None
            self.dram.back_read(read, t)
            return
        read.usable_from = t + self.latency
        self.count(read)

    def count(self, read: Read) -> None:
        self.counts["weight_bytes"] += read.weight_bytes
        self.counts["metadata_bytes"] += read.index_bytes + read.block_bytes
        self.counts["activation_bytes"] += read.activation_bytes
        self.counts["rf_write_bytes"] += read.weight_bytes + read.index_bytes
        for _ in read.wave.active():
            self.counts["rf_write_bytes"] += read.activation_bytes


def weight_bytes(machine: RefMachine, mode: Mode, window: Window, rows: int, member: int) -> tuple[int, int, int]:
    """Return the bytes of values, of their indices and of block columns of a member's weights for a wave (M8)."""
    values = rows * window.groups * mode.n
    value_bytes = values * machine.operand_bytes
    all_bytes = ceil_div(values * (8 * machine.operand_bytes + mode.index_bits), 8)
    block_bytes = 0
    if member == 0:
        for _ in range(window.blocks_beginning):
            block_bytes += machine.block_index_bytes
    return value_bytes, all_bytes - value_bytes, block_bytes


@dataclass
class Part:
    """What a set computes in a band (M2, M3)."""

    sharing: SharingSet
    rows: list[int]
    windows: list[Window]


def run_reference(
    machine: RefMachine,
    *,
    arch: str,
    s: int,
    k: int,
    p: int,
    n: int = 1,
    m: int = 1,
    block: int | None = None,
    block_cols: list[list[int]] | None = None,
    mask: np.ndarray | None = None,
    dram: RefDram | None = None,
    pixels: RefInput | None = None,
) -> RefResult:
    """Run one convolution group, cycle by cycle.

    Parameters
    ----------
    machine : RefMachine
    arch : "dense", "stc" or "crisp-stc"
    s, k, p : int
        Rows, positions and columns of `Y[S,P] = W[S,K] X[K,P]`.
    n, m, block, block_cols
        The pattern of the weights: n of every m positions inside square blocks; the kept block columns of
        every block row, ascending. Only crisp-stc makes use of it.
    mask : ndarray, bool, shape (s, k), optional
        Nonzero weights; stc decides by it how to run.
    dram : RefDram, optional
        What lies behind the SMEM; by default nothing does, and every tensor lies in it.
    pixels : RefInput, optional
        What the columns read, for `dram`; by default a matrix product's, a pixel of k channels for every column.

    Raises
    ------
    ValueError
        The machine cannot run these weights, or the arguments do not fit together.
    """
    if min(s, k, p) < 1:
        raise ValueError(f"s={s}, k={k}, p={p}: each is at least 1")
    mode = choose_mode(machine, arch, k, s, n, m, mask)
    blocks = block if arch == "crisp-stc" else None
    share = cores_per_set(machine, blocks, m)
    column_tile = choose_column_tile(machine, mode)
    tiles = deal_chunks(machine, p, column_tile)
    if blocks is not None:
        check_block_cols(s, k, blocks, block_cols)

    counts: Counter[str] = Counter()
    cores = [Core(j, ever_has_rows=j * machine.rows < s) for j in range(machine.cores)]
    sets = [
        SharingSet(machine, mode, counts, i, cores[i * share : (i + 1) * share]) for i in range(machine.cores // share)
    ]
    bands: list[list[Part]] = []
    for band in range(ceil_div(s, machine.cores * machine.rows)):
        bands.append([])
        for sharing in sets:
            first_rows = [(band * machine.cores + core.index) * machine.rows for core in sharing.members]
            rows = [min(machine.rows, max(0, s - first)) for first in first_rows]
            if rows[0] == 0:
                continue
            kept = None if blocks is None else block_cols[first_rows[0] // blocks]
            bands[-1].append(Part(sharing, rows, cut_windows(mode, k, blocks, kept)))
    cells = tuple(Cell(0, band, turn, 0, 0) for band in range(len(bands)) for turn in range(len(tiles)))
    level = None
    if dram is not None:
        pixels = pixels or RefInput([[column] for column in range(p)], k)
        channels = kept_channels(k, pixels.channels, blocks, block_cols)
        level = build_dram(machine, mode, counts, dram, pixels, channels, s, p, column_tile, tiles, bands)
        cells = level.blocking.cells
    for sharing in sets:
        sharing.dram = level
    for cell in cells:
        for part in bands[cell.band]:
            part.sharing.add_tile(part.rows, part.windows, tiles[cell.turn], cell)
    for sharing in sets:
        sharing.list_reads()

    cycles = run_clock(machine, sets, counts, level)

    assert all(not sharing.reads for sharing in sets)
    if level is None:
        assert counts["smem_write_bytes"] == s * p * machine.output_bytes
    else:
        level.assert_done(s, p)
    return collect(machine, str(mode), column_tile, cycles, counts, [core.cycles for core in cores], level)


def build_dram(
    machine: RefMachine,
    mode: Mode,
    counts: Counter[str],
    dram: RefDram,
    pixels: RefInput,
    channels: int,
    s: int,
    p: int,
    column_tile: int,
    tiles: list[list[int]],
    bands: list[list[Part]],
) -> DramLevel:
    """Cut inputs, weights and outputs into pieces and choose a blocking (D2-D6); `channels` are the kept ones."""
    units = Units(
        pixels.columns,
        [sum(chunks) for chunks in tiles],
        lambda raster: len(raster) * channels * machine.operand_bytes,
        dram.kept_input_bytes is not None,
    )
    weights: list[dict[int, int]] = []  # D4: of each band, by wave
    streamed: list[list[dict[int, int]]] = []  # D5: of each band and turn, by wave
    for parts in bands:
        of_waves: dict[int, int] = {}
        of_turns: list[dict[int, int]] = [{} for _ in tiles]
        for part in parts:
            for wave, window in enumerate(part.windows):
                for member, rows in enumerate(part.rows):
                    if rows > 0:
                        size = sum(weight_bytes(machine, mode, window, rows, member))
                        of_waves[wave] = of_waves.get(wave, 0) + size
                for turn, chunks in enumerate(tiles):
                    size = sum(chunks) * len(window.positions) * machine.operand_bytes
                    of_turns[turn][wave] = of_turns[turn].get(wave, 0) + size
        weights.append(of_waves)
        streamed.append(of_turns)
    staging = 0
    if dram.kept_output_bytes is None:
        staging = 2 * min(s, machine.cores * machine.rows) * min(p, column_tile) * machine.output_bytes
    blocking = choose_blocking(
        capacity=dram.capacity_left(),
        staging=staging,
        units=units,
        weights=[list(of_waves.values()) for of_waves in weights],
        streamed=[[list(of_waves.values()) for of_waves in of_turns] for of_turns in streamed],
        slots=machine.chunk_slots + 1,
        in_flight=dram.bytes_per_cycle * dram.latency_cycles,
    )
    level = DramLevel(
        dram,
        blocking,
        units,
        counts,
        smem_latency=machine.latency_cycles,
        output_bytes=machine.output_bytes,
        staging=staging,
    )
    level.list_pieces(blocking.cells, weights, streamed)
    level.prefetch()
    return level


def run_clock(machine: RefMachine, sets: list[SharingSet], counts: Counter[str], dram: DramLevel | None) -> int:
    """Run until the last output byte has arrived (M16, D17); return the number of cycles."""
    read_port = ReadPort(machine, sets, counts, dram)
    write_port = WritePort(machine.write_bytes_per_cycle, counts)
    before: Counter[str] = Counter()
    patience = machine.latency_cycles + machine.pipeline_cycles + sets[0].rho
    if dram is not None:
        write_port = dram.write_port = WriteQueue(machine.write_bytes_per_cycle, counts, machine.pipeline_cycles, dram)
        patience += dram.dram.latency_cycles
    quiet = 0  # cycles in a row in which no byte moved and no column started
    for t in count():
        for sharing in sets:
            sharing.end_step(t, write_port)
        if dram is not None:
            dram.free_slots()
        for sharing in sets:
            sharing.start_step(t)
        for sharing in sets:
            sharing.run_cycle(t)
        if dram is not None:
            dram.serve(t)
        read_port.serve(t)
        write_port.serve(t)
        for sharing in sets:
            for member, core in enumerate(sharing.members):
                core.cycles[sharing.state(member, t)] += 1
        steps_over = all(sharing.next_step() is None for sharing in sets)
        if steps_over and write_port.empty() and (dram is None or dram.finished()):
            last_byte = write_port.last_byte_cycle
            assert last_byte is not None
            if t + 1 == (last_byte + machine.latency_cycles if dram is None else dram.end(last_byte)):
                return t + 1
        quiet = 0 if counts != before else quiet + 1
        before = counts.copy()
        assert quiet <= patience, f"deadlock in cycle {t}"
    raise AssertionError("the clock never stops by itself")
