"""A pruned model as a packed file holds it: `pack_model` gives what `crispsim.formats.write_model` writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ...formats import CrispMatrix, NMMatrix, PackedLayer, PackedModel
from ...formats.packed_header import header_to_bytes, make_header
from ...formats.packed_layer import LayerRecord
from ..errors import PruneError
from ..masks import nothing_pruned
from ..matrix import to_matrix
from .quantise import DTYPES, StoredWeights, rounding_record, store
from .shapes import check_called
from .traced_layer import TracedLayer

Matrix = CrispMatrix | NMMatrix | np.ndarray

# What a TracedLayer and a LayerRecord call by the same name.
_SIDES = ("kernel", "stride", "padding", "dilation")
_GEOMETRY = ("name", "kind", *_SIDES, "groups", "in_channels", "in_height", "in_width", "p", "batch", "calls")


class Masks(Protocol):
    """A layer's masks, as `masks.LayerMasks` has them."""

    @property
    def nm(self) -> Tensor:
        """What N:M keeps: bool (S, K)."""
        ...

    @property
    def pruned(self) -> Tensor | None:
        """Pruned blocks: bool (R, C), as many in every block row; None for a layer without blocks."""
        ...


class PatternConfig(Protocol):
    """What is read of a `CrispConfig`."""

    @property
    def nm(self) -> tuple[int, int]:
        """N and M."""
        ...

    @property
    def block(self) -> int | None:
        """B."""
        ...


def check_packable(
    traced: Iterable[TracedLayer],
    prunable: Iterable[str],
    config: PatternConfig,
    *,
    dtype: str = "float32",
    made_by: Mapping[str, Any] | None = None,
) -> None:
    """Refuse, before anything is trained, what `pack_model` and `write_model` would refuse whatever the weights are.

    Names, geometry, sizes, the pattern, the header and `made_by` are checked; no values are packed.

    Parameters
    ----------
    traced : iterable of TracedLayer
        From `trace_layers`.
    prunable : iterable of str
        Names of the layers that will have masks.
    config, dtype, made_by
        As of `pack_model`.

    Raises
    ------
    PruneError
        A layer to be pruned is never called, or the dtype is unknown.
    FormatError
        A packed file could not hold it.
    """
    layers, masked = tuple(traced), set(prunable)
    check_called(layers, masked)
    if dtype not in DTYPES:
        raise PruneError(f"dtype {dtype!r}: must be one of {', '.join(DTYPES)}")
    records = [_expected(layer, config if layer.name in masked else None, dtype) for layer in layers]
    header_to_bytes(make_header(records, _record(layers, {}, dtype="float32", made_by=made_by)))


def _expected(layer: TracedLayer, config: PatternConfig | None, dtype: str) -> LayerRecord:
    """A layer as the header will describe it, if all its blocks are kept; without a configuration dense."""
    (n, m), block = ((1, 1), None) if config is None else (config.nm, config.block)
    blocks = nothing_pruned(*layer.shape, block)
    return LayerRecord(
        **{name: getattr(layer, name) for name in _GEOMETRY},
        n=n,
        m=m,
        block=None if blocks is None else block,
        shape=layer.shape,
        k_order="hwc",
        kept_blocks=None if blocks is None else blocks.shape[1],
        dtype=dtype,
        scales=(1.0,) * layer.out_channels if dtype == "int8" else None,
        zero_points=None,
        unstructured=False,
        activations=None,
        activation_layout="hwc",
    )


