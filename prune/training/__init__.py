"""Personalising a model: the user's classes, fine-tuning and pruning in turns, checkpoints, several processes."""

from .checkpoint import read_checkpoint
from .classes import choose_classes
from .config import PretrainConfig, TrainingConfig
from .distributed import Ranks, find_device, process_group
from .head import find_head, slice_head
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
    "Ranks",
    "TrainingConfig",
    "choose_classes",
    "find_device",
    "find_head",
    "load_checkpoint_into",
    "personalise",
    "pretrain",
    "process_group",
    "read_checkpoint",
    "slice_head",
    "stretches",
]
