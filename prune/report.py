"""What has been pruned: sparsity of every layer, of the prunable weights and of the whole model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .config import CrispConfig
from .layers import DenseLayer, PrunableLayer
from .masks import LayerMasks

NOT_COUNTED = "biases, norms, embeddings and layers that are neither Conv2d, Linear nor attention are in no denominator"


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """A prunable layer.

    Parameters
    ----------
    name, kind : str
        As of `PrunableLayer`.
    rows, columns : int
        S and K.
    nm : str
        "2:4", or "dense" without a fine-grained half.
    block : int, optional
        B; None for a layer without blocks.
    block_columns, kept_columns : int, optional
        C, and how many blocks every block row has kept.
    weights, nonzeros : int
        S K, and those that the masks keep (a kept weight that happens to be 0 counts).
    note : str
        What a reader should know, or "".
    """

    name: str
    kind: str
    rows: int
    columns: int
    nm: str
    block: int | None
    block_columns: int | None
    kept_columns: int | None
    weights: int
    nonzeros: int
    note: str

    @property
    def sparsity(self) -> float:
        """Share of the layer's weights that are pruned."""
        return 1 - self.nonzeros / self.weights


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
        Those that stay dense, with the reason. With the prunable ones, the denominator of `model_sparsity`.
    uncounted : int
        Other parameters of the model (`not_counted` says which).
    not_counted : str
    """

    iteration: int
    steps: int
    asked: float
    layers: tuple[LayerReport, ...]
    dense: tuple[DenseLayer, ...]
    uncounted: int
    not_counted: str = NOT_COUNTED

    @property
    def weights(self) -> int:
        """Prunable weights."""
        return sum(layer.weights for layer in self.layers)

    @property
    def nonzeros(self) -> int:
        """Prunable weights that the masks keep."""
        return sum(layer.nonzeros for layer in self.layers)

    @property
    def sparsity(self) -> float:
        """Share of the prunable weights that are pruned; 0 if there are none."""
        return 1 - self.nonzeros / self.weights if self.weights else 0.0

    @property
    def model_weights(self) -> int:
        """Prunable weights and those of the dense layers."""
        return self.weights + sum(layer.weights for layer in self.dense)

    @property
    def model_sparsity(self) -> float:
        """Share of the weights of all layers that are pruned; 0 if there are none."""
        return (self.weights - self.nonzeros) / self.model_weights if self.model_weights else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All fields and figures, for JSON."""
        figures = ("weights", "nonzeros", "sparsity", "model_weights", "model_sparsity")
        return {
            "iteration": self.iteration,
            "steps": self.steps,
            "asked": self.asked,
            **{name: getattr(self, name) for name in figures},
            "layers": [asdict(layer) | {"sparsity": layer.sparsity} for layer in self.layers],
            "dense": [asdict(layer) for layer in self.dense],
            "uncounted": self.uncounted,
            "not_counted": self.not_counted,
        }


def report(
    config: CrispConfig,
    iteration: int,
    layers: Sequence[PrunableLayer],
    masks: Sequence[LayerMasks],
    dense: Sequence[DenseLayer],
    parameters: int,
) -> PruneReport:
    """Put a report together.

    Parameters
    ----------
    config : CrispConfig
    iteration : int
    layers, masks : sequences
        Of the same length and order.
    dense : sequence of DenseLayer
    parameters : int
        Of the whole model, each counted once.
    """
    of_layers = tuple(_layer(config, layer, mask) for layer, mask in zip(layers, masks, strict=True))
    counted = sum(layer.weights for layer in (*of_layers, *dense))
    return PruneReport(
        iteration=iteration,
        steps=config.steps,
        asked=float(config.kappa),
        layers=of_layers,
        dense=tuple(dense),
        uncounted=parameters - counted,
    )


def _layer(config: CrispConfig, layer: PrunableLayer, masks: LayerMasks) -> LayerReport:
    pruned = masks.pruned
    block_columns = kept = None
    if pruned is not None:
        block_columns = pruned.shape[1]
        kept = block_columns - int(pruned[0].sum())
    return LayerReport(
        name=layer.name,
        kind=layer.kind,
        rows=layer.shape[0],
        columns=layer.shape[1],
        nm=config.pattern.nm,
        block=config.block if pruned is not None else None,
        block_columns=block_columns,
        kept_columns=kept,
        weights=layer.weights,
        nonzeros=int(masks.kept(config.block).sum()),
        note=_note(config, layer, kept),
    )


def _note(config: CrispConfig, layer: PrunableLayer, kept: int | None) -> str:
    if kept == 1:
        return "one block left in each block row"
    if config.block is not None and kept is None:
        half = "N:M only" if config.nm != (1, 1) else "not pruned"
        return f"{half}: K = {layer.shape[1]} is at most the block, {config.block}"
    return ""
