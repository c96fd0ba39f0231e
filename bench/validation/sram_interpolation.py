"""How far SRAM figures interpolated within the table of CACTI results are from CACTI's own.

Each known SRAM is taken out and computed from others, in one of three ways:

- `one left out`: from all others, as `find_sram` would. Between its neighbours lie two steps of the table.
- `powers of two`: one whose size or word width is no power of two, from those whose size and width are. Between these
  lies one octave, as around a place between the rows of most of the table.
- `size left out`: from those of the same word width only; `word left out`: from those of the same size only.

With `--live COUNT`, where CACTI can be run, so many SRAMs drawn between the rows of the table are held against CACTI
itself. Run it as

    python -m crispsim.bench.validation.sram_interpolation
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

import click
import numpy as np

from ...sim.energy import live_cacti
from ...sim.energy.sram import Figures, Grid, Ports, SramShape, Technology, grid, grids, interpolate
from .page import table

Known = Literal["one left out", "powers of two", "size left out", "word left out"]
KNOWN: tuple[Known, ...] = get_args(Known)

PROCESSES = tuple(Technology(node_nm=node, cell_type="itrs-lstp", temperature_k=300) for node in (45, 22))


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Relative errors (0.1 is 10%, either way) of one figure: over how many SRAMs, and which has the worst."""

    figure: str
    srams: int
    median: float
    ninetieth: float
    worst: float
    worst_shape: SramShape


def interpolation_errors(technology: Technology, known: Known = "one left out") -> list[Errors]:
    """Errors of each of `Figures`, over all SRAMs of a process that have others around them.

    Parameters
    ----------
    technology : Technology
    known : str
        What they are computed from, one of `KNOWN` (see above).

    Raises
    ------
    ValueError
        No SRAM of the process can be computed that way.
    """
    recomputed = list(_recomputed(technology, known))
    if not recomputed:
        raise ValueError(f"{technology}: no SRAM can be computed from others ({known})")
    return _errors(recomputed)


def live_errors(technology: Technology, count: int, seed: int = 0) -> list[Errors]:
    """Errors of each of `Figures` against CACTI, at SRAMs drawn between the rows of the table.

    Ports and banks are those of a row drawn from the table; the logarithms of size (up to 1 MiB) and word width are
    drawn evenly, and rounded to whole bytes and whole words of all banks. Takes about half a second an SRAM.

    Raises
    ------
    InputError
        CACTI cannot be run here.
    """
    return _errors(list(islice(_drawn(technology, seed), count)))


def _errors(recomputed: Sequence[tuple[SramShape, Figures, Figures]]) -> list[Errors]:
    shapes = [shape for shape, _, _ in recomputed]
    ratios = [[a / b for a, b in zip(found, true, strict=True)] for _, true, found in recomputed]
    errors = np.abs(np.array(ratios) - 1)
    return [
        Errors(
            figure=figure,
            srams=len(shapes),
            median=float(np.median(column)),
            ninetieth=float(np.percentile(column, 90)),
            worst=float(column.max()),
            worst_shape=shapes[int(column.argmax())],
        )
        for figure, column in zip(Figures._fields, errors.T, strict=True)
    ]


def markdown(live: int = 0) -> str:
    """The table, 45 and 22 nm, with as many SRAMs held against CACTI run live."""
    found = {(known, process): interpolation_errors(process, known) for known in KNOWN for process in PROCESSES}
    if live:
        found |= {("between rows", process): live_errors(process, live) for process in PROCESSES}
    rows = [
        (
            known,
            technology.node_nm,
            of_figure.figure,
            of_figure.srams,
            *(f"{100 * error:.1f}%" for error in (of_figure.median, of_figure.ninetieth, of_figure.worst)),
            of_figure.worst_shape,
        )
        for (known, technology), errors in found.items()
        for of_figure in errors
    ]
    return table(["computed from", "nm", "figure", "SRAMs", "median", "90%", "worst", "the worst"], rows, left=3)


def _recomputed(technology: Technology, known: Known) -> Iterator[tuple[SramShape, Figures, Figures]]:
    """Each SRAM that can be computed from others, its figures, and what they are computed to be."""
    for (process, ports, banks), points in grids().items():
        if process != technology:
            continue
        for (size, word), point in points.items():
            if known == "powers of two" and _round(size) and _round(word):
                continue
            found = interpolate(_others(points, size, word, known), size, word)
            if found is not None:
                shape = SramShape(size_bytes=size, word_bits=word, banks=banks, ports=ports)
                yield shape, point.figures, found.figures


def _drawn(technology: Technology, seed: int) -> Iterator[tuple[SramShape, Figures, Figures]]:
    """SRAMs between the rows, their figures by CACTI, and by interpolation; without end."""
    rng = np.random.default_rng(seed)
    shapes: list[tuple[Ports, int]] = []  # once for each row
    for key, points in grids().items():
        if key[0] == technology:
            shapes += [key[1:]] * len(points)
    while True:
        ports, banks = shapes[rng.integers(len(shapes))]
        word = 8 * round(2 ** rng.uniform(0, 7))
        whole = banks * word // 8
        size = int(2 ** rng.uniform(8, 20)) // whole * whole
        points = grid(technology, ports, banks)
        found = interpolate(points, size, word) if size and (size, word) not in points else None
        if found is not None:
            shape = SramShape(size_bytes=size, word_bits=word, banks=banks, ports=ports)
            sram = live_cacti.run(shape, technology)
            yield shape, Figures(sram.read_pj, sram.write_pj, sram.leakage_mw, sram.area_mm2), found.figures


def _others(points: Grid, size: int, word: int, known: Known) -> Grid:
    """What an SRAM is computed from; `interpolate` leaves the SRAM itself out."""
    keep: dict[Known, Callable[[int, int], bool]] = {
        "one left out": lambda s, w: True,
        "powers of two": lambda s, w: _round(s) and _round(w),
        "size left out": lambda s, w: w == word,
        "word left out": lambda s, w: s == size,
    }
    return {place: point for place, point in points.items() if keep[known](*place)}


def _round(value: int) -> bool:
    return value & (value - 1) == 0


@click.command()
@click.option("--live", type=click.IntRange(min=0), default=0, show_default=True, help="SRAMs to hold against CACTI.")
def main(live: int) -> None:
    """Print the errors at 45 and 22 nm, itrs-lstp, 300 K."""
    click.echo(markdown(live))


if __name__ == "__main__":
    main()
