"""The packed model file: what comes back, who else can read it, and one message for each defect."""

import json
import pickle

import numpy as np
import pytest
import safetensors.numpy

from crispsim.formats import packed_file
from crispsim.formats.crisp import CrispMatrix
from crispsim.formats.errors import FileFormatError
from crispsim.formats.nm import NMMatrix
from crispsim.formats.packed_file import PackedLayer, PackedModel, read_model, write_model

pytestmark = pytest.mark.kernel

SCALES = tuple(0.5 + i for i in range(6))


def dense_weights(rows, columns, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, (rows, columns), dtype=np.int8)


def nm_weights(rows, columns, m, n=1, seed=0):
    weights = dense_weights(rows, columns, seed)
    weights[:, np.arange(columns) % m >= n] = 0
    return weights


def crisp_layer(name="crisp", **changes):
    """6 x 18, padded to 8 x 20 by B = 4: a 3 x 3 convolution of 2 channels."""
    weights = nm_weights(6, 18, 4, n=2)
    weights[:, 8:12] = 0
    kept = np.array([[0, 1, 3], [0, 1, 4]], np.int32)
    weights[:4, 16:], weights[4:, 12:16] = 0, 0
    given = {
        "name": name,
        "weights": CrispMatrix.encode(weights, n=2, m=4, block=4, block_cols=kept),
        "kernel": (3, 3),
        "stride": (2, 1),
        "padding": (1, 1),
        "scales": SCALES,
        "unstructured": np.packbits(weights != 0, axis=1, bitorder="little"),
        "activations": dense_weights(5 * 4, 2, seed=1).reshape(5, 4, 2),
    }
    geometry = {"in_channels": 2, "in_height": 5, "in_width": 4, "p": 12, "batch": 3, "calls": 2}
    return PackedLayer(**{"kind": "conv", "dtype": "int8", **geometry, **given, **changes})


def gemm_layer(name="gemm", weights=None, **changes):
    weights = dense_weights(5, 7).astype(np.float32) if weights is None else weights
    given = {"in_channels": 7, "in_height": 9, "p": 9, "dtype": "float32"}
    return PackedLayer(name=name, weights=weights, kind="gemm", **{**given, **changes})


def grouped_layer(name="grouped"):
    weights = tuple(CrispMatrix.encode(nm_weights(5, 8, 4, seed=g), n=1, m=4, block=8) for g in range(3))
    bits = np.stack([np.packbits(each.decode() != 0, axis=1, bitorder="little") for each in weights])
    geometry = {"in_channels": 24, "in_height": 2, "in_width": 2, "p": 4, "groups": 3}
    mask = np.array([[[3], [1]], [[0], [2]]], np.uint8).repeat(24, axis=0).reshape(24, 2, 2)[:, :, :1]
    others = {"unstructured": bits, "activations": mask, "activation_layout": "chw"}
    return PackedLayer(name=name, weights=weights, kind="conv", dtype="int8", **geometry, **others)


def nm_packed():
    return NMMatrix.encode(nm_weights(5, 7, 3), n=1, m=3)


def every_layer():
    blocks = CrispMatrix.encode(dense_weights(4, 8), n=1, m=1, block=4)
    odd = NMMatrix.encode(nm_weights(5, 7, 3).astype(np.float16), n=1, m=3)
    depthwise = tuple(dense_weights(1, 9, seed=g) for g in range(4))
    return (
        crisp_layer(),
        gemm_layer(),
        gemm_layer("nm", odd, dtype="float16"),
        gemm_layer("blocks", blocks, in_channels=8, dtype="int8", scales=(1.0,) * 4, zero_points=(0,) * 4),
        grouped_layer(),
        PackedLayer(
            name="depthwise",
            weights=depthwise,
            kind="conv",
            kernel=(3, 3),
            groups=4,
            in_channels=4,
            in_height=3,
            in_width=3,
            p=1,
            dtype="int8",
        ),
    )


