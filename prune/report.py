"""What has been pruned: sparsity of every layer and of the prunable weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .config import CrispConfig
from .layers import DenseLayer, PrunableLayer
from .masks import LayerMasks


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """A prunable layer.

    Parameters
    ----------
    layer, kind : str
        Name and kind of `PrunableLayer`.
    s, k : int
        Rows and columns of the matrix.
    nm : str
        "2:4", or "dense" without a fine-grained half.
    block : int, optional
        B; None for a layer without blocks.
    block_columns, kept_blocks : int, optional
        C, and how many blocks every block row has kept.
    weights, kept_weights : int
        S K, and those that the masks keep (a kept weight that happens to be 0 counts).
    note : str
        What a reader should know, or "".
    """

    layer: str
    kind: str
    s: int
    k: int
    nm: str
    block: int | None
    block_columns: int | None
    kept_blocks: int | None
    weights: int
    kept_weights: int
    note: str

    @property
    def sparsity(self) -> float:
        """Share of the layer's weights that are pruned."""
        return 1 - self.kept_weights / self.weights


@dataclass(frozen=True, kw_only=True)
class PruneReport:
    """A model after some iterations.

    Parameters
    ----------
    iteration, steps : int
        p and n.
    asked : float
        kappa.
    layers : tuple of LayerReport
        The prunable layers, the denominator of `sparsity`.
    dense : tuple of DenseLayer
        Those that stay dense, with the reason.
    """

    iteration: int
    steps: int
    asked: float
    layers: tuple[LayerReport, ...]
    dense: tuple[DenseLayer, ...]

    @property
    def weights(self) -> int:
        """Prunable weights."""
        return sum(layer.weights for layer in self.layers)

    @property
    def kept_weights(self) -> int:
        """Prunable weights that the masks keep."""
        return sum(layer.kept_weights for layer in self.layers)

    @property
    def sparsity(self) -> float:
        """Share of the prunable weights that are pruned; 0 if there are none."""
        return 1 - self.kept_weights / self.weights if self.weights else 0.0


def report(
    config: CrispConfig,
    iteration: int,
    layers: Sequence[PrunableLayer],
    masks: Sequence[LayerMasks],
    dense: Sequence[DenseLayer],
) -> PruneReport:
    """Put a report together.

    Parameters
    ----------
    config : CrispConfig
    iteration : int
    layers, masks : sequences
        Of the same length and order.
    dense : sequence of DenseLayer
    """
    return PruneReport(
        iteration=iteration,
        steps=config.steps,
        asked=float(config.kappa),
        layers=tuple(_layer(config, layer, mask) for layer, mask in zip(layers, masks, strict=True)),
        dense=tuple(dense),
    )


def _layer(config: CrispConfig, layer: PrunableLayer, masks: LayerMasks) -> LayerReport:
    pruned = masks.pruned
    block_columns = kept = None
    if pruned is not None:
        block_columns = pruned.shape[1]
        kept = block_columns - int(pruned[0].sum())
    return LayerReport(
        layer=layer.name,
        kind=layer.kind,
        s=layer.shape[0],
        k=layer.shape[1],
        nm=config.pattern.nm,
        block=config.block if pruned is not None else None,
        block_columns=block_columns,
        kept_blocks=kept,
        weights=layer.weights,
        kept_weights=int(masks.kept(config.block).sum()),
        note=_note(config, layer, kept),
    )


def _note(config: CrispConfig, layer: PrunableLayer, kept: int | None) -> str:
    if kept == 1:
        return "one block left in each block row"
    if config.block is not None and kept is None:
        half = "N:M only" if config.nm != (1, 1) else "not pruned"
        return f"{half}: K = {layer.shape[1]} is at most the block, {config.block}"
    return ""
