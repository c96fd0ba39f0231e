"""The text of a layer table: from the bytes of a file to a header and rows of trimmed fields.

Tolerates what real topology files hold: a byte-order mark, no-break spaces, CRLF, tabs for commas, empty
rows, rows of commas, trailing commas, quoted fields, lines that start with `#`, and `#` comments after
the last field. What the fields mean is `layer_columns.py`'s business.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError

LONGEST_LINE = 65_536
LARGEST_FILE = 64 << 20
SEPARATORS = {",": "commas", "\t": "tabs"}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line that holds something: its number, counted from 1, and its trimmed fields."""

    line: int
    fields: tuple[str, ...]

    def __getitem__(self, index: int) -> str:
        """Give the field, empty where the row has ended."""
        return self.fields[index] if index < len(self.fields) else ""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A file's header and rows, split at the separator (a key of `SEPARATORS`) that its header uses."""

    separator: str
    header: Record
    rows: tuple[Record, ...]


def read_sheet(path: Path) -> Sheet:
    """Read a file of comma- or tab-separated values.

    Raises
    ------
    InputError
        The file cannot be read, is not UTF-8 text, has an overlong line, is empty, or ends with its header.
    """
    lines = _lines(path)
    separator = "\t" if lines and "\t" in lines[0][1] and "," not in lines[0][1] else ","
    records = [Record(line=number, fields=_split(line, separator)) for number, line in lines]
    records = [record for record in records if any(record.fields)]
    if not records:
        raise InputError(f"{path}: empty file: needs a header and at least one layer")
    if len(records) == 1:
        raise InputError(f"{path}: only a header, on line {records[0].line}: needs at least one layer")
    return Sheet(separator=separator, header=records[0], rows=tuple(records[1:]))


def _lines(path: Path) -> list[tuple[int, str]]:
    lines = list(enumerate(_text(path).split("\n"), 1))
    for number, line in lines:
        if len(line) > LONGEST_LINE:
            rule = f"must be at most {LONGEST_LINE}"
            raise InputError(f"{path}:{number}: line of {len(line)} characters: {rule}")
    return [(number, line) for number, line in lines if _holds_something(line)]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a directory: must be a CSV file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > LARGEST_FILE:
        raise InputError(f"{path}: larger than {LARGEST_FILE >> 20} MiB: must be a layer table")
    if b"\0" in data:
        raise InputError(f"{path}: byte {data.index(0)} is zero: must be UTF-8 text, not a binary or UTF-16 file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is {data[error.start]:#04x}: must be UTF-8 text") from None
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\N{NO-BREAK SPACE}", " ")


def _holds_something(line: str) -> bool:
    content = line.strip(" ,\t")
    return bool(content) and not line.lstrip().startswith("#")


def _split(line: str, separator: str) -> tuple[str, ...]:
    reader = csv.reader([line.strip(" ")], delimiter=separator, skipinitialspace=True)
    fields = tuple(field.strip() for field in next(reader))
    comment = next((index for index, field in enumerate(fields) if index and field.startswith("#")), len(fields))
    return fields[:comment]
