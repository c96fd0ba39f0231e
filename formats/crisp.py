"""The CRISP matrix: N:M rows inside B x B blocks, equally many blocks kept in every block row.

The hybrid format of the paper (section III): Blocked-ELL without padding outside, N:M inside. S rows,
K columns, R = ceil(S/B) block rows, E kept blocks in each, N:M and B as in the pattern module. S and K
are padded with zeros to whole blocks; padding is not part of the matrix and never counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import index_width, packed_bytes
from .dense import (
    check_array,
    check_dense,
    check_k_order,
    check_mask,
    check_shape,
    occupied_tiles,
    tiles_along,
    words,
)
from .errors import FormatError, PatternError
from .footprint import Footprint
from .nm import ascent_fault, check_group_size, check_groups
from .nm_blocks import (
    count_columns,
    first_bad_index,
    first_padded_nonzero,
    fullest_group,
    pack_blocks,
    unpack_blocks,
)
from .pattern import Pattern


@dataclass(frozen=True, kw_only=True, eq=False)
class CrispMatrix:
    """A matrix of N:M blocks, block after block as the machine streams them.

    Parameters
    ----------
    n, m : int
        The pattern inside a block, 1 <= n <= m <= 256; n = m is kept as 1:1 (blocks only).
    block : int
        B, a multiple of m.
    shape : (int, int)
        S and K, without padding.
    k_order : str
        Order of the positions along K: "hwc" (channel fastest) or "chw".
    block_cols : ndarray, int32, shape (R, E)
        Block columns kept, strictly ascending in a row, 0 <= column < ceil(K/B).
    values : ndarray, integer or float, shape (R, E, B, B*n/m)
        Stored values of each row of each block, group after group.
    nm_index : ndarray, uint8, shape (R, E, ceil(B * B*n/m * index_bits / 8))
        Position in its group of each stored value, ascending within the group, in the order of `values`,
        ceil(log2 m) bits each, little-endian, a stream per block.

    Raises
    ------
    PatternError
        The pattern is impossible.
    FormatError
        A shape, dtype, order or block column breaks the rules above. Indices and padding: see `check`.
    """

    n: int
    m: int
    block: int
    shape: tuple[int, int]
    k_order: str = "hwc"
    block_cols: NDArray[np.int32]
    values: NDArray[Any]
    nm_index: NDArray[np.uint8]

    def __post_init__(self) -> None:
        pattern = self.pattern
        object.__setattr__(self, "n", pattern.n)
        object.__setattr__(self, "m", pattern.m)
        check_shape("crisp", self.shape)
        check_k_order("crisp", self.k_order)
        _check_block_cols(self.block_cols, self.shape, self.block)
        check_array("crisp", "block_cols", self.block_cols, np.int32, self.block_cols.shape)
        rows, kept = self.block_cols.shape
        lanes = self.block * self.n // self.m
        index_bytes = packed_bytes(self.block * lanes, pattern.index_bits)
        check_array("crisp", "values", self.values, None, (rows, kept, self.block, lanes))
        check_array("crisp", "nm_index", self.nm_index, np.uint8, (rows, kept, index_bytes))

    @property
    def pattern(self) -> Pattern:
        """The pattern, with its block."""
        return Pattern(n=self.n, m=self.m, block=self.block)

    @classmethod
    def encode(
        cls,
        dense: NDArray[Any],
        *,
        n: int,
        m: int,
        block: int,
        mask: NDArray[np.bool_] | None = None,
        block_cols: NDArray[Any] | None = None,
        k_order: str = "hwc",
    ) -> CrispMatrix:
        """Pack a matrix that obeys the pattern.

        Parameters
        ----------
        dense : ndarray, integer or float, shape (S, K)
        n, m, block : int
        mask : ndarray, bool, shape (S, K), optional
            Positions to keep, zeros among them included; values elsewhere count as zero. Default: the
            nonzeros of `dense`.
        block_cols : ndarray, integer, shape (R, E), optional
            Blocks to keep, empty ones included. Default: the blocks where the mask keeps something,
            which must be equally many in every block row.
        k_order : str
            Recorded; `dense` is in this order.

        Raises
        ------
        PatternError
            The pattern is impossible; a group keeps more than n; block rows keep different numbers of
            blocks; or the mask keeps something outside `block_cols`. The first offender is named.
        FormatError
            `dense`, `mask` or `block_cols` has the wrong shape, dtype or order.

        Notes
        -----
        A group that keeps fewer than n is filled with zero values at its lowest free positions.

        >>> packed = CrispMatrix.encode(np.diag(np.int8([1, 2, 3, 4])), n=1, m=2, block=2)
        >>> packed.block_cols.tolist(), packed.values.tolist()
        ([[0], [1]], [[[[1], [2]]], [[[3], [4]]]])
        """
        pattern = Pattern(n=n, m=m, block=block)
        dense = check_dense("crisp", dense)
        mask = check_mask("crisp", dense, mask)
        check_groups("crisp", mask, pattern)
        occupied = occupied_tiles(mask, block, block)
        if block_cols is None:
            kept_cols = _kept_blocks(occupied)
        else:
            _check_block_cols(block_cols, dense.shape, block)
            kept_cols = np.ascontiguousarray(block_cols, np.int32)
            _check_kept(occupied, kept_cols)
        lanes = block * pattern.n // pattern.m
        values = np.zeros((*kept_cols.shape, block, lanes), dense.dtype)
        nm_index = np.zeros((*kept_cols.shape, packed_bytes(block * lanes, pattern.index_bits)), np.uint8)
        pack_blocks(words(dense), mask, kept_cols, pattern.n, pattern.m, pattern.index_bits, words(values), nm_index)
        return cls(
            n=n,
            m=m,
            block=block,
            shape=(dense.shape[0], dense.shape[1]),
            block_cols=kept_cols,
            values=values,
            nm_index=nm_index,
            k_order=k_order,
        )

    def decode(self) -> NDArray[Any]:
        """The dense matrix [S, K], of the dtype of the values."""
        dense = np.zeros(self.shape, self.values.dtype)
        unpack_blocks(words(self.values), *self._places(), words(dense))
        return dense

    def footprint(self) -> Footprint:
        """Bits of the values and of the index.

        The index is the N:M index, each block's rounded up to bytes, and ceil(log2 ceil(K/B)) bits for
        each kept block's column.
        """
        column_bits = index_width(tiles_along(self.shape[1], self.block))
        return Footprint(
            value_bits=8 * self.values.nbytes,
            index_bits=8 * self.nm_index.size + self.block_cols.size * column_bits,
        )

    def nonzeros(self) -> int:
        """Stored values that are not zero."""
        return int(np.count_nonzero(self.values))

    def nonzeros_per_column(self) -> NDArray[np.int64]:
        """Nonzero values at each position along K: int64 [K]."""
        counts = np.zeros(self.shape[1], np.int64)
        count_columns(self.values != 0, *self._places(), self.shape[0], counts)
        return counts

    def max_nonzeros_per_group(self, m: int = 4) -> int:
        """Largest number of nonzero values in m aligned, consecutive columns of a row.

        Raises
        ------
        PatternError
            m is not at least 1.
        """
        check_group_size("crisp", m)
        return fullest_group(self.values != 0, *self._places(), m)

    def check(self) -> None:
        """Look at every index and every padded position.

        Raises
        ------
        FormatError
            An index is not below m, stands twice in its group or descends, or padding holds a nonzero
            value. The first offender is named; its group is counted from the start of its block.
        """
        slots = self.values.shape[2] * self.values.shape[3]
        bits = self.pattern.index_bits
        row, block, group, position, before = first_bad_index(self.nm_index, slots, self.n, self.m, bits)
        if row >= 0:
            fault = ascent_fault("index", position, before, self.m, "M")
            raise FormatError(f"crisp: block row {row}, block {block}, group {group}: {fault}")
        row, column = first_padded_nonzero(self.values != 0, *self._places(), *self.shape)
        if row >= 0:
            raise FormatError(f"crisp: row {row}, column {column}: padding beyond {self.shape} must be zero")

    def _places(self) -> tuple[NDArray[np.uint8], NDArray[np.int32], int, int, int]:
        """Where the values stand, as the kernels take it."""
        return self.nm_index, self.block_cols, self.n, self.m, self.pattern.index_bits


def _check_block_cols(block_cols: NDArray[Any], shape: tuple[int, ...], block: int) -> None:
    rows, columns = tiles_along(shape[0], block), tiles_along(shape[1], block)
    if block_cols.ndim != 2 or len(block_cols) != rows:
        raise FormatError(f"crisp: block_cols of shape {block_cols.shape}: must be ({rows}, kept blocks)")
    if block_cols.dtype.kind not in "iu":
        raise FormatError(f"crisp: block_cols of dtype {block_cols.dtype}: must be integers")
    bad = (block_cols < 0) | (block_cols >= columns)
    bad[:, 1:] |= block_cols[:, 1:] <= block_cols[:, :-1]
    if bad.any():
        row, kept = (int(place[0]) for place in np.nonzero(bad))
        column, before = int(block_cols[row, kept]), int(block_cols[row, kept - 1]) if kept else -1
        fault = ascent_fault("block column", column, before, columns, "ceil(K/B)")
        raise FormatError(f"crisp: block row {row}, block {kept}: {fault}")


def _kept_blocks(occupied: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Columns of the occupied blocks (bool, [R, ceil(K/B)]), int32 [R, E], if equally many in each row."""
    counts = occupied.sum(axis=1)
    if (counts != counts[0]).any():
        row = int(np.argmax(counts != counts[0]))
        raise PatternError(
            f"crisp: block row {row} keeps {counts[row]} blocks, block row 0 keeps {counts[0]}: must be equal"
        )
    return np.nonzero(occupied)[1].reshape(len(counts), counts[0]).astype(np.int32)


def _check_kept(occupied: NDArray[np.bool_], block_cols: NDArray[np.int32]) -> None:
    lost = occupied.copy()
    np.put_along_axis(lost, block_cols.astype(np.int64), False, axis=1)
    if lost.any():
        row, column = (int(place[0]) for place in np.nonzero(lost))
        raise PatternError(f"crisp: block row {row}, block column {column} is occupied: must be in block_cols")
