"""Two-level bitmap: which tiles are occupied, then which elements of an occupied tile are nonzero.

Taken from DSTC (Wang et al., "Dual-side Sparse Tensor Core", ISCA 2021): the two levels (one bit per
warp tile, one bit per element of an occupied tile), values condensed in the order of their bits, the
weight operand running column by column inside a tile, as an outer product consumes it, and the 32 x 16
tile (the left operand of its 32 x 32 x 16 warp step). Chosen here: tiles follow each other row by row of
tiles, bits are little-endian within bytes, tiles at the edge are padded to whole ones, and no pointers are
stored (a reader counts bits to find a tile's values).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import packed_bytes
from .dense import check_array, check_dense, check_shape, from_tiles, occupied_tiles, tiles_along, to_tiles
from .errors import FormatError
from .footprint import Footprint


@dataclass(frozen=True, kw_only=True, eq=False)
class Bitmap:
    """A matrix of nonzeros, tile after tile, under two levels of bits.

    Parameters
    ----------
    shape : (int, int)
        S and K, without padding to whole tiles.
    tile_rows, tile_cols : int
        Sides of a tile, at least 1.
    tile_bits : ndarray, uint8, shape (ceil(tiles / 8),)
        A bit per tile, row by row of tiles, little-endian.
    element_bits : ndarray, uint8, shape (ceil(occupied * tile_rows * tile_cols / 8),)
        A bit per element of each occupied tile, column by column, little-endian.
    values : ndarray, integer or float, shape (nonzeros,)
        In the order of their bits.

    Raises
    ------
    FormatError
        A shape or dtype breaks the rules above, or bits and values differ in number.
    """

    shape: tuple[int, int]
    tile_rows: int
    tile_cols: int
    tile_bits: NDArray[np.uint8]
    element_bits: NDArray[np.uint8]
    values: NDArray[Any]

    def __post_init__(self) -> None:
        check_shape("bitmap", self.shape)
        _check_tile(self.tile_rows, self.tile_cols)
        rows, columns = self._grid()
        check_array("bitmap", "tile_bits", self.tile_bits, np.uint8, (packed_bytes(rows * columns, 1),))
        element_bytes = packed_bytes(self._occupied().sum() * self.tile_rows * self.tile_cols, 1)
        check_array("bitmap", "element_bits", self.element_bits, np.uint8, (element_bytes,))
        check_array("bitmap", "values", self.values, None, (int(self._elements().sum()),))

    @classmethod
    def encode(cls, dense: NDArray[Any], *, tile_rows: int = 32, tile_cols: int = 16) -> Bitmap:
        """Keep the nonzeros of a matrix [S, K].

        Raises
        ------
        FormatError
            A side of the tile is smaller than 1, or `dense` is no matrix of integers or floats.

        >>> packed = Bitmap.encode(np.array([[0, 0, 3, 0], [0, 0, 0, 4]]), tile_rows=2, tile_cols=2)
        >>> packed.tile_bits.tolist(), packed.element_bits.tolist(), packed.values.tolist()
        ([2], [9], [3, 4])
        """
        _check_tile(tile_rows, tile_cols)
        dense = check_dense("bitmap", dense)
        occupied = occupied_tiles(dense != 0, tile_rows, tile_cols)
        tiles = to_tiles(dense, tile_rows, tile_cols)[occupied].swapaxes(1, 2)
        return cls(
            shape=(dense.shape[0], dense.shape[1]),
            tile_rows=tile_rows,
            tile_cols=tile_cols,
            tile_bits=np.packbits(occupied, bitorder="little"),
            element_bits=np.packbits(tiles != 0, bitorder="little"),
            values=tiles[tiles != 0],
        )

    def decode(self) -> NDArray[Any]:
        """The dense matrix [S, K]."""
        occupied = self._occupied()
        stored = np.zeros((int(occupied.sum()), self.tile_cols, self.tile_rows), self.values.dtype)
        stored[self._elements().reshape(stored.shape)] = self.values
        tiles = np.zeros((*occupied.shape, self.tile_rows, self.tile_cols), self.values.dtype)
        tiles[occupied] = stored.swapaxes(1, 2)
        return from_tiles(tiles, self.shape)

    def footprint(self) -> Footprint:
        """Bits of the values, and one index bit per tile and per element of an occupied tile."""
        occupied = self._occupied()
        elements = int(occupied.sum()) * self.tile_rows * self.tile_cols
        return Footprint(value_bits=8 * self.values.nbytes, index_bits=occupied.size + elements)

    def _grid(self) -> tuple[int, int]:
        return tiles_along(self.shape[0], self.tile_rows), tiles_along(self.shape[1], self.tile_cols)

    def _occupied(self) -> NDArray[np.bool_]:
        """Bool [rows of tiles, columns of tiles]."""
        rows, columns = self._grid()
        bits = np.unpackbits(self.tile_bits, count=rows * columns, bitorder="little")
        return bits.astype(np.bool_).reshape(rows, columns)

    def _elements(self) -> NDArray[np.bool_]:
        """Bool [occupied tiles * tile_cols * tile_rows]."""
        count = int(self._occupied().sum()) * self.tile_rows * self.tile_cols
        return np.unpackbits(self.element_bits, count=count, bitorder="little").astype(np.bool_)


def _check_tile(tile_rows: int, tile_cols: int) -> None:
    if min(tile_rows, tile_cols) < 1:
        raise FormatError(f"bitmap: tile of {tile_rows} x {tile_cols}: both sides must be at least 1")
