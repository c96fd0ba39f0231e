"""The matrices by hand: bytes of a small one, what is refused, and what `check` finds."""

from dataclasses import replace

import numpy as np
import pytest

from crispsim.formats.bitmap import Bitmap
from crispsim.formats.bits import pack_codes, unpack_codes
from crispsim.formats.blocked_ell import BlockedELL
from crispsim.formats.crisp import CrispMatrix
from crispsim.formats.csr import CSR
from crispsim.formats.ellpack import ELLPACK
from crispsim.formats.errors import FormatError, PatternError
from crispsim.formats.footprint import Footprint
from crispsim.formats.nm import NMMatrix
from crispsim.formats.pattern import Pattern

pytestmark = pytest.mark.kernel

DENSE = np.array(
    [
        [0, 0, 0, 0, 1, 0, 0, 2],
        [0, 0, 0, 0, 0, 3, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 4, 5, 0],
        [6, 0, 7, 0, 0, 0, 0, 0],
    ],
    np.int8,
)


def crisp():
    return CrispMatrix.encode(DENSE, n=2, m=4, block=4)


def nm():
    return NMMatrix.encode(DENSE, n=2, m=4)


def test_crisp_by_hand():
    matrix = crisp()
    assert matrix.block_cols.tolist() == [[1], [0]]
    assert matrix.values.tolist() == [[[[1, 2], [0, 3], [0, 0], [4, 5]]], [[[6, 7], [0, 0], [0, 0], [0, 0]]]]
    # Indices 0 3 | 0 1 | 0 1 | 1 2, two bits each from the lowest: 0b01001100, 0b10010100.
    assert matrix.nm_index[0, 0].tolist() == [0b0100_1100, 0b1001_0100]
    # 0 2 | 0 1 | 0 1 | 0 1
    assert matrix.nm_index[1, 0].tolist() == [0b0100_1000, 0b0100_0100]
    # 16 values of 8 bits; 4 bytes of N:M; 2 block columns of 1 bit.
    assert matrix.footprint() == Footprint(128, 34, 0)
    assert matrix.footprint().total_bytes == 16 + 5


def test_equal_n_and_m_is_blocks_only():
    matrix = CrispMatrix.encode(np.ones((4, 4), np.int8), n=4, m=4, block=4)
    assert (matrix.n, matrix.m) == (1, 1)
    assert matrix.pattern == Pattern(block=4)
    assert matrix.nm_index.shape == (1, 1, 0)
    assert NMMatrix.encode(np.ones((2, 3), np.int8), n=2, m=2).nm_index.shape == (2, 0)


def test_the_mask_rules_the_positions():
    dense = np.array([[5, 0, 7, 9]], np.int8)
    mask = np.array([[False, True, False, True]])
    matrix = NMMatrix.encode(dense, n=2, m=4, mask=mask)
    assert matrix.values.tolist() == [[0, 9]]
    assert unpack_codes(matrix.nm_index, 2, 2).tolist() == [[1, 3]]
    assert matrix.nonzeros() == 1


def test_empty_blocks_can_be_kept():
    dense = np.zeros((4, 8), np.int8)
    dense[0, 0] = 1
    with pytest.raises(PatternError, match="block row 1 keeps 0 blocks, block row 0 keeps 1: must be equal"):
        CrispMatrix.encode(dense, n=1, m=2, block=2)
    matrix = CrispMatrix.encode(dense, n=1, m=2, block=2, block_cols=np.array([[0, 2], [1, 3]]))
    np.testing.assert_array_equal(matrix.decode(), dense)
    assert matrix.nonzeros_per_column().tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    with pytest.raises(PatternError, match="block row 0, block column 0 is occupied: must be in block_cols"):
        CrispMatrix.encode(dense, n=1, m=2, block=2, block_cols=np.array([[1], [1]]))


@pytest.mark.parametrize(
    "encode", [lambda d: NMMatrix.encode(d, n=1, m=4), lambda d: CrispMatrix.encode(d, n=1, m=4, block=4)]
)
def test_an_overfull_group_is_named(encode):
    with pytest.raises(PatternError, match=r"row 0, group 1 keeps 2: 1:4 allows 1"):
        encode(DENSE)


