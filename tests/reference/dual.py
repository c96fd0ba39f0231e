"""Reference twin of dstc, the dual-side sparse tensor core: the outer-product machine, stepped one cycle at a time.

Written from `docs/microarchitecture.md` alone (its rules M18-M27 are cited below) and without sight of `sim/`.
One call is one convolution group, `Y[S,P] = W[S,K] X[K,P]`. In every cycle, in this order: steps end, steps
start, zero-cycle steps and tiles without steps end (again and again, until nothing changes), the running steps
work, the two ports serve that cycle's bytes, every core says what it was doing. Nothing is solved for. What moves
behind the SMEM (rules D1-D21) is in `blocking.py` and `dram.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from .blocking import Cell, Units, choose_blocking
from .dram import BackBurst, DramLevel, Piece, RefDram, RefInput, SetCell, WriteQueue
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
    piece: Piece | None  # that it is read from (D13); None: lies in the SMEM from the start
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
    pieces: list[Piece] = field(default_factory=list)  # that it needs (D8)
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
    outputs: SetCell | None  # with a DRAM
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

    def add(self, counts: list[int], real: int, slice_map: int, piece: Piece | None) -> Item:
        """Append the slice with these nonzeros at each position, of a tile of so many rows (columns)."""
        bits = sum(real for _ in counts)
        item = Item(sum(counts) * self.machine.operand_bytes, ceil_div(bits, 8), slice_map, piece)
        self.items.append(item)
        return item

    def slots_taken(self) -> int:
        self.in_slots = [item for item in self.in_slots if not item.freed()]
        return len(self.in_slots)

    def head_can_be_served(self, t: int) -> bool:
        if not self.items or self.slots_taken() == self.machine.slice_slots:
            return False
        piece = self.items[0].piece
        return piece is None or piece.there(t)

    def take(self) -> Item:
        item = self.items.pop(0)
        self.in_slots.append(item)
        return item


class Core:
    """One core: its tiles in order (M18), where it is in them, and what it did in each cycle so far."""

    def __init__(
        self,
        machine: DualMachine,
        index: int,
        counts: Counter[str],
        write_port: WritePort,
        dram: DramLevel | None,
    ):
        self.machine, self.index, self.counts, self.write_port = machine, index, counts, write_port
        self.dram = dram
        self.tiles: list[Tile] = []
        self.steps: list[Step] = []
        self.steps_ended = 0  # the number of the running or next step
        self.tiles_ended = 0
        self.writes: list[Write] = []
        self.doing = ""  # the state of the running step in this cycle
        self.cycles: Counter[str] = Counter()

    def add_tile(self, rows: int, columns: int) -> Tile:
        outputs = None
        if self.dram is not None:
            outputs = self.dram.add_set_cell(self.index, rows * columns * self.machine.output_bytes)
        tile = Tile(len(self.tiles), rows, columns, outputs)
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

    def dram_ready(self, step: Step, t: int) -> bool:
        """Tell whether a step's pieces are there, and for a tile's first step the staging is free (D16, D18)."""
        if self.dram is None:
            return True
        if not all(piece.there(t) for piece in step.pieces):
            return False
        assert step.tile.outputs is not None
        return not step.first_of_tile() or self.dram.staging_free(self.index, step.tile.outputs, t)

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
        write = Write(t + self.machine.pipeline_cycles, self.index, size, order=tile.number, cell=tile.outputs)
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
        if not self.dram_ready(step, t):
            return False
        if step.tile.outputs is not None:
            step.tile.outputs.staged = True
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
            if not self.dram_ready(step, t):
                return "stall_dram"
            if not step.operands_usable(t):
                return "stall_smem"
            assert not self.sums_free(step, t)
            return "stall_drain"
        assert self.tiles_ended == len(self.tiles)
        if not self.writes_served_before(t):
            return "stall_drain"
        if self.dram is not None and self.tiles and not self.dram.all_sent_before(self.index, t):
            return "stall_dram"
        return "idle"


class ReadPort(Port["Item | BackBurst"]):
    """SMEM's read port (M23): any B before any A, round robin within each; write-backs first (D14)."""

    def __init__(
        self,
        machine: DualMachine,
        a_streams: list[Stream],
        b_streams: list[Stream],
        counts: Counter[str],
        dram: DramLevel | None,
    ):
        super().__init__(machine.read_bytes_per_cycle, counts, "smem_read_bytes")
        self.latency = machine.latency_cycles
        self.dram = dram
        self.kinds = (b_streams, a_streams)
        self.last_served = [len(b_streams) - 1, len(a_streams) - 1]  # so that the searches begin at B_0 and A_0
        self.kind_of_moving = ""

    def choose(self, t: int) -> Item | BackBurst | None:
        back = None if self.dram is None else self.dram.choose_back(t)
        if back is not None:
            return back
        for kind, streams in enumerate(self.kinds):
            for index in circular(len(streams), self.last_served[kind]):
                if streams[index].head_can_be_served(t):
                    self.last_served[kind] = index
                    self.kind_of_moving = streams[index].kind
                    return streams[index].take()
        return None

    def served(self, item: Item | BackBurst, t: int) -> None:
        if isinstance(item, BackBurst):
            assert self.dram is not None
            self.dram.back_read(item, t)
            return
        item.usable_from = t + self.latency
        self.counts[self.kind_of_moving] += item.nonzeros
        self.counts["metadata_bytes"] += item.bitmap + item.slice_map
        for _ in item.steps:
            self.counts["rf_write_bytes"] += item.nonzeros + item.bitmap


