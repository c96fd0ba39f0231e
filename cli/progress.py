"""What a waiting user sees on standard error: that kernels are being compiled, and how far the layers are."""

from __future__ import annotations

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..formats.jit import kernels_are_compiled
from ..sim import Layer
from .tables import short_name


class LayerProgress:
    """A progress bar over the layers, with the time left; a context manager.

    Parameters
    ----------
    doing : str
        What is done to the layers.
    shown : bool
        Whether there is a bar.
    announce : bool
        Whether to say, before the first layer, that kernels have to be compiled.
    """

    def __init__(self, doing: str, *, shown: bool, announce: bool) -> None:
        self._announce = announce
        self._bar = Progress(
            TextColumn(f"{doing} {{task.fields[layer]}}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("layers, left"),
            TimeRemainingColumn(),
            console=Console(stderr=True, markup=False, emoji=False),
            transient=True,
            disable=not shown,
        )
        self._task = self._bar.add_task("", total=None, layer="")

    def __enter__(self) -> LayerProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, layer: Layer, done: int, total: int) -> None:
        """Take note that so many of all layers are done; the first call, with none, begins."""
        if done == 0:
            if self._announce and not kernels_are_compiled():
                click.echo(
                    "compiling the simulation kernels: once per version and machine, about 25 seconds ...", err=True
                )
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total, layer=short_name(layer.name))
