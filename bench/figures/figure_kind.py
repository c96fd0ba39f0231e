"""What a figure is: a table with named columns, a picture made of that table alone, and the numbers it says.

A figure's files, NAME.csv, NAME.svg and NAME.png, are written together or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sim import InputError
from ..run_checks import why_unread
from ..whole_files import check_folder, whole_folder
from .drawing import Draw

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".csv", ".svg", ".png")


@dataclass(frozen=True, kw_only=True)
class FigureKind:
    """One figure of `crispsim figure`.

    summary : a line about it. text, numbers : columns its table must have; numbers are finite and not negative.
    positive : those of the numbers that must be above 0. draw : makes the picture, a .svg or .png, of a table.
    says : the few numbers that the picture is about, a line each. lacks : what a table with good cells yet lacks.
    beside : a file in whose folder a table of the figure's name is another's own, and is not replaced.
    """

    name: str
    summary: str
    text: tuple[str, ...]
    numbers: tuple[str, ...]
    positive: tuple[str, ...] = ()
    draw: Draw
    says: Callable[[pd.DataFrame], list[str]]
    lacks: Callable[[pd.DataFrame], list[str]] = lambda table: []
    beside: str | None = None

    def files(self, folder: Path) -> list[Path]:
        """The figure's files in a folder."""
        return [folder / f"{self.name}{ending}" for ending in ENDINGS]


def check_target(kind: FigureKind, folder: Path) -> None:
    """Refuse a folder that a figure cannot be written to, before anything is simulated.

    Raises
    ------
    InputError
        It is a file, lies under one, cannot be written to, has a folder where a file is to be, or a file of the same
        name that is not the figure's.
    """
    check_folder(folder)
    if kind.beside and (folder / kind.beside).exists():
        raise InputError(
            f"--out {folder}: holds {kind.beside}, so that {kind.name}.csv is a pruned network's; give another folder"
        )
    for path in kind.files(folder):
        if path.is_dir():
            raise InputError(f"--out {folder}: {path} is a folder; the figure's file cannot be written")


def write_figure(kind: FigureKind, table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write a figure's table and pictures, all or none; earlier ones are replaced. Returns the files.

    Raises
    ------
    InputError
        The folder cannot be written, the table lacks what the figure needs, or matplotlib is not installed.
    """
    check_target(kind, folder)
    if problems := kind.lacks(table):
        raise InputError(*(f"figure {kind.name}: {lack}" for lack in problems))
    with whole_folder(folder, [path.name for path in kind.files(folder)]) as staging:
        for file in kind.files(staging):
            if file.suffix == ".csv":
                table.to_csv(file, index=False, lineterminator="\n")
            else:
                kind.draw(table, file)
    return kind.files(folder)


def read_table(kind: FigureKind, path: Path) -> pd.DataFrame:
    """Read the table of a figure, as `write_figure` wrote it; further columns are kept.

    Raises
    ------
    InputError
        It cannot be read, or is not a table of this figure.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from error
    except ValueError as error:  # pandas' own errors, and bytes that are no text
        raise InputError(f"{path}: not a CSV table: {why_unread(error)}") from error
    missing = [name for name in (*kind.text, *kind.numbers) if name not in table.columns]
    if missing:
        raise InputError(f"{path}: not a table of the figure {kind.name}: no column {', '.join(missing[:5])}")
    if table.empty:
        raise InputError(f"{path}: the table has no rows")
    problems = [*_bad_cells(kind, table, path)]
    if problems:
        raise InputError(*problems)
    for name in table.columns:
        if name not in kind.text:
            table[name] = _numbers([str(cell) for cell in table[name]])
    problems = [f"{path}: {lack}" for lack in kind.lacks(table)]
    if problems:
        raise InputError(*problems)
    return table


def _bad_cells(kind: FigureKind, table: pd.DataFrame, path: Path) -> Iterator[str]:
    for name in (*kind.text, *kind.numbers):
        rule = "must not be empty"
        if name in kind.numbers:
            rule = f"must be a number {'above' if name in kind.positive else 'of at least'} 0"
        for row, cell in enumerate(map(str, table[name]), start=2):
            value = _number(cell)
            good = bool(cell.strip())
            if name in kind.numbers:
                good = value is not None and 0 <= value < math.inf and (value > 0 or name not in kind.positive)
            if not good:
                yield f"{path}: row {row}, column {name}: {cell!r}: {rule}"


def _number(cell: str) -> int | float | None:
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        return None


def _numbers(cells: list[str]) -> list[Any]:
    """Cells as numbers if all of them are, else as they stand."""
    values = [_number(cell) for cell in cells]
    return cells if None in values else values
