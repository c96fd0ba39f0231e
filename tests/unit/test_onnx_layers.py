"""ONNX graphs made by hand, and what the simulator reads in them."""

import random
import sys

import numpy as np
import pytest

from crispsim.sim.errors import InputError
from crispsim.sim.onnx_layers import read_onnx

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

FLOAT = TensorProto.FLOAT


def weight(name, *shape):
    return numpy_helper.from_array(np.zeros(shape, np.float32), name)


def written(tmp_path, nodes, initializers, inputs, outputs=("y",), **more):
    values = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()]
    made = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "g", values, made, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), *more.pop("opsets", [])], **more)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    return path


def conv(tmp_path, given=(1, 6, 9, 8), shape=(4, 6, 3, 3), **attributes):
    node = helper.make_node("Conv", ["x", "c.weight"], ["y"], **attributes)
    return written(tmp_path, [node], [weight("c.weight", *shape)], {"x": given})


def test_a_convolution_with_all_its_attributes(tmp_path):
    path = conv(
        tmp_path,
        shape=(4, 2, 3, 2),
        kernel_shape=[3, 2],
        strides=[2, 1],
        pads=[1, 2, 1, 2],
        dilations=[1, 2],
        group=3,
    )
    with pytest.raises(InputError, match=r"m.onnx: Conv 'Conv 0': groups 3: must divide out_channels = 4"):
        read_onnx(path)
    path = conv(tmp_path, shape=(9, 2, 3, 2), strides=[2, 1], pads=[1, 2, 1, 2], dilations=[1, 2], group=3)
    (layer,) = read_onnx(path, notice=pytest.fail)
    assert layer.name == "c"
    assert (layer.in_height, layer.in_width, layer.in_channels, layer.out_channels) == (9, 8, 6, 9)
    assert (layer.kernel_h, layer.kernel_w, layer.stride_h, layer.stride_w) == (3, 2, 2, 1)
    assert (layer.pad_h, layer.pad_w, layer.dilation_h, layer.dilation_w, layer.groups) == (1, 2, 1, 2, 3)
    inferred = onnx.shape_inference.infer_shapes(onnx.load(path)).graph.output[0].type.tensor_type.shape.dim
    assert [side.dim_value for side in inferred] == [1, 9, layer.out_height, layer.out_width]


@pytest.mark.parametrize(
    ("given", "attributes", "pads"),
    [
        ((1, 6, 9, 9), {"auto_pad": "SAME_UPPER"}, (1, 1)),
        ((1, 6, 9, 9), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, (1, 1)),
        ((1, 6, 9, 9), {"auto_pad": "VALID"}, (0, 0)),
        ((1, 6, 9, 9), {"auto_pad": "NOTSET", "pads": [0, 2, 0, 2]}, (0, 2)),
        ((1, 6, 8, 8), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, "pads [0, 0, 1, 1]"),
        ((1, 6, 8, 8), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, "pads [1, 1, 0, 0]"),
        ((1, 6, 8, 8), {"pads": [1, 0, 0, 0]}, "pads [1, 0, 0, 0] (top, left, bottom, right): both sides"),
        ((1, 6, 8, 8), {"pads": [1, 1]}, "pads [1, 1]: must be 4 numbers"),
        ((1, 6, 8, 8), {"strides": [1, 1, 1]}, "strides [1, 1, 1]: must be 2 numbers"),
        ((1, 6, 8, 8), {"strides": [0, 1]}, "stride_h 0: must be an integer of at least 1"),
        ((1, 5, 8, 8), {}, "input of 5 channels: must be 6 x 1 groups"),
    ],
)
def test_padding(tmp_path, given, attributes, pads):
    path = conv(tmp_path, given, **attributes)
    if isinstance(pads, str):
        with pytest.raises(InputError) as caught:
            read_onnx(path)
        assert pads in str(caught.value) or "shapes cannot be worked out" in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    (layer,) = read_onnx(path)
    assert (layer.pad_h, layer.pad_w) == pads
    if "SAME" in attributes.get("auto_pad", ""):
        assert layer.out_height == -(-given[2] // layer.stride_h)


@pytest.mark.parametrize(
    ("node", "weights", "given", "expected"),
    [
        (helper.make_node("Gemm", ["x", "w"], ["y"]), (8, 5), (1, 8), (5, 8, 1)),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), (5, 8), (1, 8), (5, 8, 1)),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), (8, 5), (8, 3), (5, 8, 3)),
        (helper.make_node("Gemm", ["w", "x"], ["y"]), (5, 8), (8, 3), (5, 8, 3)),
        (helper.make_node("Gemm", ["w", "x"], ["y"], transA=1, transB=1), (8, 5), (3, 8), (5, 8, 3)),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (8, 5), (1, 7, 8), (5, 8, 7)),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (8, 5), (1, 2, 7, 8), (5, 8, 14)),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (1, 8, 5), (1, 7, 8), (5, 8, 7)),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (8, 5), (8,), (5, 8, 1)),
        (helper.make_node("MatMul", ["w", "x"], ["y"]), (5, 8), (1, 8, 7), (5, 8, 7)),
        (helper.make_node("MatMul", ["w", "x"], ["y"]), (5, 8), (8,), (5, 8, 1)),
    ],
)
def test_products(tmp_path, node, weights, given, expected):
    path = written(tmp_path, [node], [weight("w", *weights)], {"x": given})
    (layer,) = read_onnx(path, notice=pytest.fail)
    assert layer.kind == "gemm"
    assert (layer.s, layer.k, layer.p) == expected
    assert layer.name == f"{node.op_type}_0"


