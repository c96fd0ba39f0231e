"""What a study finds: conclusions, gains and largest parts, each with how far it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["stands", "stands one at a time", "depends"]
Measure = Literal["energy", "edp"]
Choice = tuple[str, str]  # an item and the label of its option


@dataclass(frozen=True, kw_only=True)
class Range:
    """The least and the greatest value of a ratio, and what it takes to get there."""

    least: float
    greatest: float
    least_with: tuple[Choice, ...]
    greatest_with: tuple[Choice, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A statement and how far it stands.

    Parameters
    ----------
    verdict : str
        "stands": with every combination. "stands one at a time": with every alternative alone, not with every
        combination. "depends": not with some alternative alone.
    overturned_by : tuple of Choice
        Every alternative that alone turns it over.
    share : float
        Of all combinations, those with which it holds.
    """

    verdict: Verdict
    overturned_by: tuple[Choice, ...]
    share: float


@dataclass(frozen=True, kw_only=True)
class Conclusion(Finding):
    """Architecture `a` takes less energy, or a smaller energy-delay product, than `b`; with `equal`, the same.

    ratio : of b over a in the run. one_at_a_time, all_at_once : how far it goes.
    """

    measure: Measure
    a: str
    b: str
    equal: bool
    ratio: float
    one_at_a_time: Range
    all_at_once: Range


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Energy of `over`, dense on the architecture's own machine, over the architecture's own."""

    arch: str
    over: str
    gain: float
    one_at_a_time: Range
    all_at_once: Range


@dataclass(frozen=True, kw_only=True)
class LargestPart(Finding):
    """The largest part of an architecture's energy; of_energy is its share in the run. others : what else may be."""

    arch: str
    part: str
    of_energy: float
    others: tuple[str, ...]
