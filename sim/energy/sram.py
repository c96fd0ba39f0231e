"""Figures of an SRAM: from the table of CACTI results, from CACTI itself, or interpolated within the table.

The table is `data/cacti_sram.csv`; how CACTI was set stands in its header. Interpolation is linear in the logarithms
of size, word width and figure, at one node, cell type, temperature, ports and bank count; nothing is extrapolated.
How far off it is: `crispsim.bench.validation.sram_interpolation`.
"""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Literal, NamedTuple, cast, get_args

from ..errors import InputError

Ports = Literal["1rw", "1r1w", "2rw"]
Origin = Literal["table", "interpolated", "live"]

PORTS: tuple[Ports, ...] = get_args(Ports)


@dataclass(frozen=True, kw_only=True)
class SramShape:
    """An SRAM: bytes of all its banks together, bits of a word, banks, and the ports of each bank.

    Raises
    ------
    InputError
        A number is less than 1, or the ports are not one of `PORTS`.
    """

    size_bytes: int
    word_bits: int
    banks: int
    ports: Ports

    def __post_init__(self) -> None:
        for name in ("size_bytes", "word_bits", "banks"):
            if getattr(self, name) < 1:
                raise InputError(f"SRAM: {name}: value {getattr(self, name)}: must be at least 1")
        if self.ports not in PORTS:
            raise InputError(f"SRAM: ports: value {self.ports!r}: must be one of {', '.join(PORTS)}")

    def __str__(self) -> str:
        banks = "1 bank" if self.banks == 1 else f"{self.banks} banks"
        return f"{self.size_bytes} B, {banks} of {self.word_bits}-bit words, {self.ports}"


@dataclass(frozen=True, kw_only=True)
class Technology:
    """A process: its node in nm, CACTI's name for the kind of transistor, and the temperature in K.

    Raises
    ------
    InputError
        A number is less than 1, or the kind is not a word of letters, digits and hyphens.
    """

    node_nm: int
    cell_type: str
    temperature_k: int

    def __post_init__(self) -> None:
        for name in ("node_nm", "temperature_k"):
            if getattr(self, name) < 1:
                raise InputError(f"technology: {name}: value {getattr(self, name)}: must be at least 1")
        if not self.cell_type.replace("-", "").isalnum():
            raise InputError(f"technology: cell_type: value {self.cell_type!r}: must be letters, digits and hyphens")

    def __str__(self) -> str:
        return f"{self.node_nm} nm {self.cell_type}, {self.temperature_k} K"


class Figures(NamedTuple):
    """What is interpolated: pJ of reading and of writing a word; mW and mm2 of all banks."""

    read_pj: float
    write_pj: float
    leakage_mw: float
    area_mm2: float


class GridPoint(NamedTuple):
    """A row of the table: its figures, and its times in ns."""

    figures: Figures
    access_ns: float
    cycle_ns: float


Grid = Mapping[tuple[int, int], GridPoint]  # by size in bytes and word width in bits


