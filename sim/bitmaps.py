"""Nonzeros of operand tiles, counted on bitmaps: what the dual-side tensor core is lowered from.

A tile is up to 64 rows of the weights, or up to 64 columns of the implicitly lowered activations. At each position of
K its nonzeros are the bits of one word; their number is that word's population count (DSTC, Wang et al., ISCA 2021).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..formats.jit import kernel
from .input_pixels import InputPixels, is_needed
from .layer import Layer

Bits = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.uint8]

WORD = 64  # bits

_MASKS = np.array(
    [0x00000000FFFFFFFF, 0x0000FFFF0000FFFF, 0x00FF00FF00FF00FF, 0x0F0F0F0F0F0F0F0F, 0x3333333333333333,
     0x5555555555555555], np.uint64,
)  # fmt: skip
_ONE, _BYTE = np.uint64(1), np.uint64(127)


def row_tile_counts(nonzero: npt.NDArray[np.bool_], tile_rows: int) -> Counts:
    """Nonzeros of each tile of rows at each position.

    Parameters
    ----------
    nonzero : bool, (S, K)
    tile_rows : int
        At most 64.

    Returns
    -------
    uint8, (ceil(S / tile_rows), K)

    >>> row_tile_counts(np.array([[1, 0], [1, 1], [0, 1]], bool), 2).tolist()
    [[2, 1], [0, 1]]
    """
    counts = np.zeros((-(-nonzero.shape[0] // tile_rows), nonzero.shape[1]), np.uint8)
    _count_rows(nonzero, tile_rows, counts)
    return counts


def full_tile_counts(lines: int, k: int, tile_lines: int) -> Counts:
    """The same of an operand of so many rows (or columns) without a single zero: uint8, (tiles, k)."""
    firsts = np.arange(0, lines, tile_lines)
    sizes = np.minimum(tile_lines, lines - firsts).astype(np.uint8)
    return np.repeat(sizes[:, None], k, axis=1)


def column_tile_counts(layer: Layer, group: int, bits: Bits, tile_columns: int) -> Counts:
    """Nonzeros of each tile of columns of a convolution group's lowered input at each position of K.

    Parameters
    ----------
    layer : Layer
    group : int
    bits : uint64, (pixels, words)
        The input map as `pack_channels` gives it, of one sample (every sample is then the same) or of all.
    tile_columns : int
        At most 64.

    Returns
    -------
    uint8, (ceil(P / tile_columns), K), channel fastest; image padding counts as zero.
    """
    counts = np.zeros((-(-layer.p // tile_columns), layer.k), np.uint8)
    rows = (layer.in_height, layer.stride_h, layer.pad_h, layer.dilation_h, layer.out_height, layer.kernel_h)
    columns = (layer.in_width, layer.stride_w, layer.pad_w, layer.dilation_w, layer.out_width, layer.kernel_w)
    channels = layer.in_channels // layer.groups
    _count_columns(bits, rows, columns, layer.p, group * channels, channels, tile_columns, counts)
    return counts


def nonzeros_before(bits: Bits, pixels: InputPixels, first_channel: int) -> npt.NDArray[np.int64]:
    """Nonzeros of a convolution group's channels in the needed pixels (D2) before each of them, and in all.

    Parameters
    ----------
    bits : uint64, (pixels, words)
        As in `column_tile_counts`.
    pixels : InputPixels
    first_channel : int
        The group's first.

    Returns
    -------
    int64, (pixels.count + 1,)
    """
    before = np.zeros(pixels.count + 1, np.int64)
    _add_pixels(bits, pixels.batch, pixels.rows, pixels.places, first_channel, pixels.channels, before)
    return before


def pack_channels(nonzero: npt.NDArray[np.bool_]) -> Bits:
    """Pack a map (height, width, channels) into words along its channels, least significant bit first.

    Returns
    -------
    uint64, (height * width, ceil(channels / 64))
    """
    height, width, channels = nonzero.shape
    padded = np.zeros((height * width, -(-channels // WORD) * WORD), np.bool_)
    padded[:, :channels] = nonzero.reshape(height * width, channels)
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)


@kernel
def _count_rows(nonzero, tile_rows, counts):
    """Count for `row_tile_counts`; modifies counts. One word a position collects the bits of a tile's rows."""
    s, k = nonzero.shape
    words = np.zeros(k, np.uint64)
    for tile in range(counts.shape[0]):
        words[:] = 0
        first = tile * tile_rows
        for row in range(first, min(s, first + tile_rows)):
            bit = np.uint64(row - first)
            for position in range(k):
                words[position] |= np.uint64(nonzero[row, position]) << bit
        for position in range(k):
            counts[tile, position] = _population(words[position])


