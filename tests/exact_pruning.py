"""A network and a pruning whose every sum is exact: one process and several must end with the same bits.

Weights and inputs are small integers, so sums do not depend on their order, and ties are many. DDP is wrapped around
the model, trains it, and stays out of the way while the bare module is scored.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crispsim.prune import CrispConfig, CrispPruner
from crispsim.prune.processes import Ranks
from crispsim.prune.training.distributed import parallel

CRITERIA = ("eq1", "abs")


def prune_by_hand(criterion: str, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    """Masks and a weight, after two iterations in which each process scores its share of four batches."""
    net = _net()
    pruner = CrispPruner(net, CrispConfig(block=8, sparsity=0.75, steps=2, criterion=criterion))
    pruner.prepare()
    wrapped = parallel(net, Ranks(rank, world), torch.device("cpu"))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.25, momentum=0.5)
    batches = [_integers(size, 36, seed=9 + size) for size in (4, 2, 3, 5)]
    while not pruner.finished:
        net.eval()
        pruner.begin_scoring()
        for batch in batches[rank::world]:
            net(batch).sum().div(len(batch)).mul(60).backward()
            pruner.accumulate(len(batch))
        pruner.step(optimizer)
        optimizer.zero_grad()
        wrapped(batches[0]).sum(1).mean().backward()  # the same batch everywhere: its average is itself
        optimizer.step()
    return {**pruner.finalize(), "weight": net[0].weight.detach()}


def step_with_other_weights(rank: int) -> None:
    """One iteration of processes whose weights differ."""
    net = _net()
    if rank == 1:
        with torch.no_grad():
            net[0].weight.mul_(torch.arange(36.0))
    pruner = CrispPruner(net, CrispConfig(block=8, sparsity=0.75, steps=2, criterion="magnitude"))
    pruner.prepare()
    pruner.step()


def _net() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(36, 12, bias=False), nn.Linear(12, 2, bias=False))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(_integers(*parameter.shape, seed=1))
    return net


def _integers(*shape: int, seed: int) -> Tensor:
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float()
