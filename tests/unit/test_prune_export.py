"""From a torch model to a packed file: the layers as they run, and their weights as they are stored."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from crispsim.formats import CrispMatrix, NMMatrix, PatternError, read_model, write_model
from crispsim.prune import CrispConfig, CrispPruner
from crispsim.prune.errors import PruneError
from crispsim.prune.export import check_called, pack_model, trace_layers
from crispsim.prune.masks import LayerMasks
from crispsim.prune.matrix import to_matrix


@pytest.fixture(autouse=True)
def seeded():
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Net(nn.Module):
    """A stem, a convolution of every attribute, a depthwise one, and a head; `unused` is never called."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.wide = nn.Conv2d(8, 20, (3, 1), stride=(2, 1), padding=(2, 0), dilation=(2, 1))
        self.deep = nn.Conv2d(20, 20, 3, padding="same", groups=20)
        self.grouped = nn.Conv2d(20, 12, 1, groups=4)
        self.unused = nn.Linear(4, 4)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = torch.relu(self.grouped(self.deep(torch.relu(self.wide(torch.relu(self.stem(x)))))))
        return self.head(x.mean((2, 3)))


def traced(model, *shape, **options):
    return {layer.name: layer for layer in trace_layers(model, torch.randn(*shape), **options)}


class TestTrace:
    def test_geometry_is_what_the_model_computes(self):
        model, seen = Net(), {}
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: (i[0].shape, o.shape)}))
        layers = traced(model, 1, 3, 10, 9)
        assert list(layers) == ["stem", "wide", "deep", "grouped", "head"]
        for name, (given, made) in seen.items():
            layer = layers[name]
            assert (1, layer.in_channels, layer.in_height, layer.in_width) == given
            assert (layer.out_channels, layer.p) == (made[1], made[2] * made[3])
        wide, deep = layers["wide"], layers["deep"]
        assert (wide.kernel, wide.stride, wide.padding, wide.dilation) == ((3, 1), (2, 1), (2, 0), (2, 1))
        assert (deep.groups, deep.padding, deep.shape) == (20, (1, 1), (1, 9))
        assert (layers["grouped"].shape, layers["head"].shape, layers["head"].kind) == ((3, 5), (5, 12), "gemm")
        assert (layers["head"].in_height, layers["head"].p) == (1, 1)

    def test_modes_hooks_and_the_fast_path_are_restored(self):
        model = Net().train()
        model.stem.eval()
        trace_layers(model, torch.randn(1, 3, 8, 8))
        assert model.training
        assert model.wide.training
        assert not model.stem.training
        assert not any(module._forward_pre_hooks for module in model.modules())
        assert torch.backends.mha.get_fastpath_enabled()

    def test_a_module_called_twice_counts_twice_and_must_get_one_size(self):
        class Twice(nn.Module):
            def __init__(self, pool):
                super().__init__()
                self.conv, self.pool = nn.Conv2d(4, 4, 3, padding=1), pool

            def forward(self, x):
                return self.conv(self.pool(self.conv(x)))

        assert traced(Twice(nn.Identity()), 1, 4, 6, 6)["conv"].calls == 2
        with pytest.raises(PruneError, match=r"'conv': called with inputs of 6 x 6 x 4 x 1 and of 3 x 3 x 4 x 1"):
            traced(Twice(nn.MaxPool2d(2)), 1, 4, 6, 6)

    def test_windows_in_the_batch_of_a_convolution(self):
        class Frames(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.mlp = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

            def forward(self, video):  # (1, frames, 3, h, w)
                return self.mlp(self.conv(video[0]).permute(0, 2, 3, 1))

        layers = traced(Frames(), 1, 5, 3, 6, 6)
        assert (layers["conv"].batch, layers["conv"].p) == (5, 16)
        assert (layers["mlp"].batch, layers["mlp"].p) == (1, 5 * 16)

    @pytest.mark.parametrize("batch_first", [True, False])
    def test_a_transformer_layer_although_it_has_a_fast_path(self, batch_first):
        model = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first), 2, enable_nested_tensor=batch_first
        )
        shape = (1, 7, 8) if batch_first else (7, 1, 8)
        example = torch.randn(shape)
        if not batch_first:
            model, example = Turned(model), torch.randn(1, 7, 8)
        layers = trace_layers(model, example, sample="mask")
        expected = ["self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2"]
        assert [layer.name.split(".", 2 if batch_first else 3)[-1] for layer in layers] == expected * 2
        assert [layer.shape for layer in layers[:4]] == [(24, 8), (8, 8), (16, 8), (8, 16)]
        assert {layer.p for layer in layers} == {7}
        assert layers[0].sample is not None
        assert layers[1].sample is None
        assert layers[0].parameter == "in_proj_weight"

    def test_attention_with_keys_of_another_size(self):
        class Cross(nn.Module):
            def __init__(self, **sizes):
                super().__init__()
                self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **sizes)

            def forward(self, x):
                other = torch.ones(1, 5, self.attention.kdim)
                return self.attention(x, key=other, value=other)[0]

        layers = traced(Cross(kdim=6, vdim=6), 1, 3, 8)
        assert {name.removeprefix("attention."): (layer.shape, layer.p) for name, layer in layers.items()} == {
            "q_proj": ((8, 8), 3),
            "k_proj": ((8, 6), 5),
            "v_proj": ((8, 6), 5),
            "out_proj": ((8, 8), 3),
        }
        with pytest.raises(PruneError, match=r"'attention.in_proj': query, key and value of 3, 5, 5 tokens"):
            traced(Cross(), 1, 3, 8)

    def test_names_are_the_pruners(self):
        model = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Flatten(2), nn.MultiheadAttention(8, 2, batch_first=True))
        pruner = CrispPruner(model, CrispConfig(nm=(2, 4), block=None, sparsity="1/2"))
        known = {layer.name: layer.shape for layer in pruner.layers}

        class Called(nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, x):
                x = self.inner[1](self.inner[0](x)).mT
                return self.inner[2](x, x, x)[0]

        found = traced(Called(model), 1, 8, 2, 2)
        assert {name.removeprefix("inner."): layer.shape for name, layer in found.items()} == known

    def test_masked_weights_make_no_difference(self):
        model = Net()
        before = trace_layers(model, torch.zeros(1, 3, 8, 8))
        CrispPruner(model, CrispConfig(nm=(1, 4), block=4, sparsity=0.8)).prepare()
        assert parametrize.is_parametrized(model.wide)
        assert trace_layers(model, torch.zeros(1, 3, 8, 8)) == before

    def test_a_weight_that_is_used_without_calling_its_module(self):
        class Functional(nn.Module):
            def __init__(self):
                super().__init__()
                self.qkv, self.head = nn.Linear(8, 24), nn.Linear(24, 8)

            def forward(self, x):
                once = nn.functional.linear(x, self.qkv.weight, self.qkv.bias)
                return self.head(self.head(once) @ self.qkv.weight.mT[:, :8] @ self.qkv.weight.mT)

        model = Functional()
        for _ in range(2):
            layers = traced(model, 1, 5, 8)
            assert {name: (layer.p, layer.calls) for name, layer in layers.items()} == {"qkv": (5, 1), "head": (5, 2)}
            parametrize.register_parametrization(model.qkv, "weight", Halved())  # another tensor at each use

    def test_what_is_left_out_is_said(self):
        class Odd(nn.Module):
            def __init__(self):
                super().__init__()
                self.up, self.conv = nn.ConvTranspose2d(3, 4, 2), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
                self.idle = nn.Linear(3, 3)

            def forward(self, x):
                return self.conv(self.up(x))

        lines: list[str] = []
        assert list(traced(Odd(), 1, 3, 4, 4, notice=lines.append)) == ["conv"]
        assert [line.split("(1): ")[1] for line in lines] == ["idle", "up (ConvTranspose2d)", "conv (reflect)"]
        with pytest.raises(PruneError, match=r"never called in a forward pass \(1\): idle"):
            check_called(trace_layers(Odd(), torch.zeros(1, 3, 4, 4)), ["conv", "idle"])

    @pytest.mark.parametrize(
        ("model", "shape", "said"),
        [
            (nn.Conv2d(3, 4, 3), (2, 3, 8, 8), "shape 2x3x8x8: must be a batch of one"),
            (
                nn.Conv2d(3, 4, 3),
                (1, 5, 8, 8),
                "shape 1x5x8x8: the model does not run on it: RuntimeError: Given groups",
            ),
            (nn.ReLU(), (1, 3), "calls no Conv2d, Linear or MultiheadAttention"),
            (nn.Conv2d(3, 4, 2, padding="same"), (1, 3, 8, 8), "layer 'Conv2d': padding 'same' of a 2 x 2 filter"),
        ],
    )
    def test_refused_in_a_line(self, model, shape, said):
        with pytest.raises(PruneError) as caught:
            trace_layers(model, torch.zeros(shape))
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_samples_are_the_first_inputs(self):
        model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 5, 3))
        example = torch.randn(1, 2, 4, 6)
        inner = torch.relu(model[0](example))[0].permute(1, 2, 0).detach().numpy()
        mask = trace_layers(model, example, sample="mask")[1].sample
        assert mask is not None
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(np.unpackbits(mask, axis=-1, count=3, bitorder="little"), inner != 0)
        values = trace_layers(model, example, sample="int8")[1].sample
        assert values is not None
        assert values.max() == 127
        np.testing.assert_allclose(values / 127 * inner.max(), inner, atol=inner.max() / 254 * 1.001)
        with pytest.raises(PruneError, match="meta device"):
            trace_layers(model.to("meta"), example.to("meta"), sample="mask")


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


