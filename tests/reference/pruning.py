"""Reference twin of the pruning algorithm: lists, sets and exact fractions, one element at a time.

Written from `docs/pruning.md` alone (its rules R3 and R5-R12 are cited below) and without sight of `prune/`.

The rules say float64 sums; the twin adds exact fractions instead. The two are the same where float64 sums are exact in
any order, and may differ in the last bit elsewhere. So tests that compare masks use scores that are small integers or
multiples of a power of two: that is also where ties are, and ties are where masks go wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Literal

import numpy as np

Matrix = Sequence[Sequence[Fraction]]


class InfeasibleError(ValueError):
    """A sparsity that the rules refuse (R12)."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is asked for: N:M, the block side (None: no blocks), kappa and how it is approached."""

    n: int
    m: int
    block: int | None
    kappa: Fraction
    steps: int = 1
    schedule: Literal["linear", "cubic"] = "linear"
    normalise: Literal["weights", "raw"] = "weights"


@dataclass(frozen=True)
class Layer:
    """One prunable layer before an iteration: scores [S][K], and per block row the block columns pruned before."""

    scores: Matrix
    pruned: tuple[frozenset[int], ...] | None = None  # None: nothing pruned yet, or no blocks

    @property
    def rows(self) -> int:
        return len(self.scores)

    @property
    def columns(self) -> int:
        return len(self.scores[0])


