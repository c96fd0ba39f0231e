"""Weights as a weight-stationary machine stores them: dense, N:M rows, or kept blocks of N:M rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...formats import CrispMatrix, NMMatrix, Pattern
from ..archs.stationary import Stationary
from ..weights import Weights
from .values import dense_int8


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """Packed int8 weights in the layout of `formats/nm_blocks.py`: R block rows of E kept blocks.

    Without blocks, every row is a block row of one block that spans K, rounded up to whole groups.

    Attributes
    ----------
    values : int8, (R, E, height, stored values of a block's row)
    nm_index : uint8, (R, E, bytes)
        A bit stream per block, the place in its group of each value.
    block_cols : int32, (R, E)
    """

    values: NDArray[np.int8]
    nm_index: NDArray[np.uint8]
    block_cols: NDArray[np.int32]


def store(how: Stationary, weights: Weights) -> Stored:
    """Pack int8 weights the way the machine runs them; those already packed that way are taken as they are.

    Raises
    ------
    TypeError
        The weights are not int8.
    PatternError
        They do not obey the machine's N:M.
    ValueError
        The machine runs blocks that the weights do not have.
    """
    pattern, matrix = Pattern(n=how.n, m=how.m, block=how.block), weights.matrix
    dense = dense_int8(weights)
    if how.block is not None:
        if not isinstance(matrix, CrispMatrix) or matrix.pattern != pattern:
            raise ValueError(f"weights of pattern {weights.pattern}: the machine runs {pattern}")
        return Stored(values=matrix.values, nm_index=matrix.nm_index, block_cols=matrix.block_cols)
    rows = len(dense)
    block_cols = np.zeros((rows, 1), np.int32)
    if how.m == 1:
        no_index = np.zeros((rows, 1, 0), np.uint8)
        return Stored(values=dense.reshape(rows, 1, 1, -1), nm_index=no_index, block_cols=block_cols)
    if not isinstance(matrix, NMMatrix) or matrix.pattern != pattern:
        matrix = NMMatrix.encode(dense, n=how.n, m=how.m)
    values = matrix.values.reshape(rows, 1, 1, -1)
    return Stored(values=values, nm_index=matrix.nm_index.reshape(rows, 1, -1), block_cols=block_cols)
