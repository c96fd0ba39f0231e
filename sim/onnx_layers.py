"""The layers of an ONNX graph: convolutions, and matrix products with constant weights.

What is read: `Conv` of two spatial axes, `Gemm` and `MatMul`. A weight is constant if it is an initializer, a
`Constant`, or worked out from such alone (a transposed or dequantised initializer). A product of two activations, as
in attention, has no weights. Shapes come from ONNX's own shape inference.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError, LayerError
from .layer import Layer
from .onnx_graph import Graph, load_graph

if TYPE_CHECKING:
    from onnx import NodeProto

Pair = tuple[int, int]

# Other operators whose weights multiply activations; told of where they have weights, never read.
_OTHERS = {
    *("ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv", "MatMulInteger", "QLinearMatMul", "MatMulNBits"),
    *("RNN", "LSTM", "GRU", "Einsum", "Attention", "FusedMatMul", "FusedConv", "FusedGemm", "QGemm", "QAttention"),
}
_SUBGRAPHS = {"If", "Loop", "Scan", "SequenceMap"}


def read_onnx(
    path: str | os.PathLike[str],
    inputs: Mapping[str, Sequence[int]] | None = None,
    *,
    notice: Callable[[str], None] | None = None,
) -> list[Layer]:
    """Read the layers of a graph, in its order.

    Parameters
    ----------
    path : path
        An ONNX file; weights in files beside it are not needed, only their sizes.
    inputs : mapping of str to sequence of int, optional
        Shapes of inputs, in place of the file's; the name "" stands for the only input. An open first axis that is not
        given is taken as 1, the batch.
    notice : callable, optional
        Called with a line for what is left out: products of two activations, operators of other kinds.

    Returns
    -------
    list of Layer
        Named after the weight (`layer1.0.conv1` for `layer1.0.conv1.weight`), the node, or the operator; unique.

    Raises
    ------
    InputError
        The package onnx is missing, the file is no ONNX model, an input's shape is open or does not fit, a layer's
        sizes cannot be told or its padding differs between the sides, or there are no layers.
    """
    path = Path(path)
    graph = load_graph(path, inputs or {})
    layers: list[Layer] = []
    problems: list[str] = []
    left: dict[str, list[str]] = {}
    taken: set[str] = set()
    for index, node in enumerate(graph.nodes):
        label = node.name or f"{node.op_type} {index}"
        try:
            why = _left_out(graph, node)
            if why:
                left.setdefault(why, []).append(label)
            elif node.op_type in _READERS:
                fields = _READERS[node.op_type](graph, node)
                layers.append(Layer(name=_unique(_name(graph, node, index), taken), **fields))
        except LayerError as error:
            _, field, value, rule = error.args
            problems.append(f"{path}: {node.op_type} {label!r}: {field} {value!r}: {rule}")
        except _NodeError as error:
            problems.append(f"{path}: {node.op_type} {label!r}: {error}")
        except (TypeError, ValueError, IndexError) as error:  # attributes and shapes of another kind than ONNX has
            problems.append(f"{path}: {node.op_type} {label!r}: cannot be read: {error}")
    if problems:
        raise InputError(*problems)
    if not layers:
        raise InputError(
            f"{path}: no layers: none of its {len(graph.nodes)} nodes is a Conv, Gemm or MatMul with weights"
        )
    if notice:
        for why, names in left.items():
            notice(f"{path}: {why}, left out ({len(names)}): {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}")
    return layers


class _NodeError(Exception):
    """A node that should be a layer and cannot be."""


def _left_out(graph: Graph, node: NodeProto) -> str:
    """Why a node is no layer though it might be taken for one; empty if nothing need be said."""
    if node.op_type in _SUBGRAPHS:
        return "graphs inside a node, whose layers are not read"
    constant = [name in graph.constants for name in node.input]
    if node.op_type in _OTHERS and any(constant):
        return "operators of another kind"
    if node.op_type in _READERS and all(constant):
        return "worked out from constants alone"
    if node.op_type in ("MatMul", "Gemm") and not any(constant[:2]):
        return "products of two activations, which have no weights"
    if node.op_type == "Conv" and len(constant) > 1 and not constant[1]:
        return "convolutions by an activation, which have no weights"
    if node.op_type == "Conv" and len(graph.shape(node.input[1]) or (0,) * 4) != 4:
        return "convolutions of other than two spatial axes"
    if node.op_type == "MatMul":
        weight = _matrix(graph, node, constant.index(True))
        if weight is not None and len(weight) != 2:
            return "products by a stack of matrices or a vector"
    return ""


def _convolution(graph: Graph, node: NodeProto) -> dict[str, Any]:
    given, weight = _shape(graph, node, 0), _shape(graph, node, 1)
    if len(given) != 4:
        raise _NodeError(f"input of shape {_said(given)}: must have 4 axes")
    attributes = graph.attributes(node)
    groups = int(attributes.get("group", 1))
    kernel = (weight[2], weight[3])
    stride = _pair(attributes, "strides")
    dilation = _pair(attributes, "dilations")
    if given[1] != weight[1] * groups:
        raise _NodeError(f"input of {given[1]} channels: must be {weight[1]} x {groups} groups, as the weight has it")
    pads = _pads(attributes, (given[2], given[3]), kernel, stride, dilation)
    if pads[:2] != pads[2:]:
        rule = "both sides of an axis must have the same; put a Pad before it"
        raise _NodeError(f"pads {list(pads)} (top, left, bottom, right): {rule}")
    return {
        "kind": "conv",
        "in_height": given[2],
        "in_width": given[3],
        "kernel_h": kernel[0],
        "kernel_w": kernel[1],
        "in_channels": given[1],
        "out_channels": weight[0],
        "stride_h": stride[0],
        "stride_w": stride[1],
        "pad_h": pads[0],
        "pad_w": pads[1],
        "dilation_h": dilation[0],
        "dilation_w": dilation[1],
        "groups": groups,
        "batch": given[0],
    }


def _pads(attributes: Mapping[str, Any], sides: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[int, ...]:
    """Zeros at the top, left, bottom and right."""
    how = attributes.get("auto_pad", b"NOTSET")
    if how in (b"NOTSET", b"", b"VALID"):
        pads = tuple(attributes.get("pads", ())) or (0, 0, 0, 0)
        if how == b"VALID":
            return 0, 0, 0, 0
        if len(pads) != 4:
            raise _NodeError(f"pads {list(pads)}: must be 4 numbers")
        return pads
    if how not in (b"SAME_UPPER", b"SAME_LOWER"):
        raise _NodeError(f"auto_pad {how!r}: must be NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    before, after = [], []
    for side, size, step, reach in zip(sides, kernel, stride, dilation, strict=True):
        total = max((-(-side // step) - 1) * step + reach * (size - 1) + 1 - side, 0)
        less, more = total // 2, total - total // 2
        before.append(less if how == b"SAME_UPPER" else more)
        after.append(more if how == b"SAME_UPPER" else less)
    return (*before, *after)


def _gemm(graph: Graph, node: NodeProto) -> dict[str, Any]:
    """Y = A B, either of them the weight, either of them transposed."""
    attributes = graph.attributes(node)
    a, b = _shape(graph, node, 0), _shape(graph, node, 1)
    if len(a) != 2 or len(b) != 2:
        raise _NodeError(f"inputs of shapes {_said(a)} and {_said(b)}: must be matrices")
    if attributes.get("transA", 0):
        a = a[::-1]
    if attributes.get("transB", 0):
        b = b[::-1]
    if node.input[1] in graph.constants:
        return _product(graph, a, rows=b[1], columns=b[0])
    return _product(graph, b[::-1], rows=a[0], columns=a[1])


def _matmul(graph: Graph, node: NodeProto) -> dict[str, Any]:
    a, b = _shape(graph, node, 0), _shape(graph, node, 1)
    if node.input[1] in graph.constants:
        columns, rows = b[-2:]
        return _product(graph, a, rows=rows, columns=columns)
    rows, columns = a[-2:]
    if len(b) < 2:
        return _product(graph, b, rows=rows, columns=columns)
    return _product(graph, (*b[:-2], b[-1], b[-2]), rows=rows, columns=columns)


def _product(graph: Graph, tokens: tuple[int, ...], *, rows: int, columns: int) -> dict[str, Any]:
    """A weight (rows, columns) that multiplies every token, a vector along the last axis."""
    if not tokens or tokens[-1] != columns:
        raise _NodeError(f"input of shape {_said(tokens)}: its tokens must have {columns} values, as the weight has")
    count = 1
    for side in tokens[:-1]:
        count *= side
    batch = graph.batch if len(tokens) > 1 and tokens[0] == graph.batch else 1
    return {
        "kind": "gemm",
        "in_height": count // batch,
        "in_width": 1,
        "kernel_h": 1,
        "kernel_w": 1,
        "in_channels": columns,
        "out_channels": rows,
        "batch": batch,
    }


_READERS = {"Conv": _convolution, "Gemm": _gemm, "MatMul": _matmul}


def _matrix(graph: Graph, node: NodeProto, place: int) -> tuple[int, ...] | None:
    """Shape of a constant without leading axes of 1, which change nothing."""
    shape = graph.shape(node.input[place])
    while shape and len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _shape(graph: Graph, node: NodeProto, place: int) -> tuple[int, ...]:
    if place >= len(node.input):
        raise _NodeError(f"{len(node.input)} inputs: must have {place + 1} at least")
    name = node.input[place]
    shape = graph.shape(name)
    if shape is None:
        raise _NodeError(
            f"input {name!r}: its shape cannot be told from the graph; give --input, or simplify the graph"
        )
    return shape


def _pair(attributes: Mapping[str, Any], name: str) -> Pair:
    values = tuple(attributes.get(name, ())) or (1, 1)
    if len(values) != 2:
        raise _NodeError(f"{name} {list(values)}: must be 2 numbers")
    return int(values[0]), int(values[1])


def _name(graph: Graph, node: NodeProto, index: int) -> str:
    weights = [str(name) for name in node.input[:2] if name in graph.constants]
    named = [name for name in weights if name.endswith((".weight", "_weight")) and "::" not in name]
    text = next((name.removesuffix(".weight") for name in named), str(node.name) or f"{node.op_type}_{index}")
    text = "".join(letter if letter.isprintable() else "_" for letter in text).strip().lstrip("#").strip()
    return text or f"{node.op_type}_{index}"


def _unique(name: str, taken: set[str]) -> str:
    """The name, or name#2 and so on."""
    unique, times = name, 1
    while unique in taken:
        times += 1
        unique = f"{name}#{times}"
    taken.add(unique)
    return unique


def _said(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "one number"
