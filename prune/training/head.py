"""The head of a personalised model: the universal model's classifier, with the rows of the user's classes only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..errors import PruneError
from ..layers import called_modules, check_plain


def slice_head(model: nn.Module, classes: Sequence[int], total: int) -> None:
    """Keep the rows of these classes in the model's last Linear, in their order; in place.

    Parameters
    ----------
    model : nn.Module
    classes : sequence of int
        Rows to keep, each from 0 to total - 1.
    total : int
        Classes that the model tells apart before.

    Raises
    ------
    PruneError
        There is no such layer, its rows are not the classes, or its weight or bias is not a plain Parameter.
    """
    name, head = _head(model)
    if head.out_features != total:
        raise PruneError(f"model: its last Linear {name!r} has {head.out_features} outputs, the data {total} classes")
    for parameter in ("weight", "bias") if head.bias is not None else ("weight",):
        check_plain(head, parameter, f"layer '{name or type(head).__name__}'")
    rows = torch.tensor(list(classes), device=head.weight.device)
    with torch.no_grad():
        head.weight = nn.Parameter(head.weight[rows].clone(), requires_grad=head.weight.requires_grad)
        if head.bias is not None:
            head.bias = nn.Parameter(head.bias[rows].clone(), requires_grad=head.bias.requires_grad)
    head.out_features = len(classes)


def _head(model: nn.Module) -> tuple[str, nn.Linear]:
    """The last Linear of `named_modules`, and its name; an attention's output projection is none (R2)."""
    linears = [(name, module) for name, module in called_modules(model) if isinstance(module, nn.Linear)]
    if not linears:
        raise PruneError("model: has no Linear layer, so no head whose rows are the classes")
    return linears[-1]
