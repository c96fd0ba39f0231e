"""What a waiting user sees on standard error while a network trains: a bar with the time left, or a line an epoch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from ..prune.training import Progress as Event

_WORDS = {"train": "training", "score": "scoring", "evaluate": "evaluating", "step": "pruning"}


class TrainingProgress:
    """Takes the events of a training run; a context manager.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True, markup=False, emoji=False)
        self._quiet = quiet
        self._lines = not console.is_terminal
        self._start = time.monotonic()
        self._told = -1
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=console,
            transient=True,
            disable=quiet or self._lines,
        )
        self._task = self._bar.add_task("", total=None, state="")
        self._accuracy = ""

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def building(self, doing: str, done: int, total: int) -> None:
        """Take note of how far the making of a data set is."""
        self._bar.update(self._task, description=doing, completed=done, total=total, state=f"{done:,}/{total:,}")

    def update(self, event: Event) -> None:
        """Take note of an event."""
        left = "" if event.eta_seconds is None else f", {duration(event.eta_seconds)} left"
        steps = f", pruned {event.iteration} of {event.iterations} times" if event.iterations else ""
        if event.validation_accuracy is not None:
            self._accuracy = f", validation {event.validation_accuracy:.1%}"
        where = f"epoch {event.epoch} of {event.epochs}" if event.epochs else ""
        if event.batches:
            self._bar.update(self._task, total=event.batches, completed=event.batch)
        self._bar.update(
            self._task,
            description=f"{_WORDS.get(event.phase, event.phase)} {where}".rstrip(),
            state=f"{steps}{self._accuracy}{left}".removeprefix(", "),
        )
        if self._lines and not self._quiet and event.validation_accuracy is not None and event.epoch > self._told:
            self._told = event.epoch
            loss = "" if event.loss is None else f", loss {event.loss:.4f}"
            click.echo(f"{where}{steps}{loss}{self._accuracy}{left}", err=True)


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
