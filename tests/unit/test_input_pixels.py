"""The pixels of an input, by hand: which are needed, how far turns reach, and what lowered inputs say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crispsim.sim import Layer
from crispsim.sim.activations import GivenColumns, NoZeros, draw_activations
from crispsim.sim.input_pixels import InputPixels
from crispsim.sim.weights import Weights

pytestmark = pytest.mark.kernel


def conv(height: int, width: int, kernel: int = 1, **more: Any) -> Layer:
    return Layer(
        name="l", kind="conv", in_height=height, in_width=width, kernel_h=kernel, kernel_w=kernel, in_channels=2,
        out_channels=1, **more,
    )  # fmt: skip


def reaches(layer: Layer, turn: int) -> tuple[list[int], list[int]]:
    starts = np.append(np.arange(0, layer.p, turn), layer.p)
    lo, hi = InputPixels.of_layer(layer).reaches(starts)
    return lo.tolist(), hi.tolist()


def test_a_filter_reaches_below_and_to_the_right() -> None:
    """4 x 3 pixels, 2 x 2 filter: column (y, x) reads from 3y + x to 3y + x + 4; turns of 2 are rows of columns."""
    assert reaches(conv(4, 3, 2), 2) == ([0, 3, 6], [5, 8, 11])
    assert reaches(conv(4, 3, 2), 4) == ([0, 6], [8, 11])


def test_pixels_that_no_column_reads_have_no_number() -> None:
    """Of 5 x 6 pixels stride 2 reads rows 0, 2, 4 and columns 0, 2, 4: nine, one for each column."""
    pixels = InputPixels.of_layer(conv(5, 6, stride_h=2, stride_w=2))
    assert pixels.count == 9
    assert reaches(conv(5, 6, stride_h=2, stride_w=2), 4) == ([0, 4, 8], [3, 7, 8])


def test_the_edge_may_not_be_reached() -> None:
    """Stride 2, 2 x 2 filter: of 5 x 5 pixels the last row and the last column are left over."""
    assert InputPixels.of_layer(conv(5, 5, 2, stride_h=2, stride_w=2)).count == 16


def test_rows_may_be_needed_unevenly() -> None:
    """Stride 3, two taps: of 8 rows those at 0, 1, 3, 4, 6, 7."""
    layer = conv(8, 1, 2, stride_h=3, pad_w=1)
    assert InputPixels.of_layer(layer).count == 6
    assert reaches(layer, 2) == ([0, 2, 4], [1, 3, 5])


def test_turns_of_padding_only_bring_nothing() -> None:
    """A pixel amid padding of 2: of the 5 x 5 columns only that in the middle (column 12) reads it."""
    assert reaches(conv(1, 1, pad_h=2, pad_w=2), 5) == ([0, 0, 0, 1, 1], [-1, -1, 0, 0, 0])


def test_nothing_but_padding_is_read() -> None:
    """A pixel, padding 1, stride 2: the columns read rows -1 and 1 only."""
    layer = conv(1, 1, pad_h=1, pad_w=1, stride_h=2, stride_w=2)
    assert InputPixels.of_layer(layer).count == 0
    assert reaches(layer, 1) == ([0] * 4, [-1] * 4)
    assert draw_activations(layer, 0.0, 0).of_group(0).nonzeros_before().tolist() == [0]


def test_a_later_row_may_reach_less_far() -> None:
    """8 rows, padding 1, taps 2 apart: output row 6 reads rows 5 and 7, output row 7 row 6 and padding."""
    layer = conv(8, 1, 2, dilation_h=2, pad_h=1, dilation_w=1, pad_w=1)
    # Column 0 of each output row reads tap 1 (of -1, 0), column 1 tap 0 (of 0, 1): the same pixels.
    lo, hi = reaches(layer, 2)
    assert hi == [1, 2, 3, 4, 5, 6, 7, 7]
    assert lo == [0, 0, 1, 2, 3, 4, 5, 6]


def test_samples_follow_one_another() -> None:
    assert reaches(conv(2, 2, batch=3), 3) == ([0, 3, 6, 9], [2, 5, 8, 11])


def test_columns_of_a_matrix_product_are_pixels() -> None:
    pixels = InputPixels.of_columns(7, 5)
    assert (pixels.count, pixels.channels, pixels.columns, pixels.positions) == (5, 7, 5, 7)
    lo, hi = pixels.reaches(np.array([0, 2, 4, 5]))
    assert (lo.tolist(), hi.tolist()) == ([0, 2, 4], [1, 3, 4])
    gemm = Layer(name="l", kind="gemm", in_height=5, in_width=1, kernel_h=1, kernel_w=1, in_channels=7, out_channels=1)
    assert InputPixels.of_layer(gemm) == pixels
    assert hash(InputPixels.of_layer(gemm)) == hash(pixels)


def test_lowered_inputs_without_a_layer() -> None:
    nonzero = np.array([[1, 0, 1], [1, 0, 0]], bool)
    given = GivenColumns(nonzero=nonzero)
    assert given.pixels == InputPixels.of_columns(2, 3)
    assert given.nonzeros_before().tolist() == [0, 2, 2, 3]
    full = NoZeros(k=2, columns=3)
    assert full.pixels == given.pixels
    assert full.nonzeros_before().tolist() == [0, 2, 4, 6]


def test_lowered_inputs_of_a_convolution() -> None:
    pixels = InputPixels.of_layer(conv(2, 2, 2))  # one column of four pixels of two channels
    assert NoZeros(k=8, columns=1, pixels=pixels).nonzeros_before().tolist() == [0, 2, 4, 6, 8]
    nonzero = np.ones((8, 1), bool)
    given = GivenColumns(nonzero=nonzero, pixels=pixels, pixel_nonzeros=np.array([2, 0, 1, 2]))
    assert given.nonzeros_before().tolist() == [0, 2, 2, 3, 5]
    with pytest.raises(ValueError, match="not given"):
        GivenColumns(nonzero=nonzero, pixels=pixels).nonzeros_before()
    with pytest.raises(ValueError, match="pixels of K = 8, P = 1: must be 8, 2"):
        NoZeros(k=8, columns=2, pixels=pixels)
    with pytest.raises(ValueError, match="pixels of K = 8, P = 1: must be 2, 3"):
        GivenColumns(nonzero=np.ones((2, 3), bool), pixels=pixels)


def test_a_map_that_was_not_kept_has_no_nonzeros() -> None:
    with pytest.raises(ValueError, match="not kept"):
        draw_activations(conv(2, 2), 0.5, 0, keep_map=False).of_group(0).nonzeros_before()


def test_weights_without_blocks_meet_all_channels() -> None:
    assert Weights(shape=(4, 18)).kept_channels(2) == 2
    assert Weights(shape=(4, 18), matrix=np.zeros((4, 18), np.int8)).kept_channels(2) == 2
