"""One process, alone: nothing is sent, whatever torch can do."""

import pytest
import torch
from torch import distributed as dist

from crispsim.prune import PruneError, processes
from crispsim.prune.training.distributed import process_group
from tests.tiny_training import tiny_model


@pytest.mark.parametrize("built", [True, False])
def test_a_process_alone_sends_nothing(monkeypatch, built):
    if not built:
        monkeypatch.setattr(dist, "is_available", lambda: False)
        monkeypatch.delattr(dist, "is_initialized")
    assert processes.alone()
    model, tensors = tiny_model(), [torch.ones(2), torch.arange(3)]
    processes.add_up(tensors)
    processes.average(tensors)
    processes.check_same("masks", tensors, torch.device("cpu"))
    processes.copy_from_main(model)
    assert processes.from_main("value") == "value"
    assert [tensor.tolist() for tensor in tensors] == [[1, 1], [0, 1, 2]]
    with process_group("cpu") as ranks:
        assert (ranks, ranks.main) == (processes.Ranks(), True)


def test_torchrun_with_a_torch_that_cannot(monkeypatch):
    monkeypatch.setattr(dist, "is_available", lambda: False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PruneError, match=r"WORLD_SIZE is 2, but this build of torch has no torch\.distributed"):
        process_group("cpu").__enter__()
