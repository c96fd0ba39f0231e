"""Drawn weights: uniform, reproducible, and refused where impossible."""

import hashlib
from collections import Counter
from itertools import combinations
from math import sqrt

import numpy as np
import pytest

from crispsim.formats import synthetic
from crispsim.formats.crisp import CrispMatrix
from crispsim.formats.errors import FormatError, PatternError
from crispsim.formats.nm import NMMatrix
from crispsim.formats.pattern import Pattern
from crispsim.formats.synthetic import draw_unstructured, draw_weights

pytestmark = pytest.mark.kernel

TWO_FOUR = Pattern(n=2, m=4)
HYBRID = Pattern(n=2, m=4, block=8)


def mask_bytes(matrix):
    return np.packbits(matrix.decode() != 0).tobytes()


def assert_uniform(counts, choices):
    """Every choice occurs as often as any other, within 5 standard deviations of its binomial."""
    draws = sum(counts.values())
    assert set(counts) == set(choices)
    expected = draws / len(choices)
    spread = sqrt(expected * (1 - 1 / len(choices)))
    for choice, count in counts.items():
        assert abs(count - expected) < 5 * spread, (choice, count, expected)


def test_every_combination_of_2_in_4_is_equally_likely():
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(30):
        groups = draw_weights((8, 100), TWO_FOUR, None, seed).decode().reshape(-1, 4)
        counts.update(tuple(np.flatnonzero(group).tolist()) for group in groups)
    assert_uniform(counts, list(combinations(range(4), 2)))


def test_every_choice_of_blocks_is_equally_likely():
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(30):
        matrix = draw_weights((100, 10), Pattern(block=2), 0.6, seed)  # 2 of 5 blocks
        assert isinstance(matrix, CrispMatrix)
        counts.update(tuple(row) for row in matrix.block_cols.tolist())
    assert_uniform(counts, list(combinations(range(5), 2)))


def test_every_nonzero_int8_is_equally_likely():
    values = draw_weights((50, 1000), TWO_FOUR, None, 3).values
    assert values.dtype == np.int8
    assert_uniform(Counter(values.ravel().tolist()), [value for value in range(-128, 128) if value])


def test_neighbouring_groups_layers_and_rows_are_independent():
    # Two fair, independent draws of 2 in 4 agree in 1 of 6 groups.
    def groups(matrix):
        return (matrix.decode() != 0).reshape(-1, 4)

    first = groups(draw_weights((20, 400), TWO_FOUR, None, 5))
    others = [
        groups(draw_weights((20, 400), TWO_FOUR, None, 6)),
        groups(draw_weights((20, 400), TWO_FOUR, None, 5, layer=1)),
        groups(draw_weights((20, 400), TWO_FOUR, None, 5, group=1)),
        np.roll(first, 1, axis=0),
        np.roll(first, 100, axis=0),
    ]
    for other in others:
        agreeing = (first == other).all(axis=1).sum()
        assert abs(agreeing - 2000 / 6) < 5 * sqrt(2000 * 5 / 36)


def test_the_same_seed_gives_the_same_bytes_for_ever():
    # Pinned, so that results drawn from a seed stay comparable from version to version; that the bytes
    # are the right ones is `test_draws_equal_their_twin`'s to say (tests/property).
    digest = hashlib.sha256()
    for matrix in (
        draw_weights((16, 36), TWO_FOUR, None, 7, layer=3, group=1),
        draw_weights((16, 36), HYBRID, 0.75, 7, layer=3, group=1),
    ):
        digest.update(matrix.values.tobytes() + matrix.nm_index.tobytes() + mask_bytes(matrix))
    assert digest.hexdigest()[:16] == "770000ef085eb885"


def test_other_names_give_other_masks():
    draws = [
        draw_weights((16, 64), HYBRID, 0.75, seed, layer, group)
        for seed in (0, 1)
        for layer in (0, 1)
        for group in (0, 1)
    ]
    assert len({mask_bytes(matrix) for matrix in draws}) == 8
    assert mask_bytes(draw_weights((16, 64), HYBRID, 0.75, 0)) == mask_bytes(draws[0])


def test_padding_holds_no_values():
    matrix = draw_weights((9, 13), HYBRID, None, 1)
    assert matrix.values.shape == (2, 2, 8, 4)
    matrix.check()
    assert matrix.nonzeros() == 9 * (2 + 2 + 2 + 1)


