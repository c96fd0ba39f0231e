"""The engine with a DRAM behind the SMEM against the reference twin: every number, on random layers and machines."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from crispsim.formats import Pattern, draw_weights
from crispsim.sim.activations import NoZeros
from crispsim.sim.archs import ARCHITECTURES
from crispsim.sim.blocking import Residency
from crispsim.sim.errors import InputError
from crispsim.sim.input_pixels import InputPixels
from crispsim.sim.machine import Machine
from crispsim.sim.simulate import run_group
from crispsim.sim.weights import Weights
from tests.property.test_engine_twin import COUNTS, PLAIN, assert_equal, machines, to_machine
from tests.reference.dram import RefDram, RefInput
from tests.reference.stationary import run_reference

pytestmark = pytest.mark.kernel

MEMORY_COUNTS = (
    *COUNTS, "dram_read_bytes", "dram_write_bytes", "dram_bound_cycles", "writeback_bytes", "dram_weight_bytes",
    "dram_input_bytes", "dram_residual_bytes", "blocking",
)  # fmt: skip


@st.composite
def inputs(draw):
    """A convolution's input and the columns that read it, or a matrix product's."""
    channels = draw(st.integers(1, 12))
    if draw(st.booleans()):
        return InputPixels.of_columns(channels * draw(st.integers(1, 8)), draw(st.integers(1, 60)))
    sizes = {}
    for axis, size in (("h", draw(st.integers(1, 9))), ("w", draw(st.integers(1, 9)))):
        kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        dilation, pad = draw(st.integers(1, 2)), draw(st.integers(0, 2))
        outputs = (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        assume(outputs >= 1)
        sizes |= {f"kernel_{axis}": kernel, f"stride_{axis}": stride, f"pad_{axis}": pad, f"dilation_{axis}": dilation}
        sizes |= {"in_height" if axis == "h" else "in_width": size}
        sizes |= {"out_height" if axis == "h" else "out_width": outputs}
    pixels = InputPixels(batch=draw(st.integers(1, 2)), channels=channels, **sizes)
    assume(pixels.columns <= 80 and pixels.positions <= 90)
    return pixels


def columns_of(pixels: InputPixels) -> list[list[int]]:
    """The raster numbers of the pixels each column reads, by loops."""
    columns = []
    for sample in range(pixels.batch):
        for y in range(pixels.out_height):
            for x in range(pixels.out_width):
                read = set()
                for a in range(pixels.kernel_h):
                    for b in range(pixels.kernel_w):
                        row = y * pixels.stride_h + a * pixels.dilation_h - pixels.pad_h
                        column = x * pixels.stride_w + b * pixels.dilation_w - pixels.pad_w
                        if 0 <= row < pixels.in_height and 0 <= column < pixels.in_width:
                            read.add((sample * pixels.in_height + row) * pixels.in_width + column)
                columns.append(sorted(read))
    return columns


@st.composite
def memories(draw, output_bytes):
    """A DRAM level and where the layer's tensors are."""
    kept_input = draw(st.sampled_from([None, None, None, 0, 100]))
    kept_output = draw(st.sampled_from([None, None, None, 0, 100]))
    return RefDram(
        bytes_per_cycle=draw(st.sampled_from([1, 2, 5, 17, 32, 200])),
        latency_cycles=draw(st.sampled_from([1, 2, 7, 40, 100])),
        burst_bytes=output_bytes * draw(st.sampled_from([1, 3, 8, 16, 64])),
        capacity_bytes=draw(st.integers(200, 12_000)) if draw(st.booleans()) else draw(st.integers(200, 2_500)),
        kept_input_bytes=kept_input,
        kept_output_bytes=kept_output,
        residual=kept_output is None and draw(st.booleans()),
    )


@st.composite
def memory_cases(draw):
    """A machine, its DRAM, an architecture, weights it can run, and an input."""
    machine, pixels = draw(machines()), draw(inputs())
    arch = draw(st.sampled_from(["dense", "stc", "crisp-stc", "crisp-stc"]))
    n, m = draw(st.sampled_from([(1, 4), (2, 4), (3, 4), (1, 1), (1, 2)]))
    block = int(np.lcm(machine.rows, m)) * draw(st.integers(1, 2)) if draw(st.booleans()) else None
    s, k = draw(st.integers(1, 90)), pixels.positions
    pattern = Pattern(n=n, m=m, block=block)
    weights = Weights(shape=(s, k))
    if pattern.kind != "dense":
        sparsity = None
        if block:
            kept = draw(st.integers(1, -(-k // block)))
            sparsity = round(float(1 - pattern.density * kept / (-(-k // block))), 6)
            assume(sparsity >= float(1 - pattern.density) and sparsity < 1)
        weights = Weights(shape=(s, k), matrix=draw_weights((s, k), pattern, sparsity, draw(st.integers(0, 9))))
    return machine, draw(memories(machine.output_bytes)), arch, weights, pixels, draw(st.sampled_from([0, 0, 50, 900]))


def with_dram(ref, dram: RefDram) -> Machine:
    return Machine.load(
        to_machine(ref),
        {
            "smem.capacity_bytes": dram.capacity_bytes,
            "dram.bytes_per_cycle": dram.bytes_per_cycle,
            "dram.latency_cycles": dram.latency_cycles,
            "dram.burst_bytes": dram.burst_bytes,
        },
    )


def run_both(ref, dram, arch, weights, pixels, prefetch_bytes):
    """The twin's result and the engine's with and without whole repetitions, or None where both refuse."""
    s, k = weights.shape
    pattern = weights.pattern
    machine = with_dram(ref, dram)
    given_input = NoZeros(k=k, columns=pixels.columns, pixels=pixels)
    residency = Residency(
        residual=dram.residual,
        kept_input_bytes=dram.kept_input_bytes,
        kept_output_bytes=dram.kept_output_bytes,
        prefetch_bytes=prefetch_bytes,
    )

    def engine(skip):
        return run_group(
            ARCHITECTURES[arch],
            machine,
            weights,
            pixels.columns,
            given_input,
            residency=residency,
            skip_repetitions=skip,
        )

    try:
        setup = ARCHITECTURES[arch].setup(machine, weights, given_input)
        fills = setup.blocking(machine, s, pixels.columns, residency).fills
        refused = False
    except InputError:
        fills, refused = None, True
    try:
        expected = run_reference(
            ref,
            arch=arch,
            s=s,
            k=k,
            p=pixels.columns,
            n=pattern.n,
            m=pattern.m,
            block=pattern.block,
            block_cols=None if pattern.block is None else [list(map(int, row)) for row in weights.block_cols],
            mask=np.ones((s, k), bool) if weights.matrix is None else weights.matrix.decode() != 0,
            dram=replace(dram, prefetched_pieces=fills[1].prefetched if fills else 0),
            pixels=RefInput(columns=columns_of(pixels), channels=pixels.channels),
        )
    except ValueError:
        assert refused
        return None
    assert not refused
    return expected, engine(True), engine(False)


@settings(
    max_examples=15 if PLAIN else 150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
@given(memory_cases())
def test_engine_and_twin_agree_on_every_number_with_a_dram(case):
    both = run_both(*case)
    assume(both is not None)
    expected, fast, slow = both
    event(expected.blocking)
    for result in (slow, fast):
        assert {name: getattr(result, name) for name in MEMORY_COUNTS[1:]} == {
            name: getattr(expected, name) for name in MEMORY_COUNTS[1:]
        }
        assert_equal(expected, result)
    assert slow.cycles >= max(slow.compute_bound_cycles, slow.smem_bound_cycles, slow.dram_bound_cycles)
