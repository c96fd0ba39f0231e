"""CrispPruner on small nets: scores by hand, iterations with real gradients, what must hold after each, and states."""

import copy
import io
from collections import OrderedDict
from fractions import Fraction

import pytest
import torch
from torch import nn

from crispsim.prune import CrispConfig, CrispPruner, PruneError
from crispsim.prune.masks import block_mask, target
from crispsim.prune.matrix import to_matrix
from crispsim.prune.straight_through import original

BLOCK = 8


class SmallNet(nn.Module):
    """3x3 with ragged channels, 1x1 of few columns, Linear, BatchNorm and attention."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.conv = nn.Conv2d(10, 13, 3, padding=1)
        self.norm = nn.BatchNorm2d(13)
        self.narrow = nn.Conv2d(13, 7, 1)
        self.reduce = nn.Conv2d(7, 12, 1)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.hidden = nn.Linear(12, 20)
        self.head = nn.Linear(20, 4)

    def forward(self, images):
        maps = torch.relu(self.norm(self.conv(torch.relu(self.stem(images)))))
        tokens = self.reduce(torch.relu(self.narrow(maps))).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        return self.head(torch.relu(self.hidden(tokens.mean(1))))


def small_net():
    torch.manual_seed(1)
    return SmallNet()


def batches(sizes=(6, 6, 4)):
    generator = torch.Generator().manual_seed(2)
    return [(torch.rand(n, 3, 5, 5, generator=generator), torch.arange(n) % 4) for n in sizes]


def train(model, optimizer, data):
    model.train()
    for images, labels in data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def take_scores(pruner, data, loss=nn.functional.cross_entropy):
    pruner.model.eval()
    pruner.begin_scoring()
    for images, labels in data:
        loss(pruner.model(images), labels).backward()
        pruner.accumulate(len(labels))


def weight(pruner, layer):
    module = pruner.model.get_submodule(layer.module_name)
    return original(module, layer.parameter)


def in_pruned_blocks(pruner):
    """(layer, bool mask of the weight's matrix) of the layers that have lost blocks."""
    for layer in pruner.layers:
        pruned = pruner.masks()[layer.name].pruned
        if pruned is not None and pruned.any():
            yield layer, ~block_mask(pruned, layer.shape, pruner.config.block)


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.05),
    "nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, weight_decay=0.1, amsgrad=True),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
}


# --- scores -------------------------------------------------------------------------------------------------------


def one_layer(weights, **config):
    """A Linear of one row whose gradient, with `by_hand` as its loss, is the mean of the inputs."""
    layer = nn.Linear(len(weights), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weights]))
    settings = {"block": None, "steps": 1, "include": ("Linear",), **config}
    pruner = CrispPruner(layer, CrispConfig(**settings))
    pruner.prepare()
    return pruner


def by_hand(outputs, _labels):
    return outputs.mean()


# A batch of one sample, and one of three whose mean is (-2, 2, -1, 1).
UNEVEN = [
    (torch.tensor([[8.0, 0.0, 4.0, 1.0]]), [0]),
    (torch.tensor([[-6.0, 3.0, 0.0, 0.0], [0.0, 3.0, -3.0, 0.0], [0.0, 0.0, 0.0, 3.0]]), [0, 0, 0]),
]


# eq1: (8 - 3 x 2)/4, (0 + 3 x 2)/4, (4 - 3)/4, (1 + 3)/4 = 0.5, 1.5, 0.25, 1.
# abs: (8 + 2)/2, (0 + 2)/2, (4 + 1)/2, (1 + 1)/2 = 5, 1, 2.5, 1.
@pytest.mark.parametrize(
    ("criterion", "nm", "sparsity", "kept"),
    [
        ("eq1", (2, 4), 0.5, [0, 1, 0, 1]),
        ("eq1", (3, 4), 0.25, [1, 1, 0, 1]),
        ("abs", (2, 4), 0.5, [1, 0, 1, 0]),
        ("abs", (3, 4), 0.25, [1, 1, 1, 0]),  # columns 1 and 3 tie: the lower stays
    ],
)
def test_scores_by_hand_over_batches_of_different_size(criterion, nm, sparsity, kept):
    pruner = one_layer([1.0, -1.0, 1.0, -1.0], nm=nm, sparsity=sparsity, criterion=criterion)
    take_scores(pruner, UNEVEN, by_hand)
    pruner.step()
    assert pruner.masks()["Linear"].mask.int().tolist() == [kept]


