"""How a group is cut when there is a DRAM: units of input pixels (D2, D3) and the choice of a blocking (D6, D7).

Written from section 8 of `docs/microarchitecture.md` alone. Every size of panel and group is tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .result import ceil_div

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PANELS = ("inputs", "inputs-single")
GROUPS = ("weights", "weights-single", "inputs-streamed")
STREAMED_INPUTS = ("inputs-streamed", "streamed")
STREAMED_WEIGHTS = ("weights-streamed", "streamed")
NAMES = (
    "inputs", "weights", "inputs-single", "weights-single", "weights-streamed", "inputs-streamed", "streamed",
)  # fmt: skip


class Units:
    """The input pixels and the units of turns that bring them.

    Parameters
    ----------
    columns : the raster numbers of the pixels that each column reads
    turns : how many columns each turn has
    size : the bytes of a list of pixels, given by raster number
    resident : the input lies in the SMEM already (D20)
    """

    def __init__(
        self,
        columns: Sequence[Sequence[int]],
        turns: list[int],
        size: Callable[[list[int]], int],
        resident: bool,
    ):
        if len(columns) != sum(turns):
            raise ValueError(f"pixels: {len(columns)} columns given, the layer has {sum(turns)}")
        self.size, self.resident = size, resident
        self.raster = sorted({pixel for column in columns for pixel in column})  # only those that are read count (D2)
        number = {raster: index for index, raster in enumerate(self.raster)}
        highest, lowest = [], []  # of each turn by itself
        first = 0
        for length in turns:
            read = [number[pixel] for column in columns[first : first + length] for pixel in column]
            highest.append(max(read, default=-1))
            lowest.append(min(read, default=len(self.raster)))
            first += length
        self.hi = [max(highest[: q + 1]) for q in range(len(turns))]
        self.lo = [min(lowest[q:]) for q in range(len(turns))]
        self.turns: list[list[int]] = []  # of each unit
        for q in range(len(turns)):
            if q == 0 or self.hi[q] > self.hi[q - 1] or resident:  # D3, D20
                self.turns.append([])
            self.turns[-1].append(q)
        self.of_turn = [u for u, its_turns in enumerate(self.turns) for _ in its_turns]

    def __len__(self) -> int:
        return len(self.turns)

    def pixels(self, first: int, last: int) -> int:
        """Return the bytes of pixels first ... last, numbered as in D2; none if last < first."""
        return 0 if last < first else self.size(self.raster[first : last + 1])

    def hi_of(self, unit: int) -> int:
        return self.hi[self.turns[unit][-1]]

    def lo_of(self, unit: int) -> int:
        return self.lo[self.turns[unit][0]]

    def has_piece(self, unit: int) -> bool:
        return not self.resident and self.hi_of(unit) >= 0

    def piece(self, unit: int) -> int:
        """Return the bytes of a unit's piece, 0 if it has none."""
        if not self.has_piece(unit):
            return 0
        return self.pixels(self.hi_of(unit - 1) + 1 if unit > 0 else 0, self.hi_of(unit))

    def span(self, first: int, last: int) -> int:
        """Return the bytes of the pixels from lo of one unit to hi of another."""
        return 0 if self.resident else self.pixels(self.lo_of(first), self.hi_of(last))

    def largest(self, j: int) -> int:
        """Return in(j) of D6."""
        if len(self) <= j:
            return self.span(0, len(self) - 1)
        return max(self.span(first, first + j - 1) for first in range(len(self) - j + 1))


@dataclass(frozen=True)
class Cell:
    """A band and a turn, in its place in the order of the blocking."""

    number: int
    band: int
    turn: int
    outer: int  # its panel or group, 0 where there are none
    pass_number: int  # D7


@dataclass(frozen=True)
class Blocking:
    """A row of D6 with its panels or groups chosen."""

    name: str
    depth: int  # T or G, 1 where there is neither
    bytes_needed: int  # of the SMEM
    bytes_read: int  # from DRAM
    input_slots: int
    weight_slots: int
    cells: tuple[Cell, ...]


def order_cells(name: str, depth: int, units: Units, bands: int) -> tuple[Cell, ...]:
    """List the cells in the order of a blocking, with their passes (D6, D7)."""
    order = []  # (band, turn, outer, what tells passes apart)
    turns = [q for its_turns in units.turns for q in its_turns]
    if name in PANELS:
        for panel, first in enumerate(range(0, len(units), depth)):
            for band in range(bands):
                for unit in range(first, min(len(units), first + depth)):
                    order += [(band, q, panel, (panel, band)) for q in units.turns[unit]]
    elif name in GROUPS:
        for group, first in enumerate(range(0, bands, depth)):
            for q in turns:
                order += [(band, q, group, (group, q)) for band in range(first, min(bands, first + depth))]
    else:
        order = [(band, q, 0, (q, band)) for q in turns for band in range(bands)]
    passes: list[tuple[int, int]] = []
    cells = []
    for number, (band, q, outer, its_pass) in enumerate(order):
        if not passes or passes[-1] != its_pass:
            passes.append(its_pass)
        cells.append(Cell(number, band, q, outer, len(passes) - 1))
    return tuple(cells)


