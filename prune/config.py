"""What a pruning run is asked for: pattern, block, sparsity, iterations and the choices among the rules."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from ..formats.errors import PatternError
from ..formats.pattern import SPARSITY_TOLERANCE, Pattern
from .errors import PruneError
from .masks import CRITERIA, NORMALISE, SCHEDULES

MAX_STEPS = 10_000

# Fraction() works out 10 to the power that the text asks for, however large: the text is bounded first.
_NUMBER = re.compile(r"[+-]?(\d+/\d+|(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?)", re.ASCII | re.IGNORECASE)
_LONGEST_NUMBER = 40


@dataclass(frozen=True, kw_only=True)
class CrispConfig:
    """A pruning run.

    Parameters
    ----------
    nm : (int, int)
        At most N of every M neighbours along K are kept, 1 <= N <= M <= 256. N = M is kept as (1, 1):
        no fine-grained half.
    block : int, optional
        Side B of the blocks, a multiple of M; None for no blocks.
    sparsity : float, str or Fraction
        kappa, the share of zero weights asked of all prunable layers together, from 1 - N/M up to, not
        including, 1. Read exactly from its text, of at most 40 characters: 0.9 is 9/10, "2/3" is 2/3. What is
        within 1e-6 of 1 - N/M is 1 - N/M, since 2/3 has no exact decimal. Kept as the float that reads as the
        same number, or as text where there is none.
    steps : int
        n, iterations, at most 10000; 0 only if nothing is pruned.
    criterion : {"eq1", "abs", "magnitude"}
        R5.
    normalise : {"weights", "raw"}
        R9.
    schedule : {"linear", "cubic"}
        R12.
    sr_ste : float
        lambda of SR-STE, at least 0 (R13).
    include, exclude : tuple of str
        Shell-style patterns of layer names (R2).

    Raises
    ------
    PruneError
        A value breaks its rule.

    >>> CrispConfig(sparsity="0.90").kappa
    Fraction(9, 10)
    """

    nm: tuple[int, int] = (2, 4)
    block: int | None = 64
    sparsity: float | str | Fraction = 0.9
    steps: int = 5
    criterion: str = "eq1"
    normalise: str = "weights"
    schedule: str = "linear"
    sr_ste: float = 0.0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pattern = _pattern(self.nm, self.block)
        object.__setattr__(self, "nm", (pattern.n, pattern.m))
        object.__setattr__(self, "sparsity", _plain(_sparsity(self.sparsity, pattern)))
        object.__setattr__(self, "sr_ste", _decay(self.sr_ste))
        for field in ("include", "exclude"):
            object.__setattr__(self, field, _patterns(field, getattr(self, field)))
        for field, known in (("criterion", CRITERIA), ("normalise", NORMALISE), ("schedule", SCHEDULES)):
            if getattr(self, field) not in known:
                raise PruneError(f"{field} {getattr(self, field)!r}: must be one of {', '.join(known)}")
        if not _is_integer(self.steps) or self.steps < 0 or (self.steps == 0 and not self.dense):
            raise PruneError(f"steps {self.steps!r}: must be an integer, at least 1 (0 if nothing is pruned)")
        if self.steps > MAX_STEPS:
            raise PruneError(f"steps: must be at most {MAX_STEPS}")
        if self.block is None and self.kappa > self.kappa_0:
            raise PruneError(
                f"sparsity {self.sparsity}: without blocks it must be that of {pattern.nm}, {float(self.kappa_0):g}"
            )

    @property
    def pattern(self) -> Pattern:
        """N:M and block."""
        return Pattern(n=self.nm[0], m=self.nm[1], block=self.block)

    @property
    def kappa(self) -> Fraction:
        """The sparsity asked for, exactly."""
        return Fraction(str(self.sparsity))

    @property
    def kappa_0(self) -> Fraction:
        """The sparsity of N:M alone, 1 - N/M."""
        return 1 - Fraction(*self.nm)

    @property
    def dense(self) -> bool:
        """Nothing is pruned: N = M and a sparsity of 0."""
        return self.nm == (1, 1) and self.kappa == 0

    def to_dict(self) -> dict[str, Any]:
        """The fields as numbers, strings, lists and None; `from_dict` makes an equal configuration of them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CrispConfig:
        """A configuration from its fields; those left out have their defaults.

        Raises
        ------
        PruneError
            A field is unknown, or a value breaks its rule.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise PruneError(f"configuration field {name!r}: must be one of {', '.join(known)}")
        return cls(**values)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _pattern(nm: Any, block: Any) -> Pattern:
    if not isinstance(nm, (tuple, list)) or len(nm) != 2 or not all(_is_integer(number) for number in nm):
        raise PruneError(f"nm {nm!r}: must be two integers N and M, such as (2, 4)")
    if block is not None and not _is_integer(block):
        raise PruneError(f"block {block!r}: must be an integer or None")
    try:
        return Pattern(n=nm[0], m=nm[1], block=block)
    except PatternError as fault:
        raise PruneError(str(fault)) from None


def _sparsity(given: Any, pattern: Pattern) -> Fraction:
    kappa, text = Fraction(-1), "of too many digits"
    with suppress(ValueError, ZeroDivisionError):  # an int of thousands of digits has no text
        text = str(given).strip() or "''"
        if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text):
            kappa = Fraction(text)
    if not 0 <= kappa < 1:
        shown = text if len(text) <= _LONGEST_NUMBER and text.isprintable() else f"of {len(text)} characters"
        raise PruneError(f"sparsity {shown}: must be a number from 0 up to, not including, 1")
    kappa_0 = 1 - pattern.density
    if abs(kappa - kappa_0) <= SPARSITY_TOLERANCE:
        return kappa_0
    if kappa < kappa_0:
        raise PruneError(
            f"sparsity {given}: {pattern.nm} alone already prunes {float(kappa_0):g}; ask for at least that"
        )
    return kappa


def _plain(kappa: Fraction) -> float | str:
    """The float whose text reads as kappa, or kappa's own text."""
    nearest = float(kappa)
    return nearest if Fraction(str(nearest)) == kappa else str(kappa)


def _decay(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given < math.inf:
        raise PruneError(f"sr_ste {given!r}: must be a finite number, at least 0")
    return float(given)


def _patterns(field: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, (tuple, list)) or not all(isinstance(pattern, str) and pattern for pattern in given):
        raise PruneError(f"{field} {given!r}: must be a tuple of layer name patterns")
    return tuple(given)
