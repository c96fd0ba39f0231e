"""Reference twin of the DRAM level: pieces, slots, the channel, the write queue and write-backs, cycle by cycle.

Written from section 8 of `docs/microarchitecture.md` alone (its rules D1-D21 are cited below) and without sight of
`sim/`. Both machines (`stationary.py`, `dual.py`) hand their pieces and the cells of their sets to one `DramLevel`,
which moves bytes in every cycle and says what is there. What is cut how is in `blocking.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from .blocking import PANELS, STREAMED_INPUTS, STREAMED_WEIGHTS, Blocking, Cell, Units
from .ports import Port, Write, WritePort
from .result import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class RefDram:
    """The DRAM level of a machine, and what of the layer is special on it (D15, D20, D21)."""

    bytes_per_cycle: int
    latency_cycles: int
    burst_bytes: int
    capacity_bytes: int
    kept_input_bytes: int | None = None  # None: does not stay in the SMEM
    kept_output_bytes: int | None = None
    prefetched_pieces: int = 0
    residual: bool = False

    def __post_init__(self) -> None:
        for name in ("bytes_per_cycle", "latency_cycles", "burst_bytes", "capacity_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"dram: {name}={getattr(self, name)} is too small")
        if self.prefetched_pieces < 0:
            raise ValueError(f"dram: prefetched_pieces={self.prefetched_pieces} is too small")
        if self.residual and self.kept_output_bytes is not None:  # D20
            raise ValueError("dram: the outputs of a layer with a residual input never stay")

    def capacity_left(self) -> int:
        """Return cap, less what stays (D20)."""
        return self.capacity_bytes - (self.kept_input_bytes or 0) - (self.kept_output_bytes or 0)


@dataclass
class RefInput:
    """The pixels behind the columns of a group (D2)."""

    columns: Sequence[Sequence[int]]  # of each column the raster numbers of the pixels it reads
    channels: int
    nonzeros: Sequence[int] | dict[int, int] | None = None  # of each pixel by raster number; dstc only


class HasEnded(Protocol):
    """A step of either machine."""

    ended: bool


@dataclass
class Piece:
    """A piece of a fill stream."""

    kind: str  # "dram_input_bytes" or "dram_weight_bytes"
    number: int  # in its stream
    size: int
    cell: int  # the first that needs it
    place: int  # among the pieces of its cell's visit
    units: tuple[int, int] | None = None  # its group and its unit, of unstreamed inputs
    steps: list[HasEnded] = field(default_factory=list)  # that need it
    cut: int = 0  # bytes that the channel has taken up so far
    written: int = 0
    there_from: int | None = None

    def there(self, t: int) -> bool:
        return self.there_from is not None and self.there_from <= t

    def needed(self) -> bool:
        self.steps = [step for step in self.steps if not step.ended]
        return len(self.steps) > 0


@dataclass
class FillBurst:
    """Up to D bytes of a piece on the channel (D10)."""

    piece: Piece
    size: int


@dataclass
class FillWrite(Write):
    """The same bytes at the write port (D11, D12)."""

    piece: Piece | None = None


@dataclass
class SetCell:
    """What one set computes in one cell: its outputs on their way out (D14, D16)."""

    number: int  # among its set's cells
    size: int
    staged: bool = False  # its first step has started, so that its place in the staging is taken
    unwritten: int = 0
    unread: int = 0
    unsent: int = 0
    read_cycle: int | None = None  # of the last byte of its write-back, through the read port
    sent_cycle: int | None = None  # and on the channel

    def __post_init__(self) -> None:
        self.unwritten = self.unread = self.unsent = self.size

    def read_before(self, t: int) -> bool:
        return self.read_cycle is not None and self.read_cycle < t

    def sent_before(self, t: int) -> bool:
        return self.sent_cycle is not None and self.sent_cycle < t


@dataclass
class BackBurst:
    """Up to D bytes of a write-back: through the read port in full, on the channel as they go there (D14, D15)."""

    cell: SetCell
    size: int
    servable_from: int = 0  # on the channel


@dataclass
class ChannelWrite:
    """The same burst on the channel."""

    burst: BackBurst
    size: int
    written: int
    residual: int


class FillStream:
    """One of the two sequences of pieces, with its slots (D8, D9)."""

    def __init__(self, slots: int):
        self.slots = slots
        self.pieces: list[Piece] = []
        self.taken = 0  # pieces of which the channel has taken up the first byte
        self.sent = 0  # pieces cut to the end: the number of the next piece
        self.freed = 0

    def add(self, kind: str, size: int, cell: int, place: int, units: tuple[int, int] | None = None) -> Piece:
        piece = Piece(kind, len(self.pieces), size, cell, place, units)
        self.pieces.append(piece)
        return piece

    def free(self) -> None:
        """Free slots in order: of every piece that no step left needs, nor any before it (D9)."""
        while self.freed < len(self.pieces) and not self.pieces[self.freed].needed():
            self.freed += 1

    def next_piece(self) -> Piece | None:
        """Return the next piece if it has its slot."""
        if self.sent == len(self.pieces) or self.sent - self.slots >= self.freed:
            return None
        return self.pieces[self.sent]

    def cut_burst(self, burst_bytes: int) -> FillBurst:
        piece = self.pieces[self.sent]
        size = min(burst_bytes, piece.size - piece.cut)
        piece.cut += size
        self.taken = piece.number + 1
        if piece.cut == piece.size:
            self.sent += 1
        return FillBurst(piece, size)

    def held(self) -> list[Piece]:
        """Return the pieces that have taken their slots and not freed them."""
        return self.pieces[self.freed : self.taken]


class Channel(Port["FillBurst | ChannelWrite"]):
    """The DRAM channel (D10)."""

    def __init__(self, level: DramLevel):
        super().__init__(level.dram.bytes_per_cycle, level.counts, "dram_channel_bytes")
        self.level = level
        self.last_byte_cycle: int | None = None

    def choose(self, t: int) -> FillBurst | ChannelWrite | None:
        backs = self.level.backs_for_channel
        if backs and backs[0].servable_from <= t:
            return self.level.on_channel(backs.pop(0))
        candidates = []
        for order, stream in enumerate((self.level.inputs, self.level.weights)):
            piece = stream.next_piece()
            if piece is not None:
                candidates.append((piece.cell, piece.place, order, stream))
        if not candidates:
            return None
        return min(candidates, key=lambda candidate: candidate[:3])[3].cut_burst(self.level.dram.burst_bytes)

    def served(self, transfer: FillBurst | ChannelWrite, t: int) -> None:
        self.last_byte_cycle = t
        if isinstance(transfer, FillBurst):
            self.level.arrives(transfer, t)
        else:
            self.level.written_back(transfer, t)


class WriteQueue(WritePort):
    """SMEM's write port with a DRAM: in the order of entry, and nothing overtakes (D12)."""

    def __init__(self, width: int, counts: Counter[str], pipeline: int, level: DramLevel):
        super().__init__(width, counts)
        self.pipeline, self.level = pipeline, level

    def key(self, write: Write) -> tuple[int, bool, int, int]:
        """Sort by entry; drains before fills, drains by core and tile, fills as the channel sent them."""
        fill = isinstance(write, FillWrite)
        enters = write.request_cycle if fill else write.request_cycle - self.pipeline
        return (enters, fill, write.core, write.order)

    def choose(self, t: int) -> Write | None:
        if not self.waiting:
            return None
        head = min(self.waiting, key=self.key)
        if head.request_cycle > t:
            return None
        self.waiting = [write for write in self.waiting if write is not head]
        return head

    def served(self, write: Write, t: int) -> None:
        super().served(write, t)
        if isinstance(write, FillWrite):
            assert write.piece is not None
            write.piece.written += write.size
            if write.piece.written == write.piece.size:
                write.piece.there_from = t + 1  # D13
        else:
            assert write.cell is not None
            self.level.output_written(write.cell, write.size, t)


