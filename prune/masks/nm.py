"""N:M masks: the N best of every M neighbours along a row (docs/pruning.md, R6)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import PruneError

# Up to this M, comparing all pairs of a group beats sorting it.
_PAIRS_UP_TO = 16
# Scores worked on at a time: few enough for a core's cache, enough to hide the cost of a call.
_CHUNK = 1 << 18


def check_nm(n: int, m: int) -> None:
    """Raise PruneError unless 1 <= N <= M."""
    if not 1 <= n <= m:
        raise PruneError(f"nm {n}:{m}: must be N:M with 1 <= N <= M")


def kept_in_row(columns: int, n: int, m: int) -> int:
    """How many of a row's real weights N:M keeps: min(N, r) of each group of r.

    >>> kept_in_row(11, 2, 4), kept_in_row(9, 2, 4)
    (6, 5)
    """
    return columns // m * n + min(n, columns % m)


def nm_mask(scores: Tensor, n: int, m: int) -> Tensor:
    """Keep the N best of every M neighbours.

    Parameters
    ----------
    scores : Tensor, shape (S, K)
        Finite.
    n, m : int
        1 <= N <= M.

    Returns
    -------
    Tensor, bool, shape (S, K)
        True where kept: in a group of r real weights, the min(N, r) of highest score; among equals the lower column.

    Raises
    ------
    PruneError
        N:M is impossible.

    Notes
    -----
    Groups start at column 0; the last may be ragged. Source: R6. Deterministic on every device.

    >>> nm_mask(torch.tensor([[1.0, 3.0, 2.0, 2.0, 0.0]]), 2, 4).int().tolist()
    [[0, 1, 1, 0, 1]]
    """
    check_nm(n, m)
    rows, columns = scores.shape
    if n == m:
        return torch.ones(rows, columns, dtype=torch.bool, device=scores.device)
    mask = torch.empty(rows, columns, dtype=torch.bool, device=scores.device)
    whole = columns // m * m
    for width, start, stop in ((m, 0, whole), (columns - whole, whole, columns)):
        if width <= n:
            mask[:, start:stop] = True  # a ragged group of at most N keeps all
            continue
        choose = _best_by_pairs if width <= _PAIRS_UP_TO else _best_by_sorting
        step = max(1, _CHUNK // max(1, stop - start))
        for row in range(0, rows, step):
            tile = scores[row : row + step, start:stop].unflatten(1, (-1, width))
            mask[row : row + step, start:stop].unflatten(1, (-1, width)).copy_(choose(tile, n))
    return mask


def _best_by_pairs(groups: Tensor, n: int) -> Tensor:
    """The n best along the last axis of (rows, groups, width): those beaten by fewer than n others."""
    width = groups.shape[-1]
    places = groups.movedim(-1, 0).contiguous()  # one plane per place in the group, so that comparisons vectorise
    beaten = torch.zeros(places.shape, dtype=torch.uint8, device=groups.device)
    for low in range(width):
        beaten[low] += width - 1 - low  # by every place above, until the comparison says otherwise
        for high in range(low + 1, width):
            wins = (places[low] >= places[high]).view(torch.uint8)  # of equals the lower column wins
            beaten[high] += wins
            beaten[low] -= wins
    return (beaten < n).movedim(0, -1)


def _best_by_sorting(groups: Tensor, n: int) -> Tensor:
    """The n best along the last axis of (rows, groups, width), by a stable sort."""
    best = groups.argsort(dim=-1, descending=True, stable=True)[..., :n]
    return torch.zeros(groups.shape, dtype=torch.bool, device=groups.device).scatter_(-1, best, True)
