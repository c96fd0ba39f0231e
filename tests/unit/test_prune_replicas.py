"""Two processes (gloo) score their shares, get the masks of one, and refuse to differ."""

import contextlib
import io
import json
import subprocess
import sys

import pytest
import torch

from crispsim.prune.replicas import add_up, check_same, replicated

# Small integers as weights and inputs: every sum is exact in whatever order, and ties are many. DDP is wrapped around
# the model, trains it, and stays out of the way while the bare module is scored.
SCRIPT = """
import json, sys
import torch
from torch import distributed as dist, nn
from crispsim.prune import CrispConfig, CrispPruner, PruneError

rank, world, meeting = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
if world > 1:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)

def integers(*shape, seed):
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float()

def small_net(seed):
    net = nn.Sequential(nn.Linear(36, 12, bias=False), nn.Linear(12, 2, bias=False))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(integers(*parameter.shape, seed=seed))
    return net

batches = [integers(size, 36, seed=9 + size) for size in (4, 2, 3, 5)]

def prune(net, criterion):
    pruner = CrispPruner(net, CrispConfig(block=8, sparsity=0.75, steps=2, criterion=criterion))
    pruner.prepare()
    wrapped = nn.parallel.DistributedDataParallel(net, broadcast_buffers=False) if world > 1 else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.25, momentum=0.5)
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
    masks = [mask.int().tolist() for mask in pruner.finalize().values()]
    return masks, net[0].weight.tolist()

states = [prune(small_net(seed=1), criterion) for criterion in ("eq1", "abs")]
message = ""
if world > 1:
    try:
        net = small_net(seed=1)
        wrapped = nn.parallel.DistributedDataParallel(net, broadcast_buffers=False)
        pruner = CrispPruner(net, CrispConfig(block=8, sparsity=0.75, steps=2, criterion="magnitude"))
        pruner.prepare()
        if rank == 1:
            with torch.no_grad():
                next(net.parameters()).mul_(torch.arange(36.0))
        pruner.step()
    except PruneError as fault:
        message = str(fault)
    dist.destroy_process_group()
print(json.dumps({"states": states, "message": message}))
"""


def alone():
    said = io.StringIO()
    arguments, sys.argv = sys.argv, ["script", "0", "1", ""]
    try:
        with contextlib.redirect_stdout(said):
            exec(SCRIPT, {})
    finally:
        sys.argv = arguments
    return json.loads(said.getvalue())


def together(meeting):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), "2", str(meeting)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        yield json.loads(out.splitlines()[-1])


def test_two_processes_prune_as_one_and_stop_if_they_differ(tmp_path):
    first, second = together(tmp_path / "meeting")
    expected = alone()["states"]
    assert expected[0] != expected[1]  # the criteria choose differently
    assert first["states"] == second["states"] == expected
    assert first["message"] == "masks of process 1 differ from those of process 0: must be the same"
    assert second["message"] == first["message"]


@pytest.mark.parametrize("tensors", [[], [torch.ones(2)]])
def test_a_single_process_needs_nothing(tensors):
    assert not replicated()
    before = [tensor.clone() for tensor in tensors]
    add_up(tensors)
    check_same("masks", tensors, torch.device("cpu"))
    assert all(torch.equal(one, other) for one, other in zip(tensors, before, strict=True))
