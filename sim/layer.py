"""A layer: one matrix product per convolution group, and the pattern its row asks for.

`Y[S,P] = W[S,K] X[K,P]` for each group: S output channels (rows), K = kernel height x kernel width x input
channels, P = output pixels x batch (columns). A GEMM `M,N,K` of SCALE-Sim is the 1x1 convolution of an
M x 1 map with K input and N output channels, so its P is M and its S is N.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..formats.errors import PatternError
from ..formats.pattern import Pattern
from .errors import InputError, LayerError

LARGEST = 2**63 - 1

_LEAST = {
    **dict.fromkeys(("in_height", "in_width", "kernel_h", "kernel_w", "in_channels", "out_channels"), 1),
    **dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w", "groups", "batch", "calls"), 1),
    **dict.fromkeys(("pad_h", "pad_w"), 0),
}
# What a gemm's shape leaves no choice of.
GEMM_FIELDS = {
    **dict.fromkeys(("in_width", "kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w"), 1),
    **dict.fromkeys(("pad_h", "pad_w"), 0),
}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The shape of a layer and what it sets for itself; None leaves a choice to the caller.

    Parameters
    ----------
    name : str
        Printable, without surrounding spaces, not starting with `#` (a comment in a layer table).
    kind : {"conv", "gemm"}
        A gemm has width, filter, stride and dilation 1 and no padding.
    in_height, in_width : int
        Input map without padding.
    kernel_h, kernel_w : int
        Filter, before dilation.
    in_channels, out_channels : int
        Totals over all groups; a gemm's K and N.
    stride_h, stride_w, dilation_h, dilation_w : int
    pad_h, pad_w : int
        Zeros on each side.
    groups : int
        Divides both channel counts.
    batch : int
        Inputs processed together.
    calls : int
        How often the layer runs in one pass of the network.
    nm : tuple of int, optional
        N kept of every M neighbours along K; (1, 1) is dense.
    block : int or "none", optional
        Side of the pruned blocks; "none" asks for no blocks.
    weight_sparsity : float, optional
        Share of zero weights asked of the whole layer, from 0 up to, not including, 1.
    activation_sparsity : float, optional
        Share of zeros in the input, from 0 to 1.
    tensor : str, optional
        Name of its weights in a packed file.
    residual : str, optional
        Name of the layer before it whose output, of the same shape, is added to its own (D15).
    file, line : str and int, optional
        The layer table and line it was read from; two layers that differ only here are equal.

    Raises
    ------
    LayerError
        A value breaks its rule, the filter does not fit into the padded input, or the layer's MACs or
        input values over all calls pass 2**63 - 1.
    """

    name: str
    kind: Literal["conv", "gemm"]
    in_height: int
    in_width: int
    kernel_h: int
    kernel_w: int
    in_channels: int
    out_channels: int
    stride_h: int = 1
    stride_w: int = 1
    pad_h: int = 0
    pad_w: int = 0
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1
    batch: int = 1
    calls: int = 1
    nm: tuple[int, int] | None = None
    block: int | Literal["none"] | None = None
    weight_sparsity: float | None = None
    activation_sparsity: float | None = None
    tensor: str | None = None
    residual: str | None = None
    file: str | None = field(default=None, compare=False)
    line: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_words(self)
        _check_sizes(self)
        _check_fit(self)
        _check_pattern(self)
        _check_sparsities(self)
        _check_overflow(self)

    @property
    def out_height(self) -> int:
        """Rows of the output map: floor((padded input - dilated filter) / stride) + 1."""
        return (self.in_height + 2 * self.pad_h - _dilated(self.kernel_h, self.dilation_h)) // self.stride_h + 1

    @property
    def out_width(self) -> int:
        """Columns of the output map, likewise."""
        return (self.in_width + 2 * self.pad_w - _dilated(self.kernel_w, self.dilation_w)) // self.stride_w + 1

    @property
    def s(self) -> int:
        """Rows of a group's weight matrix: output channels per group."""
        return self.out_channels // self.groups

    @property
    def k(self) -> int:
        """Columns of a group's weight matrix: filter positions x input channels per group."""
        return self.kernel_h * self.kernel_w * self.in_channels // self.groups

    @property
    def p(self) -> int:
        """Columns of the product: output pixels x batch."""
        return self.out_height * self.out_width * self.batch

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one call, dense, without padding to tiles: groups x S x K x P."""
        return self.groups * self.s * self.k * self.p

    @property
    def weights(self) -> int:
        """Weights of all groups, biases left out."""
        return self.groups * self.s * self.k

    @property
    def inputs(self) -> int:
        """Values of the input over the batch, without padding."""
        return self.batch * self.in_height * self.in_width * self.in_channels

    @property
    def place(self) -> str:
        """`FILE:LINE: ` for messages, empty for a layer that was not read from a table."""
        return f"{self.file}:{self.line}: " if self.line else ""

    @property
    def depthwise(self) -> bool:
        """Whether every input channel is a group of its own (and there are several)."""
        return self.groups == self.in_channels > 1


def check_residuals(layers: Sequence[Layer]) -> None:
    """Check the residual inputs of a network's layers, or of some of them.

    Raises
    ------
    InputError
        A layer's residual names itself, a layer after it, or one whose output is of another shape. Of what is not
        among the layers nothing is known.
    """
    names = {layer.name for layer in layers}
    before: dict[str, Layer] = {}
    problems: list[str] = []
    for layer in layers:
        fault = residual_fault(layer, before) if layer.residual in names else ""
        if fault:
            problems.append(f"{layer.place}{LayerError(layer.name, 'residual', layer.residual, fault)}")
        before[layer.name] = layer
    if problems:
        raise InputError(*problems)


def residual_fault(layer: Layer, before: Mapping[str, Layer]) -> str:
    """Which rule a layer's residual breaks; empty if none. `before` holds the layers before it, by name."""
    if layer.residual is None:
        return ""
    if layer.residual not in before:
        return "must name an earlier layer"
    added = before[layer.residual]
    own, its = ((one.out_channels, one.p, one.batch) for one in (layer, added))
    return "" if own == its else f"must name a layer with the same output, {_output(layer)}; its is {_output(added)}"


