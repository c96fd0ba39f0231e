"""Drawn activations against plain loops: the same map, lowered position by position."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crispsim.formats.rng import random_word, stream_key
from crispsim.sim import Layer
from crispsim.sim.activations import count_activations, draw_activations

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
    counted = count_activations(layer, nonzero)
    every_sample = np.broadcast_to(nonzero, (layer.batch, *nonzero.shape))
    np.testing.assert_array_equal(counted.nonzeros, naive_count(layer, every_sample))
    assert counted.sparsity == pytest.approx(1 - nonzero.mean())


def test_groups_split_the_channels():
    layer = Layer(
        name="l", kind="conv", in_height=3, in_width=3, kernel_h=2, kernel_w=2, in_channels=6, out_channels=6, groups=3
    )
    drawn = draw_activations(layer, 0.5, 0)
    for group in range(3):
        expected = drawn.nonzeros[:, :, 2 * group : 2 * group + 2].reshape(-1)
        np.testing.assert_array_equal(drawn.of_group(group, 3), expected)


def test_zeros_are_uniform():
    """Each of 12 values is zero in a third of 3000 draws, within 5 standard deviations (sqrt(n p (1-p)) = 26)."""
    layer = Layer(name="l", kind="gemm", in_height=3, in_width=1, kernel_h=1, kernel_w=1, in_channels=4, out_channels=1)
    zeros = 3 * 3000 - sum(draw_activations(layer, 1 / 3, seed).nonzeros.reshape(-1) for seed in range(3000))
    assert np.all(np.abs(zeros - 3000) < 5 * np.sqrt(3 * 3000 * (1 / 3) * (2 / 3)))
