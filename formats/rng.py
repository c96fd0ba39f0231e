"""Counter-based random numbers: a number depends only on (seed, stream, counter), on every machine.

SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014): state
k + (i+1)*gamma, mixed to output number i. The constants are those of its Java version, SplittableRandom:
gamma is 2^64 divided by the golden ratio and made odd; the mixing function is variant 13 of D. Stafford,
"Better Bit Mixing" (2011). Integers modulo 2^64 throughout: no floats, no state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np

from .errors import FormatError
from .jit import kernel

F = TypeVar("F", bound=Callable[..., object])

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_ONE = np.uint64(1)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_SHIFT_27, _SHIFT_30, _SHIFT_31, _SHIFT_32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


def stream_key(seed: int, *names: int) -> np.uint64:
    """Key of the stream called `names` (a layer, a group, a purpose, ...) under a seed.

    Parameters
    ----------
    seed, names : int
        Each from 0 to 2^64 - 1.

    Returns
    -------
    uint64
        Each name in turn picks that output of the stream so far. Two streams are windows of one sequence
        of 2^64 numbers at hashed places; that two windows of 2^32 numbers overlap has odds of 2^-31.

    Raises
    ------
    FormatError
        A number is out of range.
    """
    for number in (seed, *names):
        if not 0 <= number < 1 << 64:
            raise FormatError(f"random stream: seed or name {number}: must be 0 to 2^64 - 1")
    key = np.uint64(seed)
    for name in names:
        key = np.uint64(random_word(key, np.uint64(name)))
    return key


def wrapping(function: F) -> F:
    """Compile a kernel whose uint64 arithmetic wraps; with the JIT off, NumPy is told that it may."""
    compiled = kernel(function)
    return cast(F, np.errstate(over="ignore")(function)) if compiled is function else compiled


@wrapping
def random_word(key, counter):
    """Output number `counter` (uint64) of the stream `key` (uint64): 64 random bits, uint64."""
    word = key + (counter + _ONE) * _GAMMA
    word = (word ^ (word >> _SHIFT_30)) * _MIX_1
    word = (word ^ (word >> _SHIFT_27)) * _MIX_2
    return word ^ (word >> _SHIFT_31)


@kernel
def high_below(word, bound):
    """A number from 0 to bound - 1 (int64, bound < 2^31) from the high half of a random word.

    floor(half * bound / 2^32): each number's probability is within 2^-32 of 1/bound.
    """
    return np.int64(((word >> _SHIFT_32) * np.uint64(bound)) >> _SHIFT_32)


@kernel
def low_below(word, bound):
    """As `high_below`, from the low half: independent of it."""
    return np.int64(((word & _LOW_HALF) * np.uint64(bound)) >> _SHIFT_32)
