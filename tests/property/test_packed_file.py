"""The packed model file under Hypothesis: any model comes back, and no damaged file does harm."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crispsim.formats.crisp import CrispMatrix
from crispsim.formats.errors import FileFormatError
from crispsim.formats.nm import NMMatrix
from crispsim.formats.packed_file import PackedLayer, PackedModel, read_model, write_model
from crispsim.formats.pattern import Pattern

pytestmark = pytest.mark.kernel


def draw_matrix(rng, pattern, shape, kept_blocks, dtype):
    """A matrix of this pattern with kept_blocks blocks in each block row, all chosen by the generator."""
    m, rows, columns = pattern.m, *shape
    weights = rng.integers(1, 100, (rows, math.ceil(columns / m) * m)).astype(dtype)
    order = rng.permuted(np.broadcast_to(np.arange(weights.shape[1]) % m, weights.shape).reshape(-1, m), axis=1)
    weights[(order >= pattern.n).reshape(weights.shape)] = 0
    weights = weights[:, :columns]
    if pattern.block is None:
        return weights if m == 1 else NMMatrix.encode(weights, n=pattern.n, m=m)
    block_rows, block_columns = (math.ceil(side / pattern.block) for side in shape)
    kept = [np.sort(rng.choice(block_columns, kept_blocks, replace=False)) for _ in range(block_rows)]
    occupied = np.zeros((block_rows, block_columns), bool)
    np.put_along_axis(occupied, np.array(kept), True, axis=1)
    spread = np.kron(occupied, np.ones((pattern.block, pattern.block), bool))[:rows, :columns]
    cols = np.array(kept, np.int32)
    return CrispMatrix.encode(weights * spread, n=pattern.n, m=m, block=pattern.block, block_cols=cols)


@st.composite
def packed_layers(draw, name):
    m = draw(st.integers(1, 5))
    n = draw(st.integers(1, m))
    pattern = Pattern(n=n, m=m, block=draw(st.none() | st.integers(1, 3).map(lambda i: i * m)))
    groups, kernel = draw(st.integers(1, 3)), draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    channels, rows = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    columns = channels * math.prod(kernel)
    kept = draw(st.integers(1, math.ceil(columns / pattern.block))) if pattern.block else 0
    dtype = draw(st.sampled_from(["int8", "float16", "float32"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = tuple(draw_matrix(rng, pattern, (rows, columns), kept, dtype) for _ in range(groups))
    scales = tuple(rng.uniform(0.1, 2, groups * rows).tolist()) if draw(st.booleans()) else None
    return PackedLayer(
        name=name,
        weights=weights if groups > 1 else weights[0],
        kind="conv",
        kernel=kernel,
        groups=groups,
        in_channels=groups * channels,
        in_height=4,
        in_width=3,
        p=(5 - kernel[0]) * (4 - kernel[1]),
        dtype=dtype,
        scales=scales if dtype == "int8" else None,
    )


NAMES = st.text("abé.0 /", min_size=1, max_size=5)
MODELS = st.lists(NAMES, min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*map(packed_layers, names))
)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@settings(max_examples=100, deadline=None)
@given(
    layers=MODELS,
    made_by=st.dictionaries(st.text("ab{}\"'\\é"), st.integers() | st.booleans() | st.text("x\n")),
)
def test_any_model_comes_back(folder, layers, made_by):
    first, again = folder / "first.safetensors", folder / "again.safetensors"
    write_model(first, PackedModel(layers, made_by))
    found = read_model(first)
    assert found.made_by == made_by
    for ours, theirs in zip(found.layers, layers, strict=True):
        assert ours.record() == theirs.record()
        for one, other in zip(ours.group_weights, theirs.group_weights, strict=True):
            one, other = (each if isinstance(each, np.ndarray) else each.decode() for each in (one, other))
            np.testing.assert_array_equal(one, other, strict=True)
    write_model(again, found)
    assert again.read_bytes() == first.read_bytes()


def valid_file(folder):
    path = folder / "valid.safetensors"
    rng = np.random.default_rng(5)
    crisp = draw_matrix(rng, Pattern(n=2, m=4, block=4), (8, 16), 2, "int8")
    nm = draw_matrix(rng, Pattern(n=1, m=3), (4, 6), 0, "float32")
    geometry = {"in_height": 3, "p": 3, "kind": "gemm"}
    layers = (
        PackedLayer(name="a", weights=crisp, in_channels=16, dtype="int8", scales=(0.5,) * 8, **geometry),
        PackedLayer(name="b", weights=nm, in_channels=6, dtype="float32", **geometry),
    )
    write_model(path, PackedModel(layers, {"seed": 1}))
    return path.read_bytes()


def assert_sound_or_refused(path, raw, shapes):
    """The file loads to a model of the same tensors, which can be written, or is refused in one line."""
    path.write_bytes(raw)
    try:
        model = read_model(path)
    except FileFormatError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert [needed.shape for layer in model.layers for needed in layer.record().tensors().values()] == shapes
    write_model(path.with_suffix(".copy"), model)


SHAPES = [(2, 2, 4, 2), (2, 2), (2, 2, 2), (4, 2), (4, 1)]
FLIPS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(flips=FLIPS)
def test_flipped_bytes_are_refused_or_harmless(folder, flips):
    raw = bytearray(valid_file(folder))
    for place, change in flips:
        raw[int(place * len(raw))] ^= change
    assert_sound_or_refused(folder / "flipped.safetensors", raw, SHAPES)


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), digit=st.integers(0, 9))
def test_changed_digits_are_refused_or_harmless(folder, place, digit):
    raw = bytearray(valid_file(folder))
    digits = [i for i, byte in enumerate(raw) if chr(byte).isdigit()]
    raw[digits[int(place * len(digits))]] = ord(str(digit))
    assert_sound_or_refused(folder / "digits.safetensors", raw, SHAPES)


@settings(max_examples=50, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_is_refused(folder, place):
    raw = valid_file(folder)
    path = folder / "cut.safetensors"
    path.write_bytes(raw[: int(place * len(raw))])
    with pytest.raises(FileFormatError, match="truncated"):
        read_model(path)
