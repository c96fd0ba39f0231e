"""The CRISP pruning algorithm (torch). The rules are docs/pruning.md; paper, section III, Algorithm 1."""

from .config import CrispConfig
from .errors import PruneError
from .layers import DenseLayer, PrunableLayer, find_layers
from .pruner import CrispPruner, PrunedLayer
from .report import LayerReport, PruneReport

__all__ = [
    "CrispConfig",
    "CrispPruner",
    "DenseLayer",
    "LayerReport",
    "PrunableLayer",
    "PruneError",
    "PruneReport",
    "PrunedLayer",
    "find_layers",
]
