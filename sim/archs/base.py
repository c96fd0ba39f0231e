"""What an architecture is: a name, and a way to set its machine up for one convolution group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ...formats.pattern import Pattern
from ..machine import Machine
from ..plan import Lowered
from ..weights import Weights


class Setup(Protocol):
    """A machine set up for one group's weights. Equal set-ups run alike, and are run once."""

    @property
    def mode(self) -> str:
        """How the machine runs, as the `mode` column says it."""
        ...

    def explain(self, machine: Machine) -> str:
        """What follows for the machine, in a line for `crispsim archs show`."""
        ...

    def lower(self, machine: Machine, rows: int, columns: int) -> Lowered:
        """Lower a group of S = rows and P = columns to a plan."""
        ...


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture.

    Parameters
    ----------
    name : str
        As in `--arch` and the `arch` column.
    summary : str
        One sentence for `crispsim archs`.
    setup : callable
        Sets the machine up for a group's weights; raises InputError where it cannot run them.
    check : callable
        Raises InputError where the machine cannot run this pattern, before any weights are there.
    """

    name: str
    summary: str
    setup: Callable[[Machine, Weights], Setup]
    check: Callable[[Machine, Pattern], None]
