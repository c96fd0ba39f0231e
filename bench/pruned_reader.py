"""A pruned network's folder, read back and looked at once: whoever has a `PrunedFolder` can rely on all of it.

Read are report.json, sparsity.csv and history.csv; the weights, masks and layer table must be there. Needs no torch.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ..formats import PatternError, parse_nm
from ..sim import InputError
from .pruned_folder import CHECKPOINT, FILES, HISTORY, LayerSparsity, totals_of
from .run_checks import CheckedPart, shape_problems, why_unread
from .run_folder import FILES as RUN_FILES

_SHARES = ("train_accuracy", "validation_accuracy", "sparsity")
_NUMBERS = {"int": int, "float": float}
_LAYER = {field.name: _NUMBERS.get(str(field.type), str) for field in fields(LayerSparsity)}
_MOST = 1 << 63  # of a count: beyond it nothing was counted

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0, lt=_MOST)]
_Pattern = Annotated[list[_Count], Field(min_length=2, max_length=2)]


class _Checkpoint(CheckedPart, frozen=True):
    path: str
    sha256: str


class _Images(CheckedPart, frozen=True):
    train: _Count
    validation: _Count
    test: _Count


class _Data(CheckedPart, frozen=True):
    asked: str
    name: str
    note: str
    classes: _Count
    input_shape: list[_Count]
    preprocessing: dict[str, Any]
    images: _Images


class _Class(CheckedPart, frozen=True):
    index: _Count
    name: str


class _Config(CheckedPart, frozen=True):
    nm: _Pattern
    block: _Count | None
    sparsity: float | str
    steps: _Count
    criterion: str
    normalise: str
    schedule: str
    include: list[str]
    exclude: list[str]


class _Training(CheckedPart, frozen=True):
    epochs: _Count
    batch_size: _Count
    seed: int
    device_used: str


class _Split(CheckedPart, frozen=True):
    images: Annotated[int, Field(ge=1, lt=_MOST)]
    before: _Share
    after: _Share


class _Accuracy(CheckedPart, frozen=True):
    among: str
    before_is: str
    test: _Split
    validation: _Split


class _Total(CheckedPart, frozen=True):
    layers: list[str]
    weights: _Count
    kept_weights: _Count
    sparsity: _Share
    macs_dense: _Count
    macs_kept: _Count
    flops_ratio: _Share


class _Totals(CheckedPart, frozen=True):
    prunable: _Total
    network: _Total


class _Seconds(CheckedPart, frozen=True):
    training: float


class _Report(CheckedPart, frozen=True):
    command: str
    versions: dict[str, str]
    model: str
    model_arguments: dict[str, Any]
    checkpoint: _Checkpoint | None
    data: _Data
    classes: Annotated[list[_Class], Field(min_length=1)]
    config: _Config
    training: _Training
    dtype: str
    accuracy: _Accuracy
    totals: _Totals
    totals_are: str
    dense_by_rule: dict[str, str]
    without_blocks: dict[str, str]
    layers: Annotated[list[dict[str, Any]], Field(min_length=1)]
    seconds: _Seconds
    notices: list[str]


@dataclass(frozen=True, kw_only=True)
class PrunedFolder:
    """A pruned network's folder as it was written.

    report : report.json. layers : the rows of sparsity.csv. history : those of history.csv, by `HISTORY`; none if it
    was not trained. A loss may be NaN or infinite, no other number is.
    """

    path: Path
    report: dict[str, Any]
    layers: tuple[LayerSparsity, ...]
    history: tuple[dict[str, Any], ...]


def is_pruned(folder: Path) -> bool:
    """Whether it looks like a pruned network's folder, whole or not, rather than a run's.

    Raises
    ------
    InputError
        It looks like both.
    """
    own = [name for name in ("report.json", "sparsity.csv") if os.path.lexists(folder / name)]
    others = [name for name in RUN_FILES if os.path.lexists(folder / name)]
    if own and others:
        raise InputError(
            f"{folder}: holds {own[0]} of a pruned network and {others[0]} of a run; move one to a folder of its own"
        )
    return bool(own) or (not others and os.path.lexists(folder / CHECKPOINT))


def read_pruned(folder: Path) -> PrunedFolder:
    """Read a pruned network's folder.

    Raises
    ------
    InputError
        It is not a folder, lacks a file, or holds one that this version's `crispsim prune` did not write.
    """
    if not folder.is_dir():
        found = "it is a file" if folder.exists() else "there is no such folder"
        raise InputError(f"{folder}: not a pruned network's folder: {found}")
    for name in FILES:
        if not (folder / name).is_file():
            begun = (folder / CHECKPOINT).exists()
            way = "`crispsim prune --resume` goes on" if begun else f"`crispsim prune --out {folder}` writes one"
            raise InputError(f"{folder}: not a pruned network's folder: {name} is missing; {way}")
    found = {name: _read(folder, name) for name in ("report.json", "sparsity.csv", "history.csv")}
    for problem in _problems(*found.values()):
        raise InputError(
            f"{folder}: not a pruned network's folder: {problem}; if an earlier version wrote it, prune it again"
        )
    layers = tuple(LayerSparsity(**_values(row, _LAYER)) for row in found["sparsity.csv"])
    history = tuple(_values(row, HISTORY) for row in found["history.csv"])
    return PrunedFolder(path=folder, report=found["report.json"], layers=layers, history=history)


def _read(folder: Path, name: str) -> Any:
    """A file as JSON, or the rows of a CSV table as text; the heading of one without rows is no matter."""
    try:
        text = (folder / name).read_text(encoding="utf-8")
        if name.endswith(".json"):
            return json.loads(text)
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        raise InputError(f"{folder}: cannot read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        why = why_unread(error if isinstance(error, ValueError) else ValueError(f"it is not CSV: {error}"))
        raise InputError(f"{folder}: not a pruned network's folder: {name}: {why}") from error
    except RecursionError as error:
        raise InputError(f"{folder}: not a pruned network's folder: {name}: it is nested too deeply") from error
    return rows


def _problems(report: Any, layers: list[dict[str, str]], history: list[dict[str, str]]) -> Iterator[str]:
    """What is wrong, each only looked for when nothing was before it."""
    yield from shape_problems("report.json", _Report, report)
    try:
        parse_nm("dense" if report["config"]["nm"] == [1, 1] else ":".join(map(str, report["config"]["nm"])))
    except PatternError as error:
        yield f"report.json: config.nm: {error}"
    yield from _cells("sparsity.csv", layers, _LAYER)
    if not layers:
        yield "sparsity.csv has no rows"
    rows = [LayerSparsity(**_values(row, _LAYER)) for row in layers]
    for place, row in enumerate(rows, start=2):
        for problem in _of_a_layer(row):
            yield f"sparsity.csv: row {place}: {problem}"
    told = [{name: layer.get(name) for name in _LAYER} for layer in report["layers"]]
    if [asdict(row) for row in rows] != told:
        yield "sparsity.csv: its rows are not the layers of report.json"
    yield from _totals(report["totals"], totals_of(rows))
    for key, own in (
        ("dense_by_rule", [row for row in rows if not row.prunable]),
        ("without_blocks", [row for row in rows if row.prunable and row.block == "none"]),
    ):
        if report[key] != {row.layer: row.note for row in own}:
            yield f"report.json: {key}: does not agree with the layers"
    yield from _cells("history.csv", history, HISTORY)
    epochs = [_values(row, HISTORY)["epoch"] for row in history]
    if epochs != list(range(1, report["training"]["epochs"] + 1)):
        yield f"history.csv: must have a row for each of {report['training']['epochs']} epochs, in order"


def _cells(file: str, rows: list[dict[str, str]], columns: Mapping[str, type]) -> Iterator[str]:
    """Every column in every row, a number where it must be: counts of at least 0, shares up to 1."""
    for place, row in enumerate(rows, start=2):
        for name, kind in columns.items():
            if name not in row:
                yield f"{file}: column {name!r} is missing"
            if row[name] is None or None in row:
                yield f"{file}: row {place}: does not have the columns of the heading"
            where = f"{file}: row {place}, column {name!r}: {row[name][:40]!r}"
            try:
                value = kind(row[name])
            except ValueError:
                yield f"{where}: must be a {'whole ' if kind is int else ''}number"
                continue
            if kind is str or (name == "loss" and not math.isfinite(value)):
                continue
            if not 0 <= value < _MOST or (name in _SHARES and value > 1):
                yield f"{where}: must be {'between 0 and 1' if name in _SHARES else 'at least 0 and below 2^63'}"


def _of_a_layer(row: LayerSparsity) -> Iterator[str]:
    """What does not add up in one row."""
    for name in ("s", "k", "groups", "p", "calls"):
        if getattr(row, name) < 1:
            yield f"{name} is 0: must be at least 1"
    try:
        parse_nm(row.nm)
    except PatternError as error:
        yield f"nm: {error}"
    if row.block != "none" and not (row.block.isascii() and row.block.isdigit() and int(row.block[:19])):
        yield f"block {row.block[:40]!r}: must be a number or none"
    for name, value in (
        ("weights", row.groups * row.s * row.k),
        ("macs_dense", row.weights * row.p * row.calls),
        ("macs_kept", row.kept_weights * row.p * row.calls),
        ("sparsity", 1 - row.kept_weights / max(1, row.weights)),
    ):
        if getattr(row, name) != value:
            yield f"{name} is {getattr(row, name)}: must be {value}, as the other columns have it"
    if row.prunable not in (0, 1) or (not row.prunable and (row.nm, row.block) != ("dense", "none")):
        yield f"prunable is {row.prunable}: must be 1, or 0 where there is no pattern"
    if row.kept_weights > row.left_by_nm:
        yield f"kept_weights is {row.kept_weights}: {row.nm} leaves {row.left_by_nm}"
    if row.kept_blocks > row.block_columns:
        yield f"kept_blocks is {row.kept_blocks}: there are {row.block_columns} in each block row"


def _totals(told: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Totals are what the rows add up to."""
    for scope, total in found.items():
        for key, value in total.items():
            own = told[scope][key]
            same = math.isclose(own, value, rel_tol=1e-12, abs_tol=1e-12) if isinstance(value, float) else own == value
            if not same:
                said = "" if isinstance(value, list) else f" is {own}, the rows of sparsity.csv add up to {value}"
                yield f"report.json: totals.{scope}.{key}{said or ' do not agree with sparsity.csv'}"


def _values(row: Mapping[str, str], columns: Mapping[str, type]) -> dict[str, Any]:
    return {name: kind(row[name]) for name, kind in columns.items()}