@dataclass(frozen=True, kw_only=True)
class Sram:
    """An SRAM and its figures.

    `read_pj` and `write_pj` are of one access of a word; `leakage_mw` and `area_mm2` of all banks. The times are those
    of a bank, and not known (None) where the figures are interpolated. `source` says in a line where they come from.
    """

    shape: SramShape
    technology: Technology
    read_pj: float
    write_pj: float
    leakage_mw: float
    area_mm2: float
    access_ns: float | None
    cycle_ns: float | None
    origin: Origin
    source: str


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Figures between grid points, and the sizes (B) and the word widths (bits) of these points, one or two of each."""

    figures: Figures
    sizes: tuple[int, ...]
    words: tuple[int, ...]

    def __str__(self) -> str:
        sizes = [f"{self.sizes[0]} and {self.sizes[-1]} B"] * (len(self.sizes) > 1)
        words = [f"{self.words[0]}- and {self.words[-1]}-bit words"] * (len(self.words) > 1)
        return "interpolated (log-log) between " + " and between ".join(sizes + words)


def find_sram(shape: SramShape, technology: Technology, *, part: str = "memory", live: bool = True) -> Sram:
    """Look an SRAM up in the table; if it is not there, run CACTI where it is installed, else interpolate.

    Parameters
    ----------
    shape, technology
        The SRAM.
    part : str
        What to call it in an error, such as "smem".
    live : bool
        Whether CACTI may be run.

    Raises
    ------
    InputError
        None of the three gives it; the line names the nearest SRAMs that the table or interpolation does give.
    """
    points = grid(technology, shape.ports, shape.banks)
    point = points.get((shape.size_bytes, shape.word_bits))
    if point is not None:
        return Sram(
            shape=shape,
            technology=technology,
            **point.figures._asdict(),
            access_ns=point.access_ns,
            cycle_ns=point.cycle_ns,
            origin="table",
            source=f"CACTI 7, {shape}, {technology}",
        )
    why_not_live = None
    if live:
        from . import live_cacti  # here, not above: it needs the classes of this file

        why_not_live = live_cacti.available()
        if why_not_live is None:
            try:
                return live_cacti.run(shape, technology)
            except InputError as error:
                why_not_live = str(error)
    between = interpolate(points, shape.size_bytes, shape.word_bits)
    if between is None:
        raise _refusal(shape, technology, part, why_not_live)
    return Sram(
        shape=shape,
        technology=technology,
        **between.figures._asdict(),
        access_ns=None,
        cycle_ns=None,
        origin="interpolated",
        source=f"CACTI 7, {shape}, {technology}, {between}",
    )


def grid(technology: Technology, ports: Ports, banks: int) -> Grid:
    """Rows of the table of this process, ports and bank count; empty if there are none."""
    return grids().get((technology, ports, banks), {})


def interpolate(points: Grid, size_bytes: int, word_bits: int) -> Interpolation | None:
    """Figures between grid points, linear in logarithms; None where the points do not enclose the place.

    Between two points of the same word width, or of the same size, whichever are closer together; if there are no such
    points, within the smallest rectangle, in logarithms, that has a point at each corner. A point at the place itself
    does not count.

    >>> corner = GridPoint(Figures(1.0, 1.0, 1.0, 1.0), 1.0, 1.0), GridPoint(Figures(4.0, 9.0, 1.0, 2.0), 1.0, 1.0)
    >>> interpolate({(1024, 32): corner[0], (4096, 32): corner[1]}, 2048, 32).figures.read_pj
    2.0
    """
    rectangle = _segment(points, size_bytes, word_bits) or _rectangle(points, size_bytes, word_bits)
    if rectangle is None:
        return None
    sizes, words = rectangle
    at_size, at_word = _fraction(size_bytes, sizes), _fraction(word_bits, words)
    figures = Figures(
        *(
            _mean(at_word, *(_mean(at_size, *(points[size, word].figures[index] for size in sizes)) for word in words))
            for index in range(len(Figures._fields))
        )
    )
    return Interpolation(figures=figures, sizes=sizes, words=words)


_HEADER = [
    *("size_bytes", "word_bits", "banks", "ports", "tech_nm", "temp_k", "cell_type"),
    *("read_pj", "write_pj", "leakage_mw", "area_mm2", "access_ns", "cycle_ns", "org"),
]


@functools.cache
def grids() -> Mapping[tuple[Technology, Ports, int], Grid]:
    """The whole table, by process, ports and bank count."""
    text = (resources.files(__package__ or "crispsim.sim.energy") / "data" / "cacti_sram.csv").read_text("utf-8")
    table: dict[tuple[Technology, Ports, int], dict[tuple[int, int], GridPoint]] = {}
    of_text: dict[tuple[str, ...], dict[tuple[int, int], GridPoint]] = {}  # the same, so that a key is made but once
    rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    header = next(rows)
    assert header == _HEADER, header
    for size, word, banks, ports, node, temperature, cell, read, write, leakage, area, access, cycle, _ in rows:
        points = of_text.get((banks, ports, node, temperature, cell))
        if points is None:
            technology = Technology(node_nm=int(node), cell_type=cell, temperature_k=int(temperature))
            points = table[technology, cast(Ports, ports), int(banks)] = {}
            of_text[banks, ports, node, temperature, cell] = points
        figures = Figures(float(read), float(write), float(leakage), float(area))
        points[int(size), int(word)] = GridPoint(figures, float(access), float(cycle))
    return table


def _segment(points: Grid, size: int, word: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The closer of the two pairs of neighbours: at this word width, or at this size."""
    sizes = _neighbours(size, (s for s, w in points if w == word))
    words = _neighbours(word, (w for s, w in points if s == size))
    if sizes is None and words is None:
        return None
    if words is None or (sizes is not None and _gap(sizes) <= _gap(words)):
        assert sizes is not None
        return sizes, (word,)
    return (size,), words


