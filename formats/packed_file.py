"""A pruned model in one file: its layers, their packed weights, and how it was made.

`FORMAT.md` is the law; `packed_layer` holds what the header may say of a layer, `packed_header` the rest of
the header. Nothing in a file is ever executed. Tensors are mapped, not read, so a layer costs memory only
when it is used.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn

import numpy as np

from .crisp import CrispMatrix
from .errors import FileFormatError, FormatError
from .nm import NMMatrix
from .packed_header import MAX_HEADER_BYTES, Header, header_to_bytes, make_header, parse_header, tensor_name
from .packed_layer import DTYPE_CODES, LayerRecord

Matrix = CrispMatrix | NMMatrix | np.ndarray

_LENGTH_BYTES = 8
_ZIP = b"PK\x03\x04"
_FROM_ARRAYS = {"n", "m", "block", "shape", "kept_blocks", "unstructured", "activations"}
_SHARED = [field.name for field in fields(LayerRecord) if field.name not in _FROM_ARRAYS]
_NUMPY = {code: np.dtype(name).newbyteorder("<") for name, code in DTYPE_CODES.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedLayer:
    """A layer: its geometry, and its weights as a matrix `W[S, K]` per convolution group.

    Parameters
    ----------
    name : str
        Printable, 1 to 200 characters, unique in its model.
    weights : CrispMatrix or NMMatrix or ndarray (S, K), or a tuple of them
        int8, float16 or float32; an ndarray for a layer outside the pattern. With `groups` > 1 a tuple
        of one per group, of the same class, pattern and sizes. S, K per group.
    kind : {'conv', 'gemm'}
        A gemm is a 1 x 1 convolution over `in_height` = tokens, `in_width` = 1, in one group.
    kernel, stride, padding, dilation : (int, int)
        Height, width. Padding is added on both sides.
    groups, in_channels : int
        `in_channels` counts all groups; K = kernel height * width * in_channels / groups.
    in_height, in_width : int
        One sample's input, without padding.
    p : int
        Output positions (columns) of one sample.
    batch, calls : int
        Samples per call, and how often the model calls the layer.
    dtype : {'int8', 'float16', 'float32'}
        Of the stored values.
    k_order : {'hwc', 'chw'}
        Order of K, slowest first; the matrices say the same.
    scales, zero_points : tuple of groups * S numbers, or None
        Weight = scale * (stored value - zero point), per output channel; int8 only.
    unstructured : ndarray (S, ceil(K/8)) uint8, or None
        A mask of the same sparsity without structure, bit k % 8 of byte k // 8 of a row; (groups, ...)
        with `groups` > 1.
    activations : ndarray or None
        One sample's input: int8 (H, W, C) or (C, H, W), as `activation_layout` says, or uint8, its mask
        of nonzeros, packed along the last axis like `unstructured`.

    Raises
    ------
    FileFormatError
        A field is out of range or contradicts another, or an array has the wrong dtype or shape.
    """

    name: str
    weights: Matrix | tuple[Matrix, ...]
    kind: Literal["conv", "gemm"]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    in_channels: int
    in_height: int
    in_width: int = 1
    p: int
    batch: int = 1
    calls: int = 1
    dtype: Literal["int8", "float16", "float32"]
    k_order: Literal["hwc", "chw"] = "hwc"
    scales: tuple[float, ...] | None = None
    zero_points: tuple[int, ...] | None = None
    unstructured: np.ndarray | None = None
    activations: np.ndarray | None = None
    activation_layout: Literal["hwc", "chw"] = "hwc"

    def __post_init__(self) -> None:
        self._check_weights()
        record = self.record()
        for role, needed in record.tensors().items():
            arrays = self.arrays(role)
            shape = needed.shape if len(arrays) == 1 else needed.shape[1:]
            dtype = _NUMPY[needed.dtype]
            for array in arrays:
                if array.dtype != dtype or array.shape != shape:
                    found = f"{role} {array.dtype} {list(array.shape)}"
                    self._fail(found, f"must be {dtype} {list(shape)}")

    @property
    def group_weights(self) -> tuple[Matrix, ...]:
        """The weights, one matrix per group."""
        return self.weights if isinstance(self.weights, tuple) else (self.weights,)

    def record(self) -> LayerRecord:
        """The layer as the file's header describes it."""
        activations = None
        if self.activations is not None:
            activations = "mask" if self.activations.dtype == np.uint8 else "int8"
        return LayerRecord(
            **{name: getattr(self, name) for name in _SHARED},
            **_pattern(self.group_weights[0]),
            unstructured=self.unstructured is not None,
            activations=activations,
        )

    def nonzero_activations(self) -> np.ndarray:
        """Where the sample's input is not zero: bool (in_height, in_width, in_channels); needs `activations`."""
        assert self.activations is not None
        last = self.in_channels if self.activation_layout == "hwc" else self.in_width
        stored = self.activations
        if stored.dtype == np.uint8:
            nonzero = np.unpackbits(stored, axis=-1, count=last, bitorder="little").astype(bool)
        else:
            nonzero = stored != 0
        return nonzero if self.activation_layout == "hwc" else np.moveaxis(nonzero, 0, -1)

    def int8_activations(self) -> np.ndarray | None:
        """The sample's input: int8 (in_height, in_width, in_channels); None where the file has no values of it."""
        stored = self.activations
        if stored is None or stored.dtype != np.int8:
            return None
        return stored if self.activation_layout == "hwc" else np.moveaxis(stored, 0, -1)

    def arrays(self, role: str) -> list[np.ndarray]:
        """The arrays whose bytes, one after the other, are the layer's tensor of this role."""
        if role in ("unstructured", "activations"):
            return [getattr(self, role)]
        if role == "dense":
            return [matrix for matrix in self.group_weights if isinstance(matrix, np.ndarray)]
        return [getattr(matrix, role) for matrix in self.group_weights]

    def check(self) -> None:
        """Check every value: indices, finite weights, and zeros where there is padding.

        Raises
        ------
        FileFormatError
            The first defect, with the layer's name.
        """
        for group, matrix in enumerate(self.group_weights):
            where = f"group {group}: " if self.groups > 1 else ""
            values = matrix if isinstance(matrix, np.ndarray) else matrix.values
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                place = np.argwhere(~np.isfinite(values))[0].tolist()
                self._fail(f"{where}stored value {values[tuple(place)]} at {place}", "must be finite")
            if isinstance(matrix, np.ndarray):
                continue
            try:
                matrix.check()
            except FormatError as error:
                raise FileFormatError(f"layer {self.name!r}: {where}{error}") from None
            stream_slots = math.prod(matrix.values.shape[matrix.nm_index.ndim - 1 :])
            index_bits = stream_slots * matrix.pattern.index_bits
            self._check_padding_bits(f"{where}nm_index", matrix.nm_index, index_bits)
        if self.unstructured is not None:
            self._check_padding_bits("unstructured", self.unstructured, self.record().shape[1])
        if self.activations is not None and self.activations.dtype == np.uint8:
            last = self.in_channels if self.activation_layout == "hwc" else self.in_width
            self._check_padding_bits("activations", self.activations, last)

    def _check_weights(self) -> None:
        matrices = self.group_weights
        if isinstance(self.weights, tuple) != (self.groups != 1) or len(matrices) != self.groups:
            found = f"a tuple of {len(matrices)}" if isinstance(self.weights, tuple) else "one matrix"
            rule = "must be one matrix per group, in a tuple if groups > 1"
            self._fail(f"weights: {found} with groups = {self.groups}", rule)
        for group, matrix in enumerate(matrices):
            if not isinstance(matrix, Matrix):
                found = f"weights {type(matrix).__name__}"
                self._fail(found, "must be a CrispMatrix, an NMMatrix or an ndarray")
            if isinstance(matrix, NMMatrix) and matrix.m == 1:
                self._fail("weights NMMatrix 1:1", "weights without a pattern must be an ndarray")
            if not isinstance(matrix, np.ndarray) and matrix.k_order != self.k_order:
                self._fail(f"k_order {self.k_order!r}", f"must be its matrix's, {matrix.k_order!r}")
            if _pattern(matrix) != _pattern(matrices[0]):
                rule = f"must be as in group 0, {_pattern(matrices[0])}"
                self._fail(f"group {group}: {_pattern(matrix)}", rule)

    def _check_padding_bits(self, role: str, packed: np.ndarray, bits: int) -> None:
        used = bits % 8
        stray = np.argwhere(packed[..., -1] >> used) if used else np.empty((0, 1))
        if stray.size:
            self._fail(f"{role} at {stray[0].tolist()}: bits beyond {bits} are set", "padding bits must be 0")

    def _fail(self, what: str, rule: str) -> NoReturn:
        raise FileFormatError(f"layer {self.name!r}: {what}: {rule}")


