"""A layer as the model uses it: the sizes of its weight and of its input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import nn

from ..errors import PruneError

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class TracedLayer:
    """One weight matrix as the model uses it, for one input of the model.

    Parameters
    ----------
    name : str
        As in `prune.layers`: the module's, or `<attention>.in_proj` and `<attention>.out_proj`.
    module_name, parameter : str
        Where the weight is: the module, and its attribute there.
    kind : {"conv", "gemm"}
        A gemm is a 1 x 1 convolution over `in_height` = tokens, `in_width` = 1, in one group.
    kernel, stride, padding, dilation : (int, int)
        Height, width; padding on both sides.
    groups, in_channels, out_channels : int
        Channels of all groups.
    in_height, in_width : int
        One sample's input, without padding.
    batch : int
        Samples per call: 1, unless the model puts windows or frames of its input into the batch of a convolution.
    calls : int
        How often the layer runs in one pass.
    sample : ndarray, optional
        The first call's input, as a packed file holds it (`PackedLayer.activations`, hwc); None where it was not asked
        for or cannot be seen (the input of an attention's out_proj; of an in_proj that has several).
    """

    name: str
    module_name: str
    parameter: str
    kind: Literal["conv", "gemm"]
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    in_channels: int
    out_channels: int
    in_height: int
    in_width: int = 1
    batch: int = 1
    calls: int = 1
    sample: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        """Of the weight in the model's state dict."""
        return f"{self.module_name}.{self.parameter}" if self.module_name else self.parameter

    @property
    def shape(self) -> Pair:
        """S and K of one group."""
        return self.out_channels // self.groups, self.kernel[0] * self.kernel[1] * self.in_channels // self.groups

    @property
    def p(self) -> int:
        """Output positions of one sample: floor((padded input - dilated filter) / stride) + 1 of both axes."""
        height, width = (
            (side + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for side, pad, dilation, kernel, stride in zip(
                (self.in_height, self.in_width), self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        )
        return height * width

    @property
    def input_size(self) -> str:
        """What it is called with, for messages."""
        return f"{self.in_height} x {self.in_width} x {self.in_channels} x {self.batch}"


def convolution(name: str, module_name: str, module: nn.Conv2d, shape: tuple[int, ...]) -> TracedLayer:
    """A convolution that is called with an input of this shape, (batch, channels, height, width) or without the batch.

    Raises
    ------
    PruneError
        It pads its sides differently.
    """
    return TracedLayer(
        name=name,
        module_name=module_name,
        parameter="weight",
        kind="conv",
        kernel=_pair(module.kernel_size),
        stride=_pair(module.stride),
        padding=_padding(name, module),
        dilation=_pair(module.dilation),
        groups=module.groups,
        in_channels=module.in_channels,
        out_channels=module.out_channels,
        in_height=int(shape[-2]),
        in_width=int(shape[-1]),
        batch=int(shape[0]) if len(shape) == 4 else 1,
    )


def gemm(name: str, module_name: str, parameter: str, rows: int, columns: int, tokens: int) -> TracedLayer:
    """A matrix (rows, columns) that multiplies every token."""
    return TracedLayer(
        name=name,
        module_name=module_name,
        parameter=parameter,
        kind="gemm",
        in_channels=columns,
        out_channels=rows,
        in_height=tokens,
    )


def _padding(name: str, module: nn.Conv2d) -> Pair:
    if module.padding == "valid":
        return 0, 0
    if module.padding != "same":
        return _pair(module.padding)
    reach = [dilation * (kernel - 1) for dilation, kernel in zip(module.dilation, module.kernel_size, strict=True)]
    if any(total % 2 for total in reach):
        raise PruneError(
            f"layer {name!r}: padding 'same' of a {module.kernel_size[0]} x {module.kernel_size[1]} filter: one side "
            f"gets more than the other, which a layer cannot say; use an odd filter, or pad before it"
        )
    return reach[0] // 2, reach[1] // 2


def _pair(value: Any) -> Pair:
    first, second = value
    return int(first), int(second)
