"""How a layer larger than the SMEM is cut up: cells, pieces, and the order that moves the fewest bytes (D1-D8).

Knows no architecture: it gets the sizes of weight pieces, input units and streamed inputs, and gives the order of the
cells, the sequence of pieces of both fill streams, and the piece that each cell needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import InputError
from .machine import Machine
from .plan import CELL_FIELDS, INPUT_BASE, NEVER, NO_PIECE, PASS, WEIGHT_BASE, Fills, Ints, Memory

# Cells of a group beyond which the tables would take gigabytes.
LARGEST_CELLS = 1 << 22


# Blockings that stream inputs, or weights: moved anew for every cell.
INPUTS_STREAMED = ("inputs-streamed", "streamed")
WEIGHTS_STREAMED = ("weights-streamed", "streamed")


@dataclass(frozen=True, kw_only=True)
class Residency:
    """What of a layer does not go the plain way from DRAM and back (D15, D20, D21).

    residual : bool
        Another tensor of the outputs' shape is added to them.
    kept_input_bytes, kept_output_bytes : int or None
        Bytes of a tensor that stays in the SMEM, of all groups; None: it does not.
    prefetch_bytes : int
        So many bytes of the first weight pieces, whole ones, are there from the start.
    """

    residual: bool = False
    kept_input_bytes: int | None = None
    kept_output_bytes: int | None = None
    prefetch_bytes: int = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes of both tensors."""
        return (self.kept_input_bytes or 0) + (self.kept_output_bytes or 0)


ALL_IN_DRAM = Residency()


