"""One whole mask generation over all prunable layers: scores in, masks out (docs/pruning.md, R6 to R11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..errors import PruneError
from .blocks import block_mask, block_scores, kept_per_block, nothing_pruned, rank_blocks, rank_column_scores
from .budget import LayerBudget, choose
from .nm import check_nm, kept_in_row, nm_mask
from .schedule import nm_sparsity

NORMALISE = ("weights", "raw")


@dataclass(frozen=True)
class LayerScores:
    """One prunable layer before an iteration.

    Parameters
    ----------
    name : str
    scores : Tensor, float32, shape (S, K)
        From `saliency.score`, as a matrix.
    pruned : Tensor, bool, shape (R, C), or None
        Blocks pruned in earlier iterations, as many in every block row; None for a layer without blocks (R3).
    """

    name: str
    scores: Tensor
    pruned: Tensor | None


@dataclass(frozen=True)
class LayerMasks:
    """One prunable layer after an iteration.

    Parameters
    ----------
    nm : Tensor, bool, shape (S, K)
        What N:M keeps, in pruned blocks as well.
    pruned : Tensor, bool, shape (R, C), or None
        All blocks pruned so far; None for a layer without blocks.
    """

    nm: Tensor
    pruned: Tensor | None

    def kept(self, block: int | None) -> Tensor:
        """Both halves together: bool, shape (S, K), True where the weight stays."""
        if self.pruned is None or block is None:
            return self.nm
        return self.nm & block_mask(self.pruned, (self.nm.shape[0], self.nm.shape[1]), block)


def generate(
    layers: Sequence[LayerScores],
    *,
    nm: tuple[int, int],
    block: int | None,
    target: Fraction,
    normalise: str = "weights",
) -> list[LayerMasks]:
    """Make the masks of one iteration.

    Parameters
    ----------
    layers : sequence of LayerScores
        All prunable layers, in the order of the model; on any device.
    nm : tuple of int
        (N, M).
    block : int or None
        B, a multiple of M; None when no layer has blocks.
    target : Fraction
        kappa_p, the least share of all layers' weights that must be zero afterwards.
    normalise : {"weights", "raw"}
        Whether rank columns compete by score per weight or by score.

    Returns
    -------
    list of LayerMasks
        New tensors, on the layers' devices; the input stays as it is.

    Raises
    ------
    PruneError
        A score is not finite (naming the layer), the rows of a layer have lost different numbers of blocks, a shape or
        setting breaks its rule, or the target cannot be met.

    Notes
    -----
    The last rank column of each layer stays, whatever the target. A target of 1 - N/M asks for N:M alone: no block is
    taken, even where ragged groups keep the sparsity below it (R12).
    """
    n, m = nm
    check_nm(n, m)
    if normalise not in NORMALISE:
        raise PruneError(f"normalise {normalise!r}: must be one of {', '.join(NORMALISE)}")
    for layer in layers:
        _check(layer, block)
    masks = [nm_mask(layer.scores, n, m) for layer in layers]
    ranked = [_rank(layer, mask, nm, block, normalise) for layer, mask in zip(layers, masks, strict=True)]
    budgets = [budget for budget, _ in ranked]
    taken = _take(budgets, sum(layer.scores.numel() for layer in layers), target, nm_sparsity(n, m))
    return [
        LayerMasks(mask, None if ranking is None else _prune(ranking, count))
        for mask, (_, ranking), count in zip(masks, ranked, taken, strict=True)
    ]


def _check(layer: LayerScores, block: int | None) -> None:
    """Refuse what would give masks without meaning."""
    if layer.scores.dim() != 2 or layer.scores.numel() == 0:
        raise PruneError(f"layer {layer.name}: scores of shape {tuple(layer.scores.shape)} are not a matrix")
    least, most = (float(end) for end in torch.aminmax(layer.scores))  # NaN if any score is
    if not (math.isfinite(least) and math.isfinite(most)):
        raise PruneError(f"layer {layer.name}: a score is not finite: the loss or its gradients overflowed")
    rows, columns = layer.scores.shape
    expected = nothing_pruned(rows, columns, block)
    wanted, given = (None if blocks is None else tuple(blocks.shape) for blocks in (expected, layer.pruned))
    if given != wanted:
        raise PruneError(f"layer {layer.name}: pruned blocks of shape {given}: must be {wanted} for block {block}")
    if layer.pruned is None:
        return
    lost = layer.pruned.sum(1)
    if (lost != lost[0]).any():
        raise PruneError(f"layer {layer.name}: block rows lost {lost.tolist()} blocks: must be the same number in each")


def _rank(
    layer: LayerScores, mask: Tensor, nm: tuple[int, int], block: int | None, normalise: str
) -> tuple[LayerBudget, Tensor | None]:
    """A layer's candidates, on the CPU, and the ranking they refer to (R7 to R9)."""
    rows, columns = layer.scores.shape
    if layer.pruned is None or block is None:
        nothing = torch.zeros(0, dtype=torch.int64)
        return LayerBudget(nothing.double(), nothing, 0, rows * kept_in_row(columns, *nm)), None
    of_blocks = block_scores(layer.scores, mask, block).cpu()
    pruned = layer.pruned.cpu()
    ranking = rank_blocks(of_blocks, pruned)
    scores = rank_column_scores(of_blocks, ranking)
    if normalise == "weights":
        scores = scores / (rows * block)
    left = kept_per_block(rows, columns, *nm, block)
    # The ragged block column has another rank in every block row, so what a rank column frees depends on the ranking.
    freed = left.gather(1, ranking).sum(0)
    budget = LayerBudget(scores, freed, int(pruned[0].sum()), int(left[~pruned].sum()))
    return budget, ranking.to(layer.scores.device)


def _take(budgets: list[LayerBudget], total: int, target: Fraction, kappa_0: Fraction) -> list[int]:
    """Rank columns pruned in each layer, those pruned before included (R10, R12)."""
    if target <= kappa_0:  # N:M alone was asked for (R12)
        return [budget.pruned for budget in budgets]
    allowed = math.floor((1 - target) * total)
    least = sum(budget.least_kept for budget in budgets)
    if least > allowed:
        most = 1 - least / total
        raise PruneError(f"sparsity {float(target):g}: these layers can be pruned to {most:.4g} at most")
    return choose(budgets, allowed)


def _prune(ranking: Tensor, count: int) -> Tensor:
    """The blocks of the first `count` ranks: bool (R, C)."""
    pruned = torch.zeros(ranking.shape, dtype=torch.bool, device=ranking.device)
    return pruned.scatter_(1, ranking[:, :count], True)
