"""Processes that work on one model together: who is which, what they send each other, and that they agree.

Here, and nowhere else, is asked whether there are others. A process without torch.distributed, or the only one of its
group, is alone: nothing is sent then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .errors import PruneError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Where this process stands: rank of world, and local_rank on its machine; (0, 1, 0) alone."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and tells of progress."""
        return self.rank == 0


def in_group() -> bool:
    """Whether torch.distributed has been set up."""
    return dist.is_available() and dist.is_initialized()


def alone() -> bool:
    """Whether there is no other process to send to."""
    return not in_group() or dist.get_world_size() == 1


def add_up(tensors: Iterable[Tensor]) -> None:
    """Sum each tensor over all processes, **in place**; the same result on all."""
    if not alone():
        for tensor in tensors:
            dist.all_reduce(tensor, op=dist.ReduceOp.SUM)


def average(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their means over all processes, **in place**; the same result on all."""
    there = list(tensors)
    if alone() or not there:
        return
    flat = torch.cat([tensor.flatten() for tensor in there])  # sent at once: they are many and small
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, mean in zip(there, flat.split([tensor.numel() for tensor in there]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def copy_from_main(model: nn.Module) -> None:
    """Give all processes the parameters and buffers of the first; in place."""
    if not alone():
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), src=0)


def from_main(value: T) -> T:
    """The first process's value, on all of them."""
    if alone():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


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
    if alone():
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