class Turned(nn.Module):
    """Calls a model that wants tokens first."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.transpose(0, 1))


CONFIG = CrispConfig(nm=(2, 4), block=4, sparsity=0.75)


def one_layer(rows=10, columns=14):
    """A Linear of ragged sizes, masked by hand: blocks of the first column pruned, the first two of every four kept."""
    model = nn.Sequential(nn.Linear(columns, rows, bias=False))
    nm = torch.zeros(rows, columns, dtype=torch.bool)
    nm[:, 0::4] = nm[:, 1::4] = True
    pruned = torch.zeros(-(-rows // 4), -(-columns // 4), dtype=torch.bool)
    pruned[:, 0] = True
    with torch.no_grad():
        model[0].weight *= nm
        model[0].weight[:, :4] = 0
    return model, trace_layers(model, torch.randn(1, columns)), {"0": LayerMasks(nm, pruned)}


class TestPack:
    @pytest.mark.parametrize(
        ("nm", "block", "sparsity", "kinds"),
        [
            ((2, 4), 4, 0.75, {"wide": CrispMatrix, "head": np.ndarray}),
            ((2, 4), 32, 0.5, {"wide": NMMatrix}),
            ((2, 4), None, "1/2", {"wide": NMMatrix}),
            ((1, 1), 4, 0.5, {"wide": CrispMatrix}),
            ((1, 1), None, 0, {"wide": np.ndarray}),
        ],
    )
    def test_a_pruned_network_survives_the_file(self, tmp_path, nm, block, sparsity, kinds):
        model = Net()
        config = CrispConfig(nm=nm, block=block, sparsity=sparsity, steps=2, criterion="magnitude", exclude=("unused",))
        pruner = CrispPruner(model, config)
        pruner.prepare()
        while not pruner.finished:
            pruner.step()
        pruner.finalize()
        layers = trace_layers(model, torch.randn(1, 3, 8, 8))
        packed = pack_model(model, layers, pruner.masks(), config, made_by={"tool": "test"})
        write_model(tmp_path / "m.safetensors", packed)
        back = read_model(tmp_path / "m.safetensors")
        assert [layer.name for layer in back.layers] == ["stem", "wide", "deep", "grouped", "head"]
        assert back.made_by == {"tool": "test"}
        for layer in layers:
            stored = back[layer.name]
            rows = [m if isinstance(m, np.ndarray) else m.decode() for m in stored.group_weights]
            weight = to_matrix(model.get_submodule(layer.name).weight.detach()).numpy()
            np.testing.assert_array_equal(np.concatenate(rows), weight)
            assert (stored.p, stored.groups, stored.kernel, stored.in_height) == (
                layer.p,
                layer.groups,
                layer.kernel,
                layer.in_height,
            )
        for name, kind in kinds.items():
            assert isinstance(back[name].group_weights[0], kind)

    def test_kept_zeros_and_empty_blocks_stay_slots(self):
        model, layers, masks = one_layer()
        with torch.no_grad():
            model[0].weight[3, 5] = 0  # a kept weight
            model[0].weight[4:8, 8:12] = 0  # a kept block
        matrix = pack_model(model, layers, masks, CONFIG)["0"].weights
        assert isinstance(matrix, CrispMatrix)
        assert matrix.block_cols.tolist() == [[1, 2, 3]] * 3
        np.testing.assert_array_equal(matrix.decode(), model[0].weight.detach().numpy())
        codes = np.unpackbits(matrix.nm_index[0, 0], bitorder="little").reshape(4, 2, 2)
        assert (codes[3] @ [1, 2]).tolist() == [0, 1]

    def test_int8_is_symmetric_per_channel_and_says_its_error(self):
        model, layers, masks = one_layer()
        with torch.no_grad():
            model[0].weight[2] = 0
            model[0].weight[5, 4:6] = torch.tensor([127.0, 2.5])
        packed = pack_model(model, layers, masks, CONFIG, dtype="int8")
        layer, weight = packed["0"], model[0].weight.detach().double().numpy()
        assert layer.scales is not None
        assert layer.scales[2] == 1.0
        assert layer.scales[5] == 1.0
        assert isinstance(layer.weights, CrispMatrix)
        stored = layer.weights.decode()
        assert stored[5, 4:6].tolist() == [127, 2]  # half to even
        scales = np.array(layer.scales)[:, None]
        assert np.abs(stored * scales - weight).max() <= scales.max() / 2
        assert layer.scales[0] == np.abs(weight[0]).max() / 127
        said = packed.made_by["rounding"]
        error = np.sqrt(np.square(stored * scales - weight).sum() / np.square(weight).sum())
        assert said["relative_rms_error"] == pytest.approx(error)
        assert (said["dtype"], said["worst_layer"]) == ("int8", "0")

    def test_float16(self):
        model, layers, masks = one_layer()
        packed = pack_model(model, layers, masks, CONFIG, dtype="float16")
        assert isinstance(packed["0"].weights, CrispMatrix)
        np.testing.assert_array_equal(packed["0"].weights.decode(), model[0].weight.detach().numpy().astype(np.float16))
        with torch.no_grad():
            model[0].weight[0, 4] = 1e5
        with pytest.raises(PruneError, match=r"layer '0': weight of size 100000: too large for float16"):
            pack_model(model, layers, masks, CONFIG, dtype="float16")

    def test_an_unstructured_twin_has_as_many_nonzeros(self):
        model, layers, masks = one_layer()
        scores = torch.zeros(10, 14)
        scores[0] = 1  # 14 of them, then ties: row-major
        layer = pack_model(model, layers, masks, CONFIG, unstructured={"0": scores})["0"]
        assert layer.unstructured is not None
        assert isinstance(layer.weights, CrispMatrix)
        twin = np.unpackbits(layer.unstructured, axis=1, count=14, bitorder="little").reshape(-1)
        count = np.count_nonzero(layer.weights.decode())
        assert twin.sum() == count
        assert twin[:count].all()

    def test_attention_and_activations_reach_the_file(self, tmp_path):
        model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        layers = trace_layers(model, torch.randn(1, 7, 8), sample="mask")
        packed = pack_model(model, layers, {}, CrispConfig(nm=(1, 1), block=None, sparsity=0))
        assert packed.made_by["parameters"] == {"self_attn.in_proj": "self_attn.in_proj_weight"}
        write_model(tmp_path / "m.safetensors", packed)
        back = read_model(tmp_path / "m.safetensors")
        assert back["linear2"].nonzero_activations().shape == (7, 1, 16)
        assert 0 < back["linear2"].nonzero_activations().mean() < 1  # after a ReLU
        assert back["self_attn.out_proj"].activations is None

    def test_refused_in_a_line(self):
        model, layers, masks = one_layer()
        mask = masks["0"]
        assert mask.pruned is not None
        uneven, small = mask.pruned.clone(), torch.ones(2, 2, dtype=torch.bool)
        uneven[1, 1] = True
        for broken, said in (
            ({"1": mask}, "never called"),
            ({"0": LayerMasks(mask.nm, uneven)}, "block rows keep 2 to 3 blocks"),
            ({"0": LayerMasks(mask.nm, ~torch.zeros_like(uneven))}, "keep 0 to 0 blocks"),
            ({"0": LayerMasks(small, mask.pruned)}, r"mask \(2, 2\) torch.bool: must be \(10, 14\)"),
            ({"0": LayerMasks(mask.nm & False, mask.pruned)}, "weights outside its mask: must be 0"),
        ):
            with pytest.raises(PruneError, match=said):
                pack_model(model, layers, broken, CONFIG)
        with pytest.raises(PatternError, match="crisp"):
            pack_model(model, layers, {"0": LayerMasks(mask.nm | True, mask.pruned)}, CONFIG)
        with pytest.raises(PruneError, match="dtype 'int4'"):
            pack_model(model, layers, masks, CONFIG, dtype="int4")
        with pytest.raises(PruneError, match=r"layer '9': scores .* not pruned"):
            pack_model(model, layers, masks, CONFIG, unstructured={"9": torch.zeros(1)})
        with torch.no_grad():
            model[0].weight[0, 4] = torch.nan
        with pytest.raises(PruneError, match=r"layer '0': weight nan: must be finite"):
            pack_model(model, layers, masks, CONFIG)
