"""Streams that free-running teams share, zero-cycle steps, tiles without steps: by hand, and against a naive model.
What the dual-side tensor core is made of.

Causes of a core's cycles stand in the order of CAUSES: busy, stall_rf, idle, stall_smem, stall_drain, stall_sync (and
stall_dram, of which there is none: `test_engine_memory.py`).
"Usable 4" says: in cycle 4 a step may start on it. A step "1..3" starts in cycle 1 and ends at 4.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispsim.sim.engine import run
from crispsim.sim.plan import EVERY_MEMBER, Plan
from tests.plans import assert_causes, make_plan, sharing, stream, tile, timing, wave

pytestmark = pytest.mark.kernel


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


def test_tiles_without_steps_are_written_when_the_tile_before_ends():
    # Tiles 0, 2, 4 are empty. Tile 0's write of 2 B in 0 and 1, pipeline 0. Item 0 usable 1, but the sums are free from
    # 2: tile 1 runs 2..4, ends at 5. Its write in 5, 6, the one of tile 2 in 7, 8. Tile 3 from 9: 9..11; two writes in
    # 12..15. The last byte in 15, latency 1.
    plan = make_plan(
        teams=[[0, 1, 0, 5]],
        team_streams=[[0]],
        streams=[stream(0, slots=2, tiles=(5, 6), member=EVERY_MEMBER)],
        tiles=[tile(0, 0), tile(0, 1), tile(1, 1), tile(1, 2), tile(2, 2), tile(0, 2)],
        waves=[wave(3, items=(1,))] * 2,
        drain=2,
        write=1,
    )
    assert_causes(plan, 16, (6, 0, 0, 1, 9, 0))
    assert timing(plan).smem_write_bytes == 10


def test_a_tile_without_steps_writes_every_column_every_time():
    # Pipeline 3, 4 B a cycle, 2 B a column. Tile 0 (3 columns, twice) asks in 3: bytes 12..17, 18..23, the last in 5.
    # Item 0 is usable 1, but the sums are free from 6: tile 1 runs 6..7, ends at 8. Its 2 B are requested in 11: bytes
    # 44, 45; then those of tile 2 (2 columns, three times): 46..57, the last in 14. Latency 1.
    plan = make_plan(
        teams=[[0, 1, 0, 3]],
        team_streams=[[0]],
        streams=[stream(0, slots=1, tiles=(3, 4), member=EVERY_MEMBER)],
        tiles=[tile(0, 0, tail=3, repeat=2), tile(0, 1), tile(1, 1, tail=2, repeat=3), tile(0, 1)],
        waves=[wave(2, items=(1,))],
        drain=2,
        write=4,
        pipeline=3,
    )
    assert_causes(plan, 15, (2, 0, 0, 1, 12, 0))
    assert timing(plan).smem_write_bytes == 2 * 3 * 2 + 2 + 3 * 2 * 2


def test_a_team_of_empty_tiles_waits_for_its_writes_only():
    # Both write in cycle 3 (pipeline 3) at 2 B a cycle, in order of cores: bytes 6, 7 | 8, 9; three tiles each.
    plan = make_plan(
        teams=[[0, 1, 0, 1], [1, 1, 1, 2]],
        team_streams=[[0], [0]],
        streams=[stream(0, slots=1, tiles=(2, 2), member=EVERY_MEMBER)],
        tiles=[tile(0, 0, repeat=3), tile(0, 0, repeat=3)],
        waves=[wave(1)],
        drain=2,
        write=2,
        pipeline=3,
    )
    assert_causes(plan, 9, (0, 0, 3, 0, 6, 0), (0, 0, 0, 0, 9, 0))


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


def test_streams_of_a_queue_that_drift_apart_are_no_repetition():
    """At one position the lower item goes first: two streams whose waves differ in steps meet that tie differently.

    Stream 0 has 26 waves of a step, then 60 of four steps; stream 1 one wave of 26 steps, then 120 of two.
    """
    plan = make_plan(
        teams=[[0, 1, 0, 2], [1, 1, 2, 4]],
        team_streams=[[0], [1]],
        streams=[stream(0, slots=2, tiles=(0, 2)), stream(0, slots=2, tiles=(2, 4), column=1)],
        tiles=[tile(0, 26), tile(27, 28, steps=4, repeat=60), tile(26, 27, steps=26), tile(28, 30, steps=2, repeat=60)],
        waves=[wave(1, (1, 0))] * 26 + [wave(1, (0, 1)), wave(3, (25, 0))] + [wave(3, (0, 20))] * 2,
        read=6, write=64, latency=2,
    )  # fmt: skip
    assert timing(plan).cycles == 770  # `timing` compares with and without whole repetitions


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
    causes = [[0] * 7 for _ in range(4)]
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
