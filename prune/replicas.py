"""Processes that train one model together (DDP): sums over them, and that they agree."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor
from torch import distributed as dist

from .errors import PruneError


def replicated() -> bool:
    """Whether torch.distributed runs with more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def add_up(tensors: Iterable[Tensor]) -> None:
    """Sum each tensor over all processes, **in place**; the same result on all. A single process has nothing to do."""
    if replicated():
        for tensor in tensors:
            dist.all_reduce(tensor, op=dist.ReduceOp.SUM)


def check_same(what: str, tensors: Iterable[Tensor], device: torch.device) -> None:
    """Compare tensors of any dtype between all processes, through their SHA-256.

    Parameters
    ----------
    what : str
        For the message.
    tensors : iterable of Tensor
        In the same order in every process.
    device : torch.device
        Where the backend takes tensors: the model's.

    Raises
    ------
    PruneError
        In every process, if one differs.
    """
    if not replicated():
        return
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    mine = torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8).to(device)
    of_all = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(of_all, mine)
    for process, theirs in enumerate(of_all):
        if not torch.equal(theirs, of_all[0]):
            raise PruneError(f"{what} of process {process} differ from those of process 0: must be the same")
