"""The icon sets of the npm package `@iconify/json`: a folder, or the .tgz of `npm pack`, read without unpacking."""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ....formats.errors import one_line
from ...errors import PruneError

PACKAGE = "@iconify/json"


def package_version(path: Path) -> str:
    """Version of the package at `path`.

    Raises
    ------
    PruneError
        It is no such package.
    """
    for name, data in _members(path, lambda name: name == "package.json"):
        about = _parse(path, name, data)
        version = about.get("version")
        # The version becomes part of a file name.
        if (
            about.get("name") == PACKAGE
            and isinstance(version, str)
            and re.fullmatch(r"\d[0-9A-Za-z.+-]{0,40}", version)
        ):
            return version
        break
    raise PruneError(f"icons {path}: must be the npm package {PACKAGE}, as .tgz or folder (npm pack {PACKAGE})")


def icon_sets(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Prefix and content of each set, one after the other, in the order of the archive or of the file names."""
    for name, data in _members(path, lambda name: re.fullmatch(r"json/[^/]+\.json", name) is not None):
        content = _parse(path, name, data)
        if not isinstance(content.get("icons"), dict):
            raise PruneError(f"icons {path}: {name}: must hold icons")
        yield PurePosixPath(name).stem, content


def count_sets(path: Path) -> int | None:
    """How many sets there are, where that is quick to tell."""
    return len(list((path / "json").glob("*.json"))) if path.is_dir() else None


def _members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    try:
        if path.is_dir():
            for file in sorted([path / "package.json", *(path / "json").glob("*.json")]):
                name = file.relative_to(path).as_posix()
                if wanted(name):
                    yield name, file.read_bytes()
            return
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.removeprefix("package/")
                if member.isfile() and wanted(name):
                    stream = archive.extractfile(member)
                    assert stream is not None  # a file has content
                    yield name, stream.read()
    except OSError as error:
        raise PruneError(f"icons {path}: cannot read: {error.strerror or error}") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise PruneError(f"icons {path}: must be a .tgz, a folder or a built .npz: {one_line(error)}") from error


def _parse(path: Path, name: str, data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise PruneError(f"icons {path}: {name}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise PruneError(f"icons {path}: {name}: must hold an object")
    return content
