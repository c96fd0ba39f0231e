"""Reference twin of dense, stc and crisp-stc: the weight-stationary machine, stepped one cycle at a time.

Written from `docs/microarchitecture.md` alone (its rules M1-M17 are cited below) and without sight of `sim/`.
One call is one convolution group, `Y[S,P] = W[S,K] X[K,P]`. In every cycle, in this order: steps end, steps
start, the running steps work, the two ports serve that cycle's bytes, every core says what it was doing.
Nothing is skipped and nothing is solved for. What is decided before the first cycle is in `tiling.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

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
    usable_from: int | None = None

    @property
    def size(self) -> int:
        return self.weight_bytes + self.index_bytes + self.block_bytes + self.activation_bytes

    def has_slot(self) -> bool:
        return self.slot_freed_by is None or self.slot_freed_by.ended

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

    def add_tile(self, rows: list[int], windows: list[Window], chunks: list[int]) -> None:
        """Append the waves and steps of one column tile (M6); `chunks` holds the columns of each."""
        for window in windows:
            wave = Wave(len(self.waves), window, rows, window is windows[0], window is windows[-1])
            for place, columns in enumerate(chunks):
                wave.steps.append(Step(len(self.steps) + place, wave, place, columns))
            self.waves.append(wave)
            self.steps.extend(wave.steps)

    def list_reads(self) -> None:
        """Create every transfer with its sort key of M10, and sort."""
        slots = self.machine.chunk_slots
        keyed: list[tuple[tuple[int, int, int, int], Read]] = []
        for step in self.steps:
            q = step.number
            read = self._chunk_read(step)
            self.chunks[q] = read
            keyed.append(((max(0, q - slots + 1), 0, q, 0), read))
        for wave in self.waves:
            w = wave.number
            for j in wave.active():
                position = 0
                if w >= 2:
                    before = self.waves[w - 1]
                    position = before.steps[0].number + min(j, len(before.steps) - 1)
                read = self._weight_read(wave, j)
                self.weights[w, j] = read
                keyed.append(((position, 1, w, j), read))
        self.reads = [read for _, read in sorted(keyed, key=lambda entry: entry[0])]

    def _chunk_read(self, step: Step) -> Read:
        size = step.columns * len(step.wave.window.positions) * self.machine.operand_bytes  # M7
        before = step.number - self.machine.chunk_slots
        return Read(self.index, step.wave, None, 0, 0, 0, size, self.steps[before] if before >= 0 else None)

    def _weight_read(self, wave: Wave, member: int) -> Read:
        values = self.stored_values(wave, member)  # M8
        value_bytes = values * self.machine.operand_bytes
        all_bytes = ceil_div(values * (8 * self.machine.operand_bytes + self.mode.index_bits), 8)
        block_bytes = 0
        if member == 0:
            for _ in range(wave.window.blocks_beginning):
                block_bytes += self.machine.block_index_bytes
        freed_by = WaveEnd(self.waves[wave.number - 2]) if wave.number >= 2 else None
        return Read(self.index, wave, member, value_bytes, all_bytes - value_bytes, block_bytes, 0, freed_by)

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
            write = Write(t + self.machine.pipeline_cycles, core.index, size)
            write_port.waiting.append(write)
            core.drains[step.place] = core.last_drain = write
            self.counts["accumulator_read_bytes"] += rows * step.columns * self.machine.sum_bytes

    def start_step(self, t: int) -> None:
        """Start the next step if everything in M12 holds."""
        step = self.next_step()
        if step is None or step.start is not None:
            return
        if all(self.member_ready(step, member, t) for member in step.wave.active()):
            step.start = t
            if step.place == 0:
                for member in step.wave.active():  # weights and indices go into latches once per wave
                    read = self.weights[step.wave.number, member]
                    self.counts["rf_read_bytes"] += read.weight_bytes + read.index_bytes

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
            return "idle" if core.last_drain.served_before(t) else "stall_drain"
        if step.wave.rows[member] == 0:
            return "idle"
        if not self.operands_usable(step, member, t):
            return "stall_smem"
        if not self.sums_free(step, member, t):
            return "stall_drain"
        assert any(not self.member_ready(step, other, t) for other in step.wave.active() if other != member)
        return "stall_sync"


class ReadPort(Port[Read]):
    """SMEM's read port (M11): round robin over the sets whose head has its slot."""

    def __init__(self, machine: RefMachine, sets: list[SharingSet], counts: Counter[str]):
        super().__init__(machine.read_bytes_per_cycle, counts, "smem_read_bytes")
        self.latency = machine.latency_cycles
        self.sets = sets
        self.last_served = len(sets) - 1  # so that the search begins at set 0

    def choose(self, t: int) -> Read | None:
        """Take the first head with a slot in circular order after the set served last."""
        for index in circular(len(self.sets), self.last_served):
            head = self.sets[index].head()
            if head is not None and head.has_slot():
                self.last_served = index
                return self.sets[index].reads.pop(0)
        return None

    def served(self, read: Read, t: int) -> None:
        read.usable_from = t + self.latency
        self.count(read)

    def count(self, read: Read) -> None:
        self.counts["weight_bytes"] += read.weight_bytes
        self.counts["metadata_bytes"] += read.index_bytes + read.block_bytes
        self.counts["activation_bytes"] += read.activation_bytes
        self.counts["rf_write_bytes"] += read.weight_bytes + read.index_bytes
        for _ in read.wave.active():
            self.counts["rf_write_bytes"] += read.activation_bytes


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
    for band in range(ceil_div(s, machine.cores * machine.rows)):
        for sharing in sets:
            first_rows = [(band * machine.cores + core.index) * machine.rows for core in sharing.members]
            rows = [min(machine.rows, max(0, s - first)) for first in first_rows]
            if rows[0] == 0:
                continue
            kept = None if blocks is None else block_cols[first_rows[0] // blocks]
            windows = cut_windows(mode, k, blocks, kept)
            for chunks in tiles:
                sharing.add_tile(rows, windows, chunks)
    for sharing in sets:
        sharing.list_reads()

    cycles = run_clock(machine, sets, counts)

    assert counts["smem_write_bytes"] == s * p * machine.output_bytes
    return collect(machine, str(mode), column_tile, cycles, counts, [core.cycles for core in cores])


def run_clock(machine: RefMachine, sets: list[SharingSet], counts: Counter[str]) -> int:
    """Run until the last output byte has arrived (M16); return the number of cycles."""
    read_port = ReadPort(machine, sets, counts)
    write_port = WritePort(machine.write_bytes_per_cycle, counts)
    before: Counter[str] = Counter()
    patience = machine.latency_cycles + machine.pipeline_cycles + sets[0].rho
    quiet = 0  # cycles in a row in which no byte moved and no column started
    for t in count():
        for sharing in sets:
            sharing.end_step(t, write_port)
        for sharing in sets:
            sharing.start_step(t)
        for sharing in sets:
            sharing.run_cycle(t)
        read_port.serve(t)
        write_port.serve(t)
        for sharing in sets:
            for member, core in enumerate(sharing.members):
                core.cycles[sharing.state(member, t)] += 1
        if all(sharing.next_step() is None for sharing in sets) and write_port.empty():
            last_byte = write_port.last_byte_cycle
            assert last_byte is not None
            if t + 1 == last_byte + machine.latency_cycles:
                return t + 1
        quiet = 0 if counts != before else quiet + 1
        before = counts.copy()
        assert quiet <= patience, f"deadlock in cycle {t}"
    raise AssertionError("the clock never stops by itself")