class DramLevel:
    """Everything behind the SMEM of one group."""

    def __init__(
        self,
        dram: RefDram,
        blocking: Blocking,
        units: Units,
        counts: Counter[str],
        *,
        smem_latency: int,
        output_bytes: int,
        staging: int,
        sparsity: tuple[int, int] | None = None,
    ):
        """Take the parts; `sparsity` is (nonzeros, values) of the input where tensors move compressed (D14)."""
        if dram.burst_bytes % output_bytes != 0:
            raise ValueError(f"dram: burst_bytes={dram.burst_bytes} is not a multiple of output_bytes={output_bytes}")
        self.dram, self.blocking, self.units, self.counts = dram, blocking, units, counts
        self.smem_latency, self.output_bytes, self.sparsity = smem_latency, output_bytes, sparsity
        self.inputs = FillStream(blocking.input_slots)
        self.weights = FillStream(blocking.weight_slots)
        self.unit_pieces: dict[int, Piece] = {}  # by cell
        self.streamed_pieces: dict[tuple[int, int], Piece] = {}  # by cell and wave (slice)
        self.weight_pieces: dict[tuple[int, int], Piece] = {}
        self.sets: dict[int, list[SetCell]] = {}
        self.channel = Channel(self)
        self.write_port: WriteQueue | None = None
        self.to_read: list[tuple[int, SetCell]] = []  # write-backs by (cycle from which, cell), oldest first
        self.backs_for_channel: list[BackBurst] = []
        self.buffers_free_from: list[int | None] = [0, 0]  # None: holds a burst
        self.largest_weight = 0
        self.largest_streamed = 0
        self.staging = staging

    # --- before the clock starts ---

    def list_pieces(
        self, cells: tuple[Cell, ...], weights: list[dict[int, int]], streamed: list[list[dict[int, int]]]
    ) -> None:
        """Walk the cells in order and append every piece where it is first needed (D8).

        Whether a step of the cell needs it or not (on dstc some pieces are needed by none). A place (D10) counts the
        pieces of the stream that the cell's visit has, not slices: the law may be read either way.
        `weights[band]` and `streamed[band][turn]` give the size of the piece of each wave (slice) that has one.
        """
        name = self.blocking.name
        known: dict[tuple[object, ...], Piece] = {}
        for cell in cells:
            unit = self.units.of_turn[cell.turn]
            if name in STREAMED_INPUTS:
                for place, (wave, size) in enumerate(sorted(streamed[cell.band][cell.turn].items())):
                    piece = self.inputs.add("dram_input_bytes", size, cell.number, place)
                    self.streamed_pieces[cell.number, wave] = piece
            elif self.units.has_piece(unit):
                key = ("input", cell.outer, unit)
                if key not in known:
                    size = self.units.piece(unit)
                    known[key] = self.inputs.add("dram_input_bytes", size, cell.number, 0, (cell.outer, unit))
                self.unit_pieces[cell.number] = known[key]
            for place, (wave, size) in enumerate(sorted(weights[cell.band].items())):
                visit = cell.number if name in STREAMED_WEIGHTS else cell.outer if name in PANELS else 0
                key = ("weight", visit, cell.band, wave)
                if key not in known:
                    known[key] = self.weights.add("dram_weight_bytes", size, cell.number, place)
                self.weight_pieces[cell.number, wave] = known[key]
        for stream in (self.inputs, self.weights):
            assert stream.slots > 0 or not stream.pieces
            assert stream.slots <= len(stream.pieces), "D6: never more slots than pieces"
        assert self.blocking.bytes_read == sum(p.size for s in (self.inputs, self.weights) for p in s.pieces)
        self.largest_weight = max((piece.size for piece in self.weights.pieces), default=0)
        self.largest_streamed = max((piece.size for piece in self.inputs.pieces), default=0)

    def prefetch(self) -> None:
        """Have the first weight pieces there (D21); more than there are slots for are refused (law silent)."""
        first = self.weights.pieces[: self.dram.prefetched_pieces]
        if len(first) > self.weights.slots or len(first) < self.dram.prefetched_pieces:  # D21 has them take their slots
            raise ValueError(f"dram: prefetched_pieces={self.dram.prefetched_pieces}: {self.weights.slots} slots")
        for piece in first:
            piece.cut = piece.written = piece.size
            piece.there_from = 0
            self.weights.taken = self.weights.sent = piece.number + 1
            self.counts["prefetched_bytes"] += piece.size
            self.counts["dram_weight_bytes"] += piece.size
            self.counts["dram_read_bytes"] += piece.size
            self.counts["smem_write_bytes"] += piece.size

    def add_set_cell(self, set_index: int, size: int) -> SetCell:
        """Count one more cell of a set, with the bytes of its outputs."""
        cells = self.sets.setdefault(set_index, [])
        cells.append(SetCell(len(cells), size))
        return cells[-1]

    def input_piece(self, cell: Cell, wave: int) -> Piece | None:
        """Return what brings the inputs of a wave (slice) of a cell; None if nothing has to (D8)."""
        return self.unit_pieces.get(cell.number) or self.streamed_pieces.get((cell.number, wave))

    def weight_piece(self, cell: Cell, wave: int) -> Piece:
        return self.weight_pieces[cell.number, wave]

    def pieces_of(self, step: HasEnded, cell: Cell, wave: int) -> list[Piece]:
        """Return the pieces that a step needs, having noted down that it does (D9)."""
        pieces = [self.weight_piece(cell, wave)]
        inputs = self.input_piece(cell, wave)
        if inputs is not None:
            pieces.append(inputs)
        for piece in pieces:
            piece.steps.append(step)
        return pieces

    # --- staging and write-backs ---

    @property
    def outputs_stay(self) -> bool:
        return self.dram.kept_output_bytes is not None

    def staging_free(self, set_index: int, cell: SetCell, t: int) -> bool:
        """Tell whether the first step of a set's cell may start (D16)."""
        if self.outputs_stay:
            return True
        return all(earlier.read_before(t) for earlier in self.sets[set_index][: max(0, cell.number - 1)])

    def all_sent_before(self, set_index: int, t: int) -> bool:
        """Tell whether a set's write-backs have all left over the channel (D18)."""
        return self.outputs_stay or all(cell.sent_before(t) for cell in self.sets[set_index])

    def output_written(self, cell: SetCell, size: int, t: int) -> None:
        cell.unwritten -= size
        assert cell.unwritten >= 0
        if cell.unwritten == 0 and not self.outputs_stay:
            self.to_read.append((t + 1, cell))

    def choose_back(self, t: int) -> BackBurst | None:
        """Take the next burst of write-backs that the read port can serve in cycle t (D14)."""
        if not self.to_read or self.to_read[0][0] > t:
            return None
        free = [i for i, free_from in enumerate(self.buffers_free_from) if free_from is not None and free_from <= t]
        if not free:
            return None
        self.buffers_free_from[free[0]] = None
        cell = self.to_read[0][1]
        burst = BackBurst(cell, min(self.dram.burst_bytes, cell.unread))
        cell.unread -= burst.size
        if cell.unread == 0:
            self.to_read.pop(0)
        return burst

    def back_read(self, burst: BackBurst, t: int) -> None:
        """Note that the last byte of a burst has gone through the read port."""
        self.counts["writeback_bytes"] += burst.size
        burst.servable_from = t + self.smem_latency
        self.backs_for_channel.append(burst)
        if burst.cell.unread == 0:  # bursts are read one after another: this was the last
            burst.cell.read_cycle = t

    def on_channel(self, burst: BackBurst) -> ChannelWrite:
        written = burst.size
        if self.sparsity is not None:
            nonzeros, values = self.sparsity
            mine = burst.size // self.output_bytes
            # An input of padding only has no values: the law is silent, 0 is taken.
            dense = ceil_div(mine * nonzeros, values) if values else 0
            written = dense * self.output_bytes + ceil_div(mine, 8)
        residual = written if self.dram.residual else 0
        return ChannelWrite(burst, written + residual, written, residual)

    def written_back(self, transfer: ChannelWrite, t: int) -> None:
        self.counts["dram_write_bytes"] += transfer.written
        self.counts["dram_residual_bytes"] += transfer.residual
        self.counts["dram_read_bytes"] += transfer.residual
        self.buffers_free_from[self.buffers_free_from.index(None)] = t + 1
        cell = transfer.burst.cell
        cell.unsent -= transfer.burst.size
        if cell.unsent == 0:
            cell.sent_cycle = t

    # --- fills ---

    def arrives(self, burst: FillBurst, t: int) -> None:
        """Let a burst that has left the channel in cycle t enter the write queue (D11)."""
        assert self.write_port is not None
        self.counts[burst.piece.kind] += burst.size
        self.counts["dram_read_bytes"] += burst.size
        self.counts["fill_bursts"] += 1
        enters = t + self.dram.latency_cycles
        order = self.counts["fill_bursts"]
        self.write_port.waiting.append(FillWrite(enters, 0, burst.size, order=order, piece=burst.piece))

    # --- the clock ---

    def free_slots(self) -> None:
        """Do this once the steps that end in a cycle have ended, before the channel serves it."""
        self.inputs.free()
        self.weights.free()

    def serve(self, t: int) -> None:
        self.channel.serve(t)
        self.check()

    def finished(self) -> bool:
        """Tell whether nothing is left to go over the channel, or is under way on it."""
        return (
            all(stream.sent == len(stream.pieces) for stream in (self.inputs, self.weights))
            and self.channel.moving is None
            and (
                self.outputs_stay or all(cell.sent_cycle is not None for cells in self.sets.values() for cell in cells)
            )
        )

    def end(self, last_write: int) -> int:
        """Return `cycles`, given the cycle of the write port's last byte (D17)."""
        cycles = last_write + self.smem_latency
        if self.channel.last_byte_cycle is not None:
            cycles = max(cycles, self.channel.last_byte_cycle + self.dram.latency_cycles)
        return cycles

    def input_bytes_in_use(self) -> int:
        stream = self.inputs
        if self.blocking.name in STREAMED_INPUTS:
            return len(stream.held()) * self.largest_streamed
        if stream.freed == len(stream.pieces) or stream.taken == 0:
            return 0
        oldest = stream.pieces[stream.freed].units
        newest = stream.pieces[stream.taken - 1].units
        assert oldest is not None and newest is not None
        if self.blocking.name != "weights" and self.blocking.name != "weights-single":
            oldest, newest = (0, oldest[1]), (0, newest[1])  # a panel's pixels may be in use by the next
        group, unit = oldest
        if newest[0] < group:
            return 0
        if newest[0] == group:  # pixels that earlier units brought stay as long as this one's span takes them in
            return self.units.pixels(self.units.lo_of(unit), self.units.hi_of(newest[1]))
        last = self.units.hi_of(len(self.units) - 1)
        used = self.units.pixels(self.units.lo_of(unit), last)
        for _ in range(group + 1, newest[0]):
            used += self.units.pixels(0, last)
        return used + self.units.pixels(0, self.units.hi_of(newest[1]))

    def check(self) -> None:
        """Assert that what is in the SMEM fits.

        Cells without steps (dstc) are left out: D16 does not hold them back, so that any number of them may be
        waiting for their write-back at a time.
        """
        staged = 0
        if not self.outputs_stay:
            for cells in self.sets.values():
                staged += sum(cell.size for cell in cells if cell.staged and cell.read_cycle is None)
        assert staged <= self.staging, "staging"
        assert all(len(stream.held()) <= stream.slots for stream in (self.inputs, self.weights))
        in_use = staged + len(self.weights.held()) * self.largest_weight + self.input_bytes_in_use()
        assert in_use <= self.dram.capacity_left(), f"{in_use} bytes of SMEM in use"

    def bound(self) -> int:
        """Return the cycles that the channel's bytes need at least (D19, D21)."""
        moved = self.counts["dram_read_bytes"] + self.counts["dram_write_bytes"] - self.counts["prefetched_bytes"]
        return ceil_div(moved, self.dram.bytes_per_cycle)

    def assert_done(self, s: int, p: int) -> None:
        """Assert that bytes have been conserved."""
        moved = {kind: self.counts[kind] for kind in ("dram_input_bytes", "dram_weight_bytes")}
        assert sum(moved.values()) == self.blocking.bytes_read
        assert self.counts["dram_read_bytes"] == self.blocking.bytes_read + self.counts["dram_residual_bytes"]
        assert self.counts["smem_write_bytes"] == s * p * self.output_bytes + self.blocking.bytes_read
        assert self.counts["writeback_bytes"] == (0 if self.outputs_stay else s * p * self.output_bytes)
        assert self.sparsity is not None or self.counts["dram_write_bytes"] == self.counts["writeback_bytes"]
        for stream in (self.inputs, self.weights):
            assert all(piece.there_from is not None for piece in stream.pieces)
        assert self.counts["dram_channel_bytes"] == (
            self.counts["dram_read_bytes"] + self.counts["dram_write_bytes"] - self.counts["prefetched_bytes"]
        )
