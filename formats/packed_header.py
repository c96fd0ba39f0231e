"""The header of a packed model file: parsed strictly, and written the same way every time.

Three files make the format, each on top of the one before: `packed_layer` says what a layer is and which
tensors it has, this one puts layers and tensors into JSON and back, and `packed_file` adds the bytes.

The container is safetensors (8-byte little-endian length, JSON, tensors; `FORMAT.md` is the law). The
safetensors library reads these files but does not write them: it keeps the metadata in a hash map whose
order changes from run to run, so equal models would give different bytes, and it takes every tensor as
a copy in memory. Its reader is not used either: it cannot say which rule a malformed file breaks.

Messages name the layer or tensor, the value and the rule; `packed_file` puts the file's name in front.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, NoReturn

from .errors import FileFormatError
from .packed_layer import ITEM_BYTES, MAX_NUMBER, LayerRecord, TensorType, short

MAX_HEADER_BYTES = 32 * 2**20
MAX_OFFSET = 2**63 - 1
MAX_AXES = 6

_IDENTITY = {"format": "crispsim", "version": "1", "bit_order": "little"}


class TensorEntry(NamedTuple):
    """Where a tensor lies: bytes [begin, end) of the data that follow the header."""

    type: TensorType
    begin: int
    end: int


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
    metadata = {**_IDENTITY, "layers": _to_json(records), "made_by": _made_by_to_json(header.made_by)}
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
    entries = _parse_json(text, "header")
    if not text.startswith("{") or not isinstance(entries, dict):
        raise FileFormatError(f"header {short(text)}: must be a JSON object and begin with '{{'")
    metadata = _parse_metadata(entries.pop("__metadata__", None))
    layers = _parse_layers(metadata["layers"])
    made_by = _parse_json(metadata["made_by"], "made_by")
    if not isinstance(made_by, dict):
        raise FileFormatError(f"made_by {short(made_by)}: must be a JSON object")
    _made_by_to_json(made_by)
    types = _promised(layers)
    tensors = {name: _parse_entry(name, entry) for name, entry in entries.items()}
    _check_promises(types, tensors)
    _check_coverage(tensors, data_bytes)
    return Header(layers, made_by, tensors)


def _parse_metadata(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        what = "not a packed model: " if metadata is None else ""  # a plain safetensors file
        raise FileFormatError(f"{what}__metadata__ {short(metadata)}: must be an object of strings")
    for key, known in _IDENTITY.items():
        if metadata.get(key) != known:
            found = short(metadata.get(key))
            raise FileFormatError(f"{key} {found}: must be {known!r}, all this reader knows")
    _check_keys("__metadata__", metadata, {*_IDENTITY, "layers", "made_by"})
    return metadata


def _parse_layers(text: str) -> tuple[LayerRecord, ...]:
    records = _parse_json(text, "layers")
    if not isinstance(records, list):
        raise FileFormatError(f"layers {short(records)}: must be a JSON array")
    layers: list[LayerRecord] = []
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            raise FileFormatError(f"layer #{position} {short(record)}: must be a JSON object")
        _check_keys(f"layer #{position}", record, {field.name for field in fields(LayerRecord)})
        values: dict[str, Any] = dict(record)
        values.update({key: tuple(value) for key, value in record.items() if isinstance(value, list)})
        layers.append(LayerRecord(**values))
    return tuple(layers)


def _parse_entry(name: str, entry: object) -> TensorEntry:
    what = f"tensor {short(name)}"
    if not isinstance(entry, dict):
        raise FileFormatError(f"{what}: entry {short(entry)}: must be a JSON object")
    _check_keys(what, entry, {"dtype", "shape", "data_offsets"})
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise FileFormatError(f"{what}: dtype {short(dtype)}: must be one of {', '.join(ITEM_BYTES)}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= MAX_AXES or not _are_integers(shape, 1, MAX_NUMBER):
        raise FileFormatError(f"{what}: shape {short(shape)}: must be 1 to {MAX_AXES} integers from 1 to {MAX_NUMBER}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not _are_integers(offsets, 0, MAX_OFFSET):
        raise FileFormatError(f"{what}: data_offsets {short(offsets)}: must be two integers from 0 to {MAX_OFFSET}")
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
            raise FileFormatError(f"tensor {short(name)}: unexpected: belongs to no layer of the list")


def _made_by_to_json(made_by: Mapping[str, Any]) -> str:
    """JSON of how a model was made, keys sorted; refuses what JSON would not give back unchanged."""
    try:
        text = json.dumps(made_by, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
        text.encode()
        if json.loads(text) == made_by:
            return text
    except (TypeError, ValueError, RecursionError):
        pass
    raise FileFormatError(f"made_by {short(made_by)}: must be a dict that JSON gives back unchanged")


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _parse_json(text: str, what: str) -> Any:
    """Read JSON (RFC 8259), not nested too deep, without duplicate keys, NaN or infinities."""
    try:
        return json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite_float
        )
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{what}: {error}: must be JSON with unique keys and finite numbers") from None


def _check_keys(what: str, found: Mapping[str, object], known: set[str]) -> None:
    rule = f"must have exactly {', '.join(sorted(known))}"
    if missing := sorted(known - found.keys()):
        raise FileFormatError(f"{what}: key {missing[0]!r} is missing: {rule}")
    if unknown := sorted(found.keys() - known):
        raise FileFormatError(f"{what}: key {short(unknown[0])} is unknown: {rule}")


def _are_integers(values: Iterable[object], least: int, most: int) -> bool:
    return all(type(value) is int and least <= value <= most for value in values)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {short(key)} stands twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{short(digits)} is out of range")
    return value
