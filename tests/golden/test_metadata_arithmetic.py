"""Metadata of the worked case, by hand.

Source: design "Formats", section "Metadata arithmetic", after the paper's section III-A and figure 4
(right). S = 512, K = 4608 (a 3x3 convolution of 512 channels), 2:4, B = 64, 14 of 72 blocks kept.
"""

import numpy as np
import pytest

from crispsim.formats.bits import index_width
from crispsim.formats.crisp import CrispMatrix
from crispsim.formats.csr import CSR
from crispsim.formats.ellpack import ELLPACK
from crispsim.formats.errors import PatternError
from crispsim.formats.footprint import (
    crisp_metadata,
    csr_metadata_bits,
    ellpack_metadata_bits,
    paper_crisp_metadata,
)
from crispsim.formats.pattern import Pattern
from crispsim.formats.synthetic import draw_weights

pytestmark = pytest.mark.kernel

SHAPE = (512, 4608)
PATTERN = Pattern(n=2, m=4, block=64)
KEPT = 14
STORED = 229_376  # 512 rows x 14 blocks x 64 columns x 2/4
CRISP_BITS = 458_752 + 784


def test_nm_and_block_bits():
    # N:M: 229,376 values x ceil(log2 4) = 2 bits. Blocks: 512/64 = 8 rows x 14 = 112, x ceil(log2 72) = 7.
    sound = crisp_metadata(SHAPE, PATTERN, KEPT)
    assert (sound.nm_bits, sound.block_bits, sound.total_bits) == (458_752, 784, CRISP_BITS)


def test_the_papers_formula():
    # S K' floor(log2(K'/B)) / B^2 = 512 x 896 x floor(log2 14) / 4096 = 112 x 3; N:M as above.
    paper = paper_crisp_metadata(SHAPE, PATTERN, KEPT)
    assert (paper.nm_bits, paper.block_bits, paper.total_bits) == (458_752, 336, 459_088)


@pytest.mark.parametrize(
    ("block", "kept", "missing", "block_total"),
    [
        # Per kept block: ceil(log2(4608/B)) - floor(log2 E) missing of B*B*2/4 x 2 + ceil(log2(4608/B)) bits.
        (64, 14, 7 - 3, 4096 + 7),  # 0.10% of all metadata
        (32, 28, 8 - 4, 1024 + 8),  # 0.39%
        (16, 56, 9 - 5, 256 + 9),  # 1.5%
    ],
)
def test_how_far_the_papers_formula_falls_short(block, kept, missing, block_total):
    pattern = Pattern(n=2, m=4, block=block)
    sound, paper = crisp_metadata(SHAPE, pattern, kept), paper_crisp_metadata(SHAPE, pattern, kept)
    blocks = 512 // block * kept
    assert sound.total_bits == blocks * block_total
    assert sound.total_bits - paper.total_bits == blocks * missing


@pytest.mark.parametrize(("column_bits", "ratio"), [(13, 6.5), (10, 5.0), (16, 8.0)])
def test_csr_beside_crisp(column_bits, ratio):
    # 229,376 columns and 513 pointers of ceil(log2 229,377) = 18 bits = 9,234 bits.
    bits = csr_metadata_bits(512, STORED, column_bits)
    assert bits == STORED * column_bits + 9_234
    assert round(bits / CRISP_BITS, 1) == ratio


def test_minimal_column_widths():
    # 13 bits name one of K = 4608 columns; 10 bits one of K' = 14 x 64 = 896.
    assert (index_width(4608), index_width(14 * 64)) == (13, 10)


def test_ellpack_beside_crisp():
    # Every row keeps 14 x 64 x 2/4 = 448: no padding, 229,376 columns of 13 bits.
    bits = ellpack_metadata_bits(512, 448, 13)
    assert bits == 2_981_888
    assert round(bits / CRISP_BITS, 1) == 6.5


def test_footprints_of_a_drawn_matrix_are_the_arithmetic():
    matrix = draw_weights(SHAPE, PATTERN, 0.9, seed=0)  # 0.1 / 0.5 x 72 = 14.4 blocks: 14
    assert isinstance(matrix, CrispMatrix)
    assert matrix.block_cols.shape == (8, KEPT)
    assert matrix.nonzeros() == STORED
    assert matrix.footprint().index_bits == CRISP_BITS
    assert matrix.footprint().value_bits == 8 * STORED
    dense = matrix.decode()
    for column_bits in (None, 10, 16):
        csr, ellpack = CSR.encode(dense).footprint(column_bits), ELLPACK.encode(dense).footprint(column_bits)
        assert csr.metadata_bits == csr_metadata_bits(512, STORED, column_bits or 13)
        assert ellpack.metadata_bits == ellpack_metadata_bits(512, 448, column_bits or 13)
    assert np.count_nonzero(dense) == STORED


def test_one_kept_block_takes_no_bits_in_the_paper():
    assert paper_crisp_metadata(SHAPE, PATTERN, 1).block_bits == 0
    assert crisp_metadata(SHAPE, PATTERN, 1).block_bits == 8 * 7


def test_refusals():
    with pytest.raises(PatternError, match="kept blocks 73: must be 1 to 72"):
        crisp_metadata(SHAPE, PATTERN, 73)
    with pytest.raises(PatternError, match="pattern 2:4: CRISP metadata needs a block"):
        paper_crisp_metadata(SHAPE, Pattern(n=2, m=4), 1)
