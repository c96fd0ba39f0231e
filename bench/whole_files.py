"""Outputs written whole or not at all: staged beside their place, and moved there when all of them are done."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..sim import InputError


def nearest_folder(path: Path) -> Path:
    """The path itself, or what there is of the way to it: a folder, or the file that is in the way."""
    nearest = path
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    return nearest


def check_folder(folder: Path) -> None:
    """Refuse a folder that files cannot be written to, before anything is simulated; it need not be there.

    Raises
    ------
    InputError
        It is a file, lies under one, or cannot be written to.
    """
    nearest = nearest_folder(folder)
    if not nearest.is_dir():
        raise InputError(f"--out {folder}: {nearest} is a file; give a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}: {nearest} cannot be written to")


def check_file(path: Path, taken: Iterable[Path]) -> None:
    """Refuse a file that cannot be written, or is one of those taken, before anything is worked out.

    Raises
    ------
    InputError
        It is one of these.
    """
    target = path.resolve()
    if target in {other.resolve() for other in taken}:
        raise InputError(f"--out {path}: is a file of a run; give another")
    if os.path.lexists(target) and not target.is_file():
        raise InputError(f"--out {path}: is there and no file; give a file")
    nearest = nearest_folder(target.parent)
    if not nearest.is_dir():
        raise InputError(f"--out {path}: {nearest} is a file; give a path in a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {path}: {nearest} cannot be written to")


@contextmanager
def whole_folder(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """A staging folder for the files of these names; they replace those of `folder`, other files stay.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    token = f".crispsim-{secrets.token_hex(4)}"
    # Inside a folder that is there: it may be the only place that can be written to, or a file system of its own.
    staging = folder / token if folder.exists() else folder.absolute().with_name(token)
    try:
        staging.mkdir(parents=True)
        yield staging
        if folder.exists():
            for name in names:
                (staging / name).replace(folder / name)
        else:
            staging.rename(folder)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot write: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def whole_files(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """A staging file for each path; they replace the files there (of a link, the file that it names) together.

    Raises
    ------
    InputError
        One of them cannot be written.
    """
    token = f".crispsim-{secrets.token_hex(4)}"
    targets = [path.resolve() for path in paths]
    staged = [target.with_name(f"{token}-{index}{target.suffix}") for index, target in enumerate(targets)]
    with ExitStack() as undo:
        try:
            for target, staging in zip(targets, staged, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                undo.callback(_remove, staging)
            yield staged
            for target, staging in zip(targets, staged, strict=True):
                staging.replace(target)
        except OSError as error:
            said = ", ".join(map(str, paths))
            raise InputError(f"--out {said}: cannot write: {error.strerror or error}") from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # its folder may have become read-only; what is to be said has been said
        return