@pytest.mark.parametrize("criterion", ["eq1", "abs"])
def test_scores_are_gradient_times_weight(criterion):
    pruner = one_layer([1.0, 1.0, 30.0, -20.0], nm=(2, 4), sparsity=0.5, criterion=criterion)
    take_scores(pruner, UNEVEN, by_hand)  # eq1: 0.5, 1.5, 7.5, 20; abs: 5, 1, 75, 20
    pruner.step()
    assert pruner.masks()["Linear"].mask.int().tolist() == [[0, 0, 1, 1]]


def test_scoring_takes_gradients_at_masked_positions_and_leaves_sr_ste_out():
    pruner = one_layer([1.0, 9.0, 2.0, 1.0], nm=(2, 4), sparsity=0.5, steps=3, sr_ste=1000.0)
    for inputs, kept in [
        ([3.0, 0.0, 0.0, 1.0], [1, 0, 0, 1]),
        ([3.0, 0.1, 0.1, 1.0], [1, 0, 0, 1]),  # lambda w in the gradient would favour those masked
        ([1.0, 0.5, 2.0, 1.0], [0, 1, 1, 0]),  # 1, 4.5, 4, 1, though the forward pass sees the first and last only
    ]:
        take_scores(pruner, [(torch.tensor([inputs]), [0])], by_hand)
        pruner.step()
        assert pruner.masks()["Linear"].mask.int().tolist() == [kept]


def test_accumulate_clears_the_gradients_of_the_whole_model():
    pruner = CrispPruner(small_net(), CrispConfig(block=BLOCK, sparsity=0.7))
    pruner.prepare()
    take_scores(pruner, batches())
    assert all(parameter.grad is None for parameter in pruner.model.parameters())


def test_gradients_from_before_are_not_scored():
    pruner = one_layer([1.0, 1.0, 1.0, 1.0], nm=(2, 4), sparsity=0.5)
    pruner.model(torch.tensor([[100.0, 100.0, 0.0, 0.0]])).sum().backward()
    take_scores(pruner, [(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), [0])], by_hand)
    pruner.step()
    assert pruner.masks()["Linear"].mask.int().tolist() == [[0, 0, 1, 1]]


