"""What an architecture is: a name, the weights it is given, and a way to set its machine up for a convolution group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ...formats.pattern import Pattern
from ..bitmaps import Counts
from ..blocking import ALL_IN_DRAM, Blocking, Residency
from ..input_pixels import InputPixels
from ..layer import Layer
from ..machine import Machine
from ..plan import Lowered
from ..weights import Weights

Datapath = Callable[[Lowered, Any, Machine, Weights, npt.NDArray[np.int8]], npt.NDArray[np.int32]]
Masks = Literal["given", "unstructured"]


class LoweredInput(Protocol):
    """The lowered input X[K, P] of a convolution group, as far as it decides cycles."""

    @property
    def pixels(self) -> InputPixels:
        """The pixels that its columns read."""
        ...

    def nonzeros_before(self) -> npt.NDArray[np.int64]:
        """Nonzeros of the group's channels in the needed pixels before each, and in all: int64, (count + 1,)."""
        ...

    def tile_counts(self, tile_columns: int) -> Counts:
        """Nonzeros of each tile of columns at each position of K: uint8, (ceil(P / tile_columns), K)."""
        ...


class Setup(Protocol):
    """A machine set up for one group's operands. Equal set-ups run alike, and are run once."""

    @property
    def mode(self) -> str:
        """How the machine runs, as the `mode` column says it."""
        ...

    def explain(self, machine: Machine) -> str:
        """What follows for the machine, in a line for `crispsim archs show`."""
        ...

    def lower(self, machine: Machine, rows: int, columns: int, residency: Residency = ALL_IN_DRAM) -> Lowered:
        """Lower a group of S = rows and P = columns to a plan."""
        ...

    def blocking(self, machine: Machine, rows: int, columns: int, residency: Residency = ALL_IN_DRAM) -> Blocking:
        """How the group is cut up on a machine with a DRAM level."""
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
        Sets the machine up for a group's weights and input; raises InputError where it cannot run them.
    check : callable
        Raises InputError where the machine cannot run this pattern or layer, before any weights are there.
    masks : {"given", "unstructured"}
        Whether it runs the weights given, or unstructured ones of the same sparsity.
    datapath : callable
        (lowered, set-up, machine, int8 weights, int8 activations (K, P)) -> int32 (S, P): moves values along the
        machine's path in the order of its plan; raises DatapathError where the plan moves what is not there.
    reads_activation_bitmaps : bool
        Whether its cycles depend on where the input is zero, and it keeps the input in compressed form.
    has_accumulation_buffer : bool
        Whether each core's partial sums lie in a buffer of their own rather than in the register file.
    selection_counts : tuple of str
        The counts that its selection logic costs energy for (docs/energy.md, E3): names in `Lowered`.
    """

    name: str
    summary: str
    setup: Callable[[Machine, Weights, LoweredInput], Setup]
    check: Callable[[Machine, Pattern, Layer], None]
    datapath: Datapath
    masks: Masks = "given"
    reads_activation_bitmaps: bool = False
    has_accumulation_buffer: bool = False
    selection_counts: tuple[str, ...] = ("mux2_selections",)
