"""What every format of the registry promises: it round-trips, is as large as it says, and is frozen."""

import dataclasses

import numpy as np
import pytest

from crispsim.formats.footprint import Footprint
from crispsim.formats.registry import FORMATS
from tests import naive

pytestmark = pytest.mark.kernel

ARGUMENTS = {
    "crisp": {"n": 2, "m": 4, "block": 8},
    "nm": {"n": 2, "m": 4},
    "blocked-ell": {"block": 8},
    "csr": {},
    "ellpack": {},
    "bitmap": {"tile_rows": 8, "tile_cols": 4},
}
DTYPES = [np.int8, np.uint8, np.int32, np.float16, np.float32, np.float64]
SHAPES = [(16, 32), (1, 1), (13, 27), (9, 4), (3, 30)]

every_format = pytest.mark.parametrize("name", FORMATS)


def hybrid(shape, dtype, empty=False):
    """A 2:4 matrix in 8 x 8 blocks that every format can take; nonzero unless asked to be empty."""
    rng = np.random.default_rng(7)
    dense = np.zeros(shape, dtype)
    for top in range(0, 0 if empty else shape[0], 8):
        for left in rng.permutation(np.arange(0, shape[1], 8))[:2]:
            for row in range(top, min(top + 8, shape[0])):
                for start in range(left, min(left + 8, shape[1]), 4):
                    for column in start + rng.permutation(min(4, shape[1] - start))[:2]:
                        dense[row, column] = rng.integers(1, 100)
    return dense


def streams_of(name, dense, matrix):
    """What the naive twin writes for the matrix."""
    if name == "crisp":
        return naive.write_crisp(dense, dense != 0, naive.occupied_block_cols(dense != 0, 8), 2, 4, 8)
    if name == "nm":
        return naive.write_nm(dense, dense != 0, 2, 4)
    if name == "bitmap":
        return naive.write_bitmap(dense, 8, 4)
    return {"csr": naive.write_csr, "ellpack": naive.write_ellpack}.get(
        name, lambda dense: naive.write_blocked_ell(dense, 8)
    )(dense)


@every_format
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("empty", [False, True])
def test_round_trip(name, dtype, shape, empty):
    dense = hybrid(shape, dtype, empty)
    matrix = FORMATS[name].encode(dense, **ARGUMENTS[name])
    decoded = matrix.decode()
    assert matrix.shape == shape
    assert decoded.dtype == dtype
    np.testing.assert_array_equal(decoded, dense)


@every_format
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_as_large_as_it_says(name, dtype, shape):
    dense = hybrid(shape, dtype)
    matrix = FORMATS[name].encode(dense, **ARGUMENTS[name])
    streams = streams_of(name, dense, matrix)
    written = [len(streams.values), len(streams.indices), len(streams.pointers)]
    assert matrix.footprint() == Footprint(*written)
    assert matrix.footprint().total_bits == sum(written)
    assert matrix.footprint().total_bytes == sum(
        len(naive.to_bytes(bits)) for bits in (streams.values, streams.indices, streams.pointers)
    )


@every_format
def test_encoding_copies(name):
    dense = hybrid((13, 27), np.int8)
    matrix = FORMATS[name].encode(dense, **ARGUMENTS[name])
    before = matrix.decode()
    dense[:] = 0
    np.testing.assert_array_equal(matrix.decode(), before)


@every_format
def test_any_memory_order_and_read_only_input(name):
    dense = hybrid((13, 27), np.int8)
    turned = np.asfortranarray(dense)
    turned.flags.writeable = False
    np.testing.assert_array_equal(FORMATS[name].encode(turned, **ARGUMENTS[name]).decode(), dense)


@every_format
def test_frozen(name):
    matrix = FORMATS[name].encode(hybrid((8, 8), np.int8), **ARGUMENTS[name])
    with pytest.raises(dataclasses.FrozenInstanceError):
        matrix.shape = (1, 1)


@every_format
@pytest.mark.parametrize(
    ("dense", "rule"),
    [
        (np.zeros(4, np.int8), r"must be a matrix \[S, K\]"),
        (np.zeros((0, 4), np.int8), "both at least 1"),
        (np.zeros((4, 4), np.complex64), "dtype complex64: must be native"),
        (np.zeros((4, 4), np.bool_), "dtype bool: must be native"),
        (np.zeros((4, 4), np.dtype(np.float32).newbyteorder()), "must be native"),
    ],
)
def test_refuses_what_is_no_matrix(name, dense, rule):
    with pytest.raises(ValueError, match=rule) as raised:
        FORMATS[name].encode(dense, **ARGUMENTS[name])
    assert str(raised.value).startswith(f"{name}: ")
    assert "\n" not in str(raised.value)