def test_a_batch_of_the_file_is_the_layers_batch(tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    (layer,) = read_onnx(written(tmp_path, [node], [weight("w", 8, 5)], {"x": (4, 7, 8)}))
    assert (layer.batch, layer.in_height, layer.p) == (4, 7, 28)
    (layer,) = read_onnx(conv(tmp_path, (4, 6, 9, 8)))
    assert (layer.batch, layer.p) == (4, 4 * 7 * 6)


def test_weights_that_are_worked_out(tmp_path):
    """Transposed, of a Constant node, dequantised, and large: the values are not needed."""
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.zeros((5, 40), np.float32)))
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["a"], name="first"),
        constant,
        helper.make_node("DequantizeLinear", ["q", "scale"], ["dq"]),
        helper.make_node("MatMul", ["a", "k"], ["b"], name="second"),
        helper.make_node("MatMul", ["b", "dq"], ["y"], name="third"),
    ]
    q = numpy_helper.from_array(np.zeros((40, 60), np.int8), "q")
    scale = numpy_helper.from_array(np.float32(1), "scale")
    path = written(tmp_path, nodes, [weight("w", 5, 300), q, scale], {"x": (1, 300)})
    found = [(layer.name, layer.s, layer.k) for layer in read_onnx(path, notice=pytest.fail)]
    assert found == [("first", 5, 300), ("second", 40, 5), ("third", 60, 40)]


def test_shapes_flow_through_reshapes_of_shapes(tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["y"]),
    ]
    integers = {"zero": np.int64(0), "axes": np.array([0]), "rest": np.array([-1])}
    constants = [numpy_helper.from_array(np.asarray(value, np.int64), name) for name, value in integers.items()]
    path = written(tmp_path, nodes, [*constants, weight("w", 24, 2)], {"x": ("n", 6, 2, 2)})
    assert [(layer.s, layer.k, layer.p) for layer in read_onnx(path)] == [(2, 24, 1)]


def test_what_is_left_out_is_said(tmp_path):
    nodes = [
        helper.make_node("ConvTranspose", ["x", "t"], ["up"], name="up"),
        helper.make_node("Conv", ["up", "c.weight"], ["a"], name="twice"),
        helper.make_node("Conv", ["a", "c.weight"], ["b"]),
        helper.make_node("MatMul", ["b", "b"], ["y"], name="scores"),
        helper.make_node("MatMul", ["stack", "stack"], ["z"], name="folded"),
        helper.make_node("MatMul", ["b", "stack"], ["v"], name="stacked"),
    ]
    weights = [weight("t", 2, 2, 1, 1), weight("c.weight", 2, 2, 1, 1), weight("stack", 2, 4, 4)]
    lines: list[str] = []
    path = written(tmp_path, nodes, weights, {"x": (1, 2, 4, 4)}, ("y", "z", "v"))
    assert [layer.name for layer in read_onnx(path, notice=lines.append)] == ["c", "c#2"]
    assert [line.rpartition(": ")[2] for line in lines] == ["up", "scores", "folded", "stacked"]
    assert "operators of another kind, left out (1)" in lines[0]


def test_open_sizes_are_given(tmp_path):
    path = conv(tmp_path, ("n", 6, "height", None))
    with pytest.raises(InputError, match=r"input 'x': axis 2 'height' is open: give --input x=1x6x\?x\?"):
        read_onnx(path)
    (layer,) = read_onnx(path, {"x": (2, 6, 5, 7)})
    assert (layer.batch, layer.in_height, layer.in_width) == (2, 5, 7)
    assert read_onnx(path, {"": (2, 6, 5, 7)}) == [layer]
    assert read_onnx(conv(tmp_path), {"": (1, 6, 30, 30)})[0].in_height == 30
    for inputs, said in (
        ({"z": (1,)}, "--input z: the model's inputs are x"),
        ({"x": (1, 6)}, "--input x=1x6: the model's input has 4 axes"),
        ({"x": (1, 5, 8, 8)}, "channels"),
    ):
        with pytest.raises(InputError, match=said):
            read_onnx(path, inputs)
    two = written(
        tmp_path,
        [helper.make_node("Add", ["x", "z"], ["y"])],
        [],
        {"x": (1, 2), "z": (1, 2)},
    )
    with pytest.raises(InputError, match=r"the model has 2 inputs \(x, z\); give NAME="):
        read_onnx(two, {"": (1, 2)})
    with pytest.raises(InputError, match="no layers: none of its 1 nodes"):
        read_onnx(two)


