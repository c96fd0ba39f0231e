"""The pruning twin against examples worked out by hand from docs/pruning.md."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.reference.pruning import (
    InfeasibleError,
    Layer,
    Rules,
    block_scores,
    check,
    exact,
    generate,
    highest,
    matrix,
    nm_mask,
    rank_blocks,
    saliency,
    target,
)

DENSE_BLOCKS = Rules(n=1, m=1, block=2, kappa=Fraction(1, 4))


def marks(mask: list[list[bool]]) -> list[str]:
    """Return a mask as rows such as "11..1"."""
    return ["".join("1" if keep else "." for keep in row) for row in mask]


def sets(*rows: set[int]) -> tuple[frozenset[int], ...]:
    return tuple(frozenset(row) for row in rows)


# --- R6 ---


def test_nm_keeps_the_best_of_a_group_and_all_of_a_short_one():
    scores = exact([[1, 4, 2, 3, 7], [0.5, 0.25, 0, 0.75, 0]])
    assert marks(nm_mask(scores, 2, 4)) == [".1.11", "1..11"]


def test_equal_scores_keep_the_lower_columns():
    scores = exact([[1, 1, 0, 1, 0, 0, 0], [0, 3, 3, 3, 0, 2, 2]])
    assert marks(nm_mask(scores, 2, 4)) == ["11..11.", ".11..11"]


def test_n_equal_to_m_keeps_everything():
    assert marks(nm_mask(exact([[0, 0, 1, 0, 0]]), 4, 4)) == ["11111"]


# --- R7, R8 ---


def test_block_scores_sum_what_nm_kept_of_real_elements():
    scores = exact([[1, 2, 5, 4, 6], [3, 3, 0, 0, 1], [9, 8, 1, 2, 0]])
    mask = nm_mask(scores, 1, 2)
    assert marks(mask) == [".11.1", "1.1.1", "1..11"]
    assert block_scores(scores, mask, 2) == [[2 + 3, 5 + 0, 6 + 1], [9, 2, 0]]


def test_ranking_pins_the_pruned_then_rises_by_score_and_column():
    sums = [[Fraction(x) for x in row] for row in ([9, 0, 1, 1, 0], [3, 3, 3, 3, 3])]
    assert rank_blocks(sums, sets(set(), set())) == [[1, 4, 2, 3, 0], [0, 1, 2, 3, 4]]
    # Block 0 was pruned before: first whatever its score. Two pruned ones stand in the order of their columns.
    assert rank_blocks(sums, sets({0, 3}, {4, 2})) == [[0, 3, 1, 4, 2], [2, 4, 0, 1, 3]]


# --- R9-R11: one layer ---

# S = 3 and K = 5 in blocks of 2: the second block row has one row, the third block column one column.
# Block sums 2 20 4 and 18 1 0; ranking 0 2 1 and 2 1 0; rank columns 2, 5, 38, of 4+1, 2+2 and 4+2 weights.
RAGGED = Layer(exact([[1, 0, 5, 5, 2], [0, 1, 5, 5, 2], [9, 9, 1, 0, 0]]))


@pytest.mark.parametrize(
    ("kappa", "pruned", "kept"),
    [
        ("0.25", sets({0}, {2}), 10),  # allowed 11.25; 15 is too much, 10 is not
        ("1/3", sets({0}, {2}), 10),  # allowed 10: reached exactly, nothing more is taken
        ("0.34", sets({0, 2}, {1, 2}), 6),  # allowed 9.9
        ("0.6", sets({0, 2}, {1, 2}), 6),  # the highest possible
        ("0", sets(set(), set()), 15),
    ],
)
def test_rank_columns_are_taken_until_the_budget_is_met(kappa, pruned, kept):
    [outcome] = generate([RAGGED], replace(DENSE_BLOCKS, kappa=Fraction(kappa)), 1)
    assert (outcome.pruned, outcome.kept, outcome.weights) == (pruned, kept, 15)


def test_the_masks_together():
    [outcome] = generate([RAGGED], DENSE_BLOCKS, 1)
    assert marks(outcome.mask(2)) == ["..111", "..111", "1111."]
    assert sum(map(sum, outcome.mask(2))) == outcome.kept


def test_what_was_pruned_before_stays_and_counts():
    # Blocks (0, 1) and (1, 0), the best, were pruned before: 15 - 6 = 9 left; 9 <= 11.25, nothing is taken.
    # With allowed 7.5 the next is rank 1: (0, 0) and (1, 2), 5 weights.
    before = replace(RAGGED, pruned=sets({1}, {0}))
    [outcome] = generate([before], DENSE_BLOCKS, 1)
    assert (outcome.pruned, outcome.kept) == (sets({1}, {0}), 9)
    [outcome] = generate([before], replace(DENSE_BLOCKS, kappa=Fraction(1, 2)), 1)
    assert (outcome.pruned, outcome.kept) == (sets({0, 1}, {0, 2}), 4)


def test_slots_count_where_nm_leaves_fewer_weights():
    # 2:4 in blocks of 4, K = 9: a row keeps 2 + 2 + 1. One row, kappa 0.6: allowed 3.6, kept 5.
    # The last block has the least score and one weight: 4 left, too many; then the next.
    layer = Layer(exact([[9, 9, 9, 9, 5, 5, 5, 5, 1]]))
    [outcome] = generate([layer], Rules(n=2, m=4, block=4, kappa=Fraction("0.6")), 1)
    assert (outcome.pruned, outcome.kept) == (sets({1, 2}), 2)
    assert marks(outcome.mask(4)) == ["11......."]


# --- R10: layers together ---

TALL = Layer(exact([[1] * 4] * 4))  # two block rows; c[0] = 8, of 8 weights
SHORT = Layer(exact([[2] * 4] * 2))  # one block row; c[0] = 8, of 4 weights


@pytest.mark.parametrize(
    ("layers", "normalise", "first"),
    [
        ((TALL, SHORT), "raw", 0),  # 8 and 8: the earlier layer
        ((SHORT, TALL), "raw", 0),
        ((TALL, SHORT), "weights", 0),  # 1 and 2
        ((SHORT, TALL), "weights", 1),
    ],
)
def test_the_least_rank_column_of_all_layers_goes_first(layers, normalise, first):
    outcomes = generate(layers, replace(DENSE_BLOCKS, kappa=Fraction(1, 8), normalise=normalise), 1)
    assert [all(outcome.pruned) for outcome in outcomes] == [at == first for at in range(2)]


def test_a_layer_keeps_its_last_rank_column_and_one_of_no_blocks_all():
    zero, narrow = Layer(exact([[0] * 4] * 2)), Layer(exact([[0, 0]] * 2))
    rules = replace(DENSE_BLOCKS, kappa=Fraction(8, 20))
    outcomes = generate([zero, narrow, SHORT], rules, 1)
    assert [outcome.pruned for outcome in outcomes] == [sets({0}), None, sets({0})]
    assert [outcome.kept for outcome in outcomes] == [4, 4, 4]


# --- R12 ---


@pytest.mark.parametrize(
    ("schedule", "targets"),
    [
        ("linear", ["0.58", "0.66", "0.74", "0.82", "0.9"]),
        ("cubic", ["0.6952", "0.8136", "0.8744", "0.8968", "0.9"]),  # 0.9 - 0.4 (1 - p/5)^3
    ],
)
def test_targets(schedule, targets):
    rules = Rules(n=2, m=4, block=64, kappa=Fraction("0.9"), steps=5, schedule=schedule)
    assert [target(rules, p) for p in range(1, 6)] == [Fraction(text) for text in targets]


def test_the_highest_sparsity_counts_a_full_block_a_row():
    rules = Rules(n=2, m=4, block=4, kappa=Fraction(1, 2))
    # 3 rows keep 2 each; the layer of K = 4 keeps 2 in each of its 2 rows.
    assert highest([(3, 9), (2, 4)], rules) == 1 - Fraction(6 + 4, 27 + 8)


@pytest.mark.parametrize(
    ("shapes", "kappa", "block", "message"),
    [
        ([(4, 16)], "0.49", 4, "below kappa_0"),
        ([(4, 4)], "0.51", 4, "no layer has blocks"),
        ([(4, 16)], "0.51", None, "no layer has blocks"),
        ([(4, 16)], "0.876", 4, "highest possible, 7/8"),
    ],
)
def test_refused_sparsities(shapes, kappa, block, message):
    with pytest.raises(InfeasibleError, match=message):
        check(shapes, Rules(n=2, m=4, block=block, kappa=Fraction(kappa)))


def test_nm_alone_is_complete_where_ragged_groups_leave_it_short():
    rules = Rules(n=2, m=4, block=4, kappa=Fraction(1, 2))
    [outcome] = generate([Layer(exact([[1] * 9]))], rules, 1)  # keeps 5 of 9, more than half
    assert (outcome.pruned, outcome.kept) == (sets(set()), 5)


# --- R5, R1 ---


def test_saliency():
    weight = np.array([2, -3, 0.5], dtype=np.float32)
    gradients = [np.array([4, 3, 0]), np.array([0, -1, 8])]
    # One sample, then three. eq1: (4 + 0) / 4 * 2; (3 - 3) / 4 = 0; 24 / 4 * 0.5. abs: 4 / 2 * 2; 4 / 2 * 3;
    # 8 / 2 * 0.5.
    assert saliency(weight, gradients, [1, 3]).tolist() == [2, 0, 3]
    assert saliency(weight, gradients, [1, 3], "abs").tolist() == [4, 6, 2]
    assert saliency(weight, gradients, [1, 3], "magnitude").tolist() == [2, 3, 0.5]


def test_the_channel_runs_fastest_in_the_matrix():
    weight = np.arange(12).reshape(1, 3, 2, 2)  # value c * 4 + y * 2 + x
    assert matrix(weight).tolist() == [[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]
