"""Adding repetitions whole changes nothing: the shipped networks with and without it, on every architecture."""

import os
from importlib import resources

import numpy as np
import pytest

from crispsim.sim import Layer, read_layers, simulate

pytestmark = pytest.mark.kernel

compiled_only = pytest.mark.skipif(
    bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="millions of events: minutes without compiled kernels"
)
NETWORKS = ("bert_base", "mobilenetv2", "resnet50", "vgg16", "vit_b16")
PATTERNS = {"2:4 in blocks of 64": ("2:4", 64, 0.9), "1:4 in blocks of 16": ("1:4", 16, 0.9)}
MOST_ROWS, MOST_COLUMNS = 512, 200
WHOLE = {
    "resnet50": ("conv1", "layer1.0.conv2", "layer2.0.conv2", "layer4.2.conv3"),
    "mobilenetv2": ("features.2.conv.1.0", "features.17.conv.2"),
    "bert_base": ("encoder.layer.0.attention.self.query",),
}


def layers_of(network):
    with resources.as_file(resources.files("crispsim.sim") / "layers" / f"{network}.csv") as path:
        return read_layers(path)


def assert_repetitions_are_exact(layers, pattern):
    nm, block, sparsity = PATTERNS[pattern]
    fast, slow = (
        simulate(layers, nm=nm, block=block, sparsity=sparsity, skip_repetitions=skip) for skip in (True, False)
    )
    for one, other in zip(fast.rows, slow.rows, strict=True):
        np.testing.assert_array_equal(one.group.core_cycles, other.group.core_cycles)
        assert one.row() == other.row()
        assert other.group.events == other.group.events_represented
    assert sum(row.group.events for row in fast.rows) < sum(row.group.events for row in slow.rows)


@compiled_only
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("network", NETWORKS)
def test_repetitions_are_exact_on_every_shape_of_the_shipped_networks(network, pattern):
    """One group of each, cut to a few hundred rows and columns."""
    shapes = {(min(l.s, MOST_ROWS), l.k, min(l.p, MOST_COLUMNS)): l.name for l in layers_of(network)}
    sizes = {"in_width": 1, "kernel_h": 1, "kernel_w": 1}
    layers = [
        Layer(name=name, kind="gemm", in_height=p, in_channels=k, out_channels=s, **sizes)
        for (s, k, p), name in shapes.items()
    ]
    assert_repetitions_are_exact(layers, pattern)


@compiled_only
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("network", WHOLE)
def test_repetitions_are_exact_on_whole_layers(network, pattern):
    layers = [layer for layer in layers_of(network) if layer.name in WHOLE[network]]
    assert len(layers) == len(WHOLE[network])
    assert_repetitions_are_exact(layers, pattern)