def _output(layer: Layer) -> str:
    batch = f", batch {layer.batch}" if layer.batch > 1 else ""
    return f"{layer.out_channels} x {layer.p}{batch}"


def _dilated(kernel: int, dilation: int) -> int:
    return dilation * (kernel - 1) + 1


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_int(value)


def _check_words(layer: Layer) -> None:
    for name in ("name", "tensor", "residual"):
        text = getattr(layer, name)
        if text is None and name != "name":
            continue
        if not isinstance(text, str) or not text or text != text.strip() or not text.isprintable():
            raise LayerError(layer.name, name, text, "must be printable text without surrounding spaces")
        if text.startswith("#"):
            raise LayerError(layer.name, name, text, "must not start with #, which begins a comment")
    if layer.kind not in ("conv", "gemm"):
        raise LayerError(layer.name, "kind", layer.kind, "must be conv or gemm")


def _check_sizes(layer: Layer) -> None:
    for name, least in _LEAST.items():
        value = getattr(layer, name)
        if not _is_int(value) or value < least:
            raise LayerError(layer.name, name, value, f"must be an integer of at least {least}")
        if layer.kind == "gemm" and name in GEMM_FIELDS and value != GEMM_FIELDS[name]:
            raise LayerError(layer.name, name, value, f"must be {GEMM_FIELDS[name]} in a gemm")


def _check_fit(layer: Layer) -> None:
    for name in ("in_channels", "out_channels"):
        channels = getattr(layer, name)
        if channels % layer.groups:
            raise LayerError(layer.name, "groups", layer.groups, f"must divide {name} = {channels}")
    for axis, size, pad in (("h", layer.in_height, layer.pad_h), ("w", layer.in_width, layer.pad_w)):
        kernel, dilation = getattr(layer, f"kernel_{axis}"), getattr(layer, f"dilation_{axis}")
        reach, padded = _dilated(kernel, dilation), size + 2 * pad
        if reach > padded:
            spread = f" (it spans {reach} with dilation {dilation})" if dilation > 1 else ""
            rule = f"must not be larger than the padded input of {padded}{spread}"
            raise LayerError(layer.name, f"kernel_{axis}", kernel, rule)


def _check_pattern(layer: Layer) -> None:
    n, m = 1, 1
    if layer.nm is not None:
        if not isinstance(layer.nm, tuple) or len(layer.nm) != 2 or not all(map(_is_int, layer.nm)):
            raise LayerError(layer.name, "nm", layer.nm, "must be a pair of integers (N, M)")
        n, m = layer.nm
        _check_possible(layer, "nm", n, m, None)
    if layer.block is not None and layer.block != "none":
        if not _is_int(layer.block):
            raise LayerError(layer.name, "block", layer.block, "must be an integer or none")
        _check_possible(layer, "block", n, m, layer.block)


def _check_possible(layer: Layer, name: str, n: int, m: int, block: int | None) -> None:
    try:
        Pattern(n=n, m=m, block=block)
    except PatternError as error:
        rule = str(error).rpartition(": ")[2]
        raise LayerError(layer.name, name, getattr(layer, name), rule) from None


def _check_sparsities(layer: Layer) -> None:
    weights, activations = layer.weight_sparsity, layer.activation_sparsity
    if weights is not None and not (_is_number(weights) and 0 <= weights < 1):
        rule = "must be a number from 0 up to, not including, 1"
        raise LayerError(layer.name, "weight_sparsity", weights, rule)
    if activations is not None and not (_is_number(activations) and 0 <= activations <= 1):
        raise LayerError(layer.name, "activation_sparsity", activations, "must be a number from 0 to 1")


def _check_overflow(layer: Layer) -> None:
    height, width = layer.in_height + 2 * layer.pad_h, layer.in_width + 2 * layer.pad_w
    inputs = layer.in_channels * height * width * layer.batch
    for name, count in (("macs", layer.macs), ("input values", inputs)):
        if count * layer.calls > LARGEST:
            raise LayerError(layer.name, name, count * layer.calls, "overflow: must be at most 2**63 - 1")
