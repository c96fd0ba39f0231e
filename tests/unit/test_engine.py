"""The engine on plans made by hand: exact cycles worked out on paper.

Causes of a core's cycles stand in the order of CAUSES: busy, stall_rf, idle, stall_smem, stall_drain, stall_sync (and
stall_dram, of which there is none: `test_engine_memory.py`).
"Usable 4" says: in cycle 4 a step may start on it. A step "1..3" starts in cycle 1 and ends at 4.
"""

import dataclasses

import numpy as np
import pytest

from crispsim.sim.control import Control, Interrupted
from crispsim.sim.engine import run
from crispsim.sim.plan import EVERY_MEMBER
from tests.plans import assert_causes, assert_earliest, make_plan, one_core, sharing, stream, tile, wave

pytestmark = pytest.mark.kernel

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


def test_a_plan_beyond_64_bits_is_refused():
    with pytest.raises(OverflowError, match="64-bit"):
        run(one_core(busy=1 << 30, repeat=1 << 32, chunk=1))


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
