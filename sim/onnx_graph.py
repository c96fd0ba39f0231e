"""An ONNX file as a list of nodes with the shapes of their inputs; the package onnx is imported here only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

# Constants up to this size may be shapes, which inference reads; the values of larger ones are dropped before it.
_SHAPE_VALUES = 1024
_LARGEST_AXIS = 2**31 - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A graph whose shapes are known.

    Attributes
    ----------
    nodes : list of NodeProto
        In the file's order, which is the order they run in.
    constants : set of str
        Names of values that depend on no input.
    batch : int
        First axis of the first input.
    """

    nodes: list[NodeProto]
    constants: set[str]
    batch: int
    shapes: dict[str, tuple[int, ...]]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a value; None if it cannot be told."""
        return self.shapes.get(name)

    def attributes(self, node: NodeProto) -> dict[str, Any]:
        """A node's attributes by name: numbers, bytes and lists of them."""
        from onnx import helper

        try:
            return {one.name: helper.get_attribute_value(one) for one in node.attribute}
        except Exception as error:  # of a type that onnx does not know
            raise InputError(f"node {node.name!r}: attributes that cannot be read: {_line(error)}") from error


def load_graph(path: Path, inputs: Mapping[str, Sequence[int]]) -> Graph:
    """Read a file and work out the shapes of all values.

    Parameters
    ----------
    path : Path
    inputs : mapping of str to sequence of int
        Shapes of inputs; the name "" stands for the only one.

    Raises
    ------
    InputError
        The package onnx is missing, the file cannot be read or is no ONNX model, or an input's shape is open or does
        not fit.
    """
    try:
        import onnx
        from onnx import inliner, shape_inference
    except ImportError as error:
        raise InputError(f"{path}: reading ONNX needs the package onnx: pip install onnx") from error
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:
        raise InputError(f"{path}: no ONNX model: {_line(error)}") from None
    if not model.graph.node:
        raise InputError(f"{path}: no ONNX model: it has no graph with nodes")
    _drop_values(model.graph)
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        batch = _set_inputs(path, model, inputs)
        model = shape_inference.infer_shapes(model, data_prop=True)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: its shapes cannot be worked out: {_line(error)}") from None
    graph = model.graph
    return Graph(nodes=list(graph.node), constants=_constants(graph), batch=batch, shapes=_shapes(graph))


def _drop_values(graph: GraphProto) -> None:
    """Forget the values of weights: shapes are worked out on a copy, and need none."""
    tensors = [*graph.initializer]
    for node in graph.node:
        tensors.extend(one.t for one in node.attribute if one.name == "value" and one.HasField("t"))
    for tensor in tensors:
        size = 1
        for side in tensor.dims:
            size *= side
        if size > _SHAPE_VALUES:
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(field)


def _set_inputs(path: Path, model: ModelProto, inputs: Mapping[str, Sequence[int]]) -> int:
    """Fix the shapes of the inputs, **modified** in place; returns the batch."""
    stored = {tensor.name for tensor in model.graph.initializer}
    real = [value for value in model.graph.input if value.name not in stored]
    names = ", ".join(value.name for value in real) or "none"
    given = dict(inputs)
    if "" in given:
        if len(real) != 1:
            raise InputError(
                f"{path}: --input without a name: the model has {len(real)} inputs ({names}); give NAME=..."
            )
        given[real[0].name] = given.pop("")
    for name in given:
        if name not in {value.name for value in real}:
            raise InputError(f"{path}: --input {name}: the model's inputs are {names}")
    batch = 1
    for index, value in enumerate(real):
        if value.type.HasField("tensor_type"):
            shape = _set_input(path, value, given.get(value.name))
            if index == 0 and shape:
                batch = shape[0]
    if given:  # what the file says of other shapes may hold no longer
        del model.graph.value_info[:]
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
    return batch


def _set_input(path: Path, value: ValueInfoProto, given: Sequence[int] | None) -> tuple[int, ...]:
    sides = value.type.tensor_type.shape.dim
    if given is not None:
        if value.type.tensor_type.HasField("shape") and len(sides) != len(given):
            raise InputError(
                f"{path}: --input {value.name}={'x'.join(map(str, given))}: the model's input has {len(sides)} axes"
            )
        del sides[:]
        for side in given:
            sides.add().dim_value = side
    shape = []
    for axis, side in enumerate(sides):
        known = side.HasField("dim_value") and side.dim_value > 0
        if not known and axis > 0:
            called = f" {side.dim_param!r}" if side.dim_param else ""
            example = "x".join(
                str(one.dim_value) if one.HasField("dim_value") and one.dim_value > 0 else ("1" if not place else "?")
                for place, one in enumerate(sides)
            )
            raise InputError(
                f"{path}: input {value.name!r}: axis {axis}{called} is open: give --input {value.name}={example}"
            )
        if not known:
            side.dim_value = 1
        if side.dim_value > _LARGEST_AXIS:
            raise InputError(f"{path}: input {value.name!r}: axis {axis} of {side.dim_value}: must be at most 2^31 - 1")
        shape.append(int(side.dim_value))
    return tuple(shape)


def _constants(graph: GraphProto) -> set[str]:
    known = {tensor.name for tensor in graph.initializer}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type == "Constant" or (inputs and known.issuperset(inputs)):
            known.update(name for name in node.output if name)
    return known


def _shapes(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    """Shapes of all values that are known in full."""
    shapes: dict[str, tuple[int, ...]] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            sides = value.type.tensor_type.shape.dim
            if all(side.HasField("dim_value") for side in sides):
                shapes[value.name] = tuple(int(side.dim_value) for side in sides)
    for tensor in graph.initializer:
        shapes[tensor.name] = tuple(int(side) for side in tensor.dims)
    for node in graph.node:
        if node.op_type == "Constant":
            value = _constant_value(node)
            if value is not None:
                shapes[node.output[0]] = tuple(int(side) for side in value.dims)
    return shapes


def _constant_value(node: NodeProto) -> TensorProto | None:
    return next((one.t for one in node.attribute if one.name == "value" and one.HasField("t")), None)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
