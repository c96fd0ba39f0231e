"""A packed model's weights as what an .npz or .pt file of another library's format holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...formats import CrispMatrix, PackedLayer, PackedModel
from ..errors import PruneError
from .matrices import (
    dense_matrix,
    to_blocked_ell_arrays,
    to_bsr_arrays,
    to_scipy_bsr,
    to_state_dict,
    to_torch_bsr,
    to_torch_semi_structured,
)

# Each format's file.
EXPORTS = {
    "blocked-ell": ".npz",
    "scipy-bsr": ".npz",
    "torch-bsr": ".pt",
    "torch-2:4": ".pt",
    "state-dict": ".pt",
}


def export(model: PackedModel, kind: str, names: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """What the file of a format holds, and the names of layers that are dense in it.

    Parameters
    ----------
    model : PackedModel
    kind : str
        A key of `EXPORTS`.
    names : sequence of str
        Only these layers; each must fit the format. Without names, layers that do not fit go along dense.

    Returns
    -------
    dict
        For .npz: arrays `<layer>.<field>`, with the fields of `to_blocked_ell_arrays` or of a `scipy.sparse.bsr_array`,
        or `<layer>.dense` (S, K), or (groups, S, K); `<layer>.scales` and `<layer>.zero_points` beside stored int8.
        For .pt: `<layer>` to a dict with `weight` (a sparse tensor, or a dense one), `shape` (S and K without padding),
        `scales` and `zero_points` (or None); of `state-dict` the tensors themselves.
    list of str

    Raises
    ------
    PruneError
        The kind or a name is unknown, a named layer does not fit, or as the functions of `matrices`.
    """
    if kind not in EXPORTS:
        raise PruneError(f"format {kind!r}: must be one of {', '.join(EXPORTS)}")
    known = {layer.name for layer in model.layers}
    for name in names:
        if name not in known:
            raise PruneError(f"layer {name!r}: not among the {len(known)} of {model.path or 'the model'}")
    chosen = tuple(layer for layer in model.layers if not names or layer.name in names)
    if kind == "state-dict":
        return dict(to_state_dict(PackedModel(chosen, model.made_by))), []
    dense = [] if names else [layer.name for layer in chosen if not _fits(layer, kind)]
    content: dict[str, Any] = {}
    for layer in chosen:
        one = _dense(layer) if layer.name in dense else _sparse(layer, kind)
        if EXPORTS[kind] == ".npz":
            content |= {f"{layer.name}.{field}": array for field, array in one.items()}
            content |= {f"{layer.name}.{field}": array for field, array in _scaling(layer).items()}
        else:
            content[layer.name] = _tensors(layer, one)
    return content, dense


def _fits(layer: PackedLayer, kind: str) -> bool:
    matrix = layer.group_weights[0]
    if kind == "torch-2:4":
        return not isinstance(matrix, np.ndarray) and matrix.max_nonzeros_per_group(4) <= 2
    return isinstance(matrix, CrispMatrix)


def _sparse(layer: PackedLayer, kind: str) -> dict[str, Any]:
    if kind == "blocked-ell":
        return dict(to_blocked_ell_arrays(layer))
    if kind == "scipy-bsr":
        matrix = to_scipy_bsr(layer)
        return to_bsr_arrays(layer) | {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
    return {"weight": to_torch_bsr(layer) if kind == "torch-bsr" else to_torch_semi_structured(layer)}


def _dense(layer: PackedLayer) -> dict[str, Any]:
    return {"dense": dense_matrix(layer)}


def _scaling(layer: PackedLayer) -> dict[str, np.ndarray]:
    """Scales and zero points of stored int8 values, where there are such."""
    found: dict[str, np.ndarray] = {}
    if layer.scales is not None:
        found["scales"] = np.array(layer.scales, np.float64)
    if layer.zero_points is not None:
        found["zero_points"] = np.array(layer.zero_points, np.int64)
    return found


def _tensors(layer: PackedLayer, one: dict[str, Any]) -> dict[str, Any]:
    matrix = layer.group_weights[0]
    scaling = {field: torch.from_numpy(array) for field, array in _scaling(layer).items()}
    if isinstance(one.get("weight"), torch.Tensor) and one["weight"].dtype != torch.int8:
        scaling = {}  # the weights themselves
    weight = one["weight"] if "weight" in one else torch.from_numpy(one["dense"])
    shape = [int(side) for side in matrix.shape]
    return {"weight": weight, "shape": shape, "scales": None, "zero_points": None} | scaling
