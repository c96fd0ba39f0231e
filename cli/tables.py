"""What the terminal's tables share: no number is ever cropped, long names are shortened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from rich import box
from rich.measure import Measurement
from rich.table import Table

from .terminal import Terminal

_LONGEST_NAME = 32
_LEFT_OUT = "…"

T = TypeVar("T")


def print_table(console: Terminal, table: Table) -> None:
    """Print a table at its own width, even beyond the terminal's: a wrapped line can be read, a cropped number not."""
    needed = width_of(console, table)
    (console if needed <= console.width else console.wider(needed)).print_rows(table)


def print_first(console: Terminal, layouts: Iterable[Sequence[Table]]) -> None:
    """Print the tables of the first layout that fits the terminal, else of the last."""
    tables: Sequence[Table] = ()
    for tables in layouts:
        if all(width_of(console, table) <= console.width for table in tables):
            break
    for table in tables:
        print_table(console, table)


def side_by_side(things: Sequence[T]) -> Iterator[list[Sequence[T]]]:
    """Ways to spread things over tables: all in one, then ever fewer in each, down to one."""
    for abreast in range(len(things), 0, -1):
        yield [things[start : start + abreast] for start in range(0, len(things), abreast)]


def width_of(console: Terminal, table: Table) -> int:
    """What the table needs, however narrow the console is."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def plain_table(title: str) -> Table:
    """A table without columns yet, in the manner of all."""
    return Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", padding=(0, 0, 0, 1), pad_edge=False
    )


def short_name(name: str) -> str:
    """A name, shortened if it is long: by parts without a number, the foremost first, else in the middle.

    >>> short_name("encoder.layers.encoder_layer_3.self_attention.in_proj")
    '…encoder_layer_3…in_proj'
    """
    *parts, last = name.split(".")
    runs = [(numbered, list(run)) for numbered, run in groupby(parts, key=lambda part: any(map(str.isdecimal, part)))]
    shortened = name
    for place, (numbered, _) in enumerate(runs):
        if len(shortened) > _LONGEST_NAME and not numbered:
            runs[place] = (False, [])
            shortened = ".".join([*(".".join(run) or _LEFT_OUT for _, run in runs), last])
            shortened = shortened.replace(f".{_LEFT_OUT}", _LEFT_OUT).replace(f"{_LEFT_OUT}.", _LEFT_OUT)
    if len(shortened) <= _LONGEST_NAME:
        return shortened
    half = (_LONGEST_NAME - 1) // 2
    return f"{name[:half]}{_LEFT_OUT}{name[-half:]}"


def short_names(names: Iterable[str]) -> dict[str, str]:
    """The names of a table, each to what is printed for it: shortened where all stay different, else whole."""
    found = {name: short_name(name) for name in names}
    while alike := {short for short, times in Counter(found.values()).items() if times > 1}:
        found = {name: name if short in alike else short for name, short in found.items()}
    return found


def spellings(names: Iterable[str]) -> list[dict[str, str]]:
    """What to print for the names of a table: whole ones for where there is room; then, if any is long, short ones."""
    whole = {name: name for name in names}
    short = short_names(whole)
    return [whole] if short == whole else [whole, short]
