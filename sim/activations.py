"""A layer's input: which values are zero, drawn from a seed before lowering or given, and its int8 values.

The input map is drawn in storage order (sample, row, column, channel fastest) with an exact number of zeros, by
selection sampling (Knuth, TAOCP vol. 2, 3.4.2, algorithm S). Every architecture sees the same map. Where none of them
needs more than counts, nothing is stored, so that a map of billions of values costs time but no memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..formats.jit import kernel
from ..formats.rng import random_word, stream_key
from ..formats.synthetic import nonzero_int8
from .bitmaps import (
    WORD,
    Bits,
    Counts,
    column_tile_counts,
    full_tile_counts,
    nonzeros_before,
    pack_channels,
    row_tile_counts,
)
from .control import STOP, Control
from .input_pixels import InputPixels
from .layer import Layer

_ACTIVATIONS, _VALUES = 2, 5  # purposes, beside those of formats/synthetic.py (0, 1, 3) and sim/datapath (4)

_2_53 = 1.0 / (1 << 53)
_SHIFT_11 = np.uint64(11)


@dataclass(frozen=True, kw_only=True, eq=False)
class Activations:
    """Where a layer's input is not zero.

    Attributes
    ----------
    layer : Layer
    values, zeros : int
        Of the unpadded input, over the batch.
    nonzeros : int64, (kernel_h, kernel_w, in_channels)
        Nonzero values that each position of K meets over all P columns; image padding counts as zero.
    bits : uint64, (pixels, words) or None
        The map itself (`bitmaps.pack_channels`), of one sample if all are the same; None where it was not kept.
    key : uint64
        Stream of the values of a map that has none of its own.
    given : int8, (in_height, in_width, in_channels) or None
        The values of every sample.
    """

    layer: Layer
    values: int
    zeros: int
    nonzeros: npt.NDArray[np.int64]
    bits: Bits | None = field(repr=False)
    key: np.uint64
    given: npt.NDArray[np.int8] | None = field(default=None, repr=False)

    @property
    def sparsity(self) -> float:
        """Share of zeros in the unpadded input."""
        return self.zeros / self.values

    def of_group(self, group: int) -> GroupActivations:
        """The input of one convolution group."""
        return GroupActivations(activations=self, group=group)

    @cached_property
    def int8_map(self) -> npt.NDArray[np.int8]:
        """The input itself, (batch, in_height, in_width, in_channels): given, or uniform over the nonzero int8.

        Raises
        ------
        ValueError
            The map was not kept.
        """
        layer = self.layer
        shape = (layer.batch, layer.in_height, layer.in_width, layer.in_channels)
        if self.given is not None:
            return np.broadcast_to(self.given, shape)
        if self.bits is None:
            raise ValueError(f"layer {layer.name!r}: the input map was not kept")
        samples = len(self.bits) // (layer.in_height * layer.in_width)
        values = np.zeros((len(self.bits), layer.in_channels), np.int8)
        _draw_values(self.key, self.bits, values)
        return np.broadcast_to(values.reshape(samples, *shape[1:]), shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupActivations:
    """The lowered input X[K, P] of one convolution group."""

    activations: Activations
    group: int

    @property
    def pixels(self) -> InputPixels:
        """The pixels that its columns read."""
        return InputPixels.of_layer(self.activations.layer)

    def nonzeros_before(self) -> npt.NDArray[np.int64]:
        """Nonzeros of the group's channels in the needed pixels before each, and in all: int64, (count + 1,).

        Raises
        ------
        ValueError
            The map was not kept.
        """
        return nonzeros_before(self._bits(), self.pixels, self.group * self.pixels.channels)

    def nonzeros(self) -> npt.NDArray[np.int64]:
        """Nonzero values at each position of K over all P columns, (K,), channel fastest."""
        layer = self.activations.layer
        channels = layer.in_channels // layer.groups
        own = slice(self.group * channels, (self.group + 1) * channels)
        return np.ascontiguousarray(self.activations.nonzeros[:, :, own]).reshape(-1)

    def tile_counts(self, tile_columns: int) -> Counts:
        """Nonzeros of each tile of columns at each position of K: uint8, (ceil(P / tile_columns), K).

        Raises
        ------
        ValueError
            The map was not kept.
        """
        return column_tile_counts(self.activations.layer, self.group, self._bits(), tile_columns)

    def int8_columns(self, columns: int) -> npt.NDArray[np.int8]:
        """The first columns of X as values: int8, (K, columns)."""
        layer = self.activations.layer
        padding = ((0, 0), (layer.pad_h, layer.pad_h), (layer.pad_w, layer.pad_w), (0, 0))
        channels = layer.in_channels // layer.groups
        own = self.activations.int8_map[..., self.group * channels : (self.group + 1) * channels]
        padded = np.pad(own, padding)
        rows = np.arange(layer.out_height) * layer.stride_h
        places = np.arange(layer.out_width) * layer.stride_w
        lowered = np.empty((layer.kernel_h, layer.kernel_w, channels, columns), np.int8)
        for a in range(layer.kernel_h):
            for b in range(layer.kernel_w):
                met = padded[:, rows[:, None] + a * layer.dilation_h, places[None, :] + b * layer.dilation_w]
                lowered[a, b] = met.reshape(layer.p, channels)[:columns].T
        return lowered.reshape(layer.k, columns)

    def _bits(self) -> Bits:
        if self.activations.bits is None:
            raise ValueError(f"layer {self.activations.layer.name!r}: the input map was not kept")
        return self.activations.bits


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenColumns:
    """A lowered input given as a whole.

    Parameters
    ----------
    nonzero : bool, (K, P)
    pixels : InputPixels, optional
        What the columns read; by default a pixel each.
    pixel_nonzeros : int64, (pixels.count,), optional
        Nonzeros of the group's channels in each needed pixel; by default those of the columns, which
        `nonzeros_before` has no use for where `pixels` are given.

    Raises
    ------
    ValueError
        `pixels` are those of another K or P.
    """

    nonzero: npt.NDArray[np.bool_]
    pixels: InputPixels = None  # pyright: ignore[reportAssignmentType] settled in __post_init__
    pixel_nonzeros: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        k, columns = self.nonzero.shape
        if self.pixels is None:
            object.__setattr__(self, "pixels", InputPixels.of_columns(k, columns))
            if self.pixel_nonzeros is None:
                object.__setattr__(self, "pixel_nonzeros", np.count_nonzero(self.nonzero, axis=0))
        _check_pixels(self.pixels, k, columns)

    def tile_counts(self, tile_columns: int) -> Counts:
        """Nonzeros of each tile of columns at each position of K: uint8, (ceil(P / tile_columns), K)."""
        return row_tile_counts(np.ascontiguousarray(self.nonzero.T), tile_columns)

    def nonzeros_before(self) -> npt.NDArray[np.int64]:
        """Nonzeros of the group's channels in the needed pixels before each, and in all: int64, (count + 1,).

        Raises
        ------
        ValueError
            Pixels were given without their nonzeros.
        """
        if self.pixel_nonzeros is None:
            raise ValueError("the nonzeros of the pixels were not given")
        return np.concatenate([[0], np.cumsum(self.pixel_nonzeros, dtype=np.int64)])


@dataclass(frozen=True, kw_only=True)
class NoZeros:
    """A lowered input of K = k and P = columns without a single zero; `pixels` as in `GivenColumns`."""

    k: int
    columns: int
    pixels: InputPixels = None  # pyright: ignore[reportAssignmentType] settled in __post_init__

    def __post_init__(self) -> None:
        if self.pixels is None:
            object.__setattr__(self, "pixels", InputPixels.of_columns(self.k, self.columns))
        _check_pixels(self.pixels, self.k, self.columns)

    def tile_counts(self, tile_columns: int) -> Counts:
        """As every other lowered input's, full."""
        return full_tile_counts(self.columns, self.k, tile_columns)

    def nonzeros_before(self) -> npt.NDArray[np.int64]:
        """As every other lowered input's, all channels of every pixel."""
        return np.arange(self.pixels.count + 1) * self.pixels.channels


