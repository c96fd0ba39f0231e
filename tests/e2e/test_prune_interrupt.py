"""A run killed outright (SIGKILL: no Python code of ours runs after it) goes on to the same end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crispsim.prune.training import read_checkpoint
from tests.tiny_training import assert_same_result, tiny_run

ROOT = Path(__file__).parents[2]

# The first argument is the folder; the second, how many calls of the watched function come before the kill.
KILLED_IN_A_BATCH = """
import os, signal, sys
from pathlib import Path
from tests.tiny_training import tiny_run

left = int(sys.argv[2])
def watch(name, augmented):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

tiny_run(Path(sys.argv[1]), watch=watch)
"""

KILLED_IN_A_WRITE = """
import os, signal, sys
from pathlib import Path
import torch
from tests.tiny_training import tiny_run

left, save = int(sys.argv[2]), torch.save
def half(content, file):
    global left
    left -= 1
    if left == 0:
        file.write(b"PK" * 1000)
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(content, file)

torch.save = half
tiny_run(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("whole"))


# 3 batches before the first epoch, 6 an epoch with its validation, 5 an iteration: epochs 1 and 2 end with batch 15,
# iteration 1 with 20, epoch 4 with 32, iteration 2 with 37; 42 is in epoch 5. Write 4 is epoch 3's (after epoch 1,
# epoch 2 and iteration 1).
@pytest.mark.parametrize(
    ("script", "count", "epochs", "iteration"),
    [(KILLED_IN_A_BATCH, 42, 4, 2), (KILLED_IN_A_WRITE, 4, 2, 1)],
    ids=["in a batch", "in a write"],
)
def test_a_killed_run_ends_the_same(tmp_path, whole, script, count, epochs, iteration):
    command = [sys.executable, "-c", script, str(tmp_path), str(count)]
    killed = subprocess.run(command, check=False, cwd=ROOT, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    state = read_checkpoint(tmp_path / "checkpoint.pt")["state"]
    assert (state["progress"]["epoch"], state["pruner"]["iteration"]) == (epochs, iteration)
    assert_same_result(tiny_run(tmp_path, resume=True), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"], "the half-written file is gone too"
