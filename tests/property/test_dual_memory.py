"""The dual-side engine path with a DRAM behind the SMEM against its reference twin: every number, exactly."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from crispsim.sim.activations import GivenColumns
from crispsim.sim.archs import ARCHITECTURES
from crispsim.sim.blocking import Residency
from crispsim.sim.engine_state import CAUSES
from crispsim.sim.errors import InputError
from crispsim.sim.input_pixels import InputPixels
from crispsim.sim.machine import Machine
from crispsim.sim.simulate import run_group
from crispsim.sim.weights import Weights
from tests.property.test_dual_twin import PLAIN, machines, mask, to_machine
from tests.property.test_memory_twin import columns_of, inputs
from tests.reference.blocking import NAMES
from tests.reference.dram import RefDram, RefInput
from tests.reference.dual import DualMachine, run_dual
from tests.reference.result import RefResult

pytestmark = pytest.mark.kernel


class Case(NamedTuple):
    """A machine and the DRAM behind it, weights (bool, (S, K)), and an input (bool, (pixels, channels))."""

    machine: DualMachine
    dram: RefDram
    weights: np.ndarray
    pixels: InputPixels
    image: np.ndarray
    prefetch_bytes: int = 0


@st.composite
def memories(draw, output_bytes, outputs):
    """A DRAM level and where the layer's tensors are; the capacity is still to be chosen."""
    kept_output = draw(st.sampled_from([None, None, None, outputs * output_bytes]))
    return RefDram(
        bytes_per_cycle=draw(st.sampled_from([1, 2, 5, 17, 32, 200])),
        latency_cycles=draw(st.sampled_from([1, 2, 7, 40, 100])),
        burst_bytes=output_bytes * draw(st.sampled_from([1, 3, 8, 16, 64])),
        capacity_bytes=1,
        kept_input_bytes=draw(st.sampled_from([None, None, None, None, 0, 100])),
        kept_output_bytes=kept_output,
        residual=kept_output is None and draw(st.booleans()),
    )


@st.composite
def cases(draw):
    """A case with one of the blockings that its layer has at some capacity, rarely the one that all layers have."""
    machine, pixels, s = draw(machines()), draw(inputs()), draw(st.integers(1, 90))
    case = Case(
        machine,
        draw(memories(machine.output_bytes, s * pixels.columns)),
        mask(draw, (s, pixels.positions)),
        pixels,
        mask(draw, (pixels.batch * pixels.in_height * pixels.in_width, pixels.channels)),
        draw(st.sampled_from([0, 0, 50, 900])),
    )
    found = capacities(case)
    uncommon = sorted(set(found) - {"inputs", ""})
    names = uncommon if uncommon and draw(st.integers(0, 4)) else sorted(found)
    capacity = draw(st.sampled_from(found[draw(st.sampled_from(names))]))
    return case._replace(dram=replace(case.dram, capacity_bytes=capacity))


def capacities(case: Case) -> dict[str, list[int]]:
    """Capacities at which the layer has each blocking, or is refused ("")."""
    kept = (case.dram.kept_input_bytes or 0) + (case.dram.kept_output_bytes or 0)
    found: dict[str, list[int]] = {}
    machine, weights, own_input, residency = engine_side(case)
    for capacity in sorted({round(32 * 1.1**step) for step in range(70)}):
        smem = machine.smem.model_copy(update={"capacity_bytes": capacity + kept})
        own = machine.model_copy(update={"smem": smem})
        found.setdefault(name_of_blocking(own, weights, own_input, residency), []).append(capacity + kept)
    return found


def name_of_blocking(machine, weights, own_input, residency) -> str:
    """How the engine's side cuts the group up; "" where it refuses."""
    try:
        setup = ARCHITECTURES["dstc"].setup(machine, weights, own_input)
        return setup.blocking(machine, weights.shape[0], own_input.pixels.columns, residency).name
    except InputError:
        return ""


def lowered(pixels: InputPixels, image: np.ndarray) -> np.ndarray:
    """X[K, P] of an image, by loops: channel fastest, zeros for padding."""
    x = np.zeros((pixels.kernel_h, pixels.kernel_w, pixels.channels, pixels.columns), bool)
    column = 0
    for sample in range(pixels.batch):
        for out_row in range(pixels.out_height):
            for out_place in range(pixels.out_width):
                for a in range(pixels.kernel_h):
                    for b in range(pixels.kernel_w):
                        row = out_row * pixels.stride_h + a * pixels.dilation_h - pixels.pad_h
                        place = out_place * pixels.stride_w + b * pixels.dilation_w - pixels.pad_w
                        if 0 <= row < pixels.in_height and 0 <= place < pixels.in_width:
                            x[a, b, :, column] = image[(sample * pixels.in_height + row) * pixels.in_width + place]
                column += 1
    return x.reshape(pixels.positions, pixels.columns)


