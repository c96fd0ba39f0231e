"""The header of a packed model file: parsed strictly, and written the same way every time.

The container is safetensors (8-byte little-endian length, JSON, tensors; `FORMAT.md` is the law). The
safetensors library reads these files but does not write them: it keeps the metadata in a hash map whose
order changes from run to run, so equal models would give different bytes, and it takes every tensor as
a copy in memory. Its reader is not used either: it cannot say which rule a malformed file breaks.

Letters: S rows, K columns and P output positions of a layer's matrix product; N:M and B as in `pattern`.
Messages name the layer or tensor, the value and the rule; `packed_file` puts the file's name in front.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, NamedTuple, NoReturn

from .errors import FileFormatError, PatternError
from .pattern import Pattern

MAX_HEADER_BYTES = 32 * 2**20
MAX_NUMBER = 2**31 - 1
MAX_OFFSET = 2**63 - 1
MAX_WEIGHTS = 2**34
MAX_NAME_CHARACTERS = 200
MAX_SCALE = 1e30
MAX_AXES = 6

DTYPE_CODES = {"int8": "I8", "uint8": "U8", "int32": "I32", "float16": "F16", "float32": "F32"}
ITEM_BYTES = {"I8": 1, "U8": 1, "I32": 4, "F16": 2, "F32": 4}

_REPR = reprlib.Repr()
_REPR.maxstring = 240  # a whole tensor name
_short = _REPR.repr  # one line of any length of input

_IDENTITY = {"format": "crispsim", "version": "1", "bit_order": "little"}
_CHOICES: dict[str, tuple[str | bool | None, ...]] = {
    "kind": ("conv", "gemm"),
    "k_order": ("hwc", "chw"),
    "dtype": ("int8", "float16", "float32"),
    "activations": (None, "int8", "mask"),
    "activation_layout": ("hwc", "chw"),
    "unstructured": (False, True),
}
_COUNTS = ("n", "m", "groups", "in_channels", "in_height", "in_width", "p", "batch", "calls")
_GEMM = {
    "kernel": (1, 1),
    "stride": (1, 1),
    "padding": (0, 0),
    "dilation": (1, 1),
    "groups": 1,
    "in_width": 1,
}
_PAIRS = {"shape": 1, "kernel": 1, "stride": 1, "padding": 0, "dilation": 1}


class TensorType(NamedTuple):
    """What a tensor is: its dtype's safetensors code (a key of `ITEM_BYTES`) and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes in the file."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


