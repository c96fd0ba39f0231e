"""What a training run tells its caller while it goes: plain events through a callback, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

# Events of batches come at most this often: a callback that draws must not slow down a tiny network.
_INTERVAL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One event.

    Parameters
    ----------
    phase : str
        "train", "score", "evaluate" (an epoch, or all the work, is over) or "step" (masks were made).
    epoch, epochs : int
        Epochs complete or, in training, the one under way counted from 1; and all of them.
    batch, batches : int
        Batches complete in this phase, and all of it; 0 of 0 where there are none.
    iteration, iterations : int
        Pruning iterations complete, and all of them; 0 of 0 where nothing is pruned.
    loss : float, optional
        Of the last batch; at the end of an epoch, of the epoch.
    validation_accuracy : float, optional
        At the end of an epoch, 0..1.
    eta_seconds : float, optional
        Left, from the mean batch so far; None before the first.
    """

    phase: str
    epoch: int
    epochs: int
    batch: int = 0
    batches: int = 0
    iteration: int = 0
    iterations: int = 0
    loss: float | None = None
    validation_accuracy: float | None = None
    eta_seconds: float | None = None


ProgressCallback = Callable[[Progress], None]


class Meter:
    """Counts batches, estimates what is left, and calls back.

    Parameters
    ----------
    callback : callable, optional
        Takes a Progress; None for silence.
    epochs, iterations : int
    work : int
        Batches to come, trained and scored ones together.
    """

    def __init__(self, callback: ProgressCallback | None, epochs: int, iterations: int, work: int) -> None:
        self.epoch = 0
        self.iteration = 0
        self._callback = callback
        self._epochs = epochs
        self._iterations = iterations
        self._work = work
        self._done = 0
        self._start = self._last = time.monotonic()

    def batch(self, phase: str, batch: int, batches: int, loss: Tensor | None = None) -> None:
        """A batch is complete; the loss is read, which waits for the device, only if it is told."""
        self._done += 1
        now = time.monotonic()
        if self._callback is not None and now - self._last >= _INTERVAL_SECONDS:
            self.tell(phase, batch, batches, None if loss is None else float(loss))

    def tell(
        self,
        phase: str,
        batch: int = 0,
        batches: int = 0,
        loss: float | None = None,
        validation_accuracy: float | None = None,
    ) -> None:
        """Call back now."""
        if self._callback is None:
            return
        self._last = time.monotonic()
        eta = (self._last - self._start) / self._done * max(0, self._work - self._done) if self._done else None
        self._callback(
            Progress(
                phase=phase,
                epoch=self.epoch,
                epochs=self._epochs,
                batch=batch,
                batches=batches,
                iteration=self.iteration,
                iterations=self._iterations,
                loss=loss,
                validation_accuracy=validation_accuracy,
                eta_seconds=eta,
            )
        )
