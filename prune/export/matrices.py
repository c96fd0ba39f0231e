"""A packed layer's matrix in the formats of other libraries, and a packed model as a dense state dict.

Matrices hold the stored values: of int8 weights, what the scales of `PackedLayer.scales` multiply. S and K are padded
with zeros to whole blocks where a library has whole blocks only; each function says so. K stays in the layer's order,
`k_order`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...formats import CrispMatrix, NMMatrix, PackedLayer, PackedModel
from ...formats.errors import one_line
from ..errors import PruneError

# Rows and columns of which torch's 2:4 kernels take multiples, float16 (torch/sparse/semi_structured.py, CUTLASS).
_SEMI_STRUCTURED = (32, 64)


def to_blocked_ell_arrays(layer: PackedLayer) -> dict[str, np.ndarray]:
    """The arguments of cuSPARSE's `cusparseCreateBlockedEll`, by their names there.

    Parameters
    ----------
    layer : PackedLayer
        With blocks.

    Returns
    -------
    dict
        `rows`, `cols` (int64; S and K padded to whole blocks, as cuSPARSE asks), `ellBlockSize`, `ellCols` (int64;
        columns of the value array: B times the blocks kept in a row), `ellColInd` (int32, (rows / B, ellCols / B)),
        `ellValue` (of the layer's dtype, (rows, ellCols), row-major over the whole array, so that a row of a block is
        followed by the same row of the next block), and `shape` (int64, S and K without padding). All rows keep
        equally many blocks, so no index is -1. Index base 0.

    Raises
    ------
    PruneError
        The layer has no blocks.

    Notes
    -----
    Layout as in the sample dense2sparse_blockedell of NVIDIA's CUDALibrarySamples.
    """
    matrix = _blocks(layer)
    rows, kept = matrix.block_cols.shape
    ell_values = _dense_blocks(matrix).transpose(0, 2, 1, 3).reshape(rows * matrix.block, kept * matrix.block)
    columns = -(-matrix.shape[1] // matrix.block) * matrix.block
    return {
        "rows": np.array(rows * matrix.block, np.int64),
        "cols": np.array(columns, np.int64),
        "ellBlockSize": np.array(matrix.block, np.int64),
        "ellCols": np.array(kept * matrix.block, np.int64),
        "ellColInd": np.array(matrix.block_cols, np.int32),
        "ellValue": np.ascontiguousarray(ell_values),
        "shape": np.array(matrix.shape, np.int64),
    }


def to_bsr_arrays(layer: PackedLayer) -> dict[str, np.ndarray]:
    """Block compressed rows: `data` (blocks, B, B), `indices` and `indptr` (int32), `shape` with padding, `real_shape`.

    Raises
    ------
    PruneError
        The layer has no blocks.
    """
    matrix = _blocks(layer)
    rows, kept = matrix.block_cols.shape
    block_columns = -(-matrix.shape[1] // matrix.block)
    return {
        "data": _dense_blocks(matrix).reshape(rows * kept, matrix.block, matrix.block),
        "indices": np.array(matrix.block_cols, np.int32).reshape(-1),
        "indptr": np.arange(rows + 1, dtype=np.int32) * np.int32(kept),
        "shape": np.array([rows * matrix.block, block_columns * matrix.block], np.int64),
        "real_shape": np.array(matrix.shape, np.int64),
    }


def to_scipy_bsr(layer: PackedLayer) -> Any:
    """A `scipy.sparse.bsr_array` of S and K padded to whole blocks; float16 becomes float32, which scipy can multiply.

    Raises
    ------
    PruneError
        The layer has no blocks, or scipy is not installed.
    """
    try:
        from scipy.sparse import bsr_array
    except ImportError as error:
        raise PruneError("scipy: not installed (pip install 'crispsim[prune]')") from error
    arrays = to_bsr_arrays(layer)
    data = arrays["data"]
    if data.dtype == np.float16:
        data = data.astype(np.float32)
    return bsr_array((data, arrays["indices"], arrays["indptr"]), shape=tuple(arrays["shape"].tolist()))


def to_torch_bsr(layer: PackedLayer) -> Tensor:
    """A `torch.sparse_bsr_tensor` of S and K padded to whole blocks.

    Raises
    ------
    PruneError
        The layer has no blocks.
    """
    arrays = to_bsr_arrays(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "in beta state"
        return torch.sparse_bsr_tensor(
            torch.from_numpy(arrays["indptr"]),
            torch.from_numpy(arrays["indices"]),
            torch.from_numpy(arrays["data"]),
            size=tuple(arrays["shape"].tolist()),
            check_invariants=True,
        )


def to_torch_semi_structured(layer: PackedLayer) -> Tensor:
    """The matrix for torch's 2:4 kernels (`torch.sparse.to_sparse_semi_structured`): float16, on the CUDA device.

    S and K are padded with zeros to multiples of 32 and 64. Pruned blocks are stored as zeros: the format knows N:M
    only. int8 weights are multiplied by their scales.

    Raises
    ------
    PruneError
        The layer has more than 2 nonzeros in 4 neighbours, a weight too large for float16, there is no CUDA device, or
        torch refuses.
    """
    real = _one(layer)
    if isinstance(real, np.ndarray) or real.max_nonzeros_per_group(4) > 2:
        raise PruneError(
            f"layer {layer.name!r}: pattern {_pattern(real)}: must have at most 2 nonzeros in 4 neighbours"
        )
    if not torch.cuda.is_available():
        raise PruneError(f"layer {layer.name!r}: torch's 2:4 kernels need a CUDA device: there is none")
    dense = _scaled(layer, real.decode(), 0)
    if np.abs(dense).max(initial=0.0) > np.finfo(np.float16).max:
        raise PruneError(f"layer {layer.name!r}: weight of size {np.abs(dense).max():g}: too large for float16")
    padding = [(0, -side % multiple) for side, multiple in zip(dense.shape, _SEMI_STRUCTURED, strict=True)]
    tensor = torch.from_numpy(np.pad(dense, padding).astype(np.float16)).cuda()
    try:
        return torch.sparse.to_sparse_semi_structured(tensor)
    except RuntimeError as error:
        said = one_line(error)
        raise PruneError(f"layer {layer.name!r}: torch cannot make a 2:4 matrix on this device: {said}") from error


def to_state_dict(model: PackedModel) -> dict[str, Tensor]:
    """All weights as dense float32 tensors (float16 ones stay so), by their names in the model's state dict.

    Convolutions are [S, C, kh, kw], others [S, K]; int8 weights are multiplied by their scales. Names are
    `<layer>.weight`, or what the file's `made_by` says in `parameters` (attention's `in_proj_weight`). A packed file
    has no biases or BatchNorm: load it with `strict=False` over a checkpoint that has.

    Raises
    ------
    PruneError
        Two layers have one name in the state dict.
    """
    names = model.made_by.get("parameters")
    known = names if isinstance(names, dict) else {}
    weights: dict[str, Tensor] = {}
    for layer in model.layers:
        name = str(known.get(layer.name, f"{layer.name}.weight"))
        if name in weights:
            raise PruneError(f"layer {layer.name!r}: its weight is called {name!r}: another layer's is, too")
        weights[name] = _weight(layer)
    return weights


def dense_matrix(layer: PackedLayer) -> np.ndarray:
    """The stored values as (S, K), or (groups, S, K) with groups."""
    matrices = [matrix if isinstance(matrix, np.ndarray) else matrix.decode() for matrix in layer.group_weights]
    return np.array(matrices[0]) if layer.groups == 1 else np.stack(matrices)


def _weight(layer: PackedLayer) -> Tensor:
    matrices = [
        _scaled(layer, matrix if isinstance(matrix, np.ndarray) else matrix.decode(), group)
        for group, matrix in enumerate(layer.group_weights)
    ]
    rows = np.concatenate(matrices)
    if layer.kind == "gemm":
        return torch.from_numpy(np.ascontiguousarray(rows))
    channels = layer.in_channels // layer.groups
    if layer.k_order == "chw":
        weight = rows.reshape(len(rows), channels, *layer.kernel)
    else:
        weight = rows.reshape(len(rows), *layer.kernel, channels).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(weight))


def _scaled(layer: PackedLayer, stored: np.ndarray, group: int) -> np.ndarray:
    """What the stored values of a group stand for; int8 without scales stand for themselves."""
    if layer.dtype != "int8":
        return np.array(stored)
    own = slice(group * stored.shape[0], (group + 1) * stored.shape[0])
    weights = stored.astype(np.float64)
    if layer.zero_points is not None:
        weights -= np.array(layer.zero_points[own], np.float64)[:, None]
    if layer.scales is not None:
        weights *= np.array(layer.scales[own])[:, None]
    return weights.astype(np.float32)


def _one(layer: PackedLayer) -> CrispMatrix | NMMatrix | np.ndarray:
    """The layer's only matrix; layers with groups are dense."""
    return layer.group_weights[0]


def _blocks(layer: PackedLayer) -> CrispMatrix:
    matrix = _one(layer)
    if layer.groups > 1 or not isinstance(matrix, CrispMatrix):
        raise PruneError(f"layer {layer.name!r}: pattern {_pattern(matrix)}: must have blocks")
    return matrix


def _pattern(matrix: CrispMatrix | NMMatrix | np.ndarray) -> str:
    return "dense" if isinstance(matrix, np.ndarray) else str(matrix.pattern)


def _dense_blocks(matrix: CrispMatrix) -> np.ndarray:
    """The kept blocks with their zeros: (R, E, B, B)."""
    rows, kept = matrix.block_cols.shape
    side = matrix.block
    padded = np.zeros((rows * side, -(-matrix.shape[1] // side) * side), matrix.values.dtype)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix.decode()
    tiles = padded.reshape(rows, side, -1, side).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles[np.arange(rows)[:, None], matrix.block_cols]).reshape(rows, kept, side, side)
