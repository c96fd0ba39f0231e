"""Values through the dual-side datapath against a plain integer product, on random machines, operands and damage."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crispsim.sim.activations import GivenColumns
from crispsim.sim.archs import ARCHITECTURES
from crispsim.sim.datapath import DatapathError
from crispsim.sim.datapath.dual import multiply
from crispsim.sim.datapath.product import difference
from crispsim.sim.machine import Machine
from crispsim.sim.plan import (
    ACTIVE,
    ITEM_COLUMN,
    MEMBER,
    PER_STEP,
    REPEAT,
    STEPS,
    STREAM_TILE_HI,
    STREAM_TILE_LO,
    TAIL_COLUMNS,
    WAVE_HI,
    WAVE_LO,
)
from crispsim.sim.weights import Weights
from tests.property.test_dual_twin import PLAIN, cases, to_machine

pytestmark = pytest.mark.kernel

RUNS = settings(
    max_examples=15 if PLAIN else 200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def groups(draw):
    """A machine, int8 weights (S, K), int8 activations (K, P), and the plan for them."""
    twin, weights_mask, activations_mask = draw(cases())
    bits = draw(st.sampled_from([8] if twin.sum_bytes == 1 else [8, 16, 32]))  # what the accumulation buffer holds
    machine = Machine.load(to_machine(twin), {"sum_bits": bits})
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights, activations = (
        (rng.choice([-1, 1], mask.shape) * rng.integers(1, 128, mask.shape) * mask).astype(np.int8)
        for mask in (weights_mask, activations_mask)
    )
    how = ARCHITECTURES["dstc"].setup(
        machine, Weights(shape=weights.shape, matrix=weights), GivenColumns(nonzero=activations != 0)
    )
    return machine, weights, activations, how.lower(machine, weights.shape[0], activations.shape[1])


@RUNS
@given(groups())
def test_every_result_is_the_integer_product(group):
    machine, weights, activations, lowered = group
    expected = (weights.astype(np.int64) @ activations.astype(np.int64)).astype(f"i{machine.sum_bytes}")
    assert difference(multiply(lowered, machine, weights, activations), expected) is None


def places(lowered):
    """Every number of a plan that the datapath depends on, as (table, row, columns)."""
    plan = lowered.plan
    work = int(plan.teams[:, -1].max())  # the tile rows of cores come first, those of streams follow
    rows = [("tiles", row, [REPEAT, WAVE_LO, WAVE_HI, STEPS, TAIL_COLUMNS, ACTIVE]) for row in range(work)]
    rows += [("tiles", row, [REPEAT, WAVE_LO, WAVE_HI, STEPS]) for row in range(work, len(plan.tiles))]
    rows += [("drain_bytes", row, [0]) for row in range(work)]
    rows += [
        ("streams", row, [PER_STEP, MEMBER, ITEM_COLUMN, STREAM_TILE_LO, STREAM_TILE_HI])
        for row in range(len(plan.streams))
    ]
    for name in ("teams", "team_streams", "waves", "advance", "item_bytes", "item_metadata_bytes", "item_sharers"):
        table = getattr(plan, name)
        rows += [(name, row, range(table.shape[1])) for row in range(len(table))]
    return rows + [("item_slices", row, None) for row in range(len(lowered.item_slices))]


def damaged(lowered, name, row, column, change):
    if name == "item_slices":
        slices = lowered.item_slices.copy()
        slices[row] += change
        return replace(lowered, item_slices=slices)
    table = getattr(lowered.plan, name).copy()
    table[row, column] += change
    return replace(lowered, plan=replace(lowered.plan, **{name: table}))


@RUNS
@given(groups(), st.data())
def test_any_wrong_number_of_a_plan_shows(group, data):
    machine, weights, activations, lowered = group
    of_tables = {}
    for name, row, columns in places(lowered):
        of_tables.setdefault(name, []).append((row, columns))
    name = data.draw(st.sampled_from(sorted(of_tables)))  # by table: items and waves outnumber the rest
    row, columns = data.draw(st.sampled_from(of_tables[name]))
    column = None if columns is None else data.draw(st.sampled_from(list(columns)))
    change = data.draw(st.sampled_from([-3, -1, 1, 2, 64]))
    with pytest.raises(DatapathError):
        multiply(damaged(lowered, name, row, column, change), machine, weights, activations)
