"""What each layer's weights look like: the pattern that applies to it, and the weights of its convolution groups.

A layer's own columns win over the run's pattern; the layers that the pruner leaves dense are dense here too
(interfaces.md, `crispsim run`), unless their row says otherwise or all layers are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..formats import (
    CrispMatrix,
    NMMatrix,
    PackedLayer,
    PackedModel,
    Pattern,
    PatternError,
    blocks_to_keep,
    draw_unstructured,
    draw_weights,
)
from ..formats.errors import few
from ..formats.pattern import SPARSITY_TOLERANCE
from .errors import InputError
from .layer import Layer
from .weights import Matrix, Weights

STEM_CHANNELS = 4

# The note of a layer into whose K no two blocks fit.
NO_BLOCKS = "K <= block"


@dataclass(frozen=True, kw_only=True)
class PatternRequest:
    """The pattern a run asks of its layers.

    Parameters
    ----------
    nm : (int, int)
        N:M; (1, 1) for none.
    block : int or None
    sparsity : float or None
        Weight sparsity asked of each layer; None for what the pattern gives by itself.
    all_layers : bool
        Ask it of the layers that the pruner leaves dense, too.
    """

    nm: tuple[int, int] = (2, 4)
    block: int | None = 64
    sparsity: float | None = 0.9
    all_layers: bool = False


@dataclass(frozen=True, kw_only=True)
class LayerPattern:
    """The pattern of one layer.

    pattern : Pattern. sparsity : to draw its blocks with, None without blocks. requested : the weight sparsity asked
    of the layer, None if none was. note : why the pattern is not what was asked for ("stem", "depthwise", "grouped",
    "classifier", "K <= block"), else empty.
    """

    pattern: Pattern
    sparsity: float | None
    requested: float | None = None
    note: str = ""


def resolve_patterns(layers: Sequence[Layer], request: PatternRequest) -> list[LayerPattern]:
    """The pattern of every layer.

    Raises
    ------
    InputError
        A sparsity is impossible with its pattern; one line per layer, at most ten.
    """
    try:
        _check(_pattern(request.nm, request.block), request.sparsity)
    except PatternError as error:
        raise InputError(str(error)) from error
    patterns, problems = [], []
    for index, layer in enumerate(layers):
        try:
            patterns.append(_resolve(layer, request, last=index == len(layers) - 1))
        except PatternError as error:
            problems.append(f"{layer.place}layer {layer.name!r}: {error}")
    if problems:
        raise InputError(*problems)
    return patterns


def exemption(layer: Layer, *, last: bool) -> str:
    """Why the pruner leaves a layer dense, or an empty string."""
    if layer.kind == "conv" and layer.in_channels <= STEM_CHANNELS:
        return "stem"
    if layer.groups > 1:
        return "depthwise" if layer.depthwise else "grouped"
    return "classifier" if last and layer.p == layer.batch else ""


def layer_of_packed(packed: PackedLayer) -> Layer:
    """The shape of a layer in a packed file."""
    return Layer(
        name=packed.name,
        kind=packed.kind,
        in_height=packed.in_height,
        in_width=packed.in_width,
        kernel_h=packed.kernel[0],
        kernel_w=packed.kernel[1],
        in_channels=packed.in_channels,
        out_channels=packed.groups * _shape(packed.group_weights[0])[0],
        stride_h=packed.stride[0],
        stride_w=packed.stride[1],
        pad_h=packed.padding[0],
        pad_w=packed.padding[1],
        dilation_h=packed.dilation[0],
        dilation_w=packed.dilation[1],
        groups=packed.groups,
        batch=packed.batch,
        calls=packed.calls,
        tensor=packed.name,
    )


def synthetic_weights(layer: Layer, choice: LayerPattern, seed: int, index: int) -> Iterator[tuple[Weights, int]]:
    """Draw a layer's weights, group by group: (weights, how many consecutive groups have them).

    A layer without a pattern has no zeros at all, and all its groups are alike.
    """
    shape = (layer.s, layer.k)
    if choice.pattern.kind == "dense":
        yield Weights(shape=shape), layer.groups
        return
    for group in range(layer.groups):
        yield (
            Weights(shape=shape, matrix=draw_weights(shape, choice.pattern, choice.sparsity, seed, index, group)),
            1,
        )


def packed_weights(layer: Layer, model: PackedModel) -> Iterator[tuple[Weights, int]]:
    """A layer's weights from a packed file, group by group.

    Raises
    ------
    InputError
        As `packed_layer`.
    """
    packed = packed_layer(layer, model)
    for group, matrix in enumerate(packed.group_weights):
        if isinstance(matrix, np.ndarray):
            matrix = _channel_fastest(_real_zeros(matrix, packed, group), packed)
        yield Weights(shape=(layer.s, layer.k), matrix=matrix), 1


def unstructured_weights(weights: Weights, seed: int, index: int, group: int) -> Weights:
    """Weights of the same sparsity without structure; weights that have none are their own."""
    if weights.mask in ("dense", "unstructured"):
        return weights
    return Weights(shape=weights.shape, matrix=draw_unstructured(weights.shape, weights.nonzeros, seed, index, group))


def packed_unstructured_weights(packed: PackedLayer, group: int) -> Weights | None:
    """The unstructured twin that a packed file has of a group's weights, if it has one."""
    if packed.unstructured is None:
        return None
    shape = _shape(packed.group_weights[group])
    rows = packed.unstructured if packed.groups == 1 else packed.unstructured[group]
    mask = np.unpackbits(rows, axis=1, count=shape[1], bitorder="little").astype(np.bool_)
    return Weights(shape=shape, matrix=_channel_fastest(mask, packed))


