"""What is asked of a user's model before and while it is trained; where it fails, one line says how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...formats.errors import one_line
from ..data import LabelledImages
from ..errors import PruneError


def check_model(model: nn.Module, images: LabelledImages, classes: int, device: torch.device) -> None:
    """Refuse a model that fails on the first image, or whose outputs are not one for each class, before any work.

    Raises
    ------
    PruneError
        In one line.
    """
    model.eval()
    _check_finite(model)
    image = images.batch(torch.zeros(1, dtype=torch.int64)).to(device)
    with torch.no_grad():
        logits_of(model, image, classes)


def has_unused_parameters(model: nn.Module, images: LabelledImages, classes: int, device: torch.device) -> bool:
    """Whether some parameters that learn have no part in the outputs, as DistributedDataParallel must be told.

    The model runs once in training mode, on the first image twice, with copies of its buffers: nothing of it changes
    but its mode.

    Raises
    ------
    PruneError
        It fails in training mode.
    """
    model.train()
    two = images.batch(torch.zeros(2, dtype=torch.int64)).to(device)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits = logits_of(lambda inputs: functional_call(model, buffers, (inputs,)), two, classes, training=True)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not logits.requires_grad:
        return bool(learning)
    gradients = torch.autograd.grad(logits.sum(), learning, allow_unused=True)
    return any(gradient is None for gradient in gradients)


def _check_finite(model: nn.Module) -> None:
    """Refuse weights and BatchNorm statistics that are infinite or not a number: nothing would come of them."""
    statistics = [(name, one) for name, one in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    for name, tensor in (*model.named_parameters(), *statistics):
        finite = torch.isfinite(tensor)
        if not finite.all():
            values = tensor.detach()[~finite]
            raise PruneError(
                f"model: {len(values)} of the {tensor.numel()} values of {name} are not finite (the first is "
                f"{values[0].item()}): weights to begin with must be"
            )


def logits_of(model: Callable[[Tensor], Any], inputs: Tensor, classes: int, *, training: bool = False) -> Tensor:
    """The model's outputs as float32 (images, classes).

    Parameters
    ----------
    model : callable
        The module, or what runs it.
    inputs : Tensor, (images, C, H, W)
    classes : int
    training : bool
        Whether it is in training mode; for the message.

    Raises
    ------
    PruneError
        It fails, or its outputs are not one for each class.
    """
    try:
        logits = model(inputs)
    except (Exception, SystemExit) as error:  # a user's model may fail in any way
        images = "an image" if len(inputs) == 1 else "images"
        raise PruneError(
            f"model: fails{' in training mode' if training else ''} on {images} of shape {list(inputs.shape)}: "
            f"{one_line(error)}"
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (len(inputs), classes):
        said = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise PruneError(
            f"model: gives {said} for {len(inputs)} images; must be one output for each of {classes} classes"
        )
    return logits.float()
