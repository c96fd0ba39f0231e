"""Standard output as a Rich console that prints names as they are."""

from __future__ import annotations

import sys
import textwrap

import click
from rich.console import Console, RenderableType


class Terminal(Console):
    """A console without markup, emoji or highlighting, for the user's own names."""

    def __init__(self, **options) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Leave it to the command's entry, which knows the exit code."""
        raise BrokenPipeError

    def print_rows(self, what: RenderableType, *, style: str | None = None) -> None:
        """Print something; where the output is no terminal, without the blanks that fill its lines up."""
        if self.is_terminal:
            self.print(what, style=style)
            return
        with self.capture() as captured:
            self.print(what, style=style)
        try:
            self.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
            self.file.flush()
        except BrokenPipeError:
            self.on_broken_pipe()

    def wider(self, width: int) -> Terminal:
        """The same terminal, taken to be so wide: it wraps what does not fit, where Rich would crop."""
        return Terminal(width=width, file=self.file, force_terminal=self.is_terminal)


def terminal(width_elsewhere: int) -> Terminal:
    """Standard output; as wide as given where it is no terminal."""
    return Terminal(width=None if sys.stdout.isatty() else width_elsewhere)


def say(text: str, *, err: bool = False) -> None:
    """Print a line of prose, wrapped at words where it goes to a terminal; as one line where it does not.

    Parameters
    ----------
    text : str
    err : bool
        To standard error.
    """
    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        width = Terminal(stderr=err).width
        text = "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)) or text
    click.echo(text, err=err)
