"""What a weight is worth to the user's classes: the score of every weight (docs/pruning.md, R5)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import PruneError

# eq1: equation 1 of the paper; abs: what its public code comes closest to; magnitude: class-blind.
CRITERIA = ("eq1", "abs", "magnitude")


def score(weight: Tensor, gradient: Tensor | None, criterion: str) -> Tensor:
    """Score every weight.

    Parameters
    ----------
    weight : Tensor, floating point, any shape
        The dense weights, not the masked ones; 0 in pruned blocks.
    gradient : Tensor of the same shape, or None
        `eq1`: the gradient averaged over all samples. `abs`: the average over batches of the absolute gradient of a
        batch. `magnitude`: not looked at.
    criterion : {"eq1", "abs", "magnitude"}

    Returns
    -------
    Tensor, float32, shape of `weight`
        |g w| for `eq1`, |w| g for `abs`, |w| for `magnitude`. Values that are not finite pass: `generate` refuses them,
        as it knows the layer's name.

    Raises
    ------
    PruneError
        Unknown criterion, or a gradient that is missing or of another shape.

    Notes
    -----
    Source: R5; paper, equation 1. Half-precision weights and gradients are multiplied in float32, where they
    neither overflow nor vanish.

    >>> score(torch.tensor([1.0, -2.0]), torch.tensor([-3.0, 0.5]), "eq1").tolist()
    [3.0, 1.0]
    """
    if criterion not in CRITERIA:
        raise PruneError(f"criterion {criterion!r}: must be one of {', '.join(CRITERIA)}")
    weight = _at_least_float32(weight)
    if criterion == "magnitude":
        return weight.abs().float()
    if gradient is None:
        raise PruneError(f"criterion {criterion}: needs gradients, and none were accumulated")
    if gradient.shape != weight.shape:
        raise PruneError(f"gradient of shape {tuple(gradient.shape)}: its weight has shape {tuple(weight.shape)}")
    # |g w| = |w| g where g is an average of absolute values, so both criteria are the same product.
    return torch.mul(weight, _at_least_float32(gradient)).abs_().float()


def _at_least_float32(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor if tensor.dtype == torch.float64 else tensor.float()
