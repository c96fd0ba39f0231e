"""One layer of a packed model file: its pattern and sparsity, its bytes, and what other formats would take.

Letters: S rows, K columns and G convolution groups of a layer, P output positions; N:M and B as in `formats/pattern`.
A *slot* is a weight that the pattern keeps: min(N, r) of each group of r real weights in a kept block. Some slots hold
a zero, in an int8 file more than in a float32 one; sparsity is said both ways. Padding is counted in bytes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..formats import (
    CSR,
    ELLPACK,
    Bitmap,
    BlockedELL,
    CrispMatrix,
    FormatError,
    NMMatrix,
    PackedLayer,
    Pattern,
)

Matrix = CrispMatrix | NMMatrix | np.ndarray

PACKED, DENSE = "packed", "dense"
# As it is in the file, then the rivals: FORMATS by the names users type, and every weight with no index.
STORAGES = (PACKED, "csr", "ellpack", "bitmap", "blocked-ell", "nm", DENSE)


@dataclass(frozen=True)
class Storage:
    """Bits that a layer takes in one format, all its groups together."""

    value_bits: int
    metadata_bits: int

    @property
    def total_bits(self) -> int:
        """Values and metadata."""
        return self.value_bits + self.metadata_bits

    def __add__(self, other: Storage) -> Storage:
        return Storage(self.value_bits + other.value_bits, self.metadata_bits + other.metadata_bits)


@dataclass(frozen=True, kw_only=True)
class InspectedLayer:
    """One layer.

    Parameters
    ----------
    name, kind, dtype : str
    pattern : Pattern
    s, k, groups, p, calls : int
        S and K of one group; P output positions of one input, windows that the network puts into a batch included.
    block_columns, kept_blocks : int or None
        Of each block row; None without blocks.
    weights, kept_weights, nonzeros : int
        Real ones of all groups.
    tensor_bytes : dict
        Bytes in the file, by role (values, nm_index, block_cols, dense, unstructured, activations).
    storage : dict
        Bits by format (a subset of STORAGES): where a format does not apply, or the layer is damaged, it is not there.
    defect : str or None
        The first rule of the file format that the layer's values break.
    """

    name: str
    kind: str
    dtype: str
    pattern: Pattern
    s: int
    k: int
    groups: int
    p: int
    calls: int
    block_columns: int | None
    kept_blocks: int | None
    weights: int
    kept_weights: int
    nonzeros: int
    tensor_bytes: dict[str, int]
    storage: dict[str, Storage]
    defect: str | None

    @property
    def patterned(self) -> bool:
        """Whether it has N:M or blocks: the denominator of the promised sparsity."""
        return self.pattern.kind != "dense"

    @property
    def bytes(self) -> int:
        """All its tensors in the file."""
        return sum(self.tensor_bytes.values())

    def record(self) -> dict[str, Any]:
        """The layer as JSON has it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "nm": self.pattern.nm,
            "block": self.pattern.block,
            **{key: getattr(self, key) for key in ("s", "k", "groups", "p", "calls", "dtype")},
            **{
                key: getattr(self, key)
                for key in ("block_columns", "kept_blocks", "weights", "kept_weights", "nonzeros")
            },
            **sparsities([self]),
            **macs([self]),
            "bytes": self.bytes,
            "tensor_bytes": self.tensor_bytes,
            "storage_bits": bits_of(self.storage),
            "defect": self.defect,
        }


