"""prune/matrix.py and prune/masks: small cases worked by hand, one rule of docs/pruning.md at a time."""

import itertools
from fractions import Fraction

import pytest
import torch

from crispsim.prune.errors import PruneError
from crispsim.prune.masks import (
    LayerBudget,
    LayerMasks,
    LayerScores,
    block_mask,
    block_scores,
    choose,
    generate,
    kept_in_row,
    kept_per_block,
    nm,
    nm_mask,
    nothing_pruned,
    rank_blocks,
    rank_column_scores,
    score,
    target,
)
from crispsim.prune.matrix import block_lengths, from_matrix, to_matrix


def layer(name, rows, block, pruned=None):
    scores = torch.tensor(rows, dtype=torch.float32)
    before = nothing_pruned(*scores.shape, block)
    if pruned is not None:
        before = torch.tensor(pruned, dtype=torch.bool)
    return LayerScores(name, scores, before)


def where(mask):
    """The columns kept, row by row."""
    return [[k for k, kept in enumerate(row) if kept] for row in mask.tolist()]


class TestMatrix:
    def test_channels_are_the_fastest_then_x_then_y(self):
        weight = torch.zeros(2, 3, 2, 2)
        for s, c, y, x in itertools.product(range(2), range(3), range(2), range(2)):
            weight[s, c, y, x] = 1000 * s + 100 * c + 10 * y + x
        assert to_matrix(weight)[1].tolist() == [
            *(1000, 1100, 1200, 1001, 1101, 1201),
            *(1010, 1110, 1210, 1011, 1111, 1211),
        ]

    @pytest.mark.parametrize("shape", [(4, 3, 3, 3), (5, 7, 1, 1), (2, 3, 1, 4), (6, 10), (1, 1), (2, 3, 5)])
    @pytest.mark.parametrize("layout", ["contiguous", "turned"])
    def test_there_and_back(self, shape, layout):
        weight = torch.randn(shape)
        if layout == "turned":
            weight = torch.randn(shape[::-1]).permute(*reversed(range(len(shape))))
        matrix = to_matrix(weight)
        assert matrix.shape == (shape[0], weight[0].numel())
        assert torch.equal(from_matrix(matrix, shape), weight)
        assert torch.equal(from_matrix(matrix.t().contiguous().t(), shape), weight)

    def test_channels_last_gives_the_same_matrix(self):
        weight = torch.randn(4, 3, 3, 3)
        assert torch.equal(to_matrix(weight.to(memory_format=torch.channels_last)), to_matrix(weight))

    def test_a_mask_goes_back_as_well(self):
        mask = torch.tensor([[True, False, False, True]])
        assert from_matrix(mask, (1, 2, 1, 2)).tolist() == [[[[True, False]], [[False, True]]]]

    def test_what_is_no_matrix_is_refused(self):
        with pytest.raises(PruneError, match=r"shape \(3,\): must have at least two"):
            to_matrix(torch.zeros(3))
        with pytest.raises(PruneError, match=r"\(2, 6\): does not fill a weight of shape \(2, 2, 2, 2\)"):
            from_matrix(torch.zeros(2, 6), (2, 2, 2, 2))
        with pytest.raises(PruneError, match="does not fill"):
            from_matrix(torch.zeros(3, 2), (2, 3))

    def test_block_lengths(self):
        assert block_lengths(8, 4).tolist() == [4, 4]
        assert block_lengths(9, 4).tolist() == [4, 4, 1]
        assert block_lengths(3, 4).tolist() == [3]


