"""Values through the datapath: every shipped network, and that a wrong machine or operand is found."""

import dataclasses
import os

import numpy as np
import pytest

from crispsim.formats import CrispMatrix, PackedLayer, PackedModel, Pattern, draw_unstructured, draw_weights
from crispsim.sim import (
    ARCHITECTURES,
    ArchSpec,
    DatapathError,
    InputError,
    Layer,
    Machine,
    load_arch,
    read_layers,
    shipped_layers,
    simulate,
    verify,
)
from crispsim.sim.blocking import Residency
from crispsim.sim.control import Control
from crispsim.sim.tasks import prepare
from crispsim.sim.verify import verify_group

pytestmark = pytest.mark.kernel

COLUMNS = 70  # several column tiles of every architecture, two turns of dstc, the last ones ragged
EVERY = [*ARCHITECTURES, "dstc-given-masks", "dstc-equal-storage"]


def gemm(name="l", *, s=70, k=200, p=45, **fields):
    return Layer(
        name=name, kind="gemm", in_height=p, in_width=1, kernel_h=1, kernel_w=1, in_channels=k, out_channels=s, **fields
    )


def conv(name="c", *, channels=40, filters=36, **fields):
    sizes = {"in_height": 7, "in_width": 6, "kernel_h": 3, "kernel_w": 2}
    return Layer(name=name, kind="conv", in_channels=channels, out_channels=filters, **(sizes | fields))


def shapes_of(network):
    """One layer of every shape."""
    alike = {"name": "l", "calls": 1, "residual": None}
    shapes = {dataclasses.replace(layer, **alike): layer for layer in read_layers(shipped_layers()[network])}
    return list(shapes.values())


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="10^9 multiplications")
@pytest.mark.parametrize(
    ("network", "nm", "block"),
    [("resnet50", "2:4", 64), ("vgg16", "1:4", 32), ("mobilenetv2", "3:4", 16), ("vit_b16", "2:4", 16),
     ("bert_base", "1:4", 64)],
)  # fmt: skip
def test_every_shipped_network_computes_the_product_on_every_architecture(network, nm, block):
    layers = shapes_of(network)
    found = verify(layers, columns=COLUMNS, nm=nm, block=block, sparsity=0.9)
    assert len(found) == len(layers) * len(ARCHITECTURES)
    assert all(line.results >= line.layer.s * min(line.layer.p, COLUMNS) for line in found)


@pytest.mark.parametrize("arch", EVERY)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"smem.bytes_per_cycle": 3, "sum_bits": 8, "operand_bits": 16, "rf.bytes": 4096},
        {"smem.capacity_bytes": 16384, "dram.bytes_per_cycle": 17, "dram.latency_cycles": 20},
    ],
)
def test_whole_layers_on_the_plans_that_are_timed(arch, fields):
    layers = [
        gemm(),
        conv(stride_h=2, pad_h=1, pad_w=2, batch=2),
        conv("grouped", channels=4 * 9, filters=4 * 5, groups=4, dilation_h=2),
        conv("depthwise", channels=6, filters=6, groups=6),
        gemm("empty", activation_sparsity=1.0),
    ]
    spec = load_arch(arch, Machine.load("edge", fields))
    for nm, block, sparsity in (("2:4", 16, 0.75), ("1:4", 32, 0.9), ("dense", 32, 0.5)):
        options = {"nm": nm, "block": block, "sparsity": sparsity, "all_layers": True, "seed": 3}
        with_values = simulate(layers, [spec], functional=True, **options)
        assert [row.row() for row in with_values.rows] == [
            row.row() for row in simulate(layers, [spec], **options).rows
        ]


def test_a_packed_file_moves_its_own_values():
    hybrid = draw_weights((48, 96), Pattern(n=2, m=4, block=16), 0.75, seed=1)
    floats = dataclasses.replace(hybrid, values=hybrid.values.astype(np.float32) / 300)
    twin = draw_unstructured((48, 96), hybrid.nonzeros(), seed=2)
    activations = np.random.default_rng(0).integers(-2, 3, (30, 1, 96)).astype(np.int8)
    shared = {"kind": "gemm", "in_channels": 96, "in_height": 30, "p": 30}
    model = PackedModel(
        layers=(
            PackedLayer(name="int8", weights=hybrid, dtype="int8", activations=activations, **shared),
            PackedLayer(
                name="float",
                weights=floats,
                dtype="float32",
                unstructured=np.packbits(twin != 0, axis=1, bitorder="little"),
                **shared,
            ),
        )
    )
    results = simulate(weights=model, functional=True)
    rows = {(row.layer.name, row.arch): row for row in results.rows}
    assert rows["int8", "dense"].activation_sparsity == np.mean(activations == 0)
    assert rows["int8", "dstc"].macs_effectual == rows["int8", "dstc"].group.macs_issued
    pairs = (twin != 0).sum(axis=0)
    assert rows["float", "dstc"].mask == "unstructured"
    assert rows["float", "dstc"].weight_sparsity == 1 - pairs.sum() / (48 * 96)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_tensors_that_stay_and_pieces_that_are_there_already(arch):
    """`verify_group` moves values on the plan that the layer's residency gives."""
    machine = Machine.load("edge-lpddr4", {"smem.capacity_bytes": 32768})
    options = {"nm": "2:4", "block": 16, "sparsity": 0.75, "activation_sparsity": 0.4, "seed": 3, "all_layers": True}
    (task,) = prepare([gemm()], [arch], machine=machine, weights=None, keep_maps=True, notice=None, **options)
    (spec,), layer = task.specs, task.layer
    ((_, given, (own,)),) = task.groups(task.activations(Control()))
    for residency in (
        Residency(residual=True, prefetch_bytes=500),
        Residency(kept_input_bytes=layer.inputs),
        Residency(kept_output_bytes=layer.s * layer.p, prefetch_bytes=10_000),
    ):
        issued = verify_group(spec, given[spec.masks], own, layer.p, seed=3, index=0, residency=residency)
        assert issued == verify_group(spec, given[spec.masks], own, layer.p, seed=3, index=0)


