"""N:M without blocks: at most N nonzeros in every M consecutive columns of a row (2:4, for example).

N:M as in the pattern module; S rows, K columns, G = ceil(K/M) groups in a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import packed_bytes
from .dense import check_array, check_dense, check_k_order, check_mask, check_shape, tiles_along, words
from .errors import FormatError, PatternError
from .footprint import Footprint
from .nm_blocks import (
    count_columns,
    first_bad_index,
    first_overfull_group,
    first_padded_nonzero,
    fullest_group,
    pack_blocks,
    unpack_blocks,
)
from .pattern import Pattern


@dataclass(frozen=True, kw_only=True, eq=False)
class NMMatrix:
    """A matrix of N:M groups along K, row after row.

    Parameters
    ----------
    n, m : int
        The pattern, 1 <= n <= m <= 256; n = m is kept as 1:1.
    shape : (int, int)
        S and K, without padding.
    k_order : str
        Order of the positions along K: "hwc" (channel fastest) or "chw".
    values : ndarray, integer or float, shape (S, G*n)
        Stored values, group after group; K is padded with zeros to whole groups.
    nm_index : ndarray, uint8, shape (S, ceil(G*n*index_bits / 8))
        Position in its group of each stored value, ascending within the group, ceil(log2 m) bits each,
        little-endian, a stream per row.

    Raises
    ------
    PatternError
        The pattern is impossible.
    FormatError
        A shape, dtype or order breaks the rules above. Indices and padding: see `check`.
    """

    n: int
    m: int
    shape: tuple[int, int]
    k_order: str = "hwc"
    values: NDArray[Any]
    nm_index: NDArray[np.uint8]

    def __post_init__(self) -> None:
        pattern = self.pattern
        object.__setattr__(self, "n", pattern.n)
        object.__setattr__(self, "m", pattern.m)
        check_shape("nm", self.shape)
        check_k_order("nm", self.k_order)
        value_shape, index_shape = _array_shapes(self.shape, pattern)
        check_array("nm", "values", self.values, None, value_shape)
        check_array("nm", "nm_index", self.nm_index, np.uint8, index_shape)

    @property
    def pattern(self) -> Pattern:
        """The pattern, without blocks."""
        return Pattern(n=self.n, m=self.m)

    @classmethod
    def encode(
        cls,
        dense: NDArray[Any],
        *,
        n: int,
        m: int,
        mask: NDArray[np.bool_] | None = None,
        k_order: str = "hwc",
    ) -> NMMatrix:
        """Pack a matrix that obeys the pattern.

        Parameters
        ----------
        dense : ndarray, integer or float, shape (S, K)
        n, m : int
        mask : ndarray, bool, shape (S, K), optional
            Positions to keep, zeros among them included; values elsewhere count as zero. Default: the
            nonzeros of `dense`.
        k_order : str
            Recorded; `dense` is in this order.

        Raises
        ------
        PatternError
            The pattern is impossible, or a group keeps more than n (the first one is named).
        FormatError
            `dense` or `mask` has the wrong shape or dtype.

        Notes
        -----
        A group that keeps fewer than n is filled with zero values at its lowest free positions.

        >>> packed = NMMatrix.encode(np.array([[3, 0, 0, -2]], np.int8), n=2, m=4)
        >>> packed.values.tolist(), packed.nm_index.tolist()
        ([[3, -2]], [[12]])
        """
        pattern = Pattern(n=n, m=m)
        dense = check_dense("nm", dense)
        mask = check_mask("nm", dense, mask)
        check_groups("nm", mask, pattern)
        value_shape, index_shape = _array_shapes(dense.shape, pattern)
        values, nm_index = np.zeros(value_shape, dense.dtype), np.zeros(index_shape, np.uint8)
        packed = cls(
            n=n,
            m=m,
            shape=(dense.shape[0], dense.shape[1]),
            values=values,
            nm_index=nm_index,
            k_order=k_order,
        )
        stored, index, columns = packed._as_blocks(words(values))
        pack_blocks(words(dense), mask, columns, pattern.n, pattern.m, pattern.index_bits, stored, index)
        return packed

    def decode(self) -> NDArray[Any]:
        """The dense matrix [S, K], of the dtype of the values."""
        dense = np.zeros(self.shape, self.values.dtype)
        stored, index, columns = self._as_blocks(words(self.values))
        unpack_blocks(stored, index, columns, self.n, self.m, self.pattern.index_bits, words(dense))
        return dense

    def footprint(self) -> Footprint:
        """Bits of the values and of the index, each row's index rounded up to bytes."""
        return Footprint(value_bits=8 * self.values.nbytes, index_bits=8 * self.nm_index.size)

    def nonzeros(self) -> int:
        """Stored values that are not zero."""
        return int(np.count_nonzero(self.values))

    def nonzeros_per_column(self) -> NDArray[np.int64]:
        """Nonzero values at each position along K: int64 [K]."""
        counts = np.zeros(self.shape[1], np.int64)
        nonzero, index, columns = self._as_blocks(self.values != 0)
        bits = self.pattern.index_bits
        count_columns(nonzero, index, columns, self.n, self.m, bits, self.shape[0], counts)
        return counts

    def max_nonzeros_per_group(self, m: int = 4) -> int:
        """Largest number of nonzero values in m aligned, consecutive columns of a row.

        Raises
        ------
        PatternError
            m is not at least 1.
        """
        check_group_size("nm", m)
        nonzero, index, columns = self._as_blocks(self.values != 0)
        return fullest_group(nonzero, index, columns, self.n, self.m, self.pattern.index_bits, m)

    def check(self) -> None:
        """Look at every index and every padded position.

        Raises
        ------
        FormatError
            An index is not below m, stands twice in its group or descends, or padding holds a nonzero
            value. The first offender is named.
        """
        bits = self.pattern.index_bits
        nonzero, index, columns = self._as_blocks(self.values != 0)
        row, _, group, position, before = first_bad_index(index, nonzero.shape[3], self.n, self.m, bits)
        if row >= 0:
            fault = ascent_fault("index", position, before, self.m, "M")
            raise FormatError(f"nm: row {row}, group {group}: {fault}")
        row, column = first_padded_nonzero(nonzero, index, columns, self.n, self.m, bits, *self.shape)
        if row >= 0:
            raise FormatError(f"nm: row {row}, column {column}: padding beyond K = {self.shape[1]} must be zero")

    def _as_blocks(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.int32]]:
        """Values, indices and block columns as the kernels take them: a row is one block."""
        rows = self.shape[0]
        return (
            values.reshape(rows, 1, 1, -1),
            self.nm_index.reshape(rows, 1, -1),
            np.zeros((rows, 1), np.int32),
        )


