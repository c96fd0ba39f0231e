"""Numba options and the kernel cache, in one place.

Numba's disk cache watches only the file a kernel stands in: edit a kernel that it calls in another
file, and the old answer comes back. Compiled kernels therefore live in a folder named after a hash of
every source file of this package, the versions of Python and Numba, and the flags that change code
(`NUMBA_DISABLE_JIT`, `NUMBA_BOUNDSCHECK`), so that any change starts a fresh one. `NUMBA_CACHE_DIR`,
when set, wins.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba
import platformdirs
from numba import config as _config

F = TypeVar("F", bound=Callable[..., object])

_HERE = Path(__file__).resolve().parent
_SOURCES = [_HERE, _HERE.parent / "sim"]


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for folder in _SOURCES:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    flags = [os.environ.get(name, "") for name in ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_CPU_NAME")]
    digest.update(repr([numba.__version__, platform.python_version(), platform.machine(), flags]).encode())
    return digest.hexdigest()[:16]


def _cache_root() -> Path:
    root = Path(platformdirs.user_cache_dir("crispsim", appauthor=False))
    try:
        root.mkdir(parents=True, exist_ok=True)
        if os.access(root, os.W_OK):
            return root
    except OSError:
        pass
    return Path(tempfile.gettempdir()) / "crispsim"


def _use_own_cache() -> Path:
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    folder = _cache_root() / f"numba-{_fingerprint()}"
    # numba.core.config puts its settings into globals() when it is loaded, where no type checker sees them.
    _config.CACHE_DIR = str(folder)  # pyright: ignore[reportAttributeAccessIssue]
    return folder


CACHE_DIR = _use_own_cache()


def kernels_are_compiled() -> bool:
    """Whether this version's kernels have been compiled on this machine before (or need no compiling)."""
    disabled = bool(_config.DISABLE_JIT)  # pyright: ignore[reportAttributeAccessIssue] see _use_own_cache
    return disabled or (CACHE_DIR.is_dir() and any(CACHE_DIR.rglob("*.nbi")))


def kernel(function: F) -> F:
    """Compile a kernel: `nopython`, cached on disk, without the GIL.

    Kernels take arrays and scalars, trust their input, never raise, and return a status or a value.
    """
    return cast(F, numba.njit(cache=True, nogil=True)(function))


def inlined(function: F) -> F:
    """Compile a helper that is inlined into the kernels of its own file."""
    return cast(F, numba.njit(inline="always", nogil=True)(function))
