"""What the terminal's tables share: no number is ever cropped, long names are shortened in the middle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich import box
from rich.measure import Measurement
from rich.table import Table

from .terminal import Terminal

_LONGEST_NAME = 32

T = TypeVar("T")


def print_table(console: Terminal, table: Table) -> None:
    """Print a table at its own width, even beyond the terminal's: a wrapped line can be read, a cropped number not."""
    needed = width_of(console, table)
    (console if needed <= console.width else console.wider(needed)).print(table)


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
    """A name, shortened in the middle if it is long."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
