"""The sparsity asked for after each iteration (docs/pruning.md, R12)."""

from __future__ import annotations

from fractions import Fraction

from ..errors import PruneError

SCHEDULES = ("linear", "cubic")


def nm_sparsity(n: int, m: int) -> Fraction:
    """kappa_0 = 1 - N/M, where the schedule starts.

    >>> nm_sparsity(1, 4)
    Fraction(3, 4)
    """
    return 1 - Fraction(n, m)


def target(kappa: Fraction, kappa_0: Fraction, step: int, steps: int, kind: str = "linear") -> Fraction:
    """kappa_p, the sparsity after iteration p of n, exactly.

    Parameters
    ----------
    kappa : Fraction
        Asked for in the end.
    kappa_0 : Fraction
        Where N:M alone stands; not above `kappa`.
    step, steps : int
        p and n, 0 <= p <= n, n >= 1.
    kind : {"linear", "cubic"}
        kappa_0 + (kappa - kappa_0) p/n, or kappa - (kappa - kappa_0) (1 - p/n)^3.

    Raises
    ------
    PruneError
        A value breaks its rule.

    Notes
    -----
    Source: R12; paper, Algorithm 1.

    >>> target(Fraction(9, 10), Fraction(1, 2), 1, 4)
    Fraction(3, 5)
    """
    if kind not in SCHEDULES:
        raise PruneError(f"schedule {kind!r}: must be one of {', '.join(SCHEDULES)}")
    if steps < 1 or not 0 <= step <= steps:
        raise PruneError(f"iteration {step} of {steps}: must be 0 to the number of iterations, which is at least 1")
    if kappa < kappa_0:
        raise PruneError(f"sparsity {float(kappa):g}: must be at least {float(kappa_0):g}, which N:M alone gives")
    left = 1 - Fraction(step, steps)
    return kappa - (kappa - kappa_0) * left ** (3 if kind == "cubic" else 1)
