"""An operand as a dual-side machine stores it: nonzeros only, under bitmaps and slice maps (M19, M21).

Made from the values alone; nothing here knows a plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...formats.bits import pack_codes

_WORD_BYTES = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Condensed:
    """One operand, tile by tile, in a tile slice by slice along K, in a slice position by position.

    Lines are rows of the weights or columns of the activations.

    Attributes
    ----------
    lines : int
        Real lines: S or P.
    words : uint64, (tiles, K)
        Bitmaps: bit b stands for line b of the tile at that position.
    values : int8, (nonzeros,)
        At each position in the order of its bits.
    starts : int64, (tiles * slices + 1,)
        The values of slice s of tile t are starts[t * slices + s] up to the start that follows.
    slice_maps : uint8, (tiles, ceil(slices / 8))
        Of each tile a bit a slice, least significant first: whether it has a nonzero.
    """

    lines: int
    words: NDArray[np.uint64]
    values: NDArray[np.int8]
    starts: NDArray[np.int64]
    slice_maps: NDArray[np.uint8]


def condense(matrix: NDArray[np.int8], tile_lines: int, slice_positions: int) -> Condensed:
    """Condense an operand.

    Parameters
    ----------
    matrix : ndarray, int8, shape (lines, K)
        The weights, or the activations transposed.
    tile_lines : int
        Lines of a full tile, 1 to 64.
    slice_positions : int
        Positions of a full slice, at least 1.

    >>> stored = condense(np.array([[5, 0, 0], [7, 0, -1], [0, 0, 2]], np.int8), 2, 2)
    >>> stored.words.tolist(), stored.values.tolist(), stored.starts.tolist(), stored.slice_maps.tolist()
    ([[3, 0, 2], [0, 0, 1]], [5, 7, -1, 2], [0, 2, 3, 3, 4], [[3], [2]])
    """
    lines, k = matrix.shape
    tiles = -(-lines // tile_lines)
    padded = np.zeros((tiles * tile_lines, k), np.int8)
    padded[:lines] = matrix
    by_position = np.ascontiguousarray(padded.reshape(tiles, tile_lines, k).transpose(0, 2, 1))
    nonzero = by_position != 0
    octets = np.packbits(nonzero, axis=2, bitorder="little")
    whole = np.zeros((tiles, k, _WORD_BYTES), np.uint8)
    whole[:, :, : octets.shape[2]] = octets
    counts = np.count_nonzero(nonzero, axis=2)
    of_slices = np.add.reduceat(counts, np.arange(0, k, slice_positions), axis=1, dtype=np.int64)
    return Condensed(
        lines=lines,
        words=whole.view("<u8")[:, :, 0].astype(np.uint64),
        values=by_position[nonzero],
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(of_slices)]),
        slice_maps=pack_codes((of_slices > 0).astype(np.uint8), 1),
    )
