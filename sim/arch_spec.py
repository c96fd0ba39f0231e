"""Which architecture on which machine: a registered name, or a TOML file that varies one.

Some files are shipped (`variants/`) and go by their name. A file looks like this; `machine`, `masks` and `set` may be
left out:

    name = "crisp-stc-wide"
    arch = "crisp-stc"
    machine = "edge"
    masks = "given"

    [set.smem]
    bytes_per_cycle = 128
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import cast, get_args

from .archs import ARCHITECTURES, Architecture
from .archs.base import Masks
from .errors import InputError
from .machine import Machine, Overrides, flatten, read_toml

LONGEST_NAME = 40

_KEYS = ("name", "arch", "machine", "masks", "set")


@dataclass(frozen=True, kw_only=True)
class ArchSpec:
    """An architecture as a run asks for it.

    name : what it goes by. architecture : what it is. machine : on what. masks : whether it runs the weights given or
    unstructured ones of the same sparsity.
    """

    name: str
    architecture: Architecture
    machine: Machine
    masks: Masks


def load_arch(text: str, machine: str | Path | Machine = "edge", overrides: Overrides | None = None) -> ArchSpec:
    """Find an architecture or a shipped variant by name, or read one from a file ending in .toml.

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
    if text in variant_names():
        text = str(_variant_folder() / f"{text}.toml")
    if not text.endswith(".toml"):
        made = Machine.load(machine, overrides or {})
        architecture = _architecture(text, "architecture", variant_names())
        return ArchSpec(name=text, architecture=architecture, machine=made, masks=architecture.masks)
    table = read_toml(Path(text))
    for key in table:
        if key not in _KEYS:
            nearest = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.0)[0]
            raise InputError(f"{text}: unknown key {key!r}; the nearest known one is {nearest!r}")
    for key in ("name", "arch", "machine", "masks"):
        if not isinstance(table.get(key, ""), str):
            raise InputError(f"{text}: {key}: value {table[key]!r}: must be text")
    name = table.get("name", Path(text).stem)
    if not name or name != name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise InputError(f"{text}: name: value {name!r}: must be printable text of 1 to {LONGEST_NAME} characters")
    shipped = Path(text).parent == _variant_folder()
    if name in ARCHITECTURES or (name in variant_names() and not shipped):
        raise InputError(f"{text}: name: value {name!r}: is a registered architecture's or variant's; choose another")
    if "arch" not in table:
        raise InputError(f"{text}: arch: missing; it names one of {', '.join(ARCHITECTURES)}")
    own = table.get("set", {})
    if not isinstance(own, dict):
        raise InputError(f"{text}: set: value {own!r}: must be a table of machine fields")
    architecture = _architecture(table["arch"], f"{text}: arch:", ())
    masks = table.get("masks", architecture.masks)
    if masks not in get_args(Masks):
        raise InputError(f"{text}: masks: value {masks!r}: must be {' or '.join(map(repr, get_args(Masks)))}")
    return ArchSpec(
        name=name,
        architecture=architecture,
        masks=cast(Masks, masks),
        machine=Machine.load(table.get("machine", machine), flatten(own), overrides or {}, origins=(text, "--set")),
    )


def variant_names() -> list[str]:
    """Names of the shipped variants of architectures."""
    return sorted(path.name.removesuffix(".toml") for path in _variant_folder().iterdir() if path.suffix == ".toml")


def variant_summary(name: str) -> str:
    """What a shipped variant is: the comment its file begins with."""
    first = (_variant_folder() / f"{name}.toml").read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ")


def _variant_folder() -> Path:
    return Path(str(resources.files(__package__ or "crispsim.sim") / "variants"))


def _architecture(name: str, where: str, variants: Sequence[str]) -> Architecture:
    if name not in ARCHITECTURES:
        names = [*ARCHITECTURES, *variants]
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
        known = ", ".join(names) + (", or a .toml file" if variants else "")
        raise InputError(f"{where} {name!r}: unknown architecture, did you mean {nearest!r}? Known are {known}")
    return ARCHITECTURES[name]