def assert_same(found, expected):
    for ours, theirs in zip(found.layers, expected.layers, strict=True):
        assert ours.record() == theirs.record()
        for role in theirs.record().tensors():
            for one, other in zip(ours.arrays(role), theirs.arrays(role), strict=True):
                np.testing.assert_array_equal(one, other, strict=True)
    assert found.made_by == expected.made_by


@pytest.fixture
def model():
    return PackedModel(every_layer(), {"tool": "test", "seed": 7, "steps": [0.5, None, "é"]})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_comes_back_as_it_was(path, model):
    write_model(path, model)
    found = read_model(path)
    assert_same(found, model)
    assert found.path == path
    np.testing.assert_array_equal(found["crisp"].weights.decode(), model["crisp"].weights.decode())
    np.testing.assert_array_equal(found["grouped"].weights[2].decode(), model["grouped"].weights[2].decode())


def test_maps_the_file_instead_of_reading_it(path, model):
    write_model(path, model)
    values = read_model(path, check=False)["gemm"].weights
    assert not values.flags.writeable
    assert not values.flags.owndata


def test_bytes_do_not_depend_on_how_equal_input_was_given(path, model, tmp_path):
    write_model(path, model)
    other = tmp_path / "other.safetensors"
    layers = list(model.layers)
    layers[1] = gemm_layer(weights=np.asfortranarray(model["gemm"].weights))
    write_model(other, PackedModel(tuple(layers), dict(reversed(model.made_by.items()))))
    assert other.read_bytes() == path.read_bytes()


def test_safetensors_library_reads_it(path, model):
    write_model(path, model)
    tensors = safetensors.numpy.load_file(path)
    np.testing.assert_array_equal(tensors["crisp.values"], model["crisp"].weights.values, strict=True)
    np.testing.assert_array_equal(tensors["gemm.dense"], model["gemm"].weights, strict=True)
    assert tensors["grouped.nm_index"].shape == (3, 1, 1, 4)
    assert {name.partition(".")[0] for name in tensors} == {layer.name for layer in model.layers}


def test_a_copy_by_the_safetensors_library_is_read(path, model):
    write_model(path, model)
    with safetensors.safe_open(path, "np") as opened:
        metadata = opened.metadata()
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path, metadata)
    assert_same(read_model(path), model)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, model, monkeypatch):
    path.write_bytes(b"old")

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(packed_file.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_model(path, model)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_unknown_layer_is_named(model):
    with pytest.raises(KeyError, match="'conv9': not among the 6"):
        model["conv9"]


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: crisp_layer(p=13), ["layer 'crisp'", "p 13", "must be 12 = 3 x 4"]),
        (lambda: crisp_layer(in_channels=4), ["K 18", "must be 36"]),
        (lambda: crisp_layer(dtype="float32"), ["scales on float32", "only int8"]),
        (lambda: crisp_layer(k_order="chw"), ["k_order 'chw'", "its matrix's, 'hwc'"]),
        (lambda: crisp_layer(batch=True), ["batch True", "integer from 1"]),
        (lambda: crisp_layer(zero_points=(0,) * 5 + (1,)), ["nonzero zero point", "must be 0"]),
        (
            lambda: crisp_layer(activations=np.zeros((4, 5, 2), np.int8)),
            ["activations int8 [4, 5, 2]", "[5, 4, 2]"],
        ),
        (
            lambda: crisp_layer(weights=(crisp_layer().weights,)),
            ["a tuple of 1 with groups = 1"],
        ),
        (lambda: crisp_layer(weights=[[1]]), ["weights list", "CrispMatrix"]),
        (lambda: crisp_layer(name="a\nb"), ["layer name 'a\\nb'", "printable"]),
        (lambda: gemm_layer(dtype="float16"), ["dense float32 [5, 7]", "must be float16"]),
        (lambda: gemm_layer(kernel=(1, 7), in_channels=1), ["kernel (1, 7)", "(1, 1) for a gemm"]),
        (
            lambda: gemm_layer("x", NMMatrix.encode(np.eye(7), n=1, m=1)),
            ["NMMatrix 1:1", "an ndarray"],
        ),
        (lambda: gemm_layer("", None), ["layer name ''", "1 to 200"]),
    ],
)
def test_impossible_layer_is_refused(build, parts):
    assert_message(build, parts)


