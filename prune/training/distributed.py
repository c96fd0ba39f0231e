"""Several processes on one run: torchrun's group, and DDP over the model. What they send: `prune/processes.py`."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ...formats.errors import one_line
from ..errors import PruneError
from ..processes import Ranks, average, in_group

_STATISTICS = ("running_mean", "running_var")


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
        The device is not there, the environment is not whole, or torch was built without torch.distributed.
    """
    if in_group():
        yield Ranks(dist.get_rank(), dist.get_world_size(), _environment("LOCAL_RANK", dist.get_rank()))
        return
    world = _environment("WORLD_SIZE", 1)
    if world == 1:
        yield Ranks()
        return
    if not dist.is_available():
        raise PruneError(f"torchrun: WORLD_SIZE is {world}, but this build of torch has no torch.distributed")
    local_rank = _environment("LOCAL_RANK", 0)
    chosen = find_device(device, local_rank)
    if chosen.type == "cuda":
        if ":" in device:
            raise PruneError(f"device {device!r}: must be 'cuda' with {world} processes, each on a GPU of its own")
        torch.cuda.set_device(chosen)
    try:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    except ValueError as error:
        raise PruneError(f"torchrun: WORLD_SIZE is {world}, but {one_line(error)}") from error
    try:
        yield Ranks(dist.get_rank(), world, local_rank)
    finally:
        # DDP's wrappers hold the group, and are cycles: alive at exit, its threads now and then abort the process.
        gc.collect()
        dist.destroy_process_group()


def parallel(model: nn.Module, ranks: Ranks, device: torch.device, *, some_unused: bool = False) -> nn.Module:
    """The module to call in training: averages gradients over the ranks; the model itself where there is one.

    Buffers are not sent at each step: masks are the same on all ranks, BatchNorm is averaged once an epoch. Without
    `some_unused` DDP waits for the gradients of all parameters; with it, it looks through each graph for those unused.
    """
    if ranks.world == 1:
        return model
    devices = [device.index] if device.type == "cuda" else None
    with warnings.catch_warnings():
        # New versions of torch ask for other words, which older ones do not know.
        warnings.filterwarnings("ignore", message=".*broadcast_buffers.*", category=FutureWarning)
        return DistributedDataParallel(
            model, device_ids=devices, broadcast_buffers=False, find_unused_parameters=some_unused
        )


def average_statistics(model: nn.Module) -> None:
    """Give all ranks the mean of their running means and variances of BatchNorm (and its like); in place.

    Each rank saw other images. The mean of variances leaves out how much the ranks' means differ, which is small
    against the variances: every rank sees a random share of the same set.
    """
    average(
        buffer
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
        if name in _STATISTICS
    )


def _environment(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise PruneError(f"torchrun: {name} {text!r} must be a whole number")
    return int(text)
