"""A network's layers for the simulator: of a torch model as it runs, or of a packed file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..formats import PackedModel
from ..sim import InputError, Layer
from ..sim.workload import layer_of_packed

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..prune.export import TracedLayer

_NO_ARGUMENTS: Mapping[str, object] = {}


def layers_of_traced(traced: Iterable[TracedLayer]) -> list[Layer]:
    """The layers that `prune.export.trace_layers` has seen; exactly their sizes, and no pattern.

    Raises
    ------
    LayerError
        A layer is beyond what the simulator counts.
    """
    return [
        Layer(
            name=layer.name,
            kind=layer.kind,
            in_height=layer.in_height,
            in_width=layer.in_width,
            kernel_h=layer.kernel[0],
            kernel_w=layer.kernel[1],
            in_channels=layer.in_channels,
            out_channels=layer.out_channels,
            stride_h=layer.stride[0],
            stride_w=layer.stride[1],
            pad_h=layer.padding[0],
            pad_w=layer.padding[1],
            dilation_h=layer.dilation[0],
            dilation_w=layer.dilation[1],
            groups=layer.groups,
            batch=layer.batch,
            calls=layer.calls,
        )
        for layer in traced
    ]


def layers_of_packed(model: PackedModel) -> list[Layer]:
    """The layers of a packed file, each naming its weights there."""
    return [layer_of_packed(layer) for layer in model.layers]


def layers_of_model(
    text: str,
    input_shape: Sequence[int],
    *,
    dtype: str = "float32",
    arguments: Mapping[str, object] = _NO_ARGUMENTS,
    notice: Callable[[str], None] | None = None,
) -> list[Layer]:
    """The layers of the torch model that a function makes; its weights are made up if they can be, never trained.

    Parameters
    ----------
    text : str
        `module:function`, such as `torchvision.models:resnet50`.
    input_shape : sequence of int
        Of one input with its batch of one, such as (1, 3, 224, 224).
    dtype : str
        Of the input, torch's name: "int64" for token numbers.
    arguments : mapping, optional
        Of the function.
    notice : callable, optional
        As `trace_layers`.

    Raises
    ------
    InputError
        torch is not installed, there is no such function, it fails or makes no model, or as `trace_layers`.
    """
    try:
        import torch

        from ..prune.errors import PruneError
        from ..prune.export import trace_layers
        from ..prune.models import find_model_factory, make_model
    except ModuleNotFoundError as error:
        raise InputError(f"model {text!r}: {error.name} is not installed (pip install 'crispsim[prune]')") from error
    number = getattr(torch, dtype, None)
    if not isinstance(number, torch.dtype):
        raise InputError(f"--input: dtype {dtype!r}: must be one of torch's, such as float32 or int64")
    notices: list[str] = []
    try:
        find_model_factory(text)  # imports its module while tensors are still real
        try:  # on the meta device nothing is computed, and no memory is taken
            with torch.device("meta"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as of weights that cannot be loaded there
                model = make_model(text, arguments)
                example = _example(input_shape, number)
            traced = trace_layers(model, example, notice=notices.append)
        except (PruneError, InputError):  # not every model can: say what it says in earnest
            notices.clear()
            model = make_model(text, arguments)
            example = _beside(model, _example(input_shape, number))
            traced = trace_layers(model, example, notice=notices.append)
    except PruneError as error:
        raise InputError(f"model {text!r}: {error}" if not str(error).startswith("model ") else str(error)) from error
    if notice:
        for line in notices:
            notice(line)
    return layers_of_traced(traced)


def _example(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    import torch

    try:
        return torch.zeros(tuple(shape), dtype=dtype)
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"--input {'x'.join(map(str, shape))}: torch cannot make it: {reason}") from error


def _beside(model: nn.Module, example: Tensor) -> Tensor:
    """The example on the device of the model's weights."""
    first = next(model.parameters(), None)
    return example if first is None else example.to(first.device)
