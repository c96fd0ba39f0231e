"""Weights to begin with: the file a user has, whoever wrote it, into a model, or one line that says why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...formats.errors import one_line
from ..errors import PruneError
from .checkpoint import FORMAT, load_tensors

_INSIDE = ("state_dict", "model")  # where training scripts put the weights among other things
_PACKED = (".values", ".block_cols")  # ends of names in a packed model (formats/FORMAT.md)
_PREFIX = "module."  # what DistributedDataParallel puts before every name


def load_checkpoint_into(model: nn.Module, path: Path) -> None:
    """Load weights into a model; all of them must be there, and no others.

    Parameters
    ----------
    model : nn.Module
        Changed in place.
    path : Path
        A finished checkpoint of crispsim, a state dict of torch.save, a dict with one under "state_dict" or "model",
        or a safetensors file (by its suffix).

    Raises
    ------
    PruneError
        It cannot be read, or does not fit; the first entries that are missing, left over or of another shape are named.
    """
    state, classes = _read_state(path)
    load_state(model, _strip(state), path, personalised=classes)


def load_state(model: nn.Module, state: Mapping[str, Any], path: Path, *, personalised: int | None = None) -> None:
    """Load a state dict that fits entry by entry.

    Parameters
    ----------
    model : nn.Module
    state : mapping
    path : Path
        For the message.
    personalised : int, optional
        Classes that the head of these weights was sliced to, for the message.

    Raises
    ------
    PruneError
        It does not fit.
    """
    expected = model.state_dict()
    _check_head(expected, state, path, personalised)
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    shapes = [
        f"{name} {_shape(state[name])} there, {_shape(value)} in the model"
        for name, value in expected.items()
        if name in state and _shape(state[name]) != _shape(value)
    ]
    findings = [
        f"{what} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        for what, names in (("missing", missing), ("not in the model", unexpected), ("shape of", shapes))
        if names
    ]
    if findings:
        raise PruneError(f"checkpoint {path}: must hold the model's weights: {'; '.join(findings)}")
    try:
        model.load_state_dict(state)
    except Exception as error:  # a sparse or quantised tensor, say, cannot be copied
        raise PruneError(f"checkpoint {path}: must hold the model's weights: {one_line(error)}") from error


def _check_head(expected: Mapping[str, Tensor], state: Mapping[str, Any], path: Path, personalised: int | None) -> None:
    """Say it of a personalised model if its head is all that does not fit."""
    if personalised is None or set(expected) != set(state):
        return
    other = [name for name, value in expected.items() if _shape(value) != _shape(state[name])]
    if other and all(_shape(state[name]) == [personalised, *expected[name].shape[1:]] for name in other):
        outputs = expected[other[0]].shape[0]
        raise PruneError(
            f"checkpoint {path}: is personalised to {personalised} classes, the model has {outputs}; "
            "begin with the universal model"
        )


def _shape(value: Any) -> list[int] | str:
    return list(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _read_state(path: Path) -> tuple[dict[str, Tensor], int | None]:
    """The weights, and to how many classes they were personalised."""
    if path.suffix == ".safetensors":
        try:
            tensors = load_file(path)
        except OSError as error:
            raise PruneError(f"checkpoint {path}: cannot be read: {error.strerror or error}") from error
        except SafetensorError as error:
            raise PruneError(f"checkpoint {path}: must be a whole safetensors file: {error}") from error
        if any(name.endswith(_PACKED) for name in tensors):
            raise PruneError(f"checkpoint {path}: is a packed model; give the checkpoint.pt beside it")
        return tensors, None
    content: Any = load_tensors(path, "checkpoint")
    classes = None
    if isinstance(content, Mapping):
        if content.get("format") == FORMAT:
            if content.get("finished") is not True:
                raise PruneError(f"checkpoint {path}: is of a run that is not finished; resume it first")
            classes = len(content["classes"]) if content.get("kind") == "personalise" else None
            content = content.get("model")
        else:
            content = next((content[key] for key in _INSIDE if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise PruneError(f"checkpoint {path}: must hold a state dict, alone or under 'state_dict' or 'model'")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise PruneError(f"checkpoint {path}: entry {name!r} must be a tensor, not {type(value).__name__}")
    return dict(content), classes


def _strip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith(_PREFIX) for name in state):
        return {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
    return state
