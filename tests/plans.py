"""Plans made by hand, for tests of the engine, and what is asserted of their timing."""

import numpy as np

from crispsim.sim.blocking import later_needs
from crispsim.sim.engine import Timing, run
from crispsim.sim.engine_state import CAUSES
from crispsim.sim.plan import EVERY_MEMBER, Fills, Memory, Plan, Ports

WIDE = 1 << 20  # a port that serves everything in the cycle it is asked


def tile(lo, hi, *, steps=1, tail=1, active=1, repeat=1, period=0):
    return [repeat, lo, hi, steps, tail, active, period, hi if period else 0]


def stream(queue, *, slots, tiles, per_step=0, member=0, column=0, lag=0):
    return [queue, slots, per_step, member, column, *tiles, lag]


def wave(busy=0, items=(0,), *, rf=0, sharers=None, advance=None):
    return {
        "busy": (busy, rf),
        "items": items,
        "sharers": sharers or [1] * len(items),
        "advance": advance or [1] * len(items),
    }


def make_plan(
    *, teams, team_streams, streams, tiles, waves, drain=1, priority=None, columns=1,
    read=1, write=WIDE, latency=1, pipeline=0, memory=None,
) -> Plan:  # fmt: skip
    """A plan of lists. teams: (first core, cores, tile lo, tile hi); drain: bytes per column, or a list per tile.

    memory: what `dram` takes, beside the teams, tiles, streams and waves.
    """
    cores = max(first + count for first, count, _, _ in teams)
    members = max(count for _, count, _, _ in teams)
    drains = [[drain] * members] * len(tiles) if isinstance(drain, int) else drain
    items = np.array([w["items"] for w in waves], np.int32)
    queues = 1 + max(row[0] for row in streams)
    return Plan(
        cores=cores,
        columns=columns,
        ports=Ports(
            read_bytes_per_cycle=read, write_bytes_per_cycle=write, latency_cycles=latency, pipeline_cycles=pipeline
        ),
        teams=np.array(teams, np.int64),
        team_streams=np.array(team_streams, np.int64),
        streams=np.array(streams, np.int64),
        queue_priority=np.array(priority or [0] * queues, np.int64),
        tiles=np.array(tiles, np.int64),
        drain_bytes=np.array(drains, np.int64),
        waves=np.array([w["busy"] for w in waves], np.int32),
        item_bytes=items,
        item_metadata_bytes=np.zeros_like(items),
        item_sharers=np.array([w["sharers"] for w in waves], np.int32),
        advance=np.array([w["advance"] for w in waves], np.int32),
        memory=None if memory is None else dram(teams, len(streams), waves, **memory),
    )


def fills(*visits, slots=1, prefetched=0) -> Fills:
    """Visits of a fill stream: (first cell that needs it, sizes of its pieces)."""
    sizes = [size for _, own in visits for size in own]
    starts = np.cumsum([0, *(len(own) for _, own in visits)])
    rows = [[cell, start, len(own)] for (cell, own), start in zip(visits, starts, strict=False)]
    return Fills(
        visits=np.array(rows, np.int64).reshape(-1, 3),
        sizes=np.array(sizes, np.int64),
        slots=slots,
        prefetched=prefetched,
    )


def dram(
    teams, stream_count, waves, *, needs, inputs=None, weights=None, passes=None, stream_fill=None, pieces=None,
    bytes_per_cycle=1, latency=1, burst=64, writes_back=False, residual=False, nonzeros=0, values=0,
) -> Memory:  # fmt: skip
    """The level behind the SMEM of a plan of lists.

    needs: of each tile row its first input and weight piece (-1: none). passes: by default each row its own, in its
    team's order. stream_fill: by default every stream brings weights. pieces: of each wave, what is added to the first
    piece of both (for its items, too); by default the wave's place for weights, nothing for inputs.
    """
    cells = np.zeros((len(needs), 5), np.int64)
    cells[:, 1:3] = needs
    for _, _, lo, hi in teams:
        cells[lo:hi, 0] = range(hi - lo)
        for fill in range(2):
            cells[lo:hi, 3 + fill] = later_needs(cells[lo:hi, 1 + fill])
    if passes is not None:
        cells[:, 0] = passes
    table = np.array([(0, wave) for wave in range(len(waves))] if pieces is None else pieces, np.int64)
    return Memory(
        bytes_per_cycle=bytes_per_cycle,
        latency_cycles=latency,
        burst_bytes=burst,
        blocking="inputs",
        fills=(inputs or fills(), weights or fills()),
        cells=cells,
        stream_fill=np.array(stream_fill or [1] * stream_count, np.int64),
        item_pieces=table,
        step_pieces=table,
        writes_back=writes_back,
        residual=residual,
        output_bytes=1,
        nonzeros=nonzeros,
        values=values,
    )


