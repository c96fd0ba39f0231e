"""Models by name: `load_model("torchvision.models:resnet50", classes=100, input_shape=(3, 224, 224))`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...formats.errors import one_line
from ..errors import PruneError
from ..factories import call_factory, find_factory
from .torchvision_ops import prepare_torchvision

_NO_ARGUMENTS: Mapping[str, object] = {}


def load_model(
    text: str,
    *,
    classes: int,
    input_shape: tuple[int, int, int],
    arguments: Mapping[str, object] = _NO_ARGUMENTS,
) -> nn.Module:
    """The model that `text` names, made for these classes and images.

    The function gets `num_classes=` if it has that parameter or takes any keyword, `in_channels=` if it has that
    parameter, and `arguments`, which go first. Then the model is asked for the output of one image: on the meta device,
    where shapes are worked out without computing, or in earnest where it has operations that the meta device lacks.

    Parameters
    ----------
    text : str
        `module:function`, such as `crispsim.prune.models:resnet_small` or `torchvision.models:vit_b_16`.
    classes : int
    input_shape : tuple of int
        (C, H, W) of one image.
    arguments : mapping, optional
        More keyword arguments of the function.

    Raises
    ------
    PruneError
        No such function, it fails or returns no module, or the model does not turn images of `input_shape` into
        [batch, classes].
    """
    make = find_model_factory(text)
    model = make_model(text, {**_keywords(make, classes=classes, in_channels=input_shape[0]), **arguments})
    _check_shapes(text, model, classes, input_shape)
    return model


def find_model_factory(text: str) -> Callable[..., Any]:
    """The function that `text` names, imported; torchvision's too where its compiled part does not load.

    Raises
    ------
    PruneError
        As `find_factory` and `prepare_torchvision`.
    """
    if text.split(":")[0].split(".")[0] == "torchvision":
        prepare_torchvision()
    return find_factory(text, "model")


def make_model(text: str, keywords: Mapping[str, object]) -> nn.Module:
    """What the function that `text` names returns for these keyword arguments.

    Raises
    ------
    PruneError
        As `find_model_factory`; or the function fails, or returns no module.
    """
    model = call_factory(find_model_factory(text), text, "model", keywords)
    if not isinstance(model, nn.Module):
        raise PruneError(f"model {text!r}: must return a torch.nn.Module, not {type(model).__name__}")
    return model


def _keywords(make: Callable[..., Any], *, classes: int, in_channels: int) -> dict[str, object]:
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):  # some callables of C have no signature
        return {"num_classes": classes}
    named = {name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    given: dict[str, object] = {}
    if "num_classes" in named or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        given["num_classes"] = classes
    if "in_channels" in named:
        given["in_channels"] = in_channels
    return given


def _check_shapes(text: str, model: nn.Module, classes: int, input_shape: tuple[int, int, int]) -> None:
    training = model.training
    model.eval()  # one image has no batch statistics
    try:
        output = _output(model, (1, *input_shape))
    except (Exception, SystemExit) as error:
        channels = ""
        if input_shape[0] != 3 and "torchvision" in type(model).__module__:
            channels = "; torchvision's models take 3 channels"
        raise PruneError(
            f"model {text!r}: does not take images {list(input_shape)}: {one_line(error)}{channels}"
        ) from error
    finally:
        model.train(training)
    if not isinstance(output, Tensor) or tuple(output.shape) != (1, classes):
        shape = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise PruneError(f"model {text!r}: gives {shape} for one image {list(input_shape)}, must be [1, {classes}]")


def _output(model: nn.Module, shape: tuple[int, ...]) -> object:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        try:
            # Meta tensors in place of the model's own: nothing is copied or changed.
            states = {name: tensor.to("meta") for name, tensor in tensors.items()}
            return functional_call(model, states, (torch.zeros(shape, device="meta"),))
        except Exception:
            device = next((tensor.device for tensor in tensors.values()), torch.device("cpu"))
            if device.type == "meta":
                raise
            # Say what a real run says; it may also just work.
            return model(torch.zeros(shape, device=device))
