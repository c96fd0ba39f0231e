"""Formats against their naive twins, over random shapes, dtypes and patterns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crispsim.formats.bitmap import Bitmap
from crispsim.formats.bits import index_width, pack_codes, unpack_codes
from crispsim.formats.blocked_ell import BlockedELL
from crispsim.formats.crisp import CrispMatrix
from crispsim.formats.csr import CSR
from crispsim.formats.ellpack import ELLPACK
from crispsim.formats.nm import NMMatrix
from crispsim.formats.pattern import Pattern
from crispsim.formats.synthetic import draw_weights
from tests import naive

pytestmark = pytest.mark.kernel

PATTERNS = [(1, 4), (2, 4), (3, 4), (4, 8), (1, 1), (2, 8), (2, 3), (1, 5)]
DTYPES = [np.int8, np.float32, np.int16, np.float64, np.float16]
RANDOM = settings(max_examples=100, deadline=None)


# Sizes come from a seeded generator: Hypothesis's own integers are mostly tiny, most cases would be empty.
generators = st.integers(0, 2**64 - 1).map(np.random.default_rng)


def random_shape(rng, rows, columns):
    return int(rng.integers(1, rows + 1)), int(rng.integers(1, columns + 1))


@st.composite
def dense_matrices(draw):
    """Any matrix: from empty to full."""
    rng = draw(generators)
    shape = random_shape(rng, 20, 30)
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    return (rng.integers(-9, 10, shape) * (rng.random(shape) < density)).astype(draw(st.sampled_from(DTYPES)))


def nm_mask(rng, shape, n, m):
    """A mask with at most n in every group of m."""
    mask = np.zeros((shape[0], -(-shape[1] // m) * m), np.bool_)
    for groups in mask.reshape(-1, m):
        groups[rng.permutation(m)[: rng.integers(0, n + 1)]] = True
    return mask[:, : shape[1]]


@st.composite
def nm_cases(draw):
    """(dense, mask, n, m): the mask keeps zeros too."""
    rng = draw(generators)
    n, m = draw(st.sampled_from(PATTERNS))
    shape = random_shape(rng, 10, 40)
    dense = rng.integers(-3, 4, shape).astype(draw(st.sampled_from(DTYPES)))
    return dense, nm_mask(rng, shape, n, m), n, m


@st.composite
def crisp_cases(draw):
    """(dense, mask, block_cols, n, m, block): the mask keeps zeros too, some kept blocks are empty."""
    rng = draw(generators)
    n, m = draw(st.sampled_from(PATTERNS))
    block = draw(st.sampled_from([block for block in (m, 2 * m, 8, 16, 32, 64) if block % m == 0]))
    shape = random_shape(rng, 2 * block + 3, min(4 * block, 140))
    rows, columns = -(-shape[0] // block), -(-shape[1] // block)
    block_cols = rng.permuted(np.tile(np.arange(columns), (rows, 1)), axis=1)[:, : rng.integers(0, columns + 1)]
    block_cols.sort(axis=1)
    blocks = np.zeros((rows, columns), np.bool_)
    np.put_along_axis(blocks, block_cols, True, axis=1)
    kept = np.kron(blocks, np.ones((block, block), np.bool_))[: shape[0], : shape[1]]
    dense = rng.integers(-3, 4, shape).astype(draw(st.sampled_from(DTYPES)))
    return dense, nm_mask(rng, shape, n, m) & kept, block_cols, n, m, block


def assert_as_large_as_written(matrix, streams):
    footprint = matrix.footprint()
    assert footprint.value_bits == len(streams.values)
    assert footprint.index_bits == len(streams.indices)
    assert footprint.pointer_bits == len(streams.pointers)
    written = [naive.to_bytes(bits) for bits in (streams.values, streams.indices, streams.pointers)]
    assert footprint.total_bytes == sum(len(stream) for stream in written)


def assert_counts(matrix, dense, m):
    assert matrix.nonzeros() == sum(naive.nonzeros_per_column(dense))
    assert matrix.nonzeros_per_column().dtype == np.int64
    assert matrix.nonzeros_per_column().tolist() == naive.nonzeros_per_column(dense)
    for size in (1, 3, 4, m, 8, 1000):
        assert matrix.max_nonzeros_per_group(size) == naive.max_nonzeros_per_group(dense, size)


@RANDOM
@given(crisp_cases())
def test_crisp_equals_its_twin(case):
    dense, mask, block_cols, n, m, block = case
    matrix = CrispMatrix.encode(dense, n=n, m=m, block=block, mask=mask, block_cols=block_cols)
    matrix.check()
    streams = naive.write_crisp(dense, mask, block_cols, n, m, block)
    assert_as_large_as_written(matrix, streams)
    assert matrix.values.tobytes() == naive.to_bytes(streams.values)
    written = naive.to_bytes(streams.indices)
    assert written.startswith(matrix.nm_index.tobytes())
    pruned = np.where(mask, dense, 0).astype(dense.dtype)
    np.testing.assert_array_equal(matrix.decode(), pruned)
    read = naive.read_crisp(streams, dense.shape, dense.dtype, n, m, block, block_cols.shape[1])
    np.testing.assert_array_equal(read, pruned)
    assert_counts(matrix, pruned, m)


@RANDOM
@given(crisp_cases())
def test_crisp_finds_its_blocks(case):
    dense, mask, _, n, m, block = case
    found = naive.occupied_block_cols(mask, block)
    if len({len(row) for row in found}) == 1:
        matrix = CrispMatrix.encode(dense, n=n, m=m, block=block, mask=mask)
        assert matrix.block_cols.tolist() == found
    else:
        with pytest.raises(ValueError, match=r"crisp: block row \d+ keeps \d+ blocks, block row 0 keeps \d+"):
            CrispMatrix.encode(dense, n=n, m=m, block=block, mask=mask)


@RANDOM
@given(nm_cases())
def test_nm_equals_its_twin(case):
    dense, mask, n, m = case
    matrix = NMMatrix.encode(dense, n=n, m=m, mask=mask)
    matrix.check()
    streams = naive.write_nm(dense, mask, n, m)
    assert_as_large_as_written(matrix, streams)
    assert matrix.values.tobytes() == naive.to_bytes(streams.values)
    assert matrix.nm_index.tobytes() == naive.to_bytes(streams.indices)
    pruned = np.where(mask, dense, 0).astype(dense.dtype)
    np.testing.assert_array_equal(matrix.decode(), pruned)
    np.testing.assert_array_equal(naive.read_nm(streams, dense.shape, dense.dtype, n, m), pruned)
    assert_counts(matrix, pruned, m)


@RANDOM
@given(dense_matrices())
def test_csr_equals_its_twin(dense):
    matrix = CSR.encode(dense)
    streams = naive.write_csr(dense)
    assert_as_large_as_written(matrix, streams)
    assert matrix.values.tobytes() == naive.to_bytes(streams.values)
    np.testing.assert_array_equal(matrix.decode(), dense)
    np.testing.assert_array_equal(naive.read_csr(streams, dense.shape, dense.dtype, matrix.values.size), dense)


@RANDOM
@given(dense_matrices())
def test_ellpack_equals_its_twin(dense):
    matrix = ELLPACK.encode(dense)
    streams = naive.write_ellpack(dense)
    assert_as_large_as_written(matrix, streams)
    assert matrix.values.tobytes() == naive.to_bytes(streams.values)
    np.testing.assert_array_equal(matrix.decode(), dense)
    np.testing.assert_array_equal(naive.read_ellpack(streams, dense.shape, dense.dtype, matrix.width), dense)


@RANDOM
@given(dense_matrices(), st.integers(1, 9))
def test_blocked_ell_equals_its_twin(dense, block):
    matrix = BlockedELL.encode(dense, block=block)
    streams = naive.write_blocked_ell(dense, block)
    assert_as_large_as_written(matrix, streams)
    assert matrix.values.tobytes() == naive.to_bytes(streams.values)
    np.testing.assert_array_equal(matrix.decode(), dense)
    width = matrix.block_cols.shape[1]
    np.testing.assert_array_equal(naive.read_blocked_ell(streams, dense.shape, dense.dtype, block, width), dense)


@RANDOM
@given(dense_matrices(), st.integers(1, 9), st.integers(1, 9))
def test_bitmap_equals_its_twin(dense, tile_rows, tile_cols):
    matrix = Bitmap.encode(dense, tile_rows=tile_rows, tile_cols=tile_cols)
    streams = naive.write_bitmap(dense, tile_rows, tile_cols)
    assert_as_large_as_written(matrix, streams)
    assert matrix.values.tobytes() == naive.to_bytes(streams.values)
    tiles = -(-dense.shape[0] // tile_rows) * -(-dense.shape[1] // tile_cols)
    assert matrix.tile_bits.tobytes() == naive.to_bytes(streams.indices[:tiles])
    assert matrix.element_bits.tobytes() == naive.to_bytes(streams.indices[tiles:])
    np.testing.assert_array_equal(matrix.decode(), dense)
    np.testing.assert_array_equal(naive.read_bitmap(streams, dense.shape, dense.dtype, tile_rows, tile_cols), dense)


@RANDOM
@given(st.integers(0, 8), st.integers(1, 3), st.integers(0, 20), st.integers(0, 2**32))
def test_codes_are_written_bit_by_bit(width, streams, count, seed):
    codes = np.random.default_rng(seed).integers(0, 2**width, (streams, count))
    packed = pack_codes(codes, width)
    for row, stream in zip(codes, packed, strict=True):
        bits: list[int] = []
        for code in row:
            naive.write_number(bits, int(code), width)
        assert stream.tobytes() == naive.to_bytes(bits)
    np.testing.assert_array_equal(unpack_codes(packed, count, width), codes)


@given(st.integers(0, 2**20))
def test_index_width(count):
    assert index_width(count) == naive.bits_for(count)


@RANDOM
@given(st.data())
def test_draws_have_exact_counts_and_are_canonical(data):
    n, m = data.draw(st.sampled_from(PATTERNS))
    block = data.draw(st.sampled_from([None, 8, 16])) if 8 % m == 0 else None
    pattern = Pattern(n=n, m=m, block=block or (8 if m == 1 else None))
    shape = random_shape(data.draw(generators), 40, 60)
    sparsity = None
    if pattern.block is not None:
        sparsity = data.draw(st.sampled_from([None, 0.875, 0.95]))
    matrix = draw_weights(shape, pattern, sparsity, data.draw(st.integers(0, 2**64 - 1)))
    matrix.check()
    dense = matrix.decode()
    for row in range(shape[0]):
        for start in range(0, shape[1], pattern.m):
            kept = np.count_nonzero(dense[row, start : start + pattern.m])
            full = min(pattern.n, shape[1] - start)
            block_row = row // (pattern.block or 1)
            stored = pattern.block is None or start // pattern.block in matrix.block_cols[block_row]
            assert kept == (full if stored else 0)
    if isinstance(matrix, CrispMatrix):
        again = CrispMatrix.encode(dense, n=n, m=m, block=matrix.block)
        assert again.block_cols.tobytes() == matrix.block_cols.tobytes()
    else:
        again = NMMatrix.encode(dense, n=n, m=m)
    assert again.values.tobytes() == matrix.values.tobytes()
    assert again.nm_index.tobytes() == matrix.nm_index.tobytes()


@RANDOM
@given(st.data())
def test_draws_equal_their_twin(data):
    n, m = data.draw(st.sampled_from([(1, 4), (2, 4), (3, 4), (1, 1), (3, 8)]))
    block = data.draw(st.sampled_from([8, 16] if m == 1 else [None, 8, 16]))
    shape = random_shape(data.draw(generators), 20, 40)
    names = data.draw(st.integers(0, 2**64 - 1)), data.draw(st.integers(0, 60)), data.draw(st.integers(0, 3))
    sparsity = None if block is None else 0.875
    matrix = draw_weights(shape, Pattern(n=n, m=m, block=block), sparsity, *names)
    kept = matrix.block_cols.shape[1] if isinstance(matrix, CrispMatrix) else None
    np.testing.assert_array_equal(matrix.decode(), naive.draw(shape, n, m, block, kept, *names))
