"""Personalising a model: the user's classes, fine-tuning and pruning in turns, checkpoints, several processes."""

from .checkpoint import read_checkpoint
from .classes import choose_classes
from .config import PretrainConfig, TrainingConfig
from .head import slice_head
from .initial_weights import load_checkpoint_into
from .personalise import CHECKPOINT, Personalised, personalise
from .pretrain import Pretrained, pretrain
from .progress import Progress
from .run import EpochRecord, stretches

__all__ = [
    "CHECKPOINT",
    "EpochRecord",
    "Personalised",
    "PretrainConfig",
    "Pretrained",
    "Progress",
    "TrainingConfig",
    "choose_classes",
    "load_checkpoint_into",
    "personalise",
    "pretrain",
    "read_checkpoint",
    "slice_head",
    "stretches",
]
