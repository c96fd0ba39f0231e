"""Data sets by name: `load_data("digits")`, `load_data("icons:FILE")`, `load_data("cifar100:DIR")`, ..."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import PruneError
from ..factories import find_factory
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

DATA_HELP = "digits, icons, icons:FILE, cifar100:DIR, imagefolder:DIR, noise:CLASSESxCxHxW or module:factory"


def load_data(text: str, progress: Callable[[str, int, int], None] | None = None) -> Splits:
    """The data set that `text` names.

    Parameters
    ----------
    text : str
        `digits`; `icons` (the set built last) or `icons:PATH` (the npm package `@iconify/json` as .tgz or folder, or a
        built .npz); `cifar100:DIR`; `imagefolder:DIR`; `noise:CLASSESxCxHxW`; or `module:factory`, a function without
        arguments that returns `Splits`.
    progress : callable, optional
        Called with what is done, how many steps of it, and of how many, while a set is built.

    Raises
    ------
    PruneError
        The text names no data set, or the data cannot be read.
    """
    kind, colon, rest = text.partition(":")
    if kind == "noise" and rest:
        from .noise import load_noise

        return load_noise(rest)
    if kind in ("digits", "icons", "cifar100", "imagefolder"):
        if kind == "digits" and colon:
            raise PruneError(f"data {text!r}: digits takes no path")
        if kind in ("cifar100", "imagefolder") and not rest:
            raise PruneError(f"data {text!r}: must be {kind}:DIR")
        if kind == "icons" and colon and not rest:
            raise PruneError(f"data {text!r}: must be icons or icons:FILE")
        if kind == "digits":
            from .digits import load_digits

            return load_digits()
        if kind == "icons":
            from .icons import load_icons

            return load_icons(rest or None, progress)
        if kind == "cifar100":
            from .cifar100 import load_cifar100

            return load_cifar100(rest)
        from .image_folder import load_image_folder

        return load_image_folder(rest)
    if not rest:
        raise PruneError(f"data {text!r}: must be {DATA_HELP}")
    made = find_factory(text, "data")()
    if not isinstance(made, Splits):
        raise PruneError(f"data {text!r}: must return crispsim.prune.data.Splits, not {type(made).__name__}")
    return made
