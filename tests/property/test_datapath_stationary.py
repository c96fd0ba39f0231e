"""Values through the weight-stationary datapaths against a plain integer product, on random layers and machines."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crispsim.formats import Pattern, draw_weights
from crispsim.sim import InputError, Machine
from crispsim.sim.archs import ARCHITECTURES
from crispsim.sim.datapath.product import difference, integer_product
from crispsim.sim.datapath.stationary import multiply
from crispsim.sim.datapath.values import int8_weights
from crispsim.sim.weights import Weights

pytestmark = pytest.mark.kernel

# As in test_engine_twin.py: a few examples where kernels run as plain Python, or with bounds checks.
PLAIN = bool(os.environ.get("NUMBA_DISABLE_JIT") or os.environ.get("NUMBA_BOUNDSCHECK"))

UNREAD = object()  # the input: no weight-stationary machine looks at it
PATTERNS = [(1, 4), (2, 4), (3, 4), (1, 1), (2, 8), (1, 2), (4, 8), (2, 3), (1, 16), (3, 5)]


@st.composite
def machines(draw):
    chunk = draw(st.integers(1, 5))
    return Machine.load(
        "edge",
        {
            "core.count": draw(st.sampled_from([1, 2, 3, 4, 8])),
            "core.rows": draw(st.sampled_from([1, 2, 3, 4, 8])),
            "core.lanes": draw(st.sampled_from([1, 4, 7, 8])),
            "rf.bytes": draw(st.sampled_from([256, 512, 1024, 4096])),
            "rf.holds": draw(st.sampled_from(["all", "sums"])),
            "operand_bits": draw(st.sampled_from([8, 16])),
            "sum_bits": draw(st.sampled_from([8, 16, 32])),
            "output_bits": draw(st.sampled_from([8, 16, 32])),
            "chunk_columns": chunk,
            "chunk_slots": draw(st.integers(1, 4)),
            "column_tile": chunk * draw(st.sampled_from([0, 0, 1, 2, 3])),
            "block_index_bytes": draw(st.integers(0, 3)),
        },
    )


@st.composite
def matrices(draw, rows):
    """Weights of any kind the simulator takes: packed, dense without a zero, a mask, float16."""
    n, m = draw(st.sampled_from(PATTERNS))
    block = int(np.lcm(rows, m)) * draw(st.integers(1, 3)) if draw(st.booleans()) else None
    shape = draw(st.integers(1, 70)), draw(st.integers(1, 90))
    pattern, seed = Pattern(n=n, m=m, block=block), draw(st.integers(0, 9))
    if pattern.kind == "dense":
        values = np.random.default_rng(seed).normal(size=shape) * (np.random.default_rng(seed).random(shape) < 0.4)
        return Weights(shape=shape, matrix=draw(st.sampled_from([None, values != 0, values.astype(np.float16)])))
    sparsity = None
    if block:
        block_columns = -(-shape[1] // block)
        sparsity = round(float(1 - pattern.density * draw(st.integers(1, block_columns)) / block_columns), 6)
        assume(float(1 - pattern.density) <= sparsity < 1)
    return Weights(shape=shape, matrix=draw_weights(shape, pattern, sparsity, seed))


@st.composite
def cases(draw):
    machine = draw(machines())
    arch = ARCHITECTURES[draw(st.sampled_from(["dense", "stc", "crisp-stc"]))]
    return machine, arch, draw(matrices(machine.core.rows)), draw(st.integers(1, 60)), draw(st.integers(0, 99))


def wrapped(sums, bits):
    return sums.astype(f"i{bits // 8}")


@settings(
    max_examples=15 if PLAIN else 300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(cases())
def test_every_result_is_the_integer_product(case):
    machine, arch, given_weights, columns, seed = case
    weights = int8_weights(given_weights, seed)
    try:
        how = arch.setup(machine, weights, UNREAD)
        lowered = how.lower(machine, weights.shape[0], columns)
    except InputError:
        assume(False)
    matrix = weights.matrix if isinstance(weights.matrix, np.ndarray) else weights.matrix.decode()
    activations = np.random.default_rng(seed).integers(-128, 128, (weights.shape[1], columns), np.int8)
    expected = wrapped(matrix.astype(np.int64) @ activations.astype(np.int64), machine.sum_bits)
    assert difference(integer_product(weights, activations, machine.sum_bits), expected) is None
    assert difference(multiply(lowered, how, machine, weights, activations), expected) is None