class TensorEntry(NamedTuple):
    """Where a tensor lies: bytes [begin, end) of the data that follow the header."""

    type: TensorType
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """One layer as the header describes it; `FORMAT.md` explains each field.

    Raises
    ------
    FileFormatError
        A field has the wrong type or is out of range, or two fields contradict each other.
    """

    name: str
    kind: str
    n: int
    m: int
    block: int | None
    shape: tuple[int, int]
    k_order: str
    kept_blocks: int | None
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    in_channels: int
    in_height: int
    in_width: int
    p: int
    batch: int
    calls: int
    dtype: str
    scales: tuple[float, ...] | None
    zero_points: tuple[int, ...] | None
    unstructured: bool
    activations: str | None
    activation_layout: str

    def __post_init__(self) -> None:
        self._check_types()
        self._check_pattern()
        self._check_geometry()
        self._check_quantisation()

    def tensors(self) -> dict[str, TensorType]:
        """The tensors this layer has in the file, by role; those of weights with `groups` in front if > 1."""
        (S, K), code = self.shape, DTYPE_CODES[self.dtype]
        index_bits = Pattern(n=self.n, m=self.m).index_bits
        types: dict[str, TensorType] = {}
        if self.block is not None and self.kept_blocks is not None:
            kept = (math.ceil(S / self.block), self.kept_blocks)
            values = (self.block, self.block * self.n // self.m)
            types["values"] = TensorType(code, kept + values)
            types["block_cols"] = TensorType("I32", kept)
            index_shape = (*kept, math.ceil(math.prod(values) * index_bits / 8))
        elif self.m > 1:
            kept_columns = math.ceil(K / self.m) * self.n
            types["values"] = TensorType(code, (S, kept_columns))
            index_shape = (S, math.ceil(kept_columns * index_bits / 8))
        else:
            types["dense"] = TensorType(code, (S, K))
            index_shape = ()
        if index_bits:
            types["nm_index"] = TensorType("U8", index_shape)
        if self.unstructured:
            types["unstructured"] = TensorType("U8", (S, math.ceil(K / 8)))
        if self.groups > 1:
            types = {role: TensorType(one.dtype, (self.groups, *one.shape)) for role, one in types.items()}
        if self.activations is not None:
            types["activations"] = self._activations_type()
        return types

    def _activations_type(self) -> TensorType:
        plane = (self.in_height, self.in_width)
        hwc = self.activation_layout == "hwc"
        *outer, last = (*plane, self.in_channels) if hwc else (self.in_channels, *plane)
        if self.activations == "int8":
            return TensorType("I8", (*outer, last))
        return TensorType("U8", (*outer, math.ceil(last / 8)))

    def _check_types(self) -> None:
        name = self.name
        if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= MAX_NAME_CHARACTERS:
            rule = f"must be 1 to {MAX_NAME_CHARACTERS} printable characters"
            raise FileFormatError(f"layer name {_short(name)}: {rule}")
        for field, choices in _CHOICES.items():
            value = getattr(self, field)
            if not isinstance(value, (str, bool, NoneType)) or value not in choices:
                self._fail(f"{field} {_short(value)}", f"must be {' or '.join(map(json.dumps, choices))}")
        for field in _COUNTS:
            self._check_number(field, getattr(self, field), 1)
        for field in ("block", "kept_blocks"):
            if getattr(self, field) is not None:
                self._check_number(field, getattr(self, field), 1)
        for field, least in _PAIRS.items():
            pair = getattr(self, field)
            if not isinstance(pair, tuple) or len(pair) != 2:
                self._fail(f"{field} {_short(pair)}", "must be a pair of integers")
            for value in pair:
                self._check_number(field, value, least)

    def _check_number(self, field: str, value: object, least: int) -> None:
        if type(value) is not int or not least <= value <= MAX_NUMBER:
            self._fail(f"{field} {_short(value)}", f"must be an integer from {least} to {MAX_NUMBER}")

    def _check_pattern(self) -> None:
        try:
            pattern = Pattern(n=self.n, m=self.m, block=self.block)
        except PatternError as error:
            raise FileFormatError(f"layer {self.name!r}: {error}") from None
        if (pattern.n, pattern.m) != (self.n, self.m):
            self._fail(f"pattern {self.n}:{self.m}", "N = M is written 1:1")
        if (self.block is None) != (self.kept_blocks is None):
            self._fail(f"kept_blocks {self.kept_blocks}, block {self.block}", "must be both null or neither")
        block_columns = 1 if self.block is None else math.ceil(self.shape[1] / self.block)
        if self.kept_blocks is not None and self.kept_blocks > block_columns:
            self._fail(
                f"kept_blocks {self.kept_blocks}", f"must be at most {block_columns}, a whole block row"
            )
        weights = self.groups * math.prod(self.shape)
        if weights > MAX_WEIGHTS:
            self._fail(f"{weights} weights (groups x S x K)", f"must be at most {MAX_WEIGHTS}")

    def _check_geometry(self) -> None:
        if self.kind == "gemm":
            for field, value in _GEMM.items():
                if getattr(self, field) != value:
                    self._fail(f"{field} {getattr(self, field)}", f"must be {value} for a gemm")
        if self.in_channels % self.groups:
            self._fail(f"in_channels {self.in_channels}", f"must be a multiple of groups = {self.groups}")
        K = math.prod(self.kernel) * self.in_channels // self.groups
        if self.shape[1] != K:
            self._fail(f"K {self.shape[1]}", f"must be {K} = kernel height x width x in_channels / groups")
        height = self._output_side("in_height", self.in_height, 0)
        width = self._output_side("in_width", self.in_width, 1)
        if self.p != height * width:
            self._fail(f"p {self.p}", f"must be {height * width} = {height} x {width} output positions")

    def _output_side(self, field: str, side: int, axis: int) -> int:
        room = side + 2 * self.padding[axis] - self.dilation[axis] * (self.kernel[axis] - 1) - 1
        if room < 0:
            reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
            self._fail(f"{field} {side}", f"with padding must be at least the filter's reach, {reach}")
        return room // self.stride[axis] + 1

    def _check_quantisation(self) -> None:
        channels = self.groups * self.shape[0]
        for field in ("scales", "zero_points"):
            values = getattr(self, field)
            if values is None:
                continue
            if self.dtype != "int8":
                self._fail(f"{field} on {self.dtype} values", "only int8 values are quantised")
            if not isinstance(values, tuple) or len(values) != channels:
                self._fail(f"{field} {_short(values)}", f"must be {channels} numbers, one per output channel")
        for value in self.scales or ():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MAX_SCALE:
                self._fail(f"scale {_short(value)}", f"must be a number above 0 and at most {MAX_SCALE:g}")
        for value in self.zero_points or ():
            if type(value) is not int or not -128 <= value <= 127:
                self._fail(f"zero point {_short(value)}", "must be an integer from -128 to 127")
        if self.zero_points is not None and self.scales is None:
            self._fail("zero_points without scales", "give both or scales only")
        if any(self.zero_points or ()) and (self.m > 1 or self.block is not None):
            self._fail("nonzero zero point", "a sparse layer's must be 0: a pruned weight is exactly 0")

    def _fail(self, what: str, rule: str) -> NoReturn:
        raise FileFormatError(f"layer {self.name!r}: {what}: {rule}")


class Header(NamedTuple):
    """A whole header, consistent with itself: the layers in order, how they were made, where tensors lie."""

    layers: tuple[LayerRecord, ...]
    made_by: dict[str, Any]
    tensors: dict[str, TensorEntry]


def tensor_name(layer: str, role: str) -> str:
    """The name of a layer's tensor in the file: `<layer>.<role>`."""
    return f"{layer}.{role}"


def make_header(layers: Sequence[LayerRecord], made_by: Mapping[str, Any]) -> Header:
    """Lay the layers' tensors out: wider items first, then in the order of layers and roles, without gaps.

    Raises
    ------
    FileFormatError
        No layer, or two of the same name.
    """
    types = _promised(layers)
    tensors: dict[str, TensorEntry] = {}
    begin = 0
    for name, needed in sorted(types.items(), key=lambda item: -ITEM_BYTES[item[1].dtype]):
        tensors[name] = TensorEntry(needed, begin, begin + needed.size_bytes)
        begin = tensors[name].end
    return Header(tuple(layers), dict(made_by), tensors)


def header_to_bytes(header: Header) -> bytes:
    """The header's JSON in UTF-8, padded with spaces to a multiple of 8 bytes; equal headers, equal bytes.

    Raises
    ------
    FileFormatError
        `made_by` holds what JSON cannot give back as it was, or the header is too large.
    """
    records = [{field.name: getattr(layer, field.name) for field in fields(layer)} for layer in header.layers]
    metadata = {**_IDENTITY, "layers": _to_json(records), "made_by": made_by_to_json(header.made_by)}
    entries = {
        name: {"dtype": entry.type.dtype, "shape": entry.type.shape, "data_offsets": (entry.begin, entry.end)}
        for name, entry in header.tensors.items()
    }
    raw = _to_json({"__metadata__": metadata, **entries}).encode()
    raw += b" " * (-len(raw) % 8)
    if len(raw) > MAX_HEADER_BYTES:
        raise FileFormatError(f"header of {len(raw)} bytes: must have at most {MAX_HEADER_BYTES}")
    return raw


def parse_header(raw: bytes, data_bytes: int) -> Header:
    """Read a header and check it against itself and against the bytes that follow it.

    Parameters
    ----------
    raw : bytes
        The JSON, padding included.
    data_bytes : int
        Bytes in the file after the header.

    Raises
    ------
    FileFormatError
        Any rule of `FORMAT.md` on headers is broken. Nothing of a claimed size is allocated.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"header: byte {error.start} is no UTF-8: must be UTF-8 JSON") from None
    entries = parse_json(text, "header")
    if not text.startswith("{") or not isinstance(entries, dict):
        raise FileFormatError(f"header {_short(text)}: must be a JSON object and begin with '{{'")
    metadata = _parse_metadata(entries.pop("__metadata__", None))
    layers = _parse_layers(metadata["layers"])
    made_by = parse_json(metadata["made_by"], "made_by")
    if not isinstance(made_by, dict):
        raise FileFormatError(f"made_by {_short(made_by)}: must be a JSON object")
    made_by_to_json(made_by)
    types = _promised(layers)
    tensors = {name: _parse_entry(name, entry) for name, entry in entries.items()}
    _check_promises(types, tensors)
    _check_coverage(tensors, data_bytes)
    return Header(layers, made_by, tensors)


def made_by_to_json(made_by: Mapping[str, Any]) -> str:
    """JSON of how a model was made, keys sorted.

    Raises
    ------
    FileFormatError
        It holds what JSON would not give back unchanged.
    """
    try:
        text = json.dumps(made_by, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
        text.encode()
        if json.loads(text) == made_by:
            return text
    except (TypeError, ValueError, RecursionError):
        pass
    raise FileFormatError(f"made_by {_short(made_by)}: must be a dict that JSON gives back unchanged")


def parse_json(text: str, what: str) -> Any:
    """Read JSON (RFC 8259) without duplicate keys, NaN or infinities.

    Raises
    ------
    FileFormatError
        It is not that, or is nested too deep.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite_float
        )
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{what}: {error}: must be JSON with unique keys and finite numbers") from None


