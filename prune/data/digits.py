"""The 8x8 handwritten digits that ship with scikit-learn: 1797 images, for smoke tests and the embedded default."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import PruneError
from .augmentation import RandomShift
from .dataset import Splits, TensorImages
from .splitting import within_class_share


def load_digits() -> Splits:
    """Digits 0 to 9, grayscale 8x8, split 60/20/20 within every class in the order of the file.

    Neighbours in the file come from the same writer, so cutting it in order keeps most writers on one side;
    shuffling would make the test set easier.

    Raises
    ------
    PruneError
        scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError as error:
        raise PruneError("data digits: needs scikit-learn (pip install scikit-learn)") from error
    bunch = load()
    # Pixels are whole numbers from 0 (paper) to 16 (ink).
    pixels = torch.from_numpy(np.asarray(bunch.images)).to(torch.uint8)[:, None]  # pyright: ignore[reportAttributeAccessIssue]
    targets = torch.from_numpy(np.asarray(bunch.target)).to(torch.int64)  # pyright: ignore[reportAttributeAccessIssue]
    share = within_class_share(targets)
    train = share < 0.6
    test = share >= 0.8
    known = pixels[train].to(torch.float64)
    mean, std = [float(known.mean())], [float(known.std())]

    def part(chosen: torch.Tensor) -> TensorImages:
        return TensorImages(
            pixels[chosen],
            targets[chosen],
            mean=mean,
            std=std,
            augmentation=RandomShift(1),
            largest=16,
            meaning="ink: 0 paper, 16 black",
        )

    return Splits(
        name="digits",
        class_names=tuple(str(digit) for digit in range(10)),
        input_shape=(1, 8, 8),
        train=part(train),
        validation=part(~train & ~test),
        test=part(test),
        note="8x8 digits of scikit-learn: a smoke test, far easier than CIFAR-100",
    )
