"""Values through the datapaths of machines with a small SMEM and a DRAM: every blocking; and wrong pieces show."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from crispsim.formats import Pattern
from crispsim.sim.activations import NoZeros
from crispsim.sim.archs import ARCHITECTURES
from crispsim.sim.blocking import Residency
from crispsim.sim.datapath import DatapathError, dual, stationary
from crispsim.sim.datapath.product import difference, integer_product
from crispsim.sim.datapath.values import int8_weights
from crispsim.sim.errors import InputError
from crispsim.sim.input_pixels import InputPixels
from crispsim.sim.machine import Machine
from crispsim.sim.plan import (
    INPUT_BASE,
    INPUT_LATER,
    INPUTS,
    STREAM_TILE_LO,
    WAVE_LO,
    WEIGHT_BASE,
    WEIGHT_LATER,
    WEIGHTS,
)
from crispsim.sim.weights import Weights
from tests.property import test_dual_memory as dual_memory
from tests.property import test_memory_twin as memory_twin
from tests.property.test_dual_twin import PLAIN
from tests.reference.blocking import NAMES

pytestmark = pytest.mark.kernel

RUNS = settings(
    max_examples=15 if PLAIN else 100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


class Group:
    """One group on one machine: its plan, and `fault`, what is wrong with the result of a plan."""

    def __init__(self, arch, machine, weights, own_input, activations, residency):
        self.machine, self.weights, self.activations, self.arch = machine, weights, activations, arch
        self.how = ARCHITECTURES[arch].setup(machine, weights, own_input)
        self.lowered = self.how.lower(machine, weights.shape[0], activations.shape[1], residency)
        self.memory = self.lowered.plan.memory

    def fault(self, **memory):
        lowered = self.lowered
        if memory:
            lowered = replace(lowered, plan=replace(lowered.plan, memory=replace(self.memory, **memory)))
        try:
            if self.arch == "dstc":
                got = dual.multiply(lowered, self.machine, self.weights.matrix, self.activations)
            else:
                got = stationary.multiply(lowered, self.how, self.machine, self.weights, self.activations)
        except DatapathError as error:
            return str(error)
        return difference(got, integer_product(self.weights, self.activations, self.machine.sum_bits))


def names_of_blockings(arch, machine, weights, own_input, residency, columns):
    """Capacities at which a group has each blocking."""
    found: dict[str, list[int]] = {}
    setup = ARCHITECTURES[arch].setup(machine, weights, own_input)
    for capacity in sorted({round(48 * 1.15**step) for step in range(45)}):
        smem = machine.smem.model_copy(update={"capacity_bytes": capacity + residency.kept_bytes})
        try:
            blocking = setup.blocking(machine.model_copy(update={"smem": smem}), weights.shape[0], columns, residency)
        except InputError:
            continue
        found.setdefault(blocking.name, []).append(capacity + residency.kept_bytes)
    return found


@st.composite
def stationary_groups(draw):
    ref, dram, arch, given_weights, pixels, prefetch_bytes = draw(memory_twin.memory_cases())
    own_input = NoZeros(k=given_weights.shape[1], columns=pixels.columns, pixels=pixels)
    residency = Residency(
        residual=dram.residual,
        kept_input_bytes=dram.kept_input_bytes,
        kept_output_bytes=dram.kept_output_bytes,
        prefetch_bytes=prefetch_bytes,
    )
    weights = int8_weights(given_weights, 1)
    try:
        found = names_of_blockings(
            arch, memory_twin.with_dram(ref, dram), weights, own_input, residency, pixels.columns
        )  # fmt: skip
    except InputError:
        assume(False)
    assume(found)
    names = sorted(set(found) - {"inputs"}) or ["inputs"]
    capacity = draw(st.sampled_from(found[draw(st.sampled_from(names))]))
    machine = memory_twin.with_dram(ref, replace(dram, capacity_bytes=capacity))
    seed, shape = draw(st.integers(0, 99)), (given_weights.shape[1], pixels.columns)
    values = np.random.default_rng(seed).integers(1, 128, shape)
    return Group(arch, machine, weights, own_input, values.astype(np.int8), residency)


@st.composite
def dual_groups(draw):
    return group_of_case(draw(dual_memory.cases()), draw(st.integers(0, 99)))


def group_of_case(case, seed):
    try:
        machine, weights, own_input, residency = dual_memory.engine_side(case)
        rng = np.random.default_rng(seed)
        nonzero = dual_memory.lowered(case.pixels, case.image)
        own = weights.matrix * rng.integers(1, 128, weights.shape).astype(np.int8)
        values = (nonzero * rng.integers(1, 128, nonzero.shape)).astype(np.int8)
        return Group("dstc", machine, replace(weights, matrix=own), own_input, values, residency)
    except InputError:
        assume(False)


@RUNS
@given(st.one_of(stationary_groups(), stationary_groups(), dual_groups()))
def test_every_result_is_the_integer_product(group):
    event(group.memory.blocking)
    assert group.fault() is None


def layer_with(arch, name):
    """A fixed group and a capacity for a blocking: the first of a few sizes that has it."""
    if arch == "dstc":
        return group_of_case(dual_memory.layer_of_the_tables_row(name), 0)
    for s, channels, p, kernel in [(64, 32, 24, 1), (24, 32, 64, 1), (90, 16, 30, 3), (24, 8, 100, 3), (70, 64, 9, 1)]:
        pixels = InputPixels.of_columns(channels, p)
        if kernel > 1:
            axis = {"kernel_h": 3, "kernel_w": 1, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1}
            pixels = InputPixels(
                batch=1, channels=channels, in_height=p // 2, in_width=2, pad_h=1, pad_w=0, out_height=p // 2,
                out_width=2, **axis,
            )  # fmt: skip
        sizes = {"core.rows": 4, "chunk_columns": 2, "column_tile": 8, "core.lanes": 4, "chunk_slots": 1}
        dram = {"dram.bytes_per_cycle": 8, "dram.latency_cycles": 20, "dram.burst_bytes": 16}
        machine = Machine.load("edge", sizes | dram)
        pattern = {"dense": None, "stc": Pattern(n=2, m=4), "crisp-stc": Pattern(n=2, m=4, block=8)}[arch]
        shape = s, pixels.positions
        drawn = memory_twin.draw_weights(shape, pattern, 0.75 if pattern.block else None, 0) if pattern else None
        weights = int8_weights(Weights(shape=shape, matrix=drawn), 1)
        own_input, residency = NoZeros(k=shape[1], columns=p, pixels=pixels), Residency()
        found = names_of_blockings(arch, machine, weights, own_input, residency, p)
        if name in found:
            capacity = found[name][len(found[name]) // 2]
            smem = machine.smem.model_copy(update={"capacity_bytes": capacity})
            values = np.random.default_rng(0).integers(1, 128, (shape[1], p)).astype(np.int8)
            return Group(arch, machine.model_copy(update={"smem": smem}), weights, own_input, values, residency)
    raise AssertionError(f"no group of {arch} is cut up as {name}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_values_move_in_every_row_of_the_table(arch, name):
    group = layer_with(arch, name)
    assert group.memory.blocking == name
    assert group.fault() is None


def fills_of(group, table, row):
    """The fills of which a row of the table says a piece: an item of dstc is of one stream."""
    if group.arch != "dstc" or table == "step_pieces":
        return INPUTS, WEIGHTS
    plan, streams = group.lowered.plan, group.lowered.weight_streams
    firsts = plan.tiles[plan.streams[list(streams), STREAM_TILE_LO], WAVE_LO]
    return (WEIGHTS,) if row >= min(firsts) else (INPUTS,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_any_wrong_piece_shows(arch, name):
    group = layer_with(arch, name)
    memory, work = group.memory, int(group.lowered.plan.teams[:, -1].max())
    rng = np.random.default_rng(0)
    for column in (INPUT_BASE, WEIGHT_BASE, INPUT_LATER, WEIGHT_LATER):
        for row in rng.integers(0, work, 8):
            for change in (-1, 1, 1000):
                cells = memory.cells.copy()
                cells[row, column] += change
                assert group.fault(cells=cells), (column, row, change)
    for table in ("item_pieces", "step_pieces"):
        for row in rng.integers(0, len(getattr(memory, table)), 8):
            for fill in fills_of(group, table, row):
                for change in (-1, 1, 1000):
                    pieces = getattr(memory, table).copy()
                    pieces[row, fill] += change
                    assert group.fault(**{table: pieces}), (table, row, fill, change)
    for fill in (0, 1):
        fills = memory.fills[fill]
        fewer = replace(fills, visits=fills.visits[:-1])
        if len(fills.visits):
            assert group.fault(fills=(*memory.fills[:fill], fewer, *memory.fills[fill + 1 :])), fill


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("arch", [name for name in ARCHITECTURES if name != "dstc"])
def test_weights_that_are_not_all_moved_show(arch, name):
    """A byte less in any piece; dstc's pieces hold slices that are not always read, too."""
    group = layer_with(arch, name)
    inputs, weights = group.memory.fills
    for piece in range(len(weights.sizes)):
        sizes = weights.sizes.copy()
        sizes[piece] -= 1
        assert "of which" in group.fault(fills=(inputs, replace(weights, sizes=sizes)))
