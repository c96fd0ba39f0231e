"""The architectures: one file each, one registry."""

from __future__ import annotations

from . import crisp_stc, dense, dstc, stc
from .base import Architecture

ARCHITECTURES: dict[str, Architecture] = {
    arch.name: arch for arch in (dense.ARCHITECTURE, stc.ARCHITECTURE, dstc.ARCHITECTURE, crisp_stc.ARCHITECTURE)
}

BASELINE = "dense"

__all__ = ["ARCHITECTURES", "BASELINE", "Architecture"]
