"""Splits within classes, without random numbers: the same files give the same split on every machine."""

from __future__ import annotations

import torch
from torch import Tensor


def within_class_share(targets: Tensor) -> Tensor:
    """Where each image stands among those of its class, in index order.

    Parameters
    ----------
    targets : Tensor, int64, shape (n,)

    Returns
    -------
    Tensor, float64, shape (n,)
        j / count for the j-th image (from 0) of a class of `count`: from 0 up to, not including, 1.

    >>> within_class_share(torch.tensor([5, 7, 5, 7])).tolist()
    [0.0, 0.0, 0.5, 0.5]
    """
    share = torch.zeros(len(targets), dtype=torch.float64)
    for label in targets.unique():
        members = (targets == label).nonzero().flatten()
        share[members] = torch.arange(len(members), dtype=torch.float64) / len(members)
    return share
