"""The dual-side engine path against its reference twin: every number of the result, exactly."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crispsim.sim.activations import GivenColumns
from crispsim.sim.archs import ARCHITECTURES
from crispsim.sim.engine_state import CAUSES
from crispsim.sim.machine import Machine
from crispsim.sim.simulate import run_group
from crispsim.sim.weights import Weights
from tests.reference.dual import DualMachine, run_dual
from tests.reference.result import RefResult

pytestmark = pytest.mark.kernel

PLAIN = bool(os.environ.get("NUMBA_DISABLE_JIT") or os.environ.get("NUMBA_BOUNDSCHECK"))


@st.composite
def machines(draw):
    tile_rows, tile_columns = draw(st.sampled_from([1, 4, 8, 20, 32, 64])), draw(st.sampled_from([1, 5, 8, 32, 64]))
    core_columns = draw(st.sampled_from([1, 2, 2, 3]))
    rows, lanes = draw(st.sampled_from([(8, 8), (8, 16), (2, 4)]))
    step_rows = draw(st.sampled_from([1, 2, 8]))
    return DualMachine(
        cores=core_columns * draw(st.sampled_from([1, 2, 2, 3])),
        core_columns=core_columns,
        rows=rows,
        lanes=lanes,
        tile_rows=tile_rows,
        tile_columns=tile_columns,
        slice_positions=draw(st.sampled_from([1, 3, 8, 16])),
        slice_slots=draw(st.sampled_from([1, 2, 2, 3])),
        step_rows=step_rows,
        step_columns=draw(st.integers(1, min(64, rows * lanes // step_rows))),
        accumulator_bytes=tile_rows * tile_columns * 4,
        accumulator_values_per_cycle=draw(st.sampled_from([1, 7, 64, 116, 4096])),
        operand_bytes=draw(st.sampled_from([1, 2])),
        sum_bytes=draw(st.sampled_from([1, 4])),
        output_bytes=draw(st.sampled_from([1, 4])),
        read_bytes_per_cycle=draw(st.sampled_from([1, 3, 7, 16, 42, 64, 1000])),
        write_bytes_per_cycle=draw(st.sampled_from([1, 3, 8, 64])),
        latency_cycles=draw(st.integers(1, 7)),
        pipeline_cycles=draw(st.integers(0, 6)),
    )


def mask(draw, shape):
    """Zeros of any kind: anywhere, and in whole blocks, rows and columns."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    nonzero = rng.random(shape) < draw(st.sampled_from([0.0, 0.02, 0.1, 0.5, 0.9, 1.0]))
    block = draw(st.sampled_from([1, 4, 16]))
    kept = rng.random((-(-shape[0] // block), -(-shape[1] // block))) < draw(st.sampled_from([0.3, 0.7, 1.0]))
    return nonzero & np.kron(kept, np.ones((block, block), bool)).astype(bool)[: shape[0], : shape[1]]


@st.composite
def cases(draw):
    s, k, p = draw(st.integers(1, 70)), draw(st.integers(1, 60)), draw(st.integers(1, 70))
    return draw(machines()), mask(draw, (s, k)), mask(draw, (k, p))


def to_machine(ref: DualMachine) -> Machine:
    return Machine.load(
        "edge",
        {
            "core.count": ref.cores,
            "core.rows": ref.rows,
            "core.lanes": ref.lanes,
            "core.pipeline_cycles": ref.pipeline_cycles,
            "operand_bits": 8 * ref.operand_bytes,
            "sum_bits": 8 * ref.sum_bytes,
            "output_bits": 8 * ref.output_bytes,
            "smem.read_bytes_per_cycle": ref.read_bytes_per_cycle,
            "smem.write_bytes_per_cycle": ref.write_bytes_per_cycle,
            "smem.latency_cycles": ref.latency_cycles,
            "dstc.tile_rows": ref.tile_rows,
            "dstc.tile_columns": ref.tile_columns,
            "dstc.accumulator_bytes": ref.accumulator_bytes,
            "dstc.accumulator_values_per_cycle": ref.accumulator_values_per_cycle,
            "dstc.slice_positions": ref.slice_positions,
            "dstc.slice_slots": ref.slice_slots,
            "dstc.step_rows": ref.step_rows,
            "dstc.step_columns": ref.step_columns,
            "dstc.core_columns": ref.core_columns,
        },
    )


def assert_equal(ref: DualMachine, weights, activations):
    expected = run_dual(ref, weights, activations)
    given_weights = Weights(shape=weights.shape, matrix=weights.astype(np.int8))
    result = run_group(
        ARCHITECTURES["dstc"],
        to_machine(ref),
        given_weights,
        activations.shape[1],
        GivenColumns(nonzero=activations),
    )
    names = [name for name in RefResult.__dataclass_fields__ if name not in CAUSES]
    assert {name: getattr(result, name) for name in names} == {name: getattr(expected, name) for name in names}
    for column, cause in enumerate(CAUSES):
        assert result.core_cycles[:, column].tolist() == getattr(expected, cause), cause


@settings(max_examples=20 if PLAIN else 200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_engine_and_twin_agree_on_every_number(case):
    assert_equal(*case)


def test_they_agree_on_a_layer_of_the_default_machine():
    rng = np.random.default_rng(0)
    weights, activations = rng.random((150, 100)) < 0.2, rng.random((100, 130)) < 0.6
    assert_equal(DualMachine(), weights, activations)