def _rectangle(points: Grid, size: int, word: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The smallest rectangle around the place with a point at each corner."""
    sizes_of: dict[int, set[int]] = {}
    for s, w in points:
        sizes_of.setdefault(w, set()).add(s)
    best = None
    for below in (w for w in sizes_of if w < word):
        for above in (w for w in sizes_of if w > word):
            sizes = _neighbours(size, sizes_of[below] & sizes_of[above])
            if sizes is not None:
                gaps = _gap(sizes), _gap((below, above))
                rank = gaps[0] * gaps[1], gaps[0] + gaps[1], sizes, (below, above)
                best = rank if best is None or rank < best else best
    return None if best is None else best[2:]


def _neighbours(value: int, choices: Iterable[int]) -> tuple[int, int] | None:
    """The nearest below and the nearest above."""
    choices = set(choices)
    below = max((c for c in choices if c < value), default=None)
    above = min((c for c in choices if c > value), default=None)
    return None if below is None or above is None else (below, above)


def _gap(pair: Sequence[int]) -> float:
    return math.log(pair[-1] / pair[0])


def _fraction(value: int, ends: Sequence[int]) -> float:
    """How far along the logarithm of the way between the ends, of which there may be one."""
    return math.log(value / ends[0]) / _gap(ends) if len(ends) > 1 else 0.0


def _mean(fraction: float, first: float, *last: float) -> float:
    """Mean of the logarithms; it does not leave the two values by rounding either."""
    if not last:
        return first
    mean = math.exp((1 - fraction) * math.log(first) + fraction * math.log(last[0]))
    return min(max(mean, min(first, last[0])), max(first, last[0]))


def _refusal(shape: SramShape, technology: Technology, part: str, why_not_live: str | None) -> InputError:
    choices = _nearest(shape, technology)
    live = "" if why_not_live is None else f"; no live CACTI: {why_not_live}"
    return InputError(
        f"{part}: {shape}, {technology}: not in the SRAM table nor between its rows; "
        f"nearest there: {', or '.join(choices)}{live}; --energy none runs without energy"
    )


def _nearest(shape: SramShape, technology: Technology) -> list[str]:
    """What to change, one property at a time, for an SRAM that needs no live CACTI."""

    def given(new: SramShape, process: Technology) -> bool:
        points, place = grid(process, new.ports, new.banks), (new.size_bytes, new.word_bits)
        return place in points or interpolate(points, *place) is not None

    def nearest(value: int, choices: Iterable[int], is_given: Callable[[int], bool]) -> list[int]:
        found = [choice for choice in sorted(set(choices)) if choice != value and is_given(choice)]
        below, above = [c for c in found if c < value][-1:], [c for c in found if c > value][:1]
        return sorted(below + above, key=lambda choice: abs(math.log(choice / value)))

    def of_shape(field: str, choices: Iterable[int]) -> list[int]:
        return nearest(getattr(shape, field), choices, lambda c: given(replace(shape, **{field: c}), technology))

    def of_process(field: str, choices: Iterable[int]) -> list[int]:
        return nearest(getattr(technology, field), choices, lambda c: given(shape, replace(technology, **{field: c})))

    table = grids()
    points = grid(technology, shape.ports, shape.banks)
    cells = sorted({process.cell_type for process, _, _ in table} - {technology.cell_type})
    kinds = {
        "{} B": of_shape("size_bytes", (size for size, _ in points)),
        "{}-bit words": of_shape("word_bits", (word for _, word in points)),
        "{} banks": of_shape("banks", (banks for _, _, banks in table)),
        "ports {}": [p for p in PORTS if given(replace(shape, ports=p), technology)],
        "{} nm": of_process("node_nm", (process.node_nm for process, _, _ in table)),
        "{} cells": [c for c in cells if given(shape, replace(technology, cell_type=c))],
        "{} K": of_process("temperature_k", (process.temperature_k for process, _, _ in table)),
    }
    found = [text.format(" or ".join(map(str, choices))) for text, choices in kinds.items() if choices]
    return [text.replace(" 1 banks", " 1 bank") for text in found] or [_nearest_row(shape, technology)]


def _nearest_row(shape: SramShape, technology: Technology) -> str:
    """The nearest row of the table, by ratio of node, temperature, banks, word width and size, with the same ports."""

    def distance(row: tuple[Technology, int, int, int]) -> tuple[object, ...]:
        process, banks, size, word = row
        pairs = {
            "banks": (banks, shape.banks),
            "word": (word, shape.word_bits),
            "size": (size, shape.size_bytes),
        }
        apart = sum(abs(math.log(a / b)) for a, b in pairs.values())
        node = abs(math.log(process.node_nm / technology.node_nm))
        other_cell = process.cell_type != technology.cell_type
        return node, other_cell, abs(process.temperature_k - technology.temperature_k), apart, size, word, banks

    rows = [
        (process, banks, size, word)
        for (process, ports, banks), points in grids().items()
        if ports == shape.ports
        for size, word in points
    ]
    process, banks, size, word = min(rows, key=distance)
    near = replace(shape, size_bytes=size, word_bits=word, banks=banks)
    return f"{near}, {process}"
