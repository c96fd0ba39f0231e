"""Whether a sparsity can be reached, before any training begins (R12)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from .config import CrispConfig
from .errors import PruneError
from .layers import PrunableLayer
from .masks import kept_in_row


def highest_sparsity(layers: Sequence[PrunableLayer], config: CrispConfig) -> Fraction:
    """The highest sparsity that the layers can reach together, exactly.

    Every layer with blocks keeps one block in each block row, counted as a full one: a bound that holds however the
    blocks rank, and that no ragged last block can undercut. The others keep what N:M leaves.

    Raises
    ------
    PruneError
        There is no layer.
    """
    if not layers:
        raise PruneError(f"sparsity {config.sparsity}: the model has no prunable layer")
    left = 0
    for layer in layers:
        rows, columns = layer.shape
        left += rows * kept_in_row(columns if config.block is None else min(columns, config.block), *config.nm)
    return 1 - Fraction(left, sum(layer.weights for layer in layers))


def check_reachable(layers: Sequence[PrunableLayer], config: CrispConfig) -> None:
    """Refuse a sparsity that cannot be reached, saying what can.

    Raises
    ------
    PruneError
        kappa > kappa_0 without a layer that has blocks, or kappa above the highest sparsity, or no prunable layer.
    """
    if config.dense:
        return
    highest = highest_sparsity(layers, config)
    if config.kappa == config.kappa_0:
        return  # N:M alone, as far as ragged groups let it
    if config.block is None or all(layer.shape[1] <= config.block for layer in layers):
        raise PruneError(
            f"sparsity {config.sparsity}: no layer has more than block = {config.block} columns; "
            f"without blocks it must be that of {config.pattern.nm}, {float(config.kappa_0):g}"
        )
    if config.kappa > highest:
        raise PruneError(
            f"sparsity {config.sparsity}: these layers can be pruned to {_rounded_down(highest)} at most, "
            f"with one block left in each block row"
        )


def _rounded_down(sparsity: Fraction) -> float:
    """Four decimals, never above: a figure that can be asked for."""
    return int(sparsity * 10_000) / 10_000
