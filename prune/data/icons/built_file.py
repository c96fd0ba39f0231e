"""A built icon set: what it holds, and its file, checked by the SHA-256 of its arrays."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import PruneError
from .rendering import SIDE

BUILDER_VERSION = 1
"""Changes with anything that changes the arrays."""


@dataclass(frozen=True, kw_only=True)
class IconSet:
    """What the built file holds.

    Parameters
    ----------
    images : ndarray, uint8, shape (n, 32, 32)
        Ink: 0 paper, 255 black. In the order of set prefixes and names.
    labels : ndarray, uint8, shape (n,)
        Index into `concepts`.
    split : ndarray, uint8, shape (n,)
        0 train, 1 validation, 2 test.
    sets : ndarray, int64, shape (n,)
        Index into `about["sets"]`.
    about : dict
        concepts, sets, families (set to family), versions, drawings (different bodies of each concept, blank ones not
        counted), what was left out and why, sha256 of images, labels, split.
    """

    images: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    sets: np.ndarray
    about: dict[str, Any]


def sha256_of(images: np.ndarray, labels: np.ndarray, split: np.ndarray) -> str:
    """Of the arrays that the data consist of, in hexadecimal."""
    digest = hashlib.sha256()
    for array in (images, labels, split):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write_icons(icons: IconSet, path: Path) -> None:
    """Write a built set; the file appears whole or not at all.

    Raises
    ------
    PruneError
        The folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".icons-", suffix=".npz", delete=False) as stream:
            temporary = Path(stream.name)
            np.savez_compressed(
                stream,
                images=icons.images,
                labels=icons.labels,
                split=icons.split,
                sets=icons.sets,
                about=np.array(json.dumps(icons.about, sort_keys=True)),
            )
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        raise PruneError(f"icons {path}: cannot write: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def read_icons(path: Path) -> IconSet:
    """Read a built set and check it.

    Raises
    ------
    PruneError
        The file cannot be read, is damaged, or is of another builder.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            icons = IconSet(
                images=stored["images"],
                labels=stored["labels"],
                split=stored["split"],
                sets=stored["sets"],
                about=about,
            )
            whole = about["sha256"] == sha256_of(icons.images, icons.labels, icons.split)
            builder = about["builder"]
            count = len(icons.images)
            if icons.images.shape != (count, SIDE, SIDE) or any(
                array.shape != (count,) for array in (icons.labels, icons.split, icons.sets)
            ):
                raise ValueError("its arrays do not fit together")
    except OSError as error:
        raise PruneError(f"icons {path}: cannot read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise PruneError(f"icons {path}: not a built icon set: {error}") from error
    if builder != BUILDER_VERSION:
        raise PruneError(f"icons {path}: made by builder {builder}, must be {BUILDER_VERSION}; build it again")
    if not whole:
        raise PruneError(f"icons {path}: damaged, its SHA-256 differs; delete it and build it again")
    return icons
