"""Which architecture on which machine: a registered name, or a TOML file that varies one.

A file looks like this; `machine` and `set` may be left out:

    name = "crisp-stc-wide"
    arch = "crisp-stc"
    machine = "edge"

    [set.smem]
    bytes_per_cycle = 128
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from .archs import ARCHITECTURES, Architecture
from .errors import InputError
from .machine import Machine, Overrides, flatten, read_toml

LONGEST_NAME = 40

_KEYS = ("name", "arch", "machine", "set")


@dataclass(frozen=True, kw_only=True)
class ArchSpec:
    """An architecture as a run asks for it: the name it goes by, what it is, and its machine."""

    name: str
    architecture: Architecture
    machine: Machine


def load_arch(text: str, machine: str | Path | Machine = "edge", overrides: Overrides | None = None) -> ArchSpec:
    """Find an architecture by name, or read one from a file ending in .toml.

    Parameters
    ----------
    text : str
    machine : str, Path or Machine
        Preset or file of the machine, or a machine; an architecture file's own `machine` wins.
    overrides : mapping, optional
        Dotted machine fields; they win over the file's `set`.

    Raises
    ------
    InputError
        Unknown architecture or key, or a bad machine.

    >>> load_arch("stc").machine.core.count
    4
    """
    if not text.endswith(".toml"):
        made = Machine.load(machine, overrides or {})
        return ArchSpec(name=text, architecture=_architecture(text, "architecture"), machine=made)
    table = read_toml(Path(text))
    for key in table:
        if key not in _KEYS:
            nearest = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.0)[0]
            raise InputError(f"{text}: unknown key {key!r}; the nearest known one is {nearest!r}")
    for key in ("name", "arch", "machine"):
        if not isinstance(table.get(key, ""), str):
            raise InputError(f"{text}: {key}: value {table[key]!r}: must be text")
    name = table.get("name", Path(text).stem)
    if not name or name != name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise InputError(f"{text}: name: value {name!r}: must be printable text of 1 to {LONGEST_NAME} characters")
    if name in ARCHITECTURES:
        raise InputError(f"{text}: name: value {name!r}: is a registered architecture's; choose another")
    if "arch" not in table:
        raise InputError(f"{text}: arch: missing; it names one of {', '.join(ARCHITECTURES)}")
    own = table.get("set", {})
    if not isinstance(own, dict):
        raise InputError(f"{text}: set: value {own!r}: must be a table of machine fields")
    return ArchSpec(
        name=name,
        architecture=_architecture(table["arch"], text),
        machine=Machine.load(table.get("machine", machine), flatten(own), overrides or {}, origins=(text, "--set")),
    )


def _architecture(name: str, where: str) -> Architecture:
    if name not in ARCHITECTURES:
        nearest = difflib.get_close_matches(name, ARCHITECTURES, n=1, cutoff=0.0)[0]
        known = ", ".join(ARCHITECTURES)
        raise InputError(
            f"{where} {name!r}: unknown architecture, did you mean {nearest!r}? Known are {known}, or a .toml file"
        )
    return ARCHITECTURES[name]
