"""Packed sparse matrices and the file they live in: numpy and numba, never torch."""

from .bitmap import Bitmap
from .blocked_ell import BlockedELL
from .crisp import CrispMatrix
from .csr import CSR
from .ellpack import ELLPACK
from .errors import FileFormatError, FormatError, PatternError
from .footprint import Footprint
from .nm import NMMatrix
from .packed_file import PackedLayer, PackedModel, read_model, write_model
from .pattern import Pattern, blocks_to_keep, parse_nm
from .registry import FORMATS
from .synthetic import draw_unstructured, draw_weights

__all__ = [
    "CSR",
    "ELLPACK",
    "FORMATS",
    "Bitmap",
    "BlockedELL",
    "CrispMatrix",
    "FileFormatError",
    "Footprint",
    "FormatError",
    "NMMatrix",
    "PackedLayer",
    "PackedModel",
    "Pattern",
    "PatternError",
    "blocks_to_keep",
    "draw_unstructured",
    "draw_weights",
    "parse_nm",
    "read_model",
    "write_model",
]