class TestScore:
    weight = torch.tensor([[2.0, -3.0], [0.0, 0.5]])
    gradient = torch.tensor([[-1.0, 4.0], [7.0, -0.5]])

    def test_equation_1(self):
        assert score(self.weight, self.gradient, "eq1").tolist() == [[2.0, 12.0], [0.0, 0.25]]

    def test_abs_multiplies_by_the_average_it_is_given(self):
        assert score(self.weight, self.gradient.abs(), "abs").tolist() == [[2.0, 12.0], [0.0, 0.25]]

    def test_magnitude_needs_no_gradient(self):
        assert score(self.weight, None, "magnitude").tolist() == [[2.0, 3.0], [0.0, 0.5]]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_scores_are_float32_whatever_the_weights_are(self, dtype):
        # 2^-12 x 2^-13 = 2^-25 vanishes in float16, whose least number is 2^-24.
        found = score(torch.tensor([2.0**-12], dtype=dtype), torch.tensor([2.0**-13], dtype=dtype), "eq1")
        assert found.dtype == torch.float32
        assert found.item() == 2.0**-25

    def test_weights_stay_as_they_are_and_no_graph_is_made(self):
        weight = torch.nn.Parameter(self.weight.clone())
        assert not score(weight, self.gradient, "eq1").requires_grad
        assert not score(weight, None, "magnitude").requires_grad
        assert torch.equal(weight, self.weight)

    def test_refused(self):
        with pytest.raises(PruneError, match="criterion 'taylor': must be one of eq1, abs, magnitude"):
            score(self.weight, self.gradient, "taylor")
        with pytest.raises(PruneError, match="needs gradients"):
            score(self.weight, None, "abs")
        with pytest.raises(PruneError, match=r"gradient of shape \(2,\)"):
            score(self.weight, self.gradient[0], "eq1")


