"""Noise in the shape of any data set: to try sizes and speed, and to make masks where there is no data.

Pixels are normal, labels are drawn; nothing can be learnt from it, so its accuracies mean nothing. Each image is made
from its own number when it is asked for: a set of large images takes no memory.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor

from ..errors import PruneError
from .dataset import LabelledImages, Splits

PER_CLASS = 16
_MOST_CLASSES = 2**16
_MOST_VALUES = 2**26  # of one image: 256 MiB
_MOST_BATCH_VALUES = 2**31  # of the images of one batch: 8 GiB


class NoiseImages(LabelledImages):
    """Images of normal noise.

    Parameters
    ----------
    numbers : Tensor, int64, shape (n,)
        The seed of each image.
    targets : Tensor, int64, shape (n,)
    shape : tuple of int
        (C, H, W).
    """

    def __init__(self, numbers: Tensor, targets: Tensor, shape: tuple[int, int, int]) -> None:
        self.numbers = numbers
        self.targets = targets
        self.shape = shape

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images [b,C,H,W]; a generator makes no difference.

        Raises
        ------
        PruneError
            They hold more than 2^31 values: memory would not.
        """
        values = len(indices) * math.prod(self.shape)
        if values > _MOST_BATCH_VALUES:
            size = "x".join(map(str, self.shape))
            raise PruneError(
                f"data noise: a batch of {len(indices)} images {size}: must be at most {_MOST_BATCH_VALUES} values; "
                f"make the images or the batch smaller"
            )
        own = torch.Generator()
        return torch.stack(
            [torch.randn(self.shape, generator=own.manual_seed(number)) for number in self.numbers[indices].tolist()]
        )

    def preprocessing(self) -> dict[str, Any]:  # noqa: D102
        return {"input": "as they are"}

    def _select(self, indices: Tensor, targets: Tensor) -> NoiseImages:
        return NoiseImages(self.numbers[indices], targets, self.shape)


def load_noise(text: str) -> Splits:
    """`CLASSESxCxHxW`, such as `1000x3x224x224`: 16 images of each class in every split.

    Raises
    ------
    PruneError
        The text is not four integers of at least 1; there are not 2 to 65536 classes; an image has more than 2^26
        values.
    """
    match = re.fullmatch(r"(\d{1,7})x(\d{1,7})x(\d{1,7})x(\d{1,7})", text)
    sizes = [int(part) for part in match.groups()] if match else []
    if not sizes or min(sizes) < 1 or sizes[0] < 2:
        raise PruneError(f"data 'noise:{text}': must be noise:CLASSESxCxHxW, such as noise:1000x3x224x224")
    classes, channels, height, width = sizes
    shape = (channels, height, width)
    if classes > _MOST_CLASSES:
        raise PruneError(f"data 'noise:{text}': {classes} classes: must be at most {_MOST_CLASSES}")
    values = math.prod(shape)
    if values > _MOST_VALUES:
        raise PruneError(f"data 'noise:{text}': images of {values} values: must be at most {_MOST_VALUES}")
    count = classes * PER_CLASS

    def part(number: int) -> NoiseImages:
        numbers = torch.arange(count) + number * count
        return NoiseImages(numbers, torch.arange(count) % classes, shape)

    return Splits(
        name="noise",
        class_names=tuple(f"class{index}" for index in range(classes)),
        input_shape=shape,
        train=part(0),
        validation=part(1),
        test=part(2),
        note="noise with drawn labels: accuracies mean nothing",
    )
