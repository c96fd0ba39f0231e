"""The engine against the reference twin: every number of the result, exactly, on random layers and machines."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crispsim.formats import Pattern, draw_weights
from crispsim.sim.archs import ARCHITECTURES
from crispsim.sim.engine_state import CAUSES
from crispsim.sim.machine import Machine
from crispsim.sim.simulate import run_group
from crispsim.sim.weights import Weights
from tests.reference.stationary import RefMachine, run_reference

pytestmark = pytest.mark.kernel

COUNTS = (
    "mode", "column_tile", "cycles", "compute_bound_cycles", "smem_bound_cycles", "weight_bytes", "metadata_bytes",
    "activation_bytes", "smem_read_bytes", "smem_write_bytes", "macs_issued", "mux_selections", "mux2_selections",
    "popcount_adders", "crossbar_bits", "rf_read_bytes", "rf_write_bytes", "accumulator_read_bytes",
    "accumulator_write_bytes",
)  # fmt: skip


@st.composite
def machines(draw):
    """A twin's machine; small enough to step."""
    rows = draw(st.sampled_from([1, 2, 4, 8]))
    chunk = draw(st.integers(1, 3))
    operand, sums = draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 4]))
    return RefMachine(
        cores=draw(st.sampled_from([1, 2, 3, 4, 8])),
        rows=rows,
        lanes=draw(st.sampled_from([4, 8])),
        rf_bytes=draw(st.sampled_from([256, 512, 1024, 4096])),
        rf_holds=draw(st.sampled_from(["all", "all", "sums"])),
        rf_read_bytes_per_cycle=draw(st.sampled_from([0, 0, 5, 16])),
        operand_bytes=operand,
        sum_bytes=sums,
        output_bytes=draw(st.sampled_from([1, 4])),
        chunk_columns=chunk,
        chunk_slots=draw(st.integers(1, 5)),
        column_tile=chunk * draw(st.sampled_from([0, 0, 1, 2, 3])),
        read_bytes_per_cycle=draw(st.sampled_from([1, 3, 7, 16, 42, 64, 200])),
        write_bytes_per_cycle=draw(st.sampled_from([1, 3, 8, 64])),
        latency_cycles=draw(st.integers(1, 7)),
        pipeline_cycles=draw(st.integers(0, 6)),
        block_index_bytes=draw(st.integers(0, 3)),
    )


@st.composite
def cases(draw):
    """A machine, an architecture, and weights whose pattern it can run."""
    machine = draw(machines())
    arch = draw(st.sampled_from(["dense", "stc", "crisp-stc"]))  # dstc has a twin of its own
    n, m = draw(st.sampled_from([(1, 4), (2, 4), (3, 4), (1, 1), (2, 8), (1, 2), (4, 8)]))
    block = None
    if draw(st.booleans()):
        unit = int(np.lcm(machine.rows, m))
        block = unit * draw(st.integers(1, 3))
    s, k, p = draw(st.integers(1, 70)), draw(st.integers(1, 90)), draw(st.integers(1, 60))
    pattern = Pattern(n=n, m=m, block=block)
    if pattern.kind == "dense":
        return machine, arch, Weights(shape=(s, k)), p
    sparsity = None
    if block:
        kept = draw(st.integers(1, -(-k // block)))
        sparsity = round(float(1 - pattern.density * kept / (-(-k // block))), 6)
        assume(sparsity >= float(1 - pattern.density) and sparsity < 1)
    return (
        machine,
        arch,
        Weights(shape=(s, k), matrix=draw_weights((s, k), pattern, sparsity, draw(st.integers(0, 9)))),
        p,
    )


def to_machine(ref: RefMachine) -> Machine:
    return Machine.load(
        "edge",
        {
            "core.count": ref.cores,
            "core.rows": ref.rows,
            "core.lanes": ref.lanes,
            "core.pipeline_cycles": ref.pipeline_cycles,
            "rf.bytes": ref.rf_bytes,
            "rf.holds": ref.rf_holds,
            "rf.read_bytes_per_cycle": ref.rf_read_bytes_per_cycle,
            "operand_bits": 8 * ref.operand_bytes,
            "sum_bits": 8 * ref.sum_bytes,
            "output_bits": 8 * ref.output_bytes,
            "chunk_columns": ref.chunk_columns,
            "chunk_slots": ref.chunk_slots,
            "column_tile": ref.column_tile,
            "smem.read_bytes_per_cycle": ref.read_bytes_per_cycle,
            "smem.write_bytes_per_cycle": ref.write_bytes_per_cycle,
            "smem.latency_cycles": ref.latency_cycles,
            "block_index_bytes": ref.block_index_bytes,
        },
    )


def run_both(ref: RefMachine, arch: str, weights: Weights, p: int):
    """The twin's result and the engine's with and without whole repetitions, or None where both refuse."""
    s, k = weights.shape
    pattern = weights.pattern
    mask = np.ones((s, k), bool) if weights.matrix is None else weights.matrix.decode() != 0
    block_cols = None if pattern.block is None else [list(map(int, row)) for row in weights.block_cols]
    try:
        expected = run_reference(
            ref,
            arch=arch,
            s=s,
            k=k,
            p=p,
            n=pattern.n,
            m=pattern.m,
            block=pattern.block,
            block_cols=block_cols,
            mask=mask,
        )
    except ValueError:
        with pytest.raises(ValueError):
            run_group(ARCHITECTURES[arch], to_machine(ref), weights, p)
        return None
    machine = to_machine(ref)
    fast = run_group(ARCHITECTURES[arch], machine, weights, p)
    slow = run_group(ARCHITECTURES[arch], machine, weights, p, skip_repetitions=False)
    return expected, fast, slow


def assert_equal(expected, result):
    got = {name: getattr(result, name) for name in COUNTS if name != "mode"}
    assert got == {name: getattr(expected, name) for name in got}
    assert result.mode.split(" block")[0] == expected.mode
    for column, cause in enumerate(CAUSES):
        assert result.core_cycles[:, column].tolist() == getattr(expected, cause), cause


# Without the JIT, or with its bounds checks, a few examples show what these runs are for: plain errors.
PLAIN = bool(os.environ.get("NUMBA_DISABLE_JIT") or os.environ.get("NUMBA_BOUNDSCHECK"))


@settings(
    max_examples=20 if PLAIN else 250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(cases())
def test_engine_and_twin_agree_on_every_number(case):
    both = run_both(*case)
    assume(both is not None)
    expected, fast, slow = both
    assert_equal(expected, slow)
    assert_equal(expected, fast)
