"""The masked weight: what is pruned is 0 going forward, and goes on learning going backward (R13).

A parametrisation of `torch.nn.utils.parametrize`: the module's `weight` is computed from `original`, the very
Parameter that the optimiser holds, each time it is read. It therefore works wherever a module reads its own
weight, the fused paths of attention among them, and the masks travel with `state_dict`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.utils import parametrize


class _StraightThrough(torch.autograd.Function):
    """Forward w where `mask`, 0 elsewhere. Backward the gradient where `learns`, plus SR-STE's decay."""

    @staticmethod
    def forward(weight: Tensor, mask: Tensor, learns: Tensor, decay: float) -> Tensor:
        # A choice, not a product: a masked weight that is infinite or negative gives +0 as well.
        return torch.where(mask, weight, 0.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        weight, mask, learns, ctx.decay = inputs
        ctx.save_for_backward(*((learns, mask, weight) if ctx.decay else (learns,)))

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        learns, *rest = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = torch.where(learns, grad_outputs[0], 0.0)
        if rest:
            mask, weight = rest
            gradient = gradient + torch.where(learns & ~mask, weight, 0.0) * ctx.decay  # type: ignore[attr-defined]
        return gradient, None, None, None


class MaskedWeight(nn.Module):
    """Parametrisation of a weight by its masks.

    Parameters
    ----------
    weight : Tensor
        Any shape; the masks are made in its shape, layout and device, all True.
    sr_ste : float
        lambda: lambda w is added to the gradient of weights that are masked and learn.

    Attributes
    ----------
    mask : Tensor, bool, the weight's shape
        What the forward pass keeps: M_nm M_block.
    learns : Tensor, bool, the weight's shape
        Where the gradient passes: M_block, and once N:M is frozen M_nm M_block.
    sr_ste : float
        Added once for every time the weight is read in a forward pass: once for a module that is called once.
    scoring : bool
        While scores are taken the gradient is the loss's alone, without lambda w.
    gradient_scale : float
        What the loss is multiplied by (a GradScaler's scale): lambda w is multiplied by it, too.
    """

    mask: Tensor
    learns: Tensor

    def __init__(self, weight: Tensor, sr_ste: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool, requires_grad=False))
        self.register_buffer("learns", torch.ones_like(weight, dtype=torch.bool, requires_grad=False))
        self.sr_ste = sr_ste
        self.scoring = False
        self.gradient_scale = 1.0

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the module's forward pass uses, in the weight's shape and dtype."""
        decay = 0.0 if self.scoring else self.sr_ste * self.gradient_scale
        return _StraightThrough.apply(weight, self.mask, self.learns, decay)  # type: ignore[return-value]

    @torch.no_grad()
    def set_masks(self, mask: Tensor, learns: Tensor) -> None:
        """Copy the masks in: bool, of the weight's shape."""
        self.mask.copy_(mask)
        self.learns.copy_(learns)


def attach(module: nn.Module, parameter: str, sr_ste: float) -> MaskedWeight:
    """Mask a module's parameter; the Parameter object stays the same and becomes `...parametrizations.P.original`."""
    masked = MaskedWeight(getattr(module, parameter), sr_ste)
    parametrize.register_parametrization(module, parameter, masked)
    return masked


def detach(module: nn.Module, parameter: str) -> None:
    """Take the masks off for good: the Parameter (the same object) holds exact zeros where the mask was False."""
    # Deep copies of a parametrised module share the class that torch made for it, and removal deletes the weight's
    # property from that class: the copies would lose their weight. So this module gets a class of its own first.
    shared = type(module)
    module.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))  # type: ignore[assignment]
    parametrize.remove_parametrizations(module, parameter, leave_parametrized=True)


def original(module: nn.Module, parameter: str) -> nn.Parameter:
    """The Parameter behind a masked weight: the dense weight, masked values included."""
    return module.parametrizations[parameter].original  # type: ignore[index, union-attr, return-value]
