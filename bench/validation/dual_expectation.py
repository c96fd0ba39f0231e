"""What a dual-side step costs on random zeros, in closed form: expected values, no simulation.

A position of a tile of sums costs max(ceil(a/x) * ceil(b/y), ceil(a*b/v)) cycles (docs/microarchitecture.md, M20),
where a weights and b activations of it are nonzero. Which values are nonzero is drawn without replacement, so a and b
are hypergeometric, and independent of each other; expected values add up over positions and tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, perm

import numpy as np
import numpy.typing as npt

from ...formats import Pattern
from ...sim import Layer
from ...sim.machine import Dstc

Chances = npt.NDArray[np.float64]  # of 0, 1, 2, ... nonzeros


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Expected values of a position of a tile: MAC cycles, cycles with the buffer's port, pairs of nonzeros."""

    mac_cycles: float
    cycles: float
    macs: float


def drawn(size: int, nonzeros: int, values: int) -> Chances:
    """Nonzeros among `size` of `values` values, of which `nonzeros` are not zero, drawn uniformly.

    >>> drawn(2, 1, 4).tolist()
    [0.5, 0.5, 0.0]
    """
    ways = [comb(size, hits) * perm(nonzeros, hits) * perm(values - nonzeros, size - hits) for hits in range(size + 1)]
    return np.array([way / perm(values, size) for way in ways])


def independent(size: int, density: float) -> Chances:
    """Nonzeros among `size` values that are each nonzero with this chance.

    >>> independent(2, 0.5).tolist()
    [0.25, 0.5, 0.25]
    """
    return np.array([comb(size, hits) * density**hits * (1 - density) ** (size - hits) for hits in range(size + 1)])


def drawn_rows(layer: Layer, nonzeros: int, tile_rows: int) -> Chances:
    """Nonzero weights of a row tile at a position, unstructured weights of S x K, of which so many are not zero."""
    sizes = np.minimum(tile_rows, layer.s - np.arange(0, layer.s, tile_rows))
    return _drawn_of_sizes(sizes, nonzeros, layer.s * layer.k, tile_rows)


def hybrid_rows(pattern: Pattern, kept: float, tile_rows: int) -> Chances:
    """Nonzero weights of a row tile at a position, N:M in blocks of which a share is kept; whole blocks and tiles.

    >>> hybrid_rows(Pattern(n=2, m=4, block=16), 0.5, 16)[0].round(6)
    np.float64(0.500008)
    """
    block = pattern.block or tile_rows
    rows, of_block_rows = min(block, tile_rows), -(-tile_rows // block)
    one = kept * independent(rows, pattern.n / pattern.m)
    one[0] += 1 - kept
    chances = np.ones(1)
    for _ in range(of_block_rows):
        chances = np.convolve(chances, one)
    return chances


def drawn_columns(layer: Layer, zeros: int, values: int, tile_columns: int) -> Chances:
    """Nonzero activations of a column tile at a position; image padding is zero, and the last tile may be narrow."""
    down = _inside(layer.in_height, layer.kernel_h, layer.stride_h, layer.pad_h, layer.dilation_h, layer.out_height)
    along = _inside(layer.in_width, layer.kernel_w, layer.stride_w, layer.pad_w, layer.dilation_w, layer.out_width)
    pixels = (down[:, None, :, None] & along[None, :, None, :]).reshape(layer.kernel_h * layer.kernel_w, -1)
    pixels = np.tile(pixels, layer.batch)
    sizes = np.add.reduceat(pixels, np.arange(0, layer.p, tile_columns), axis=1, dtype=np.int64).ravel()
    return _drawn_of_sizes(sizes, values - zeros, values, tile_columns)


def cost(rows: Chances, columns: Chances, dstc: Dstc) -> Cost:
    """Expected cost of a position, given the chances of its two counts."""
    a, b = np.arange(len(rows))[:, None], np.arange(len(columns))[None, :]
    macs = -(-a // dstc.step_rows) * -(-b // dstc.step_columns)
    cycles = np.maximum(macs, -(-a * b // dstc.accumulator_values_per_cycle))
    mac_cycles, cycles, pairs = (float(rows @ values @ columns) for values in (macs, cycles, a * b))
    return Cost(mac_cycles=mac_cycles, cycles=cycles, macs=pairs)


def positions(layer: Layer, dstc: Dstc) -> int:
    """Positions of all tiles of a convolution group: tiles x K."""
    return -(-layer.s // dstc.tile_rows) * -(-layer.p // dstc.tile_columns) * layer.k


def _inside(size: int, taps: int, stride: int, pad: int, dilation: int, outputs: int) -> npt.NDArray[np.bool_]:
    """Whether a tap of the filter meets the image, (taps, outputs), along one axis."""
    place = np.arange(outputs) * stride + np.arange(taps)[:, None] * dilation - pad
    return (place >= 0) & (place < size)


def _drawn_of_sizes(sizes: npt.NDArray[np.int64], nonzeros: int, values: int, largest: int) -> Chances:
    """Nonzeros among so many values, averaged over the sizes."""
    chances = np.zeros(largest + 1)
    for size, times in zip(*np.unique(sizes, return_counts=True), strict=True):
        chances[: size + 1] += drawn(int(size), nonzeros, values) * (times / len(sizes))
    return chances
