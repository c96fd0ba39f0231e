"""Reference twin of dstc, the dual-side sparse tensor core: the outer-product machine, stepped one cycle at a time.

Written from `docs/microarchitecture.md` alone (its rules M18-M27 are cited below) and without sight of `sim/`.
One call is one convolution group, `Y[S,P] = W[S,K] X[K,P]`. In every cycle, in this order: steps end, steps
start, zero-cycle steps and tiles without steps end (again and again, until nothing changes), the running steps
work, the two ports serve that cycle's bytes, every core says what it was doing. Nothing is solved for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from .ports import Port, Write, WritePort, circular
from .result import RefResult, ceil_div, collect

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class DualMachine:
    """The machine; defaults as the law names them."""

    cores: int = 4
    core_columns: int = 2
    rows: int = 8
    lanes: int = 8
    tile_rows: int = 32
    tile_columns: int = 32
    slice_positions: int = 16
    slice_slots: int = 2
    step_rows: int = 8
    step_columns: int = 8
    accumulator_bytes: int = 4096
    accumulator_values_per_cycle: int = 64
    operand_bytes: int = 1
    sum_bytes: int = 4
    output_bytes: int = 1
    read_bytes_per_cycle: int = 64
    write_bytes_per_cycle: int = 64
    latency_cycles: int = 2
    pipeline_cycles: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name == "pipeline_cycles" else 1):
                raise ValueError(f"machine: {name}={value} is too small")
        if self.tile_rows * self.tile_columns * self.sum_bytes > self.accumulator_bytes:  # M18, like the next two
            raise ValueError(f"machine: the tile's sums do not fit accumulator_bytes={self.accumulator_bytes}")
        if self.step_rows * self.step_columns > self.rows * self.lanes:
            raise ValueError(
                f"machine: a step of {self.step_rows} x {self.step_columns} needs more MACs than there are"
            )
        if self.cores % self.core_columns != 0:
            raise ValueError(f"machine: core_columns={self.core_columns} does not divide cores={self.cores}")


@dataclass(frozen=True)
class Work:
    """What a core does in one cycle of a step (M20, M27)."""

    state: str  # "busy" or "stall_rf"
    macs: int = 0
    operands_read: int = 0  # from the register file


@dataclass
class Item:
    """One slice of one stream: one transfer from SMEM (M21)."""

    nonzeros: int  # in bytes, like the next two
    bitmap: int
    slice_map: int
    steps: list[Step] = field(default_factory=list)  # of the stream's cores that take a step on it
    usable_from: int | None = None

    @property
    def size(self) -> int:
        return self.nonzeros + self.bitmap + self.slice_map

    def usable(self, t: int) -> bool:
        return self.usable_from is not None and self.usable_from <= t

    def freed(self) -> bool:
        return all(step.ended for step in self.steps)


@dataclass
class Step:
    """One slice on one core."""

    tile: Tile
    a_item: Item
    b_item: Item
    a: list[int]  # nonzero weights at each position of the slice (M19)
    b: list[int]  # nonzero activations
    started: bool = False
    ended: bool = False
    to_do: list[Work] = field(default_factory=list)  # a cycle each, once started

    def first_of_tile(self) -> bool:
        return self.tile.steps[0] is self

    def operands_usable(self, t: int) -> bool:
        return self.a_item.usable(t) and self.b_item.usable(t)


@dataclass
class Tile:
    """The sums of one row tile and one column tile, in one core."""

    number: int  # among this core's
    rows: int  # real ones
    columns: int
    steps: list[Step] = field(default_factory=list)

    def steps_have_ended(self) -> bool:
        """Tell whether its last step has ended, or it has none (M25)."""
        return not self.steps or self.steps[-1].ended


def outer_products(machine: DualMachine, step: Step) -> list[Work]:
    """List what a core does in each cycle of a step: position by position, block by block of x * y MACs (M20)."""
    cycles = []
    for a, b in zip(step.a, step.b, strict=True):
        if a == 0 or b == 0:
            continue
        sums_left = a * b  # still to be read and written, v in each cycle
        for first_a in range(0, a, machine.step_rows):
            for first_b in range(0, b, machine.step_columns):
                block_a = min(machine.step_rows, a - first_a)
                block_b = min(machine.step_columns, b - first_b)
                weights_read = block_a if first_b == 0 else 0  # kept while the activations go past
                cycles.append(Work("busy", block_a * block_b, weights_read + block_b))
                sums_left -= machine.accumulator_values_per_cycle
        while sums_left > 0:
            cycles.append(Work("stall_rf"))
            sums_left -= machine.accumulator_values_per_cycle
    return cycles


class Stream:
    """The slices of weights of one core row, or of activations of one core column, in order (M21, M22)."""

    def __init__(self, machine: DualMachine, kind: str):
        self.machine = machine
        self.kind = kind  # "weight_bytes" or "activation_bytes": what its nonzeros are
        self.items: list[Item] = []  # the first still to be served is the head
        self.in_slots: list[Item] = []

    def add(self, counts: list[int], real: int, slice_map: int) -> Item:
        """Append the slice with these nonzeros at each position, of a tile of so many rows (columns)."""
        bits = sum(real for _ in counts)
        item = Item(sum(counts) * self.machine.operand_bytes, ceil_div(bits, 8), slice_map)
        self.items.append(item)
        return item

    def slots_taken(self) -> int:
        self.in_slots = [item for item in self.in_slots if not item.freed()]
        return len(self.in_slots)

    def head_has_slot(self) -> bool:
        return len(self.items) > 0 and self.slots_taken() < self.machine.slice_slots

    def take(self) -> Item:
        item = self.items.pop(0)
        self.in_slots.append(item)
        return item


class Core:
    """One core: its tiles in order (M18), where it is in them, and what it did in each cycle so far."""

    def __init__(self, machine: DualMachine, index: int, counts: Counter[str], write_port: WritePort):
        self.machine, self.index, self.counts, self.write_port = machine, index, counts, write_port
        self.tiles: list[Tile] = []
        self.steps: list[Step] = []
        self.steps_ended = 0  # the number of the running or next step
        self.tiles_ended = 0
        self.writes: list[Write] = []
        self.doing = ""  # the state of the running step in this cycle
        self.cycles: Counter[str] = Counter()

    def add_tile(self, rows: int, columns: int) -> Tile:
        tile = Tile(len(self.tiles), rows, columns)
        self.tiles.append(tile)
        return tile

    def add_step(self, step: Step) -> None:
        step.tile.steps.append(step)
        step.a_item.steps.append(step)
        step.b_item.steps.append(step)
        self.steps.append(step)

    def next_step(self) -> Step | None:
        """Return the step that is running, else the one that comes next, else None."""
        return self.steps[self.steps_ended] if self.steps_ended < len(self.steps) else None

    def writes_served_before(self, t: int) -> bool:
        return all(write.served_before(t) for write in self.writes)

    def sums_free(self, step: Step, t: int) -> bool:
        """Tell whether every earlier byte of this core is out, for the first step of a tile (M24)."""
        if not step.first_of_tile():
            return True
        return self.tiles_ended == step.tile.number and self.writes_served_before(t)

    def end_step(self) -> bool:
        """End the step that has nothing left to do: its last cycle was the one before, or it has no cycles."""
        step = self.next_step()
        if step is None or not step.started or step.to_do:
            return False
        step.ended = True
        self.steps_ended += 1
        return True

    def end_tile(self, t: int) -> bool:
        """End the next tile if its last step has ended or if it has none; request its write (M25)."""
        if self.tiles_ended == len(self.tiles):
            return False
        tile = self.tiles[self.tiles_ended]
        if not tile.steps_have_ended():
            return False
        sums = tile.rows * tile.columns
        size = sums * self.machine.output_bytes
        write = Write(t + self.machine.pipeline_cycles, self.index, size, order=tile.number)
        self.writes.append(write)
        self.write_port.waiting.append(write)
        self.counts["accumulator_read_bytes"] += sums * self.machine.sum_bytes
        self.tiles_ended += 1
        return True

    def start_step(self, t: int) -> bool:
        """Start the next step if everything in M24 holds."""
        step = self.next_step()
        if step is None or step.started or not step.operands_usable(t) or not self.sums_free(step, t):
            return False
        step.started = True
        step.to_do = outer_products(self.machine, step)
        self.counts["rf_read_bytes"] += step.a_item.bitmap + step.b_item.bitmap
        for _ in step.a:  # at each position a popcount of either bitmap: n - 1 adders for n bits (energy.md, E3)
            self.counts["popcount_adders"] += step.tile.rows - 1
            self.counts["popcount_adders"] += step.tile.columns - 1
        return True

    def run_cycle(self) -> None:
        """Do one cycle of the running step's work."""
        step = self.next_step()
        if step is None or not step.started:
            return
        work = step.to_do.pop(0)
        self.doing = work.state
        self.counts["cycles_in_steps"] += 1
        self.counts["macs_issued"] += work.macs
        self.counts["accumulator_read_bytes"] += work.macs * self.machine.sum_bytes
        self.counts["accumulator_write_bytes"] += work.macs * self.machine.sum_bytes
        self.counts["rf_read_bytes"] += work.operands_read * self.machine.operand_bytes
        for _ in ("from the bank", "back to it"):  # every sum crosses twice (energy.md, E3)
            self.counts["crossbar_bits"] += work.macs * 8 * self.machine.sum_bytes

    def state(self, t: int) -> str:
        """Say what the core does in cycle t (M26)."""
        step = self.next_step()
        if step is not None and step.started:
            return self.doing
        if step is not None:
            if not step.operands_usable(t):
                return "stall_smem"
            assert not self.sums_free(step, t)
            return "stall_drain"
        assert self.tiles_ended == len(self.tiles)
        return "idle" if self.writes_served_before(t) else "stall_drain"


