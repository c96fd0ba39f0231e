"""Standard output as a Rich console that prints names as they are."""

from __future__ import annotations

import sys

from rich.console import Console


class Terminal(Console):
    """A console without markup, emoji or highlighting, for the user's own names."""

    def __init__(self, **options) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Leave it to the command's entry, which knows the exit code."""
        raise BrokenPipeError

    def wider(self, width: int) -> Terminal:
        """The same terminal, taken to be so wide: it wraps what does not fit, where Rich would crop."""
        return Terminal(width=width, file=self.file, force_terminal=self.is_terminal)


def terminal(width_elsewhere: int) -> Terminal:
    """Standard output; as wide as given where it is no terminal."""
    return Terminal(width=None if sys.stdout.isatty() else width_elsewhere)
