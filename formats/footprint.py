"""What a sparse matrix costs in bits, and the paper's metadata arithmetic.

A matrix is written as three streams of bits: values, indices (where values stand: columns, block columns,
N:M positions, bitmaps) and pointers (where rows begin). Each stream ends at a whole byte.

The arithmetic counts metadata for a layer of S x K weights with E blocks of B x B kept in each of
ceil(S/B) block rows, K' = E*B (paper, section III-A; figure 4, right).
"""

from __future__ import annotations

from dataclasses import dataclass

from .bits import index_width, packed_bytes
from .errors import PatternError
from .pattern import Pattern


@dataclass(frozen=True)
class Footprint:
    """Bits of one matrix, stream by stream.

    Parameters
    ----------
    value_bits, index_bits, pointer_bits : int
        Bits written to each stream, before its last byte is filled up.
    """

    value_bits: int
    index_bits: int
    pointer_bits: int = 0

    @property
    def metadata_bits(self) -> int:
        """Indices and pointers."""
        return self.index_bits + self.pointer_bits

    @property
    def total_bits(self) -> int:
        """Values and metadata."""
        return self.value_bits + self.metadata_bits

    @property
    def total_bytes(self) -> int:
        """Bytes written: each of the three streams rounded up to bytes."""
        return sum(packed_bytes(bits, 1) for bits in (self.value_bits, self.index_bits, self.pointer_bits))


@dataclass(frozen=True)
class CrispMetadata:
    """Metadata of a CRISP matrix.

    Parameters
    ----------
    nm_bits : int
        N:M positions of the stored values.
    block_bits : int
        Columns of the kept blocks.
    """

    nm_bits: int
    block_bits: int

    @property
    def total_bits(self) -> int:
        """Both together."""
        return self.nm_bits + self.block_bits


def crisp_metadata(shape: tuple[int, int], pattern: Pattern, kept_blocks: int) -> CrispMetadata:
    """Metadata that suffices: ceil(log2 M) bits per stored value, ceil(log2 ceil(K/B)) per kept block.

    Parameters
    ----------
    shape : (int, int)
        S and K.
    pattern : Pattern
        With a block.
    kept_blocks : int
        E, 1 <= E <= ceil(K/B).

    Raises
    ------
    PatternError
        The pattern has no block, or E is out of range.
    """
    blocks, stored, block_columns = _kept(shape, pattern, kept_blocks)
    return CrispMetadata(stored * pattern.index_bits, blocks * index_width(block_columns))


def paper_crisp_metadata(shape: tuple[int, int], pattern: Pattern, kept_blocks: int) -> CrispMetadata:
    """Metadata as the paper counts it: S*K'*(N/M)*floor(log2 M) and S*K'*floor(log2(K'/B))/B^2 bits.

    Parameters and errors as for `crisp_metadata`; S counts up to whole blocks.

    Notes
    -----
    Source: paper, section III-A. It falls short of what is needed: floor(log2 E) bits cannot name one
    of K/B block columns (a single kept block would take none).
    """
    blocks, stored, _ = _kept(shape, pattern, kept_blocks)
    return CrispMetadata(stored * _floor_log2(pattern.m), blocks * _floor_log2(kept_blocks))


def csr_metadata_bits(rows: int, nonzeros: int, column_bits: int) -> int:
    """Columns of `column_bits` each and rows + 1 pointers of ceil(log2(nonzeros + 1)) bits."""
    return nonzeros * column_bits + (rows + 1) * index_width(nonzeros + 1)


def ellpack_metadata_bits(rows: int, width: int, column_bits: int) -> int:
    """Columns of `column_bits` each for `width` slots, empty ones included, in every row."""
    return rows * width * column_bits


def _kept(shape: tuple[int, int], pattern: Pattern, kept_blocks: int) -> tuple[int, int, int]:
    """Kept blocks, stored values, and block columns."""
    if pattern.block is None:
        raise PatternError(f"pattern {pattern}: CRISP metadata needs a block")
    block_rows, block_columns = (-(-size // pattern.block) for size in shape)
    if not 1 <= kept_blocks <= block_columns:
        raise PatternError(f"kept blocks {kept_blocks}: must be 1 to {block_columns}, the block columns")
    blocks = block_rows * kept_blocks
    return blocks, blocks * pattern.block * pattern.block * pattern.n // pattern.m, block_columns


def _floor_log2(count: int) -> int:
    return count.bit_length() - 1