def other_pieces(plan):
    cells = plan.memory.cells.copy()
    cells[int(np.argmax(cells[:, 2] >= 0)), 2] += 1  # the weight piece of a tile
    return dataclasses.replace(plan, memory=dataclasses.replace(plan.memory, cells=cells))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_step_that_needs_another_piece_is_found(arch):
    whole = ARCHITECTURES[arch]
    broken = dataclasses.replace(
        whole, setup=lambda machine, weights, inputs: Damaged(whole.setup(machine, weights, inputs), other_pieces)
    )
    spec = ArchSpec(name="broken", architecture=broken, machine=Machine.load("edge-lpddr4"), masks=whole.masks)
    with pytest.raises(DatapathError, match=r"broken: layer 'l'.*weights: it needs"):
        verify([gemm()], [spec], nm="2:4", block=16)


class Damaged:
    """A set-up whose plan is not what it should be."""

    def __init__(self, setup, damage):
        self._setup, self._damage = setup, damage

    def __getattr__(self, name):
        return getattr(self._setup, name)

    def lower(self, *arguments):
        lowered = self._setup.lower(*arguments)
        return dataclasses.replace(lowered, plan=self._damage(lowered.plan))


def shorter_tile(plan):
    tiles = plan.tiles.copy()
    longest = int(np.argmax(tiles[:, 2] - tiles[:, 1]))
    tiles[longest, 2] -= 1
    return dataclasses.replace(plan, tiles=tiles)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_plan_that_leaves_a_wave_out_is_found(arch):
    whole = ARCHITECTURES[arch]
    broken = dataclasses.replace(
        whole, setup=lambda machine, weights, inputs: Damaged(whole.setup(machine, weights, inputs), shorter_tile)
    )
    spec = ArchSpec(name="broken", architecture=broken, machine=Machine.load(), masks=whole.masks)
    with pytest.raises(DatapathError, match="broken: layer 'l'"):
        verify([gemm()], [spec], nm="2:4", block=None)  # no wave without nonzeros


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_one_wrong_bit_of_a_result_is_found(arch):
    whole = ARCHITECTURES[arch]

    def one_bit(*operands):
        result = whole.datapath(*operands)
        result[-1, -1] ^= 1
        return result

    spec = ArchSpec(
        name="wrong", architecture=dataclasses.replace(whole, datapath=one_bit), machine=Machine.load(), masks="given"
    )
    with pytest.raises(
        DatapathError, match=r"row 69, column 44: got -?\d+, expected -?\d+; 1 of 3150 values are wrong"
    ):
        verify([gemm()], [spec])


def test_a_swapped_block_is_found(monkeypatch):
    """The values go where the packed metadata say, the product where `decode` says."""
    right = CrispMatrix.decode

    def swapped(matrix):
        other = matrix.block_cols.copy()
        other[0, :2] = other[0, 1::-1]
        return right(dataclasses.replace(matrix, block_cols=np.sort(other), values=matrix.values[:, ::-1].copy()))

    monkeypatch.setattr(CrispMatrix, "decode", swapped)
    with pytest.raises(DatapathError, match="values are wrong"):
        verify([gemm()], ["crisp-stc"], block=32, nm="2:4", sparsity=0.75, all_layers=True)


@pytest.mark.parametrize("columns", [0, -1, 1.5, True, "all"])
def test_columns_are_a_number_or_none(columns):
    with pytest.raises(InputError, match="columns"):
        verify([gemm()], columns=columns)


@pytest.mark.parametrize("layer", [gemm(p=1 << 20, k=1 << 12), gemm(p=1 << 22, k=1 << 10)])
def test_inputs_that_do_not_fit_are_refused_before_anything_runs(layer):
    for run in (verify, lambda layers: simulate(layers, functional=True)):
        with pytest.raises(InputError, match="too large to move as values"):
            run([layer])


def test_many_groups_are_sampled_evenly_with_some_columns_only():
    layer = conv("depthwise", channels=20, filters=20, groups=20)
    (some,) = verify([layer], ["dense"], columns=4)
    (every,) = verify([layer], ["dense"], columns=None)
    assert (some.groups, some.columns, some.results) == (8, 4, 8 * 4)
    assert (every.groups, every.columns, every.results) == (20, 25, 20 * 25)
    assert every.macs_issued == 20 * 6 * 25
