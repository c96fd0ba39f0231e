"""Needed pixels, how far turns reach into them, their nonzeros and kept channels, against plain loops over columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crispsim.formats import CrispMatrix
from crispsim.sim import Layer
from crispsim.sim.activations import draw_activations, given_activations
from crispsim.sim.input_pixels import InputPixels
from crispsim.sim.weights import Weights

pytestmark = pytest.mark.kernel

Pixel = tuple[int, int, int]


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """Give a small convolution, with columns that read padding only, and with rows and columns that none reads."""
    fields: dict[str, Any] = {"groups": draw(st.integers(1, 3)), "batch": draw(st.integers(1, 3))}
    for axis, size in (("h", "in_height"), ("w", "in_width")):
        taps = {name: draw(st.integers(1, 4)) for name in ("kernel", "stride")}
        taps["dilation"] = draw(st.sampled_from([1, 1, 2, 3, 4]))
        length, pad = draw(st.integers(1, 9)), draw(st.sampled_from([0, 0, 0, 1, 2, 5]))
        assume(taps["dilation"] * (taps["kernel"] - 1) < length + 2 * pad)
        fields |= {f"{name}_{axis}": value for name, value in taps.items()} | {size: length, f"pad_{axis}": pad}
    channels = draw(st.sampled_from([1, 2, 9, 63, 64, 65, 130])) * fields["groups"]
    return Layer(name="l", kind="conv", in_channels=channels, out_channels=fields["groups"], **fields)


def read_by(layer: Layer) -> list[list[Pixel]]:
    """The pixels (sample, row, column) that each column reads."""
    columns = []
    for sample in range(layer.batch):
        for y in range(layer.out_height):
            for x in range(layer.out_width):
                read = []
                for a in range(layer.kernel_h):
                    for b in range(layer.kernel_w):
                        h = y * layer.stride_h + a * layer.dilation_h - layer.pad_h
                        w = x * layer.stride_w + b * layer.dilation_w - layer.pad_w
                        if 0 <= h < layer.in_height and 0 <= w < layer.in_width:
                            read.append((sample, h, w))
                columns.append(read)
    return columns


def needed(columns: list[list[Pixel]]) -> list[Pixel]:
    return sorted({pixel for column in columns for pixel in column})


@given(layers(), st.data())
def test_turns_reach_as_far_as_their_columns_do(layer: Layer, data: st.DataObject) -> None:
    columns, pixels = read_by(layer), InputPixels.of_layer(layer)
    number = {pixel: i for i, pixel in enumerate(needed(columns))}
    assert (pixels.count, pixels.columns, pixels.positions) == (len(number), layer.p, layer.k)
    inner = data.draw(st.sets(st.integers(1, layer.p - 1))) if layer.p > 1 else set()
    starts = [0, *sorted(inner), layer.p]
    lo, hi = pixels.reaches(np.array(starts))
    assert (lo.dtype, hi.dtype) == (np.int64, np.int64)
    for turn, (first, stop) in enumerate(zip(starts, starts[1:], strict=False)):
        so_far = [number[pixel] for column in columns[:stop] for pixel in column]
        to_come = [number[pixel] for column in columns[first:] for pixel in column]
        assert hi[turn] == max(so_far, default=-1)
        assert lo[turn] == min(to_come, default=len(number))


@given(layers(), st.booleans(), st.integers(0, 3))
def test_nonzeros_are_those_of_the_map(layer: Layer, own_samples: bool, seed: int) -> None:
    if own_samples:
        activations = draw_activations(layer, 0.4, seed)
    else:
        nonzero = np.random.default_rng(seed).random((layer.in_height, layer.in_width, layer.in_channels)) < 0.6
        activations = given_activations(layer, nonzero, None, seed)
    channels = layer.in_channels // layer.groups
    for group in range(layer.groups):
        own = activations.int8_map[..., group * channels : (group + 1) * channels]
        counts = [int(np.count_nonzero(own[pixel])) for pixel in needed(read_by(layer))]
        got = activations.of_group(group).nonzeros_before()
        assert got.dtype == np.int64
        assert got.tolist() == [sum(counts[:i]) for i in range(len(counts) + 1)]


@given(st.data())
def test_kept_channels_are_those_of_kept_blocks(data: st.DataObject) -> None:
    block, k, rows = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 60)), data.draw(st.integers(1, 3))
    blocks = -(-k // block)
    kept = data.draw(st.integers(0, blocks))
    choices = [sorted(data.draw(st.permutations(range(blocks)))[:kept]) for _ in range(rows)]
    weights = Weights(
        shape=(rows * block, k),
        matrix=CrispMatrix.encode(
            np.zeros((rows * block, k), np.int8), n=1, m=1, block=block, block_cols=np.array(choices, np.int32)
        ),
    )
    for channels in data.draw(st.lists(st.integers(1, 70), min_size=1, max_size=3)):
        met = {
            position % channels
            for row in choices
            for column in row
            for position in range(column * block, column * block + block)
            if position < k
        }
        assert weights.kept_channels(channels) == len(met)
