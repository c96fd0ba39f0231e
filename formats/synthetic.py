"""Synthetic weights: patterns, or no pattern, drawn uniformly from a seed, with exact counts.

S rows, K columns, N:M and B as in the pattern module. Positions are chosen by selection sampling (Knuth,
TAOCP vol. 2, 3.4.2, algorithm S), which meets them in ascending order; the random word of a position
depends only on seed, layer, group and the position, so that masks are the same on every machine.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .bits import packed_bytes, write_code
from .crisp import CrispMatrix
from .dense import check_shape, tiles_along
from .errors import FormatError, PatternError
from .jit import kernel
from .nm import NMMatrix
from .pattern import Pattern, blocks_to_keep
from .rng import high_below, low_below, random_word, stream_key

MAX_VALUE_BYTES = 2**33  # of int8 values; indices and block columns come on top

_BLOCKS, _WEIGHTS, _UNSTRUCTURED = 0, 1, 3  # the streams of a layer

_2_53 = 1.0 / (1 << 53)
_SHIFT_11 = np.uint64(11)


def draw_weights(
    shape: tuple[int, int],
    pattern: Pattern,
    sparsity: float | None,
    seed: int,
    layer: int = 0,
    group: int = 0,
    k_order: str = "hwc",
) -> CrispMatrix | NMMatrix:
    """Draw int8 weights that obey a pattern exactly.

    Parameters
    ----------
    shape : (int, int)
        S and K.
    pattern : Pattern
        With a block, or with M > 1.
    sparsity : float or None
        Weight sparsity asked of a pattern with blocks; every block row draws `blocks_to_keep` of its
        blocks. None keeps them all. Without blocks only 1 - N/M is possible.
    seed, layer, group : int
        Name the draw; each from 0 to 2^64 - 1. `group` is the convolution group.
    k_order : str
        Recorded.

    Returns
    -------
    CrispMatrix or NMMatrix
        With or without blocks. Every group keeps N of its M positions, uniformly; a ragged last group
        min(N, real) of its real ones. Every value kept is uniform over the 255 nonzero int8.

    Raises
    ------
    PatternError
        The pattern is dense, or the sparsity is impossible with it.
    FormatError
        The shape, the order or a number of the draw is out of range, or the values kept would take more
        than `MAX_VALUE_BYTES`; nothing is allocated before that is known.
    """
    check_shape("synthetic", shape)
    shape = (int(shape[0]), int(shape[1]))  # numpy's integers would wrap around where a size is far too large
    key = stream_key(seed, layer, group, _WEIGHTS)
    if pattern.block is not None:
        block_columns = tiles_along(shape[1], pattern.block)
        kept = block_columns if sparsity is None else blocks_to_keep(sparsity, pattern, block_columns)
        block_rows, lanes = tiles_along(shape[0], pattern.block), pattern.block * pattern.n // pattern.m
        _check_size(shape, block_rows, kept, pattern.block, lanes)
        block_cols = np.empty((block_rows, kept), np.int32)
        _draw_block_cols(stream_key(seed, layer, group, _BLOCKS), block_columns, block_cols)
        values, nm_index = _draw_blocks(key, shape, pattern, block_cols, pattern.block, pattern.block)
        return CrispMatrix(
            n=pattern.n,
            m=pattern.m,
            block=pattern.block,
            shape=shape,
            k_order=k_order,
            block_cols=block_cols,
            values=values,
            nm_index=nm_index,
        )
    if pattern.m == 1:
        raise PatternError("pattern dense: nothing to draw; give N:M with N < M, or a block")
    if sparsity is not None and Fraction(str(sparsity)) != 1 - pattern.density:
        least = float(1 - pattern.density)
        raise PatternError(f"sparsity {sparsity}: {pattern.nm} without blocks has exactly {least:g}")
    width = tiles_along(shape[1], pattern.m) * pattern.m
    _check_size(shape, shape[0], width * pattern.n // pattern.m)
    values, nm_index = _draw_blocks(key, shape, pattern, np.zeros((shape[0], 1), np.int32), 1, width)
    return NMMatrix(
        n=pattern.n,
        m=pattern.m,
        shape=shape,
        k_order=k_order,
        values=values.reshape(shape[0], -1),
        nm_index=nm_index.reshape(shape[0], -1),
    )


def draw_unstructured(
    shape: tuple[int, int], nonzeros: int, seed: int, layer: int = 0, group: int = 0
) -> NDArray[np.int8]:
    """Draw a matrix with so many nonzeros anywhere.

    Parameters
    ----------
    shape : (int, int)
        S and K.
    nonzeros : int
        From 0 to S * K.
    seed, layer, group : int
        As for `draw_weights`.

    Returns
    -------
    ndarray, int8, (S, K)
        Every value kept is uniform over the 255 nonzero int8.

    Raises
    ------
    FormatError
        A number is out of range, or the matrix would take more than `MAX_VALUE_BYTES`.
    """
    check_shape("synthetic", shape)
    S, K = int(shape[0]), int(shape[1])
    if not 0 <= nonzeros <= S * K:
        raise FormatError(f"synthetic: {nonzeros} nonzeros: must be from 0 to S x K = {S * K}")
    _check_size((S, K), S, K)
    values = np.zeros((S, K), np.int8)
    _draw_anywhere(stream_key(seed, layer, group, _UNSTRUCTURED), nonzeros, values.reshape(-1))
    return values


def _check_size(shape: tuple[int, int], *value_shape: int) -> None:
    """Raise FormatError if int8 values of this shape take more than MAX_VALUE_BYTES."""
    count = math.prod(value_shape)
    if count > MAX_VALUE_BYTES:
        S, K = shape
        raise FormatError(f"synthetic: S {S}, K {K}: {count} bytes of kept values: must be at most {MAX_VALUE_BYTES}")


def _draw_blocks(
    key: np.uint64,
    shape: tuple[int, int],
    pattern: Pattern,
    block_cols: NDArray[np.int32],
    height: int,
    width: int,
) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    """Values and indices of the kept blocks, laid out as in the module nm_blocks."""
    lanes = width * pattern.n // pattern.m
    values = np.zeros((*block_cols.shape, height, lanes), np.int8)
    nm_index = np.zeros((*block_cols.shape, packed_bytes(height * lanes, pattern.index_bits)), np.uint8)
    _draw_groups(key, shape[0], shape[1], block_cols, pattern.n, pattern.m, pattern.index_bits, values, nm_index)
    return values, nm_index


@kernel
def _draw_block_cols(key, columns, block_cols):
    """Draw the kept ones of `columns` block columns for each row of block_cols (int32, **modified**)."""
    kept = block_cols.shape[1]
    for r in range(block_cols.shape[0]):
        chosen = 0
        for column in range(columns):
            word = random_word(key, np.uint64(r * columns + column))
            if high_below(word, columns - column) < kept - chosen:
                block_cols[r, chosen] = column
                chosen += 1


@kernel
def _draw_groups(key, rows, columns, block_cols, n, m, index_bits, values, nm_index):
    """Draw positions and values of every group; values (int8) and nm_index, zeroed, are **modified**.

    A position's word: its high half decides whether it is kept, its low half its value. The counter is the
    position's number in the real matrix [rows, columns].
    """
    height, lanes = values.shape[2], values.shape[3]
    width = lanes // n * m
    for r in range(block_cols.shape[0]):
        for e in range(block_cols.shape[1]):
            stream = nm_index[r, e]
            for i in range(height):
                row = r * height + i
                for g in range(lanes // n):
                    start = block_cols[r, e] * width + g * m
                    real = min(m, max(0, columns - start)) if row < rows else 0
                    wanted = min(n, real)
                    chosen = 0
                    position = 0
                    while chosen < wanted:
                        word = random_word(key, np.uint64(row * columns + start + position))
                        if high_below(word, real - position) < wanted - chosen:
                            lane = g * n + chosen
                            values[r, e, i, lane] = nonzero_int8(word)
                            write_code(stream, i * lanes + lane, index_bits, position)
                            chosen += 1
                        position += 1
                    for spare in range(wanted, n):
                        write_code(stream, i * lanes + g * n + spare, index_bits, spare)


@kernel
def nonzero_int8(word):
    """-128 to -1 or 1 to 127, from the low half of a random word."""
    value = low_below(word, 255) - 128
    return value if value < 0 else value + 1


@kernel
def _draw_anywhere(key, nonzeros, values):
    """Draw `nonzeros` values anywhere in values (int8, flat, zeroed, **modified**).

    A position's word: its high 53 bits decide whether it is kept. Its value is from the word after all positions'.
    """
    left, wanted, count = len(values), nonzeros, len(values)
    for position in range(count):
        uniform = np.float64(random_word(key, np.uint64(position)) >> _SHIFT_11) * _2_53
        if uniform * left < wanted:
            values[position] = nonzero_int8(random_word(key, np.uint64(count + position)))
            wanted -= 1
        left -= 1
