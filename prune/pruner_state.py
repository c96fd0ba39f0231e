"""A pruner's state: what goes into a checkpoint, and what is checked when it comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..formats.errors import one_line
from .config import CrispConfig
from .errors import PruneError
from .layers import PrunableLayer
from .masks import LayerMasks, nothing_pruned

VERSION = 1


def state(
    config: CrispConfig, iteration: int, layers: Sequence[PrunableLayer], masks: Sequence[LayerMasks]
) -> dict[str, Any]:
    """Plain Python and tensors on the CPU: version, config, iteration, and nm and pruned of each layer by name."""
    return {
        "version": VERSION,
        "config": config.to_dict(),
        "iteration": iteration,
        "masks": {
            layer.name: {"nm": _copy(mask.nm), "pruned": None if mask.pruned is None else _copy(mask.pruned)}
            for layer, mask in zip(layers, masks, strict=True)
        },
    }


def restore(
    saved: Mapping[str, Any], config: CrispConfig, layers: Sequence[PrunableLayer]
) -> tuple[int, list[LayerMasks]]:
    """Iteration and masks of a state, on the CPU.

    Raises
    ------
    PruneError
        The state is no pruner's, or of another configuration or of other layers. The first difference is named.
    """
    if not isinstance(saved, Mapping) or saved.get("version") != VERSION:
        raise PruneError(f"pruner state: must be what CrispPruner.state_dict() of version {VERSION} gave")
    _check_config(saved.get("config"), config)
    iteration = saved.get("iteration")
    if not isinstance(iteration, int) or isinstance(iteration, bool) or not 0 <= iteration <= config.steps:
        shown = iteration if isinstance(iteration, int) else f"a {type(iteration).__name__}"
        raise PruneError(f"pruner state: iteration {shown}: must be 0 to {config.steps}")
    masks = saved.get("masks")
    if not isinstance(masks, Mapping):
        raise PruneError("pruner state: has no masks")
    names = [layer.name for layer in layers]
    if list(masks) != names:
        odd = next((name for name in (*masks, *names) if (name in masks) != (name in names)), "their order")
        raise PruneError(f"pruner state: has the masks of other layers: '{odd}' differs")
    return iteration, [_layer(layer, masks[layer.name], config.block) for layer in layers]


def _copy(mask: Tensor) -> Tensor:
    return mask.detach().to("cpu", copy=True)


def _check_config(saved: Any, config: CrispConfig) -> None:
    if not isinstance(saved, Mapping):
        raise PruneError("pruner state: has no configuration")
    try:
        before, now = CrispConfig.from_dict(saved).to_dict(), config.to_dict()
    except Exception as error:  # tensors, say, do not compare as the values they stand for
        raise PruneError(f"pruner state: its configuration: {one_line(error)}") from error
    for field, value in now.items():
        if before[field] != value:
            raise PruneError(f"pruner state: its {field} is {before[field]!r}, not {value!r}: must be the same")


def _layer(layer: PrunableLayer, saved: Any, block: int | None) -> LayerMasks:
    nothing = nothing_pruned(*layer.shape, block)
    nm, pruned = (saved.get("nm"), saved.get("pruned")) if isinstance(saved, Mapping) else (None, None)
    fits = pruned is None if nothing is None else _is_mask(pruned, nothing.shape)
    if nm is None or not _is_mask(nm, layer.shape) or not fits:
        raise PruneError(
            f"pruner state: layer '{layer.name}': its masks must be bool tensors for a weight of {layer.shape}"
        )
    if pruned is not None and len(set(pruned.sum(1).tolist())) > 1:
        raise PruneError(f"pruner state: layer '{layer.name}': block rows lost different numbers of blocks")
    return LayerMasks(nm.clone(), None if pruned is None else pruned.clone())


def _is_mask(tensor: Any, shape: Sequence[int]) -> bool:
    return isinstance(tensor, Tensor) and tensor.dtype == torch.bool and tuple(tensor.shape) == tuple(shape)
