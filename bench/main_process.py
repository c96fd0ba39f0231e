"""Which of torchrun's processes speaks for all."""

from __future__ import annotations

import os


def main_process() -> bool:
    """Whether this is the process that prints and writes: the first of torchrun's, or the only one."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"
