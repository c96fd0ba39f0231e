"""Weights to begin with: the file a user has, whoever wrote it, into a model, or one line that says why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import PruneError
from .checkpoint import FORMAT, load_tensors

_INSIDE = ("state_dict", "model")  # where training scripts put the weights among other things
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
    load_state(model, _strip(_read_state(path)), path)


def load_state(model: nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Load a state dict that fits entry by entry; `path` is for the message.

    Raises
    ------
    PruneError
        It does not fit.
    """
    expected = model.state_dict()
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
    model.load_state_dict(state)


def _shape(value: Any) -> list[int] | str:
    return list(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _read_state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except OSError as error:
            raise PruneError(f"checkpoint {path}: cannot be read: {error.strerror or error}") from error
        except SafetensorError as error:
            raise PruneError(f"checkpoint {path}: must be a whole safetensors file: {error}") from error
    content: Any = load_tensors(path, "checkpoint")
    if isinstance(content, Mapping):
        if content.get("format") == FORMAT:
            if not content.get("finished"):
                raise PruneError(f"checkpoint {path}: is of a run that is not finished; resume it first")
            content = content.get("model")
        else:
            content = next((content[key] for key in _INSIDE if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise PruneError(f"checkpoint {path}: must hold a state dict, alone or under 'state_dict' or 'model'")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise PruneError(f"checkpoint {path}: entry {name!r} must be a tensor, not {type(value).__name__}")
    return dict(content)


def _strip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith(_PREFIX) for name in state):
        return {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
    return state