def test_a_wrong_mask_is_named():
    with pytest.raises(FormatError, match=r"nm: mask of dtype int8: must be bool"):
        NMMatrix.encode(DENSE, n=2, m=4, mask=DENSE)
    with pytest.raises(FormatError, match=r"crisp: mask of shape \(5, 7\): must be \(5, 8\)"):
        CrispMatrix.encode(DENSE, n=2, m=4, block=4, mask=DENSE[:, :7] != 0)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"block": 6}, "block 6: must be a multiple of M = 4"),
        ({"shape": (9, 8)}, r"crisp: block_cols of shape \(2, 1\): must be \(3, kept blocks\)"),
        ({"shape": (5, 0)}, r"crisp: shape \(5, 0\): must be \(S, K\)"),
        ({"k_order": "whc"}, "crisp: k_order 'whc': must be one of hwc, chw"),
        ({"block_cols": np.array([[1], [0]])}, "crisp: block_cols of dtype int64: must be int32"),
        ({"block_cols": np.array([[1.0], [0.0]])}, "crisp: block_cols of dtype float64: must be integers"),
        ({"block_cols": np.array([1, 0], np.int32)}, r"crisp: block_cols of shape \(2,\)"),
        (
            {"block_cols": np.array([[1], [2]], np.int32)},
            r"^crisp: block row 1, block 0: block column 2: must be 0 or more and below ceil\(K/B\) = 2$",
        ),
        (
            {"block_cols": np.array([[-1], [0]], np.int32)},
            r"^crisp: block row 0, block 0: block column -1: must be 0 or more and below ceil\(K/B\) = 2$",
        ),
        (
            {"block_cols": np.array([[0, 1], [1, 1]], np.int32)},
            "^crisp: block row 1, block 1: block column 1 twice: must ascend$",
        ),
        (
            {"block_cols": np.array([[1, 0], [2, 2]], np.int32)},
            "^crisp: block row 0, block 1: block column 0 after 1: must ascend$",
        ),
        (
            {"block_cols": np.array([[0, 1], [0, -5]], np.int32)},
            r"^crisp: block row 1, block 1: block column -5: must be 0 or more",
        ),
        ({"values": np.zeros((2, 1, 4, 3), np.int8)}, r"crisp: values of shape \(2, 1, 4, 3\): must be"),
        ({"values": np.zeros((2, 1, 4, 2), np.complex64)}, "crisp: values of dtype complex64"),
        (
            {"nm_index": np.zeros((2, 1, 3), np.uint8)},
            r"crisp: nm_index of shape \(2, 1, 3\): must be \(2, 1, 2\)",
        ),
        ({"nm_index": np.zeros((2, 1, 2), np.int8)}, "crisp: nm_index of dtype int8: must be uint8"),
    ],
)
def test_crisp_refuses(change, rule):
    with pytest.raises(FormatError, match=rule):
        replace(crisp(), **change)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"n": 5}, "pattern 5:4: N:M needs"),
        ({"shape": (5, 9)}, r"nm: values of shape \(5, 4\): must be \(5, 6\)"),
        ({"k_order": "x"}, "nm: k_order 'x'"),
        ({"nm_index": np.zeros((5, 2), np.uint8)}, r"nm: nm_index of shape \(5, 2\): must be \(5, 1\)"),
    ],
)
def test_nm_refuses(change, rule):
    with pytest.raises(FormatError, match=rule):
        replace(nm(), **change)


def test_encode_refuses_block_columns_of_any_integer_dtype():
    for columns, fault in [([[1], [2]], "block column 2: must be"), ([[1, 0], [0, 1]], "block column 0 after 1:")]:
        with pytest.raises(FormatError, match=fault):
            CrispMatrix.encode(DENSE, n=2, m=4, block=4, block_cols=np.array(columns, np.uint64))


@pytest.mark.parametrize(
    ("packed", "fault"),
    [
        (0b0000_0100, "index 0 twice: must ascend"),
        (0b0010_0100, "index 0 after 2: must ascend"),
    ],
)
def test_check_finds_indices_out_of_order(packed, fault):
    index = crisp().nm_index.copy()
    index[1, 0, 1] = packed  # its upper half is row 3, group 3 of block 0 in block row 1
    with pytest.raises(FormatError, match=f"^crisp: block row 1, block 0, group 3: {fault}$"):
        replace(crisp(), nm_index=index).check()
    rows = nm().nm_index.copy()
    rows[4, 0] = packed  # group 1 of row 4 in the upper half
    with pytest.raises(FormatError, match=f"^nm: row 4, group 1: {fault}$"):
        replace(nm(), nm_index=rows).check()


def test_check_finds_indices_beyond_m():
    matrix = NMMatrix.encode(np.array([[1, 0, 2]], np.int8), n=2, m=3)
    broken = replace(matrix, nm_index=pack_codes(np.array([[0, 3]]), 2))
    with pytest.raises(FormatError, match=r"^nm: row 0, group 0: index 3: must be 0 or more and below M = 3$"):
        broken.check()
    blocks = CrispMatrix.encode(np.eye(3, dtype=np.int8), n=2, m=3, block=3)
    index = pack_codes(np.array([[0, 1, 0, 1, 3, 3]]), 2).reshape(1, 1, -1)
    with pytest.raises(FormatError, match=r"^crisp: block row 0, block 0, group 2: index 3: must be .* below M = 3$"):
        replace(blocks, nm_index=index).check()
    assert broken.decode().tolist() == [[1, 0, 0]]  # the stray value is dropped, not written elsewhere
    assert broken.nonzeros_per_column().tolist() == [1, 0, 0]