@pytest.mark.parametrize(
    ("layers", "made_by", "parts"),
    [
        (lambda: (), {}, ["no layers", "at least one"]),
        (lambda: (gemm_layer(), gemm_layer()), {}, ["layer 'gemm'", "stands twice", "unique"]),
        (lambda: (gemm_layer(),), {"seed": {1, 2}}, ["made_by", "unchanged"]),
        (lambda: (gemm_layer(),), {1: "seed"}, ["made_by", "unchanged"]),
        (lambda: (gemm_layer(),), {"lr": float("nan")}, ["made_by", "unchanged"]),
        (lambda: (gemm_layer(),), {"note": "x" * 2**25}, ["header of 33", "at most 33554432"]),
        (lambda: (gemm_layer(weights=np.full((5, 7), np.inf, np.float32)),), {}, ["inf at [0, 0]", "finite"]),
    ],
)
def test_model_that_cannot_be_written_is_refused(path, layers, made_by, parts):
    assert_message(lambda: write_model(path, PackedModel(layers(), made_by)), [str(path), *parts])
    assert not path.exists()


def assert_message(action, parts):
    with pytest.raises(FileFormatError) as caught:
        action()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 1500
    for part in parts:
        assert part in message


class Forgery:
    """A valid file taken apart; `write` puts it together again, as it then is."""

    def __init__(self, path):
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        self.tensors = json.loads(raw[8 : 8 + length])
        self.metadata = self.tensors.pop("__metadata__")
        self.layers = json.loads(self.metadata["layers"])
        self.layer = self.layers[0]
        self.data = bytearray(raw[8 + length :])

    def write(self, path):
        metadata = {**self.metadata}
        if isinstance(metadata.get("layers"), str) and metadata["layers"].startswith("[{"):
            metadata["layers"] = json.dumps(self.layers)
        write_raw(path, json.dumps({"__metadata__": metadata, **self.tensors}).encode(), self.data)

    def poke(self, tensor, offset, data):
        begin = self.tensors[tensor]["data_offsets"][0] + offset
        self.data[begin : begin + len(data)] = data


def write_raw(path, header, data=b"", length=None):
    header += b" " * (-len(header) % 8)
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)


def set_layer(**changes):
    return lambda f: f.layer.update(changes)


def set_tensor(name, **changes):
    return lambda f: f.tensors[f"crisp.{name}"].update(changes)


def poke(name, offset, *numbers):
    dtype = "<i4" if name == "block_cols" else "u1"
    return lambda f: f.poke(f"crisp.{name}", offset, np.array(numbers, dtype).tobytes())


def set_metadata(**changes):
    return lambda f: f.metadata.update(changes)


