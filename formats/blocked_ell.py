"""Blocked-ELL: dense B x B blocks, every block row padded to as many blocks as the fullest one.

cuSPARSE's layout (`cusparseCreateBlockedEll`), which marks empty slots with -1. S rows, K columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import index_width
from .dense import (
    check_array,
    check_dense,
    check_k_order,
    check_shape,
    from_tiles,
    occupied_tiles,
    tiles_along,
    to_tiles,
)
from .ellpack import check_padded_columns, padded_columns
from .errors import FormatError, PatternError
from .footprint import Footprint


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockedELL:
    """A matrix of dense blocks.

    Parameters
    ----------
    block : int
        B, at least 1.
    shape : (int, int)
        S and K, without padding to whole blocks.
    k_order : str
        Order of the positions along K: "hwc" (channel fastest) or "chw".
    block_cols : ndarray, int32, shape (ceil(S/B), width)
        Block columns, ascending in a row; -1 in empty slots, which stand last.
    values : ndarray, integer or float, shape (ceil(S/B), width, B, B)
        Zero in empty slots and in padding.

    Raises
    ------
    PatternError
        The block is smaller than 1.
    FormatError
        A shape, dtype, order or block column breaks the rules above.
    """

    block: int
    shape: tuple[int, int]
    k_order: str = "hwc"
    block_cols: NDArray[np.int32]
    values: NDArray[Any]

    def __post_init__(self) -> None:
        _check_block(self.block)
        check_shape("blocked-ell", self.shape)
        check_k_order("blocked-ell", self.k_order)
        rows, columns = (tiles_along(size, self.block) for size in self.shape)
        if self.block_cols.ndim != 2:
            raise FormatError(f"blocked-ell: block_cols of shape {self.block_cols.shape}: must be a matrix")
        width = self.block_cols.shape[1]
        check_array("blocked-ell", "block_cols", self.block_cols, np.int32, (rows, width))
        check_array("blocked-ell", "values", self.values, None, (rows, width, self.block, self.block))
        check_padded_columns("blocked-ell", self.block_cols, columns)

    @classmethod
    def encode(cls, dense: NDArray[Any], *, block: int, k_order: str = "hwc") -> BlockedELL:
        """Keep the blocks of a matrix [S, K] that hold a nonzero.

        Raises
        ------
        PatternError
            The block is smaller than 1.
        FormatError
            `dense` is no matrix of integers or floats.

        >>> BlockedELL.encode(np.diag([1, 2, 3, 4]), block=2).block_cols.tolist()
        [[0], [1]]
        """
        _check_block(block)
        dense = check_dense("blocked-ell", dense)
        block_cols = padded_columns(occupied_tiles(dense != 0, block, block))
        tiles = to_tiles(dense, block, block)
        values = tiles[np.arange(len(tiles))[:, None], np.maximum(block_cols, 0)]
        values[block_cols < 0] = 0
        shape = (dense.shape[0], dense.shape[1])
        return cls(block=block, shape=shape, block_cols=block_cols, values=values, k_order=k_order)

    def decode(self) -> NDArray[Any]:
        """The dense matrix [S, K]."""
        rows, columns = (tiles_along(size, self.block) for size in self.shape)
        tiles = np.zeros((rows, columns, self.block, self.block), self.values.dtype)
        block_rows, slots = np.nonzero(self.block_cols >= 0)
        tiles[block_rows, self.block_cols[block_rows, slots]] = self.values[block_rows, slots]
        return from_tiles(tiles, self.shape)

    def footprint(self) -> Footprint:
        """Bits of every slot's values and block column, ceil(log2 ceil(K/B)) each, empty slots included.

        An empty slot is written as block column 0 with zero values: a reader that adds each block in its
        place needs no code for "empty".
        """
        column_bits = index_width(tiles_along(self.shape[1], self.block))
        return Footprint(value_bits=8 * self.values.nbytes, index_bits=self.block_cols.size * column_bits)


def _check_block(block: int) -> None:
    if block < 1:
        raise PatternError(f"blocked-ell: block {block}: must be at least 1")
