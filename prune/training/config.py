"""How a network is trained: the paper's numbers as defaults, checked where they are written down."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

from ..errors import PruneError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Fine-tuning on the user's classes; the defaults are the paper's (section IV).

    Parameters
    ----------
    epochs : int
        E, over all iterations together (R14), at most 10^6; 0 leaves the weights alone (masks only).
    batch_size : int
        Images in a batch, 2 to 2^20. With several ranks each takes a batch of its own of this size.
    learning_rate : float
        At the first batch; a cosine takes it to 0 over all batches of all epochs.
    momentum, weight_decay : float
        Of SGD.
    samples_per_class : int, optional
        Training images of each class, the first in the order of the set, at most 2^31 - 1; None takes all.
    score_samples_per_class : int, optional
        As many of these are scored; None scores all of them.
    label_smoothing : float
        0 <= label_smoothing < 1, in training; scores use the plain loss.
    seed : int
        With the epoch it decides order, augmentation and dropout.
    device : str
        "auto" (CUDA if it is there, else CPU) or a device as torch writes it.
    amp : bool or "auto"
        Mixed precision in training, never in scoring and evaluation. "auto": on CUDA only. bfloat16 where the
        device has it, else float16 with a scaled loss.

    Raises
    ------
    PruneError
        A value breaks its rule.
    """

    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 4e-5
    samples_per_class: int | None = 256
    score_samples_per_class: int | None = None
    label_smoothing: float = 0.0
    seed: int = 0
    device: str = "auto"
    amp: bool | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        _check_whole("epochs", self.epochs, 0, 10**6)
        _check_whole("batch_size", self.batch_size, 2, 2**20, "BatchNorm needs two images")
        _check_whole("seed", self.seed, 0, 2**63 - 1)
        for name in ("samples_per_class", "score_samples_per_class"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name), 1, 2**31 - 1)
        _check_real("learning_rate", self.learning_rate, above=0.0)
        _check_real("momentum", self.momentum, below=1.0)
        _check_real("weight_decay", self.weight_decay)
        _check_real("label_smoothing", self.label_smoothing, below=1.0)
        if self.amp != "auto" and not isinstance(self.amp, bool):
            raise PruneError(f"amp {self.amp!r}: must be true, false or 'auto'")
        if not isinstance(self.device, str) or not self.device:
            raise PruneError(f"device {self.device!r}: must be 'auto' or a device's name, such as 'cpu' or 'cuda:0'")

    def to_dict(self) -> dict[str, object]:
        """All fields, as plain values: what a checkpoint keeps, and compares on resuming."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Training of the universal model on all classes and all their images."""

    epochs: int = 12
    batch_size: int = 128
    weight_decay: float = 5e-4
    samples_per_class: int | None = None


def _check_whole(name: str, value: object, least: int, most: int, why: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PruneError(f"{name} {value!r}: must be a whole number of at least {least}{why and f' ({why})'}")
    if value > most:
        # Thousands of digits are not printed: Python refuses to.
        shown = value if value < 10**20 else "of more than 20 digits"
        raise PruneError(f"{name} {shown}: must be at most {most}")


def _check_real(name: str, value: object, above: float | None = None, below: float = math.inf) -> None:
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not (0 <= number < below and math.isfinite(number)) or (above is not None and number <= above):
        rule = (
            "above 0" if above is not None else "0 or more" if below == math.inf else f"at least 0 and below {below:g}"
        )
        raise PruneError(f"{name} {value!r}: must be a number, {rule}")
