"""CSR, compressed sparse rows: the nonzeros of each row with their columns, and where each row begins."""

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
class CSR:
    """A matrix of nonzeros, row after row.

    Parameters
    ----------
    shape : (int, int)
        S and K.
    indptr : ndarray, int64, shape (S + 1,)
        Row i holds values indptr[i] to indptr[i+1] - 1.
    indices : ndarray, int32, shape (nonzeros,)
        Column of each value, ascending in a row.
    values : ndarray, integer or float, shape (nonzeros,)

    Raises
    ------
    FormatError
        A shape or dtype breaks the rules above, or a pointer or column is out of range or order.
    """

    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[Any]

    def __post_init__(self) -> None:
        check_shape("csr", self.shape)
        stored = self.values.size
        check_array("csr", "indptr", self.indptr, np.int64, (self.shape[0] + 1,))
        check_array("csr", "indices", self.indices, np.int32, (stored,))
        check_array("csr", "values", self.values, None, (stored,))
        if self.indptr[0] != 0 or self.indptr[-1] != stored or (np.diff(self.indptr) < 0).any():
            raise FormatError(f"csr: indptr must ascend from 0 to the {stored} values stored")
        if stored and not 0 <= self.indices.min() <= self.indices.max() < self.shape[1]:
            raise FormatError(
                f"csr: columns {self.indices.min()} to {self.indices.max()}: must be 0 to {self.shape[1] - 1}"
            )
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        if (np.diff(rows * self.shape[1] + self.indices) <= 0).any():
            raise FormatError("csr: columns of a row must ascend")

    @classmethod
    def encode(cls, dense: NDArray[Any]) -> CSR:
        """Keep the nonzeros of a matrix [S, K].

        Raises
        ------
        FormatError
            `dense` is no matrix of integers or floats.

        >>> packed = CSR.encode(np.array([[0, 5, 7], [0, 0, 9]]))
        >>> packed.indptr.tolist(), packed.indices.tolist()
        ([0, 2, 3], [1, 2, 2])
        """
        dense = check_dense("csr", dense)
        rows, columns = np.nonzero(dense)
        indptr = np.searchsorted(rows, np.arange(dense.shape[0] + 1)).astype(np.int64)
        return cls(
            shape=(dense.shape[0], dense.shape[1]),
            indptr=indptr,
            indices=columns.astype(np.int32),
            values=dense[rows, columns],
        )

    def decode(self) -> NDArray[Any]:
        """The dense matrix [S, K]."""
        dense = np.zeros(self.shape, self.values.dtype)
        dense[np.repeat(np.arange(self.shape[0]), np.diff(self.indptr)), self.indices] = self.values
        return dense

    def footprint(self, column_bits: int | None = None) -> Footprint:
        """Bits of the values, their columns, and S + 1 row pointers.

        `column_bits` defaults to ceil(log2 K); a pointer takes ceil(log2(nonzeros + 1)).
        """
        bits = index_width(self.shape[1]) if column_bits is None else column_bits
        return Footprint(
            value_bits=8 * self.values.nbytes,
            index_bits=self.indices.size * bits,
            pointer_bits=self.indptr.size * index_width(self.values.size + 1),
        )
