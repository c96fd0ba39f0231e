"""Writing any layers and reading them gives equal layers; reading any text gives layers or plain errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crispsim.sim.errors import InputError
from crispsim.sim.layer import Layer
from crispsim.sim.layer_csv import read_layers, write_layers

SAME_FOLDER = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])

words = (
    st.one_of(
        st.text(min_size=1, max_size=12),
        st.text(alphabet="aDP#,\"'; .1\t", min_size=1, max_size=8),
    )
    .map(str.strip)
    .filter(lambda text: text and text.isprintable() and not text.startswith("#"))
)
few = st.integers(1, 4)


@st.composite
def pattern_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Give what a row may set for itself, each part present or not."""
    m = draw(st.integers(1, 16))
    nm = draw(st.none() | st.tuples(st.integers(1, m), st.just(m)))
    blocks = st.integers(1, 8).map(lambda times: times * m)
    return {
        "nm": nm,
        "block": draw(st.none() | st.just("none") | blocks),
        "weight_sparsity": draw(st.none() | st.floats(0, 1, exclude_max=True)),
        "activation_sparsity": draw(st.none() | st.floats(0, 1)),
        "tensor": draw(st.none() | words),
        "batch": draw(few),
        "calls": draw(few),
        "groups": draw(few),
    }


@st.composite
def layer_of_any_kind(draw: st.DrawFn) -> Layer:
    """Give a valid layer, of square or uneven filter, stride, padding and dilation."""
    fields = draw(pattern_fields())
    sizes = {
        "name": draw(words),
        "in_channels": fields["groups"] * draw(st.integers(1, 300)),
        "out_channels": fields["groups"] * draw(st.integers(1, 300)),
    }
    if draw(st.booleans()):
        map_ = {"kind": "gemm", "in_height": draw(st.integers(1, 10_000)), "in_width": 1}
        return Layer(**fields, **sizes, **map_, kernel_h=1, kernel_w=1)
    axes: dict[str, Any] = {"kind": "conv"}
    for axis, size in (("h", "in_height"), ("w", "in_width")):
        kernel, dilation, pad = draw(few), draw(few), draw(st.integers(0, 3))
        span = dilation * (kernel - 1) + 1
        axes |= {f"kernel_{axis}": kernel, f"dilation_{axis}": dilation, f"pad_{axis}": pad}
        axes |= {size: span + draw(st.integers(0, 50)), f"stride_{axis}": draw(few)}
    return Layer(**fields, **sizes, **axes)


@st.composite
def networks(draw: st.DrawFn) -> list[Layer]:
    """Give layers with names of their own, some with the output of one before them as their residual."""
    layers: list[Layer] = []
    for layer in draw(st.lists(layer_of_any_kind(), min_size=1, max_size=6, unique_by=lambda layer: layer.name)):
        layers.append(layer)
        twin = f"{layer.name} again"
        if draw(st.booleans()) and twin not in {other.name for other in layers}:
            layers.append(dataclasses.replace(layer, name=twin, residual=layer.name))
    assume(len({layer.name for layer in layers}) == len(layers))
    return layers


@SAME_FOLDER
@given(layers=networks())
def test_write_then_read(layers: list[Layer], tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    write_layers(path, layers)
    assert read_layers(path) == layers


@SAME_FOLDER
@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.lists(
            st.lists(st.sampled_from(["", "1", "64", "x", "2:4", "#", '"', "DP", " "]), max_size=6).map(",".join),
            max_size=6,
        ).map(lambda rows: "\n".join(["Layer,M,N,K,NM", *rows]).encode()),
    )
)
def test_any_bytes_give_layers_or_an_input_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_bytes(content)
    try:
        layers = read_layers(path, notice=lambda line: None)
    except InputError as error:
        assert all("\n" not in line and line for line in error.lines)
    else:
        assert len({layer.name for layer in layers}) == len(layers) > 0
