"""The hybrid pattern: N:M inside, uniformly pruned B x B blocks outside (paper, section III-A).

One letter each: N kept of every M consecutive positions along K; B the block's side.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from .errors import PatternError

MAX_M = 256

# Two sparsities this near are the same: 1 - 1/3 has no exact decimal.
SPARSITY_TOLERANCE = Fraction(1, 10**6)


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """What a layer's weights look like.

    Parameters
    ----------
    n, m : int
        At most n nonzeros in every m consecutive positions of a row, 1 <= n <= m <= 256. n = m means
        no fine-grained pattern and is stored as 1:1, whose positions need no index.
    block : int or None
        Side B of the square blocks, a multiple of m; None for no blocks.

    Raises
    ------
    PatternError
        A value is out of range, or the block is not a multiple of m.
    """

    n: int = 1
    m: int = 1
    block: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m <= MAX_M:
            raise PatternError(f"pattern {self.n}:{self.m}: N:M needs 1 <= N <= M <= {MAX_M}")
        if self.n == self.m:
            object.__setattr__(self, "n", 1)
            object.__setattr__(self, "m", 1)
        if self.block is not None:
            if self.block < 1:
                raise PatternError(f"block {self.block}: must be at least 1")
            if self.block % self.m:
                raise PatternError(f"block {self.block}: must be a multiple of M = {self.m}")

    @property
    def kind(self) -> str:
        """The `mask` column: hybrid, nm, block or dense."""
        if self.block is None:
            return "dense" if self.m == 1 else "nm"
        return "block" if self.m == 1 else "hybrid"

    @property
    def index_bits(self) -> int:
        """Bits of one N:M index: ceil(log2 M); 0 for 1:1."""
        return math.ceil(math.log2(self.m)) if self.m > 1 else 0

    @property
    def density(self) -> Fraction:
        """N/M, exactly."""
        return Fraction(self.n, self.m)

    @property
    def nm(self) -> str:
        """`N:M`, or `dense` without a fine-grained pattern."""
        return "dense" if self.m == 1 else f"{self.n}:{self.m}"

    def __str__(self) -> str:
        return self.nm if self.block is None else f"{self.nm} block {self.block}"


def parse_nm(text: str) -> tuple[int, int]:
    """Read `N:M` (or `dense`, which is 1:1).

    >>> parse_nm("2:4")
    (2, 4)

    Raises
    ------
    PatternError
        Not two integers with 1 <= N <= M <= 256.
    """
    if text.strip().lower() == "dense":
        return 1, 1
    match = re.fullmatch(r"\s*(\d{1,6})\s*:\s*(\d{1,6})\s*", text)
    if match is None:
        raise PatternError(f"pattern {text!r}: expected N:M, such as 2:4")
    n, m = int(match[1]), int(match[2])
    if not 1 <= n <= m <= MAX_M:
        raise PatternError(f"pattern {n}:{m}: N:M needs 1 <= N <= M <= {MAX_M}")
    return n, m


def blocks_to_keep(sparsity: float, pattern: Pattern, block_columns: int) -> int:
    """Blocks kept in every block row for a weight sparsity of 1 - (K'/K)(N/M) (paper, section III-A).

    Parameters
    ----------
    sparsity : float
        Asked of the layer, 1 - N/M <= sparsity < 1.
    pattern : Pattern
    block_columns : int
        Blocks in a block row, ceil(K/B).

    Returns
    -------
    int
        round(density of blocks * block_columns), halves up, at least 1 and at most all.

    Raises
    ------
    PatternError
        The sparsity is not a number in [1 - N/M, 1).
    """
    if not 0.0 <= sparsity < 1.0:
        raise PatternError(f"sparsity {sparsity}: must be a number from 0 up to, not including, 1")
    kept = 1 - Fraction(str(sparsity))
    if kept > pattern.density + SPARSITY_TOLERANCE:
        least = float(1 - pattern.density)
        raise PatternError(
            f"sparsity {sparsity}: pattern {pattern.nm} alone already prunes {least:g}; ask for at least that"
        )
    exact = kept / pattern.density * block_columns
    return min(block_columns, max(1, math.floor(exact + Fraction(1, 2))))