def _parse_metadata(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FileFormatError(f"__metadata__ {_short(metadata)}: must be an object of strings")
    for key, known in _IDENTITY.items():
        if metadata.get(key) != known:
            found = _short(metadata.get(key))
            raise FileFormatError(f"{key} {found}: must be {known!r}, all this reader knows")
    _check_keys("__metadata__", metadata, {*_IDENTITY, "layers", "made_by"})
    return metadata


def _parse_layers(text: str) -> tuple[LayerRecord, ...]:
    records = parse_json(text, "layers")
    if not isinstance(records, list):
        raise FileFormatError(f"layers {_short(records)}: must be a JSON array")
    layers: list[LayerRecord] = []
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            raise FileFormatError(f"layer #{position} {_short(record)}: must be a JSON object")
        _check_keys(f"layer #{position}", record, {field.name for field in fields(LayerRecord)})
        values: dict[str, Any] = dict(record)
        values.update({key: tuple(value) for key, value in record.items() if isinstance(value, list)})
        layers.append(LayerRecord(**values))
    return tuple(layers)


def _parse_entry(name: str, entry: object) -> TensorEntry:
    what = f"tensor {_short(name)}"
    if not isinstance(entry, dict):
        raise FileFormatError(f"{what}: entry {_short(entry)}: must be a JSON object")
    _check_keys(what, entry, {"dtype", "shape", "data_offsets"})
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise FileFormatError(f"{what}: dtype {_short(dtype)}: must be one of {', '.join(ITEM_BYTES)}")
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= MAX_AXES
        or not _are_integers(shape, 1, MAX_NUMBER)
    ):
        raise FileFormatError(
            f"{what}: shape {_short(shape)}: must be 1 to {MAX_AXES} integers from 1 to {MAX_NUMBER}"
        )
    if not isinstance(offsets, list) or len(offsets) != 2 or not _are_integers(offsets, 0, MAX_OFFSET):
        raise FileFormatError(
            f"{what}: data_offsets {_short(offsets)}: must be two integers from 0 to {MAX_OFFSET}"
        )
    claimed, (begin, end) = TensorType(dtype, tuple(shape)), offsets
    if end - begin != claimed.size_bytes:
        rule = f"must span the {claimed.size_bytes} bytes of {claimed}"
        raise FileFormatError(f"{what}: data_offsets {offsets}: {rule}")
    if begin % ITEM_BYTES[dtype]:
        rule = f"must be a multiple of {ITEM_BYTES[dtype]} for {dtype}"
        raise FileFormatError(f"{what}: begins at byte {begin}: {rule}")
    return TensorEntry(claimed, begin, end)


