"""What a run's folder must hold, looked at once, when it is read: whoever has a `RunFolder` can rely on all of it."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from ..sim import InputError, Machine, Total
from ..sim.machine import flatten
from ..sim.result import (
    CAUSE_COLUMNS,
    DRAM_COLUMNS,
    ENERGY_COLUMNS,
    IDEAL,
    UNFUSED,
    causes_of,
    columns_of,
)

if TYPE_CHECKING:
    import pandas

TEXT_COLUMNS = (
    "layer", "arch", "mode", "mask", "nm", "block", "note", "sram_origin", "smem_resident_ideal", "blocking",
    "input_kept", "output_kept",
)  # fmt: skip

# Columns of numbers that may have empty cells: those of DRAM in the rows of machines that have none.
MAY_BE_EMPTY = ("requested_sparsity", *(name for name in DRAM_COLUMNS if name not in TEXT_COLUMNS))
# What pydantic calls a problem, in words that name no type of Python.
_RULES = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field",
    "too_short": "must not be empty",
    "finite_number": "must be finite",
    **dict.fromkeys(("dict_type", "model_type"), "must be a table"),
    "list_type": "must be a list",
    "string_type": "must be text",
    **dict.fromkeys(("int_type", "int_from_float"), "must be a whole number"),
    "float_type": "must be a number",
    "bool_type": "must be true or false",
}
# Totals that the rows must add up to, and how nearly, relative to the larger.
_SUMS = {"cycles": 0.0, "energy_uj": 1e-9}
_POSITIVE = ("calls", "s", "k", "p", "groups", "macs_dense", "cycles", "latency_us", "speedup")
_TOTALS = tuple(
    f.name
    for f in fields(Total)
    if f.name not in ("arch", "core_cycles", "has_dram", "energy", "energy_ratios", "unfused", "ideal")
)
_IDEAL = tuple(f"ideal_{name}" for name in IDEAL)
# The columns of energy that are numbers; a total has them all, but for DRAM's where there is none.
ENERGY_NUMBERS = tuple(name for name in ENERGY_COLUMNS if name not in TEXT_COLUMNS)


class CheckedPart(BaseModel, frozen=True, strict=True, extra="allow", allow_inf_nan=False):
    """A table of a folder's JSON or TOML file; what else stands there is no matter."""


class _Input(CheckedPart, frozen=True):
    path: str


class _Arch(CheckedPart, frozen=True):
    name: str
    arch: str
    masks: str
    machine: Machine


class _Config(CheckedPart, frozen=True):
    command: str
    seed: int
    fuse: bool
    energy: dict[str, Any]
    versions: dict[str, str]
    options: dict[str, Any]
    input: list[_Input]
    arch: Annotated[list[_Arch], Field(min_length=1)]


class _Figure(CheckedPart, frozen=True):
    name: str
    pj: float
    unit: str
    kind: str
    source: str


class _Cost(CheckedPart, frozen=True):
    part: str
    count: str
    pj: float
    source: str


class _Memory(CheckedPart, frozen=True):
    part: str
    count: int
    size_bytes: int
    word_bits: int
    banks: int
    ports: str
    read_pj: float
    write_pj: float
    leakage_mw: float
    area_mm2: float
    access_ns: float | None
    cycle_ns: float | None
    origin: str
    source: str


class _Energy(CheckedPart, frozen=True):
    table: str
    summary: str
    node_nm: float
    figures: list[_Figure]
    pj_per_count: dict[str, list[_Cost]]
    memories: dict[str, list[_Memory]]
    area_mm2: dict[str, dict[str, float]]
    clock_notes: list[str]
    left_out: list[str]


class _Summary(CheckedPart, frozen=True):
    command: str
    versions: dict[str, str]
    machine: str
    dram: str
    memory: str
    seed: int
    fuse: bool
    options: dict[str, Any]
    totals_are: str
    totals: dict[str, dict[str, Any]]
    energy: _Energy | None
    warnings: list[str]
    dense_by_rule: dict[str, str]
    without_blocks: dict[str, str]
    notices: list[str]


def check_run(folder: Path, rows: pandas.DataFrame, summary: object, config: object) -> None:
    """Look at the content of a run's three files.

    Raises
    ------
    InputError
        A column, total or setting is missing or not what it must be, a machine cannot be loaded, the files name
        different architectures, a layer lacks a row or has one twice, or totals are not the sums of the rows.
    """
    for problem in _problems(rows, summary, config):
        raise InputError(f"{folder}: not a run's folder: {problem}; if an earlier version wrote it, run it again")


def why_unread(error: ValueError) -> str:
    """What is wrong with a file that could not be parsed as CSV, JSON or TOML."""
    import pandas

    if isinstance(error, UnicodeError):
        return "it is not text in UTF-8"
    if isinstance(error, pandas.errors.EmptyDataError):
        return "it is empty"
    if isinstance(error, pandas.errors.ParserError):
        return "its rows do not all have the columns of its heading"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: line {error.lineno}, column {error.colno}" if error.doc.strip() else "it is empty"
    if isinstance(error, tomllib.TOMLDecodeError):
        return f"it is not TOML: {' '.join(str(error).split())[:200]}"
    return " ".join(str(error).split())[:200]


