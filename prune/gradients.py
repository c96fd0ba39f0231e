"""Gradients added up over the batches of a scoring pass (R4, R5)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .errors import PruneError
from .processes import add_up


def check_learns(name: str, weight: nn.Parameter, criterion: str) -> None:
    """Refuse a layer's weight that takes no gradient (`requires_grad` is False), where the criterion needs one.

    Raises
    ------
    PruneError
        Naming the layer.
    """
    if criterion != "magnitude" and not weight.requires_grad:
        raise PruneError(f"layer '{name}': its weight takes no gradient, which criterion {criterion} needs")


class GradientSums:
    """What a criterion needs of the gradients of each weight.

    Parameters
    ----------
    weights : mapping of str to Parameter
        The prunable weights by layer name. Their `.grad` is the gradient of the weight that the forward pass uses.
    criterion : {"eq1", "abs", "magnitude"}
        `eq1` sums batch size x g, `abs` sums |g|, `magnitude` nothing.

    Raises
    ------
    PruneError
        A weight takes no gradient (`requires_grad` is False) and the criterion needs one.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], criterion: str) -> None:
        self._weights = weights
        self._criterion = criterion
        self._sums: dict[str, Tensor] = {}
        self._batches_with: dict[str, int] = dict.fromkeys(weights, 0)
        self._batches = 0
        self._samples = 0
        if criterion == "magnitude":
            return
        for name, weight in weights.items():
            check_learns(name, weight, criterion)
            self._sums[name] = torch.zeros_like(weight, dtype=torch.float32, requires_grad=False)

    @torch.no_grad()
    def add(self, batch_size: int) -> None:
        """Add the gradients of a batch of `batch_size` samples, whose loss is their mean."""
        self._batches += 1
        self._samples += batch_size
        for name, total in self._sums.items():
            gradient = self._weights[name].grad
            if gradient is None:
                continue
            self._batches_with[name] += 1
            if self._criterion == "eq1":
                total.add_(gradient, alpha=batch_size)
            else:
                total.add_(gradient.abs())

    @torch.no_grad()
    def averages(self) -> dict[str, Tensor]:
        """Average over all processes: the gradient over samples (`eq1`), its absolute value over batches (`abs`).

        Returns
        -------
        dict of str to Tensor, float32, the weight's shape
            Empty if the criterion needs no gradients. To be asked for once: the sums become averages.

        Raises
        ------
        PruneError
            There was no batch, or a weight never got a gradient.
        """
        if not self._sums:
            return {}
        device = next(iter(self._sums.values())).device
        counts = [self._batches, self._samples, *self._batches_with.values()]
        summed = torch.tensor(counts, dtype=torch.int64, device=device)
        add_up([summed, *self._sums.values()])
        batches, samples, *batches_with = summed.tolist()
        if batches == 0:
            raise PruneError(f"criterion {self._criterion}: needs gradients: accumulate() at least one batch")
        for name, number in zip(self._sums, batches_with, strict=True):
            if number == 0:
                raise PruneError(
                    f"layer '{name}' got no gradient in any batch: exclude it, or use it in the forward pass"
                )
        count = samples if self._criterion == "eq1" else batches
        return {name: total.div_(count) for name, total in self._sums.items()}
