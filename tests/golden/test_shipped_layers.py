"""The shipped layer tables, against network definitions written out here from the papers.

Totals come from elsewhere: multiply-accumulates and parameters as torchvision documents them for its
weights (`_ops` in GFLOPs that count multiply-accumulates, `num_params`), and by hand where a note says so.
Once (torch 2.13.0, torchvision 0.28.0) the four vision tables were also compared, name by name and size by
size, with forward hooks on the models themselves: no difference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import crispsim.sim
from crispsim.sim.layer import Layer
from crispsim.sim.layer_csv import read_layers

FOLDER = Path(crispsim.sim.__file__).parent / "layers"

# Input side, channels, filters, kernel, stride, padding, groups.
Convolution = tuple[int, int, int, int, int, int, int]
# M, N, K.
Gemm = tuple[int, int, int]


def shipped(name: str) -> list[Layer]:
    return read_layers(FOLDER / f"{name}.csv", notice=pytest.fail)


def convolutions(layers: list[Layer]) -> list[Convolution]:
    for layer in layers:
        assert layer.kind == "conv"
        assert layer.in_height == layer.in_width
        assert layer.kernel_h == layer.kernel_w
        assert layer.stride_h == layer.stride_w
        assert layer.pad_h == layer.pad_w
        assert (layer.dilation_h, layer.dilation_w, layer.batch, layer.calls) == (1, 1, 1, 1)
    return [(x.in_height, x.in_channels, x.out_channels, x.kernel_h, x.stride_h, x.pad_h, x.groups) for x in layers]


def gemms(layers: list[Layer]) -> list[Gemm]:
    assert all(layer.kind == "gemm" for layer in layers)
    return [(layer.in_height, layer.out_channels, layer.in_channels) for layer in layers]


def resnet50() -> list[Convolution]:
    """He et al., 2016, table 1, bottleneck of figure 5; v1.5: the 3x3 has the stride (torchvision)."""
    rows: list[Convolution] = [(224, 3, 64, 7, 2, 3, 1)]
    channels = 64
    for width, blocks, side in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            before = side * stride
            rows.append((before, channels, width, 1, 1, 0, 1))
            rows.append((before, width, width, 3, stride, 1, 1))
            rows.append((side, width, 4 * width, 1, 1, 0, 1))
            if block == 0:
                rows.append((before, channels, 4 * width, 1, stride, 0, 1))
            channels = 4 * width
    return [*rows, (1, 2048, 1000, 1, 1, 0, 1)]


def vgg16() -> list[Convolution]:
    """Simonyan and Zisserman, 2015, table 1, column D."""
    rows: list[Convolution] = []
    channels = 3
    for side, widths in (
        (224, (64, 64)),
        (112, (128, 128)),
        (56, (256, 256, 256)),
        (28, (512, 512, 512)),
        (14, (512, 512, 512)),
    ):
        for width in widths:
            rows.append((side, channels, width, 3, 1, 1, 1))
            channels = width
    fully_connected = [(7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)]
    return rows + [(1, inputs, outputs, 1, 1, 0, 1) for inputs, outputs in fully_connected]


def mobilenetv2() -> list[Convolution]:
    """Sandler et al., 2018, table 2: expansion t, channels c, repeats n, stride s of the first."""
    rows: list[Convolution] = [(224, 3, 32, 3, 2, 1, 1)]
    side, channels = 112, 32
    for t, c, n, s in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for stride in [s] + [1] * (n - 1):
            hidden = t * channels
            if t > 1:
                rows.append((side, channels, hidden, 1, 1, 0, 1))
            rows.append((side, hidden, hidden, 3, stride, 1, hidden))
            side //= stride
            rows.append((side, hidden, c, 1, 1, 0, 1))
            channels = c
    return [*rows, (7, 320, 1280, 1, 1, 0, 1), (1, 1280, 1000, 1, 1, 0, 1)]


def vit_b16() -> list[Gemm]:
    """Dosovitskiy et al., 2021, table 1: 12 layers, width 768, MLP 3072; 14 x 14 patches, a class token."""
    rows: list[Gemm] = [(14 * 14, 768, 16 * 16 * 3)]
    for _ in range(12):
        rows += [(197, 3 * 768, 768), (197, 768, 768), (197, 3072, 768), (197, 768, 3072)]
    return [*rows, (1, 1000, 768)]


def bert_base() -> list[Gemm]:
    """Devlin et al., 2019, section 3: L = 12, H = 768, feed-forward 4H; 128 tokens."""
    layer = [(128, 768, 768)] * 4 + [(128, 3072, 768), (128, 768, 3072)]
    return layer * 12


@pytest.mark.parametrize(
    ("name", "definition"), [("resnet50", resnet50), ("vgg16", vgg16), ("mobilenetv2", mobilenetv2)]
)
def test_convolutional_networks(name: str, definition: Callable[[], list[Convolution]]) -> None:
    assert convolutions(shipped(name)) == definition()


@pytest.mark.parametrize(("name", "definition"), [("vit_b16", vit_b16), ("bert_base", bert_base)])
def test_transformers(name: str, definition: Callable[[], list[Gemm]]) -> None:
    assert gemms(shipped(name)) == definition()


@pytest.mark.parametrize(
    ("name", "layers", "macs", "weights"),
    [
        ("resnet50", 53 + 1, 4_089_184_256, 25_502_912),  # torchvision: 4.089 GFLOPs
        ("vgg16", 13 + 3, 15_470_264_320, 138_344_128),  # torchvision: 15.470
        ("mobilenetv2", 52 + 1, 300_774_272, 3_469_760),  # torchvision: 0.301
        ("vit_b16", 1 + 4 * 12 + 1, 16_848_500_736, 86_292_480),  # see below
        ("bert_base", 6 * 12, 10_871_635_968, 84_934_656),  # 12 * 12 * 768**2 weights, 128 times each
    ],
)
def test_totals(name: str, layers: int, macs: int, weights: int) -> None:
    table = shipped(name)
    assert len(table) == layers
    assert sum(layer.macs for layer in table) == macs
    assert sum(layer.weights for layer in table) == weights


@pytest.mark.parametrize(
    ("name", "parameters", "others"),
    [
        # Everything that is not a convolution's or linear layer's weight: 2 per channel of a BatchNorm or
        # LayerNorm, biases, and ViT's class token and position embedding.
        ("resnet50", 25_557_032, 2 * 26_560 + 1000),
        ("vgg16", 138_357_544, 4224 + 4096 + 4096 + 1000),
        ("mobilenetv2", 3_504_872, 2 * 17_056 + 1000),
        ("vit_b16", 86_567_656, 768 + 197 * 768 + 768 + 12 * (9 * 768 + 4 * 768) + 2 * 768 + 1000),
        ("bert_base", 85_054_464, 12 * (9 * 768 + 4 * 768)),  # transformers: BertModel(...).encoder
    ],
)
def test_weights_are_the_published_parameters_less_the_rest(name: str, parameters: int, others: int) -> None:
    assert sum(layer.weights for layer in shipped(name)) == parameters - others


def test_batch_norms_cover_every_convolution() -> None:
    for name, channels in (("resnet50", 26_560), ("mobilenetv2", 17_056)):
        assert sum(layer.out_channels for layer in shipped(name)[:-1]) == channels


def test_vit_lacks_only_the_attention_products() -> None:
    """torchvision counts 17.564 with Q x K and scores x V: 2 x 197 x 197 x 768 in each of 12 layers."""
    total = sum(layer.macs for layer in shipped("vit_b16")) + 12 * 2 * 197 * 197 * 768
    assert round(total / 1e9, 3) == 17.564


def residuals(name: str) -> list[tuple[str, str]]:
    return [(layer.name, layer.residual) for layer in shipped(name) if layer.residual is not None]


def test_residuals_of_resnet50() -> None:
    """Figure 5 of He et al.: each block's output is its third convolution's and, added, its input or the projection."""
    added = []
    for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        before = f"layer{stage}.0.downsample.0"
        added.append((before, f"layer{stage}.0.conv3"))
        for block in range(1, blocks):
            added.append((f"layer{stage}.{block}.conv3", before))
            before = added[-1][0]
    assert residuals("resnet50") == added


def test_residuals_of_mobilenetv2() -> None:
    """Figure 4d of Sandler et al.: blocks of stride 1 with as many channels out as in, n - 1 of each repeated row."""
    added, block = [], 1
    for repeats in (1, 2, 3, 4, 3, 3, 1):
        added += [(f"features.{block + i}.conv.2", f"features.{block + i - 1}.conv.2") for i in range(1, repeats)]
        block += repeats
    assert residuals("mobilenetv2") == added


@pytest.mark.parametrize(
    ("table", "attention", "mlp"),
    [
        ("vit_b16", "encoder.layers.encoder_layer_{}.self_attention.out_proj", "encoder.layers.encoder_layer_{}.mlp.3"),
        ("bert_base", "encoder.layer.{}.attention.output.dense", "encoder.layer.{}.output.dense"),
    ],
)
def test_residuals_of_transformers(table: str, attention: str, mlp: str) -> None:
    """Two in each block; of the first one's attention it is the embedding, which no row makes."""
    added = []
    for block in range(12):
        added += [(attention.format(block), mlp.format(block - 1)), (mlp.format(block), attention.format(block))]
    assert residuals(table) == added[1:]


def test_vgg16_has_no_residuals() -> None:
    assert residuals("vgg16") == []


def test_depthwise_layers() -> None:
    assert sum(layer.depthwise for layer in shipped("mobilenetv2")) == 17
    assert not any(layer.depthwise for layer in shipped("resnet50"))


def test_names_are_the_checkpoints_names() -> None:
    names = [layer.name for layer in shipped("resnet50")]
    assert names[:5] == [
        "conv1",
        *(f"layer1.0.{part}" for part in ("conv1", "conv2", "conv3", "downsample.0")),
    ]
    assert names[-1] == "fc"
    assert [layer.name for layer in shipped("mobilenetv2")][-2:] == ["features.18.0", "classifier.1"]
    assert "encoder.layers.encoder_layer_11.mlp.3" in [layer.name for layer in shipped("vit_b16")]