# --- iterations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("sgd", {}),
        ("nesterov", {"criterion": "abs", "schedule": "cubic"}),
        ("adam", {"nm": (1, 4), "sparsity": 0.8, "normalise": "raw"}),
        ("adamw", {"nm": (1, 1), "sparsity": 0.5, "criterion": "magnitude"}),
        ("sgd", {"sr_ste": 2e-4, "include": ("head",), "exclude": ("reduce",)}),
    ],
)
def test_what_holds_after_every_iteration(kind, config):
    config = CrispConfig(**{"block": BLOCK, "sparsity": 0.7, "steps": 3, **config})
    model = small_net()
    pruner = CrispPruner(model, config)
    optimizer = OPTIMIZERS[kind](model.parameters())
    pruner.prepare()
    data = batches()
    n, m = config.nm
    before = {name: layer.pruned for name, layer in pruner.masks().items()}
    columns = {layer.name: layer.shape for layer in pruner.layers}
    assert any(pruned is None for pruned in before.values()) or "reduce" in config.exclude
    train(model, optimizer, data)
    while not pruner.finished:
        take_scores(pruner, data)
        pruner.step(optimizer)
        kappa_p = target(config.kappa, config.kappa_0, pruner.iteration, config.steps, config.schedule)
        masks = pruner.masks()
        for name, layer in masks.items():
            whole = layer.nm[:, : columns[name][1] // m * m].unflatten(1, (-1, m)).sum(2)
            assert (whole == n).all()
            assert (layer.pruned is None) == (columns[name][1] <= BLOCK)
            if layer.pruned is not None:
                assert len(set(layer.pruned.sum(1).tolist())) == 1
                assert (layer.pruned | ~before[name]).all()  # stay pruned
                assert not layer.pruned.all(1).any()
            before[name] = layer.pruned
        kept, total = sum(int(layer.mask.sum()) for layer in masks.values()), sum(s * k for s, k in columns.values())
        assert 1 - Fraction(kept, total) >= kappa_p
        assert 1 - Fraction(kept, total) - kappa_p < Fraction(max(s for s, _ in columns.values()) * BLOCK, total)
        for layer, lost in in_pruned_blocks(pruner):
            parameter = weight(pruner, layer)
            assert not to_matrix(parameter.detach())[lost].any()
            states = [value for value in optimizer.state[parameter].values() if value.shape == parameter.shape]
            assert states
            assert not any(to_matrix(value)[lost].any() for value in states)
        train(model, optimizer, data)
        for layer, lost in in_pruned_blocks(pruner):  # through momentum and weight decay
            assert not to_matrix(weight(pruner, layer).detach())[lost].any()
    masks = {name: layer.mask for name, layer in pruner.masks().items()}
    running = [model(images) for images, _ in data]
    kept = pruner.finalize()
    assert all(torch.equal(kept[name], masks[name]) for name in masks)
    assert all(torch.equal(seen, model(images)) for seen, (images, _) in zip(running, data, strict=True))
    for layer in pruner.layers:
        values = getattr(model.get_submodule(layer.module_name), layer.parameter)
        assert isinstance(values, nn.Parameter)
        assert values.requires_grad
        assert not to_matrix(values.detach())[~kept[layer.name]].any()
        assert to_matrix(values.detach())[kept[layer.name]].all()
    assert sorted(model.state_dict()) == sorted(small_net().state_dict())


def test_a_masked_weight_comes_back_by_learning():
    pruner = one_layer([1.0, 2.0, 3.0, 4.0], nm=(2, 4), sparsity=0.5, steps=3, criterion="magnitude")
    optimizer = torch.optim.SGD(pruner.model.parameters(), lr=1.0)
    pruner.step()
    assert pruner.masks()["Linear"].mask.int().tolist() == [[0, 0, 1, 1]]
    pruner.model(torch.tensor([[-9.0, 0.0, 0.0, 0.0]])).sum().backward()  # the forward pass does not see the first
    optimizer.step()
    pruner.step()
    assert pruner.masks()["Linear"].mask.int().tolist() == [[1, 0, 0, 1]]
    assert pruner.model.weight.tolist() == [[10.0, 0.0, 0.0, 4.0]]


def test_groups_of_a_convolution_run_along_its_channels():
    conv = nn.Conv2d(8, 1, (1, 2), bias=False)
    rising = torch.arange(1.0, 9.0)
    with torch.no_grad():
        conv.weight.copy_(torch.stack([rising, rising.flip(0)], dim=1).view(1, 8, 1, 2))
    pruner = CrispPruner(conv, CrispConfig(block=None, sparsity=0.5, steps=1, criterion="magnitude"))
    pruner.prepare()
    pruner.step()
    pruner.finalize()
    # The first tap's weights rise with the channel, the second's fall: of four channels the last, the first two stay.
    kept = (conv.weight != 0).int().view(8, 2)
    assert kept[:, 0].tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert kept[:, 1].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]


def test_after_the_last_iteration_the_masks_are_frozen():
    pruner = one_layer([1.0, 2.0, 3.0, 4.0], nm=(2, 4), sparsity=0.5, steps=2, criterion="magnitude", sr_ste=1.0)
    gradients = []
    for _ in range(2):
        pruner.step()
        pruner.model.zero_grad()
        pruner.model(torch.ones(1, 4)).sum().backward()
        gradients.append(original(pruner.model, "weight").grad.tolist())
    assert gradients == [[[2.0, 3.0, 1.0, 1.0]], [[0.0, 0.0, 1.0, 1.0]]]
    assert pruner.finished
    for method in (pruner.begin_scoring, pruner.step):
        with pytest.raises(PruneError, match="all 2 iterations are done"):
            method()


