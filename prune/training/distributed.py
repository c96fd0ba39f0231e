"""Several processes on one run (`torchrun`): who takes which part, and what must end the same on all of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel

from ..errors import PruneError

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


def find_device(text: str, local_rank: int = 0) -> torch.device:
    """The device that is meant: "auto" is CUDA if it is there, else the CPU. Each local rank has a GPU of its own.

    Raises
    ------
    PruneError
        It is no device, or not there.
    """
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise PruneError(f"device {text!r}: must be 'auto' or a device's name, such as 'cpu' or 'cuda:0'") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise PruneError(f"device {text!r}: must be the CPU or a CUDA device")
    index = local_rank if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise PruneError(f"device 'cuda:{index}': torch finds {torch.cuda.device_count()} CUDA devices")
    return torch.device("cuda", index)


@contextmanager
def process_group(device: str = "auto") -> Iterator[Ranks]:
    """This process's place among those that `torchrun` started; alone where it did not.

    The group (gloo on the CPU, nccl on CUDA) is made from torchrun's environment and ends with the block; one that is
    there already is used and left, so blocks nest.

    Raises
    ------
    PruneError
        The device is not there, or the environment is not whole.
    """
    if dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size(), _environment("LOCAL_RANK", dist.get_rank()))
        return
    world = _environment("WORLD_SIZE", 1)
    if world == 1:
        yield Ranks()
        return
    local_rank = _environment("LOCAL_RANK", 0)
    chosen = find_device(device, local_rank)
    if chosen.type == "cuda":
        if ":" in device:
            raise PruneError(f"device {device!r}: must be 'cuda' with {world} processes, each on a GPU of its own")
        torch.cuda.set_device(chosen)
    try:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    except ValueError as error:
        raise PruneError(f"torchrun: WORLD_SIZE is {world}, but {str(error).splitlines()[0]}") from error
    try:
        yield Ranks(dist.get_rank(), world, local_rank)
    finally:
        dist.destroy_process_group()


def parallel(model: nn.Module, ranks: Ranks, device: torch.device) -> nn.Module:
    """The module to call in training: averages gradients over the ranks; the model itself where there is one.

    Buffers are not sent at each step: masks are the same on all ranks, BatchNorm is averaged once an epoch.
    """
    if ranks.world == 1:
        return model
    devices = [device.index] if device.type == "cuda" else None
    with warnings.catch_warnings():
        # New versions of torch ask for other words, which older ones do not know.
        warnings.filterwarnings("ignore", message=".*broadcast_buffers.*", category=FutureWarning)
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


def copy_from_main(model: nn.Module, ranks: Ranks) -> None:
    """Give all ranks the parameters and buffers of rank 0; in place."""
    if ranks.world > 1:
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), src=0)


def sum_over_ranks(values: Tensor, ranks: Ranks) -> Tensor:
    """The sums of these values over the ranks, the same on all of them; in place."""
    if ranks.world > 1:
        dist.all_reduce(values)
    return values


def from_main(value: T, ranks: Ranks) -> T:
    """Rank 0's value, on all ranks."""
    if ranks.world == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def average_statistics(model: nn.Module, ranks: Ranks) -> None:
    """Give all ranks the mean of their running means and variances of BatchNorm (and its like); in place.

    Each rank saw other images. The mean of variances leaves out how much the ranks' means differ, which is small
    against the variances: every rank sees a random share of the same set.
    """
    if ranks.world == 1:
        return
    statistics = [
        buffer
        for module in model.modules()
        if isinstance(module, _NormBase)
        for buffer in (module.running_mean, module.running_var)
        if buffer is not None
    ]
    if not statistics:
        return
    flat = torch.cat([buffer.flatten() for buffer in statistics])
    dist.all_reduce(flat)
    flat /= ranks.world
    for buffer, mean in zip(statistics, flat.split([buffer.numel() for buffer in statistics]), strict=True):
        buffer.copy_(mean.view_as(buffer))


def _environment(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise PruneError(f"torchrun: {name} {text!r} must be a whole number")
    return int(text)