def test_a_shape_that_cannot_be_told(tmp_path):
    nodes = [
        helper.make_node("NonZero", ["x"], ["n"]),
        helper.make_node("Cast", ["n"], ["f"], to=FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["y"], name="late"),
    ]
    with pytest.raises(InputError, match="MatMul 'late': input 'f': its shape cannot be told"):
        read_onnx(written(tmp_path, nodes, [weight("w", 8, 5)], {"x": (1, 8)}))


def test_all_bad_layers_are_told_together(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "w"], [f"y{i}"], pads=[1, 0, 0, 0], name=f"n{i}") for i in range(12)]
    path = written(tmp_path, nodes, [weight("w", 2, 2, 3, 3)], {"x": (1, 2, 8, 8)}, ("y0",))
    with pytest.raises(InputError) as caught:
        read_onnx(path)
    assert len(caught.value.lines) == 11


def test_functions_are_looked_into(tmp_path):
    inner = helper.make_node("MatMul", ["a", "b"], ["c"])
    function = helper.make_function("own", "F", ["a", "b"], ["c"], [inner], [helper.make_opsetid("", 17)])
    path = written(
        tmp_path,
        [helper.make_node("F", ["x", "w"], ["y"], domain="own")],
        [weight("w", 8, 5)],
        {"x": (1, 8)},
        opsets=[helper.make_opsetid("own", 1)],
        functions=[function],
    )
    assert [(layer.s, layer.k) for layer in read_onnx(path)] == [(5, 8)]


@pytest.mark.parametrize(
    "content",
    [b"", b"no model", b"\x08\x07", bytes(range(256)) * 8, "truncated"],
    ids=["empty", "text", "no graph", "bytes", "truncated"],
)
def test_files_that_are_no_models(tmp_path, content):
    if content == "truncated":
        content = conv(tmp_path).read_bytes()[:-40]
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad.onnx: no ONNX model: .") as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)


def test_hostile_attributes_and_names(tmp_path):
    path = conv(tmp_path, pads=b"xx", name="# bad\nname")
    with pytest.raises(InputError) as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="# a\nname")
    (layer,) = read_onnx(written(tmp_path, [node], [weight("w", 8, 5)], {"x": (1, 8)}))
    assert layer.name == "a_name"
    huge = weight("w", 1, 1)
    huge.dims[:] = [2**62, 2**62]
    with pytest.raises(InputError):
        read_onnx(written(tmp_path, [node], [huge], {"x": (1, 2**31 - 1)}))


def test_missing_files_and_a_missing_package(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"none.onnx: cannot be read: No such file"):
        read_onnx(tmp_path / "none.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"needs the package onnx: pip install onnx"):
        read_onnx(tmp_path / "none.onnx")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_export_of_torch(tmp_path):
    """torch's own exporter, where it works without onnxscript: the layers are those of the traced model."""
    torch = pytest.importorskip("torch")
    from crispsim.bench.network_layers import layers_of_traced
    from crispsim.prune.export import trace_layers

    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(8 * 36, 5)
    ).eval()
    example = torch.zeros(1, 3, 16, 16)
    try:
        torch.onnx.export(
            model,
            (example,),
            tmp_path / "t.onnx",
            dynamo=False,
            dynamic_axes={"input": {0: "n"}},
            input_names=["input"],
        )
    except (TypeError, ModuleNotFoundError, RuntimeError) as error:
        pytest.skip(f"torch {torch.__version__} does not export: {error}")
    assert read_onnx(tmp_path / "t.onnx") == layers_of_traced(trace_layers(model, example))


def test_damaged_files_give_lines_and_nothing_else(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "c.weight"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2], group=2),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"], transB=1, name="last"),
    ]
    path = written(tmp_path, nodes, [weight("c.weight", 2, 2, 1, 1), weight("w", 2, 18)], {"x": ("n", 4, 4, 4)})
    assert len(read_onnx(path)) == 2
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_onnx(path)
        except InputError as error:
            refused += 1
            assert not any("\n" in line for line in error.lines)
    assert refused > 50