def with_dram(case: Case) -> Machine:
    return Machine.load(
        to_machine(case.machine),
        {
            "smem.capacity_bytes": case.dram.capacity_bytes,
            "dram.bytes_per_cycle": case.dram.bytes_per_cycle,
            "dram.latency_cycles": case.dram.latency_cycles,
            "dram.burst_bytes": case.dram.burst_bytes,
        },
    )


def engine_side(case: Case):
    """The machine, weights, input and residency as the engine's side takes them."""
    read = columns_of(case.pixels)
    needed = sorted({pixel for column in read for pixel in column})
    own_input = GivenColumns(
        nonzero=lowered(case.pixels, case.image),
        pixels=case.pixels,
        pixel_nonzeros=np.count_nonzero(case.image[needed], axis=1),
    )
    residency = Residency(
        residual=case.dram.residual,
        kept_input_bytes=case.dram.kept_input_bytes,
        kept_output_bytes=case.dram.kept_output_bytes,
        prefetch_bytes=case.prefetch_bytes,
    )
    weights = Weights(shape=case.weights.shape, matrix=case.weights.astype(np.int8))
    return with_dram(case), weights, own_input, residency


def blocking_of(case: Case):
    """How the engine's side cuts the group up; None where it refuses."""
    machine, weights, own_input, residency = engine_side(case)
    try:
        setup = ARCHITECTURES["dstc"].setup(machine, weights, own_input)
        return setup.blocking(machine, len(case.weights), case.pixels.columns, residency)
    except InputError:
        return None


def run_twin(case: Case, prefetched: int) -> RefResult:
    return run_dual(
        case.machine,
        case.weights,
        lowered(case.pixels, case.image),
        dram=replace(case.dram, prefetched_pieces=prefetched),
        pixels=RefInput(
            columns=columns_of(case.pixels),
            channels=case.pixels.channels,
            nonzeros=np.count_nonzero(case.image, axis=1).tolist(),
        ),
    )


def assert_equal(case: Case) -> RefResult | None:
    """Run both sides; the twin's result, or None where both refuse."""
    blocking = blocking_of(case)
    if blocking is None:
        with pytest.raises(ValueError, match="no blocking fits"):
            run_twin(case, 0)
        return None
    expected = run_twin(case, blocking.fills[1].prefetched)
    machine, weights, own_input, residency = engine_side(case)
    result = run_group(
        ARCHITECTURES["dstc"], machine, weights, case.pixels.columns, own_input, residency=residency
    )  # fmt: skip
    names = [name for name in RefResult.__dataclass_fields__ if name not in CAUSES]
    assert {name: getattr(result, name) for name in names} == {name: getattr(expected, name) for name in names}
    for column, cause in enumerate(CAUSES):
        assert result.core_cycles[:, column].tolist() == getattr(expected, cause), cause
    return expected


@settings(
    max_examples=20 if PLAIN else 120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
@given(cases())
def test_engine_and_twin_agree_on_every_number_with_a_dram(case):
    expected = assert_equal(case)
    event(expected.blocking if expected else "refused")
    if expected:
        bounds = expected.compute_bound_cycles, expected.smem_bound_cycles, expected.dram_bound_cycles
        assert expected.cycles >= max(bounds)


def layer_of_the_tables_row(name: str) -> Case:
    """A fixed layer and a capacity for a blocking: the first of a few sizes of layers that has it."""
    rng = np.random.default_rng(0)
    for s, k, p, tile in [(64, 32, 24, 8), (24, 32, 64, 8), (48, 64, 48, 4), (16, 96, 16, 8), (64, 12, 40, 16)]:
        machine = DualMachine(tile_rows=tile, tile_columns=tile, slice_positions=8)
        dram = RefDram(bytes_per_cycle=8, latency_cycles=20, burst_bytes=16, capacity_bytes=1)
        weights, image = rng.random((s, k)) < 0.3, rng.random((p, k)) < 0.6
        case = Case(machine, dram, weights, InputPixels.of_columns(k, p), image)
        found = capacities(case)
        if name in found:
            return case._replace(dram=replace(dram, capacity_bytes=found[name][len(found[name]) // 2]))
    raise AssertionError(f"no layer is cut up as {name}")


@pytest.mark.parametrize("name", NAMES)
def test_they_agree_in_every_row_of_the_table(name):
    expected = assert_equal(layer_of_the_tables_row(name))
    assert expected is not None
    assert expected.blocking == name
