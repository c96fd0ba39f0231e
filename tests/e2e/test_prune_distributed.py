"""Two processes under torchrun, on the CPU: the same masks and weights on both; masks that one process would make."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.exact_pruning import CRITERIA, prune_by_hand
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
from crispsim.prune import PruneError
from crispsim.prune.training import personalise
from crispsim.prune.training.distributed import process_group
from tests.exact_pruning import CRITERIA, prune_by_hand, step_with_other_weights
from tests.tiny_training import CLASSES, CONFIG, TRAINING, summary, tiny_model, tiny_splits

folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])

class Stop:
    left = 11
    def __call__(self, name, augmented):
        # Training batches only: both processes have as many, so both stop at the same place.
        self.left -= augmented
        if self.left == 0:
            raise KeyboardInterrupt

def run(name, training, config=CONFIG, watch=lambda *what: None, tests=7, unused=False, **options):
    model = tiny_model()
    if unused:
        model.aside = torch.nn.BatchNorm2d(3)
    if rank == 1:
        with torch.no_grad():
            model.conv1.weight.add_(1.0)
    told = []
    data = tiny_splits(watch, tests)
    done = personalise(model, data, CLASSES, config, training, folder / name, progress=told.append, **options)
    torch.save({"model": dict(done.model.state_dict()), "masks": done.masks, "summary": summary(done),
                "told": len(told)}, folder / f"{name}-{rank}.pt")

with process_group("cpu") as ranks:
    assert (ranks.rank, ranks.world) == (rank, 2)
    run("trained", TRAINING)
    run("unused", TRAINING, unused=True)
    # 4 classes of 60 test images, in two batches: rank 1 counts in the accuracy before, with rank 0's weights.
    run("eq1", replace(TRAINING, epochs=0), tests=60)
    run("abs", replace(TRAINING, epochs=0), replace(CONFIG, criterion="abs"))
    # 4 classes of 2 images, in one batch of 10: rank 1 has nothing to score.
    run("few", replace(TRAINING, epochs=0, samples_per_class=2))
    try:
        run("cut", TRAINING, watch=Stop())
    except KeyboardInterrupt:
        run("cut", TRAINING, resume=True)
    for criterion in CRITERIA:
        torch.save(prune_by_hand(criterion, rank, 2), folder / f"by hand {criterion}-{rank}.pt")
    try:
        step_with_other_weights(rank)
    except PruneError as error:
        (folder / f"other weights-{rank}.txt").write_text(str(error))
assert not torch.distributed.is_initialized()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("two")
    (path / "two.py").write_text(SCRIPT)
    path_first = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(path / "two.py"), str(path)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path_first), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Warning" not in done.stderr
    return path


def ends(folder, name):
    return [torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", ["trained", "unused", "eq1", "abs", "few", "cut"])
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


def test_parameters_that_the_model_does_not_use_change_nothing(folder):
    """DDP would wait for their gradients: the second batch ends in its error."""
    with_them, without = ends(folder, "unused")[0], ends(folder, "trained")[0]
    aside = {name: tensor for name, tensor in with_them["model"].items() if name.startswith("aside.")}
    assert_same_tensors({name: with_them["model"][name] for name in without["model"]}, without["model"])
    assert set(with_them["model"]) == {*without["model"], *aside}
    assert_same_tensors(aside, {f"aside.{name}": one for name, one in torch.nn.BatchNorm2d(3).state_dict().items()})
    assert with_them["summary"] == without["summary"]


def test_the_accuracy_before_is_that_of_the_first_processs_weights(folder, tmp_path):
    alone = tiny_run(tmp_path, training=MASKS_ONLY, tests=60)
    for end in ends(folder, "eq1"):
        assert end["summary"][0][0] == alone.accuracy_before


@pytest.mark.parametrize("criterion", CRITERIA)
def test_two_processes_prune_as_one(folder, criterion):
    alone = prune_by_hand(criterion)
    for end in ends(folder, f"by hand {criterion}"):
        assert_same_tensors(end, alone)


def test_the_criteria_of_the_test_before_choose_differently():
    first, other = (prune_by_hand(criterion) for criterion in CRITERIA)
    assert not torch.equal(first["0"], other["0"])


def test_processes_that_differ_stop(folder):
    said = [(folder / f"other weights-{rank}.txt").read_text() for rank in range(2)]
    assert said == ["masks of process 1 differ from those of process 0: must be the same"] * 2


def test_two_processes_learn(folder):
    (before, _, after, _), history = ends(folder, "trained")[0]["summary"]
    assert before < 0.5 < after
    assert len(history) == 7
    assert [record["iteration"] for record in history] == [0, 0, 1, 1, 2, 2, 2]


def test_an_interrupted_run_of_two_ends_the_same(folder):
    whole, cut = ends(folder, "trained")[0], ends(folder, "cut")[0]
    assert_same_tensors(cut["model"], whole["model"])
    assert cut["summary"] == whole["summary"]