def draw_activations(
    layer: Layer, sparsity: float, seed: int, index: int = 0, *, keep_map: bool = True, control: Control | None = None
) -> Activations:
    """Draw the zeros of a layer's input, exactly round(sparsity * values) of them, uniformly.

    Parameters
    ----------
    layer : Layer
    sparsity : float
        From 0 to 1.
    seed, index : int
        Name the draw: the run's seed, and the layer's place in the network.
    keep_map : bool
        Whether to keep the map, a bit a value, and not only its counts.
    control : Control, optional
        For another thread to stop the draw.

    Raises
    ------
    Interrupted
        `control.stop()` was called.
    """
    control = control or Control()
    values = layer.inputs
    pixels = values // layer.in_channels
    zeros = int(Fraction(str(sparsity)) * values + Fraction(1, 2))
    nonzeros = np.zeros((layer.kernel_h, layer.kernel_w, layer.in_channels), np.int64)
    bits = np.zeros((pixels, -(-layer.in_channels // WORD)) if keep_map else (0, 0), np.uint64)
    rows = (layer.in_height, layer.stride_h, layer.pad_h, layer.dilation_h, layer.out_height)
    columns = (layer.in_width, layer.stride_w, layer.pad_w, layer.dilation_w, layer.out_width)
    _draw(stream_key(seed, index, 0, _ACTIVATIONS), zeros, layer.batch, rows, columns, control.words, nonzeros, bits)
    control.check()
    return Activations(
        layer=layer,
        values=values,
        zeros=zeros,
        nonzeros=nonzeros,
        bits=bits if keep_map else None,
        key=stream_key(seed, index, 0, _VALUES),
    )


def given_activations(
    layer: Layer, nonzero: npt.NDArray[np.bool_], values: npt.NDArray[np.int8] | None, seed: int, index: int = 0
) -> Activations:
    """Take an input as given, the same for every sample of the batch.

    Parameters
    ----------
    layer : Layer
    nonzero : bool, (in_height, in_width, in_channels)
    values : int8 of the same shape, or None
        None: where values are needed, they are drawn from (seed, index).
    """
    padded = np.pad(nonzero, ((layer.pad_h, layer.pad_h), (layer.pad_w, layer.pad_w), (0, 0)))
    nonzeros = np.zeros((layer.kernel_h, layer.kernel_w, layer.in_channels), np.int64)
    for a in range(layer.kernel_h):
        for b in range(layer.kernel_w):
            top, left = a * layer.dilation_h, b * layer.dilation_w
            bottom = top + (layer.out_height - 1) * layer.stride_h + 1
            right = left + (layer.out_width - 1) * layer.stride_w + 1
            met = padded[top : bottom : layer.stride_h, left : right : layer.stride_w]
            nonzeros[a, b] = np.count_nonzero(met, axis=(0, 1)) * layer.batch
    return Activations(
        layer=layer,
        values=nonzero.size * layer.batch,
        zeros=int(nonzero.size - np.count_nonzero(nonzero)) * layer.batch,
        nonzeros=nonzeros,
        bits=pack_channels(nonzero),
        key=stream_key(seed, index, 0, _VALUES),
        given=values,
    )


def _check_pixels(pixels: InputPixels, k: int, columns: int) -> None:
    if (pixels.positions, pixels.columns) != (k, columns):
        raise ValueError(f"pixels of K = {pixels.positions}, P = {pixels.columns}: must be {k}, {columns}")


@kernel
def _meets(place, tap, axis):
    """Whether an input row (or column) meets a filter position in some output.

    Input i meets tap a in output o where o*stride + a*dilation - pad = i.
    axis : (size, stride, pad, dilation, outputs)
    """
    offset = place + axis[2] - tap * axis[3]
    return offset >= 0 and offset % axis[1] == 0 and offset // axis[1] < axis[4]


@kernel
def _draw(key, zeros, batch, rows, columns, control, nonzeros, bits):
    """Draw the map and count, for each (tap, channel), the nonzero values it meets; leave off once told to stop.

    key : uint64. rows, columns : the two axes, as in `_meets`. control : int64, see `Control`.
    nonzeros : int64 (kernel_h, kernel_w, channels), **modified in place**.
    bits : uint64 (pixels, words), zeroed, **modified in place**; without rows the map is not kept.
    """
    kernel_h, kernel_w, channels = nonzeros.shape
    height, width = rows[0], columns[0]
    left, zeros_left, counter, at = batch * height * width * channels, zeros, 0, 0
    in_row = np.zeros((kernel_w, channels), np.int64)
    pixel = np.zeros(channels, np.int64)
    for _ in range(batch):
        for h in range(height):
            if control[STOP]:
                return
            in_row[:, :] = 0
            for w in range(width):
                for channel in range(channels):
                    uniform = np.float64(random_word(key, np.uint64(counter)) >> _SHIFT_11) * _2_53
                    zero = np.int64(uniform * left < zeros_left)
                    pixel[channel] = 1 - zero
                    zeros_left -= zero
                    left -= 1
                    counter += 1
                if len(bits) > 0:
                    for channel in range(channels):
                        bits[at, channel // WORD] |= np.uint64(pixel[channel]) << np.uint64(channel % WORD)
                    at += 1
                for b in range(kernel_w):
                    if _meets(w, b, columns):
                        for channel in range(channels):
                            in_row[b, channel] += pixel[channel]
            for a in range(kernel_h):
                if _meets(h, a, rows):
                    for b in range(kernel_w):
                        for channel in range(channels):
                            nonzeros[a, b, channel] += in_row[b, channel]


@kernel
def _draw_values(key, bits, values):
    """Draw a nonzero int8 wherever a map has a bit; values (int8, zeroed, [pixels, channels]) is **modified**."""
    for pixel in range(values.shape[0]):
        for channel in range(values.shape[1]):
            if (bits[pixel, channel // WORD] >> np.uint64(channel % WORD)) & np.uint64(1):
                word = random_word(key, np.uint64(pixel * values.shape[1] + channel))
                values[pixel, channel] = nonzero_int8(word)