def packed_layer(layer: Layer, model: PackedModel) -> PackedLayer:
    """The layer of a packed file that a row of the layer table stands for.

    Raises
    ------
    InputError
        The file has none of that name, it has another shape or an order of K that cannot be run, the row asks for a
        pattern of its own, or the file's activations are of another input.
    """
    name, where = layer.tensor or layer.name, f"{layer.place}layer {layer.name!r}"
    try:
        packed = model[name]
    except KeyError:
        known = few([packed.name for packed in model.layers])
        raise InputError(f"{layer.place}{model.path}: no layer {name!r} in the file; it has {known}") from None
    for column, value in (("NM", layer.nm), ("Block", layer.block), ("Weight Sparsity", layer.weight_sparsity)):
        if value is not None:
            raise InputError(f"{where}: column {column!r}: the weights of {model.path} have their own pattern")
    table = (layer.in_height, layer.in_width, layer.in_channels)
    file = (packed.in_height, packed.in_width, packed.in_channels)
    if packed.activations is not None and layer.activation_sparsity is None and table != file:
        raise InputError(
            f"{where}: input {table} (height, width, channels): the activations of {model.path} are of {file}; "
            f"set an Activation Sparsity to draw others"
        )
    for matrix in packed.group_weights:
        if _shape(matrix) != (layer.s, layer.k) or len(packed.group_weights) != layer.groups:
            raise InputError(
                f"{model.path}: layer {name!r}: {len(packed.group_weights)} group(s) of S x K = "
                f"{' x '.join(map(str, _shape(matrix)))}, but the layer table's {layer.name!r} has {layer.groups} of "
                f"{layer.s} x {layer.k}"
            )
        if isinstance(matrix, CrispMatrix | NMMatrix) and matrix.k_order != "hwc":
            raise InputError(
                f"layer {name!r}: k_order {matrix.k_order!r}: the simulator streams channels fastest; "
                f"pack the layer as hwc"
            )
    return packed


def _resolve(layer: Layer, request: PatternRequest, *, last: bool) -> LayerPattern:
    own = layer.nm is not None or layer.block is not None or layer.weight_sparsity is not None
    if not own and not request.all_layers:
        reason = exemption(layer, last=last)
        if reason:
            return LayerPattern(pattern=Pattern(), sparsity=None, note=reason)
    nm = layer.nm or request.nm
    block = request.block if layer.block is None else (None if layer.block == "none" else layer.block)
    sparsity = request.sparsity if layer.weight_sparsity is None else layer.weight_sparsity
    if layer.weight_sparsity is None and own and block is None:
        sparsity = None  # the row took the blocks away: its N:M alone says how sparse it is
    if layer.block is None and block is not None and layer.k <= block:
        _check(_pattern(nm, block), sparsity)
        requested = layer.weight_sparsity  # the run's own is asked of layers that blocks fit into
        return LayerPattern(pattern=_pattern(nm, None), sparsity=None, requested=requested, note=NO_BLOCKS)
    pattern = _pattern(nm, block)
    _check(pattern, sparsity)
    return LayerPattern(pattern=pattern, sparsity=sparsity if block else None, requested=sparsity)


def _pattern(nm: tuple[int, int], block: int | None) -> Pattern:
    return Pattern(n=nm[0], m=nm[1], block=block)


def _check(pattern: Pattern, sparsity: float | None) -> None:
    if sparsity is None:
        return
    blocks_to_keep(sparsity, pattern, 1)
    alone = float(1 - pattern.density)
    if pattern.block is None and abs(sparsity - alone) > SPARSITY_TOLERANCE:
        raise PatternError(
            f"sparsity {sparsity}: {pattern.nm} without blocks prunes exactly {alone:g}; give a block too"
        )


def _shape(matrix: Matrix) -> tuple[int, int]:
    return int(matrix.shape[0]), int(matrix.shape[1])


def _real_zeros(matrix: np.ndarray, packed: PackedLayer, group: int) -> np.ndarray:
    """A dense matrix in which a stored value that stands for zero is zero (sparse ones have zero points of 0)."""
    if packed.zero_points is None:
        return matrix
    rows = matrix.shape[0]
    zero_points = np.array(packed.zero_points[group * rows : (group + 1) * rows])
    return matrix != zero_points[:, None]


def _channel_fastest(matrix: np.ndarray, packed: PackedLayer) -> np.ndarray:
    """A dense matrix in the simulator's order of K."""
    if packed.k_order == "hwc":
        return matrix
    taps = packed.kernel[0] * packed.kernel[1]
    s, k = matrix.shape
    return np.ascontiguousarray(matrix.reshape(s, k // taps, taps).transpose(0, 2, 1)).reshape(s, k)