def check_groups(name: str, mask: NDArray[np.bool_], pattern: Pattern) -> None:
    """Raise PatternError naming the first group of the mask [S, K] that keeps more than N, if any."""
    row, group, count = first_overfull_group(mask, pattern.n, pattern.m)
    if row >= 0:
        raise PatternError(f"{name}: row {row}, group {group} keeps {count}: {pattern.nm} allows {pattern.n}")


def check_group_size(name: str, m: int) -> None:
    """Raise PatternError unless a group has at least one column."""
    if m < 1:
        raise PatternError(f"{name}: group of {m} columns: must be at least 1")


def ascent_fault(what: str, value: int, before: int, end: int, end_name: str) -> str:
    """What is wrong with a value of a sequence that must ascend strictly from 0, below `end`, and the rule.

    `before` is the value before it; whatever is out of range is called that, then comes the order.

    >>> [ascent_fault("index", value, 2, 4, "M") for value in (4, 2, 1)]
    ['index 4: must be 0 or more and below M = 4', 'index 2 twice: must ascend', 'index 1 after 2: must ascend']
    """
    if not 0 <= value < end:
        return f"{what} {value}: must be 0 or more and below {end_name} = {end}"
    if value == before:
        return f"{what} {value} twice: must ascend"
    return f"{what} {value} after {before}: must ascend"


def _array_shapes(shape: tuple[int, ...], pattern: Pattern) -> tuple[tuple[int, int], tuple[int, int]]:
    lanes = tiles_along(shape[1], pattern.m) * pattern.n
    return (shape[0], lanes), (shape[0], packed_bytes(lanes, pattern.index_bits))
