"""The formats, by the name users type.

Adding a format: a file with its class, and a line here.
"""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from .bitmap import Bitmap
from .blocked_ell import BlockedELL
from .crisp import CrispMatrix
from .csr import CSR
from .ellpack import ELLPACK
from .footprint import Footprint
from .nm import NMMatrix


class SparseMatrix(Protocol):
    """What every format offers besides its class method `encode(dense, ...)`."""

    @property
    def shape(self) -> tuple[int, int]:
        """S and K, without padding."""
        ...

    def decode(self) -> NDArray[Any]:
        """The dense matrix [S, K]."""
        ...

    def footprint(self) -> Footprint:
        """Bits of values, indices and pointers."""
        ...


FORMATS: dict[str, type[SparseMatrix]] = {
    "crisp": CrispMatrix,
    "nm": NMMatrix,
    "blocked-ell": BlockedELL,
    "csr": CSR,
    "ellpack": ELLPACK,
    "bitmap": Bitmap,
}
