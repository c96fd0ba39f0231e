"""The simulator's layers of torch models and of packed files; the shipped tables are the judges."""

import dataclasses
import sys
import types

import pytest
import torch
from torch import nn

from crispsim.bench.network_layers import layers_of_model, layers_of_packed, layers_of_traced
from crispsim.formats.errors import BadInputError
from crispsim.prune import CrispConfig
from crispsim.prune.export import pack_model, trace_layers
from crispsim.sim import read_layers, shipped_layers


def shapes(layers):
    return [(layer.name, layer.groups, layer.s, layer.k, layer.p, layer.calls) for layer in layers]


def of(monkeypatch, factory, *shape, **options):
    module = types.ModuleType("models_of_a_test")
    module.factory = factory  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return layers_of_model("models_of_a_test:factory", shape, **options)


@pytest.mark.parametrize(
    ("model", "table"),
    [("resnet50", "resnet50"), ("vgg16", "vgg16"), ("mobilenet_v2", "mobilenetv2"), ("vit_b_16", "vit_b16")],
)
def test_torchvisions_models_have_the_shipped_tables_layers(model, table):
    found = layers_of_model(f"torchvision.models:{model}", (1, 3, 224, 224), notice=pytest.fail)
    shipped = read_layers(shipped_layers()[table])
    assert shapes(found) == shapes(shipped)
    for mine, theirs in zip(found, shipped, strict=True):
        if mine.kind == theirs.kind == "conv":  # the tables write fc as a convolution, ViT's first one as a gemm
            assert mine == dataclasses.replace(theirs, residual=None)  # which no module's shape tells


def test_swin_uses_weights_without_calling_their_modules():
    found = layers_of_model("torchvision.models:swin_t", (1, 3, 224, 224), notice=pytest.fail)
    qkv = [layer for layer in found if layer.name.endswith("attn.qkv")]
    assert [(layer.s, layer.k, layer.p) for layer in qkv[:3]] == [(288, 96, 3136), (288, 96, 3136), (576, 192, 784)]
    assert len(qkv) == 2 + 2 + 6 + 2


def test_a_packed_file_has_the_traced_layers():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, stride=(2, 1), padding=(0, 1), dilation=(1, 2), groups=2), nn.ReLU())
    traced = trace_layers(model, torch.zeros(1, 4, 9, 11))
    packed = pack_model(model, traced, {}, CrispConfig(nm=(1, 1), block=None, sparsity=0))
    (layer,) = layers_of_packed(packed)
    (other,) = layers_of_traced(traced)
    assert layer.tensor == "0"
    assert {**vars(layer), "tensor": None} == vars(other)
    assert (layer.out_height, layer.out_width) == tuple(model(torch.zeros(1, 4, 9, 11)).shape[2:])


class Values(nn.Module):
    """Looks at its input, which the meta device refuses."""

    def __init__(self, width=4):
        super().__init__()
        self.linear = nn.Linear(3, width)

    def forward(self, x):
        return self.linear(x) if float(x.sum()) == 0 else x


def test_a_model_that_the_meta_device_refuses_and_its_arguments(monkeypatch):
    (layer,) = of(monkeypatch, Values, 1, 3, arguments={"width": 7})
    assert (layer.s, layer.k, layer.p) == (7, 3, 1)


def test_token_numbers(monkeypatch):
    def make():
        return nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))

    assert of(monkeypatch, make, 1, 6, dtype="int64")[0].p == 6


def broken():
    raise RuntimeError("out of\nluck")


@pytest.mark.parametrize(
    ("factory", "shape", "options", "said"),
    [
        (broken, (1, 3), {}, "'models_of_a_test:factory': fails: out of"),
        (broken, (1, 3), {"arguments": {"x": 1}}, "fails with x=1: broken() got an unexpected keyword argument 'x'"),
        (dict, (1, 3), {}, "must return a torch.nn.Module, not dict"),
        (Values, (1, 5), {}, "'models_of_a_test:factory': example of shape 1x5: the model does not run on it"),
        (Values, (1, 3), {"dtype": "nn"}, "dtype 'nn': must be one of torch's"),
        (Values, (1, 2**31 - 1, 2**31 - 1), {}, "--input 1x2147483647x2147483647: torch cannot make it"),
    ],
)
def test_refused_in_a_line(monkeypatch, factory, shape, options, said):
    with pytest.raises(BadInputError) as caught:
        of(monkeypatch, factory, *shape, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