def run_dual(
    machine: DualMachine,
    weights: np.ndarray,
    activations: np.ndarray,
    dram: RefDram | None = None,
    pixels: RefInput | None = None,
) -> RefResult:
    """Run one convolution group, cycle by cycle.

    Parameters
    ----------
    machine : DualMachine
    weights : ndarray, bool, shape (S, K)
        True where a weight is not zero.
    activations : ndarray, bool, shape (K, P)
        True where an activation of the lowered input is not zero.
    dram : RefDram, optional
        What lies behind the SMEM; by default nothing does, and every tensor lies in it.
    pixels : RefInput, optional
        What the columns read, with the nonzeros of each pixel, for `dram`; by default a matrix product's, a pixel of
        K channels for every column.

    Raises
    ------
    ValueError
        The arrays are not boolean matrices that can be multiplied, or one of them is empty; or the machine is
        refused.
    """
    for name, array in (("weights", weights), ("activations", activations)):
        if array.ndim != 2 or array.size == 0 or array.dtype != bool:
            raise ValueError(f"{name}: {array.dtype} {array.shape} is not a boolean matrix with something in it")
    if weights.shape[1] != activations.shape[0]:
        raise ValueError(f"weights {weights.shape} and activations {activations.shape} do not share K")

    counts: Counter[str] = Counter()
    write_port = WritePort(machine.write_bytes_per_cycle, counts)
    level = None
    if dram is not None:
        level = build_dram(machine, counts, dram, pixels, weights, activations)
        write_port = WriteQueue(machine.write_bytes_per_cycle, counts, machine.pipeline_cycles, level)
        level.write_port = write_port
    cores = [Core(machine, index, counts, write_port, level) for index in range(machine.cores)]
    a_streams = [Stream(machine, "weight_bytes") for _ in range(machine.cores // machine.core_columns)]
    b_streams = [Stream(machine, "activation_bytes") for _ in range(machine.core_columns)]
    lay_out(machine, weights, activations, cores, a_streams, b_streams, level)

    cycles = run_clock(
        machine, cores, ReadPort(machine, a_streams, b_streams, counts, level), write_port, counts, level
    )

    for stream in a_streams + b_streams:
        assert not stream.items and stream.slots_taken() == 0, "something was read in vain, or never"
    assert all(step.ended for core in cores for step in core.steps)
    if level is None:
        assert counts["smem_write_bytes"] == weights.shape[0] * activations.shape[1] * machine.output_bytes
    else:
        level.assert_done(weights.shape[0], activations.shape[1])
    assert counts["macs_issued"] == int(weights.sum(axis=0) @ activations.sum(axis=1))
    return collect(machine, "dual", machine.tile_columns, cycles, counts, [core.cycles for core in cores], level)


def nonzeros_by_tile(rows: np.ndarray, tile_rows: int) -> tuple[list[int], list[list[int]]]:
    """Return the real rows of each tile, and for each tile its nonzeros at each position (M18, M19)."""
    tiles = [rows[first : first + tile_rows] for first in range(0, len(rows), tile_rows)]
    return [len(tile) for tile in tiles], [[int(number) for number in tile.sum(axis=0)] for tile in tiles]


def build_dram(
    machine: DualMachine,
    counts: Counter[str],
    dram: RefDram,
    pixels: RefInput | None,
    weights: np.ndarray,
    activations: np.ndarray,
) -> DramLevel:
    """Cut inputs, weights and outputs into pieces and choose a blocking (D2-D6)."""
    (s, k), p = weights.shape, activations.shape[1]
    if pixels is None:
        per_column = [int(number) for number in activations.sum(axis=0)]
        pixels = RefInput([[column] for column in range(p)], k, per_column)
    channels, nonzeros = pixels.channels, pixels.nonzeros
    if nonzeros is None:
        raise ValueError("pixels: dstc needs the nonzeros of each")
    core_rows, core_columns = machine.cores // machine.core_columns, machine.core_columns
    rows, a = nonzeros_by_tile(weights, machine.tile_rows)
    columns, b = nonzeros_by_tile(activations.T, machine.tile_columns)
    bands = [range(len(rows))[first : first + core_rows] for first in range(0, len(rows), core_rows)]
    turns = [range(len(columns))[first : first + core_columns] for first in range(0, len(columns), core_columns)]
    slices = [(first, min(k, first + machine.slice_positions)) for first in range(0, k, machine.slice_positions)]

    units = Units(
        pixels.columns,
        [sum(columns[q] for q in turn) for turn in turns],
        lambda raster: (
            sum(int(nonzeros[pixel]) for pixel in raster) * machine.operand_bytes + ceil_div(len(raster) * channels, 8)
        ),
        dram.kept_input_bytes is not None,
    )
    of_bands = []  # D4: the sizes of each band's pieces, by slice
    for band in bands:
        sizes = tile_slices(machine, slices, [(rows[r], a[r]) for r in band])
        if sizes:
            sizes[min(sizes)] += len(band) * ceil_div(len(slices), 8)
        of_bands.append(sizes)
    of_turns = [tile_slices(machine, slices, [(columns[q], b[q]) for q in turn]) for turn in turns]  # D5
    staging = 0
    if dram.kept_output_bytes is None:
        band_rows, turn_columns = core_rows * machine.tile_rows, core_columns * machine.tile_columns
        staging = 2 * min(s, band_rows) * min(p, turn_columns) * machine.output_bytes
    blocking = choose_blocking(
        capacity=dram.capacity_left(),
        staging=staging,
        units=units,
        weights=[list(sizes.values()) for sizes in of_bands],
        streamed=[[list(sizes.values()) for sizes in of_turns] for _ in bands],
        slots=machine.slice_slots + 1,
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
        sparsity=(sum(int(nonzeros[pixel]) for pixel in units.raster), len(units.raster) * channels),
    )
    level.list_pieces(blocking.cells, of_bands, [of_turns for _ in bands])
    level.prefetch()
    return level


def tile_slices(
    machine: DualMachine, slices: list[tuple[int, int]], tiles: list[tuple[int, list[int]]]
) -> dict[int, int]:
    """Return the bytes of each slice in which some of the tiles (real rows, nonzeros by position) has a nonzero."""
    sizes: dict[int, int] = {}
    for number, (start, stop) in enumerate(slices):
        for real, nonzeros in tiles:
            here = sum(nonzeros[start:stop])
            if here > 0:
                size = here * machine.operand_bytes + ceil_div(real * (stop - start), 8)
                sizes[number] = sizes.get(number, 0) + size
    return sizes


def lay_out(
    machine: DualMachine,
    weights: np.ndarray,
    activations: np.ndarray,
    cores: list[Core],
    a_streams: list[Stream],
    b_streams: list[Stream],
    dram: DramLevel | None,
) -> None:
    """Deal the tiles, and list the steps of every core and the items of every stream in order (M18-M21, D7)."""
    k = weights.shape[1]
    rows, a = nonzeros_by_tile(weights, machine.tile_rows)
    columns, b = nonzeros_by_tile(activations.T, machine.tile_columns)
    core_rows, core_columns = len(a_streams), len(b_streams)
    slices = [(first, min(k, first + machine.slice_positions)) for first in range(0, k, machine.slice_positions)]
    bands, turns = ceil_div(len(rows), core_rows), ceil_div(len(columns), core_columns)
    cells = tuple(Cell(0, band, turn, 0, 0) for band in range(bands) for turn in range(turns))
    for cell in cells if dram is None else dram.blocking.cells:
        here = []  # (core row, core column, core, row tile, column tile, its sums)
        for core in cores:
            i, h = core.index // core_columns, core.index % core_columns
            r, q = cell.band * core_rows + i, cell.turn * core_columns + h
            if r < len(rows) and q < len(columns):
                here.append((i, h, core, r, q, core.add_tile(rows[r], columns[q])))
        a_map = [ceil_div(len(slices), 8)] * core_rows  # the slice map still to be sent, 0 once it has been
        b_map = [ceil_div(len(slices), 8)] * core_columns
        for number, (start, stop) in enumerate(slices):
            a_items: dict[int, Item] = {}
            b_items: dict[int, Item] = {}
            for i, h, core, r, q, tile in here:
                if not any(a[r][start:stop]) or not any(b[q][start:stop]):
                    continue
                if i not in a_items:
                    piece = None if dram is None else dram.weight_piece(cell, number)
                    a_items[i] = a_streams[i].add(a[r][start:stop], rows[r], a_map[i], piece)
                    a_map[i] = 0
                if h not in b_items:
                    piece = None if dram is None else dram.input_piece(cell, number)
                    b_items[h] = b_streams[h].add(b[q][start:stop], columns[q], b_map[h], piece)
                    b_map[h] = 0
                step = Step(tile, a_items[i], b_items[h], a[r][start:stop], b[q][start:stop])
                if dram is not None:
                    step.pieces = dram.pieces_of(step, cell, number)
                core.add_step(step)


def run_clock(
    machine: DualMachine,
    cores: list[Core],
    read_port: ReadPort,
    write_port: WritePort,
    counts: Counter[str],
    dram: DramLevel | None,
) -> int:
    """Run until the last output byte has arrived (M16, D17); return the number of cycles."""
    before: Counter[str] = Counter()
    patience = machine.latency_cycles + machine.pipeline_cycles + (0 if dram is None else dram.dram.latency_cycles)
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
        if dram is not None:
            dram.free_slots()
            dram.serve(t)
        read_port.serve(t)
        write_port.serve(t)
        for core in cores:
            core.cycles[core.state(t)] += 1
        tiles_over = all(core.tiles_ended == len(core.tiles) for core in cores)
        if tiles_over and write_port.empty() and (dram is None or dram.finished()):
            last_byte = write_port.last_byte_cycle
            assert last_byte is not None
            if t + 1 == (last_byte + machine.latency_cycles if dram is None else dram.end(last_byte)):
                return t + 1
        quiet = 0 if counts != before else quiet + 1
        before = counts.copy()
        assert quiet <= patience, f"deadlock in cycle {t}"
    raise AssertionError("the clock never stops by itself")