class TestNM:
    def test_the_best_of_each_group(self):
        found = nm_mask(torch.tensor([[1.0, 4.0, 3.0, 2.0, 9.0, 8.0, 7.0, 9.5]]), 2, 4)
        assert where(found) == [[1, 2, 4, 7]]

    @pytest.mark.parametrize("n", [1, 2, 3, 4])
    def test_among_equals_the_lower_columns(self, n):
        assert where(nm_mask(torch.zeros(1, 8), n, 4)) == [[*range(n), *range(4, 4 + n)]]

    def test_a_tie_for_the_last_place(self):
        assert where(nm_mask(torch.tensor([[1.0, 5.0, 1.0, 1.0], [1.0, 1.0, 5.0, 5.0]]), 2, 4)) == [[0, 1], [2, 3]]

    def test_a_negative_zero_equals_zero(self):
        assert where(nm_mask(torch.tensor([[-0.0, 0.0, -0.0, 0.0]]), 2, 4)) == [[0, 1]]
        assert where(nm_mask(torch.tensor([[-0.0, 0.0] * 16]), 2, 32)) == [[0, 1]]

    def test_a_ragged_group_keeps_its_best(self):
        # Of the last three, 1 < 2 < 3; a last one alone is kept even as the least of all.
        assert where(nm_mask(torch.tensor([[9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 3.0]]), 2, 4)) == [[0, 1, 5, 6]]
        assert where(nm_mask(torch.tensor([[9.0, 9.0, 9.0, 9.0, -1.0]]), 2, 4)) == [[0, 1, 4]]
        assert where(nm_mask(torch.tensor([[2.0, 1.0, 3.0]]), 1, 8)) == [[2]]

    def test_a_row_shorter_than_n_keeps_all(self):
        assert where(nm_mask(torch.zeros(2, 1), 2, 4)) == [[0], [0]]

    def test_groups_do_not_run_across_rows(self):
        assert where(nm_mask(torch.tensor([[1.0, 2.0, 3.0], [9.0, 8.0, 7.0]]), 1, 2)) == [[1, 2], [0, 2]]

    def test_n_of_n_keeps_all(self):
        assert nm_mask(torch.zeros(3, 7), 1, 1).all()
        assert nm_mask(torch.zeros(3, 7), 4, 4).all()

    @pytest.mark.parametrize("m", [2, 3, 4, 8, 16, 17, 32, 100, 255, 256])
    @pytest.mark.parametrize("values", [2, 5, 10**6])
    def test_comparing_pairs_and_sorting_agree(self, monkeypatch, m, values):
        torch.manual_seed(m)
        scores = torch.randint(values, (3, 2 * m + m // 2)).float()
        for n in {1, m // 2, m - 1}:
            found = []
            for limit in (0, 1000):
                monkeypatch.setattr(nm, "_PAIRS_UP_TO", limit)
                found.append(nm_mask(scores, n, m))
            assert torch.equal(*found)
            assert (found[0][:, :m].sum(1) == n).all()

    @pytest.mark.parametrize("m", [4, 32])
    def test_the_size_of_a_chunk_changes_nothing(self, monkeypatch, m):
        scores = torch.randint(4, (37, 70)).float()
        whole = nm_mask(scores, 2, m)
        monkeypatch.setattr(nm, "_CHUNK", 150)
        assert torch.equal(nm_mask(scores, 2, m), whole)

    def test_strided_scores(self):
        scores = torch.randint(5, (40, 12)).float()
        assert torch.equal(nm_mask(scores.t(), 2, 4), nm_mask(scores.t().contiguous(), 2, 4))

    @pytest.mark.parametrize("n, m", [(0, 4), (5, 4), (-1, 4)])
    def test_impossible(self, n, m):
        with pytest.raises(PruneError, match=f"nm {n}:{m}: must be N:M with 1 <= N <= M"):
            nm_mask(torch.zeros(1, 8), n, m)

    def test_kept_in_row(self):
        assert [kept_in_row(k, 2, 4) for k in range(1, 9)] == [1, 2, 2, 2, 3, 4, 4, 4]


class TestBlocks:
    def test_r3_which_layers_have_blocks(self):
        assert nothing_pruned(100, 64, 64) is None
        assert nothing_pruned(100, 65, None) is None
        assert nothing_pruned(100, 65, 64).tolist() == [[False, False]] * 2
        assert nothing_pruned(3, 200, 64).tolist() == [[False] * 4]

    def test_sums_of_what_nm_left_ragged_both_ways(self):
        scores = torch.tensor(
            [[1.0, 2.0, 4.0, 8.0, 16.0], [32.0, 64.0, 128.0, 256.0, 512.0], [1.0, 1.0, 1.0, 1.0, 3.0]]
        )
        mask = torch.tensor([[1, 1, 1, 0, 1], [0, 1, 1, 1, 1], [1, 0, 1, 1, 1]], dtype=torch.bool)
        found = block_scores(scores, mask, 2)
        assert found.dtype == torch.float64
        assert found.tolist() == [[1 + 2 + 64, 4 + 128 + 256, 16 + 512], [1, 2, 3]]

    def test_sums_are_made_in_float64(self):
        # 2^24 + 1 is no float32: a float32 sum loses every 1.
        scores = torch.tensor([[2.0**24, 1.0, 1.0, 1.0]]).repeat(3, 1)
        assert block_scores(scores, torch.ones(3, 4, dtype=torch.bool), 4).item() == 3 * (2**24 + 3)

    def test_huge_scores_do_not_overflow(self):
        most = torch.finfo(torch.float32).max
        assert block_scores(torch.full((8, 8), most), torch.ones(8, 8, dtype=torch.bool), 8).item() == 64 * most

    def test_the_size_of_a_chunk_changes_nothing(self, monkeypatch):
        from crispsim.prune.masks import blocks

        scores, mask = torch.randint(9, (37, 50)).float(), torch.rand(37, 50) > 0.5
        whole = block_scores(scores, mask, 8)
        monkeypatch.setattr(blocks, "_CHUNK", 1)
        assert torch.equal(block_scores(scores, mask, 8), whole)

    def test_ranking_pruned_first_then_score_then_column(self):
        sums = torch.tensor([[5.0, 1.0, 3.0, 1.0], [2.0, 2.0, 2.0, 0.0]], dtype=torch.float64)
        assert rank_blocks(sums, torch.zeros(2, 4, dtype=torch.bool)).tolist() == [[1, 3, 2, 0], [3, 0, 1, 2]]
        pruned = torch.tensor([[True, False, False, False], [False, False, True, False]])
        assert rank_blocks(sums, pruned).tolist() == [[0, 1, 3, 2], [2, 3, 0, 1]]

    def test_ties_among_many_blocks_keep_their_columns(self):
        assert (
            rank_blocks(torch.zeros(2, 300).double(), torch.zeros(2, 300, dtype=torch.bool)).tolist()
            == [list(range(300))] * 2
        )

    def test_rank_columns(self):
        sums = torch.tensor([[5.0, 1.0, 3.0], [2.0, 7.0, 4.0]], dtype=torch.float64)
        assert rank_column_scores(sums, torch.tensor([[1, 2, 0], [0, 2, 1]])).tolist() == [3.0, 7.0, 12.0]

    def test_kept_per_block(self):
        # 6 rows of 11 columns in blocks of 4: the last group of 3 keeps 2; the last block row has 2 rows.
        assert kept_per_block(6, 11, 2, 4, 4).tolist() == [[8, 8, 8], [4, 4, 4]]
        assert kept_per_block(1, 17, 3, 4, 8).tolist() == [[6, 6, 1]]
        assert kept_per_block(2, 5, 1, 1, 2).tolist() == [[4, 4, 2]]

    def test_a_block_that_cuts_groups_is_refused(self):
        with pytest.raises(PruneError, match="block 6: must be a multiple of M = 4"):
            kept_per_block(8, 12, 2, 4, 6)

    def test_block_mask(self):
        found = block_mask(torch.tensor([[True, False], [False, True]]), (3, 3), 2)
        assert found.int().tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]


def budget(scores, freed, pruned=0, kept=None):
    freed = torch.tensor(freed, dtype=torch.int64)
    kept = int(freed[pruned:].sum()) if kept is None else kept
    return LayerBudget(torch.tensor(scores, dtype=torch.float64), freed, pruned, kept)


class TestBudget:
    a = ([1.0, 4.0, 6.0], [10, 10, 10])
    b = ([2.0, 3.0, 5.0, 9.0], [5, 5, 5, 5])

    @pytest.mark.parametrize(
        "allowed, expected",
        [
            (50, [0, 0]),  # met at once
            (49, [1, 0]),  # a0
            (40, [1, 0]),  # exactly met by a0: 50 - 10
            (39, [1, 1]),  # then b0
            (35, [1, 1]),
            (34, [1, 2]),  # b1
            (29, [2, 2]),  # a1; a2 is the last of its layer and stays
            (19, [2, 3]),  # b2
            (15, [2, 3]),
        ],
    )
    def test_least_score_first_until_met(self, allowed, expected):
        assert choose([budget(*self.a), budget(*self.b)], allowed) == expected

    def test_ranks_pruned_before_are_no_candidates(self):
        before = budget(*self.a, pruned=1)
        assert before.kept == 20
        assert choose([before, budget(*self.b)], 40) == [1, 0]
        assert choose([before, budget(*self.b)], 39) == [1, 1]

    def test_a_layer_at_its_floor_is_passed_over(self):
        assert choose([budget(*self.a, pruned=2), budget(*self.b)], 16) == [2, 3]

    def test_ties_go_to_the_earlier_layer_then_to_the_lower_rank(self):
        one, two = budget([1.0, 1.0, 1.0], [1, 1, 1]), budget([1.0, 1.0, 1.0], [1, 1, 1])
        assert [choose([one, two], 6 - k) for k in range(5)] == [[0, 0], [1, 0], [2, 0], [2, 1], [2, 2]]

    def test_layers_without_blocks_count_and_lose_nothing(self):
        plain = budget([], [], kept=100)
        assert choose([plain, budget(*self.b), plain], 215) == [0, 1, 0]

    def test_counts_are_exact_beyond_float64(self):
        big = 2**53
        layer = budget([1.0, 2.0, 3.0], [big + 1, 1, 1])
        assert choose([layer], 2) == [1]
        assert choose([layer], 1) == [2]

    def test_a_score_that_falls_does_not_break_the_order_of_ranks(self):
        assert choose([budget([3.0, 1.0, 9.0], [1, 1, 1]), budget([2.0, 9.0], [1, 1])], 4) == [0, 1]
        assert choose([budget([3.0, 1.0, 9.0], [1, 1, 1]), budget([2.0, 9.0], [1, 1])], 3) == [1, 1]


class TestSchedule:
    def test_linear(self):
        steps = [target(Fraction(9, 10), Fraction(1, 2), p, 4) for p in range(5)]
        assert steps == [Fraction(5, 10), Fraction(6, 10), Fraction(7, 10), Fraction(8, 10), Fraction(9, 10)]

    def test_cubic(self):
        # 9/10 - 4/10 (1/2)^3 = 85/100
        assert target(Fraction(9, 10), Fraction(1, 2), 1, 2, "cubic") == Fraction(85, 100)
        assert target(Fraction(9, 10), Fraction(1, 2), 2, 2, "cubic") == Fraction(9, 10)
        assert target(Fraction(9, 10), Fraction(1, 2), 0, 2, "cubic") == Fraction(1, 2)

    def test_refused(self):
        half = Fraction(1, 2)
        with pytest.raises(PruneError, match="schedule 'square': must be one of linear, cubic"):
            target(half, half, 1, 2, "square")
        with pytest.raises(PruneError, match="iteration 3 of 2"):
            target(half, half, 3, 2)
        with pytest.raises(PruneError, match="iteration 0 of 0"):
            target(half, half, 0, 0)
        with pytest.raises(PruneError, match=r"sparsity 0.4: must be at least 0.5"):
            target(Fraction(2, 5), half, 1, 2)


class TestGenerate:
    def test_one_layer_by_hand(self):
        # Block 0 keeps 3 + 4 + 9 + 9 = 25, block 1 keeps 7 + 8 + 1 + 1 = 17. S < B: one ragged block row.
        rows = [[1, 2, 3, 4, 5, 6, 7, 8], [9, 9, 9, 9, 1, 1, 1, 1]]
        (found,) = generate([layer("a", rows, 4)], nm=(2, 4), block=4, target=Fraction(3, 4))
        assert where(found.nm) == [[2, 3, 6, 7], [0, 1, 4, 5]]
        assert found.pruned.tolist() == [[False, True]]
        assert where(found.kept(4)) == [[2, 3], [0, 1]]

    def test_block_scores_are_of_what_nm_leaves(self):
        # All scores: 4 x 3 = 12 against 10 + 1 = 11. What 1:4 leaves: 3 against 10.
        (found,) = generate([layer("a", [[3, 3, 3, 3, 10, 1, 0, 0]], 4)], nm=(1, 4), block=4, target=Fraction(7, 8))
        assert found.pruned.tolist() == [[True, False]]

    @pytest.mark.parametrize("normalise, first", [("weights", [1, 0]), ("raw", [0, 1])])
    def test_layers_compete_by_weight_or_raw(self, normalise, first):
        # a: rank column 0 sums to 8 over 16 weights; b: to 3 over 4.
        a, b = layer("a", [[2, 0, 0, 0, 9, 9, 9, 9]] * 4, 4), layer("b", [[3, 0, 0, 0, 9, 9, 9, 9]], 4)
        kept = 8 + 2
        found = generate([a, b], nm=(1, 4), block=4, target=1 - Fraction(kept - 1, 40), normalise=normalise)
        assert [int(masks.pruned[0].sum()) for masks in found] == first

    def test_each_block_row_loses_its_own_least_blocks_and_as_many(self):
        rows = [[1, 5, 9]] * 2 + [[9, 5, 1]] * 2
        (found,) = generate(
            [layer("a", [[s for s in row for _ in range(2)] for row in rows], 2)],
            nm=(1, 1), block=2, target=Fraction(1, 3),
        )  # fmt: skip
        assert found.nm.all()
        assert found.pruned.tolist() == [[True, False, False], [False, False, True]]

    def test_the_ragged_block_column_frees_less_exactly(self):
        # Widths 4, 4, 1: 16, 16 and 4 weights a block row. Row 0 loses the ragged block first, row 1 block 0: 20 of 72.
        rows = [[5] * 4 + [9] * 4 + [1]] * 4 + [[1] * 4 + [5] * 4 + [99]] * 4
        one = [[False, False, True], [True, False, False]]
        two = [[True, False, True], [True, True, False]]
        for allowed, expected in ((72, [[False] * 3] * 2), (71, one), (52, one), (51, two)):
            (found,) = generate([layer("a", rows, 4)], nm=(1, 1), block=4, target=1 - Fraction(allowed, 72))
            assert found.pruned.tolist() == expected, allowed

    def test_the_sparsity_of_n_of_m_asks_for_no_blocks_even_if_ragged_groups_fall_short_of_it(self):
        # K = 9: the last group of one weight keeps it, 5 of 9 stay in each row; one block would make up for it.
        (found,) = generate([layer("a", [list(range(9))] * 4, 4)], nm=(2, 4), block=4, target=Fraction(1, 2))
        assert int(found.nm.sum()) == 20
        assert not found.pruned.any()

    def test_a_target_is_an_exact_fraction(self):
        # 71% of 100 weights: 29 may stay, and do. In float64, 0.29 x 100 is a little less than 29.
        assert 0.29 * 100 < 29
        (found,) = generate([layer("a", [list(range(100))], 1)], nm=(1, 1), block=1, target=Fraction(71, 100))
        assert where(found.kept(1)) == [list(range(71, 100))]

    def test_pruned_blocks_stay_pruned_whatever_they_score(self):
        rows = [[9] * 4 + [1] * 4 + [2] * 4]
        (found,) = generate(
            [layer("a", rows, 4, pruned=[[True, False, False]])], nm=(1, 1), block=4, target=Fraction(2, 3)
        )
        assert found.pruned.tolist() == [[True, True, False]]

    def test_nothing_is_taken_when_the_target_is_met(self):
        before = layer("a", [[9] * 4 + [1] * 4 + [2] * 4], 4, pruned=[[True, False, False]])
        (found,) = generate([before], nm=(1, 1), block=4, target=Fraction(1, 3))
        assert found.pruned.tolist() == [[True, False, False]]

    def test_all_zero_scores_go_by_layer_rank_and_column(self):
        zeros = [[0.0] * 12] * 2
        found = generate([layer("a", zeros, 4), layer("b", zeros, 4)], nm=(2, 4), block=4, target=1 - Fraction(12, 48))
        assert where(found[0].nm) == [[0, 1, 4, 5, 8, 9]] * 2
        assert [masks.pruned.tolist() for masks in found] == [[[True, True, False]], [[True, False, False]]]

    def test_a_layer_of_at_most_b_columns_gets_nm_only_and_is_counted(self):
        # 8 + 4 kept of 24; the target of 2/3 asks for 8, so the wide layer gives one block of 4.
        narrow, wide = layer("narrow", [[9, 1, 9, 1]] * 2, 4), layer("wide", [[1] * 4 + [2] * 4] * 2, 4)
        assert narrow.pruned is None
        found = generate([narrow, wide], nm=(2, 4), block=4, target=Fraction(2, 3))
        assert found[0].pruned is None
        assert where(found[0].kept(4)) == [[0, 2]] * 2
        assert found[1].pruned.tolist() == [[True, False]]

    def test_without_blocks(self):
        (found,) = generate([layer("a", [[1, 2, 3, 4]], None)], nm=(2, 4), block=None, target=Fraction(1, 2))
        assert where(found.kept(None)) == [[2, 3]]

    def test_dense_is_a_pattern_too(self):
        (found,) = generate([layer("a", [[1, 2, 3, 4]], None)], nm=(1, 1), block=None, target=Fraction(0))
        assert found.nm.all()
        assert found.pruned is None
        assert generate([], nm=(2, 4), block=4, target=Fraction(1, 2)) == []

    def test_ragged_groups_short_of_nm_are_complete(self):
        # 3 of 5 stay: 2:4 and one alone. No blocks, or none that could make up for it.
        (found,) = generate([layer("a", [[1, 2, 3, 4, 5]], None)], nm=(2, 4), block=None, target=Fraction(1, 2))
        assert where(found.nm) == [[2, 3, 4]]
        with pytest.raises(PruneError, match=r"sparsity 0.6: these layers can be pruned to 0.4 at most"):
            generate([layer("a", [[1, 2, 3, 4, 5]], None)], nm=(2, 4), block=None, target=Fraction(6, 10))

    def test_a_target_beyond_the_last_block_is_refused(self):
        with pytest.raises(PruneError, match=r"sparsity 0.8: these layers can be pruned to 0.75 at most"):
            generate([layer("a", [[1] * 8], 4)], nm=(2, 4), block=4, target=Fraction(4, 5))

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
    def test_a_score_that_is_not_finite_is_refused_by_name(self, bad):
        fine, broken = layer("fine", [[1] * 8], 4), layer("layer1.0.conv2", [[1] * 6 + [bad, 1]], 4)
        with pytest.raises(PruneError, match=r"layer layer1\.0\.conv2: a score is not finite"):
            generate([fine, broken], nm=(2, 4), block=4, target=Fraction(1, 2))

    def test_the_largest_floats_rank_like_any(self):
        most = torch.finfo(torch.float32).max
        rows = [[most] * 8 + [most / 2] * 8 + [most] * 8] * 16
        (found,) = generate([layer("a", rows, 8)], nm=(2, 4), block=8, target=1 - Fraction(1, 3), normalise="raw")
        assert found.pruned.tolist() == [[False, True, False]] * 2

    def test_rows_that_lost_different_numbers_are_refused(self):
        broken = layer("b", [[1] * 8] * 8, 4, pruned=[[True, False], [False, False]])
        with pytest.raises(PruneError, match=r"layer b: block rows lost \[1, 0\] blocks: must be the same"):
            generate([broken], nm=(2, 4), block=4, target=Fraction(1, 2))

    @pytest.mark.parametrize(
        "given, block, message",
        [
            (layer("a", [[1] * 8], 4, pruned=[[False] * 3]), 4, r"pruned blocks of shape \(1, 3\): must be \(1, 2\)"),
            (layer("a", [[1] * 8], None), 4, r"pruned blocks of shape None: must be \(1, 2\)"),
            (layer("a", [[1] * 8], 4), None, r"pruned blocks of shape \(1, 2\): must be None"),
            (LayerScores("a", torch.zeros(8), None), None, r"scores of shape \(8,\) are not a matrix"),
            (layer("a", [[1] * 8], 6), 6, "block 6: must be a multiple of M = 4"),
        ],
    )
    def test_shapes_that_do_not_fit(self, given, block, message):
        with pytest.raises(PruneError, match=message):
            generate([given], nm=(2, 4), block=block, target=Fraction(1, 2))

    def test_settings_that_break_their_rule(self):
        one = [layer("a", [[1] * 8], 4)]
        with pytest.raises(PruneError, match="normalise 'both': must be one of weights, raw"):
            generate(one, nm=(2, 4), block=4, target=Fraction(1, 2), normalise="both")
        with pytest.raises(PruneError, match="nm 5:4"):
            generate(one, nm=(5, 4), block=4, target=Fraction(1, 2))

    def test_the_input_stays_as_it_is_and_the_same_input_gives_the_same_masks(self):
        torch.manual_seed(0)
        scores, before = torch.rand(20, 50), nothing_pruned(20, 50, 8)
        kept = scores.clone()
        found = [
            generate([LayerScores("a", scores, before)], nm=(2, 4), block=8, target=Fraction(4, 5)) for _ in range(2)
        ]
        assert torch.equal(scores, kept)
        assert not before.any()
        assert torch.equal(found[0][0].nm, found[1][0].nm)
        assert torch.equal(found[0][0].pruned, found[1][0].pruned)

    def test_a_3x3_convolution_end_to_end(self):
        # 5 channels x 9 positions = 45 columns in hwc order; only what lies at (y, x) = (2, 2) scores.
        weight = torch.zeros(4, 5, 3, 3)
        weight[:, :, 2, 2] = 1.0
        scores = to_matrix(score(weight, None, "magnitude"))
        (found,) = generate(
            [LayerScores("a", scores, nothing_pruned(4, 45, 4))], nm=(2, 4), block=4, target=1 - Fraction(16, 180)
        )
        # Columns 40..44 score: block 10 (40..43) stays with block 11, the ragged one (44); 4 x (2 + 1) weights.
        assert found.pruned.tolist() == [[True] * 10 + [False] * 2]
        back = from_matrix(found.kept(4), weight.shape)
        assert back[0, :, 2, 2].tolist() == [True, True, False, False, True]
        assert int(back.sum()) == 12

    def test_masks_without_a_block_size_are_nm_alone(self):
        mask = torch.tensor([[True, False]])
        assert LayerMasks(mask, None).kept(4) is mask
