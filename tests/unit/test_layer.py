"""A layer's derived sizes, and every rule that it refuses to break."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from crispsim.sim.errors import InputError, LayerError
from crispsim.sim.layer import Layer, check_residuals

CONV = {
    "name": "conv1",
    "kind": "conv",
    "in_height": 56,
    "in_width": 48,
    "kernel_h": 3,
    "kernel_w": 5,
    "in_channels": 64,
    "out_channels": 128,
}
GEMM = {
    "name": "fc",
    "kind": "gemm",
    "in_height": 197,
    "in_width": 1,
    "kernel_h": 1,
    "kernel_w": 1,
    "in_channels": 768,
    "out_channels": 2304,
}


def conv(**changes: Any) -> Layer:
    return Layer(**{**CONV, **changes})


def test_sizes_of_a_convolution() -> None:
    layer = conv(stride_h=2, stride_w=3, pad_h=1, pad_w=2, batch=4)
    assert (layer.out_height, layer.out_width) == (28, 16)  # (58 - 3) // 2 + 1, (52 - 5) // 3 + 1
    assert (layer.s, layer.k, layer.p) == (128, 3 * 5 * 64, 28 * 16 * 4)
    assert layer.macs == 128 * 960 * 1792
    assert layer.weights == 128 * 960


def test_output_is_rounded_down() -> None:
    assert conv(in_height=224, in_width=224, kernel_h=3, kernel_w=3, stride_h=2, stride_w=2).out_height == 111


def test_dilation_widens_the_filter() -> None:
    layer = conv(dilation_h=4, dilation_w=2)
    assert (layer.out_height, layer.out_width) == (56 - 8, 48 - 8)
    assert layer.k == 3 * 5 * 64


def test_groups_split_rows_and_columns() -> None:
    layer = conv(groups=32)
    assert (layer.s, layer.k) == (4, 3 * 5 * 2)
    assert layer.weights == 128 * 3 * 5 * 2
    assert not layer.depthwise


@pytest.mark.parametrize(("channels", "groups", "depthwise"), [(64, 64, True), (64, 32, False), (1, 1, False)])
def test_depthwise(channels: int, groups: int, depthwise: bool) -> None:
    assert conv(in_channels=channels, out_channels=64, groups=groups).depthwise is depthwise


def test_gemm_is_m_columns_n_rows() -> None:
    layer = Layer(**GEMM)
    assert (layer.p, layer.s, layer.k) == (197, 2304, 768)
    assert layer.macs == 197 * 2304 * 768


def test_calls_do_not_change_a_call() -> None:
    assert conv(calls=12).macs == conv().macs


def test_line_is_no_part_of_equality() -> None:
    assert conv(line=3) == conv(line=8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "layer '': name '': must be printable text without surrounding spaces"),
        ({"name": " a"}, "layer ' a': name ' a': must be printable text without surrounding spaces"),
        ({"name": "#1"}, "layer '#1': name '#1': must not start with #, which begins a comment"),
        (
            {"tensor": "a\n"},
            "layer 'conv1': tensor 'a\\n': must be printable text without surrounding spaces",
        ),
        ({"residual": ""}, "layer 'conv1': residual '': must be printable text without surrounding spaces"),
        ({"residual": "#1"}, "layer 'conv1': residual '#1': must not start with #, which begins a comment"),
        ({"kind": "pool"}, "layer 'conv1': kind 'pool': must be conv or gemm"),
        ({"in_height": 0}, "layer 'conv1': in_height 0: must be an integer of at least 1"),
        ({"in_height": 2.0}, "layer 'conv1': in_height 2.0: must be an integer of at least 1"),
        ({"groups": True}, "layer 'conv1': groups True: must be an integer of at least 1"),
        ({"pad_w": -1}, "layer 'conv1': pad_w -1: must be an integer of at least 0"),
        ({"groups": 3}, "layer 'conv1': groups 3: must divide in_channels = 64"),
        ({"groups": 64, "out_channels": 96}, "layer 'conv1': groups 64: must divide out_channels = 96"),
        ({"kernel_w": 49}, "layer 'conv1': kernel_w 49: must not be larger than the padded input of 48"),
        (
            {"dilation_h": 30, "pad_h": 1},
            "layer 'conv1': kernel_h 3: must not be larger than the padded input of 58 (it spans 61 with dilation 30)",
        ),
        ({"nm": (5, 4)}, "layer 'conv1': nm (5, 4): N:M needs 1 <= N <= M <= 256"),
        ({"nm": "2:4"}, "layer 'conv1': nm '2:4': must be a pair of integers (N, M)"),
        ({"block": 0}, "layer 'conv1': block 0: must be at least 1"),
        ({"block": 6, "nm": (2, 4)}, "layer 'conv1': block 6: must be a multiple of M = 4"),
        ({"block": "all"}, "layer 'conv1': block 'all': must be an integer or none"),
        (
            {"weight_sparsity": 1.0},
            "layer 'conv1': weight_sparsity 1.0: must be a number from 0 up to, not including, 1",
        ),
        (
            {"weight_sparsity": float("nan")},
            "layer 'conv1': weight_sparsity nan: must be a number from 0 up to, not including, 1",
        ),
        (
            {"activation_sparsity": 1.01},
            "layer 'conv1': activation_sparsity 1.01: must be a number from 0 to 1",
        ),
    ],
)
def test_broken_rules(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LayerError) as caught:
        conv(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["in_width", "kernel_h", "stride_w", "dilation_h"])
def test_a_gemm_has_no_map(name: str) -> None:
    with pytest.raises(LayerError, match=f"layer 'fc': {name} 2: must be 1 in a gemm"):
        Layer(**{**GEMM, name: 2})


def test_overflow_of_macs_and_of_inputs() -> None:
    assert Layer(**{**GEMM, "in_height": 2**63 // (768 * 2304)}).macs <= 2**63 - 1
    with pytest.raises(LayerError, match=r"macs \d+: overflow: must be at most 2\*\*63 - 1"):
        Layer(**{**GEMM, "in_height": 2**63 // (768 * 2304) + 1})
    with pytest.raises(LayerError, match=r"input values \d+: overflow"):
        conv(in_height=2**31, in_width=2**31, stride_h=2**31, stride_w=2**31)
    with pytest.raises(LayerError, match="overflow"):
        conv(calls=2**62)


def test_residuals_that_stand() -> None:
    check_residuals([conv(), conv(name="conv2", residual="conv1")])
    check_residuals([conv(name="conv2", residual="conv1")])  # a part of a network
    flat = {"in_height": 14 * 12, "in_channels": 64, "out_channels": 128}
    check_residuals([conv(in_height=16, in_width=16), Layer(**{**GEMM, **flat, "residual": "conv1"})])


def test_residuals_that_do_not_stand() -> None:
    layers = [
        conv(name="self", residual="self"),
        conv(name="early", residual="conv1", file="net.csv", line=7),
        conv(),
        conv(name="narrow", out_channels=64, residual="conv1"),
        conv(name="batched", in_height=30, batch=2, residual="conv1"),
    ]
    with pytest.raises(InputError) as caught:
        check_residuals(layers)
    same = "must name a layer with the same output"
    assert caught.value.lines == [
        "layer 'self': residual 'self': must name an earlier layer",
        "net.csv:7: layer 'early': residual 'conv1': must name an earlier layer",
        f"layer 'narrow': residual 'conv1': {same}, 64 x 2376; its is 128 x 2376",
        f"layer 'batched': residual 'conv1': {same}, 128 x 2464, batch 2; its is 128 x 2376",
    ]


def test_input_error_shows_ten_problems() -> None:
    error = InputError(*(f"problem {i}" for i in range(13)))
    assert error.lines == [*(f"problem {i}" for i in range(10)), "and 3 more"]
    assert str(error) == "\n".join(error.lines)
    assert InputError("one").lines == ["one"]


@pytest.mark.parametrize("error", [InputError(*"abcdefghijkl"), LayerError("a", "in_height", 0, "rule")])
def test_errors_survive_a_process_border(error: InputError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.lines == error.lines