@dataclass(frozen=True, eq=False)
class PackedModel:
    """The layers of a model in the order they run, and how it was made.

    Parameters
    ----------
    layers : tuple of PackedLayer
        At least one; names are unique.
    made_by : dict
        Anything JSON gives back unchanged: tool, version, command, seed.
    path : Path, optional
        The file it was read from.
    """

    layers: tuple[PackedLayer, ...]
    made_by: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __getitem__(self, name: str) -> PackedLayer:
        """The layer of this name; KeyError without one."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"layer {name!r}: not among the {len(self.layers)} of {self.path or 'this model'}")


def write_model(path: str | Path, model: PackedModel) -> None:
    """Write a model, whole or not at all; equal models give equal bytes.

    Parameters
    ----------
    path : str or Path
        Replaced if it exists, once the new file is complete beside it.
    model : PackedModel

    Raises
    ------
    FileFormatError
        The model breaks a rule of the format; nothing is written.
    OSError
        The file cannot be written.
    """
    try:
        for layer in model.layers:
            layer.check()
        header = make_header([layer.record() for layer in model.layers], model.made_by)
        raw = header_to_bytes(header)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from None
    arrays = {
        tensor_name(layer.name, role): layer.arrays(role) for layer in model.layers for role in layer.record().tensors()
    }
    with _whole_file(Path(path)) as file:
        file.write(len(raw).to_bytes(_LENGTH_BYTES, "little"))
        file.write(raw)
        for name, entry in header.tensors.items():
            for array in arrays[name]:
                stored = np.ascontiguousarray(array, dtype=_NUMPY[entry.type.dtype])
                file.write(stored.reshape(-1).view(np.uint8).data)


def read_model(path: str | Path, *, check: bool = True) -> PackedModel:
    """Read a model; its arrays are read-only maps of the file.

    Parameters
    ----------
    path : str or Path
    check : bool
        Check every index and weight too (reads the whole file), not only the header.

    Raises
    ------
    FileFormatError
        The file breaks a rule of the format: its name, the layer or tensor, the value and the rule.
    OSError
        The file cannot be read.
    """
    path = Path(path)
    try:
        header, data = _map_file(path)
        layers = tuple(_layer(record, header, data) for record in header.layers)
        if check:
            for layer in layers:
                layer.check()
    except FormatError as error:
        raise FileFormatError(f"{path}: {error}") from None
    return PackedModel(layers, header.made_by, path)


def _pattern(matrix: Matrix) -> dict[str, Any]:
    """What the header says of a matrix; equal for all groups of a layer."""
    if isinstance(matrix, np.ndarray):
        return {"n": 1, "m": 1, "block": None, "shape": matrix.shape, "kept_blocks": None}
    block, kept_blocks = None, None
    if isinstance(matrix, CrispMatrix):
        block, kept_blocks = matrix.block, matrix.block_cols.shape[-1]
    return {"n": matrix.n, "m": matrix.m, "block": block, "shape": matrix.shape, "kept_blocks": kept_blocks}


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends, and vanishes if it fails."""
    beside = path.parent / f".crispsim-{secrets.token_hex(8)}.tmp"
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _map_file(path: Path) -> tuple[Header, np.ndarray]:
    """Map the file; its header, and the bytes after it."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _LENGTH_BYTES:
            raise FileFormatError(f"truncated: {size} bytes: must begin with {_LENGTH_BYTES} bytes of length")
        first = file.read(_LENGTH_BYTES)
        if first.startswith(_ZIP):
            raise FileFormatError("not a packed model but a zip archive, as torch.save and numpy.savez write")
        length = int.from_bytes(first, "little")
        if length > MAX_HEADER_BYTES:
            rule = f"must be at most {MAX_HEADER_BYTES} bytes"
            raise FileFormatError(f"not a packed model: header length {length}: {rule}")
        if length % _LENGTH_BYTES:
            raise FileFormatError(f"header length {length}: must be a multiple of {_LENGTH_BYTES}")
        if length > size - _LENGTH_BYTES:
            rest = size - _LENGTH_BYTES
            raise FileFormatError(f"truncated: header length {length}: must be at most {rest}, the file's rest")
        mapped = np.asarray(np.memmap(file, np.uint8, mode="r"))
    data = mapped[_LENGTH_BYTES + length :]
    return parse_header(mapped[_LENGTH_BYTES : _LENGTH_BYTES + length].tobytes(), data.size), data


def _layer(record: LayerRecord, header: Header, data: np.ndarray) -> PackedLayer:
    tensors: dict[str, np.ndarray] = {}
    for role in record.tensors():
        entry = header.tensors[tensor_name(record.name, role)]
        tensors[role] = data[entry.begin : entry.end].view(_NUMPY[entry.type.dtype]).reshape(entry.type.shape)
    unstructured, activations = tensors.pop("unstructured", None), tensors.pop("activations", None)
    weights: Matrix | tuple[Matrix, ...]
    if record.groups == 1:
        weights = _matrix(record, tensors)
    else:
        groups = range(record.groups)
        per_group = [{role: tensor[g] for role, tensor in tensors.items()} for g in groups]
        weights = tuple(_matrix(record, own, f"group {g}: ") for g, own in enumerate(per_group))
    shared = {name: getattr(record, name) for name in _SHARED}
    return PackedLayer(**shared, weights=weights, unstructured=unstructured, activations=activations)


def _matrix(record: LayerRecord, tensors: Mapping[str, np.ndarray], where: str = "") -> Matrix:
    """The matrix of a layer, or of the group that `where` names in a message."""
    if "dense" in tensors:
        return tensors["dense"]
    known = {"n": record.n, "m": record.m, "shape": record.shape, "k_order": record.k_order, **tensors}
    try:
        if record.block is None:
            return NMMatrix(**known)
        known.setdefault("nm_index", np.zeros((*tensors["block_cols"].shape, 0), np.uint8))
        return CrispMatrix(**known, block=record.block)
    except FormatError as error:
        raise FileFormatError(f"layer {record.name!r}: {where}{error}") from None
