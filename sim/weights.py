"""One convolution group's weights, as an architecture sees them: pattern, kept blocks, and where the nonzeros are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..formats import CrispMatrix, NMMatrix
from ..formats.pattern import Pattern
from .bitmaps import Counts, full_tile_counts, row_tile_counts

Matrix = CrispMatrix | NMMatrix | npt.NDArray[np.generic]


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """The weights of one group.

    Parameters
    ----------
    shape : (int, int)
        S and K.
    matrix : CrispMatrix, NMMatrix, ndarray (S, K), or None
        None stands for a dense matrix without a single zero.
    """

    shape: tuple[int, int]
    matrix: Matrix | None = field(default=None, repr=False)

    @property
    def pattern(self) -> Pattern:
        """The pattern the weights are packed in; dense for an array or None."""
        return self.matrix.pattern if isinstance(self.matrix, CrispMatrix | NMMatrix) else Pattern()

    @property
    def mask(self) -> str:
        """The `mask` column: hybrid, nm, block, unstructured or dense."""
        if isinstance(self.matrix, np.ndarray) and self.nonzeros < self.matrix.size:
            return "unstructured"
        return self.pattern.kind

    @property
    def block_cols(self) -> npt.NDArray[np.int32]:
        """Kept block columns of each block row, (rows of blocks, E); the pattern must have blocks."""
        if not isinstance(self.matrix, CrispMatrix):
            raise TypeError(f"weights of pattern {self.pattern} have no blocks")
        return self.matrix.block_cols

    def kept_channels(self, channels: int) -> int:
        """Channels of the input that weights meet (D2): c, if some kept block has a position k with k mod channels = c.

        Weights without blocks meet them all.
        """
        block = self.pattern.block
        if block is None:
            return channels
        firsts = np.unique(self.block_cols).astype(np.int64) * block
        sizes = np.minimum(firsts + block, self.shape[1]) - firsts
        if np.any(sizes >= channels):
            return channels
        starts = firsts % channels
        edges = np.zeros(2 * channels + 1, np.int64)  # channels one after another, twice: a block may run over the end
        np.add.at(edges, starts, 1)
        np.add.at(edges, starts + sizes, -1)
        within = np.cumsum(edges[:-1]) > 0
        return int(np.count_nonzero(within[:channels] | within[channels:]))

    def tile_counts(self, tile_rows: int) -> Counts:
        """Nonzeros of each tile of rows at each position of K: uint8, (ceil(S / tile_rows), K)."""
        s, k = self.shape
        if self.matrix is None:
            return full_tile_counts(s, k, tile_rows)
        dense = self.matrix if isinstance(self.matrix, np.ndarray) else self.matrix.decode()
        return row_tile_counts(dense != 0, tile_rows)

    @cached_property
    def column_nonzeros(self) -> npt.NDArray[np.int64]:
        """Nonzero weights at each position of K, (K,), channel fastest."""
        s, k = self.shape
        if self.matrix is None:
            return np.full(k, s, np.int64)
        if isinstance(self.matrix, np.ndarray):
            return np.count_nonzero(self.matrix, axis=0).astype(np.int64)
        return self.matrix.nonzeros_per_column()

    @property
    def nonzeros(self) -> int:
        """Nonzero weights."""
        return int(self.column_nonzeros.sum())

    def max_nonzeros_per_group(self, m: int) -> int:
        """Largest number of nonzeros in an aligned group of m consecutive positions of a row."""
        s, k = self.shape
        if self.matrix is None:
            return min(m, k)
        if isinstance(self.matrix, np.ndarray):
            padded = np.pad(self.matrix != 0, ((0, 0), (0, -k % m)))
            return int(padded.reshape(s, -1, m).sum(axis=2).max())
        return self.matrix.max_nonzeros_per_group(m)
