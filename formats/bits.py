"""Small integers as a stream of bits, little-endian: code i stands in bits i*width to (i+1)*width - 1.

Bit b of a stream is bit b % 8, counted from the least significant, of byte b // 8. A stream ends at a
whole byte; the bits left over are zero. Width 0 writes nothing and reads zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .jit import kernel

MAX_WIDTH = 8


def index_width(count: int) -> int:
    """Bits that name one of `count` things: ceil(log2 count), 0 for a single one (and for none).

    >>> [index_width(count) for count in (1, 2, 72, 4608)]
    [0, 1, 7, 13]
    """
    return max(count - 1, 0).bit_length()


def packed_bytes(count: int, width: int) -> int:
    """Bytes of a stream of `count` codes of `width` bits: ceil(count * width / 8)."""
    return -(-count * width // 8)


def pack_codes(codes: NDArray[Any], width: int) -> NDArray[np.uint8]:
    """Write each row of codes as a stream of its own.

    Parameters
    ----------
    codes : ndarray, integer, shape (streams, count)
        Each 0 <= code < 2**width.
    width : int
        Bits of a code, 0 to 8.

    Returns
    -------
    ndarray, uint8, shape (streams, ceil(count * width / 8))

    Raises
    ------
    FormatError
        The width is not 0 to 8, or a code does not fit in it.

    >>> pack_codes(np.array([[0, 3, 1, 2]]), 2).tolist()
    [[156]]
    """
    _check_width(width)
    if codes.size and not 0 <= codes.min() <= codes.max() < 1 << width:
        raise FormatError(f"bits: codes {codes.min()} to {codes.max()} do not all fit in {width} bits")
    streams = np.zeros((codes.shape[0], packed_bytes(codes.shape[1], width)), np.uint8)
    _pack(np.ascontiguousarray(codes, np.uint8), width, streams)
    return streams


def unpack_codes(streams: NDArray[np.uint8], count: int, width: int) -> NDArray[np.uint8]:
    """Read the first `count` codes of each stream; undoes `pack_codes`.

    Parameters
    ----------
    streams : ndarray, uint8, shape (streams, bytes)
    count : int
        Codes to read from each.
    width : int
        Bits of a code, 0 to 8.

    Returns
    -------
    ndarray, uint8, shape (streams, count)

    Raises
    ------
    FormatError
        The width is not 0 to 8, or a stream is shorter than its codes.
    """
    _check_width(width)
    if streams.shape[1] < packed_bytes(count, width):
        raise FormatError(f"bits: {streams.shape[1]} bytes cannot hold {count} codes of {width} bits")
    codes = np.zeros((streams.shape[0], count), np.uint8)
    _unpack(np.ascontiguousarray(streams), width, codes)
    return codes


def _check_width(width: int) -> None:
    if not 0 <= width <= MAX_WIDTH:
        raise FormatError(f"bits: width {width}: must be 0 to {MAX_WIDTH}")


@kernel
def write_code(stream, position, width, code):
    """Put code number `position` into a stream (uint8, 1-D, zeroed there, **modified**)."""
    bit = position * width
    byte, shift = bit >> 3, bit & 7
    if width > 0:
        stream[byte] |= np.uint8((code << shift) & 255)
    if shift + width > 8:
        stream[byte + 1] |= np.uint8(code >> (8 - shift))


@kernel
def read_code(stream, position, width):
    """Code number `position` of a stream (uint8, 1-D), as an int64."""
    if width == 0:
        return 0
    bit = position * width
    byte, shift = bit >> 3, bit & 7
    code = int(stream[byte]) >> shift
    if shift + width > 8:
        code |= int(stream[byte + 1]) << (8 - shift)
    return code & ((1 << width) - 1)


@kernel
def _pack(codes, width, streams):
    """Pack codes (uint8, [streams, count]) into streams (uint8, zeroed, **modified**)."""
    for s in range(codes.shape[0]):
        for i in range(codes.shape[1]):
            write_code(streams[s], i, width, int(codes[s, i]))


@kernel
def _unpack(streams, width, codes):
    """Unpack streams (uint8) into codes (uint8, [streams, count], **modified**)."""
    for s in range(codes.shape[0]):
        for i in range(codes.shape[1]):
            codes[s, i] = read_code(streams[s], i, width)