def test_check_finds_values_in_padding():
    values = crisp().values.copy()
    values[1, 0, 2, 1] = 9
    broken = replace(crisp(), values=values)
    with pytest.raises(FormatError, match=r"crisp: row 6, column 1: padding beyond \(5, 8\) must be zero"):
        broken.check()
    np.testing.assert_array_equal(broken.decode(), DENSE)
    ragged = NMMatrix.encode(DENSE[:, :5], n=2, m=4)
    values = ragged.values.copy()
    values[2, 3] = 9
    with pytest.raises(FormatError, match="nm: row 2, column 5: padding beyond K = 5 must be zero"):
        replace(ragged, values=values).check()


@pytest.mark.parametrize("make", [crisp, nm])
def test_group_sizes(make):
    matrix = make()
    assert [matrix.max_nonzeros_per_group(m) for m in (1, 2, 4, 8)] == [1, 1, 2, 2]
    with pytest.raises(PatternError, match="group of 0 columns: must be at least 1"):
        matrix.max_nonzeros_per_group(0)


def test_csr_refuses():
    good = CSR.encode(DENSE)
    for change, rule in [
        ({"indptr": good.indptr[::-1].copy()}, "csr: indptr must ascend from 0 to the 7 values stored"),
        ({"indptr": good.indptr.astype(np.int32)}, "csr: indptr of dtype int32: must be int64"),
        ({"indices": np.full(7, 8, np.int32)}, "csr: columns 8 to 8: must be 0 to 7"),
        ({"indices": good.indices[::-1].copy()}, "csr: columns of a row must ascend"),
        ({"values": good.values[:6]}, r"csr: indices of shape \(7,\): must be \(6,\)"),
    ]:
        with pytest.raises(FormatError, match=rule):
            replace(good, **change)


def test_ellpack_refuses():
    good = ELLPACK.encode(DENSE)
    for columns, row in [([8, -1], 0), ([-2, -1], 0), ([-1, 3], 0), ([5, 5], 0)]:
        indices = good.indices.copy()
        indices[row] = columns
        with pytest.raises(FormatError, match=f"ellpack: columns of row {row}: must ascend below 8, -1 at the end"):
            replace(good, indices=indices)


def test_blocked_ell_pads_uneven_rows():
    dense = DENSE.copy()
    dense[1, 1] = 8
    matrix = BlockedELL.encode(dense, block=4)
    assert matrix.block_cols.tolist() == [[0, 1], [0, -1]]
    np.testing.assert_array_equal(matrix.decode(), dense)
    with pytest.raises(PatternError, match="blocked-ell: block 0: must be at least 1"):
        BlockedELL.encode(dense, block=0)
    with pytest.raises(FormatError, match="blocked-ell: columns of row 0: must ascend below 2"):
        replace(matrix, block_cols=np.array([[0, 2], [0, -1]], np.int32))
    with pytest.raises(FormatError, match=r"blocked-ell: block_cols of shape \(2,\): must be a matrix"):
        replace(matrix, block_cols=np.array([0, 1], np.int32))


def test_bitmap_refuses():
    good = Bitmap.encode(DENSE, tile_rows=4, tile_cols=4)
    with pytest.raises(FormatError, match=r"bitmap: values of shape \(6,\): must be \(7,\)"):
        replace(good, values=good.values[:6])
    with pytest.raises(FormatError, match=r"bitmap: tile_bits of shape"):
        replace(good, tile_bits=np.zeros(2, np.uint8))
    with pytest.raises(FormatError, match="bitmap: tile of 0 x 4: both sides must be at least 1"):
        Bitmap.encode(DENSE, tile_rows=0, tile_cols=4)


def test_codes_refuse():
    with pytest.raises(FormatError, match="bits: codes 0 to 4 do not all fit in 2 bits"):
        pack_codes(np.array([[0, 4]]), 2)
    with pytest.raises(FormatError, match="bits: width 9: must be 0 to 8"):
        pack_codes(np.array([[0]]), 9)
    with pytest.raises(FormatError, match="bits: 1 bytes cannot hold 5 codes of 2 bits"):
        unpack_codes(np.zeros((1, 1), np.uint8), 5, 2)