DEFECTS = {
    "format": (set_metadata(format="pt"), ["format 'pt'", "must be 'crispsim'"]),
    "version": (set_metadata(version="2"), ["version '2'", "must be '1'"]),
    "bit order": (set_metadata(bit_order="big"), ["bit_order 'big'", "must be 'little'"]),
    "metadata key": (set_metadata(author="x"), ["'author' is unknown"]),
    "metadata type": (set_metadata(format=1), ["__metadata__", "object of strings"]),
    "no metadata": (lambda f: f.metadata.clear(), ["format None", "must be 'crispsim'"]),
    "layers not JSON": (set_metadata(layers="{"), ["layers: ", "must be JSON"]),
    "layers not a list": (set_metadata(layers="{}"), ["layers {}", "array"]),
    "layer not an object": (set_metadata(layers="[3]"), ["layer #0 3", "object"]),
    "no layers": (set_metadata(layers="[]"), ["no layers", "at least one"]),
    "duplicate layer key": (set_metadata(layers='[ {"p":1,"p":2}]'), ["'p' stands twice", "unique keys"]),
    "made_by not an object": (set_metadata(made_by="[]"), ["made_by []", "object"]),
    "made_by NaN": (set_metadata(made_by='{"a":NaN}'), ["made_by: NaN", "finite"]),
    "made_by infinite": (set_metadata(made_by='{"a":1e999}'), ["made_by: '1e999'", "finite"]),
    "made_by too deep": (set_metadata(made_by='{"a":' + "[" * 99999), ["made_by: ", "recursion"]),
    "made_by surrogate": (set_metadata(made_by=r'{"a":"\ud800"}'), ["made_by", "unchanged"]),
    "layer key missing": (lambda f: f.layer.pop("p"), ["layer #0", "'p' is missing"]),
    "layer key unknown": (set_layer(color=1), ["layer #0", "'color' is unknown"]),
    "layer renamed": (set_layer(name="conv"), ["tensor 'conv.values'", "missing"]),
    "name type": (set_layer(name=7), ["layer name 7", "printable"]),
    "kind": (set_layer(kind="rnn"), ["kind 'rnn'", '"conv" or "gemm"']),
    "negative size": (set_layer(in_height=-5), ["in_height -5", "integer from 1"]),
    "fractional size": (set_layer(in_width=4.0), ["in_width 4.0", "integer from 1"]),
    "non-finite size": (set_layer(in_width=float("inf")), ["Infinity", "finite"]),
    "huge number": (set_layer(calls=10**30), ["calls 1000", "to 2147483647"]),
    "huge matrix": (set_layer(shape=[2**31 - 1, 18]), ["38654705646 weights", "at most 17179869184"]),
    "claimed rows": (set_layer(shape=[60, 18], scales=None), ["'crisp.values'", "needs I8 [15, 3, 4, 2]"]),
    "pair": (set_layer(stride=[1]), ["stride (1,)", "pair"]),
    "pattern": (set_layer(n=5), ["pattern 5:4", "N <= M"]),
    "pattern 2:2": (set_layer(n=2, m=2), ["pattern 2:2", "written 1:1"]),
    "block": (set_layer(block=6), ["block 6", "multiple of M = 4"]),
    "kept_blocks": (set_layer(kept_blocks=6), ["kept_blocks 6", "at most 5"]),
    "kept_blocks null": (set_layer(kept_blocks=None), ["kept_blocks None, block 4", "both null"]),
    "p": (set_layer(p=11), ["layer 'crisp': p 11", "must be 12 = 3 x 4"]),
    "filter too large": (set_layer(dilation=[4, 1]), ["in_height 5", "filter's reach, 9"]),
    "groups": (set_layer(groups=3, scales=None), ["in_channels 2", "multiple of groups = 3"]),
    "scales count": (set_layer(scales=[1.0]), ["scales (1.0,)", "6 numbers"]),
    "scale": (set_layer(scales=[1.0] * 5 + [-1.0]), ["scale -1.0", "above 0"]),
    "zero point": (set_layer(zero_points=[0] * 5 + [128]), ["zero point 128", "-128 to 127"]),
    "zero points alone": (set_layer(scales=None, zero_points=[0] * 6), ["zero_points without scales"]),
    "wrong dtype": (set_tensor("values", dtype="U8"), ["is U8", "needs I8"]),
    "unknown dtype": (set_tensor("values", dtype="F64"), ["dtype 'F64'", "one of I8"]),
    "wrong shape": (
        set_tensor("values", shape=[2, 3, 2, 4]),
        ["is I8 [2, 3, 2, 4]", "needs I8"],
    ),
    "huge shape": (set_tensor("values", shape=[2**31 - 1] * 6), ["data_offsets", "must span the"]),
    "too many axes": (set_tensor("values", shape=[1] * 7), ["shape [1, 1, 1, 1, 1, 1, ...]", "1 to 6"]),
    "negative shape": (set_tensor("values", shape=[-2, -3, 4, 2]), ["shape [-2, -3, 4, 2]", "from 1"]),
    "negative offset": (
        set_tensor("values", data_offsets=[-48, 0]),
        ["data_offsets [-48, 0]", "from 0"],
    ),
    "endless offset": (
        set_tensor("values", data_offsets=[0, 10**4000]),
        ["data_offsets [0, 1000", "two"],
    ),
    "entry key": (set_tensor("values", extra=1), ["tensor 'crisp.values'", "'extra' is unknown"]),
    "missing tensor": (lambda f: f.tensors.pop("crisp.nm_index"), ["tensor 'crisp.nm_index'", "missing"]),
    "unexpected tensor": (
        lambda f: f.tensors.update({"crisp.bias": f.tensors["crisp.nm_index"]}),
        ["tensor 'crisp.bias'", "unexpected"],
    ),
    "overlap": (
        set_tensor("nm_index", data_offsets=[70, 82]),
        ["crisp.nm_index': overlaps 'crisp.values'"],
    ),
    "gap": (
        set_tensor("nm_index", data_offsets=[73, 85]),
        ["crisp.nm_index': leaves a gap after"],
    ),
    "misaligned": (
        set_tensor("block_cols", data_offsets=[2, 26]),
        ["begins at byte 2", "multiple of 4"],
    ),
    "truncated data": (lambda f: f.data.pop(), ["'crisp.activations'", "truncated", "142", "141"]),
    "trailing data": (lambda f: f.data.append(0), ["1 bytes after the last tensor", "must be 0"]),
    "block out of range": (
        poke("block_cols", 0, 0, 1, 5),
        ["layer 'crisp': crisp: block row 0, block 2: block column 5", "below ceil(K/B) = 5"],
    ),
    "block negative": (
        poke("block_cols", 0, -1),
        ["layer 'crisp': crisp: block row 0, block 0: block column -1", "must be 0 or more"],
    ),
    "block twice": (
        poke("block_cols", 12, 0, 1, 1),
        ["layer 'crisp': crisp: block row 1, block 2: block column 1 twice", "must ascend"],
    ),
    "blocks not ascending": (
        poke("block_cols", 12, 1, 0, 4),
        ["layer 'crisp': crisp: block row 1, block 1: block column 0 after 1", "must ascend"],
    ),
    "index twice": (
        poke("nm_index", 0, 0x00),
        ["layer 'crisp': crisp: block row 0, block 0, group 0: index 0 twice", "must ascend"],
    ),
    "indices not ascending": (
        poke("nm_index", 6, 0x4B),
        ["layer 'crisp': crisp: block row 1, block 0, group 0: index 2 after 3", "must ascend"],
    ),
    "value in padding": (poke("values", 47, 0x01), ["padding beyond (6, 18)", "zero"]),
    "unstructured padding": (
        poke("unstructured", 2, 0xFF),
        ["unstructured at [0]", "padding bits"],
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_has_its_message(path, defect):
    edit, parts = DEFECTS[defect]
    write_model(path, PackedModel((crisp_layer(),)))
    forgery = Forgery(path)
    edit(forgery)
    forgery.write(path)
    assert_message(lambda: read_model(path), [str(path), *parts])


HEADERS = {
    "empty": (b"", ["truncated: 0 bytes", "8 bytes of length"]),
    "cut in length": (b"\x00" * 7, ["truncated: 7 bytes", "8 bytes of length"]),
    "cut in header": ((64).to_bytes(8, "little") + b"{" * 9, ["truncated: header length 64", "at most 9"]),
    "header too large": (b"\xff" * 8 + b"{}", ["header length 18446744073709551615", "at most 33554432"]),
    "odd length": ((2).to_bytes(8, "little") + b"{}", ["header length 2", "multiple of 8"]),
    "no header": (b"\x00" * 8, ["header: ", "must be JSON"]),
    "not UTF-8": ((8).to_bytes(8, "little") + b"{\xff      ", ["byte 1", "UTF-8"]),
    "not JSON": ((8).to_bytes(8, "little") + b"{'a':1} ", ["header: ", "must be JSON"]),
    "not an object": ((8).to_bytes(8, "little") + b"[1,2,3] ", ["header '[1,2,3] '", "JSON object"]),
    "space first": ((8).to_bytes(8, "little") + b' {"a":1}', ["begin with '{'"]),
    "duplicate key": ((16).to_bytes(8, "little") + b'{"a":1,"a":2}   ', ["'a' stands twice", "unique keys"]),
    "no metadata": (
        (8).to_bytes(8, "little") + b"{}      ",
        ["not a packed model: __metadata__ None", "object of strings"],
    ),
    "deep": ((2**20).to_bytes(8, "little") + b'{"a":' + b"[" * (2**20 - 5), ["header: ", "must be JSON"]),
    "zip": (b"PK\x03\x04" + b"\x00" * 60, ["not a packed model but a zip archive, as torch.save"]),
    "pickle": (pickle.dumps({"weights": [1, 2, 3]}).ljust(64), ["header length", "at most"]),
}


@pytest.mark.parametrize("defect", HEADERS)
def test_each_broken_header_has_its_message(path, defect):
    raw, parts = HEADERS[defect]
    path.write_bytes(raw)
    assert_message(lambda: read_model(path), [str(path), *parts])


def test_indices_can_be_left_unchecked(path):
    write_model(path, PackedModel((crisp_layer(),)))
    forgery = Forgery(path)
    forgery.poke("crisp.nm_index", 0, b"\x00")
    forgery.write(path)
    assert read_model(path, check=False)["crisp"].p == 12


def test_a_defect_in_a_group_names_the_group(path):
    write_model(path, PackedModel((grouped_layer(),)))
    forgery = Forgery(path)
    forgery.poke("grouped.values", 5 * 2 + 2 * 16, b"\x01" * 6)
    forgery.write(path)
    assert_message(lambda: read_model(path), ["layer 'grouped': group 2: crisp", "padding"])
    forgery.poke("grouped.block_cols", 4, np.array([1], "<i4").tobytes())
    forgery.write(path)
    parts = ["layer 'grouped': group 1: crisp: block row 0, block 0: block column 1", "below ceil(K/B) = 1"]
    assert_message(lambda: read_model(path, check=False), parts)


def test_index_beyond_m_is_refused(path):
    write_model(path, PackedModel((gemm_layer("nm", nm_packed(), dtype="int8"),)))
    forgery = Forgery(path)
    forgery.poke("nm.nm_index", 2, b"\x03")
    forgery.write(path)
    assert_message(lambda: read_model(path), ["layer 'nm': nm: row 2, group 0: index 3", "below M = 3"])


def test_index_padding_bits_are_refused(path):
    write_model(path, PackedModel((gemm_layer("nm", nm_packed(), dtype="int8"),)))
    forgery = Forgery(path)
    forgery.data[-1] |= 0x40
    forgery.write(path)
    assert_message(lambda: read_model(path), ["layer 'nm': nm_index at [4]", "beyond 6", "padding bits"])


def test_a_weight_that_is_not_finite_is_refused(path):
    write_model(path, PackedModel((gemm_layer(),)))
    forgery = Forgery(path)
    forgery.poke("gemm.dense", 4 * 8, np.array([np.nan], "<f4").tobytes())
    forgery.write(path)
    assert_message(lambda: read_model(path), ["layer 'gemm': stored value nan at [1, 1]", "finite"])


def test_a_file_that_is_not_there_is_an_os_error(path):
    with pytest.raises(FileNotFoundError):
        read_model(path)
