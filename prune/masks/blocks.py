"""Blocks: their scores, their ranking in each block row, and rank columns (docs/pruning.md, R3 and R7 to R9).

S and K are a matrix's rows and columns, B the side of a block, R = ceil(S / B) and C = ceil(K / B) its block rows
and block columns. The block of rank o in each of the R block rows forms rank column o.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import PruneError
from ..matrix import block_count, block_lengths
from .nm import check_nm, kept_in_row

# Scores worked on at a time: few enough for a core's cache, enough to hide the cost of a call.
_CHUNK = 1 << 18


def nothing_pruned(rows: int, columns: int, block: int | None, device: torch.device | str = "cpu") -> Tensor | None:
    """Where pruning starts: all-false bool (R, C); None without blocks, for want of a block size or if K <= B (R3)."""
    if block is None or columns <= block:
        return None
    return torch.zeros(block_count(rows, block), block_count(columns, block), dtype=torch.bool, device=device)


def block_scores(scores: Tensor, mask: Tensor, block: int) -> Tensor:
    """Sum the scores that N:M left, block by block.

    Parameters
    ----------
    scores : Tensor, float32, shape (S, K)
        Finite.
    mask : Tensor, bool, shape (S, K)
        What N:M keeps.
    block : int

    Returns
    -------
    Tensor, float64, shape (R, C)
        Real weights only: nothing is added for the padding of ragged blocks.

    Notes
    -----
    Source: R7. Float64 is made of a few block rows at a time, never of the whole matrix.
    """
    rows, columns = scores.shape
    whole = columns // block * block
    sums = torch.empty(block_count(rows, block), block_count(columns, block), dtype=torch.float64, device=scores.device)
    step = max(1, _CHUNK // (block * columns))  # block rows
    for first in range(0, sums.shape[0], step):
        here = slice(first * block, (first + step) * block)
        kept = torch.mul(scores[here], mask[here])
        by_row = torch.empty(kept.shape[0], sums.shape[1], dtype=torch.float64, device=scores.device)
        by_row[:, : whole // block] = kept[:, :whole].unflatten(1, (-1, block)).sum(2, dtype=torch.float64)
        if whole < columns:
            by_row[:, -1] = kept[:, whole:].sum(1, dtype=torch.float64)
        full = kept.shape[0] // block
        sums[first : first + full] = by_row[: full * block].unflatten(0, (-1, block)).sum(1)
        if full * block < kept.shape[0]:
            sums[first + full] = by_row[full * block :].sum(0)
    return sums


def rank_blocks(scores: Tensor, pruned: Tensor) -> Tensor:
    """Rank each block row's blocks: those pruned before first, then by rising score, then by rising column.

    Parameters
    ----------
    scores : Tensor, float64, shape (R, C)
        From `block_scores`.
    pruned : Tensor, bool, shape (R, C)

    Returns
    -------
    Tensor, int64, shape (R, C)
        ranking[i, o] is the block column of rank o in block row i.

    Notes
    -----
    Source: R8.

    >>> rank_blocks(torch.tensor([[2.0, 1.0, 0.0, 1.0]]), torch.tensor([[True, False, False, False]])).tolist()
    [[0, 2, 1, 3]]
    """
    by_score = scores.argsort(dim=1, stable=True)
    kept = (~pruned).gather(1, by_score).to(torch.uint8)
    return by_score.gather(1, kept.argsort(dim=1, stable=True))


def rank_column_scores(scores: Tensor, ranking: Tensor) -> Tensor:
    """Add up the scores of each rank column: float64, shape (C,), not normalised.

    Parameters
    ----------
    scores : Tensor, float64, shape (R, C)
    ranking : Tensor, int64, shape (R, C)

    Notes
    -----
    Source: R9. Block rows are added in their order for every rank alike: rounding never makes a sum of larger scores
    the smaller one.
    """
    return scores.gather(1, ranking).cumsum(0)[-1]


def kept_per_block(rows: int, columns: int, n: int, m: int, block: int) -> Tensor:
    """Weights that N:M leaves in each block: int64, shape (R, C), on the CPU.

    Raises
    ------
    PruneError
        N:M is impossible, or B is not a multiple of M: a group would lie in two blocks.

    Notes
    -----
    min(N, r) of each group of r real weights; these are counts of places, whatever the scores. Source: R10.

    >>> kept_per_block(3, 10, 2, 4, 4).tolist()
    [[6, 6, 6]]
    >>> kept_per_block(5, 9, 2, 4, 4).tolist()
    [[8, 8, 4], [2, 2, 1]]
    """
    check_nm(n, m)
    if block < 1 or block % m:
        raise PruneError(f"block {block}: must be a multiple of M = {m}")
    in_row = torch.tensor([kept_in_row(int(width), n, m) for width in block_lengths(columns, block)])
    return torch.outer(block_lengths(rows, block), in_row)


def block_mask(pruned: Tensor, shape: tuple[int, int], block: int) -> Tensor:
    """The blocks' mask, weight by weight.

    Parameters
    ----------
    pruned : Tensor, bool, shape (R, C)
    shape : tuple of int
        (S, K).
    block : int

    Returns
    -------
    Tensor, bool, shape (S, K)
        True where the block is kept.

    >>> block_mask(torch.tensor([[True, False]]), (1, 3), 2).int().tolist()
    [[0, 0, 1]]
    """
    rows, columns = shape
    kept = (~pruned).repeat_interleave(block, dim=1)[:, :columns]
    return kept.repeat_interleave(block, dim=0)[:rows].contiguous()
