"""The engine on plans made by hand: exact cycles worked out on paper, and features no shipped architecture uses yet.

Causes of a core's cycles stand in the order of CAUSES: busy, stall_rf, idle, stall_smem, stall_drain, stall_sync.
"Usable 4" says: in cycle 4 a step may start on it. A step "1..3" starts in cycle 1 and ends at 4.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispsim.sim.control import Control, Interrupted
from crispsim.sim.engine import Timing, run
from crispsim.sim.engine_state import CAUSES
from crispsim.sim.plan import EVERY_MEMBER, Plan, Ports

pytestmark = pytest.mark.kernel

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
    read=1, write=WIDE, latency=1, pipeline=0,
) -> Plan:  # fmt: skip
    """A plan of lists. teams: (first core, cores, tile lo, tile hi); drain: bytes per column, or a list per tile."""
    cores = max(first + count for first, count, _, _ in teams)
    members = max(count for _, count, _, _ in teams)
    drains = [[drain] * members] * len(tiles) if isinstance(drain, int) else drain
    items = np.array([w["items"] for w in waves], np.int64)
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
        waves=np.array([w["busy"] for w in waves], np.int64),
        item_bytes=items,
        item_metadata_bytes=np.zeros_like(items),
        item_sharers=np.array([w["sharers"] for w in waves], np.int64),
        advance=np.array([w["advance"] for w in waves], np.int64),
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
    got = timing(plan)
    assert CAUSES == ("busy", "stall_rf", "idle", "stall_smem", "stall_drain", "stall_sync")
    assert got.core_cycles.tolist() == [list(core) for core in cores]
    assert got.cycles == cycles


# --- the read port ---


@pytest.mark.parametrize(("size", "start"), [(1, 3), (4, 3), (5, 4), (8, 4), (9, 5)])
def test_a_step_starts_latency_after_the_last_bytes_cycle(size, start):
    # 4 B/cycle, latency 3: 5 bytes are cycles 0 and 1, usable 1 + 3.
    plan = one_core(weights=size, busy=3, read=4, latency=3, pipeline=2)
    assert_earliest(plan, start)
    # Busy 3; stalled on SMEM until the start; then pipeline 2 and the write's cycle; the latency's rest is idle.
    assert_causes(plan, start + 3 + 2 + 3, (3, 0, 2, start, 3, 0))


def test_transfers_share_a_cycle_without_rounding():
    # 5 bytes each at 4 B/cycle: bytes 0-4, 5-9, 10-14, last bytes in cycles 1, 2, 3 (rounded up they would be 1, 3, 5).
    # Usable 2, 3, 4: three steps of one cycle run back to back.
    assert_earliest(one_core(steps=3, chunk=5, chunk_slots=3, read=4), 4)
    assert_causes(one_core(steps=3, chunk=5, chunk_slots=3, read=4), 6, (3, 0, 0, 2, 1, 0))


def test_an_idle_port_starts_again_at_a_whole_cycle():
    # One slot. Chunk 0: bytes 0-4 at 4 B/cycle, usable 2; step 2..3. Chunk 1 is asked for in cycle 4: the port stands
    # at byte 16, not 5; bytes 16-20 end in cycle 5, usable 6.
    assert_earliest(one_core(steps=2, busy=2, chunk=5, read=4), 6)


@pytest.mark.parametrize(("slots", "start"), [(1, 8), (2, 6)])
def test_a_chunk_slot_is_handed_over_at_the_step_s_end(slots, start):
    # Latency 2: chunk 0 is usable 2, step 0 2..5. With one slot chunk 1 is served in cycle 6, usable 8; with two it
    # was served in cycle 1, and step 1 follows at once.
    assert_earliest(one_core(steps=2, busy=4, chunk=1, chunk_slots=slots, latency=2), start)


@pytest.mark.parametrize(("busy", "start"), [(4, 10), (1, 5)])
def test_a_weight_slot_is_handed_over_at_the_wave_s_end(busy, start):
    # Two slots, latency 2: weights 0 and 1 in cycles 0 and 1, usable 2 and 3. Weights 2 need the slot of wave 0:
    # busy 4: wave 0 2..5, served in 6, usable 8, wave 1 6..9, wave 2 from 10.
    # busy 1: wave 0 in 2, served in 3, usable 5; wave 1 in 3; wave 2 from 5, not 4.
    assert_earliest(one_core(waves=3, busy=busy, weights=1, latency=2), start)


# --- the order of reads ---


def test_nothing_overtakes_the_head():
    # One chunk slot, busy 3. Order: chunk 0, weights 0, weights 1, chunk 1, ... Bytes: 0; 1-5; 6-10. Step 0 has its
    # weights usable 6: 6..8. Chunk 1 has its slot from 9, but weights 1 hold the port until 11: byte 11, usable 12.
    # Step 1 12..14; chunk 2 in 15, step 2 16..18; chunk 3 in 19, step 3 from 20.
    assert_earliest(one_core(waves=2, steps=2, busy=3, chunk=1, weights=5), 20)


@pytest.mark.parametrize(("lag", "start"), [(0, 75), (1, 84), (5, 84)])
def test_later_weights_stand_at_their_lag_in_the_wave_before(lag, start):
    # Steps of 10 cycles, two a wave; chunks of 1 byte in two slots; weights of 20 bytes; three waves.
    # Both: c0 in 0, c1 in 1, w0 2-21, w1 22-41; step 0 22..31, step 1 32..41; c2 in 42, c3 in 43; step 2 43..52,
    # step 3 53..62.
    # Lag 0, w2 at step 2, before c4 (step 3): w2 44-63 usable 64; c4 (slot from 53) in 64, usable 65; step 4 65..74,
    # c5 in 65; step 5 from 75.
    # Lag 1 (and any larger: the wave has no later step), w2 at step 3, after c4: c4 in 53; w2 54-73 usable 74;
    # step 4 74..83; step 5 from 84.
    assert_earliest(one_core(waves=3, steps=2, busy=10, chunk=1, chunk_slots=2, weights=20, lag=lag), start)


def two_teams(priority, steps=2):
    """Two cores on queues of their own, chunks of 1 byte in two slots."""
    return make_plan(
        teams=[[0, 1, 0, 1], [1, 1, 1, 2]],
        team_streams=[[0], [1]],
        streams=[stream(q, slots=2, tiles=(q, q + 1), per_step=1, member=EVERY_MEMBER) for q in (0, 1)],
        tiles=[tile(0, 1, steps=steps), tile(0, 1, steps=steps)],
        waves=[wave(1, (1,))],
        priority=priority,
    )


def test_round_robin_between_queues():
    # Served: 0, 1, 0, 1 in cycles 0..3. Core 0 steps in 1 and 3, core 1 in 2 and 4. Writes are there a cycle after
    # the end; cycle 5 is the last output byte's, so 6 in all.
    assert_causes(two_teams([0, 0]), 6, (2, 0, 1, 2, 1, 0), (2, 0, 0, 3, 1, 0))


def test_a_queue_of_lower_priority_number_goes_first():
    # Queue 1 first: cycles 0 and 1; queue 0: cycles 2 and 3. Core 1 steps in 1 and 2, core 0 in 3 and 4.
    assert_causes(two_teams([1, 0]), 6, (2, 0, 0, 3, 1, 0), (2, 0, 2, 1, 1, 0))


def test_round_robin_goes_on_after_the_queue_served_last():
    # Three queues, one slot each, busy 1. Cycles 0, 1, 2 serve queues 0, 1, 2; core 0 steps in 1, core 1 in 2.
    # In cycle 2 queue 0 has a slot again, but the turn is queue 2's; cycle 3 is queue 0's, cycle 4 queue 1's, though
    # queue 2 (core 2 stepped in 3) also has its slot by then; cycle 5 queue 2's.
    # Steps: core 0 in 1 and 4, core 1 in 2 and 5, core 2 in 3 and 6. Last output byte in cycle 7.
    plan = make_plan(
        teams=[[q, 1, q, q + 1] for q in range(3)],
        team_streams=[[0], [1], [2]],
        streams=[stream(q, slots=1, tiles=(q, q + 1), per_step=1, member=EVERY_MEMBER) for q in range(3)],
        tiles=[tile(0, 1, steps=2)] * 3,
        waves=[wave(1, (1,))],
    )
    assert_causes(plan, 8, (2, 0, 2, 3, 1, 0), (2, 0, 1, 4, 1, 0), (2, 0, 0, 5, 1, 0))


# --- steps ---


def test_a_column_takes_its_busy_and_its_register_file_cycles():
    # Chunks of 2 columns, the last of 1: steps of 2 * (1 + 2) and 1 * (1 + 2) cycles.
    plan = make_plan(
        teams=[[0, 1, 0, 1]],
        team_streams=[[0]],
        streams=[stream(0, slots=2, tiles=(0, 1), per_step=1, member=EVERY_MEMBER)],
        tiles=[tile(0, 1, steps=2, tail=1)],
        waves=[wave(1, (1,), rf=2)],
        columns=2,
    )
    # Chunk 0 is 2 bytes, usable 2; step 0 2..7, step 1 8..10; the write in 11.
    assert_causes(plan, 12, (3, 6, 0, 2, 1, 0))


def test_members_wait_for_each_other_and_inactive_ones_are_idle():
    # Three cores in lockstep, the third inactive. Weights of 1 and of 8 bytes: usable 1 and 9. Step 9..12; writes of
    # both in 13.
    plan = make_plan(
        teams=[[0, 3, 0, 1]],
        team_streams=[[0, 1, 2]],
        streams=[stream(0, slots=2, tiles=(0, 1), column=j, member=j, lag=j) for j in (0, 1)]
        + [stream(0, slots=2, tiles=(0, 0), column=2, member=2, lag=2)],
        tiles=[tile(0, 1, active=2)],
        waves=[wave(4, (1, 8, 0))],
    )
    assert_causes(plan, 14, (4, 0, 0, 1, 1, 8), (4, 0, 0, 9, 1, 0), (0, 0, 14, 0, 0, 0))


# --- the write port ---


def test_sums_are_free_in_the_cycle_after_their_last_byte():
    # Two tiles of one step. Step 0 1..2, pipeline 2: the 6 bytes at 4 B/cycle are asked for in 5, bytes 20-25, last
    # in cycle 6. The second tile's step may start in 7: 7..8, write from 11: bytes 44-49, last in 12; latency 1.
    plan = one_core(busy=2, repeat=2, chunk=1, chunk_slots=4, write=4, pipeline=2, drain=6)
    assert_causes(plan, 13, (4, 0, 0, 1, 8, 0))
    # At 2 B/cycle: bytes 10-15, last in 7; step 8..9, asked for in 12, bytes 24-29, last in 14.
    narrow = one_core(busy=2, repeat=2, chunk=1, chunk_slots=4, write=2, pipeline=2, drain=6)
    assert_causes(narrow, 15, (4, 0, 0, 1, 10, 0))


def test_only_the_sums_of_the_same_place_are_waited_for():
    # Two steps a tile, busy 2, pipeline 1, wide port. Steps 1..2, 3..4; writes asked for and served in 4 and 6; sums
    # free in 5 and 7. The second tile: place 0 from 5 at once, place 1 from 7 at once.
    assert_earliest(one_core(busy=2, steps=2, repeat=2, chunk=1, chunk_slots=4, pipeline=1), 7)
    # Pipeline 3: sums free in 7 and 9. Place 0 7..8, place 1 9..10.
    assert_earliest(one_core(busy=2, steps=2, repeat=2, chunk=1, chunk_slots=4, pipeline=3), 9)


def test_writes_share_a_cycle_without_rounding():
    # Three steps in cycles 1, 2, 3; writes of 5 bytes at 4 B/cycle, asked for in 2, 3, 4: bytes 8-12, 13-17, 18-22,
    # last in cycle 5 (rounded up: 2-3, 4-5, 6-7).
    plan = one_core(steps=3, chunk=1, chunk_slots=3, read=8, write=4, drain=5)
    assert_causes(plan, 6, (3, 0, 0, 1, 2, 0))


def test_writes_go_by_request_then_by_core():
    # Both steps run in cycle 1 (8 B/cycle: both chunks are cycle 0), both writes are asked for in 2: 4 bytes each at
    # 1 B/cycle, core 0 in 2..5, core 1 in 6..9.
    plan = make_plan(
        teams=[[0, 1, 0, 1], [1, 1, 1, 2]],
        team_streams=[[0], [1]],
        streams=[stream(q, slots=1, tiles=(q, q + 1)) for q in (0, 1)],
        tiles=[tile(0, 1), tile(0, 1)],
        waves=[wave(1, (1,))],
        drain=4, read=8, write=1,
    )  # fmt: skip
    assert_causes(plan, 10, (1, 0, 4, 1, 4, 0), (1, 0, 0, 1, 8, 0))


# --- streams that teams share (no shipped architecture does that yet) ---


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


def test_a_shared_slot_is_freed_when_both_teams_are_done():
    # One slot. Item 0 usable 1: team 0 1..2, team 1 1..5. Its slot is free from 6: item 1 in 6, usable 7: team 0 7..8,
    # team 1 7..11; writes in 9 and 12.
    both = [wave(items=(1,), sharers=[2])] * 2
    plan = sharing([[wave(2)] * 2, [wave(5)] * 2], both, slots=1)
    assert_causes(plan, 13, (4, 0, 3, 5, 1, 0), (10, 0, 0, 2, 1, 0))
    assert timing(plan).stream_bytes[0] == 2  # read once for both


def test_a_fast_team_runs_ahead_by_the_slots():
    # Two slots, three items. Items 0, 1 usable 1, 2. Team 0 1..2, 3..4. Team 1 1..5: item 2 in 6, usable 7: team 0
    # 7..8. Team 1 goes on 6..10, 11..15; writes in 9 and 16.
    both = [wave(items=(1,), sharers=[2])] * 3
    plan = sharing([[wave(2)] * 3, [wave(5)] * 3], both, slots=2)
    assert_causes(plan, 17, (6, 0, 7, 3, 1, 0), (15, 0, 0, 1, 1, 0))


def test_a_team_skips_items_it_does_not_need():
    # Items 0, 1, 2; team 1 needs 0 and 2. Two slots. Team 0 (busy 4) 1..4, 5..8, 9..12. Team 1 (busy 1) in 1; item 2
    # has the slot of item 0 from 5 (team 0's end), usable 6: team 1 in 6. Writes in 13 and 7.
    items = [wave(items=(1,), sharers=[n]) for n in (2, 1, 2)]
    plan = sharing([[wave(4)] * 3, [wave(1), wave(1, advance=[2])]], items, slots=2)
    assert_causes(plan, 14, (12, 0, 0, 1, 1, 0), (2, 0, 6, 5, 1, 0))


def test_a_later_item_may_be_done_first():
    # Item 0 is team 1's alone, item 1 team 0's alone, item 2 both's; two slots. Items 0, 1 usable 1, 2. Team 0 in 2:
    # item 1's slot is free from 3 while item 0 is in use; item 2 takes it in 3, usable 4. Team 0 in 4, its write in 5.
    # Team 1 1..6, 7..12, its write in 13.
    items = [wave(items=(1,), sharers=[n]) for n in (1, 1, 2)]
    fast = [wave(1, advance=[2]), wave(1)]
    slow = [wave(6), wave(6, advance=[2])]
    assert_causes(sharing([fast, slow], items, slots=2), 14, (2, 0, 8, 3, 1, 0), (12, 0, 0, 1, 1, 0))


def test_a_zero_cycle_step_takes_no_time():
    # Wave 0 takes nothing: item 0 usable 1, done in 1; with one slot item 1 is served in the same cycle 1 (port at
    # byte 1), usable 2: wave 1 2..4, its write in 5.
    plan = sharing([[wave(0), wave(3)]], [wave(items=(1,))] * 2, slots=1)
    assert_causes(plan, 6, (3, 0, 0, 2, 1, 0))


def test_zero_cycle_steps_follow_each_other_in_one_cycle():
    # 4 B/cycle: three items in cycle 0, usable 1; all three waves in cycle 1, and the write (pipeline 0) in 1 as well.
    plan = sharing([[wave(0)] * 3], [wave(items=(1,))] * 3, slots=3, read=4)
    assert_causes(plan, 2, (0, 0, 0, 1, 1, 0))


def test_a_zero_cycle_step_waits_for_the_buffer():
    # Two tiles of one wave that takes nothing; both items usable 1. Tile 0 in 1, pipeline 2, write of 3 bytes at
    # 1 B/cycle 3..5; tile 1 in 6, write 8..10; latency 1.
    plan = make_plan(
        teams=[[0, 1, 0, 1]],
        team_streams=[[0]],
        streams=[stream(0, slots=2, tiles=(0, 1))],
        tiles=[tile(0, 1, repeat=2)],
        waves=[wave(0, (1,))],
        drain=3, read=4, write=1, pipeline=2,
    )  # fmt: skip
    assert_causes(plan, 11, (0, 0, 0, 1, 10, 0))


# --- plans that cannot run, and runs that are stopped ---


ONE_ITEM, FREED_EARLY = wave(items=(1,)), wave(items=(1,), sharers=[1])


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(sharing([[wave(1)] * 2], [ONE_ITEM], slots=2), id="the second wave's item never comes"),
        pytest.param(
            sharing([[wave(1)] * 2] * 2, [wave(items=(1,), sharers=[3])] * 2, slots=1), id="a slot is never freed"
        ),
        pytest.param(
            sharing([[wave(1)] * 2, [wave(5)] * 2], [FREED_EARLY] * 2, slots=1), id="a slot is freed under a sharer"
        ),
        pytest.param(
            sharing([[wave(1), wave(1, advance=[0])]], [ONE_ITEM] * 2, slots=2), id="an item is asked for twice"
        ),
        pytest.param(sharing([[wave(1)]], [ONE_ITEM] * 3, slots=3), id="items that nobody uses"),
    ],
)
def test_a_plan_that_contradicts_itself_is_an_error(plan):
    with pytest.raises(RuntimeError, match="contradict each other"):
        run(plan)


def test_a_queue_of_an_impossible_priority_is_refused():
    with pytest.raises(ValueError, match="queue_priority"):
        run(dataclasses.replace(one_core(chunk=1), queue_priority=np.array([1])))


def test_a_stopped_control_interrupts():
    control = Control()
    run(one_core(chunk=1), control=control)
    assert control.events == 2  # a transfer and a step's end
    control.stop()
    with pytest.raises(Interrupted):
        run(one_core(chunk=1), control=control)


# --- random teams on shared streams, against a naive model stepped cycle by cycle ---


@st.composite
def slice_cases(draw):
    """Four single-core teams as in an outer-product machine: each on one of two A and one of two B streams.

    Teams skip items, but all need the last one of a round; rounds repeat as one tile, or as waves of one tile.
    """
    streams = [[draw(st.integers(1, 9)) for _ in range(draw(st.integers(1, 4)))] for _ in range(4)]
    teams = []
    for t in range(4):
        pair = (t // 2, 2 + t % 2)
        count = draw(st.integers(1, min(len(streams[f]) for f in pair)))
        needs = []
        for f in pair:
            early = draw(st.permutations(range(len(streams[f]) - 1)))[: count - 1]
            needs.append([*sorted(early), len(streams[f]) - 1])
        busy = draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
        teams.append({"streams": pair, "needs": needs, "busy": busy, "drain": draw(st.integers(1, 9))})
    for f in range(4):  # an item nobody needs is not read
        needed = sorted({i for items in needs_of(teams, f) for i in items})
        streams[f] = [streams[f][i] for i in needed]
        for items in needs_of(teams, f):
            items[:] = [needed.index(i) for i in items]
    return {
        "sizes": streams,
        "teams": teams,
        "rounds": draw(st.sampled_from([1, 2, 3, 8, 30])),
        "one_tile": draw(st.booleans()),
        "slots": draw(st.integers(1, 3)),
        "priority": draw(st.sampled_from([[0, 0, 0, 0], [1, 1, 0, 0]])),
        "ports": {
            "read": draw(st.integers(1, 9)),
            "write": draw(st.integers(1, 9)),
            "latency": draw(st.integers(1, 4)),
            "pipeline": draw(st.integers(0, 4)),
        },
    }


def needs_of(teams, f):
    """The items of stream f that each of its teams needs."""
    return [items for team in teams for g, items in zip(team["streams"], team["needs"], strict=True) if g == f]


def plan_of(case) -> Plan:
    rounds, one_tile = case["rounds"], case["one_tile"]
    tiles, waves = [], []

    def add(pattern):
        lo = len(waves)
        waves.extend(pattern * (rounds if one_tile else 1))
        tiles.append(tile(lo, len(waves), repeat=1 if one_tile else rounds, period=len(pattern) if one_tile else 0))

    for team in case["teams"]:
        moves = [np.diff(items, prepend=-1).tolist() for items in team["needs"]]
        add([wave(busy, advance=[a, b]) for busy, a, b in zip(team["busy"], *moves, strict=True)])
    for f, sizes in enumerate(case["sizes"]):
        needs = [i for items in needs_of(case["teams"], f) for i in items]
        add([wave(items=(size,), sharers=[needs.count(i)]) for i, size in enumerate(sizes)])
    for row in waves:
        row["items"], row["sharers"] = (*row["items"], 0)[:2], [*row["sharers"], 1][:2]
        row["advance"] = [*row["advance"], 1][:2]
    return make_plan(
        teams=[[t, 1, t, t + 1] for t in range(4)],
        team_streams=[team["streams"] for team in case["teams"]],
        streams=[stream(f, slots=case["slots"], tiles=(4 + f, 5 + f), member=EVERY_MEMBER) for f in range(4)],
        tiles=tiles,
        waves=waves,
        drain=[[team["drain"]] for team in case["teams"]] + [[0]] * 4,
        priority=case["priority"],
        **case["ports"],
    )


def step_by_step(case):
    """Cycles, causes and read bytes of a case, one cycle at a time; None where it gets stuck."""
    ports, rounds = case["ports"], case["rounds"]
    items = [[size for _ in range(rounds) for size in sizes] for sizes in case["sizes"]]
    usable = [{} for _ in items]
    users = [[0] * len(row) for row in items]
    next_item, held = [0] * 4, [0] * 4
    programs = []
    for team in case["teams"]:
        program = []
        for r in range(rounds):
            for w, busy in enumerate(team["busy"]):
                own = zip(team["streams"], team["needs"], strict=True)
                needs = [(f, row[w] + r * len(case["sizes"][f])) for f, row in own]
                for f, i in needs:
                    users[f][i] += 1
                last_round = r + 1 == rounds or not case["one_tile"]
                first = w == 0 and (r == 0 or not case["one_tile"])
                program.append((needs, busy, first, w + 1 == len(team["busy"]) and last_round))
        programs.append(program)
    at, end, sums_free = [0] * 4, [None] * 4, [0] * 4
    causes = [[0] * 6 for _ in range(4)]
    read_at = write_at = 0
    turn = {0: 0, 1: 0}
    t = 0
    while True:
        for team in range(4):
            while True:
                if end[team] == t:
                    needs, _, _, last = programs[team][at[team]]
                    for f, i in needs:
                        users[f][i] -= 1
                        held[f] -= users[f][i] == 0
                    if last:
                        asked = (t + ports["pipeline"]) * ports["write"]
                        write_at = max(write_at, asked) + case["teams"][team]["drain"]
                        sums_free[team] = (write_at - 1) // ports["write"] + 1
                    at[team], end[team] = at[team] + 1, None
                if end[team] is not None or at[team] == len(programs[team]):
                    break
                needs, busy, first, _ = programs[team][at[team]]
                if any(usable[f].get(i, t + 1) > t for f, i in needs) or (first and sums_free[team] > t):
                    break
                end[team] = t + busy
                if busy:
                    break
        read_at = max(read_at, t * ports["read"])
        while read_at < (t + 1) * ports["read"]:
            able = [f for f in range(4) if next_item[f] < len(items[f]) and held[f] < case["slots"]]
            if not able:
                break
            level = min(case["priority"][f] for f in able)
            f = min((f for f in able if case["priority"][f] == level), key=lambda f: (f - turn[level]) % 4)
            turn[level] = f + 1
            read_at += items[f][next_item[f]]
            usable[f][next_item[f]] = (read_at - 1) // ports["read"] + ports["latency"]
            next_item[f], held[f] = next_item[f] + 1, held[f] + 1
        for team in range(4):
            if end[team] is not None:
                cause = 0
            elif at[team] == len(programs[team]):
                cause = 4 if sums_free[team] > t else 2
            else:
                missing = any(usable[f].get(i, t + 1) > t for f, i in programs[team][at[team]][0])
                cause = 3 if missing else 4
            causes[team][cause] += 1
        t += 1
        if all(at[team] == len(programs[team]) for team in range(4)):
            total = max(sums_free) - 1 + ports["latency"]
            if t == total:
                break
        waits = [time for row in usable for time in row.values()] + sums_free + [read_at // ports["read"]]
        if all(e is None for e in end) and max(waits) + 1 < t and min(at[x] - len(programs[x]) for x in range(4)) < 0:
            return None
    return t, causes, [sum(row) for row in items]


@given(slice_cases())
def test_teams_on_shared_streams_agree_with_a_naive_model(case):
    plan, expected = plan_of(case), step_by_step(case)
    if expected is None:
        with pytest.raises(RuntimeError):
            run(plan)
        return
    got = timing(plan)
    assert (got.cycles, got.core_cycles.tolist(), got.stream_bytes.tolist()) == expected