def test_nm_only_and_block_only():
    fine = CrispPruner(small_net(), CrispConfig(block=None, sparsity=0.5, criterion="magnitude", steps=1))
    fine.prepare()
    fine.step()
    assert all(layer.pruned is None for layer in fine.masks().values())
    assert fine.masks()["narrow"].mask.sum(1).tolist() == [3 * 2 + 1] * 7  # 13 columns: three groups and one over
    coarse = CrispPruner(small_net(), CrispConfig(nm=(1, 1), block=BLOCK, sparsity=0.5, criterion="magnitude", steps=1))
    coarse.prepare()
    coarse.step()
    assert all(layer.nm.all() for layer in coarse.masks().values())
    assert coarse.masks()["reduce"].mask.all()  # 7 columns: no blocks
    assert coarse.report().sparsity >= 0.5


@pytest.mark.parametrize("steps", [0, 2])
def test_a_dense_configuration_changes_nothing(steps):
    model, twin = small_net(), small_net()
    pruner = CrispPruner(model, CrispConfig(nm=(1, 1), block=None, sparsity=0, steps=steps))
    pruner.prepare()
    assert pruner.finished
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9) for net in (model, twin)]
    for _ in range(2):
        take_scores(pruner, batches())
        pruner.step(optimizers[0])
        train(model, optimizers[0], batches())
        train(twin, optimizers[1], batches())
    assert pruner.report().sparsity == 0
    assert all(mask.all() for mask in pruner.finalize().values())
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in model.state_dict().items())


def test_weights_that_another_optimizer_moved_are_zeroed_again():
    model = small_net()
    pruner = CrispPruner(model, CrispConfig(block=BLOCK, sparsity=0.7, steps=2, criterion="magnitude"))
    pruner.prepare()
    pruner.step()
    moved = list(in_pruned_blocks(pruner))
    with torch.no_grad():
        for layer, _ in moved:
            weight(pruner, layer).add_(1e6)
    pruner.step()
    for layer, lost in moved:
        assert not to_matrix(weight(pruner, layer).detach())[lost].any()


@pytest.mark.parametrize("when", ["given to the pruner", "set later"])
def test_the_pruners_own_optimizer(when):
    model = small_net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    config = CrispConfig(block=BLOCK, sparsity=0.7, steps=1, criterion="magnitude")
    pruner = CrispPruner(model, config, optimizer=optimizer if when == "given to the pruner" else None)
    if when == "set later":
        pruner.optimizer = optimizer
    pruner.prepare()
    train(model, optimizer, batches())
    pruner.step()
    for layer, lost in in_pruned_blocks(pruner):
        assert not to_matrix(optimizer.state[weight(pruner, layer)]["momentum_buffer"])[lost].any()
        assert to_matrix(optimizer.state[weight(pruner, layer)]["momentum_buffer"])[~lost].any()


# --- vision transformers and BERT -----------------------------------------------------------------------------------


class Encoder(nn.Module):
    """Patches through a strided convolution, or words through an embedding; encoder layers; a head."""

    def __init__(self, words):
        super().__init__()
        self.embed = nn.Embedding(30, 16) if words else nn.Conv2d(3, 16, 2, stride=2)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 4)

    def forward(self, inputs):
        tokens = self.embed(inputs)
        if tokens.dim() == 4:
            tokens = tokens.flatten(2).transpose(1, 2)
        return self.head(self.encoder(tokens).mean(1))


@pytest.mark.parametrize("words", [True, False])
def test_transformers(words):
    torch.manual_seed(0)
    model = Encoder(words)
    inputs = torch.randint(30, (6, 7)) if words else torch.rand(6, 3, 6, 6)
    data = [(inputs, torch.arange(6) % 4)]
    pruner = CrispPruner(model, CrispConfig(block=BLOCK, sparsity=0.7, steps=2))
    pruner.prepare()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    while not pruner.finished:
        take_scores(pruner, data)
        pruner.step(optimizer)
        train(model, optimizer, data)
    assert len(pruner.layers) == 8
    assert [layer.reason for layer in pruner.dense] == (["classifier"] if words else ["stem", "classifier"])
    assert 0.7 <= pruner.report().sparsity < 0.75
    model.eval()
    with torch.no_grad():  # the fused path
        masked = model(inputs)
        pruner.finalize()
        assert torch.allclose(masked, model(inputs), atol=1e-6)
        assert torch.allclose(masked, model.train()(inputs), atol=1e-5)