@dataclass(frozen=True, kw_only=True, eq=False)
class Pieces:
    """Sizes of pieces, for bands or cells many of which are alike.

    kinds : list of int64 (pieces,)
        The sizes of one visit's pieces, in bytes.
    """

    kinds: list[Ints]

    @cached_property
    def counts(self) -> Ints:
        """Pieces of each kind: int64, (kinds,)."""
        return np.array([len(sizes) for sizes in self.kinds], np.int64)

    @cached_property
    def totals(self) -> Ints:
        """Bytes of each kind: int64, (kinds,)."""
        return np.array([int(sizes.sum()) for sizes in self.kinds], np.int64)

    @cached_property
    def largest(self) -> int:
        """Bytes of the largest piece."""
        return max((int(sizes.max(initial=0)) for sizes in self.kinds), default=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class InputUnits:
    """A group's input as the turns of its columns need it (D2, D3).

    first_turns : int64, (units,)
    lo, hi : int64, (units,)
        The first pixel of a unit's span, and the one after its last.
    size : callable
        Bytes of pixels i to j - 1, elementwise.
    """

    first_turns: Ints
    lo: Ints
    hi: Ints
    size: Callable[[Ints, Ints], Ints]

    @classmethod
    def of(cls, lo: Ints, hi: Ints, size: Callable[[Ints, Ints], Ints]) -> InputUnits:
        """From `InputPixels.reaches` of the turns."""
        first = np.flatnonzero(np.concatenate([[True], hi[1:] > hi[:-1]]))
        return cls(first_turns=first, lo=lo[first], hi=hi[first] + 1, size=size)

    @property
    def pieces(self) -> Ints:
        """Bytes of each unit's own piece; only the first may have none."""
        return self.size(np.concatenate([[0], self.hi[:-1]]), self.hi)

    def most(self, units: int) -> int:
        """in(j): bytes of the largest span of so many consecutive units (D6)."""
        units = min(units, len(self.lo))
        lo, hi = self.lo[: len(self.lo) - units + 1], self.hi[units - 1 :]
        return int(self.size(np.minimum(lo, hi), hi).max())


@dataclass(frozen=True, kw_only=True, eq=False)
class Demand:
    """What a group needs of the SMEM.

    Parameters
    ----------
    capacity : int
        Bytes of the SMEM, less those of tensors that stay (D20).
    staging : int
        s, bytes for outputs on their way.
    bands, turns : int
    weights : Pieces
    band_kinds : int64, (bands,)
        The kind of each band's weights.
    inputs : InputUnits or None
        None: the input lies in the SMEM.
    streamed : Pieces
        Of the streamed inputs (D5).
    cell_kinds : callable
        (bands, turns), arrays of cells -> the kind of each cell's streamed inputs.
    streamed_bytes : int
        X, of all cells.
    read_ahead : int
        r, pieces of streamed inputs that must be held at least.
    in_flight : int
        f, bytes the channel moves in its latency.
    prefetch_bytes : int
        What may be there of the first weight pieces from the start (D21): as many as there are slots at most.
    """

    capacity: int
    staging: int
    bands: int
    turns: int
    weights: Pieces
    band_kinds: Ints
    inputs: InputUnits | None
    streamed: Pieces
    cell_kinds: Callable[[Ints, Ints], Ints]
    streamed_bytes: int
    read_ahead: int
    in_flight: int
    prefetch_bytes: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocking:
    """The cells in their order, and what is moved for them.

    bands, turns, passes : int64, (cells,)
    input_base, weight_base : int64, (cells,)
        Number of the cell's first piece of either stream; -1 for none.
    fills : (Fills, Fills)
        Inputs and weights.
    read_bytes : int
    """

    name: str
    bands: Ints
    turns: Ints
    passes: Ints
    input_base: Ints
    weight_base: Ints
    fills: tuple[Fills, Fills]
    read_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """A row of D6's table that fits.

    outer : units of a panel, bands of a group, or 0.
    """

    name: str
    outer: int
    read_bytes: int
    input_slots: int
    weight_slots: int


def choose(demand: Demand) -> Blocking:
    """The blocking that moves the fewest bytes (D6).

    Raises
    ------
    InputError
        The SMEM is too small for every blocking, or there are too many cells.
    """
    if demand.bands * demand.turns > LARGEST_CELLS:
        raise InputError(
            f"row bands x column tiles = {demand.bands} x {demand.turns}: too many to simulate with a DRAM level, "
            f"must be at most {LARGEST_CELLS}; without one (dram.bytes_per_cycle = 0) it runs"
        )
    choices = _that_fit(demand)
    if not choices:
        raise InputError(
            f"smem.capacity_bytes: {demand.capacity} B are left for this layer: too small, its outputs on their way "
            f"take {demand.staging} B, a piece of weights {demand.weights.largest} B"
        )
    return _lay_out(demand, min(choices, key=lambda choice: choice.read_bytes))


def _that_fit(demand: Demand) -> list[_Choice]:
    """The rows of D6's table that fit, each with its own best panels or groups."""
    bands, weights = demand.bands, demand.weights
    most, largest = int(weights.counts.max()), weights.largest
    all_weights = int(weights.totals[demand.band_kinds].sum())
    all_pieces = int(weights.counts[demand.band_kinds].sum())
    cap, turns = demand.capacity - demand.staging, demand.turns
    held = demand.inputs
    units = len(held.lo) if held else turns
    all_inputs = int(held.pieces.sum()) if held else 0
    ahead = demand.read_ahead * demand.streamed.largest

    def spans(count: int) -> int:
        return held.most(count) if held else 0

    def groups_of(bands_held: int, pieces: int) -> int:
        return min(bands_held * most + pieces, bands * most) * largest

    choices: list[_Choice] = []

    def add(name: str, outer: int, read_bytes: int, input_slots: int, inputs_held: int, weight_slots: int = -1) -> None:
        slots = (cap - inputs_held) // max(largest, 1) if weight_slots < 0 else weight_slots
        choices.append(
            _Choice(name=name, outer=outer, read_bytes=read_bytes, input_slots=input_slots, weight_slots=slots)
        )

    def add_held(name: str, size: int, read_bytes: int) -> None:
        """Weights outermost: what all of them leave free is for inputs."""
        slots = min((cap - 2 * spans(1)) // max(largest, 1), all_pieces)
        more = (cap - 2 * spans(1) - slots * largest) // max(spans(1), 1)
        add(name, size, read_bytes, 2 + more, 0, slots)

    two_bands = min(2, bands) * most * largest
    if size := _fewest(units, lambda t: spans(2 * t) + two_bands <= cap):
        add("inputs", size, all_inputs + all_weights * -(-units // size), 2 * size, spans(2 * size))
    if size := _fewest(bands, lambda g: 2 * spans(1) + groups_of(2 * g, 0) <= cap):
        add_held("weights", size, all_weights + all_inputs * -(-bands // size))
    if size := _fewest(units, lambda t: spans(t + 1) + groups_of(1, 1) <= cap):
        add("inputs-single", size, all_inputs + all_weights * -(-units // size), size + 1, spans(size + 1))
    if size := _fewest(bands, lambda g: 2 * spans(1) + groups_of(g, 1) <= cap):
        add_held("weights-single", size, all_weights + all_inputs * -(-bands // size))
    if spans(2) + 2 * largest + demand.in_flight <= cap:
        add("weights-streamed", 0, all_inputs + all_weights * turns, 2, spans(2))
    if held is not None:
        if size := _fewest(bands, lambda g: ahead + demand.in_flight + groups_of(g, 1) <= cap):
            kept = groups_of(size, 1)
            slots = (cap - kept) // max(demand.streamed.largest, 1)
            add("inputs-streamed", size, all_weights + demand.streamed_bytes, slots, 0, kept // max(largest, 1))
        if ahead + 2 * largest <= cap:
            slots = demand.read_ahead + (cap - ahead - 2 * largest) // 2 // max(demand.streamed.largest, 1)
            held_bytes = slots * demand.streamed.largest
            add("streamed", 0, all_weights * turns + demand.streamed_bytes, slots, held_bytes)
    return choices


def _fewest(count: int, fits: Callable[[int], bool]) -> int:
    """Of the sizes from 1 to count that fit the smallest with the fewest parts; 0 if none fits.

    What fits grows with a smaller size.
    """
    if not fits(1):
        return 0
    low, high = 1, count
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return -(-count // -(-count // low))


def _lay_out(demand: Demand, choice: _Choice) -> Blocking:
    """Put the cells in order and number the pieces."""
    name = choice.name
    inputs_outermost = name in ("inputs", "inputs-single")
    streams_inputs, streams_weights = name in INPUTS_STREAMED, name in WEIGHTS_STREAMED
    held = demand.inputs
    unit_of = np.zeros(demand.turns, np.int64)
    if held is None:
        unit_of = np.arange(demand.turns)
    else:
        unit_of[held.first_turns[1:]] = 1
        unit_of = np.cumsum(unit_of)

    bands = np.repeat(np.arange(demand.bands), demand.turns)
    turns = np.tile(np.arange(demand.turns), demand.bands)
    if inputs_outermost:
        outer = unit_of[turns] // choice.outer
        order = np.lexsort((turns, bands, outer))
        passes = outer * demand.bands + bands
    elif choice.outer:
        outer = bands // choice.outer
        order = np.lexsort((bands, turns, outer))
        passes = outer * demand.turns + turns
    else:
        order = np.lexsort((bands, turns))
        outer, passes = np.zeros_like(bands), np.zeros_like(bands)
        passes[order] = np.arange(len(order))
    bands, turns, outer, passes = bands[order], turns[order], outer[order], passes[order]
    cells = np.arange(len(order))

    # Weights: a visit is a band of a panel, a band, or a cell.
    visit = passes if inputs_outermost else (cells if streams_weights else bands)
    weight_fills, weight_base = _number(
        visit, demand.band_kinds[bands], demand.weights, choice.weight_slots, demand.prefetch_bytes
    )
    if streams_inputs:
        input_fills, input_base = _number(
            cells, demand.cell_kinds(bands, turns), demand.streamed, choice.input_slots, 0
        )
    elif held is None:
        input_base = np.full(len(cells), NO_PIECE)
        input_fills = Fills(visits=np.zeros((0, 3), np.int64), sizes=np.zeros(0, np.int64), slots=1)
    else:
        sweep = np.zeros_like(outer) if inputs_outermost else outer
        kinds = Pieces(kinds=[size[size > 0] for size in np.split(held.pieces, len(held.pieces))])
        units = unit_of[turns]
        input_fills, input_base = _number(sweep * len(held.lo) + units, units, kinds, choice.input_slots, 0)
    return Blocking(
        name=name,
        bands=bands,
        turns=turns,
        passes=passes,
        input_base=input_base,
        weight_base=weight_base,
        fills=(input_fills, weight_fills),
        read_bytes=choice.read_bytes,
    )


def _number(visit: Ints, kinds: Ints, pieces: Pieces, slots: int, prefetch_bytes: int) -> tuple[Fills, Ints]:
    """Number the pieces of visits in the order of the cells that first need them.

    visit, kinds : int64, (cells,), the visit of each cell, and the kind of its pieces.

    Returns
    -------
    The stream, and the number of each cell's first piece (-1 where it has none): int64, (cells,).
    """
    _, first, which = np.unique(visit, return_index=True, return_inverse=True)
    in_order = np.argsort(first, kind="stable")
    rank = np.empty_like(in_order)
    rank[in_order] = np.arange(len(in_order))
    first = first[in_order]
    counts = pieces.counts[kinds[first]]
    starts = np.concatenate([[0], np.cumsum(pieces.counts)[:-1]])
    base = np.concatenate([[0], np.cumsum(counts)[:-1]])
    visits = np.stack([first, starts[kinds[first]], counts], axis=1)[counts > 0]
    total = int(counts.sum())
    slots = max(1, min(slots, total))
    sizes = np.concatenate([np.zeros(0, np.int64), *pieces.kinds])
    prefetched, left = 0, prefetch_bytes
    for _, lo, count in visits.tolist():
        sums = np.cumsum(sizes[lo : lo + count])
        whole = int(np.searchsorted(sums, left, side="right"))
        prefetched += whole
        if whole < count or prefetched >= slots:
            break
        left -= int(sums[-1])
    fills = Fills(visits=visits, sizes=sizes, slots=slots, prefetched=min(prefetched, slots))
    return fills, np.where(counts > 0, base, NO_PIECE)[rank[which]]


def later_needs(first: Ints) -> Ints:
    """The lowest piece that later rows of a team need, from each row's own lowest (-1: it needs none): int64, (rows,).

    NEVER where no later row needs any.
    """
    needs = np.concatenate([np.where(first >= 0, first, NEVER)[1:], [NEVER]])
    return np.minimum.accumulate(needs[::-1])[::-1][: len(first)]


def cell_table(blocking: Blocking, cells: Ints) -> Ints:
    """The rows of `Memory.cells` for tiles in these cells; what later rows need is left to be filled in."""
    table = np.zeros((len(cells), CELL_FIELDS), np.int64)
    table[:, PASS] = blocking.passes[cells]
    table[:, INPUT_BASE] = blocking.input_base[cells]
    table[:, WEIGHT_BASE] = blocking.weight_base[cells]
    return table


def memory_of(
    machine: Machine,
    blocking: Blocking,
    residency: Residency,
    *,
    cells: Ints,
    stream_fill: Ints,
    item_pieces: Ints,
    step_pieces: Ints,
    nonzeros: int = 0,
    values: int = 0,
) -> Memory:
    """What a plan says of the level behind its SMEM; `Memory` documents the arrays."""
    return Memory(
        bytes_per_cycle=machine.dram.bytes_per_cycle,
        latency_cycles=machine.dram.latency_cycles,
        burst_bytes=machine.dram.burst_bytes,
        blocking=blocking.name,
        fills=blocking.fills,
        cells=cells,
        stream_fill=stream_fill,
        item_pieces=item_pieces,
        step_pieces=step_pieces,
        writes_back=residency.kept_output_bytes is None,
        residual=residency.residual,
        output_bytes=machine.output_bytes,
        nonzeros=nonzeros,
        values=values,
    )
