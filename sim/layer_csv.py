"""Layer tables: read a network's layers from CSV, and write them.

SCALE-Sim's two kinds of topology file with columns of our own, listed in `layer_columns.py`; `Channels`
and `Num Filter` are totals over groups. Two differences from SCALE-Sim (its `topology_utils.py`): where
the filter does not end at the input's edge it rounds the output size up and we round down, as networks do;
and it loses the last field of a row without a trailing comma, which we read.

Depthwise: SCALE-Sim splits a convolution whose name contains `DP` into its channels, each with
`Num Filter` filters. Without a `Groups` value such a row is one group per channel with one filter each,
whether its `Num Filter` counts the filters of one channel (1, as SCALE-Sim needs it) or of all
(= `Channels`); any other count is refused. A `Groups` value, 1 included, overrules the name.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from .csv_dialect import SEPARATORS, Record, Sheet, read_sheet
from .errors import InputError, LayerError
from .layer import GEMM_FIELDS, Layer, residual_fault
from .layer_columns import COLUMNS, Column, Heading, Kind, Place, required, understand

DEPTHWISE_MARK = "DP"


def read_layers(path: str | os.PathLike[str], *, notice: Callable[[str], None] | None = None) -> list[Layer]:
    """Read every layer of a table, or none.

    Parameters
    ----------
    path : path
    notice : callable, optional
        Called with one line for each thing the user should know: rows skipped because they hold a name
        only (section titles), repeated names made unique, rows read as depthwise, columns not read.

    Returns
    -------
    list of Layer
        In the order of the rows; names are unique.

    Raises
    ------
    InputError
        The file cannot be read, is no layer table, or has bad rows, each told as `FILE:LINE: column 'X':
        value 'V': rule`, all of them together, at most ten.
    """
    path = Path(path)
    sheet = read_sheet(path)
    heading = understand(sheet.header.fields, where=f"{path}:{sheet.header.line}")
    name = next(place for place in heading.places if place.column.fields == ("name",))
    layers, problems, titles = [], [], []
    for row in sheet.rows:
        try:
            if _only_name(row, name, sheet, where=f"{path}:{row.line}"):
                titles.append(row[name.index])
            else:
                layers.append(_layer(row, heading, path))
        except InputError as error:
            problems.extend(error.lines)
    if problems:
        raise InputError(*problems)
    if not layers:
        raise InputError(f"{path}: no layers: each of the {len(titles)} rows holds a name only")
    unique, renamed = _with_unique_names(layers)
    problems.extend(_residual_problems(layers, unique, heading))
    if problems:
        raise InputError(*problems)
    if notice:
        for line in _notices(sheet, heading, titles, renamed, unique):
            notice(f"{path}: {line}")
    return unique


def shipped_layers() -> dict[str, Path]:
    """The layer tables that come with crispsim, by name."""
    folder = Path(str(resources.files("crispsim.sim") / "layers"))
    return {path.stem: path for path in sorted(folder.glob("*.csv"))}


def write_layers(path: str | os.PathLike[str], layers: Sequence[Layer]) -> None:
    """Write a table that reads back as equal layers, whole or not at all.

    Parameters
    ----------
    path : path
        Replaced if it exists.
    layers : sequence of Layer
        With unique names. GEMMs alone give a GEMM table, anything else a convolution table, with a `Kind`
        column if it holds both. Optional columns are written where some layer needs them.

    Raises
    ------
    InputError
        No layers, a name that stands twice, a residual that names no earlier layer with the same output, or a file that
        cannot be written.
    """
    path = Path(path)
    if not layers:
        raise InputError(f"{path}: no layers to write")
    name, times = Counter(layer.name for layer in layers).most_common(1)[0]
    if times > 1:
        raise InputError(f"{path}: {times} layers called {name!r}: names must be unique")
    before: dict[str, Layer] = {}
    for layer in layers:
        fault = residual_fault(layer, before)
        if fault:
            raise InputError(f"{path}: {LayerError(layer.name, 'residual', layer.residual, fault)}")
        before[layer.name] = layer
    columns = _columns_to_write(layers)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.title for column in columns])
    writer.writerows([_field(getattr(layer, column.fields[0])) for column in columns] for layer in layers)
    _write_whole(path, text.getvalue())


def _only_name(row: Record, name: Place, sheet: Sheet, where: str) -> bool:
    if any(text for index, text in enumerate(row.fields) if index != name.index):
        return False
    for separator, plural in SEPARATORS.items():
        if separator in row[name.index]:
            rule = f"one field with {plural} in it: fields must be split by {SEPARATORS[sheet.separator]}"
            raise _bad_value(where, name, row, rule + ", outside quotes")
    return True


def _layer(row: Record, heading: Heading, path: Path) -> Layer:
    where = f"{path}:{row.line}"
    values = _values(row, heading, where)
    try:
        if values["kind"] == "conv" and _marked(values["name"]) and "groups" not in values:
            values |= _depthwise(values)
        return Layer(**values, file=str(path), line=row.line)
    except LayerError as error:
        place = next((p for p in heading.places if error.field in p.column.fields and row[p.index]), None)
        if place is None:
            raise InputError(f"{where}: {error}") from None
        raise _bad_value(where, place, row, error.rule) from None


def _values(row: Record, heading: Heading, where: str) -> dict[str, Any]:
    """Fields of the layer, from the columns; two columns that set a field must agree."""
    values: dict[str, Any] = {}
    setters: dict[str, Place] = {}
    for place in heading.places:
        text = row[place.index]
        if not text:
            continue
        try:
            value = place.column.parse(text)
        except ValueError as error:
            raise _bad_value(where, place, row, str(error).rpartition(": ")[2]) from None
        for field in place.column.fields:
            if field in setters and values[field] != value:
                raise _bad_value(where, place, row, f"disagrees with column {setters[field].title!r}")
            values[field], setters[field] = value, place
    needed = {field for column in required(heading.kind) for field in column.fields}
    for place in heading.places:
        if needed.intersection(place.column.fields).difference(values):
            raise _bad_value(where, place, row, f"missing; the row has {len(row.fields)} fields")
    fixed = GEMM_FIELDS if heading.kind == "gemm" else {}
    return {"kind": heading.kind, **fixed, **values}


def _marked(name: str) -> bool:
    return DEPTHWISE_MARK in name


def _depthwise(values: dict[str, Any]) -> dict[str, int]:
    channels, filters = values["in_channels"], values["out_channels"]
    if filters not in (1, channels):
        rule = (
            f"must be 1 or the {channels} Channels, as {DEPTHWISE_MARK} in the name means depthwise "
            "(a Groups value overrules the name)"
        )
        raise LayerError(values["name"], "out_channels", filters, rule)
    return {"out_channels": channels, "groups": channels}


def _bad_value(where: str, place: Place, row: Record, rule: str) -> InputError:
    return InputError(f"{where}: column {place.title!r}: value {row[place.index]!r}: {rule}")


def _with_unique_names(layers: list[Layer]) -> tuple[list[Layer], list[str]]:
    """Call the second layer of a name `name#2`, and so on; also give the new names."""
    taken = {layer.name for layer in layers}
    times: dict[str, int] = {}
    unique, renamed = [], []
    for layer in layers:
        times[layer.name] = times.get(layer.name, 0) + 1
        if times[layer.name] > 1:
            while (name := f"{layer.name}#{times[layer.name]}") in taken:
                times[layer.name] += 1
            taken.add(name)
            renamed.append(name)
            layer = dataclasses.replace(layer, name=name)
        unique.append(layer)
    return unique, renamed


def _residual_problems(layers: list[Layer], unique: list[Layer], heading: Heading) -> Iterator[str]:
    """What is wrong with residuals: each names a row by the name that it is given, which no two rows may have had."""
    title = next((place.title for place in heading.places if place.column.fields == ("residual",)), None)
    if title is None:
        return
    before: dict[str, Layer] = {}
    times: Counter[str] = Counter()
    for layer, named in zip(layers, unique, strict=True):
        fault = residual_fault(named, before)
        if layer.residual is not None and times[layer.residual] > 1:
            fault = f"must name one row: {times[layer.residual]} earlier rows have this name"
        if fault:
            yield f"{layer.file}:{layer.line}: column {title!r}: value {layer.residual!r}: {fault}"
        before[named.name] = named
        times[layer.name] += 1


def _notices(
    sheet: Sheet, heading: Heading, titles: list[str], renamed: list[str], layers: list[Layer]
) -> Iterator[str]:
    yield from heading.notes
    depthwise = [layer.name for layer in layers if layer.depthwise and _marked(layer.name)]
    untitled = [f"line {row.line}" for row in sheet.rows if _says_untitled(row, sheet.header)]
    for what, names in (
        ("rows with only a name, skipped as section titles", titles),
        ("repeated names made unique", renamed),
        (f"depthwise by the {DEPTHWISE_MARK} in their names", depthwise),
        ("values under no title, not read", untitled),
    ):
        if names:
            yield f"{what} ({len(names)}): {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def _says_untitled(row: Record, header: Record) -> bool:
    return any(text and not header[index] for index, text in enumerate(row.fields))


def _columns_to_write(layers: Sequence[Layer]) -> list[Column]:
    """Choose the fewest columns that say all: one for both axes where they agree, none for defaults."""
    kind: Kind = "gemm" if all(layer.kind == "gemm" for layer in layers) else "conv"
    usual = {field.name: field.default for field in dataclasses.fields(Layer)} | {"kind": kind}
    always = {field for column in required(kind) for field in column.fields}
    if kind == "conv" and any(_marked(layer.name) for layer in layers):
        always.add("groups")
    columns: list[Column] = []
    written: set[str] = set()
    for column in COLUMNS:
        values = [{getattr(layer, field) for field in column.fields} for layer in layers]
        wanted = not always.isdisjoint(column.fields) or any(v != {usual[column.fields[0]]} for v in values)
        possible = column.kind in (None, kind) and all(len(value) == 1 for value in values)
        if wanted and possible and not written.issuperset(column.fields):
            columns.append(column)
            written.update(column.fields)
    return columns


def _field(value: object) -> str:
    if isinstance(value, tuple):
        return ":".join(map(str, value))
    return "" if value is None else str(value)


def _write_whole(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        draft.replace(path)
    except OSError as error:
        if draft.exists():
            draft.unlink()
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
