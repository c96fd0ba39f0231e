"""The masks of `crispsim.prune` against the pruning twin: every mask and every pruned set, exactly."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.reference import pruning as twin

torch = pytest.importorskip("torch")

from crispsim.prune import masks  # noqa: E402 (torch may be missing)
from crispsim.prune.matrix import from_matrix, to_matrix  # noqa: E402

NM = [(1, 4), (2, 4), (3, 4), (1, 2), (4, 8), (1, 1), (2, 3), (5, 20)]  # 1 - 2/3 has no float
SHAPES = st.tuples(st.integers(1, 20), st.one_of(st.integers(1, 16), st.integers(9, 60)))  # K <= B and S < B, too


@st.composite
def problems(draw):
    """Layer shapes and rules, whose sparsity is possible."""
    n, m = draw(st.sampled_from(NM))
    block = draw(st.sampled_from([B for B in (m, 2 * m, 4 * m, 4, 4, 8, 8, 16, None) if B is None or B % m == 0]))
    shapes = draw(st.lists(SHAPES, min_size=1, max_size=4))
    rules = twin.Rules(
        n=n,
        m=m,
        block=block,
        kappa=1 - Fraction(n, m),
        steps=draw(st.integers(1, 3)),
        schedule=draw(st.sampled_from(["linear", "cubic"])),
        normalise=draw(st.sampled_from(["weights", "raw"])),
    )
    if any(twin.has_blocks(K, block) for _, K in shapes):
        part = draw(st.one_of(st.sampled_from([Fraction(0), Fraction(1)]), st.fractions(0, 1, max_denominator=20)))
        rules = replace(rules, kappa=rules.kappa + part * max(0, twin.highest(shapes, rules) - rules.kappa))
    return shapes, rules


def draw_scores(random, levels, scale, shape, pruned, block):
    """Return float32 scores of few different values (one: all 0) with exact sums; 0 in pruned blocks or not."""
    scores = (random.integers(0, levels, shape) * scale).astype(np.float32)
    if pruned is not None and random.integers(2):  # or scores there that must have no effect (R8)
        for i, row in enumerate(pruned):
            for j in row:
                scores[i * block : (i + 1) * block, j * block : (j + 1) * block] = 0
    return scores


def as_tensor(pruned, columns):
    """Return the pruned sets of every block row as a bool matrix [R, C]."""
    return torch.tensor([[j in row for j in range(columns)] for row in pruned], dtype=torch.bool)


@given(problems(), st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4, 1000]), st.sampled_from([1, 0.125, 1024]))
@settings(max_examples=300)
def test_masks_equal_the_twins_in_every_iteration(problem, seed, levels, scale):
    shapes, rules = problem
    random, start = np.random.default_rng(seed), 1 - Fraction(rules.n, rules.m)
    pruned = [None] * len(shapes)
    mine = [masks.nothing_pruned(*shape, rules.block) for shape in shapes]
    for p in range(1, rules.steps + 1):
        scores = [
            draw_scores(random, levels, scale, shape, before, rules.block)
            for shape, before in zip(shapes, pruned, strict=True)
        ]
        expected = twin.generate(
            [twin.Layer(twin.exact(s), before) for s, before in zip(scores, pruned, strict=True)], rules, p
        )
        target = masks.target(rules.kappa, start, p, rules.steps, rules.schedule)
        assert target == twin.target(rules, p)
        given_layers = [
            masks.LayerScores(f"layer{at}", torch.from_numpy(s), before)
            for at, (s, before) in enumerate(zip(scores, mine, strict=True))
        ]
        found = masks.generate(
            given_layers, nm=(rules.n, rules.m), block=rules.block, target=target, normalise=rules.normalise
        )
        for layer, outcome, (_, K) in zip(found, expected, shapes, strict=True):
            assert layer.nm.tolist() == outcome.nm
            if outcome.pruned is None:
                assert layer.pruned is None
            else:
                assert torch.equal(layer.pruned, as_tensor(outcome.pruned, -(-K // rules.block)))
            assert layer.kept(rules.block).tolist() == outcome.mask(rules.block)
            assert int(layer.kept(rules.block).sum()) == outcome.kept
        event(f"blocks pruned: {any(row for outcome in expected for row in outcome.pruned or ())}")
        pruned, mine = [outcome.pruned for outcome in expected], [layer.pruned for layer in found]
        kept, allowed = sum(outcome.kept for outcome in expected), (1 - target) * sum(S * K for S, K in shapes)
        assert kept <= allowed or target == start  # else the promise was broken by both


def test_nm_alone_is_complete_at_kappa_0():
    # 1:4 leaves 2 of 5 weights, 60% sparse, short of 75%; both rank columns hold one of them.
    rules = twin.Rules(n=1, m=4, block=4, kappa=Fraction(3, 4))
    [expected] = twin.generate([twin.Layer(twin.exact([[1, 0, 0, 0, 1]]))], rules, 1)
    layer = masks.LayerScores("layer", torch.tensor([[1.0, 0, 0, 0, 1]]), masks.nothing_pruned(1, 5, 4))
    [found] = masks.generate([layer], nm=(1, 4), block=4, target=Fraction(3, 4))
    assert torch.equal(found.pruned, as_tensor(expected.pruned, 2))


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 1000]), st.integers(1, 24), st.data())
def test_nm_masks_of_any_n_and_m_equal_the_twins(seed, levels, m, data):
    n, random = data.draw(st.integers(1, m)), np.random.default_rng(seed)
    scores = draw_scores(random, levels, 1, (random.integers(1, 6), random.integers(1, 60)), None, None)
    assert masks.nm_mask(torch.from_numpy(scores), n, m).tolist() == twin.nm_mask(twin.exact(scores), n, m)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 1000]), st.integers(1, 9))
def test_block_scores_and_ranking_of_any_mask_equal_the_twins(seed, levels, block):
    random = np.random.default_rng(seed)
    shape = (random.integers(1, 30), random.integers(1, 40))
    scores, mask = draw_scores(random, levels, 1, shape, None, None), random.random(shape) < 0.5
    sums = masks.block_scores(torch.from_numpy(scores), torch.from_numpy(mask), block)
    assert sums.tolist() == twin.block_scores(twin.exact(scores), mask.tolist(), block)
    gone = random.random(sums.shape) < 0.3
    sums[torch.from_numpy(gone)] = 0  # their order among themselves has no meaning
    ranking = twin.rank_blocks(sums.tolist(), [frozenset(np.flatnonzero(row).tolist()) for row in gone])
    assert masks.rank_blocks(sums, torch.from_numpy(gone)).tolist() == ranking


@given(SHAPES, st.sampled_from([(n, m, B) for n, m in NM for B in (4, 8, 16) if B % m == 0]))
def test_counts_of_blocks_equal_the_twins(shape, pattern):
    (S, K), (n, m, block) = shape, pattern
    rules = twin.Rules(n=n, m=m, block=block, kappa=Fraction(0))
    counts = [[twin.block_slots(i, j, S, K, rules) for j in range(-(-K // block))] for i in range(-(-S // block))]
    assert torch.as_tensor(masks.kept_per_block(S, K, n, m, block)).tolist() == counts
    assert masks.kept_in_row(K, n, m) * S == sum(map(sum, counts))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_the_matrix_of_a_convolution_equals_the_twins(S, C, kh, kw):
    weight = np.arange(S * C * kh * kw, dtype=np.float32).reshape(S, C, kh, kw)
    matrix = to_matrix(torch.from_numpy(weight))
    assert np.array_equal(matrix.numpy(), twin.matrix(weight))
    assert np.array_equal(from_matrix(matrix, weight.shape).numpy(), weight)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 8), min_size=1, max_size=4), st.sampled_from(masks.CRITERIA))
def test_scores_equal_the_twins_where_they_are_exact(seed, sizes, criterion):
    random = np.random.default_rng(seed)
    weight = random.integers(-8, 9, (3, 4)).astype(np.float32)
    count = {"eq1": sum(sizes), "abs": len(sizes)}.get(criterion, 1)  # what the average divides by: exact
    gradients = [(count * random.integers(-4, 5, weight.shape)).astype(np.float32) for _ in sizes]
    if criterion == "eq1":
        average = sum(size * gradient for size, gradient in zip(sizes, gradients, strict=True)) / sum(sizes)
    else:
        average = sum(map(abs, gradients)) / len(sizes)
    found = masks.score(torch.from_numpy(weight), torch.from_numpy(average.astype(np.float32)), criterion)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), twin.saliency(weight, gradients, sizes, criterion))
