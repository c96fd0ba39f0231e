"""What dstc promises beyond the contract of all: work, bytes and cycles that follow the zeros of both operands."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crispsim.sim import ARCHITECTURES, InputError, Layer, Machine, load_arch, simulate
from crispsim.sim.activations import GivenColumns
from crispsim.sim.simulate import run_group
from crispsim.sim.weights import Weights

pytestmark = pytest.mark.kernel

RANDOM = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
FAST = {
    "smem.read_bytes_per_cycle": 1 << 20,
    "smem.write_bytes_per_cycle": 1 << 20,
    "smem.latency_cycles": 1,
    "core.pipeline_cycles": 0,
}


def run(weights, activations, fields=None):
    machine = Machine.load("edge", fields or {})
    matrix = Weights(shape=weights.shape, matrix=weights.astype(np.int8))
    given_columns = GivenColumns(nonzero=activations)
    return run_group(ARCHITECTURES["dstc"], machine, matrix, activations.shape[1], given_columns)


@st.composite
def operands(draw):
    s, k, p = draw(st.integers(1, 90)), draw(st.integers(1, 70)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    densities = st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0])
    return rng.random((s, k)) < draw(densities), rng.random((k, p)) < draw(densities)


@RANDOM
@given(operands())
def test_work_is_the_pairs_of_nonzeros(pair):
    weights, activations = pair
    result = run(*pair)
    pairs = int(weights.sum(axis=0) @ activations.sum(axis=1))
    assert result.macs_issued == pairs
    assert result.accumulator_write_bytes == 4 * pairs
    assert result.accumulator_read_bytes == 4 * (pairs + weights.shape[0] * activations.shape[1])
    assert result.smem_write_bytes == weights.shape[0] * activations.shape[1]


@RANDOM
@given(operands())
def test_an_operand_is_read_once_for_every_turn_or_band_of_the_other(pair):
    weights, activations = np.ones_like(pair[0]), np.ones_like(pair[1])
    bands, turns = -(-weights.shape[0] // 64), -(-activations.shape[1] // 64)
    assert run(pair[0], activations).weight_bytes == turns * pair[0].sum()
    assert run(weights, pair[1]).activation_bytes == bands * pair[1].sum()


@RANDOM
@given(operands(), st.integers(0, 2**32))
def test_more_zeros_are_never_more_work_or_traffic(pair, seed):
    weights, activations = pair
    fewer = weights & (np.random.default_rng(seed).random(weights.shape) < 0.5)
    before, after = run(weights, activations), run(fewer, activations)
    for name in ("compute_bound_cycles", "macs_issued", "weight_bytes", "metadata_bytes", "activation_bytes"):
        assert getattr(after, name) <= getattr(before, name), name


@RANDOM
@given(operands())
def test_the_busiest_core_needs_at_least_its_share_of_full_steps(pair):
    result = run(*pair)
    assert 64 * 4 * result.compute_bound_cycles >= result.macs_issued


@pytest.mark.parametrize(("s", "k", "p"), [(32, 16, 32), (32, 200, 32), (7, 33, 19), (1, 1, 1)])
def test_without_memory_in_the_way_a_dense_tile_takes_its_steps(s, k, p):
    """One core, one tile: two cycles above the bound, as for the other architectures."""
    fields = FAST | {"core.count": 1, "dstc.core_columns": 1}
    result = run(np.ones((s, k), bool), np.ones((k, p), bool), fields)
    assert result.compute_bound_cycles == k * -(-s // 8) * -(-p // 8)
    assert result.cycles == result.compute_bound_cycles + 2


def test_an_empty_operand_reads_nothing_and_writes_zeros():
    result = run(np.zeros((40, 50), bool), np.ones((50, 70), bool))
    assert (result.smem_read_bytes, result.smem_write_bytes, result.compute_bound_cycles) == (0, 40 * 70, 0)
    assert result.cycles == 4 + -(-40 * 70 // 64) - 1 + 2  # pipeline, the writes back to back, latency


def test_empty_slices_are_neither_read_nor_run():
    """Half of the slices of every tile empty, or half of the nonzeros gone: the same work, less to read."""
    rng = np.random.default_rng(0)
    activations = rng.random((320, 64)) < 0.6
    whole, scattered = np.ones((64, 320), bool), rng.random((64, 320)) < 0.5
    whole[:, 160:] = False
    empty, spread = run(whole, activations), run(scattered, activations)
    assert empty.macs_issued == pytest.approx(spread.macs_issued, rel=0.02)
    assert empty.activation_bytes == activations[:160].sum()
    assert spread.activation_bytes == activations.sum()
    assert empty.compute_bound_cycles < 0.9 * spread.compute_bound_cycles


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dstc.core_columns": 3}, "dstc.core_columns: value 3: must divide the 4 cores"),
        ({"dstc.accumulator_bytes": 4095}, "dstc.accumulator_bytes: value 4095: too small for 32 x 32 sums of 32 bits"),
        ({"dstc.step_columns": 9}, "a step of 8 x 9 needs more than the 64 MACs"),
    ],
)
def test_machines_that_cannot_be_are_refused_before_anything_runs(fields, message):
    layer = Layer(name="l", kind="gemm", in_height=8, in_width=1, kernel_h=1, kernel_w=1, in_channels=8, out_channels=8)
    with pytest.raises(InputError, match=message):
        simulate([layer], ["dstc"], machine=Machine.load("edge", fields))


def test_the_equal_storage_variant_has_the_storage_of_the_others():
    spec = load_arch("dstc-equal-storage")
    sums = spec.machine.dstc.tile_rows * spec.machine.dstc.tile_columns * spec.machine.sum_bytes
    assert sums == spec.machine.dstc.accumulator_bytes == spec.machine.rf.bytes == 1024


def test_real_masks_decide():
    """One sparsity, three results: unstructured weights, those of the others, and the choice is in the output."""
    layer = Layer(
        name="l", kind="gemm", in_height=128, in_width=1, kernel_h=1, kernel_w=1, in_channels=1024, out_channels=128
    )
    own, given_masks, crisp = simulate([layer], ["dstc", "dstc-given-masks", "crisp-stc"], all_layers=True).rows
    assert (own.mask, given_masks.mask, crisp.mask) == ("unstructured", "hybrid", "hybrid")
    assert own.weight_sparsity == given_masks.weight_sparsity == crisp.weight_sparsity
    assert given_masks.macs_effectual == given_masks.group.macs_issued == crisp.macs_effectual
    assert own.group.macs_issued == own.macs_effectual == pytest.approx(given_masks.macs_effectual, rel=0.02)
    assert given_masks.cycles < 0.8 * own.cycles
    assert given_masks.group.smem_read_bytes < 0.8 * own.group.smem_read_bytes