class ReadPort(Port[Item]):
    """SMEM's read port (M23): any B before any A, round robin within each."""

    def __init__(self, machine: DualMachine, a_streams: list[Stream], b_streams: list[Stream], counts: Counter[str]):
        super().__init__(machine.read_bytes_per_cycle, counts, "smem_read_bytes")
        self.latency = machine.latency_cycles
        self.kinds = (b_streams, a_streams)
        self.last_served = [len(b_streams) - 1, len(a_streams) - 1]  # so that the searches begin at B_0 and A_0
        self.kind_of_moving = ""

    def choose(self, t: int) -> Item | None:
        for kind, streams in enumerate(self.kinds):
            for index in circular(len(streams), self.last_served[kind]):
                if streams[index].head_has_slot():
                    self.last_served[kind] = index
                    self.kind_of_moving = streams[index].kind
                    return streams[index].take()
        return None

    def served(self, item: Item, t: int) -> None:
        item.usable_from = t + self.latency
        self.counts[self.kind_of_moving] += item.nonzeros
        self.counts["metadata_bytes"] += item.bitmap + item.slice_map
        for _ in item.steps:
            self.counts["rf_write_bytes"] += item.nonzeros + item.bitmap


def run_dual(machine: DualMachine, weights: np.ndarray, activations: np.ndarray) -> RefResult:
    """Run one convolution group, cycle by cycle.

    Parameters
    ----------
    machine : DualMachine
    weights : ndarray, bool, shape (S, K)
        True where a weight is not zero.
    activations : ndarray, bool, shape (K, P)
        True where an activation of the lowered input is not zero.

    Raises
    ------
    ValueError
        The arrays are not boolean matrices that can be multiplied, or one of them is empty.
    """
    for name, array in (("weights", weights), ("activations", activations)):
        if array.ndim != 2 or array.size == 0 or array.dtype != bool:
            raise ValueError(f"{name}: {array.dtype} {array.shape} is not a boolean matrix with something in it")
    if weights.shape[1] != activations.shape[0]:
        raise ValueError(f"weights {weights.shape} and activations {activations.shape} do not share K")

    counts: Counter[str] = Counter()
    write_port = WritePort(machine.write_bytes_per_cycle, counts)
    cores = [Core(machine, index, counts, write_port) for index in range(machine.cores)]
    a_streams = [Stream(machine, "weight_bytes") for _ in range(machine.cores // machine.core_columns)]
    b_streams = [Stream(machine, "activation_bytes") for _ in range(machine.core_columns)]
    lay_out(machine, weights, activations, cores, a_streams, b_streams)

    cycles = run_clock(machine, cores, ReadPort(machine, a_streams, b_streams, counts), write_port, counts)

    for stream in a_streams + b_streams:
        assert not stream.items and stream.slots_taken() == 0, "something was read in vain, or never"
    assert all(step.ended for core in cores for step in core.steps)
    assert counts["smem_write_bytes"] == weights.shape[0] * activations.shape[1] * machine.output_bytes
    assert counts["macs_issued"] == int(weights.sum(axis=0) @ activations.sum(axis=1))
    return collect(machine, "dual", machine.tile_columns, cycles, counts, [core.cycles for core in cores])


def nonzeros_by_tile(rows: np.ndarray, tile_rows: int) -> tuple[list[int], list[list[int]]]:
    """Return the real rows of each tile, and for each tile its nonzeros at each position (M18, M19)."""
    tiles = [rows[first : first + tile_rows] for first in range(0, len(rows), tile_rows)]
    return [len(tile) for tile in tiles], [[int(number) for number in tile.sum(axis=0)] for tile in tiles]


def lay_out(
    machine: DualMachine,
    weights: np.ndarray,
    activations: np.ndarray,
    cores: list[Core],
    a_streams: list[Stream],
    b_streams: list[Stream],
) -> None:
    """Deal the tiles, and list the steps of every core and the items of every stream in order (M18-M21)."""
    k = weights.shape[1]
    rows, a = nonzeros_by_tile(weights, machine.tile_rows)
    columns, b = nonzeros_by_tile(activations.T, machine.tile_columns)
    core_rows, core_columns = len(a_streams), len(b_streams)
    slices = [(first, min(k, first + machine.slice_positions)) for first in range(0, k, machine.slice_positions)]
    for first_row_tile in range(0, len(rows), core_rows):  # a band
        for first_column_tile in range(0, len(columns), core_columns):  # a turn
            here = []  # (core row, core column, core, row tile, column tile, its sums)
            for core in cores:
                i, h = core.index // core_columns, core.index % core_columns
                r, q = first_row_tile + i, first_column_tile + h
                if r < len(rows) and q < len(columns):
                    here.append((i, h, core, r, q, core.add_tile(rows[r], columns[q])))
            a_map = [ceil_div(len(slices), 8)] * core_rows  # the slice map still to be sent, 0 once it has been
            b_map = [ceil_div(len(slices), 8)] * core_columns
            for start, stop in slices:
                a_items: dict[int, Item] = {}
                b_items: dict[int, Item] = {}
                for i, h, core, r, q, tile in here:
                    if not any(a[r][start:stop]) or not any(b[q][start:stop]):
                        continue
                    if i not in a_items:
                        a_items[i] = a_streams[i].add(a[r][start:stop], rows[r], a_map[i])
                        a_map[i] = 0
                    if h not in b_items:
                        b_items[h] = b_streams[h].add(b[q][start:stop], columns[q], b_map[h])
                        b_map[h] = 0
                    core.add_step(Step(tile, a_items[i], b_items[h], a[r][start:stop], b[q][start:stop]))


def run_clock(
    machine: DualMachine, cores: list[Core], read_port: ReadPort, write_port: WritePort, counts: Counter[str]
) -> int:
    """Run until the last output byte has arrived (M16); return the number of cycles."""
    before: Counter[str] = Counter()
    quiet = 0  # cycles in a row in which no byte moved and no step ran
    for t in count():
        changed = True
        while changed:
            changed = False
            for core in cores:
                changed |= core.end_step()
                changed |= core.end_tile(t)
                changed |= core.start_step(t)
        for core in cores:
            core.run_cycle()
        read_port.serve(t)
        write_port.serve(t)
        for core in cores:
            core.cycles[core.state(t)] += 1
        if all(core.tiles_ended == len(core.tiles) for core in cores) and write_port.empty():
            last_byte = write_port.last_byte_cycle
            assert last_byte is not None
            if t + 1 == last_byte + machine.latency_cycles:
                return t + 1
        quiet = 0 if counts != before else quiet + 1
        before = counts.copy()
        assert quiet <= machine.latency_cycles + machine.pipeline_cycles, f"deadlock in cycle {t}"
    raise AssertionError("the clock never stops by itself")