# --- what can be reached --------------------------------------------------------------------------------------------


def two_linears(columns):
    return nn.Sequential(OrderedDict(body=nn.Linear(columns, 12), head=nn.Linear(12, 2)))


# 2:4, B = 8: one block of a row keeps 4 weights. 32 columns: 1 - 4/32; 36 columns, whose last block has 4: 1 - 4/36.
@pytest.mark.parametrize(("columns", "highest", "said"), [(32, "7/8", 0.875), (36, "8/9", 0.8888)])
def test_the_highest_sparsity_is_reached_and_no_more_is_asked_for(columns, highest, said):
    config = {"block": BLOCK, "steps": 2, "criterion": "magnitude"}
    with pytest.raises(PruneError, match=rf"sparsity 0\.9: these layers can be pruned to {said} at most"):
        CrispPruner(two_linears(columns), CrispConfig(sparsity=0.9, **config)).prepare()
    pruner = CrispPruner(two_linears(columns), CrispConfig(sparsity=highest, **config))
    pruner.prepare()
    while not pruner.finished:
        pruner.step()
    assert pruner.masks()["body"].pruned.sum(1).tolist() == [-(-columns // BLOCK) - 1] * 2
    assert pruner.report().layers[0].note == "one block left in each block row"


def test_narrow_layers_cannot_have_more_than_nm():
    with pytest.raises(PruneError, match=r"sparsity 0\.6: no layer has more than block = 8 columns"):
        CrispPruner(two_linears(8), CrispConfig(block=BLOCK, sparsity=0.6)).prepare()
    CrispPruner(two_linears(8), CrispConfig(block=BLOCK, sparsity=0.5)).prepare()


def test_a_model_without_prunable_layers():
    with pytest.raises(PruneError, match=r"sparsity 0\.9: the model has no prunable layer"):
        CrispPruner(nn.Sequential(nn.Linear(8, 8)), CrispConfig(block=BLOCK)).prepare()
    dense = CrispPruner(nn.Sequential(nn.Linear(8, 8)), CrispConfig(nm=(1, 1), block=None, sparsity=0))
    dense.prepare()
    assert dense.report().sparsity == 0
    assert dense.finalize() == {}


# --- report ---------------------------------------------------------------------------------------------------------


def test_the_report_by_hand():
    # body: 12 x 32, two block rows of four blocks; head: 2 x 12 dense.
    pruner = CrispPruner(two_linears(32), CrispConfig(block=BLOCK, sparsity=0.75, steps=1, criterion="magnitude"))
    assert (pruner.report().sparsity, pruner.report().iteration) == (0, 0)
    pruner.prepare()
    assert pruner.report().kept_weights == 384
    pruner.step()
    during = pruner.report()
    layer = during.layers[0]
    assert (layer.layer, layer.s, layer.k, layer.nm, layer.block) == ("body", 12, 32, "2:4", 8)
    assert (layer.block_columns, layer.kept_blocks, layer.weights, layer.kept_weights) == (4, 2, 384, 96)
    assert (layer.sparsity, during.sparsity, during.asked) == (0.75, 0.75, 0.75)
    assert [(dense.name, dense.reason, dense.weights) for dense in during.dense] == [("head", "classifier", 24)]
    pruner.finalize()
    assert pruner.report() == during


def test_the_report_says_what_has_no_blocks():
    pruner = CrispPruner(small_net(), CrispConfig(block=BLOCK, sparsity=0.7))
    layers = {layer.layer: layer for layer in pruner.report().layers}
    assert layers["reduce"].note == "N:M only: K = 7 is at most the block, 8"
    assert (layers["reduce"].block, layers["reduce"].block_columns) == (None, None)
    assert layers["conv"].block_columns == 12


# --- states, copies, order of calls ----------------------------------------------------------------------------------


def through_a_file(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


CONFIG = CrispConfig(block=BLOCK, sparsity=0.7, steps=3)


def halfway(config=CONFIG):
    model = small_net()
    pruner = CrispPruner(model, config)
    pruner.prepare()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    for _ in range(2):
        take_scores(pruner, batches())
        pruner.step(optimizer)
        train(model, optimizer, batches())
    return pruner, optimizer


def finish(pruner, optimizer):
    take_scores(pruner, batches())
    pruner.step(optimizer)
    train(pruner.model, optimizer, batches())
    return pruner.finalize(), pruner.model.state_dict()


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_resuming_halfway_gives_the_same_end():
    pruner, optimizer = halfway()
    saved = through_a_file([pruner.model.state_dict(), pruner.state_dict(), optimizer.state_dict()])
    expected = finish(pruner, optimizer)
    torch.manual_seed(99)
    model = SmallNet()
    resumed = CrispPruner(model, CONFIG)
    resumed.prepare()
    model.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    again = OPTIMIZERS["sgd"](model.parameters())
    again.load_state_dict(saved[2])
    assert resumed.iteration == 2
    assert_same(finish(resumed, again), expected)


def test_a_state_of_the_end_is_frozen():
    pruner, optimizer = halfway()
    take_scores(pruner, batches())
    pruner.step(optimizer)
    other = CrispPruner(small_net(), CONFIG)
    other.prepare()
    other.load_state_dict(pruner.state_dict())
    assert other.finished
    for one, two in zip(pruner._masked, other._masked, strict=True):
        assert torch.equal(one.mask, two.mask)
        assert torch.equal(two.learns, two.mask)


def test_a_state_is_a_copy():
    pruner, optimizer = halfway()
    saved = pruner.state_dict()
    kept = copy.deepcopy(saved["masks"])
    take_scores(pruner, batches())
    pruner.step(optimizer)
    for name, masks in kept.items():
        assert torch.equal(saved["masks"][name]["nm"], masks["nm"])


def _other_layers(state):
    state["masks"]["stem"] = state["masks"].pop("conv")


def _other_shape(state):
    state["masks"]["conv"]["nm"] = state["masks"]["conv"]["nm"][:, :-1]


def _uneven(state):
    state["masks"]["conv"]["pruned"][0] ^= True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("version"), r"must be what CrispPruner\.state_dict"),
        (lambda state: state["config"].update(sparsity=0.8), r"its sparsity is 0\.8, not 0\.7"),
        (lambda state: state["config"].update(include=["head"]), r"its include is \['head'\], not \[\]"),
        (lambda state: state.update(iteration=9), r"iteration 9: must be 0 to 3"),
        (lambda state: state.pop("masks"), r"has no masks"),
        (_other_layers, r"other layers: 'stem' differs"),
        (_other_shape, r"layer 'conv': its masks must be bool tensors"),
        (_uneven, r"layer 'conv': block rows lost different numbers"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    state = halfway()[0].state_dict()
    change(state)
    pruner = CrispPruner(small_net(), CONFIG)
    pruner.prepare()
    with pytest.raises(PruneError, match=message) as fault:
        pruner.load_state_dict(state)
    assert "\n" not in str(fault.value)
    assert pruner.iteration == 0
    assert all(layer.mask.all() for layer in pruner.masks().values())


@pytest.mark.parametrize("state", [None, [], {}, {"version": 2}])
def test_what_is_no_state_is_refused(state):
    pruner = CrispPruner(small_net(), CONFIG)
    pruner.prepare()
    with pytest.raises(PruneError, match="pruner state: must be"):
        pruner.load_state_dict(state)


def test_a_deep_copy_goes_its_own_way():
    pruner, optimizer = halfway()
    twin, twins_optimizer = copy.deepcopy((pruner, optimizer))
    assert twin.model is not pruner.model
    expected = finish(pruner, optimizer)
    assert twin.iteration == 2
    assert_same(finish(twin, twins_optimizer), expected)


def test_a_copied_model_can_be_looked_at_after_the_original_is_finalized():
    pruner, _ = halfway()
    replica = copy.deepcopy(pruner.model).eval()
    images = batches()[0][0]
    pruner.model.eval()
    pruner.finalize()
    assert torch.equal(replica(images), pruner.model(images))


def test_calls_out_of_turn():
    pruner = CrispPruner(small_net(), CONFIG)
    for method in (pruner.begin_scoring, pruner.step, pruner.finalize):
        with pytest.raises(PruneError, match=r"\(\): must follow prepare\(\)"):
            method()
    pruner.prepare()
    with pytest.raises(PruneError, match="must be called once"):
        pruner.prepare()
    with pytest.raises(PruneError, match=r"accumulate\(\): must follow begin_scoring"):
        pruner.accumulate(4)
    with pytest.raises(PruneError, match="criterion eq1 needs gradients"):
        pruner.step()
    pruner.begin_scoring()
    for size in (0, -1, 2.5, True):
        with pytest.raises(PruneError, match="number of samples"):
            pruner.accumulate(size)
    with pytest.raises(PruneError, match="at least one batch"):
        pruner.step()
    pruner.finalize()
    for method in (pruner.begin_scoring, pruner.step, pruner.finalize):
        with pytest.raises(PruneError, match=r"\(\): must come before finalize\(\)"):
            method()


def test_a_layer_without_gradients_is_named():
    model = small_net()
    model.extra = nn.Linear(9, 9)
    pruner = CrispPruner(model, CrispConfig(block=BLOCK, sparsity=0.7, exclude=("head",)))
    pruner.prepare()
    pruner.model.conv.parametrizations.weight.original.requires_grad_(False)
    with pytest.raises(PruneError, match="layer 'conv': its weight takes no gradient"):
        pruner.begin_scoring()


def test_a_layer_that_no_batch_uses_is_named():
    model = small_net()
    model.unused = nn.Linear(9, 9)
    model.classifier = nn.Linear(9, 2)
    pruner = CrispPruner(model, CrispConfig(block=BLOCK, sparsity=0.7))
    pruner.prepare()
    take_scores(pruner, batches())
    with pytest.raises(PruneError, match="layer 'unused' got no gradient"):
        pruner.step()


def test_a_score_that_is_not_finite_is_refused_and_nothing_moves():
    pruner, optimizer = halfway(CrispConfig(block=BLOCK, sparsity=0.7, steps=3, criterion="magnitude"))
    before = {name: layer.mask for name, layer in pruner.masks().items()}
    with torch.no_grad():
        original(pruner.model.hidden, "weight").fill_(float("inf"))
    with pytest.raises(PruneError, match=r"layer '?hidden'?: a score is not finite"):
        pruner.step(optimizer)
    assert pruner.iteration == 2
    assert all(torch.equal(layer.mask, before[name]) for name, layer in pruner.masks().items())


def test_weights_that_are_parametrised_already_are_refused():
    model = small_net()
    nn.utils.parametrizations.spectral_norm(model.conv)
    with pytest.raises(PruneError, match="layer 'conv': its weight is parametrised already"):
        CrispPruner(model, CONFIG).prepare()
    CrispPruner(model, CrispConfig(block=BLOCK, sparsity=0.6, exclude=("conv",))).prepare()


def test_a_wrapped_model_is_refused():
    with pytest.raises(PruneError, match=r"model of type DataParallel: must be the module it wraps"):
        CrispPruner(nn.DataParallel(small_net()), CONFIG)


def test_the_gradient_scale_reaches_sr_ste():
    pruner = one_layer([1.0, 2.0, 3.0, 4.0], nm=(2, 4), sparsity=0.5, steps=2, criterion="magnitude", sr_ste=0.5)
    pruner.step()
    pruner.set_gradient_scale(8.0)
    (8.0 * pruner.model(torch.ones(1, 4)).sum()).backward()
    assert original(pruner.model, "weight").grad.tolist() == [[8.0 + 4.0, 8.0 + 8.0, 8.0, 8.0]]
