"""What a waiting user sees of a training, on a terminal and elsewhere. Needs no torch."""

import os
import pty
import subprocess
import sys
from types import SimpleNamespace

import pytest

from crispsim.cli.training_progress import TrainingProgress, share_done

SCRIPT = """
import os, sys, time
os.environ["COLUMNS"] = sys.argv[1]
from types import SimpleNamespace
from crispsim.cli.training_progress import TrainingProgress

def event(phase, epoch, **more):
    defaults = dict(batch=0, batches=0, iteration=0, iterations=2, loss=None, validation_accuracy=None, eta_seconds=75)
    return SimpleNamespace(phase=phase, epoch=epoch, epochs=8, **defaults | more)

with TrainingProgress(quiet=False) as progress:
    time.sleep(0.15)
    progress.building("drawing", 10, 40)
    time.sleep(0.15)
    progress.building("drawing", 40, 40)
    time.sleep(0.15)
    progress.update(event("train", 2, batch=1, batches=2))
    time.sleep(0.15)
    progress.update(event("evaluate", 2, validation_accuracy=0.5, iteration=1))
    progress.update(event("score", 2, batch=1, batches=2, iteration=1))
    time.sleep(0.15)
    if len(sys.argv) > 2:
        raise KeyboardInterrupt
"""


def event(phase="train", epoch=1, epochs=4, batch=0, batches=0, iteration=0, iterations=0, **more):
    given = {"loss": None, "validation_accuracy": None, "eta_seconds": None} | more
    return SimpleNamespace(
        phase=phase, epoch=epoch, epochs=epochs, batch=batch, batches=batches, iteration=iteration,
        iterations=iterations, **given,
    )  # fmt: skip


def on_a_terminal(*arguments):
    """What the script writes to a terminal, frame by frame."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    raw = b""
    try:
        while data := os.read(ours, 65536):
            raw += data
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    process.wait(timeout=30)
    return raw.decode()


@pytest.mark.parametrize("width", [80, 140])
def test_a_bar_with_words_from_the_first_frame_on(width):
    raw = on_a_terminal(str(width))
    first = raw.index("loading data and network")
    assert "━" not in raw[:first]
    words = (
        "drawing ",
        "10/40",
        "loading",
        "training epoch 2 of 8",
        " 15%, 1 min 15 s left",
        "scoring for pruning 2 of 2",
    )
    for said in words:
        first = raw.index(said, first)
    assert " 35%, 1 min 15 s left, validation 50.0%" in raw[first:] or width == 80
    assert ("pruned 1 of 2 times" in raw) == (width == 140)
    assert raw.endswith("\x1b[1A\x1b[2K"), "the line is taken back"
    assert raw.count("\n") == 1, "no frame wraps"


def test_an_interruption_takes_the_bar_back():
    raw = on_a_terminal("80", "interrupted")
    bar, message = raw.split("\x1b[1A\x1b[2K")
    assert "KeyboardInterrupt" in message and "━" not in message
    assert "KeyboardInterrupt" not in bar


def test_a_line_an_epoch_elsewhere(capsys):
    with TrainingProgress(quiet=False) as progress:
        progress.update(event(batch=1, batches=2, eta_seconds=3.0))
        progress.update(event("evaluate", loss=1.5, validation_accuracy=0.25, eta_seconds=2.0, iterations=1))
        progress.update(event("step", iteration=1, iterations=1, eta_seconds=1.0))
        progress.update(
            event("evaluate", 2, loss=0.5, validation_accuracy=0.75, eta_seconds=1.0, iteration=1, iterations=1)
        )
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "epoch 1 of 4, pruned 0 of 1 times, loss 1.5000, validation 25.0%, 2 s left",
        "epoch 2 of 4, pruned 1 of 1 times, loss 0.5000, validation 75.0%, 1 s left",
    ]


def test_the_share_is_of_the_whole_run():
    assert share_done(event(batch=1, batches=2)) == 0.5 / 4
    assert share_done(event("evaluate", 4)) == 1
    assert share_done(event("evaluate", 2, iterations=4)) == 2 / 8
    assert share_done(event("score", 2, batch=1, batches=4, iterations=4)) == 2.25 / 8
    assert share_done(event("step", 2, iteration=1, iterations=4)) == 3 / 8
    assert share_done(event("train", 3, batch=1, batches=2, iteration=1, iterations=4)) == 3.5 / 8
    assert share_done(event("score", 0, 0, batch=1, batches=2, iteration=1, iterations=2)) == 0.75
    assert share_done(event("step", 0, 0)) == 1
