"""What a waiting user sees on standard error while a network trains: a bar with the time left, or a line an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from ..prune.training import Progress as Event

_LOADING = "loading data and network"
_BAR_WIDTH = 20
# Blanks between the columns, and room for the ^C that a terminal shows: a bar that wraps cannot be taken back.
_SPARE = 6


class TrainingProgress:
    """Takes the events of a training run; a context manager. The bar is the whole run's and vanishes with it.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, markup=False, emoji=False)
        self._quiet = quiet
        self._lines = not self._console.is_terminal
        self._told = -1
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=_BAR_WIDTH),
            TextColumn("{task.fields[state]}", markup=False),
            console=self._console,
            transient=True,
            disable=quiet or self._lines,
        )
        self._task = self._bar.add_task(_LOADING, total=None, state="")
        self._accuracy = ""

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def building(self, doing: str, done: int, total: int) -> None:
        """Take note of how far the making of a data set is."""
        if done < total:
            self._show(doing, done / total, f"{done:,}/{total:,}")
        else:
            self._bar.remove_task(self._task)  # rich knows no way back to a bar that only says that it lives
            self._task = self._bar.add_task(_LOADING, total=None, state="")

    def update(self, event: Event) -> None:
        """Take note of an event."""
        left = "" if event.eta_seconds is None else f"{duration(event.eta_seconds)} left"
        pruned = f"pruned {event.iteration} of {event.iterations} times" if event.iterations else ""
        if event.validation_accuracy is not None:
            self._accuracy = f"validation {event.validation_accuracy:.1%}"
        share = share_done(event)
        self._show(_doing(event), share, f"{share:4.0%}", left, self._accuracy, pruned)
        if self._lines and not self._quiet and event.validation_accuracy is not None and event.epoch > self._told:
            self._told = event.epoch
            where = f"epoch {event.epoch} of {event.epochs}" if event.epochs else ""
            loss = "" if event.loss is None else f"loss {event.loss:.4f}"
            click.echo(", ".join(filter(None, (where, pruned, loss, self._accuracy, left))), err=True)

    def _show(self, doing: str, share: float, *said: str) -> None:
        """Draw the bar, and of what there is to say as much as the terminal's line holds."""
        room = self._console.width - len(doing) - _BAR_WIDTH - _SPARE
        state = ""
        for text in filter(None, said):
            longer = f"{state}, {text}" if state else text
            if len(longer) <= room:
                state = longer
        self._bar.update(self._task, description=doing, total=1, completed=share, state=state)


def share_done(event: Event) -> float:
    """How much of the run is done, 0..1, an iteration of the pruner taken to be as much as an epoch."""
    whole = event.epochs + event.iterations
    if not whole:
        return 1.0
    epochs = event.epoch - 1 if event.phase == "train" else event.epoch
    return (epochs + event.iteration + (event.batch / event.batches if event.batches else 0)) / whole


def _doing(event: Event) -> str:
    if event.phase == "train":
        return f"training epoch {event.epoch} of {event.epochs}"
    if event.phase == "score":
        return f"scoring for pruning {event.iteration + 1} of {event.iterations}"
    if event.epoch == event.epochs and event.iteration == event.iterations:
        return "evaluating"
    return f"pruned, {event.iteration} of {event.iterations}" if event.phase == "step" else f"epoch {event.epoch} done"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, the two that matter.

    >>> duration(75.2)
    '1 min 15 s'
    """
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
