"""A layer's weight as the matrix `W[S,K]` that the rules are written for (docs/pruning.md, R1), and its blocks.

S is the number of output channels (rows), K = kernel positions x input channels (columns), channel fastest (`hwc`).
B is the side of a block; the matrix has R = ceil(S / B) block rows and C = ceil(K / B) block columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .errors import PruneError


def to_matrix(weight: Tensor) -> Tensor:
    """The matrix of a weight tensor, in `hwc` order.

    Parameters
    ----------
    weight : Tensor, shape (S, C, kh, kw) or (S, K)
        Of a convolution, or of a Linear or attention. Any dtype and device.

    Returns
    -------
    Tensor, shape (S, K)
        Column (y kw + x) C + c is weight[:, c, y, x]. It may share memory with `weight` (a Linear's, or a 1x1's): do
        not change it in place.

    Raises
    ------
    PruneError
        The weight has fewer than two dimensions.

    Notes
    -----
    Source: R1.

    >>> to_matrix(torch.arange(8).view(1, 2, 2, 2)).tolist()
    [[0, 4, 1, 5, 2, 6, 3, 7]]
    """
    if weight.dim() < 2:
        raise PruneError(f"weight of shape {tuple(weight.shape)}: must have at least two dimensions")
    if weight.dim() == 2:
        return weight
    return weight.permute(0, *range(2, weight.dim()), 1).flatten(1)


def from_matrix(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """The weight tensor of a matrix: the inverse of `to_matrix`.

    Parameters
    ----------
    matrix : Tensor, shape (S, K)
        Any dtype: weights, scores or a mask.
    shape : sequence of int
        Of the weight: (S, C, kh, kw) or (S, K).

    Returns
    -------
    Tensor of that shape, contiguous. It may share memory with `matrix`.

    Raises
    ------
    PruneError
        The matrix does not have the shape's rows and elements.

    >>> weight = torch.arange(24).view(2, 3, 2, 2)
    >>> torch.equal(from_matrix(to_matrix(weight), weight.shape), weight)
    True
    """
    rows, channels, *kernel = shape
    if matrix.dim() != 2 or matrix.shape[0] != rows or matrix.numel() != torch.Size(shape).numel():
        raise PruneError(f"matrix of shape {tuple(matrix.shape)}: does not fill a weight of shape {tuple(shape)}")
    if not kernel:
        return matrix.contiguous()
    return matrix.reshape(rows, *kernel, channels).movedim(-1, 1).contiguous()


def block_count(length: int, block: int) -> int:
    """Blocks along a side of `length` elements: ceil(length / B)."""
    return -(-length // block)


def block_lengths(length: int, block: int) -> Tensor:
    """Real elements of each block along a side of `length`: int64, shape (ceil(length / B),); the last may be ragged.

    >>> block_lengths(10, 4).tolist()
    [4, 4, 2]
    """
    starts = torch.arange(0, length, block)
    return torch.clamp(length - starts, max=block)
