"""A layer's input as a packed file holds it: where it is not zero, or int8 values."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import PruneError

SampleKind = Literal["mask", "int8"]

_LARGEST = 127


def sample_input(name: str, values: Tensor, kind: SampleKind) -> np.ndarray:
    """One input of a layer, as `PackedLayer.activations` in the order `hwc`.

    Parameters
    ----------
    name : str
        The layer's, for messages.
    values : Tensor, (height, width, channels)
    kind : {"mask", "int8"}
        A mask has a bit for every value that is not zero. int8 values are symmetric, of one scale for the whole input,
        rounded half to even: a value below 1/254 of the largest becomes zero.

    Returns
    -------
    ndarray
        uint8 (height, width, ceil(channels / 8)), or int8 (height, width, channels).

    Raises
    ------
    PruneError
        The tensor is on the meta device, or holds a value that is not finite.
    """
    if values.device.type == "meta":
        raise PruneError(f"layer {name!r}: input on the meta device: has no values to keep as activations")
    array = values.detach().to("cpu", torch.float32).numpy()
    if not np.isfinite(array).all():
        raise PruneError(f"layer {name!r}: input with {int((~np.isfinite(array)).sum())} values that are not finite")
    if kind == "mask":
        return np.packbits(array != 0, axis=-1, bitorder="little")
    scale = float(np.abs(array).max(initial=0.0)) / _LARGEST or 1.0
    return np.ascontiguousarray(np.rint(array / scale).astype(np.int8))
