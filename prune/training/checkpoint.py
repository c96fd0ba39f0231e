"""The checkpoint of a run: written whole after every epoch, read without running code, refused if it is of another run.

A file of `torch.save` that `torch.load(weights_only=True)` reads. Keys:

    format      "crispsim checkpoint"
    version     1
    kind        "personalise" or "pretrain"
    finished    whether the run is complete
    run         what it was asked for (configurations, classes, data, ranks): resuming asks for the same
    classes     names of the classes, in the order of the head's rows
    model       state dict. Finished: of the plain module, exact zeros where weights are pruned; before: with masks
    state       all else that resuming needs: epochs complete, history, optimiser, pruner, accuracies
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ...formats.errors import one_line
from ..errors import PruneError

FORMAT = "crispsim checkpoint"
VERSION = 1
# What checkpoints did not always say of a run, or say of some devices only.
_LATER = ("data.note", "data.origin", "threads")
_KEYS = {"kind": str, "finished": bool, "run": dict, "classes": list, "model": dict, "state": dict}


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint beside its place, force it to the disk, move it there: the old one or the new, never a part.

    Raises
    ------
    PruneError
        It cannot be written.
    """
    # Always the same name: what a killed process left is overwritten by the next.
    staged = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged.open("wb") as file:
            torch.save({"format": FORMAT, "version": VERSION, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        _sync_folder(path.parent)
    # torch.save reports a full disk as a RuntimeError of its own.
    except (OSError, RuntimeError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise PruneError(f"checkpoint {path}: cannot be written: {said}") from error
    finally:
        with suppress(OSError):
            staged.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, its tensors on the CPU.

    Raises
    ------
    PruneError
        It is not there, cut off, or no checkpoint of this version.
    """
    content = load_tensors(path, "checkpoint")
    if not isinstance(content, dict) or not _is(content.get("format"), FORMAT):
        raise PruneError(f"checkpoint {path}: must be written by crispsim prune or pretrain")
    if not _is(content.get("version"), VERSION):
        raise PruneError(f"checkpoint {path}: version {_short(content.get('version'))}; this crispsim reads {VERSION}")
    for key, kind in _KEYS.items():
        if not isinstance(content.get(key), kind):
            raise PruneError(f"checkpoint {path}: {key!r} must be a {kind.__name__}")
    if not _is_plain(content["run"]) or not all(isinstance(name, str) for name in content["classes"]):
        raise PruneError(f"checkpoint {path}: 'run' and 'classes' must be text, numbers, lists and mappings of text")
    return content


def _is(value: object, wanted: object) -> bool:
    """Equal and of one type: a tensor in a value's place is not asked whether it is equal."""
    return type(value) is type(wanted) and value == wanted


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(entry) for name, entry in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, bool, int, float))


def load_tensors(path: Path, what: str) -> Any:
    """What a torch.save file holds, if it is tensors and plain values only (no code runs), on the CPU.

    Raises
    ------
    PruneError
        It cannot be read, or holds anything else; `what` begins the message.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise PruneError(f"{what} {path}: cannot be read: {error.strerror or error}") from error
    try:
        with file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken archive fails in many ways: RuntimeError, UnpicklingError, EOFError, KeyError
        raise PruneError(
            f"{what} {path}: must be a whole file of torch.save that holds tensors and plain values only"
        ) from error


def check_same_run(path: Path, content: Mapping[str, Any], kind: str, run: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that was asked for something else.

    Parameters
    ----------
    path : Path
        For the message.
    content : mapping
        As `read_checkpoint` returns it.
    kind : str
    run : mapping
        What is asked for now; mappings in it are compared entry by entry, those of `_LATER` where both sides have them.

    Raises
    ------
    PruneError
        Naming everything that differs, with both values.
    """
    if content["kind"] != kind:
        raise PruneError(f"checkpoint {path}: is of crispsim {content['kind']}, not of {kind}")
    there, asked = _flatten(content["run"]), _flatten(run)
    later = {name for name in _LATER if name not in there or name not in asked}
    differing = [name for name in {**asked, **there} if name not in later and there.get(name) != asked.get(name)]
    if differing:
        said = "; ".join(
            f"{name} {_short(there.get(name))} there, {_short(asked.get(name))} asked" for name in differing
        )
        raise PruneError(f"checkpoint {path}: must be of the same run to go on with: {said}")


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            # A tuple comes back from JSON-like places as a list; what is asked is the same.
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sync_folder(folder: Path) -> None:
    """Make the new name itself last through a power cut, where the system can (not on Windows)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
