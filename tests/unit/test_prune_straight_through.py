"""The masked weight: forward, backward, identity of the Parameter, copies, autocast, attention's fused path."""

import copy

import pytest
import torch
from torch import nn

from crispsim.prune.straight_through import attach, detach, original


def masked_linear(sr_ste=0.0):
    """w = [2, -3, 5, 7]: the first is kept, the second masked but learning, the others in a pruned block."""
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, -3.0, 5.0, 7.0]]))
    masked = attach(layer, "weight", sr_ste)
    masked.set_masks(torch.tensor([[True, False, False, False]]), torch.tensor([[True, True, False, False]]))
    return layer, masked


def gradient(layer, inputs):
    layer.zero_grad()
    layer(inputs).sum().backward()
    return original(layer, "weight").grad.tolist()


INPUTS = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])


def test_forward_masks_and_the_gradient_passes_where_it_learns():
    layer, _ = masked_linear()
    assert layer(INPUTS).item() == 2.0
    assert gradient(layer, INPUTS) == [[1.0, 10.0, 0.0, 0.0]]


def test_sr_ste_decays_what_is_masked_and_learns():
    layer, masked = masked_linear(sr_ste=0.5)
    assert gradient(layer, INPUTS) == [[1.0, 10.0 - 1.5, 0.0, 0.0]]
    masked.gradient_scale = 4.0
    assert gradient(layer, INPUTS) == [[1.0, 10.0 - 6.0, 0.0, 0.0]]
    masked.scoring = True
    assert gradient(layer, INPUTS) == [[1.0, 10.0, 0.0, 0.0]]


def test_masked_values_never_reach_the_forward_pass():
    layer, _ = masked_linear()
    with torch.no_grad():
        original(layer, "weight")[0, 1:] = torch.tensor([float("inf"), float("nan"), -1.0])
    assert layer.weight.tolist() == [[2.0, 0.0, 0.0, 0.0]]
    assert not torch.signbit(layer.weight).any()


@pytest.mark.parametrize("early", [True, False])
def test_the_parameter_is_the_same_object_from_first_to_last(early):
    layer = nn.Linear(4, 1, bias=False)
    weight = layer.weight
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0) if early else None
    masked = attach(layer, "weight", 0.0)
    assert original(layer, "weight") is weight
    assert [id(parameter) for parameter in layer.parameters()] == [id(weight)]
    optimizer = optimizer or torch.optim.SGD(layer.parameters(), lr=1.0)
    masked.set_masks(torch.tensor([[True, False, True, True]]), torch.ones(1, 4, dtype=torch.bool))
    before = weight.detach().clone()
    layer(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    assert torch.equal(weight, before - 1.0)
    detach(layer, "weight")
    assert layer.weight is weight
    assert weight.requires_grad
    assert torch.equal(weight, (before - 1.0) * torch.tensor([1.0, 0.0, 1.0, 1.0]))
    assert type(layer) is nn.Linear
    assert list(layer.state_dict()) == ["weight"]


def test_a_frozen_weight_stays_frozen():
    layer = nn.Linear(4, 1)
    layer.weight.requires_grad_(False)
    attach(layer, "weight", 0.0)
    layer(torch.ones(1, 4)).sum().backward()
    assert original(layer, "weight").grad is None
    detach(layer, "weight")
    assert not layer.weight.requires_grad


def test_copies_are_independent_and_outlive_the_original():
    layer, masked = masked_linear()
    replica = copy.deepcopy(layer)
    masked.set_masks(torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 4, dtype=torch.bool))
    assert replica(INPUTS).item() == 2.0
    detach(layer, "weight")
    assert replica(INPUTS).item() == 2.0  # torch alone would have taken the copy's weight away
    assert gradient(replica, INPUTS) == [[1.0, 10.0, 0.0, 0.0]]
    again = copy.deepcopy(replica)
    detach(replica, "weight")
    assert replica.weight.tolist() == [[2.0, 0.0, 0.0, 0.0]]
    assert again(INPUTS).item() == 2.0


def test_masks_travel_with_the_state_dict():
    layer, _ = masked_linear()
    saved = layer.state_dict()
    assert sorted(saved) == [
        "parametrizations.weight.0.learns",
        "parametrizations.weight.0.mask",
        "parametrizations.weight.original",
    ]
    other = nn.Linear(4, 1, bias=False)
    attach(other, "weight", 0.0)
    other.load_state_dict(saved)
    assert other(INPUTS).item() == 2.0
    assert gradient(other, INPUTS) == [[1.0, 10.0, 0.0, 0.0]]


def test_autocast():
    layer, _ = masked_linear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(INPUTS)
    assert output.dtype == torch.bfloat16
    output.sum().backward()
    weight = original(layer, "weight")
    assert weight.grad.dtype == torch.float32
    assert weight.grad[0, 2:].tolist() == [0.0, 0.0]
    assert weight.grad[0, 1].item() == 10.0


def test_channels_last_and_double():
    conv = nn.Conv2d(8, 6, 3)
    attach(conv, "weight", 0.0)
    conv.to(memory_format=torch.channels_last).double()
    images = torch.rand(2, 8, 5, 5, dtype=torch.float64)
    conv(images).sum().backward()
    assert original(conv, "weight").grad.dtype == torch.float64


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("with_gradients", [True, False])
def test_attention_and_encoder_layers_see_masked_weights(batch_first, training, with_gradients):
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=batch_first)
    plain = copy.deepcopy(model)
    targets = [("self_attn", "in_proj_weight"), ("self_attn.out_proj", "weight"), ("linear1", "weight")]
    for name, parameter in targets:
        masked = attach(model.get_submodule(name), parameter, 0.0)
        mask = torch.rand(masked.mask.shape) < 0.5
        masked.set_masks(mask, torch.ones_like(mask))
        with torch.no_grad():
            getattr(plain.get_submodule(name), parameter).mul_(mask)
    tokens = torch.rand(3, 5, 16)
    with torch.set_grad_enabled(with_gradients):  # without, and in eval mode, torch takes its fused path
        seen, expected = model.train(training)(tokens), plain.train(training)(tokens)
    assert torch.allclose(seen, expected, atol=1e-6)
    assert not torch.allclose(seen, nn.TransformerEncoderLayer(16, 4, 32, batch_first=batch_first).eval()(tokens))
    attention, _ = model.self_attn(tokens, tokens, tokens)
    assert torch.allclose(attention, plain.self_attn(tokens, tokens, tokens)[0], atol=1e-6)


def test_a_module_with_two_masked_weights_loses_them_one_by_one():
    attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=6)
    for name in ("q_proj_weight", "k_proj_weight"):
        attach(attention, name, 0.0)
    replica = copy.deepcopy(attention)
    detach(attention, "q_proj_weight")
    queries, others = torch.rand(3, 1, 8), torch.rand(4, 1, 6)
    expected = replica(queries, others, others)[0]
    assert torch.allclose(attention(queries, others, others)[0], expected)
    detach(attention, "k_proj_weight")
    assert type(attention) is nn.MultiheadAttention
    assert torch.allclose(attention(queries, others, others)[0], expected)
    assert torch.allclose(replica(queries, others, others)[0], expected)
