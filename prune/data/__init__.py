"""Data sets by name: `load_data("digits")`, `load_data("icons:FILE")`, `load_data("cifar100:DIR")`, ..."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from ..errors import PruneError
from ..factories import call_factory, find_factory
from .augmentation import RandomAffine, RandomShift
from .dataset import Augmentation, LabelledImages, Splits, TensorImages

__all__ = [
    "DATA_HELP",
    "Augmentation",
    "LabelledImages",
    "RandomAffine",
    "RandomShift",
    "Splits",
    "TensorImages",
    "load_data",
]


@dataclass(frozen=True)
class _Kind:
    """Where a data set's loader is, and what follows its name.

    module, function : in this package; imported when the set is asked for, since each needs libraries of its own.
    path : whether something follows the name, after a colon: the loader's argument. forms : how it is written.
    builds : whether the loader takes `progress`.
    """

    module: str
    function: str
    path: Literal["none", "optional", "required"]
    forms: tuple[str, ...]
    builds: bool = False


_KINDS = {
    "digits": _Kind("digits", "load_digits", "none", ("digits",)),
    "icons": _Kind("icons", "load_icons", "optional", ("icons:FILE", "icons"), builds=True),
    "cifar100": _Kind("cifar100", "load_cifar100", "required", ("cifar100:DIR",)),
    "imagefolder": _Kind("image_folder", "load_image_folder", "required", ("imagefolder:DIR",)),
    "noise": _Kind("noise", "load_noise", "required", ("noise:CLASSESxCxHxW",)),
}

DATA_HELP = ", ".join(form for kind in _KINDS.values() for form in kind.forms) + ", or module:function"
"""Every way to write a data set; `--help` repeats it, since it must not import torch."""


def load_data(text: str, progress: Callable[[str, int, int], None] | None = None) -> Splits:
    """The data set that `text` names.

    Parameters
    ----------
    text : str
        `digits`; `icons` (the set built last) or `icons:PATH` (the npm package `@iconify/json` as .tgz or folder, or a
        built .npz); `cifar100:DIR`; `imagefolder:DIR`; `noise:CLASSESxCxHxW`; or `module:function`, a function without
        arguments that returns `Splits`.
    progress : callable, optional
        Called with what is done, how many steps of it, and of how many, while a set is built.

    Raises
    ------
    PruneError
        The text names no data set, or the data cannot be read.
    """
    name, colon, rest = text.partition(":")
    kind = _KINDS.get(name)
    if kind is not None:
        if {"none": bool(colon), "optional": bool(colon and not rest), "required": not rest}[kind.path]:
            raise PruneError(f"data {text!r}: must be {' or '.join(kind.forms)}")
        load = getattr(import_module(f".{kind.module}", __package__), kind.function)
        given = [rest] if rest else []
        return load(*given, progress=progress) if kind.builds else load(*given)
    if not rest:
        raise PruneError(f"data {text!r}: must be {DATA_HELP}")
    made = call_factory(find_factory(text, "data"), text, "data")
    if not isinstance(made, Splits):
        raise PruneError(f"data {text!r}: must return crispsim.prune.data.Splits, not {type(made).__name__}")
    return made