def choose_blocking(
    *,
    capacity: int,
    staging: int,
    units: Units,
    weights: list[list[int]],
    streamed: list[list[list[int]]],
    slots: int,
    in_flight: int = 0,
) -> Blocking:
    """Try every blocking with every size of its panels or groups, and take the one of D6.

    Parameters
    ----------
    capacity : cap of D6, less what stays (D20)
    staging : s of D6
    weights : the sizes of the weight pieces of each band (D4)
    streamed : the sizes of the streamed inputs' pieces of each band and turn (D5)
    slots : r of D6
    in_flight : f of D6

    Raises
    ------
    ValueError
        Nothing fits.
    """
    n_b, n_t, u = len(weights), sum(len(turns) for turns in units.turns), len(units)
    v = max(len(pieces) for pieces in weights)
    w = max((size for pieces in weights for size in pieces), default=0)
    x = max((size for turns in streamed for pieces in turns for size in pieces), default=0)
    all_inputs = sum(units.piece(unit) for unit in range(u))  # I
    all_weights = sum(size for pieces in weights for size in pieces)  # W
    all_streamed = sum(size for turns in streamed for pieces in turns for size in pieces)  # X
    input_pieces = sum(units.has_piece(unit) for unit in range(u))
    weight_pieces = sum(len(pieces) for pieces in weights)
    streamed_pieces = sum(len(pieces) for turns in streamed for pieces in turns)

    best: Blocking | None = None
    for name in NAMES:
        if units.resident and name in STREAMED_INPUTS:  # D20
            continue
        best_of_row: tuple[tuple[int, int], Blocking] | None = None
        for depth in range(1, u + 1) if name in PANELS else range(1, n_b + 1) if name in GROUPS else [1]:
            count = ceil_div(u, depth) if name in PANELS else ceil_div(n_b, depth) if name in GROUPS else 1
            of_inputs, of_weights, reads, input_slots, weight_slots = {
                "inputs": lambda T=depth, n=count: (
                    units.largest(2 * T), min(2, n_b) * v * w, all_inputs + all_weights * n, 2 * T, None,
                ),
                "weights": lambda G=depth, n=count: (
                    2 * units.largest(1), min(2 * G, n_b) * v * w, all_weights + all_inputs * n, 2, None,
                ),
                "inputs-single": lambda T=depth, n=count: (
                    units.largest(T + 1), min(v + 1, n_b * v) * w, all_inputs + all_weights * n, T + 1, None,
                ),
                "weights-single": lambda G=depth, n=count: (
                    2 * units.largest(1), min(G * v + 1, n_b * v) * w, all_weights + all_inputs * n, 2, None,
                ),
                "weights-streamed": lambda: (units.largest(2), 2 * w, all_inputs + all_weights * n_t, 2, None),
                "inputs-streamed": lambda G=depth: (
                    slots * x, min(G * v + 1, n_b * v) * w, all_weights + all_streamed, None,
                    min(G * v + 1, n_b * v),
                ),
                "streamed": lambda: (slots * x, 2 * w, all_weights * n_t + all_streamed, slots, None),
            }[name]()  # fmt: skip
            needed = staging + of_inputs + of_weights
            if name in ("weights-streamed", "inputs-streamed"):
                needed += in_flight
            if needed > capacity:
                continue
            if input_slots is None:  # "rest": the capacity less the outputs and the other operand
                input_slots = (capacity - staging - of_weights) // x if x else 0
            if name == "streamed" and x:  # half of what is to spare
                input_slots += (capacity - needed) // 2 // x
                of_inputs = input_slots * x
            if weight_slots is None:
                weight_slots = (capacity - staging - of_inputs) // w if w else 0
            if name in ("weights", "weights-single") and units.largest(1):
                taken = min(weight_slots, weight_pieces) * w
                input_slots += (capacity - staging - of_inputs - taken) // units.largest(1)
            moved_inputs, moved_weights = input_pieces, weight_pieces
            if name in STREAMED_INPUTS:
                moved_inputs = streamed_pieces
            elif name in GROUPS:
                moved_inputs *= count
            if name in STREAMED_WEIGHTS:
                moved_weights *= n_t
            elif name in PANELS:
                moved_weights *= count
            found = Blocking(
                name,
                depth,
                needed,
                reads,
                min(input_slots, moved_inputs),
                min(weight_slots, moved_weights),
                order_cells(name, depth, units, n_b),
            )
            if best_of_row is None or (count, depth) < best_of_row[0]:
                best_of_row = ((count, depth), found)
        if best_of_row is not None and (best is None or best_of_row[1].bytes_read < best.bytes_read):
            best = best_of_row[1]
    if best is None:
        raise ValueError(f"dram: no blocking fits {capacity} bytes of SMEM")
    return best
