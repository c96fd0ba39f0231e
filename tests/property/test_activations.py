"""Drawn activations against plain loops: the same map, lowered position by position."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crispsim.formats.rng import random_word, stream_key
from crispsim.sim import Layer
from crispsim.sim.activations import draw_activations, given_activations

pytestmark = pytest.mark.kernel


@st.composite
def layers(draw):
    sizes = {name: draw(st.integers(1, 6)) for name in ("in_height", "in_width", "in_channels", "batch")}
    taps = {name: draw(st.integers(1, 3)) for name in ("kernel_h", "kernel_w", "stride_h", "stride_w")}
    extra = {name: draw(st.integers(0, 2)) for name in ("pad_h", "pad_w")}
    dilation = {name: draw(st.integers(1, 2)) for name in ("dilation_h", "dilation_w")}
    for axis, size in (("h", "in_height"), ("w", "in_width")):
        reach = dilation[f"dilation_{axis}"] * (taps[f"kernel_{axis}"] - 1) + 1
        assume(reach <= sizes[size] + 2 * extra[f"pad_{axis}"])
    return Layer(name="l", kind="conv", out_channels=1, **sizes, **taps, **extra, **dilation)


def naive_map(layer, zeros, seed, index):
    """Selection sampling in storage order, with Python's own arithmetic: True where not zero."""
    shape = (layer.batch, layer.in_height, layer.in_width, layer.in_channels)
    key, left, counter, nonzero = stream_key(seed, index, 0, 2), int(np.prod(shape)), 0, []
    while left:
        uniform = (int(random_word(key, np.uint64(counter))) >> 11) / 2**53
        zero = uniform * left < zeros
        zeros -= zero
        left -= 1
        counter += 1
        nonzero.append(not zero)
    return np.array(nonzero).reshape(shape)


def naive_count(layer, nonzero):
    """Every output pixel looks at every tap and channel; what lies outside the map is zero."""
    counts = np.zeros((layer.kernel_h, layer.kernel_w, layer.in_channels), int)
    for sample in range(layer.batch):
        for y in range(layer.out_height):
            for x in range(layer.out_width):
                for a in range(layer.kernel_h):
                    for b in range(layer.kernel_w):
                        h = y * layer.stride_h + a * layer.dilation_h - layer.pad_h
                        w = x * layer.stride_w + b * layer.dilation_w - layer.pad_w
                        if 0 <= h < layer.in_height and 0 <= w < layer.in_width:
                            counts[a, b] += nonzero[sample, h, w]
    return counts


@given(layers(), st.floats(0, 1), st.integers(0, 3))
def test_draws_equal_plain_loops(layer, sparsity, seed):
    drawn = draw_activations(layer, sparsity, seed, index=5)
    nonzero = naive_map(layer, drawn.zeros, seed, 5)
    assert drawn.values == nonzero.size
    assert drawn.zeros == nonzero.size - nonzero.sum()
    assert abs(drawn.zeros - sparsity * drawn.values) <= 0.5
    np.testing.assert_array_equal(drawn.nonzeros, naive_count(layer, nonzero))


@given(layers(), st.integers(0, 3))
def test_a_given_map_is_counted_as_plain_loops_do(layer, seed):
    nonzero = np.random.default_rng(seed).random((layer.in_height, layer.in_width, layer.in_channels)) < 0.6
    counted = given_activations(layer, nonzero, None, seed)
    every_sample = np.broadcast_to(nonzero, (layer.batch, *nonzero.shape))
    np.testing.assert_array_equal(counted.nonzeros, naive_count(layer, every_sample))
    assert counted.sparsity == pytest.approx(1 - nonzero.mean())


