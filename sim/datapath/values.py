"""Every layer's weights as int8 values: kept, quantised, or drawn where there is only a mask.

S rows, K columns of a group's matrix.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...formats.jit import kernel
from ...formats.rng import random_word, stream_key
from ...formats.synthetic import nonzero_int8
from ..weights import Weights

_VALUES = 4  # the purpose of the stream, beside the blocks, weights and activations of other modules
_LARGEST = 127  # symmetric: -128 is left out


def int8_weights(weights: Weights, seed: int, layer: int = 0, group: int = 0) -> Weights:
    """The same weights with int8 values.

    Parameters
    ----------
    weights : Weights
        int8 values stay. Other values are quantised with one scale for the tensor, the largest magnitude to 127 and
        halves to even; a nonzero that would round to 0 becomes 1 or -1, so that the mask stays the same. A bool
        array and None (no zeros at all) get values drawn on their nonzeros, uniform over the 255 nonzero int8.
    seed, layer, group : int
        Name the draw; each from 0 to 2^64 - 1.

    Returns
    -------
    Weights
        Same shape, pattern, indices and nonzeros; the matrix is int8 and never None.

    Raises
    ------
    FormatError
        A number of the draw is out of range.
    ValueError
        A value is not finite.
    """
    matrix = weights.matrix
    if matrix is None or (isinstance(matrix, np.ndarray) and matrix.dtype == np.bool_):
        values = np.zeros(weights.shape, np.int8)
        kept = np.ones((1, 1), np.bool_) if matrix is None else matrix
        _draw(stream_key(seed, layer, group, _VALUES), np.broadcast_to(kept, weights.shape), values)
        return replace(weights, matrix=values)
    if isinstance(matrix, np.ndarray):
        return replace(weights, matrix=_quantised(matrix))
    return replace(weights, matrix=replace(matrix, values=_quantised(matrix.values)))


def dense_int8(weights: Weights) -> NDArray[np.int8]:
    """The values as an int8 array (S, K).

    Raises
    ------
    TypeError
        There are no values, or they are not int8: see `int8_weights`.
    """
    matrix = weights.matrix
    if matrix is None:
        raise TypeError("weights without values: must be int8 (see int8_weights)")
    dense: NDArray[Any] = matrix if isinstance(matrix, np.ndarray) else matrix.decode()
    if dense.dtype != np.int8:
        raise TypeError(f"weights of dtype {dense.dtype}: must be int8 (see int8_weights)")
    return dense


def _quantised(values: NDArray[Any]) -> NDArray[np.int8]:
    if values.dtype == np.int8:
        return values
    exact = values.astype(np.float64)
    if not np.isfinite(exact).all():
        raise ValueError("weights: every value must be finite")
    largest = np.abs(exact).max(initial=0.0)
    if largest == 0:
        return np.zeros(values.shape, np.int8)
    rounded = np.rint(exact / largest * _LARGEST)
    return np.where(rounded == 0, np.sign(exact), rounded).astype(np.int8)


@kernel
def _draw(key, kept, values):
    """Draw values (int8, [S, K], zeroed, **modified**) where kept (bool, [S, K]); a word for every position."""
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            if kept[row, column]:
                values[row, column] = nonzero_int8(random_word(key, np.uint64(row * values.shape[1] + column)))
