"""How many rank columns each layer loses: all layers compete for one budget of weights (docs/pruning.md, R10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class LayerBudget:
    """What one layer brings to the budget.

    Parameters
    ----------
    scores : Tensor, float64, shape (C,)
        Normalised score of each rank column; empty for a layer without blocks.
    freed : Tensor, int64, shape (C,)
        Weights that go when the rank column does, out of those N:M leaves.
    pruned : int
        Rank columns pruned before: ranks 0 .. pruned - 1.
    kept : int
        Weights kept now, by N:M and by the blocks pruned before.
    """

    scores: Tensor
    freed: Tensor
    pruned: int
    kept: int

    @property
    def last(self) -> int:
        """The rank after the last candidate: the last rank column always stays, so that no block row is emptied."""
        return max(self.pruned, len(self.scores) - 1)

    @property
    def least_kept(self) -> int:
        """Weights kept when every candidate has gone."""
        return self.kept - int(self.freed[self.pruned : self.last].sum())


def choose(candidates: Sequence[LayerBudget], allowed: int) -> list[int]:
    """Take rank columns, least score first, until at most `allowed` weights are kept.

    Parameters
    ----------
    candidates : sequence of LayerBudget
        One per prunable layer, in the order of the model; layers without blocks are counted too.
    allowed : int
        Weights that may be kept in all layers together: floor((1 - kappa_p) total). At least what the layers keep
        together when every candidate has gone (`least_kept`): the caller refuses what is less, in the user's words.

    Returns
    -------
    list of int
        Rank columns pruned in each layer, those pruned before included.

    Notes
    -----
    Ties go to the earlier layer, then to the lower rank. Source: R10. Counts are integers; `kept <= allowed` is tested
    before each rank column, so at most the last one taken is more than was needed.
    """
    excess = sum(layer.kept for layer in candidates) - allowed
    taken = [layer.pruned for layer in candidates]
    if excess <= 0:
        return taken
    # Scores of a layer do not fall with the rank. The running maximum makes that certain, so that a layer's
    # candidates are taken from the lowest rank up.
    scores = [np.maximum.accumulate(_candidates(layer, layer.scores)) for layer in candidates]
    freed = [_candidates(layer, layer.freed) for layer in candidates]
    owner = np.repeat(np.arange(len(candidates)), [len(of_layer) for of_layer in scores])
    # Stable, and the candidates stand in the order of (layer, rank).
    order = np.argsort(np.concatenate(scores), kind="stable")
    until = np.searchsorted(np.cumsum(np.concatenate(freed)[order]), excess)
    counts = np.bincount(owner[order[: until + 1]], minlength=len(candidates))
    return [before + int(count) for before, count in zip(taken, counts, strict=True)]


def _candidates(layer: LayerBudget, of_ranks: Tensor) -> np.ndarray:
    return of_ranks[layer.pruned : layer.last].cpu().numpy()