def test_kind_of_matrix_and_order():
    assert isinstance(draw_weights((8, 8), TWO_FOUR, 0.5, 0), NMMatrix)
    assert isinstance(draw_weights((8, 8), Pattern(block=4), None, 0), CrispMatrix)
    assert draw_weights((8, 8), HYBRID, None, 0, k_order="chw").k_order == "chw"


@pytest.mark.parametrize(
    ("pattern", "sparsity", "rule"),
    [
        (Pattern(), None, "pattern dense: nothing to draw"),
        (TWO_FOUR, 0.9, "sparsity 0.9: 2:4 without blocks has exactly 0.5"),
        (HYBRID, 0.4, "sparsity 0.4: pattern 2:4 alone already prunes 0.5"),
        (HYBRID, 1.0, "sparsity 1.0: must be a number from 0"),
    ],
)
def test_impossible_patterns(pattern, sparsity, rule):
    with pytest.raises(PatternError, match=rule):
        draw_weights((8, 8), pattern, sparsity, 0)


@pytest.mark.parametrize(
    ("shape", "pattern", "sparsity", "stored"),
    [
        ((2**20, 2**20), HYBRID, None, 2**39),
        ((2**20, 2**20), HYBRID, 0.75, 2**38),
        ((2**20 + 1, 2**14), TWO_FOUR, None, 2**33 + 2**13),
        ((1, 2**34), TWO_FOUR, None, 2**33),
        ((1, 2**34 + 1), TWO_FOUR, None, 2**33 + 2),
        ((1, 1), Pattern(block=2**17), None, 2**34),
        ((np.int64(2**62), np.int64(2**62)), TWO_FOUR, None, 2**123),
    ],
)
def test_what_would_not_fit_is_refused_before_it_is_drawn(monkeypatch, shape, pattern, sparsity, stored):
    def reached(*_):
        raise MemoryError("went on to allocate")

    monkeypatch.setattr(synthetic.np, "empty", reached)
    monkeypatch.setattr(synthetic, "_draw_blocks", reached)
    if stored <= 2**33:
        with pytest.raises(MemoryError, match="went on"):
            draw_weights(shape, pattern, sparsity, 0)
        return
    rule = f"^synthetic: S {shape[0]}, K {shape[1]}: {stored} bytes of kept values: must be at most 8589934592$"
    with pytest.raises(FormatError, match=rule):
        draw_weights(shape, pattern, sparsity, 0)


def test_impossible_numbers():
    with pytest.raises(FormatError, match="synthetic: shape"):
        draw_weights((0, 8), TWO_FOUR, None, 0)
    with pytest.raises(FormatError, match="seed or name -1"):
        draw_weights((8, 8), TWO_FOUR, None, -1)
    with pytest.raises(FormatError, match="k_order 'khw'"):
        draw_weights((8, 8), TWO_FOUR, None, 0, k_order="khw")


@pytest.mark.parametrize("nonzeros", [0, 1, 57, 239, 240])
def test_unstructured_weights_have_exactly_so_many_nonzeros(nonzeros):
    drawn = draw_unstructured((12, 20), nonzeros, seed=3, layer=1, group=2)
    assert drawn.dtype == np.int8
    assert np.count_nonzero(drawn) == nonzeros
    assert np.array_equal(drawn, draw_unstructured((12, 20), nonzeros, seed=3, layer=1, group=2))
    if 1 < nonzeros < 240:
        for other in ({"seed": 4}, {"layer": 0}, {"group": 0}):
            assert not np.array_equal(drawn, draw_unstructured((12, 20), nonzeros, **({"seed": 3} | other)))


def test_unstructured_weights_are_uniform():
    """Each of 24 positions is kept in a third of 3000 draws, within 5 standard deviations (26)."""
    kept = sum((draw_unstructured((4, 6), 8, seed) != 0).astype(int) for seed in range(3000))
    assert np.all(np.abs(kept - 1000) < 5 * np.sqrt(3000 * (1 / 3) * (2 / 3)))
    values = draw_unstructured((300, 300), 45000, 0)
    assert set(np.unique(values)) == set(range(-128, 128))


@pytest.mark.parametrize("nonzeros", [-1, 13])
def test_more_nonzeros_than_places_are_refused(nonzeros):
    with pytest.raises(FormatError, match=f"synthetic: {nonzeros} nonzeros: must be from 0 to S x K = 12"):
        draw_unstructured((3, 4), nonzeros, 0)
