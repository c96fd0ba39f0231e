"""Out of torch: a model's layers as they run, its packed file, and its matrices in other libraries' formats."""

from .files import EXPORTS, export
from .matrices import (
    dense_matrix,
    to_blocked_ell_arrays,
    to_bsr_arrays,
    to_scipy_bsr,
    to_state_dict,
    to_torch_bsr,
    to_torch_semi_structured,
)
from .packed import check_packable, pack_model
from .quantise import DTYPES
from .shapes import check_called, trace_layers
from .traced_layer import TracedLayer

__all__ = [
    "DTYPES",
    "EXPORTS",
    "TracedLayer",
    "check_called",
    "check_packable",
    "dense_matrix",
    "export",
    "pack_model",
    "to_blocked_ell_arrays",
    "to_bsr_arrays",
    "to_scipy_bsr",
    "to_state_dict",
    "to_torch_bsr",
    "to_torch_semi_structured",
    "trace_layers",
]