def pack_model(
    model: nn.Module,
    traced: Iterable[TracedLayer],
    masks: Mapping[str, Masks],
    config: PatternConfig,
    *,
    dtype: str = "float32",
    unstructured: Mapping[str, Tensor] | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> PackedModel:
    """Pack the layers of a model, in the order they run.

    Parameters
    ----------
    model : nn.Module
        Finalized, or with its masks in place: weights outside the masks are exactly 0.
    traced : iterable of TracedLayer
        From `trace_layers`; a layer's `sample`, if any, becomes its activations.
    masks : mapping of str to Masks
        Of the prunable layers (`CrispPruner.masks()`); the other layers are dense. A position that is kept is stored
        even if its weight is 0, and a kept block even if it is empty, so that block rows stay equally long.
    config : CrispConfig
        Its `nm` and `block` are read.
    dtype : {"float32", "float16", "int8"}
        Of all weights, rounded as in `quantise.store`.
    unstructured : mapping of str to Tensor (S, K), optional
        Scores of layers that also get a mask without structure: the highest scores, as many as the layer's stored
        weights that are not 0; among equal ones the lower row, then column. Take them before blocks are pruned: what
        is pruned scores 0.
    made_by : mapping, optional
        As JSON; what rounding did (`rounding`) and the state dict's names of weights that are not `<layer>.weight`
        (`parameters`) are added.

    Raises
    ------
    PruneError
        A layer to be pruned is never called, a mask does not fit its weight, block rows keep different numbers of
        blocks, a weight outside the mask is not 0, a score is missing its layer, or as `store`.
    FormatError
        A mask breaks N:M, or the layer is beyond what a packed file can hold.
    """
    layers = tuple(traced)
    check_called(layers, masks)
    for name in unstructured or {}:
        if name not in masks:
            raise PruneError(f"layer {name!r}: scores for an unstructured mask, but it is not pruned")
    stored: dict[str, StoredWeights] = {}
    packed = []
    for layer in layers:
        weight = _weight(model, layer)
        stored[layer.name] = rounded = store(layer.name, weight, dtype)
        own = masks.get(layer.name)
        matrix = rounded.values if own is None else _sparse(layer, weight, rounded.values, own, config)
        scores = None if unstructured is None else unstructured.get(layer.name)
        packed.append(_packed(layer, matrix, rounded, scores))
    return PackedModel(tuple(packed), _record(layers, stored, dtype, made_by))


def _weight(model: nn.Module, layer: TracedLayer) -> np.ndarray:
    """The weight as float32 (groups x S, K), contiguous."""
    tensor: Tensor = getattr(model.get_submodule(layer.module_name), layer.parameter)
    weight = to_matrix(tensor.detach()).to("cpu", torch.float32).contiguous().numpy()
    if weight.shape != (layer.out_channels, layer.shape[1]):
        traced = (layer.out_channels, layer.shape[1])
        raise PruneError(f"layer {layer.name!r}: weight {weight.shape}: was {traced} when it was traced")
    return weight


def _sparse(layer: TracedLayer, weight: np.ndarray, values: np.ndarray, masks: Masks, config: PatternConfig) -> Matrix:
    """The matrix of a prunable layer: kept blocks, N:M, both or neither."""
    (n, m), block = config.nm, config.block
    keep = _array(layer, "mask", masks.nm, weight.shape)
    block_cols = None
    if masks.pruned is not None and block is not None:
        rows, columns = (-(-side // block) for side in weight.shape)
        kept = ~_array(layer, "pruned blocks", masks.pruned, (rows, columns))
        counts = kept.sum(axis=1)
        if (counts != counts[0]).any() or not counts[0]:
            found = f"block rows keep {counts.min()} to {counts.max()} blocks"
            raise PruneError(f"layer {layer.name!r}: {found}: must be equally many, at least 1")
        block_cols = np.nonzero(kept)[1].reshape(rows, -1).astype(np.int32)
        keep = keep & kept.repeat(block, axis=0).repeat(block, axis=1)[: weight.shape[0], : weight.shape[1]]
    stray = int(np.count_nonzero(weight[~keep]))
    if stray:
        rule = "must be 0; finalize the pruner first"
        raise PruneError(f"layer {layer.name!r}: {stray} weights outside its mask: {rule}")
    if block_cols is not None and block is not None:
        return CrispMatrix.encode(values, n=n, m=m, block=block, mask=keep, block_cols=block_cols)
    return NMMatrix.encode(values, n=n, m=m, mask=keep) if n < m else values


def _array(layer: TracedLayer, what: str, tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    if tuple(tensor.shape) != shape or tensor.dtype != torch.bool:
        found = f"{what} {tuple(tensor.shape)} {tensor.dtype}"
        raise PruneError(f"layer {layer.name!r}: {found}: must be {shape} {torch.bool}")
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def _packed(layer: TracedLayer, matrix: Matrix, stored: StoredWeights, scores: Tensor | None) -> PackedLayer:
    weights: Matrix | tuple[Matrix, ...] = matrix
    if layer.groups > 1:  # dense by rule
        weights = tuple(stored.values.reshape(layer.groups, *layer.shape))
    without_structure = None
    if scores is not None:
        values = matrix if isinstance(matrix, np.ndarray) else matrix.values
        without_structure = _highest(layer, scores, int(np.count_nonzero(values)))
    return PackedLayer(
        name=layer.name,
        weights=weights,
        kind=layer.kind,
        kernel=layer.kernel,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        in_channels=layer.in_channels,
        in_height=layer.in_height,
        in_width=layer.in_width,
        p=layer.p,
        batch=layer.batch,
        calls=layer.calls,
        dtype=str(stored.values.dtype),  # pyright: ignore[reportArgumentType]
        scales=stored.scales,
        unstructured=without_structure,
        activations=layer.sample,
    )


def _highest(layer: TracedLayer, scores: Tensor, count: int) -> np.ndarray:
    """The mask of the `count` highest scores, packed along K; ties to the first in row-major order."""
    flat = scores.detach().to("cpu", torch.float32).reshape(-1)
    if flat.numel() != layer.shape[0] * layer.shape[1] or not bool(torch.isfinite(flat).all()):
        raise PruneError(f"layer {layer.name!r}: scores {tuple(scores.shape)}: must be {layer.shape}, finite")
    mask = torch.zeros(flat.numel(), dtype=torch.bool)
    mask[torch.argsort(flat, descending=True, stable=True)[:count]] = True
    return np.packbits(mask.reshape(layer.shape).numpy(), axis=-1, bitorder="little")


def _record(
    layers: Iterable[TracedLayer],
    stored: dict[str, StoredWeights],
    dtype: str,
    made_by: Mapping[str, Any] | None,
) -> dict[str, Any]:
    record = dict(made_by or {})
    if rounding := rounding_record(stored, dtype):
        record["rounding"] = rounding
    if parameters := {layer.name: layer.key for layer in layers if layer.key != f"{layer.name}.weight"}:
        record["parameters"] = parameters
    return record
