"""Two processes under torchrun, on the CPU: the same masks and weights on both; masks that one process would make."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny_training import CONFIG, TRAINING, assert_same_tensors, tiny_run

ROOT = Path(__file__).parents[2]
MASKS_ONLY = replace(TRAINING, epochs=0)

# Each process writes what it ended with; it starts from weights of its own, which must not matter.
SCRIPT = """
import faulthandler, os, sys
faulthandler.dump_traceback_later(100, exit=True)  # a hang says where, and ends
from dataclasses import replace
from pathlib import Path
import torch
from crispsim.prune.training import personalise, process_group
from tests.tiny_training import CLASSES, CONFIG, TRAINING, summary, tiny_model, tiny_splits

folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])

class Stop:
    left = 11
    def __call__(self, name, augmented):
        # Training batches only: both processes have as many, so both stop at the same place.
        self.left -= augmented
        if self.left == 0:
            raise KeyboardInterrupt

def run(name, training, config=CONFIG, watch=lambda *what: None, **options):
    model = tiny_model()
    if rank == 1:
        with torch.no_grad():
            model.conv1.weight.add_(1.0)
    told = []
    data = tiny_splits(watch)
    done = personalise(model, data, CLASSES, config, training, folder / name, progress=told.append, **options)
    torch.save({"model": dict(done.model.state_dict()), "masks": done.masks, "summary": summary(done),
                "told": len(told)}, folder / f"{name}-{rank}.pt")

with process_group("cpu") as ranks:
    assert (ranks.rank, ranks.world) == (rank, 2)
    run("trained", TRAINING)
    run("eq1", replace(TRAINING, epochs=0))
    run("abs", replace(TRAINING, epochs=0), replace(CONFIG, criterion="abs"))
    # 4 classes of 2 images, in one batch of 10: rank 1 has nothing to score.
    run("few", replace(TRAINING, epochs=0, samples_per_class=2))
    try:
        run("cut", TRAINING, watch=Stop())
    except KeyboardInterrupt:
        run("cut", TRAINING, resume=True)
assert not torch.distributed.is_initialized()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("two")
    (path / "two.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(path / "two.py"), str(path)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Warning" not in done.stderr
    return path


def ends(folder, name):
    return [torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", ["trained", "eq1", "abs", "few", "cut"])
def test_both_processes_end_the_same(folder, name):
    first, second = ends(folder, name)
    assert_same_tensors(first["model"], second["model"])
    assert_same_tensors(first["masks"], second["masks"])
    assert first["summary"] == second["summary"]
    assert first["told"] > 0
    assert second["told"] == 0, "only rank 0 tells of progress"


@pytest.mark.parametrize(
    ("name", "config", "training"),
    [("eq1", CONFIG, MASKS_ONLY), ("abs", replace(CONFIG, criterion="abs"), MASKS_ONLY),
     ("few", CONFIG, replace(MASKS_ONLY, samples_per_class=2))],
)  # fmt: skip
def test_scores_are_those_of_one_process(folder, tmp_path, name, config, training):
    """Sums over the ranks differ from one process's in the last bits only; no two scores here are that close."""
    alone = tiny_run(tmp_path, config=config, training=training)
    assert_same_tensors(ends(folder, name)[0]["masks"], alone.masks)


def test_two_processes_learn(folder):
    (before, _, after, _), history = ends(folder, "trained")[0]["summary"]
    assert before < 0.5 < after
    assert len(history) == 7
    assert [record["iteration"] for record in history] == [0, 0, 1, 1, 2, 2, 2]


def test_an_interrupted_run_of_two_ends_the_same(folder):
    whole, cut = ends(folder, "trained")[0], ends(folder, "cut")[0]
    assert_same_tensors(cut["model"], whole["model"])
    assert cut["summary"] == whole["summary"]
