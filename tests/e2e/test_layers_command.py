"""`crispsim layers` and `crispsim export` as their user meets them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crispsim.cli.main import run_command as crispsim
from crispsim.formats import CrispMatrix, PackedLayer, PackedModel, Pattern, draw_weights, read_model, write_model
from crispsim.sim import read_layers

MODEL = """
import torch
from torch import nn

def make(width=8):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.Linear(width * 36, 5))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("my_models_of_a_test.py").write_text(MODEL)
    yield tmp_path
    sys.modules.pop("my_models_of_a_test", None)


NAME = "my_models_of_a_test:make"


class TestLayers:
    def test_a_table_that_crispsim_run_reads(self, capsys):
        arguments = ["layers", NAME, "--input", "1x3x8x8", "--model-arg", "width=16"]
        assert crispsim(arguments) == 0
        printed = capsys.readouterr()
        assert printed.err.startswith("note: residual inputs are not in the table")
        assert crispsim([*arguments, "--out", "made/net.csv"]) == 0
        assert capsys.readouterr().out == "wrote made/net.csv: 2 layers, 18,432 MACs\n"
        assert Path("made/net.csv").read_text() == printed.out
        assert [(x.name, x.kind, x.s, x.k, x.p) for x in read_layers("made/net.csv")] == [
            ("0", "conv", 16, 27, 36),
            ("2", "gemm", 5, 576, 1),
        ]
        assert [path.name for path in Path("made").iterdir()] == ["net.csv"]
        assert crispsim(["run", "--layer-csv", "made/net.csv", "--arch", "dense", "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["rows"]) == 2

    def test_an_onnx_file(self, capsys):
        onnx = pytest.importorskip("onnx")
        helper = onnx.helper
        value = onnx.numpy_helper.from_array(np.zeros((8, 5), np.float32), "fc.weight")
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "fc.weight"], ["a"]), helper.make_node("MatMul", ["a", "a"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", 1, ("n", "tokens", 8))],
            [helper.make_tensor_value_info("y", 1, None)],
            [value],
        )
        onnx.save(helper.make_model(graph), "net.onnx")
        assert crispsim(["layers", "net.onnx"]) == 2
        assert "axis 1 'tokens' is open: give --input x=1x?x8" in capsys.readouterr().err
        assert crispsim(["layers", "net.onnx", "--input", "x=1x5x8"]) == 0
        printed = capsys.readouterr()
        assert printed.out == "Layer name,M,N,K\nfc,5,5,8\n"
        assert printed.err.startswith(
            "note: net.onnx: products of two activations, which have no weights, left out (1)"
        )

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([NAME], "--input: missing"),
            ([NAME, "--input", "3x8"], "example of shape 3x8: must be a batch of one"),
            ([NAME, "--input", "1x0x8"], "each size must be from 1"),
            ([NAME, "--input", "big"], "--input 'big': must be sizes"),
            ([NAME, "--input", "x=1x3x8x8"], "a torch model has one input"),
            ([NAME, "--input", "1x3", "--input", "1x4"], "the same input twice"),
            ([NAME, "--input", "1x3x8x8", "--model-arg", "width"], "--model-arg 'width': must be KEY=VALUE"),
            ([NAME, "--input", "1x3x8x8", "--out", "."], "--out"),
            ([NAME, "--input", "1x3x8x8:floats"], "dtype 'floats'"),
            (["resnet50", "--input", "1x3x8x8"], "must be module:function"),
            (["my_models_of_a_test:nothing", "--input", "1x3x8x8"], "has no nothing"),
            (["none.onnx"], "none.onnx: cannot be read"),
            (["none.onnx", "--model-arg", "a=1"], "is a file, no function"),
            (["none.onnx", "--input", "1x3:int64"], "knows the types of its inputs"),
        ],
    )
    def test_refused_in_a_line(self, capsys, arguments, said):
        assert crispsim(["layers", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
        assert sorted(path.name for path in Path().iterdir() if path.name != "__pycache__") == [
            "my_models_of_a_test.py"
        ]


def packed():
    matrix = draw_weights((10, 27), Pattern(n=2, m=4, block=4), 0.75, seed=1)
    assert isinstance(matrix, CrispMatrix)
    hybrid = PackedLayer(
        name="conv",
        weights=matrix,
        kind="conv",
        kernel=(3, 3),
        in_channels=3,
        in_height=3,
        in_width=3,
        p=1,
        dtype="int8",
        scales=tuple(np.linspace(0.5, 1, 10).tolist()),
    )
    dense = PackedLayer(
        name="fc", weights=np.ones((4, 10), np.float32), kind="gemm", in_channels=10, in_height=1, p=1, dtype="float32"
    )
    write_model("m.safetensors", PackedModel((hybrid, dense)))
    return read_model("m.safetensors")


class TestExport:
    def test_blocked_ell_and_scipy(self, capsys):
        dense = packed()["conv"].weights.decode()
        assert crispsim(["export", "m.safetensors", "--to", "blocked-ell", "--out", "out/ell.npz"]) == 0
        printed = capsys.readouterr()
        assert printed.out == "wrote out/ell.npz: 2 layers as blocked-ell\n"
        assert printed.err == "note: blocked-ell cannot hold this, it goes along dense (1): fc\n"
        with np.load("out/ell.npz") as ell:
            assert ell["conv.ellValue"].shape == (12, int(ell["conv.ellCols"]))
            assert np.count_nonzero(ell["conv.ellValue"]) == np.count_nonzero(dense)
            assert ell["fc.dense"].shape == (4, 10)
        assert crispsim(["export", "m.safetensors", "--to", "scipy-bsr", "--out", "bsr.npz", "--layer", "conv"]) == 0
        from scipy.sparse import bsr_array

        with np.load("bsr.npz") as bsr:
            parts = tuple(bsr[f"conv.{field}"] for field in ("data", "indices", "indptr"))
            matrix = bsr_array(parts, shape=tuple(bsr["conv.shape"]))
            s, k = bsr["conv.real_shape"]
            np.testing.assert_array_equal(matrix.toarray()[:s, :k], dense)

    def test_torch(self):
        model = packed()
        assert crispsim(["export", "m.safetensors", "--to", "torch-bsr", "--out", "bsr.pt"]) == 0
        content = torch.load("bsr.pt", weights_only=True)
        stored = content["conv"]["weight"].to_dense()[:10, :27]
        np.testing.assert_array_equal(stored.numpy(), model["conv"].weights.decode())
        assert crispsim(["export", "m.safetensors", "--to", "state-dict", "--out", "state.pt"]) == 0
        network = nn.Module()
        network.conv, network.fc = nn.Conv2d(3, 10, 3), nn.Linear(10, 4)
        missing = network.load_state_dict(torch.load("state.pt", weights_only=True), strict=False)
        assert sorted(missing.missing_keys) == ["conv.bias", "fc.bias"]
        assert missing.unexpected_keys == []
        real = stored.double() * content["conv"]["scales"][:, None]
        torch.testing.assert_close(network.conv.weight.permute(0, 2, 3, 1).reshape(10, 27).double(), real)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--to", "blocked-ell", "--out", "a.pt"], "--out a.pt: blocked-ell is written as .npz"),
            (["--to", "torch-bsr", "--out", "a.pt", "--layer", "fc"], "layer 'fc': pattern dense: must have blocks"),
            (["--to", "torch-bsr", "--out", "a.pt", "--layer", "x*"], "--layer x*: fits none of the 2 layers of m."),
            (["--to", "csr", "--out", "a.pt"], "'csr' is not one of"),
            (["--to", "blocked-ell", "--out", "m.safetensors/a.npz"], "m.safetensors is a file"),
        ],
    )
    def test_refused_in_a_line_and_nothing_is_written(self, capsys, folder, arguments, said):
        packed()
        before = sorted(folder.iterdir())
        assert crispsim(["export", "m.safetensors", *arguments]) == 2
        assert said in capsys.readouterr().err
        assert sorted(folder.iterdir()) == before

    def test_layers_are_patterns(self, capsys):
        packed()
        assert crispsim(["export", "m.safetensors", "--to", "blocked-ell", "--out", "c.npz", "--layer", "c*"]) == 0
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("wrote c.npz: 1 layer as blocked-ell\n", "")
        with np.load("c.npz") as ell:
            assert {key.partition(".")[0] for key in ell} == {"conv"}
        assert crispsim(["export", "m.safetensors", "--to", "torch-bsr", "--out", "f.pt", "--layer", "?c"]) == 0
        assert "torch-bsr cannot hold this, it goes along dense (1): fc" in capsys.readouterr().err

    def test_a_file_that_cannot_be_read(self, capsys):
        Path("folder").mkdir()
        for name, said in (("folder", "Is a directory"), ("none", "No such file or directory")):
            assert crispsim(["export", name, "--to", "torch-bsr", "--out", "a.pt"]) == 2
            assert capsys.readouterr().err == f"crispsim: {name}: cannot read: {said}\n"

    def test_no_warning_of_torchs(self, recwarn):
        packed()
        assert crispsim(["export", "m.safetensors", "--to", "torch-bsr", "--out", "a.pt"]) == 0
        assert [str(warning.message) for warning in recwarn if "beta" in str(warning.message)] == []

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_2_4_without_a_gpu(self, capsys):
        packed()
        assert crispsim(["export", "m.safetensors", "--to", "torch-2:4", "--out", "a.pt"]) == 2
        assert "layer 'conv': torch's 2:4 kernels need a CUDA device" in capsys.readouterr().err
        assert not Path("a.pt").exists()


def test_the_command_knows_every_export_without_torch():
    from crispsim.cli.export import _SUFFIXES
    from crispsim.prune.export import EXPORTS

    assert _SUFFIXES == EXPORTS
