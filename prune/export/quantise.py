"""Weights as a packed file stores them: float32, float16, or int8 with a scale per output channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..errors import PruneError

Dtype = Literal["float32", "float16", "int8"]
DTYPES: tuple[str, ...] = get_args(Dtype)

_LARGEST = 127
_HOW = {
    "float16": "rounded to the nearest, half to even",
    "int8": "symmetric, one scale per output channel = largest |w| / 127, rounded half to even",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredWeights:
    """A matrix as it is stored.

    Parameters
    ----------
    values : ndarray (rows, K), of the dtype
    scales : tuple of float, or None
        Of each row: weight = scale * value; int8 only.
    error, power : float
        Sums over the matrix of (weight - what the stored value stands for)^2 and of weight^2.
    """

    values: np.ndarray
    scales: tuple[float, ...] | None
    error: float
    power: float


def store(name: str, weight: np.ndarray, dtype: str) -> StoredWeights:
    """Round a matrix of weights.

    Parameters
    ----------
    name : str
        The layer's, for messages.
    weight : ndarray, float32, (rows, K)
    dtype : {"float32", "float16", "int8"}
        int8 is symmetric: scale = max |w| / 127 of the row (1 for a row of zeros), rounded half to even.

    Raises
    ------
    PruneError
        The dtype is none of these, a weight is not finite, or too large for float16.
    """
    if dtype not in DTYPES:
        raise PruneError(f"dtype {dtype!r}: must be one of {', '.join(DTYPES)}")
    if not np.isfinite(weight).all():
        raise PruneError(f"layer {name!r}: weight {weight[~np.isfinite(weight)][0]}: must be finite")
    if dtype == "float32":
        return StoredWeights(values=weight, scales=None, error=0.0, power=1.0)
    scales = None
    if dtype == "float16":
        with np.errstate(over="ignore"):
            values = weight.astype(np.float16)
        if not np.isfinite(values).all():
            largest = np.abs(weight).max()
            raise PruneError(f"layer {name!r}: weight of size {largest:g}: too large for float16; use float32 or int8")
        back = values.astype(np.float64)
    else:
        largest = np.abs(weight).max(axis=1).astype(np.float64)
        of_rows = np.where(largest > 0, largest / _LARGEST, 1.0)
        values = np.rint(weight / of_rows[:, None]).astype(np.int8)
        scales = tuple(of_rows.tolist())
        back = values * of_rows[:, None]
    return StoredWeights(
        values=values,
        scales=scales,
        error=float(np.square(weight - back).sum()),
        power=float(np.square(weight, dtype=np.float64).sum()),
    )


def rounding_record(stored: dict[str, StoredWeights], dtype: str) -> dict[str, Any]:
    """What rounding did, for a file's `made_by`: root of the error's power over the weights', of all and of the worst.

    Empty for float32.
    """
    if dtype not in _HOW:
        return {}
    errors = {name: _relative(one.error, one.power) for name, one in stored.items()}
    worst = max(errors, key=errors.__getitem__)
    total = _relative(sum(one.error for one in stored.values()), sum(one.power for one in stored.values()))
    return {
        "dtype": dtype,
        "how": _HOW[dtype],
        "relative_rms_error": total,
        "worst_layer": worst,
        "worst_layer_relative_rms_error": errors[worst],
    }


def _relative(error: float, power: float) -> float:
    return (error / power) ** 0.5 if power else 0.0