def _check_coverage(tensors: Mapping[str, TensorEntry], data_bytes: int) -> None:
    """Tensors must cover the data exactly: nothing shared, nothing between, nothing beyond."""
    covered, before = 0, "the header"
    for name, entry in sorted(tensors.items(), key=lambda item: item[1].begin):
        if entry.begin != covered:
            fault = "overlaps" if entry.begin < covered else "leaves a gap after"
            rule = f"must begin at byte {covered} of the data"
            raise FileFormatError(f"tensor {name!r}: {fault} {before}: begins at byte {entry.begin}, {rule}")
        if entry.end > data_bytes:
            rule = f"must end within the {data_bytes} bytes of data"
            raise FileFormatError(f"tensor {name!r}: truncated: ends at byte {entry.end}, {rule}")
        covered, before = entry.end, repr(name)
    if covered != data_bytes:
        raise FileFormatError(f"{data_bytes - covered} bytes after the last tensor: must be 0")


def _promised(layers: Iterable[LayerRecord]) -> dict[str, TensorType]:
    """Every tensor that the layers say they have."""
    types: dict[str, TensorType] = {}
    names: set[str] = set()
    for layer in layers:
        if layer.name in names:
            raise FileFormatError(f"layer {layer.name!r}: stands twice: names must be unique")
        names.add(layer.name)
        types.update({tensor_name(layer.name, role): needed for role, needed in layer.tensors().items()})
    if not names:
        raise FileFormatError("no layers: must have at least one")
    return types


def _check_promises(types: Mapping[str, TensorType], tensors: Mapping[str, TensorEntry]) -> None:
    for name, needed in types.items():
        if name not in tensors:
            raise FileFormatError(f"tensor {name!r}: missing: its layer needs {needed}")
        if tensors[name].type != needed:
            raise FileFormatError(f"tensor {name!r}: is {tensors[name].type}: its layer needs {needed}")
    for name in tensors:
        if name not in types:
            raise FileFormatError(f"tensor {_short(name)}: unexpected: belongs to no layer of the list")


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _check_keys(what: str, found: Mapping[str, object], known: set[str]) -> None:
    rule = f"must have exactly {', '.join(sorted(known))}"
    if missing := sorted(known - found.keys()):
        raise FileFormatError(f"{what}: key {missing[0]!r} is missing: {rule}")
    if unknown := sorted(found.keys() - known):
        raise FileFormatError(f"{what}: key {_short(unknown[0])} is unknown: {rule}")


def _are_integers(values: Iterable[object], least: int, most: int) -> bool:
    return all(type(value) is int and least <= value <= most for value in values)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {_short(key)} stands twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{_short(digits)} is out of range")
    return value