@kernel
def _count_columns(bits, rows, columns, p, first_channel, channels, tile_columns, counts):
    """Count for `column_tile_counts`; modifies counts.

    rows, columns : (input size, stride, pad, dilation, outputs, filter size) of each axis.
    """
    height, stride_h, pad_h, dilation_h, out_height, kernel_h = rows
    width, stride_w, pad_w, dilation_w, out_width, kernel_w = columns
    words = np.zeros(WORD, np.uint64)
    pixels = np.zeros(WORD, np.int64)
    of_map = len(bits)
    for tile in range(counts.shape[0]):
        first = tile * tile_columns
        size = min(p - first, tile_columns)
        for a in range(kernel_h):
            for b in range(kernel_w):
                for column in range(size):
                    sample, at = divmod(first + column, out_height * out_width)
                    h = at // out_width * stride_h + a * dilation_h - pad_h
                    w = at % out_width * stride_w + b * dilation_w - pad_w
                    inside = 0 <= h < height and 0 <= w < width
                    pixels[column] = ((sample * height + h) * width + w) % of_map if inside else -1
                tap = (a * kernel_w + b) * channels
                for start in range(0, channels, WORD):
                    real = min(WORD, channels - start)
                    words[:] = 0
                    for column in range(size):
                        if pixels[column] >= 0:
                            words[column] = _channels_from(bits[pixels[column]], first_channel + start)
                    if real * 8 < WORD:  # few channels: bit by bit is shorter than the transposition
                        for channel in range(real):
                            bit = np.uint64(channel)
                            for column in range(size):
                                counts[tile, tap + start + channel] += np.uint8((words[column] >> bit) & _ONE)
                    else:
                        _transpose(words)
                        for channel in range(real):
                            counts[tile, tap + start + channel] = _population(words[channel])


@kernel
def _add_pixels(bits, batch, rows, places, first_channel, channels, before):
    """Count and add up for `nonzeros_before`; modifies before.

    rows, places : Axis, of the input's rows and columns.
    """
    last = np.uint64(2**64 - 1) >> np.uint64(-channels % WORD)  # the channels of a pixel's last word
    of_map = len(bits)
    count, total = 0, 0
    for sample in range(batch):
        for row in range(rows.first, rows.stop, rows.step):
            if is_needed(row, rows):
                for place in range(places.first, places.stop, places.step):
                    if is_needed(place, places):
                        pixel = bits[((sample * rows.size + row) * places.size + place) % of_map]
                        for start in range(0, channels, WORD):
                            word = _channels_from(pixel, first_channel + start)
                            total += np.int64(_population(word & last if start + WORD >= channels else word))
                        count += 1
                        before[count] = total


@kernel
def _channels_from(words, first):
    """64 bits of a pixel's words (uint64) from channel `first` on; beyond the last word there are none."""
    word, shift = first // WORD, first % WORD
    low = words[word] >> np.uint64(shift)
    if shift == 0 or word + 1 >= len(words):
        return low
    return low | (words[word + 1] << np.uint64(WORD - shift))


@kernel
def _transpose(words):
    """Transpose the 64 x 64 bit matrix of 64 words in place (Warren, Hacker's Delight, section 7-3).

    Bit c of word r goes to bit r of word c.
    """
    width = WORD // 2
    for level in range(6):
        mask, shift = _MASKS[level], np.uint64(width)
        row = 0
        while row < WORD:
            swap = ((words[row] >> shift) ^ words[row + width]) & mask
            words[row] ^= swap << shift
            words[row + width] ^= swap
            row = (row + width + 1) & ~width
        width //= 2


@kernel
def _population(word):
    """Bits set in a word (uint64), by adding neighbouring fields (Hacker's Delight, section 5-1), as uint8."""
    word = word - ((word >> _ONE) & _MASKS[5])
    word = (word & _MASKS[4]) + ((word >> np.uint64(2)) & _MASKS[4])
    word = (word + (word >> np.uint64(4))) & _MASKS[3]
    word = word + (word >> np.uint64(8))
    word = word + (word >> np.uint64(16))
    word = word + (word >> np.uint64(32))
    return np.uint8(word & _BYTE)
