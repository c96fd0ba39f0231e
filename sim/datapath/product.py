"""The integer product a datapath must give, computed without any plan, and where two results differ.

`Y[S,P] = W[S,K] X[K,P]`, sums in two's complement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..weights import Weights
from .values import dense_int8

_LARGEST_PRODUCT = 128 * 128
_EXACT = 1 << 53  # a float64 counts up to here without a gap
_COLUMNS = 4096  # of the activations at a time as float64


def integer_product(weights: Weights, activations: NDArray[np.int8], sum_bits: int) -> NDArray[np.int32]:
    """Multiply int8 weights and activations, and wrap the sums.

    Parameters
    ----------
    weights : Weights
        int8, (S, K); decoded to a dense matrix first.
    activations : ndarray, int8, shape (K, P)
    sum_bits : int
        8, 16 or 32: of a partial sum.

    Returns
    -------
    ndarray, int32, shape (S, P)
        Exact sums, wrapped to sum_bits; wrapping at every addition gives the same.

    Raises
    ------
    TypeError
        The weights are not int8.
    """
    dense = dense_int8(weights).astype(np.float64)
    assert dense.shape[1] * _LARGEST_PRODUCT < _EXACT, f"K = {dense.shape[1]}: float64 sums would not be exact"
    product = np.empty((dense.shape[0], activations.shape[1]), np.int32)
    half = 1 << (sum_bits - 1)
    for first in range(0, product.shape[1], _COLUMNS):
        columns = slice(first, first + _COLUMNS)
        sums = (dense @ activations[:, columns].astype(np.float64)).astype(np.int64)
        product[:, columns] = (sums + half) % (2 * half) - half
    return product


def difference(got: NDArray[np.int32], expected: NDArray[np.int32]) -> str | None:
    """Where two results of one shape (S, P) differ, in a line; None if they are equal.

    >>> difference(np.array([[1, 2], [3, 4]]), np.array([[1, 2], [5, 6]]))
    'row 1, column 0: got 3, expected 5; 2 of 4 values are wrong'

    Raises
    ------
    ValueError
        The shapes are not the same.
    """
    if got.shape != expected.shape:
        raise ValueError(f"results of shapes {got.shape} and {expected.shape}: must be the same")
    wrong = np.argwhere(got != expected)
    if not len(wrong):
        return None
    row, column = map(int, wrong[0])
    values = f"got {got[row, column]}, expected {expected[row, column]}"
    return f"row {row}, column {column}: {values}; {len(wrong)} of {got.size} values are wrong"
