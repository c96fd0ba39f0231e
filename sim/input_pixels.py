"""The pixels of a convolution group's input: which of them are read at all, and how far into them each turn reaches.

Rule D2 of docs/microarchitecture.md. A pixel is needed if some column reads it. A column reads its filter's rows in its
filter's columns, so the needed pixels are, in every sample, the needed rows crossed with the needed columns, and the
number of a pixel follows from its row and its column.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..formats.jit import kernel
from .layer import Layer

Numbers = npt.NDArray[np.int64]

_NONE = np.zeros(0, np.int64)


class Axis(NamedTuple):
    """The rows of an input, or its columns, and which of them outputs read.

    Attributes
    ----------
    size, kernel, stride, pad, dilation, outputs : int
        Tap a of output o reads o * stride + a * dilation - pad, where that lies in the input.
    needed : int
        How many of them some output reads.
    first, stop, step : int
        The range they are in: all of it, if there are no `ranks`.
    ranks : int64, (size + 1,), or empty
        Needed ones before each, and in all.
    """

    size: int
    kernel: int
    stride: int
    pad: int
    dilation: int
    outputs: int
    needed: int
    first: int
    stop: int
    step: int
    ranks: Numbers

    @classmethod
    def of(cls, size: int, kernel: int, stride: int, pad: int, dilation: int, outputs: int) -> Axis:
        """Find the needed rows (columns): without a table where they are evenly spaced, as they nearly always are."""
        given = (size, kernel, stride, pad, dilation, outputs)
        stop = max(0, min(size, (outputs - 1) * stride + (kernel - 1) * dilation - pad + 1))
        if kernel == 1:
            first = -pad % stride
            return cls(*given, max(0, -(-(stop - first) // stride)), first, stop, stride, _NONE)
        if (dilation == 1 and stride <= kernel) or (stride == 1 and dilation <= outputs):
            return cls(*given, stop, 0, stop, 1, _NONE)
        ranks = np.zeros(size + 1, np.int64)
        np.cumsum(_read(*given), out=ranks[1:])
        return cls(*given, int(ranks[size]), 0, size, 1, ranks)


@dataclass(frozen=True, kw_only=True)
class InputPixels:
    """The shape of one convolution group's input and of the columns that read it.

    Columns are ordered by sample, output row and output column; pixels by sample, row and column.

    Attributes
    ----------
    batch : int
    in_height, in_width : int
        Without padding.
    kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w : int
    out_height, out_width : int
    channels : int
        Of the group.
    """

    batch: int
    in_height: int
    in_width: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    out_height: int
    out_width: int
    channels: int

    @classmethod
    def of_layer(cls, layer: Layer) -> InputPixels:
        """The input of each of a layer's groups."""
        return cls(
            batch=layer.batch,
            in_height=layer.in_height,
            in_width=layer.in_width,
            kernel_h=layer.kernel_h,
            kernel_w=layer.kernel_w,
            stride_h=layer.stride_h,
            stride_w=layer.stride_w,
            pad_h=layer.pad_h,
            pad_w=layer.pad_w,
            dilation_h=layer.dilation_h,
            dilation_w=layer.dilation_w,
            out_height=layer.out_height,
            out_width=layer.out_width,
            channels=layer.in_channels // layer.groups,
        )

    @classmethod
    def of_columns(cls, k: int, columns: int) -> InputPixels:
        """The input of a matrix product: a pixel with k channels for each column."""
        ones = dict.fromkeys(("batch", "kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
        return cls(**ones, in_height=columns, in_width=1, pad_h=0, pad_w=0, out_height=columns, out_width=1, channels=k)

    @property
    def columns(self) -> int:
        """Columns of the product, P."""
        return self.batch * self.out_height * self.out_width

    @property
    def positions(self) -> int:
        """Positions of the product, K."""
        return self.kernel_h * self.kernel_w * self.channels

    @cached_property
    def rows(self) -> Axis:
        """The needed rows of a sample."""
        return Axis.of(self.in_height, self.kernel_h, self.stride_h, self.pad_h, self.dilation_h, self.out_height)

    @cached_property
    def places(self) -> Axis:
        """The needed columns of a sample."""
        return Axis.of(self.in_width, self.kernel_w, self.stride_w, self.pad_w, self.dilation_w, self.out_width)

    @property
    def count(self) -> int:
        """Needed pixels, over the batch."""
        return self.batch * self.rows.needed * self.places.needed

    def reaches(self, starts: Numbers) -> tuple[Numbers, Numbers]:
        """From and to which pixel turns reach (D2).

        Parameters
        ----------
        starts : int64, (turns + 1,)
            First column of each turn, ascending from 0, and P.

        Returns
        -------
        lo : int64, (turns,)
            First pixel that a column of this turn or of a later one reads; `count` if they read padding only.
        hi : int64, (turns,)
            Last pixel that a column of this turn or of an earlier one reads; -1 if they read padding only.
        """
        turns = len(starts) - 1
        lo, hi = np.full(turns, self.count, np.int64), np.full(turns, -1, np.int64)
        _reach(np.asarray(starts, np.int64), self.rows, self.places, lo, hi)
        return np.minimum.accumulate(lo[::-1])[::-1].copy(), np.maximum.accumulate(hi)


def _read(size: int, kernel: int, stride: int, pad: int, dilation: int, outputs: int) -> npt.NDArray[np.bool_]:
    """Whether some output reads each row (column): bool, (size,)."""
    there = np.zeros(size, np.bool_)
    for tap in range(kernel):
        offset = tap * dilation - pad
        first = offset if offset >= 0 else offset % stride
        there[first : max(0, (outputs - 1) * stride + offset + 1) : stride] = True
    return there


@kernel
def is_needed(place, axis):
    """Whether an output reads a row (column) in the range of an Axis."""
    return len(axis.ranks) == 0 or axis.ranks[place] < axis.ranks[place + 1]


@kernel
def _bounds(output, axis):
    """First and last of the needed rows (columns) that an output reads, counted among them; (0, -1) if it reads none.

    axis : Axis
    """
    origin = output * axis.stride - axis.pad
    low = max(0, -(origin // axis.dilation))  # the first tap at 0 or beyond
    high = min(axis.kernel - 1, (axis.size - 1 - origin) // axis.dilation)
    if low > high:
        return 0, -1
    first, last = origin + low * axis.dilation, origin + high * axis.dilation
    if len(axis.ranks) > 0:
        return axis.ranks[first], axis.ranks[last]
    return first // axis.step, last // axis.step


@kernel
def _reach(starts, rows, places, lo, hi):
    """Find the first and the last pixel that each turn's own columns read; modifies lo and hi.

    starts : int64 (turns + 1,). rows, places : Axis. lo, hi : int64 (turns,).
    """
    sample, output, at = 0, 0, 0  # of the next column
    low_row, high_row = _bounds(output, rows)
    for turn in range(len(lo)):
        for _ in range(starts[turn], starts[turn + 1]):
            if low_row <= high_row:
                low, high = _bounds(at, places)
                if low <= high:
                    lo[turn] = min(lo[turn], (sample * rows.needed + low_row) * places.needed + low)
                    hi[turn] = max(hi[turn], (sample * rows.needed + high_row) * places.needed + high)
            at += 1
            if at == places.outputs:
                at = 0
                output += 1
                if output == rows.outputs:
                    output = 0
                    sample += 1
                low_row, high_row = _bounds(output, rows)
