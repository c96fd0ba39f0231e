"""What every architecture of the registry promises: bounds, conservation, monotonicity, scaling, determinism.

What holds for any architecture runs over the registry. What needs to be known of one, the weights it keeps, stands
in `KEPT`; a new architecture gets a line there if its weights lie still.
"""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crispsim.formats import CrispMatrix, NMMatrix, Pattern, draw_weights
from crispsim.sim import ARCHITECTURES, InputError, Layer, Machine, load_arch, simulate
from crispsim.sim.engine_state import BUSY_CYCLES, CAUSES, RF_CYCLES
from crispsim.sim.simulate import run_group
from crispsim.sim.weights import Weights

pytestmark = pytest.mark.kernel

every_arch = pytest.mark.parametrize("arch", ARCHITECTURES)
STATIONARY = ("dense", "stc", "crisp-stc")  # weights lie still; what dstc promises besides stands in test_dual.py
RANDOM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
NO_LIMIT = 1 << 20  # bytes a cycle


EDGE = Machine.load("edge").model_dump()


def machine_of(fields):
    """`Machine.load("edge", fields)` without reading the preset each time."""
    values = EDGE | {key: value for key, value in fields.items() if "." not in key}
    for section in ("smem", "core", "rf", "dstc"):
        own = {key.partition(".")[2]: value for key, value in fields.items() if key.startswith(f"{section}.")}
        values[section] = EDGE[section] | own
    return Machine.model_validate(values)


def run(arch, fields, weights, columns):
    """Run a group on an edge machine with some fields set."""
    return run_group(ARCHITECTURES[arch], machine_of(fields), weights, columns)


def try_run(arch, fields, weights, columns):
    """The same for drawn cases: those that the machine refuses are not looked at."""
    try:
        return run(arch, fields, weights, columns)
    except InputError:
        assume(False)


def numbers(result, *but):
    """Every number of a result."""
    values = dataclasses.asdict(result) | {"core_cycles": result.core_cycles.tolist()}
    return {name: value for name, value in values.items() if name not in but}