@dataclass(frozen=True)
class Outcome:
    """One layer after an iteration."""

    nm: list[list[bool]]  # [S][K], R6
    pruned: tuple[frozenset[int], ...] | None  # per block row, R11; None for a layer without blocks
    kept: int  # weights that both halves leave, R10
    weights: int  # real weights, S K

    def mask(self, block: int | None) -> list[list[bool]]:
        """Return both halves together [S][K]: True where a weight stays."""
        if self.pruned is None or block is None:
            return self.nm
        return [
            [keep and k // block not in self.pruned[s // block] for k, keep in enumerate(row)]
            for s, row in enumerate(self.nm)
        ]


def exact(scores: np.ndarray | Sequence[Sequence[float]]) -> list[list[Fraction]]:
    """Return float32 scores [S][K] as exact fractions."""
    return [[Fraction(float(score)) for score in row] for row in np.asarray(scores, dtype=np.float32)]


def has_blocks(columns: int, block: int | None) -> bool:
    """Tell whether a layer of K `columns` gets the coarse half (R3)."""
    return block is not None and columns > block


# --- R6: the fine-grained half ---


def nm_mask(scores: Matrix, n: int, m: int) -> list[list[bool]]:
    """Return what N:M keeps [S][K]: of each group of r real elements the min(N, r) best, lower columns first (R6)."""
    mask = [[False] * len(row) for row in scores]
    for s, row in enumerate(scores):
        for start in range(0, len(row), m):
            group = list(range(start, min(start + m, len(row))))
            for k in sorted(group, key=lambda k: (-row[k], k))[:n]:
                mask[s][k] = True
    return mask


# --- R7-R9: the coarse half ---


def tile(i: int, j: int, rows: int, columns: int, block: int) -> list[tuple[int, int]]:
    """Return the real elements of the block in block row i and block column j."""
    return [
        (s, k)
        for s in range(i * block, min((i + 1) * block, rows))
        for k in range(j * block, min((j + 1) * block, columns))
    ]


def block_scores(scores: Matrix, mask: list[list[bool]], block: int) -> list[list[Fraction]]:
    """Return the sums of the kept scores of every block [R][C] (R7)."""
    S, K = len(scores), len(scores[0])
    return [
        [
            sum((scores[s][k] for s, k in tile(i, j, S, K, block) if mask[s][k]), start=Fraction(0))
            for j in range(-(-K // block))
        ]
        for i in range(-(-S // block))
    ]


def rank_blocks(sums: list[list[Fraction]], pruned: Sequence[frozenset[int]]) -> list[list[int]]:
    """Return the block columns of every block row, the least first: pruned ones, by score, by column (R8)."""
    return [
        sorted(range(len(row)), key=lambda j: (j not in pruned[i], row[j] if j not in pruned[i] else 0, j))
        for i, row in enumerate(sums)
    ]


def rank_column_scores(sums: list[list[Fraction]], ranking: list[list[int]], divisor: int) -> list[Fraction]:
    """Return c[o], the scores of the blocks of rank o over all block rows, divided (R9)."""
    return [
        sum((sums[i][ranking[i][o]] for i in range(len(sums))), start=Fraction(0)) / divisor
        for o in range(len(sums[0]))
    ]


# --- R12: targets ---


def target(rules: Rules, p: int) -> Fraction:
    """Return kappa_p (R12)."""
    start, left = 1 - Fraction(rules.n, rules.m), 1 - Fraction(p, rules.steps)
    left = {"linear": left, "cubic": left**3}[rules.schedule]
    return rules.kappa - (rules.kappa - start) * left


def highest(shapes: Sequence[tuple[int, int]], rules: Rules) -> Fraction:
    """Return the highest sparsity that can be promised for layers of shapes (S, K) (R12)."""
    least = 0
    for S, K in shapes:
        if rules.block is not None and has_blocks(K, rules.block):
            least += S * rules.block * rules.n // rules.m  # one full block in each block row
        else:
            least += S * row_slots(0, K, rules)
    return 1 - Fraction(least, sum(S * K for S, K in shapes))


def check(shapes: Sequence[tuple[int, int]], rules: Rules) -> None:
    """Raise InfeasibleError for a kappa that R12 refuses for layers of shapes (S, K)."""
    start = 1 - Fraction(rules.n, rules.m)
    if rules.kappa < start:
        raise InfeasibleError(f"kappa {rules.kappa}: below kappa_0 = {start}")
    if rules.kappa == start:
        return  # N:M alone is complete, however its ragged groups come out
    if not any(has_blocks(K, rules.block) for _, K in shapes):
        raise InfeasibleError(f"kappa {rules.kappa}: above kappa_0 = {start}, and no layer has blocks")
    if rules.kappa > highest(shapes, rules):
        raise InfeasibleError(f"kappa {rules.kappa}: above the highest possible, {highest(shapes, rules)}")


# --- R10, R11: one iteration over all layers ---


def row_slots(start: int, end: int, rules: Rules) -> int:
    """Return how many weights of one row N:M keeps in the columns start .. end-1, start a multiple of M."""
    return sum(min(rules.n, end - first) for first in range(start, end, rules.m))


def block_slots(i: int, j: int, rows: int, columns: int, rules: Rules) -> int:
    """Return how many weights N:M keeps in a block: min(N, r) of each group of r real elements (R10)."""
    assert rules.block is not None
    real_rows = min(rules.block, rows - i * rules.block)
    return real_rows * row_slots(j * rules.block, min((j + 1) * rules.block, columns), rules)


def generate(layers: Sequence[Layer], rules: Rules, p: int) -> list[Outcome]:
    """Return every layer after iteration p (R6-R11).

    Where kappa = kappa_0 nothing is taken, also where ragged groups leave N:M alone short of it (R12, last sentence).
    """
    check([(layer.rows, layer.columns) for layer in layers], rules)
    masks = [nm_mask(layer.scores, rules.n, rules.m) for layer in layers]
    weights = [layer.rows * layer.columns for layer in layers]
    kept = [layer.rows * row_slots(0, layer.columns, rules) for layer in layers]
    pruned: list[list[set[int]] | None] = []
    candidates = []  # (c, position, o, block columns one per block row)
    for position, (layer, mask) in enumerate(zip(layers, masks, strict=True)):
        S, K, B = layer.rows, layer.columns, rules.block
        if B is None or not has_blocks(K, B):
            assert not layer.pruned, "a layer without blocks has none pruned"
            pruned.append(None)
            continue
        R, C = -(-S // B), -(-K // B)
        before = layer.pruned or (frozenset(),) * R
        d = len(before[0])
        assert len(before) == R and all(len(row) == d for row in before), "every block row has lost the same number"
        for i in range(R):
            kept[position] -= sum(block_slots(i, j, S, K, rules) for j in before[i])
        sums = block_scores(layer.scores, mask, B)
        ranking = rank_blocks(sums, before)
        scores = rank_column_scores(sums, ranking, S * B if rules.normalise == "weights" else 1)
        for o in range(d, C - 1):  # the last one stays
            candidates.append((scores[o], position, o, [ranking[i][o] for i in range(R)]))
        pruned.append([set(row) for row in before])

    allowed = (1 - target(rules, p)) * sum(weights)
    if rules.kappa > 1 - Fraction(rules.n, rules.m):
        for _, position, _, columns in sorted(candidates):
            if sum(kept) <= allowed:
                break
            rows = pruned[position]
            assert rows is not None
            for i, j in enumerate(columns):
                assert j not in rows[i]
                rows[i].add(j)
                kept[position] -= block_slots(i, j, layers[position].rows, layers[position].columns, rules)
    return [
        Outcome(masks[at], None if rows is None else tuple(map(frozenset, rows)), kept[at], weights[at])
        for at, rows in enumerate(pruned)
    ]


# --- R5: scores ---


def saliency(
    weight: np.ndarray, gradients: Sequence[np.ndarray], sizes: Sequence[int], criterion: str = "eq1"
) -> np.ndarray:
    """Return the float32 scores of a weight, any shape (R5).

    `gradients` has one array for each batch, of the loss averaged over that batch's `sizes` samples: a mean over all
    samples weighs a batch by its size, a mean over batches does not.
    """
    scores = np.zeros(weight.shape, dtype=np.float32)
    for at in np.ndindex(*weight.shape):
        w, g = float(weight[at]), [float(gradient[at]) for gradient in gradients]
        if criterion == "eq1":
            value = abs(sum(size * x for size, x in zip(sizes, g, strict=True)) / sum(sizes) * w)
        elif criterion == "abs":
            value = abs(w) * sum(abs(x) for x in g) / len(g)
        elif criterion == "magnitude":
            value = abs(w)
        else:
            raise ValueError(f"criterion {criterion!r}: not one of eq1, abs, magnitude")
        scores[at] = value
    return scores


# --- R1: the matrix ---


def matrix(weight: np.ndarray) -> np.ndarray:
    """Return a convolution's weight [S, C, kh, kw] (or a matrix) as its matrix: column (y kw + x) C + c (R1)."""
    if weight.ndim == 2:
        return weight
    S, C, kh, kw = weight.shape
    result = np.zeros((S, prod((C, kh, kw))), dtype=weight.dtype)
    for s, c, y, x in np.ndindex(S, C, kh, kw):
        result[s, (y * kw + x) * C + c] = weight[s, c, y, x]
    return result
