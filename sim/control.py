"""Stopping a run from another thread, and seeing how far it is."""

from __future__ import annotations

import numpy as np

# Words of Control.words, shared between the kernels and the caller's thread.
STOP, PROGRESS = range(2)


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """The run was stopped from outside."""


class Control:
    """A flag that kernels look at and a counter that they write.

    >>> control = Control()
    >>> control.stop()
    >>> control.stopped
    True
    """

    def __init__(self) -> None:
        self.words = np.zeros(2, np.int64)

    def stop(self) -> None:
        """Ask whatever runs with this control to stop at the next opportunity."""
        self.words[STOP] = 1

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return bool(self.words[STOP])

    def check(self) -> None:
        """Raise Interrupted once `stop` was called."""
        if self.stopped:
            raise Interrupted

    @property
    def events(self) -> int:
        """Events represented so far in the plan that is running."""
        return int(self.words[PROGRESS])
