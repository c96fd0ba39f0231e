"""ELLPACK: every row stores as many values as the fullest one, with their columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import index_width
from .dense import check_array, check_dense, check_shape
from .errors import FormatError
from .footprint import Footprint


@dataclass(frozen=True, kw_only=True, eq=False)
class ELLPACK:
    """A matrix of rows padded to equal length.

    Parameters
    ----------
    shape : (int, int)
        S and K.
    width : int
        Slots of a row.
    indices : ndarray, int32, shape (S, width)
        Columns, ascending in a row; -1 in empty slots, which stand last.
    values : ndarray, integer or float, shape (S, width)
        Zero in empty slots.

    Raises
    ------
    FormatError
        A shape or dtype breaks the rules above, or a column is out of range.
    """

    shape: tuple[int, int]
    width: int
    indices: NDArray[np.int32]
    values: NDArray[Any]

    def __post_init__(self) -> None:
        check_shape("ellpack", self.shape)
        check_array("ellpack", "indices", self.indices, np.int32, (self.shape[0], self.width))
        check_array("ellpack", "values", self.values, None, (self.shape[0], self.width))
        check_padded_columns("ellpack", self.indices, self.shape[1])

    @classmethod
    def encode(cls, dense: NDArray[Any]) -> ELLPACK:
        """Keep the nonzeros of a matrix [S, K]; the width is that of the fullest row.

        Raises
        ------
        FormatError
            `dense` is no matrix of integers or floats.

        >>> ELLPACK.encode(np.array([[0, 5, 7], [0, 0, 9]])).indices.tolist()
        [[1, 2], [2, -1]]
        """
        dense = check_dense("ellpack", dense)
        indices = padded_columns(dense != 0)
        values = np.take_along_axis(dense, np.maximum(indices, 0), axis=1)
        values[indices < 0] = 0
        shape = (dense.shape[0], dense.shape[1])
        return cls(shape=shape, width=indices.shape[1], indices=indices, values=values)

    def decode(self) -> NDArray[Any]:
        """The dense matrix [S, K]."""
        dense = np.zeros(self.shape, self.values.dtype)
        rows, slots = np.nonzero(self.indices >= 0)
        dense[rows, self.indices[rows, slots]] = self.values[rows, slots]
        return dense

    def footprint(self, column_bits: int | None = None) -> Footprint:
        """Bits of every slot's value and column, empty ones included.

        `column_bits` defaults to ceil(log2 K). An empty slot is written as column 0 with value 0: a
        reader that adds each value to its column needs no code for "empty".
        """
        bits = index_width(self.shape[1]) if column_bits is None else column_bits
        return Footprint(value_bits=8 * self.values.nbytes, index_bits=self.indices.size * bits)


def padded_columns(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Columns of the True positions of each row, ascending, then -1: int32 [rows, most in a row]."""
    counts = mask.sum(axis=1)
    rows, columns = np.nonzero(mask)
    slots = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    padded = np.full((len(mask), counts.max()), -1, np.int32)
    padded[rows, slots] = columns
    return padded


def check_padded_columns(name: str, columns: NDArray[np.int32], limit: int) -> None:
    """Raise FormatError unless each row ascends below `limit` and holds -1 only at its end."""
    steps = np.diff(columns, axis=1)
    well = (columns < limit).all(axis=1) & (columns >= -1).all(axis=1)
    well &= ((steps > 0) & (columns[:, :-1] >= 0) | (columns[:, 1:] == -1)).all(axis=1)
    if not well.all():
        row = int(np.argmin(well))
        raise FormatError(f"{name}: columns of row {row}: must ascend below {limit}, -1 at the end only")
