"""What the pruner needs of a data set: labelled images in three splits, served in batches of float32 tensors.

A data set is *personalised* by `subset`: the user's classes only, relabelled 0, 1, ... in the user's order.
Augmentation is asked for by handing `batch` a random generator; the same generator state gives the same batch, bit for
bit, so an epoch can be repeated after an interruption.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import PruneError

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""Float32 pixels [b,C,H,W] (0 = background) and a generator to the same shape; applied before normalising."""


class LabelledImages(ABC):
    """Images of one shape with one class each.

    Attributes
    ----------
    targets : Tensor, int64, shape (n,)
        Class of every image.
    """

    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Normalised images of the given indices.

        Parameters
        ----------
        indices : Tensor, int64, shape (b,)
        generator : torch.Generator, optional
            On the CPU. Given: the images are augmented with numbers drawn from it. None: they are not.

        Returns
        -------
        Tensor, float32, shape (b, C, H, W), on the CPU
        """

    def preprocessing(self) -> dict[str, Any]:
        """How raw pixels become what `batch` gives without a generator, in plain values that JSON can hold.

        Returns
        -------
        dict
            `input`: the formula; "as they are" where nothing is done. Where it has a mean: `channels`; `pixels`, the
            least and the largest value of a pixel before; `mean` and `std` of each channel, in the same units; what
            else is done, by names of its own. Empty where the class does not say.
        """
        return {}

    @abstractmethod
    def _select(self, indices: Tensor, targets: Tensor) -> LabelledImages:
        """The images of the given indices with new targets."""

    def subset(self, classes: Sequence[int], per_class: int | None = None) -> LabelledImages:
        """Only the images of some classes, in their present order.

        Parameters
        ----------
        classes : sequence of int
            Distinct; class `classes[i]` becomes target i.
        per_class : int, optional
            Take the first so many images of each class (all of them where there are fewer).

        Raises
        ------
        PruneError
            A class is given twice or has no image here, or per_class is below 1.
        """
        if len(set(classes)) != len(classes) or not classes:
            raise PruneError(f"classes {list(classes)}: must be one or more different classes")
        if per_class is not None and per_class < 1:
            raise PruneError(f"images per class {per_class}: must be at least 1")
        targets = torch.full_like(self.targets, -1)
        for new, old in enumerate(classes):
            found = (self.targets == old).nonzero().flatten()[:per_class]
            if not len(found):
                raise PruneError(f"class {old}: has no image in this split")
            targets[found] = new
        indices = (targets >= 0).nonzero().flatten()
        return self._select(indices, targets[indices])


class TensorImages(LabelledImages):
    """Images held in memory as bytes; whole batches are augmented and normalised at once.

    Parameters
    ----------
    pixels : Tensor, uint8, shape (n, C, H, W)
        0 is background: what augmentation shifts in.
    targets : Tensor, int64, shape (n,)
    mean, std : sequence of float, length C
        In units of `pixels`; a batch is (pixels - mean) / std.
    augmentation : Augmentation, optional
        None: a batch with a generator is the same as one without.
    largest : int
        The largest value a pixel can have.
    meaning : str
        What the pixels are, such as "ink: 0 paper, 255 black"; for whoever feeds the network raw images.
    """

    def __init__(
        self,
        pixels: Tensor,
        targets: Tensor,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Augmentation | None = None,
        largest: int = 255,
        meaning: str = "",
    ) -> None:
        if pixels.dtype != torch.uint8 or pixels.ndim != 4:
            raise PruneError(f"pixels {pixels.dtype} {list(pixels.shape)}: must be uint8 [n,C,H,W]")
        if targets.dtype != torch.int64 or targets.shape != pixels.shape[:1]:
            raise PruneError(
                f"targets {targets.dtype} {list(targets.shape)}: must be int64, one for each of {len(pixels)} images"
            )
        if len(mean) != pixels.shape[1] or len(std) != pixels.shape[1] or min(std, default=0) <= 0:
            raise PruneError(
                f"mean {list(mean)}, std {list(std)}: one each for {pixels.shape[1]} channels, std above 0"
            )
        self.pixels = pixels
        self.targets = targets
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.augmentation = augmentation
        self.largest = largest
        self.meaning = meaning

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: D102
        images = self.pixels[indices].to(torch.float32)
        if generator is not None and self.augmentation is not None:
            images = self.augmentation(images, generator)
        mean = torch.tensor(self.mean, dtype=torch.float32).view(-1, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32).view(-1, 1, 1)
        return (images - mean) / std

    def preprocessing(self) -> dict[str, Any]:  # noqa: D102
        return {
            "input": "(pixels - mean) / std",
            "channels": len(self.mean),
            "pixels": [0, self.largest],
            **({"pixels_are": self.meaning} if self.meaning else {}),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def _select(self, indices: Tensor, targets: Tensor) -> TensorImages:
        return TensorImages(
            self.pixels[indices],
            targets,
            mean=self.mean,
            std=self.std,
            augmentation=self.augmentation,
            largest=self.largest,
            meaning=self.meaning,
        )


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A data set: what it is called, what it holds, and its three parts.

    Parameters
    ----------
    name : str
    class_names : tuple of str
        Name of class 0, 1, ...; all different.
    input_shape : tuple of int
        (C, H, W) of every image.
    train, validation, test : LabelledImages
        Choices (criterion, epochs, ...) are made on `validation`; `test` is only reported.
    note : str
        What a reader of its figures must know, such as "easier than CIFAR-100". May be empty.
    origin : str
        Which of the sets of this name it is: a resolved path, a hash. A run is resumed on the same only. May be empty.
    """

    name: str
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    note: str = ""
    origin: str = ""

    def __post_init__(self) -> None:
        if len(set(self.class_names)) != len(self.class_names) or not self.class_names:
            raise PruneError(f"data {self.name}: class names must be one or more different names")
        for split in ("train", "validation", "test"):
            targets = getattr(self, split).targets
            if not len(targets):
                raise PruneError(f"data {self.name}: split {split} has no images")
            if targets.dtype != torch.int64 or int(targets.min()) < 0 or int(targets.max()) >= len(self.class_names):
                raise PruneError(
                    f"data {self.name}: targets of split {split} must be int64 from 0 to {len(self.class_names) - 1}"
                )