def naive_lowered(layer, nonzero, group):
    """X[K, P] of a group, bool: every column looks at every position."""
    channels = layer.in_channels // layer.groups
    lowered = np.zeros((layer.k, layer.p), bool)
    for p in range(layer.p):
        sample, at = divmod(p, layer.out_height * layer.out_width)
        y, x = divmod(at, layer.out_width)
        for k in range(layer.k):
            tap, channel = divmod(k, channels)
            h = y * layer.stride_h + tap // layer.kernel_w * layer.dilation_h - layer.pad_h
            w = x * layer.stride_w + tap % layer.kernel_w * layer.dilation_w - layer.pad_w
            if 0 <= h < layer.in_height and 0 <= w < layer.in_width:
                lowered[k, p] = nonzero[sample, h, w, group * channels + channel]
    return lowered


@given(layers(), st.sampled_from([1, 9, 64, 75, 130]), st.integers(1, 64), st.integers(0, 3))
def test_tiles_are_counted_on_the_bitmap_as_plain_loops_do(layer, more_channels, tile, seed):
    layer = dataclasses.replace(layer, in_channels=layer.groups * more_channels)
    drawn = draw_activations(layer, 0.4, seed, index=5)
    assume(layer.k * layer.p < 40000)
    nonzero = naive_map(layer, drawn.zeros, seed, 5)
    group = layer.groups - 1
    lowered = naive_lowered(layer, nonzero, group)
    firsts = range(0, layer.p, tile)
    expected = [lowered[:, first : first + tile].sum(axis=1).tolist() for first in firsts]
    assert drawn.of_group(group).tile_counts(tile).tolist() == expected
    # The values, too, stand where the bits are.
    columns = max(1, layer.p // 2)
    values = drawn.of_group(group).int8_columns(columns)
    np.testing.assert_array_equal(values != 0, lowered[:, :columns])


def test_given_values_are_the_values():
    layer = Layer(
        name="l", kind="conv", in_height=3, in_width=4, kernel_h=2, kernel_w=2, in_channels=3, out_channels=1, batch=2
    )
    values = np.random.default_rng(0).integers(-2, 3, (3, 4, 3)).astype(np.int8)
    taken = given_activations(layer, values != 0, values, seed=0)
    columns = taken.of_group(0).int8_columns(layer.p)
    for p in range(layer.p):
        y, x = divmod(p % 6, 3)
        assert columns[:, p].tolist() == values[y : y + 2, x : x + 2].reshape(-1).tolist()


def test_a_map_that_was_not_kept_is_refused():
    layer = Layer(name="l", kind="gemm", in_height=3, in_width=1, kernel_h=1, kernel_w=1, in_channels=4, out_channels=1)
    drawn = draw_activations(layer, 0.5, 0, keep_map=False)
    np.testing.assert_array_equal(drawn.nonzeros, draw_activations(layer, 0.5, 0).nonzeros)
    with pytest.raises(ValueError, match="not kept"):
        drawn.of_group(0).tile_counts(8)
    with pytest.raises(ValueError, match="not kept"):
        _ = drawn.int8_map


def test_groups_split_the_channels():
    layer = Layer(
        name="l", kind="conv", in_height=3, in_width=3, kernel_h=2, kernel_w=2, in_channels=6, out_channels=6, groups=3
    )
    drawn = draw_activations(layer, 0.5, 0)
    for group in range(3):
        expected = drawn.nonzeros[:, :, 2 * group : 2 * group + 2].reshape(-1)
        np.testing.assert_array_equal(drawn.of_group(group).nonzeros(), expected)


def test_zeros_are_uniform():
    """Each of 12 values is zero in a third of 3000 draws, within 5 standard deviations (sqrt(n p (1-p)) = 26)."""
    layer = Layer(name="l", kind="gemm", in_height=3, in_width=1, kernel_h=1, kernel_w=1, in_channels=4, out_channels=1)
    zeros = 3 * 3000 - sum(draw_activations(layer, 1 / 3, seed).nonzeros.reshape(-1) for seed in range(3000))
    assert np.all(np.abs(zeros - 3000) < 5 * np.sqrt(3 * 3000 * (1 / 3) * (2 / 3)))
