"""Versions of crispsim and of what its numbers depend on."""

from __future__ import annotations

import platform
from importlib import metadata


def version() -> str:
    """The installed version of crispsim."""
    try:
        return metadata.version("crispsim")
    except metadata.PackageNotFoundError:
        return "not installed"


def versions() -> dict[str, str]:
    """Versions that a run is recorded with."""
    return {
        "crispsim": version(),
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "numba": metadata.version("numba"),
    }