def _problems(rows: pandas.DataFrame, summary: Any, config: Any) -> Iterator[str]:
    """What is wrong, each only looked for when nothing was before it."""
    yield from shape_problems("summary.json", _Summary, summary)
    yield from shape_problems("config.toml", _Config, config)
    dram = {arch["name"]: Machine.model_validate(arch["machine"]).has_dram for arch in config["arch"]}
    if summary["fuse"] != config["fuse"]:
        yield f"summary.json: fuse is {summary['fuse']}, config.toml's {config['fuse']}".lower()
    yield from _columns(rows, dram, with_energy=summary["energy"] is not None, with_fusion=config["fuse"])
    archs = list(dram)
    found = {"summary.json": list(summary["totals"])}
    if energy := summary["energy"]:
        for key in ("memories", "area_mm2", "pj_per_count"):
            found[f"summary.json: energy.{key}"] = list(energy[key])
    for place, names in found.items():
        if names != archs:
            yield f"{place} is of {', '.join(names) or 'none'}, config.toml of {', '.join(archs)}"
    yield from _order(rows, archs)
    yield from _totals(summary, dram)
    yield from _sums(rows, summary)


def shape_problems(file: str, model: type[CheckedPart], content: object) -> Iterator[str]:
    """The first thing in a file's content that is not as the model has it, as a line that names file and place."""
    try:
        model.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        rule = problem["msg"].removeprefix("Value error, ").replace("Input should", "must")
        rule = _RULES.get(problem["type"], " ".join(rule.split())[:200])
        yield f"{file}: {f'{place}: ' if place else ''}{rule}"


def _columns(
    rows: pandas.DataFrame, dram: Mapping[str, bool], *, with_energy: bool, with_fusion: bool
) -> Iterator[str]:
    """All columns of such a run, numbers where they must be. dram : whether an architecture's machine has one."""
    with_dram, with_resident = any(dram.values()), not all(dram.values())
    for name in columns_of(
        with_energy=with_energy, with_dram=with_dram, with_resident=with_resident, with_fusion=with_fusion
    ):
        if name not in rows.columns:
            yield f"results.csv: column {name!r} is missing"
        if rows.empty:
            yield "results.csv has no rows"
        if name in TEXT_COLUMNS:
            continue
        values = rows[name]
        if values.dtype.kind not in "iuf":
            yield f"results.csv: column {name!r}: must hold numbers only"
        numbers = values.to_numpy()
        if name in DRAM_COLUMNS:
            own = np.array([dram.get(arch, True) for arch in rows["arch"]])
            if not np.isnan(numbers[~own]).all():
                yield f"results.csv: column {name!r}: must be empty where the machine has no DRAM"
            numbers = numbers[own]
        if name != "requested_sparsity" and not np.isfinite(numbers).all():
            yield f"results.csv: column {name!r}: must hold numbers only"
        if name in _POSITIVE and np.min(numbers) <= 0:
            yield f"results.csv: column {name!r}: must be {'at least 1' if values.dtype.kind in 'iu' else 'above 0'}"
        if (numbers < 0).any():
            yield f"results.csv: column {name!r}: must not be negative"
    if not with_energy and ENERGY_COLUMNS[0] in rows.columns:
        yield "results.csv has energies, summary.json: energy is null"
    causes = [CAUSE_COLUMNS[cause] for cause in causes_of(with_dram=with_dram)]
    if (np.nansum(rows[causes].to_numpy(), axis=1) < 1).any():
        yield "results.csv: core-cycles must be at least 1"


def _order(rows: pandas.DataFrame, archs: Sequence[str]) -> Iterator[str]:
    """Layer by layer a row for each architecture, in the order of config.toml."""
    found = list(zip(rows["layer"], rows["arch"], strict=True))
    rule = f"every layer has one row for each of {', '.join(archs)}, in this order"
    for place, (layer, arch) in enumerate(found):
        wanted = found[place - place % len(archs)][0], archs[place % len(archs)]
        if (layer, arch) != wanted:
            yield f"results.csv: row {place + 2} is {layer!r} on {arch}, not {wanted[0]!r} on {wanted[1]}: {rule}"
    if left := len(found) % len(archs):
        yield f"results.csv: {found[-1][0]!r} has no row for {archs[left]}: {rule}"


def _sums(rows: pandas.DataFrame, summary: Any) -> Iterator[str]:
    """Totals are what the rows add up to, each as often as it is called."""
    for arch, total in summary["totals"].items():
        own = rows[rows["arch"] == arch]
        calls = own["calls"].tolist()
        for key, tolerance in _SUMS.items():
            if key not in own.columns:
                continue
            amount = sum(value * times for value, times in zip(own[key].tolist(), calls, strict=True))
            if not math.isclose(amount, total[key], rel_tol=tolerance):
                yield f"summary.json: totals.{arch}.{key} is {total[key]}, the rows of results.csv add up to {amount}"


def _totals(summary: Any, dram: Mapping[str, bool]) -> Iterator[str]:
    """All totals of such a run, as numbers."""
    for arch, total in summary["totals"].items():
        flat = flatten(total)
        needed = [*_TOTALS, *(ENERGY_NUMBERS if summary["energy"] else ())]
        needed = [key for key in needed if dram[arch] or key not in DRAM_COLUMNS]
        if summary["fuse"]:
            needed += [f"unfused_{key}" for key in UNFUSED if key in needed]
        if dram[arch]:
            needed += [f"ideal_{key}" for key in IDEAL if key in needed]
        for key in [*needed, *(f"core_cycles.{cause}" for cause in causes_of(with_dram=dram[arch]))]:
            value = flat.get(key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                yield f"summary.json: totals.{arch}.{key}: must be a number"
            elif key in (*_POSITIVE, *_IDEAL) and value <= 0:
                yield f"summary.json: totals.{arch}.{key}: must be above 0"
            elif key == "ideal_cycles" and not isinstance(value, int):
                yield f"summary.json: totals.{arch}.{key}: must be a whole number"