def look_at(layer: PackedLayer) -> InspectedLayer:
    """Count a layer, check its values, and pack it in the other formats."""
    record, defect = layer.record(), None
    try:
        layer.check()
    except FormatError as error:
        defect = str(error)
    matrices = layer.group_weights
    pattern = Pattern(n=record.n, m=record.m, block=record.block)
    S, K = record.shape
    return InspectedLayer(
        name=layer.name,
        kind=layer.kind,
        dtype=layer.dtype,
        pattern=pattern,
        s=S,
        k=K,
        groups=layer.groups,
        p=layer.p * layer.batch,
        calls=layer.calls,
        block_columns=None if pattern.block is None else -(-K // pattern.block),
        kept_blocks=record.kept_blocks,
        weights=layer.groups * S * K,
        kept_weights=sum(_slots(matrix, pattern, S, K) for matrix in matrices),
        nonzeros=_nonzeros(layer),
        tensor_bytes=tensor_bytes_of(layer),
        storage=_storage(matrices, pattern) if defect is None else {},
        defect=defect,
    )


def tensor_bytes_of(layer: PackedLayer) -> dict[str, int]:
    """Bytes in the file, by role."""
    return {role: tensor.size_bytes for role, tensor in layer.record().tensors().items()}


def _slots(matrix: Matrix, pattern: Pattern, S: int, K: int) -> int:
    """Weights that the pattern keeps of one group."""

    def of_row(width: Any) -> Any:
        return width // pattern.m * pattern.n + np.minimum(width % pattern.m, pattern.n)

    if not isinstance(matrix, CrispMatrix):
        return S * int(of_row(K))
    B = matrix.block
    widths = np.minimum(B, K - B * matrix.block_cols.astype(np.int64))
    heights = np.minimum(B, S - B * np.arange(len(widths), dtype=np.int64))
    return int((heights * of_row(widths).sum(axis=1)).sum())


def _nonzeros(layer: PackedLayer) -> int:
    """Weights that are not zero; a stored value that is its channel's zero point is one that is."""
    zeros = np.array(layer.zero_points or 0).reshape(len(layer.group_weights) if layer.zero_points else 1, -1, 1)
    count = 0
    for group, matrix in enumerate(layer.group_weights):
        if isinstance(matrix, np.ndarray):
            count += int(np.count_nonzero(matrix != zeros[group % len(zeros)]))
        else:
            count += matrix.nonzeros()
    return count


def _storage(matrices: Iterable[Matrix], pattern: Pattern) -> dict[str, Storage]:
    """Bits in every format that applies to a layer, of the nonzeros where it keeps no others."""
    sums: dict[str, Storage] = {}
    for matrix in matrices:
        if isinstance(matrix, np.ndarray):
            own = {PACKED: Storage(8 * matrix.nbytes, 0), DENSE: Storage(8 * matrix.nbytes, 0)}
        else:
            dense = matrix.decode()
            others = [("csr", CSR.encode(dense)), ("ellpack", ELLPACK.encode(dense)), ("bitmap", Bitmap.encode(dense))]
            if pattern.block is not None:
                others.append(("blocked-ell", BlockedELL.encode(dense, block=pattern.block)))
            if pattern.m > 1:
                others.append(("nm", NMMatrix.encode(dense, n=pattern.n, m=pattern.m)))
            prints = [(name, other.footprint()) for name, other in [(PACKED, matrix), *others]]
            own = {name: Storage(found.value_bits, found.metadata_bits) for name, found in prints}
            own[DENSE] = Storage(8 * dense.itemsize * prod(dense.shape), 0)
        for name, storage in own.items():
            sums[name] = sums.get(name, Storage(0, 0)) + storage
    return sums


def sparsities(layers: Sequence[InspectedLayer]) -> dict[str, float]:
    """Share of weights that the patterns prune, and that are zero."""
    weights = sum(layer.weights for layer in layers)
    return {
        "sparsity": 1 - sum(layer.kept_weights for layer in layers) / weights if weights else 0.0,
        "zeros": 1 - sum(layer.nonzeros for layer in layers) / weights if weights else 0.0,
    }


def macs(layers: Sequence[InspectedLayer]) -> dict[str, int]:
    """Multiplications of one sample: all weights', and the slots'."""
    return {
        "macs_dense": sum(layer.weights * layer.p * layer.calls for layer in layers),
        "macs_kept": sum(layer.kept_weights * layer.p * layer.calls for layer in layers),
    }


def bits_of(storage: dict[str, Storage]) -> dict[str, dict[str, int]]:
    """Bits by format, as JSON has them."""
    return {
        name: {"values": each.value_bits, "metadata": each.metadata_bits, "total": each.total_bits}
        for name, each in storage.items()
    }
