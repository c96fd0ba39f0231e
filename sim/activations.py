"""Synthetic activations: which values of a layer's input are zero, drawn from a seed before lowering.

The input map is drawn in storage order (sample, row, column, channel fastest) with an exact number of zeros, by
selection sampling (Knuth, TAOCP vol. 2, 3.4.2, algorithm S): nothing is stored, so a map of billions of values costs
time but no memory. Every architecture sees the same map.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ..formats.jit import kernel
from ..formats.rng import random_word, stream_key
from .control import STOP, Control, Interrupted
from .layer import Layer

_ACTIVATIONS = 2  # the purpose, beside the weights' 0 and 1 of formats/synthetic.py

_2_53 = 1.0 / (1 << 53)
_SHIFT_11 = np.uint64(11)


@dataclass(frozen=True, kw_only=True, eq=False)
class Activations:
    """Where a layer's input is not zero.

    Attributes
    ----------
    values, zeros : int
        Of the unpadded input, over the batch.
    nonzeros : int64, (kernel_h, kernel_w, in_channels)
        Nonzero values that each position of K meets over all P columns; image padding counts as zero.
    """

    values: int
    zeros: int
    nonzeros: npt.NDArray[np.int64]

    @property
    def sparsity(self) -> float:
        """Share of zeros in the unpadded input."""
        return self.zeros / self.values

    def of_group(self, group: int, groups: int) -> npt.NDArray[np.int64]:
        """Nonzero values each position of a convolution group's K meets, (K,), channel fastest."""
        channels = self.nonzeros.shape[2] // groups
        return np.ascontiguousarray(self.nonzeros[:, :, group * channels : (group + 1) * channels]).reshape(-1)


def draw_activations(
    layer: Layer, sparsity: float, seed: int, index: int = 0, *, control: Control | None = None
) -> Activations:
    """Draw the zeros of a layer's input, exactly round(sparsity * values) of them, uniformly.

    Parameters
    ----------
    layer : Layer
    sparsity : float
        From 0 to 1.
    seed, index : int
        Name the draw: the run's seed, and the layer's place in the network.
    control : Control, optional
        For another thread to stop the draw.

    Raises
    ------
    Interrupted
        `control.stop()` was called.
    """
    control = control or Control()
    values = layer.batch * layer.in_height * layer.in_width * layer.in_channels
    zeros = int(Fraction(str(sparsity)) * values + Fraction(1, 2))
    nonzeros = np.zeros((layer.kernel_h, layer.kernel_w, layer.in_channels), np.int64)
    rows = (layer.in_height, layer.stride_h, layer.pad_h, layer.dilation_h, layer.out_height)
    columns = (layer.in_width, layer.stride_w, layer.pad_w, layer.dilation_w, layer.out_width)
    key = stream_key(seed, index, 0, _ACTIVATIONS)
    _draw(key, zeros, layer.batch, rows, columns, control.words, nonzeros)
    if control.stopped:
        raise Interrupted
    return Activations(values=values, zeros=zeros, nonzeros=nonzeros)


def count_activations(layer: Layer, nonzero: npt.NDArray[np.bool_]) -> Activations:
    """Count a given input: bool, (in_height, in_width, in_channels), the same for every sample of the batch."""
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
        values=nonzero.size * layer.batch,
        zeros=int(nonzero.size - np.count_nonzero(nonzero)) * layer.batch,
        nonzeros=nonzeros,
    )


@kernel
def _meets(place, tap, axis):
    """Whether an input row (or column) meets a filter position in some output.

    Input i meets tap a in output o where o*stride + a*dilation - pad = i.
    axis : (size, stride, pad, dilation, outputs)
    """
    offset = place + axis[2] - tap * axis[3]
    return offset >= 0 and offset % axis[1] == 0 and offset // axis[1] < axis[4]


@kernel
def _draw(key, zeros, batch, rows, columns, control, nonzeros):
    """Draw the map and count, for each (tap, channel), the nonzero values it meets; leave off once told to stop.

    key : uint64. rows, columns : the two axes, as in `_meets`. control : int64, see `Control`.
    nonzeros : int64 (kernel_h, kernel_w, channels), **modified in place**.
    """
    kernel_h, kernel_w, channels = nonzeros.shape
    height, width = rows[0], columns[0]
    left, zeros_left, counter = batch * height * width * channels, zeros, 0
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
                for b in range(kernel_w):
                    if _meets(w, b, columns):
                        for channel in range(channels):
                            in_row[b, channel] += pixel[channel]
            for a in range(kernel_h):
                if _meets(h, a, rows):
                    for b in range(kernel_w):
                        for channel in range(channels):
                            nonzeros[a, b, channel] += in_row[b, channel]
