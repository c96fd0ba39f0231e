"""The energy table of a run: one for all its architectures (docs/energy.md, E7).

Shipped tables stand in `tables/*.toml`; a file of one's own looks the same. A figure is a row of compute_energy.csv,
or a number with its source:

    multiply_8 = { row = ["mul", "int8", 45, "published"] }
    rf_read_byte = { pj = 1.66, kind = "tool", source = "..." }

Either may have `multiply_by` or `divide_by`, and a `note` that says why.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import InputError
from ..machine import read_toml
from .rows import compute_rows
from .sram import Technology

DEFAULT_TABLE = "horowitz45"

# The figures a table may have, with units and meanings. Those of bytes replace CACTI's.
FIGURES = {
    "multiply_8": ("pJ/op", "multiplication of 8-bit operands"),
    "multiply_16": ("pJ/op", "multiplication of 16-bit operands"),
    "add_8": ("pJ/op", "addition to an 8-bit sum"),
    "add_16": ("pJ/op", "addition to a 16-bit sum"),
    "add_32": ("pJ/op", "addition to a 32-bit sum"),
    "mac_8": ("pJ/op", "multiplication and addition of 8-bit operands; replaces the two"),
    "mac_16": ("pJ/op", "multiplication and addition of 16-bit operands; replaces the two"),
    "mux2_bit": ("pJ/bit", "one bit through a two-way MUX"),
    "full_adder": ("pJ/op", "one full adder of a popcount"),
    "crossbar_bit": ("pJ/bit", "one bit through dstc's crossbar of sums"),
    "register_bit": ("pJ/bit", "one bit of a flip-flop register read or written"),
    "smem_read_byte": ("pJ/B", "a byte read from the SMEM"),
    "smem_write_byte": ("pJ/B", "a byte written to the SMEM"),
    "metadata_read_byte": ("pJ/B", "a byte of metadata read from the SMEM"),
    "rf_read_byte": ("pJ/B", "a byte read from the register file"),
    "rf_write_byte": ("pJ/B", "a byte written to the register file"),
    "buffer_read_byte": ("pJ/B", "a byte of sums read from dstc's accumulation buffer"),
    "buffer_write_byte": ("pJ/B", "a byte of sums written to dstc's accumulation buffer"),
}
KINDS = ("published", "tool", "derived", "guess")

_KEYS = ("node_nm", "cell_type", "temperature_k", "figures")
_FIGURE_KEYS = ("row", "pj", "kind", "source", "multiply_by", "divide_by", "note")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """An energy with where it comes from. pj : in the unit of `FIGURES`. kind : published, tool, derived or guess."""

    name: str
    pj: float
    kind: str
    source: str

    @property
    def unit(self) -> str:
        """Such as pJ/op."""
        return FIGURES[self.name][0]


@dataclass(frozen=True, kw_only=True)
class EnergyTable:
    """Where energies come from: arithmetic and registers here, memories from CACTI at this technology."""

    name: str
    summary: str
    technology: Technology
    figures: Mapping[str, Figure]

    def figure(self, name: str, why: str) -> Figure:
        """A figure that is needed, `why` saying by what.

        Raises
        ------
        InputError
            The table does not have it.
        """
        if name not in self.figures:
            raise InputError(f"energy table {self.name}: has no figure {name} ({FIGURES[name][1]}), needed for {why}")
        return self.figures[name]


def table_names() -> list[str]:
    """Names of the shipped tables, the default first."""
    names = sorted(path.name.removesuffix(".toml") for path in _folder().iterdir() if path.name.endswith(".toml"))
    return sorted(names, key=lambda name: name != DEFAULT_TABLE)


def load_table(source: str | Path | EnergyTable = DEFAULT_TABLE) -> EnergyTable:
    """A shipped energy table by name, or one from a file ending in .toml.

    Raises
    ------
    InputError
        Unknown name, unreadable file, or a figure that is not as it must be.

    >>> load_table("horowitz45").figures["multiply_8"].pj
    0.2
    """
    if isinstance(source, EnergyTable):
        return source
    name = str(source)
    path = Path(name) if name.endswith(".toml") else _folder() / f"{name}.toml"
    if not name.endswith(".toml") and name not in table_names():
        raise InputError(f"energy table {name!r}: unknown; known are {', '.join(table_names())}, or a .toml file")
    table = read_toml(path)
    where = name if name.endswith(".toml") else f"energy table {name}"
    _check_keys(table, _KEYS, where)
    technology = Technology(
        node_nm=_value(table, "node_nm", int, where),
        cell_type=_value(table, "cell_type", str, where),
        temperature_k=_value(table, "temperature_k", int, where),
    )
    given = _value(table, "figures", dict, where)
    _check_keys(given, tuple(FIGURES), f"{where}: figures")
    figures = {key: read_figure(key, value, f"{where}: {key}") for key, value in given.items()}
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    summary = first.removeprefix("# ") if first.startswith("# ") else f"{technology.node_nm} nm, figures of {name}"
    return EnergyTable(name=path.stem, summary=summary, technology=technology, figures=MappingProxyType(figures))


def read_figure(name: str, given: object, where: str) -> Figure:
    """One figure as a table gives it: a row of compute_energy.csv, or a number with its source.

    Parameters
    ----------
    name : str
        One of `FIGURES`.
    given : object
        What stands in the file, a mapping.
    where : str
        What to call it in an error.

    Raises
    ------
    InputError
        It is not as it must be, or there is no such row.
    """
    if not isinstance(given, dict):
        raise InputError(f"{where}: value {given!r}: must be a table with row, or with pj, kind and source")
    _check_keys(given, _FIGURE_KEYS, where)
    if ("row" in given) == ("pj" in given):
        raise InputError(f"{where}: must have row or pj, and only one of them")
    if "row" in given:
        pj, kind, source = _row(given["row"], where)
    else:
        pj, kind, source = _number(given, "pj", where), _value(given, "kind", str, where), ""
        if kind not in KINDS:
            raise InputError(f"{where}: kind: value {kind!r}: must be one of {', '.join(KINDS)}")
    if "row" not in given or "source" in given:
        source = _value(given, "source", str, where)
    for key in ("multiply_by", "divide_by"):
        if key in given:
            factor = _number(given, key, where)
            if factor == 0:
                raise InputError(f"{where}: {key}: value 0: must be positive")
            pj = pj * factor if key == "multiply_by" else pj / factor
            source += f"; {'x' if key == 'multiply_by' else '/'} {factor:g}"
            kind = "derived" if "row" in given else kind
    if "note" in given:
        source += f" ({_value(given, 'note', str, where)})"
    return Figure(name=name, pj=pj, kind=kind, source=source)


def _folder() -> Any:
    return Path(str(resources.files(__package__ or "crispsim.sim.energy") / "tables"))


def _row(given: object, where: str) -> tuple[float, str, str]:
    if not isinstance(given, list) or len(given) != 4:
        raise InputError(f"{where}: row: value {given!r}: must be [operation, format, node in nm, kind]")
    key = (str(given[0]), str(given[1]), str(given[2]), str(given[3]))
    found = compute_rows().get(key, [])
    if len(found) != 1:
        near = difflib.get_close_matches(" ".join(key), [" ".join(k) for k in compute_rows()], n=1, cutoff=0.0)
        said = f"no such row; the nearest is {near[0]!r}" if not found else f"{len(found)} such rows"
        raise InputError(f"{where}: row: value {given!r}: {said} (compute_energy.csv)")
    row = found[0]
    source = f"{row.source}; row {key[0]}, {key[1]}, {key[2]} nm" + (f": {row.note}" if row.note else "")
    return row.energy, row.kind, source


def _check_keys(given: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise InputError(f"{where}: unknown key {key!r}; the nearest known one is {nearest!r}")


def _value(given: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    if key not in given:
        raise InputError(f"{where}: {key}: missing")
    if not isinstance(given[key], kind) or isinstance(given[key], bool):
        raise InputError(f"{where}: {key}: value {given[key]!r}: must be {_KIND_NAMES[kind]}")
    return given[key]


_KIND_NAMES = {int: "an integer", str: "text", dict: "a table"}


def _number(given: Mapping[str, Any], key: str, where: str) -> float:
    value = given.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise InputError(f"{where}: {key}: value {value!r}: must be a number, 0 or more")
    return float(value)
