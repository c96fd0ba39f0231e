"""One layer in the header of a packed model file: its fields, their limits, and the tensors it must have.

`FORMAT.md`, sections 3 and 4, is the law. A record is what JSON says of a layer, checked on its own;
`packed_header` reads and writes records, `packed_file` turns them into matrices.

Letters: S rows, K columns and P output positions of a layer's matrix product; N:M and B as in `pattern`.
Messages name the layer, the value and the rule.
"""

from __future__ import annotations

import json
import math
import reprlib
from dataclasses import dataclass
from types import NoneType
from typing import NamedTuple, NoReturn

from .errors import FileFormatError, PatternError
from .pattern import Pattern

MAX_NUMBER = 2**31 - 1
MAX_WEIGHTS = 2**34
MAX_NAME_CHARACTERS = 200
MAX_SCALE = 1e30

DTYPE_CODES = {"int8": "I8", "uint8": "U8", "int32": "I32", "float16": "F16", "float32": "F32"}
ITEM_BYTES = {"I8": 1, "U8": 1, "I32": 4, "F16": 2, "F32": 4}

_REPR = reprlib.Repr()
_REPR.maxstring = 240  # a whole tensor name
short = _REPR.repr  # one line of any length of input

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
            raise FileFormatError(f"layer name {short(name)}: {rule}")
        for field, choices in _CHOICES.items():
            value = getattr(self, field)
            if not isinstance(value, (str, bool, NoneType)) or value not in choices:
                self._fail(f"{field} {short(value)}", f"must be {' or '.join(map(json.dumps, choices))}")
        for field in _COUNTS:
            self._check_number(field, getattr(self, field), 1)
        for field in ("block", "kept_blocks"):
            if getattr(self, field) is not None:
                self._check_number(field, getattr(self, field), 1)
        for field, least in _PAIRS.items():
            pair = getattr(self, field)
            if not isinstance(pair, tuple) or len(pair) != 2:
                self._fail(f"{field} {short(pair)}", "must be a pair of integers")
            for value in pair:
                self._check_number(field, value, least)

    def _check_number(self, field: str, value: object, least: int) -> None:
        if type(value) is not int or not least <= value <= MAX_NUMBER:
            self._fail(f"{field} {short(value)}", f"must be an integer from {least} to {MAX_NUMBER}")

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
            self._fail(f"kept_blocks {self.kept_blocks}", f"must be at most {block_columns}, a whole block row")
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
                self._fail(f"{field} {short(values)}", f"must be {channels} numbers, one per output channel")
        for value in self.scales or ():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MAX_SCALE:
                self._fail(f"scale {short(value)}", f"must be a number above 0 and at most {MAX_SCALE:g}")
        for value in self.zero_points or ():
            if type(value) is not int or not -128 <= value <= 127:
                self._fail(f"zero point {short(value)}", "must be an integer from -128 to 127")
        if self.zero_points is not None and self.scales is None:
            self._fail("zero_points without scales", "give both or scales only")
        if any(self.zero_points or ()) and (self.m > 1 or self.block is not None):
            self._fail("nonzero zero point", "a sparse layer's must be 0: a pruned weight is exactly 0")

    def _fail(self, what: str, rule: str) -> NoReturn:
        raise FileFormatError(f"layer {self.name!r}: {what}: {rule}")
