"""The head of a personalised model: the universal model's classifier, with the rows of the user's classes only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..errors import PruneError


def find_head(model: nn.Module) -> tuple[str, nn.Linear]:
    """The last Linear of `named_modules`, and its name; an attention's output projection is none (R2).

    Raises
    ------
    PruneError
        There is none.
    """
    inside_attention = {id(module.out_proj) for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    linears = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and id(module) not in inside_attention
    ]
    if not linears:
        raise PruneError("model: has no Linear layer, so no head whose rows are the classes")
    return linears[-1]


def slice_head(model: nn.Module, classes: Sequence[int], total: int | None = None) -> None:
    """Keep the rows of these classes in the model's last Linear, in their order; in place.

    Parameters
    ----------
    model : nn.Module
    classes : sequence of int
        Rows to keep.
    total : int, optional
        Classes the model must tell apart before; None: any number that has all these rows.

    Raises
    ------
    PruneError
        There is no such layer, or its rows are not the classes.
    """
    name, head = find_head(model)
    if total is not None and head.out_features != total:
        raise PruneError(f"model: its last Linear {name!r} has {head.out_features} outputs, the data {total} classes")
    out_of_range = next((index for index in classes if not 0 <= index < head.out_features), None)
    if out_of_range is not None:
        raise PruneError(f"class {out_of_range}: the model's last Linear {name!r} has {head.out_features} outputs")
    rows = torch.tensor(list(classes), device=head.weight.device)
    with torch.no_grad():
        head.weight = nn.Parameter(head.weight[rows].clone(), requires_grad=head.weight.requires_grad)
        if head.bias is not None:
            head.bias = nn.Parameter(head.bias[rows].clone(), requires_grad=head.bias.requires_grad)
    head.out_features = len(classes)