def one_core(*, waves=1, busy=1, steps=1, repeat=1, chunk=None, chunk_slots=1, weights=None, lag=0, **ports) -> Plan:
    """One core with an item a step (`chunk` bytes), an item a wave (`weights` bytes), or both, in one queue."""
    streams = []
    if chunk:
        streams.append(stream(0, slots=chunk_slots, tiles=(0, 1), per_step=1, member=EVERY_MEMBER, column=0))
    if weights:
        streams.append(stream(0, slots=2, tiles=(0, 1), column=1, lag=lag))
    return make_plan(
        teams=[[0, 1, 0, 1]],
        team_streams=[list(range(len(streams)))],
        streams=streams,
        tiles=[tile(0, waves, steps=steps, repeat=repeat)],
        waves=[wave(busy, (chunk or 0, weights or 0))] * waves,
        **ports,
    )


def timing(plan: Plan) -> Timing:
    """Run with and without whole repetitions; the two agree, and every core's cycles add up."""
    slow, fast = run(plan, skip_repetitions=False), run(plan)
    assert (fast.cycles, fast.smem_write_bytes) == (slow.cycles, slow.smem_write_bytes)
    assert fast.core_cycles.tolist() == slow.core_cycles.tolist()
    assert fast.stream_bytes.tolist() == slow.stream_bytes.tolist()
    assert fast.memory == slow.memory
    assert fast.events_represented == slow.events == slow.events_represented
    assert (slow.core_cycles.sum(axis=1) == slow.cycles).all()
    return slow


def assert_earliest(plan: Plan, cycle: int):
    """The last step of a single team starts in `cycle`, in no earlier and no later one.

    Its write goes out `pipeline` cycles after its end, in one cycle where the write port is wide.
    """
    assert plan.ports.write_bytes_per_cycle == WIDE
    tile_of_last = plan.tiles[plan.teams[0, 3] - 1]
    columns = tile_of_last[4]
    busy = columns * plan.waves[tile_of_last[2] - 1].sum()
    assert timing(plan).cycles - plan.ports.latency_cycles - plan.ports.pipeline_cycles - busy == cycle


def assert_causes(plan: Plan, cycles: int, *cores):
    """Cycles of every core by cause; stall_dram may be left out where there is none."""
    got = timing(plan)
    assert CAUSES == ("busy", "stall_rf", "idle", "stall_smem", "stall_drain", "stall_sync", "stall_dram")
    assert got.core_cycles.tolist() == [[*core, 0][: len(CAUSES)] for core in cores]
    assert got.cycles == cycles


def sharing(team_waves, stream_waves, *, slots, **options):
    """Single-core teams, each with waves of its own, on one stream of an item a wave."""
    waves = [w for own in team_waves for w in own] + stream_waves
    starts = np.cumsum([0, *map(len, team_waves)]).tolist()
    count = len(team_waves)
    return make_plan(
        teams=[[t, 1, t, t + 1] for t in range(count)],
        team_streams=[[0]] * count,
        streams=[stream(0, slots=slots, tiles=(count, count + 1), member=EVERY_MEMBER)],
        tiles=[tile(lo, lo + len(own)) for lo, own in zip(starts, team_waves, strict=False)]
        + [tile(starts[-1], len(waves))],
        waves=waves,
        **options,
    )