def tiles_of(result, columns):
    return -(-columns // result.column_tile)


@st.composite
def machine_fields(draw):
    chunk = draw(st.integers(1, 3))
    return {
        "core.count": draw(st.sampled_from([1, 2, 4])),
        "core.rows": draw(st.sampled_from([2, 4, 8])),
        "core.lanes": draw(st.sampled_from([4, 8])),
        "core.pipeline_cycles": draw(st.integers(0, 8)),
        "rf.bytes": draw(st.sampled_from([1024, 4096])),
        "rf.read_bytes_per_cycle": draw(st.sampled_from([0, 0, 6, 16])),
        "operand_bits": draw(st.sampled_from([8, 16])),
        "sum_bits": draw(st.sampled_from([8, 32])),
        "output_bits": draw(st.sampled_from([8, 32])),
        "chunk_columns": chunk,
        "chunk_slots": draw(st.integers(1, 5)),
        "column_tile": chunk * draw(st.sampled_from([0, 0, 1, 2, 3])),
        "smem.read_bytes_per_cycle": draw(st.sampled_from([1, 5, 16, 42, 64, 200])),
        "smem.write_bytes_per_cycle": draw(st.sampled_from([1, 3, 16, 64])),
        "smem.latency_cycles": draw(st.integers(1, 8)),
        "block_index_bytes": draw(st.integers(0, 3)),
    }


def drawn(shape, pattern, kept=None, seed=0):
    """Weights of a pattern, with `kept` of the blocks of each block row."""
    if pattern.kind == "dense":
        return Weights(shape=shape)
    sparsity = None
    if kept is not None:
        sparsity = round(float(1 - pattern.density * kept / -(-shape[1] // pattern.block)), 6)
    return Weights(shape=shape, matrix=draw_weights(shape, pattern, sparsity, seed))


@st.composite
def cases(draw, one_set=False):
    """Fields of a machine, weights of any pattern it can run, and columns; one_set: no block below the band."""
    fields = draw(machine_fields())
    fields |= {"dstc.core_columns": min(2, fields["core.count"]), "dstc.step_rows": 2, "dstc.step_columns": 4}
    n, m = draw(st.sampled_from([(1, 4), (2, 4), (3, 4), (1, 1), (1, 2), (4, 8)]))
    shape = draw(st.integers(1, 80)), draw(st.integers(1, 120))
    block, kept = None, None
    if draw(st.booleans()):
        band = fields["core.count"] * fields["core.rows"]
        block = int(np.lcm(m, band)) * draw(st.integers(1, 2))
        if not one_set and draw(st.booleans()):
            block = int(np.lcm(m, fields["core.rows"])) * draw(st.sampled_from([1, 2]))
        kept = draw(st.integers(1, -(-shape[1] // block)))
    weights = drawn(shape, Pattern(n=n, m=m, block=block), kept, draw(st.integers(0, 9)))
    return fields, weights, draw(st.integers(1, 70))


# --- bounds ---


@every_arch
@RANDOM
@given(case=cases())
def test_never_below_a_bound_and_every_core_cycle_has_one_cause(arch, case):
    machine, result = machine_of(case[0]), try_run(arch, *case)
    assert result.cycles >= result.compute_bound_cycles
    assert result.cycles >= result.smem_bound_cycles
    reads = -(-result.smem_read_bytes // machine.smem.read_bytes_per_cycle)
    assert result.smem_bound_cycles == max(reads, -(-result.smem_write_bytes // machine.smem.write_bytes_per_cycle))
    assert result.core_cycles.shape == (machine.core.count, len(CAUSES))
    assert (result.core_cycles >= 0).all()
    assert result.core_cycles.sum(axis=1).tolist() == [result.cycles] * machine.core.count
    steps = result.core_cycles[:, [BUSY_CYCLES, RF_CYCLES]].sum(axis=1)
    assert result.compute_bound_cycles == steps.max()
    assert result.macs_issued <= result.core_cycles[:, BUSY_CYCLES].sum() * machine.core.rows * machine.core.lanes
    assert 0 < result.macs_issued <= result.cycles * machine.macs  # utilization


@pytest.mark.parametrize("arch", STATIONARY)
@RANDOM
@given(case=cases())
def test_without_memory_in_the_way_the_compute_bound_is_reached(arch, case):
    """Two cycles above it: the first operands take one, the last output's latency is the other."""
    fields, weights, columns = case
    fields |= {
        "smem.read_bytes_per_cycle": NO_LIMIT,
        "smem.write_bytes_per_cycle": NO_LIMIT,
        "smem.latency_cycles": 1,
        "core.pipeline_cycles": 0,
        "chunk_slots": max(2, fields["chunk_slots"]),
    }
    result = try_run(arch, fields, weights, columns)
    # A tile of one chunk waits a cycle for its sums to drain.
    assume(-(-columns // fields["chunk_columns"]) // tiles_of(result, columns) >= 2)
    assert result.cycles == result.compute_bound_cycles + 2


# --- conservation: counts from the packed weights, without looking at waves where that is possible ---


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a machine keeps of its weights: n values in each group of m, the groups' first positions by row."""

    n: int
    m: int
    starts: list
    stored: int  # values in all rows
    blocks: list | None = None  # the kept blocks' first positions by row

    @property
    def index_bits(self):
        return (self.m - 1).bit_length()


def keeps_all(weights, n=1, m=1):
    s, k = weights.shape
    return Kept(n, m, [list(range(0, k, m))] * s, s * -(-k // m) * n)


def keeps_stc(weights):
    """2:4 where every four positions of a row hold two nonzeros at most."""
    s, k = weights.shape
    dense = np.ones((s, k)) if weights.matrix is None else weights.matrix.decode()
    fits = all(np.count_nonzero(dense[:, start : start + 4], axis=1).max() <= 2 for start in range(0, k, 4))
    return keeps_all(weights, 2, 4) if fits else keeps_all(weights)


def keeps_crisp(weights):
    """What the format's arrays hold of real rows, in groups that begin below K."""
    matrix, (s, k) = weights.matrix, weights.shape
    if isinstance(matrix, NMMatrix):
        kept = keeps_all(weights, matrix.n, matrix.m)
        assert kept.stored == matrix.values.size
        return kept
    if not isinstance(matrix, CrispMatrix):
        return keeps_all(weights)
    block = matrix.block
    heads = [[int(column) * block for column in matrix.block_cols[row // block]] for row in range(s)]
    starts = [[p for head in row for p in range(head, head + block, matrix.m) if p < k] for row in heads]
    lane_start = matrix.block_cols[:, :, None] * block + np.arange(matrix.values.shape[3]) // matrix.n * matrix.m
    real_row = np.arange(len(matrix.block_cols) * block).reshape(-1, block) < s
    stored = (real_row[:, None, :, None] & (lane_start < k)[:, :, None, :]).sum()
    return Kept(matrix.n, matrix.m, starts, int(stored), heads)


KEPT = {"dense": keeps_all, "stc": keeps_stc, "crisp-stc": keeps_crisp}
every_kept = pytest.mark.parametrize("arch", KEPT)


def set_rows_of(machine, weights, kept):
    """Rows of a sharing set: those of a block, up to those of all cores."""
    return machine.band_rows if kept.blocks is None else min(machine.band_rows, weights.pattern.block)


def tile_bytes(machine, weights, kept):
    """Bytes of values, and of indices and block columns, that one column tile reads: wave by wave, core by core."""
    values = metadata = 0
    groups = machine.core.lanes // kept.n
    for row in range(0, weights.shape[0], machine.core.rows):
        rows = min(machine.core.rows, weights.shape[0] - row)
        for first in range(0, len(kept.starts[row]), groups):
            stored = rows * len(kept.starts[row][first : first + groups]) * kept.n
            values += stored * machine.operand_bytes
            metadata += -(-stored * kept.index_bits // 8)
    for row in range(0, weights.shape[0], set_rows_of(machine, weights, kept)):
        metadata += len(kept.blocks[row]) * machine.block_index_bytes if kept.blocks else 0
    return values, metadata


@every_kept
@RANDOM
@given(case=cases())
def test_macs_are_those_of_the_packed_weights(arch, case):
    _, weights, columns = case
    kept, result = KEPT[arch](weights), try_run(arch, *case)
    assert result.macs_issued == kept.stored * columns
    assert result.macs_issued == sum(map(len, kept.starts)) * kept.n * columns
    assert result.macs_issued >= weights.nonzeros * columns
    assert result.mux_selections == (result.macs_issued if kept.m > 1 else 0)


@every_kept
@RANDOM
@given(case=cases())
def test_bytes_are_those_of_the_packed_weights(arch, case):
    fields, weights, columns = case
    machine, (s, k) = machine_of(fields), weights.shape
    kept, result = KEPT[arch](weights), try_run(arch, *case)
    values, metadata = tile_bytes(machine, weights, kept)
    assert values == kept.stored * machine.operand_bytes
    assert result.resident_bytes >= values
    tiles = tiles_of(result, columns)
    assert result.weight_bytes == values * tiles
    assert result.metadata_bytes == metadata * tiles
    positions = [sum(min(kept.m, k - start) for start in kept.starts[row]) for row in range(s)]
    shared = sum(positions[row] for row in range(0, s, set_rows_of(machine, weights, kept)))
    assert result.activation_bytes == shared * columns * machine.operand_bytes
    assert result.smem_read_bytes == result.weight_bytes + result.metadata_bytes + result.activation_bytes
    assert result.smem_write_bytes == s * columns * machine.output_bytes


@pytest.mark.parametrize("nm", [(1, 4), (2, 4), (3, 4), (4, 8)])
@pytest.mark.parametrize("block", [16, 32, 64, None])
def test_whole_blocks_read_exactly_the_formats_arrays(nm, block):
    """No rounding anywhere: 8 rows a core, 64 rows, 256 positions."""
    weights = drawn((64, 256), Pattern(n=nm[0], m=nm[1], block=block), kept=2 if block else None)
    matrix, result = weights.matrix, run("crisp-stc", {}, weights, 100)
    blocks = 0 if block is None else matrix.block_cols.size * -(-block // 32) * 2  # a taller block is read once a band
    assert result.weight_bytes == matrix.values.nbytes * tiles_of(result, 100)
    assert result.metadata_bytes == (matrix.nm_index.nbytes + blocks) * tiles_of(result, 100)


# --- monotonicity (hardware.md 5.7) ---

BETTER = {
    "smem.read_bytes_per_cycle": st.integers(1, 128),
    "smem.write_bytes_per_cycle": st.integers(1, 128),
    "smem.latency_cycles": st.integers(-7, -1),
    "core.pipeline_cycles": st.integers(-8, -1),
}


@pytest.mark.parametrize("arch", STATIONARY)
@pytest.mark.parametrize("key", BETTER)
@settings(RANDOM, max_examples=RANDOM.max_examples // 2)
@given(case=cases(one_set=True), data=st.data())
def test_a_better_machine_is_never_slower_with_one_sharing_set(arch, key, case, data):
    fields, weights, columns = case
    least = 0 if key == "core.pipeline_cycles" else 1
    better = max(least, fields[key] + data.draw(BETTER[key]))
    assume(better != fields[key])
    before = try_run(arch, fields, weights, columns)
    after = try_run(arch, fields | {key: better}, weights, columns)
    assert after.cycles <= before.cycles
    assert numbers(after, "cycles", "core_cycles", "smem_bound_cycles", "events", "events_represented") == numbers(
        before, "cycles", "core_cycles", "smem_bound_cycles", "events", "events_represented"
    )


# --- scaling ---

LINEAR_IN_COLUMNS = (
    "compute_bound_cycles", "macs_issued", "mux_selections", "activation_bytes", "smem_write_bytes",
    "accumulator_read_bytes", "accumulator_write_bytes",
)  # fmt: skip


@pytest.mark.parametrize("arch", STATIONARY)
@RANDOM
@given(case=cases(), factor=st.integers(2, 4))
def test_columns_scale(arch, case, factor):
    """What is paid by the column is so whatever the tiles; what is paid by the tile goes with their number."""
    fields, weights, columns = case
    one, many = try_run(arch, fields, weights, columns), try_run(arch, fields, weights, factor * columns)
    for name in LINEAR_IN_COLUMNS:
        assert getattr(many, name) == factor * getattr(one, name), name
    step_cycles = [BUSY_CYCLES, RF_CYCLES]
    np.testing.assert_array_equal(many.core_cycles[:, step_cycles], factor * one.core_cycles[:, step_cycles])
    for name in ("weight_bytes", "metadata_bytes"):
        per_tile, rest = divmod(getattr(one, name), tiles_of(one, columns))
        assert rest == 0
        assert getattr(many, name) == per_tile * tiles_of(many, factor * columns), name
    assert many.cycles >= factor * one.compute_bound_cycles


@pytest.mark.parametrize("arch", STATIONARY)
@RANDOM
@given(fields=machine_fields(), bands=st.integers(1, 3), tall=st.integers(2, 3), case=cases(one_set=True))
def test_whole_bands_scale(arch, fields, bands, tall, case):
    """Of weights whose rows are all alike: without blocks."""
    _, weights, columns = case
    if weights.pattern.block is not None:
        weights = drawn(weights.shape, Pattern(n=weights.pattern.n, m=weights.pattern.m))
    rows, k = bands * fields["core.count"] * fields["core.rows"], weights.shape[1]
    low, high = (try_run(arch, fields, drawn((height, k), weights.pattern), columns) for height in (rows, tall * rows))
    assume(low.mode == high.mode)  # whether stc takes 4:8 is up to the draw
    for name in (*LINEAR_IN_COLUMNS, "weight_bytes", "metadata_bytes"):
        assert getattr(high, name) == tall * getattr(low, name), name
    step_cycles = [BUSY_CYCLES, RF_CYCLES]
    np.testing.assert_array_equal(high.core_cycles[:, step_cycles], tall * low.core_cycles[:, step_cycles])
    assert len({*high.core_cycles[:, BUSY_CYCLES].tolist()}) == 1


def gemm(name="l", *, s, k, p, **fields):
    return Layer(
        name=name, kind="gemm", in_height=p, in_width=1, kernel_h=1, kernel_w=1, in_channels=k, out_channels=s, **fields
    )


@every_arch
@pytest.mark.parametrize("nm", ["dense", "2:4"])
def test_groups_add_and_batches_are_columns(arch, nm):
    pattern = Pattern(n=2, m=4, block=32) if nm == "2:4" else Pattern(block=32)
    spec = load_arch("dstc-given-masks" if arch == "dstc" else arch)
    drawn_alike = {"nm": nm, "block": 32, "sparsity": 0.75, "activation_sparsity": 0.0, "seed": 5}
    layer = gemm(s=3 * 50, k=3 * 100, p=45, groups=3)
    grouped = simulate([layer], [spec], all_layers=True, **drawn_alike).rows[0]
    parts = [Weights(shape=(50, 100), matrix=draw_weights((50, 100), pattern, 0.75, 5, 0, g)) for g in range(3)]
    alone = [run(arch, {}, part, 45) for part in parts]
    assert {grouped.group.blocking, *(one.blocking for one in alone)} == {alone[0].blocking}
    for name in numbers(alone[0], "mode", "column_tile", "core_cycles", "blocking"):
        assert getattr(grouped.group, name) == sum(getattr(one, name) for one in alone), name
    np.testing.assert_array_equal(grouped.group.core_cycles, sum(one.core_cycles for one in alone))

    batched, long = (
        simulate([layer], [spec], **drawn_alike).rows[0]
        for layer in (gemm(s=50, k=100, p=15, batch=3), gemm(s=50, k=100, p=45))
    )
    assert numbers(batched.group) == numbers(long.group)


def test_equal_groups_of_a_dense_layer_add():
    one, many = (
        simulate([gemm(s=50 * g, k=70 * g, p=45, groups=g)], nm="dense", block=None, activation_sparsity=0.0)
        for g in (1, 7)
    )
    for single, grouped in zip(one.rows, many.rows, strict=True):
        assert grouped.cycles == 7 * single.cycles
        np.testing.assert_array_equal(grouped.group.core_cycles, 7 * single.group.core_cycles)


# --- the architectures among each other ---


@RANDOM
@given(case=cases())
def test_stc_needs_at_least_half_of_the_steps_of_dense(case):
    """Of the cycles that is not so to the last one: start-up and drains weigh differently (37 against 18, once)."""
    fields, weights, columns = case
    fields["column_tile"] = fields["column_tile"] or fields["chunk_columns"]
    dense, stc = try_run("dense", fields, weights, columns), try_run("stc", fields, weights, columns)
    assert dense.compute_bound_cycles <= 2 * stc.compute_bound_cycles


@RANDOM
@given(case=cases(one_set=True))
def test_stc_runs_3_of_4_like_dense(case):
    fields, (s, k), columns = case[0], case[1].shape, case[2]
    weights = drawn((s, max(k, 3)), Pattern(n=3, m=4))  # three positions make three nonzeros in a group
    assert numbers(try_run("stc", fields, weights, columns)) == numbers(try_run("dense", fields, weights, columns))


@RANDOM
@given(case=cases(one_set=True))
def test_crisp_stc_without_a_pattern_is_dense(case):
    fields, weights, columns = case
    plain = Weights(shape=weights.shape)
    assert numbers(try_run("crisp-stc", fields, plain, columns)) == numbers(try_run("dense", fields, plain, columns))


@RANDOM
@given(case=cases(one_set=True))
def test_crisp_stc_at_2_of_4_without_blocks_is_stc(case):
    fields, shape, columns = case[0], case[1].shape, case[2]
    weights = drawn(shape, Pattern(n=2, m=4))
    assert numbers(try_run("crisp-stc", fields, weights, columns)) == numbers(try_run("stc", fields, weights, columns))


@RANDOM
@given(case=cases(one_set=True))
def test_crisp_stc_with_every_block_kept_does_the_work_of_no_blocks(case):
    """One sharing set; what is left of a difference is the block columns' bytes, none here."""
    fields, weights, columns = case
    fields["block_index_bytes"] = 0
    pattern, band = weights.pattern, fields["core.count"] * fields["core.rows"]
    assume(pattern.m > 1)
    blocks = drawn(weights.shape, Pattern(n=pattern.n, m=pattern.m, block=int(np.lcm(band, pattern.m))))
    free = drawn(weights.shape, Pattern(n=pattern.n, m=pattern.m))
    assert numbers(try_run("crisp-stc", fields, blocks, columns), "mode", "events") == numbers(
        try_run("crisp-stc", fields, free, columns), "mode", "events"
    )


# --- determinism ---

LAYERS = [gemm(f"l{i}", s=33 + 20 * i, k=100 + 31 * i, p=20 + 7 * i) for i in range(6)]


def rows_of(results):
    return [(row.row(), row.group.core_cycles.tolist(), row.group.events) for row in results.rows]


def test_the_same_seed_gives_the_same_rows_whatever_the_jobs():
    run_all = functools.partial(simulate, LAYERS, nm="2:4", block=16, sparsity=0.75)
    first = rows_of(run_all(seed=3))
    assert rows_of(run_all(seed=3)) == first
    assert rows_of(run_all(seed=3, jobs=2)) == first
    assert rows_of(run_all(seed=4)) != first
