"""Masks from scores: pure functions of tensors, the same on every device and in every run."""

from .blocks import (
    block_mask,
    block_scores,
    kept_per_block,
    nothing_pruned,
    rank_blocks,
    rank_column_scores,
)
from .budget import LayerBudget, choose
from .generate import NORMALISE, LayerMasks, LayerScores, generate
from .nm import kept_in_row, nm_mask
from .saliency import CRITERIA, score
from .schedule import SCHEDULES, nm_sparsity, target

__all__ = [
    "CRITERIA",
    "NORMALISE",
    "SCHEDULES",
    "LayerBudget",
    "LayerMasks",
    "LayerScores",
    "block_mask",
    "block_scores",
    "choose",
    "generate",
    "kept_in_row",
    "kept_per_block",
    "nm_mask",
    "nm_sparsity",
    "nothing_pruned",
    "rank_blocks",
    "rank_column_scores",
    "score",
    "target",
]
