"""Which layers are prunable, which stay dense and why (R1, R2)."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from crispsim.prune import PruneError, find_layers


def names(layers):
    return [layer.name for layer in layers]


def reasons(layers):
    return {layer.name: layer.reason for layer in layers}


class MobileLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.expand = nn.Conv2d(8, 16, 1)
        self.depthwise = nn.Conv2d(16, 16, 3, groups=16)
        self.grouped = nn.Conv2d(16, 16, 3, groups=4)
        self.project = nn.Conv2d(16, 8, (3, 1))
        self.hidden = nn.Linear(8, 12)
        self.norm = nn.BatchNorm1d(12)
        self.head = nn.Linear(12, 5)


def test_a_convolutional_net():
    prunable, dense = find_layers(MobileLike())
    assert [(layer.name, layer.kind, layer.shape) for layer in prunable] == [
        ("expand", "conv", (16, 8)),
        ("project", "conv", (8, 48)),
        ("hidden", "linear", (12, 8)),
    ]
    assert prunable[1].weight_shape == (8, 16, 3, 1)
    assert reasons(dense) == {
        "stem": "stem",
        "depthwise": "depthwise",
        "grouped": "grouped",
        "head": "classifier",
    }
    assert [layer.weights for layer in dense] == [8 * 3 * 9, 16 * 9, 16 * 4 * 9, 60]


def test_stem_is_at_most_four_input_channels():
    prunable, dense = find_layers(nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(5, 8, 3)))
    assert names(prunable) == ["1"]
    assert reasons(dense) == {"0": "stem"}


def test_depthwise_with_a_multiplier():
    _, dense = find_layers(nn.Sequential(nn.Conv2d(8, 16, 3, groups=8), nn.Conv2d(2, 2, 3, groups=2)))
    assert reasons(dense) == {"0": "depthwise", "1": "depthwise"}


def test_attention_has_two_matrices_and_its_projection_is_listed_once():
    prunable, dense = find_layers(nn.Sequential(OrderedDict(attention=nn.MultiheadAttention(8, 2))))
    assert [(layer.name, layer.module_name, layer.parameter, layer.shape) for layer in prunable] == [
        ("attention.in_proj", "attention", "in_proj_weight", (24, 8)),
        ("attention.out_proj", "attention.out_proj", "weight", (8, 8)),
    ]
    assert dense == ()


def test_attention_with_sizes_of_its_own_has_three_and_one():
    attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=10)
    prunable, _ = find_layers(attention)
    assert [(layer.name, layer.shape) for layer in prunable] == [
        ("q_proj", (8, 8)),
        ("k_proj", (8, 6)),
        ("v_proj", (8, 10)),
        ("out_proj", (8, 8)),
    ]


def test_the_last_linear_is_not_an_attentions_projection():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.MultiheadAttention(8, 2))
    prunable, dense = find_layers(model)
    assert names(prunable) == ["0", "2.in_proj", "2.out_proj"]
    assert reasons(dense) == {"1": "classifier"}


def test_a_bert_like_encoder():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model = nn.Sequential(OrderedDict(encoder=nn.TransformerEncoder(layer, 2), head=nn.Linear(16, 3)))
    prunable, dense = find_layers(model)
    each = ("self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2")
    assert names(prunable) == [f"encoder.layers.{i}.{name}" for i in (0, 1) for name in each]
    assert reasons(dense) == {"head": "classifier"}


def test_a_layer_that_is_the_model_has_a_name():
    prunable, dense = find_layers(nn.Linear(4, 4))
    assert prunable == ()
    assert reasons(dense) == {"Linear": "classifier"}
    assert names(find_layers(nn.Linear(4, 4), include=("Linear",))[0]) == ["Linear"]


def test_other_modules_are_not_listed():
    model = nn.Sequential(nn.Conv1d(8, 8, 3), nn.ConvTranspose2d(8, 8, 3), nn.Embedding(9, 8), nn.LSTM(8, 8))
    assert find_layers(model) == ((), ())


def test_include_lifts_and_exclude_adds():
    prunable, dense = find_layers(MobileLike(), include=("stem", "head"), exclude=("pro*", "depthwise"))
    assert names(prunable) == ["stem", "expand", "hidden", "head"]
    assert reasons(dense) == {"depthwise": "depthwise", "grouped": "grouped", "project": "excluded"}


@pytest.mark.parametrize(
    ("include", "exclude", "message"),
    [
        (("typo",), (), r"include pattern 'typo': must name a layer"),
        ((), ("Head",), r"exclude pattern 'Head': must name a layer, of stem, expand, .* and \d more"),
        (("head",), ("h*",), r"layer 'head': matched by include and by exclude"),
        (("grouped",), (), r"include names layer 'grouped': .* groups"),
        (("depth*",), (), r"include names layer 'depthwise': .* groups"),
    ],
)
def test_patterns_that_cannot_be_meant(include, exclude, message):
    with pytest.raises(PruneError, match=message):
        find_layers(MobileLike(), include=include, exclude=exclude)


def tied():
    model = nn.Sequential(OrderedDict(x=nn.Linear(8, 8), y=nn.Linear(8, 8), head=nn.Linear(8, 2)))
    model.y.weight = model.x.weight
    return model


def test_a_shared_weight_is_refused_if_prunable():
    with pytest.raises(PruneError, match="layer 'x' shares its weight with 'y': exclude both"):
        find_layers(tied())
    with pytest.raises(PruneError, match="layer 'y' shares its weight with 'x': exclude both"):
        find_layers(tied(), exclude=("x",))


def test_a_shared_dense_weight_counts_once():
    _, dense = find_layers(tied(), exclude=("x", "y"))
    assert [(layer.name, layer.weights) for layer in dense] == [("x", 64), ("y", 0), ("head", 16)]


def test_a_weight_shared_with_an_embedding():
    model = nn.Sequential(OrderedDict(words=nn.Embedding(9, 8), out=nn.Linear(8, 9), head=nn.Linear(9, 2)))
    model.out.weight = model.words.weight
    with pytest.raises(PruneError, match=r"layer 'out' shares its weight with 'words\.weight': exclude it"):
        find_layers(model)
    assert reasons(find_layers(model, exclude=("out",))[1])["out"] == "excluded"


def test_a_module_used_twice_is_one_layer():
    shared = nn.Linear(8, 8)
    prunable, _ = find_layers(nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(8, 2)))
    assert names(prunable) == ["0"]


def test_a_lazy_layer_has_no_shape():
    model = nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 2))
    with pytest.raises(PruneError, match="layer '0' has no shape yet"):
        find_layers(model)
    model(torch.zeros(1, 3))
    assert find_layers(model)[0][0].shape == (8, 3)
