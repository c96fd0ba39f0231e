"""What a log of a window holds, and what it leaves out."""

import pytest

from crispsim.sim.engine import record, run
from crispsim.sim.engine_state import BEYOND, DRAIN_CYCLES, IDLE_CYCLES
from crispsim.sim.event_log import EXTRA, FREED, FROM, KIND, READ, SIZE, STEPPED, TO, WAITED, WHAT, WHERE, WHO, WRITTEN
from crispsim.sim.plan import EVERY_MEMBER
from tests.plans import make_plan, one_core, stream, tile, wave

pytestmark = pytest.mark.kernel


def in_turn():
    """One core, six items of 2 B at 1 B a cycle in two slots, a step of 5 cycles each.

    Items 0, 1 usable 2, 4 (last bytes in 1, 3, latency 1). Steps 2..6, 7..11 and so on, ends 7, 12, 17, 22, 27, 32. A
    step's end frees its item, and item 2 is read in 7, 8, usable 9; item 3 14, and so on.
    """
    return one_core(waves=6, busy=5, weights=2)


USABLE, ENDS = [2, 4, 9, 14, 19, 24], [7, 12, 17, 22, 27, 32]


def test_items_are_freed_when_their_steps_end():
    log = record(in_turn(), 0, 100)
    assert log.finished
    assert [(row[WHO], row[WHAT], row[WHERE], row[FROM], row[TO]) for row in log.of(FREED).tolist()] == [
        (0, item, item % 2, end, end) for item, end in enumerate(ENDS)
    ]


@pytest.mark.parametrize("first", range(33))
def test_a_log_holds_events_only(first):
    """Before the window slots were filled and freed: what is kept of them is no event."""
    log = record(in_turn(), first, first + 1)
    assert set(log.rows[:, KIND].tolist()) <= {STEPPED, WAITED, READ, FREED, WRITTEN}
    # What lies in a slot is there however long ago it was read; what was freed before is not.
    here = [item for item in range(6) if USABLE[item] < first <= ENDS[item]]
    assert sorted(row[WHAT] for row in log.of(READ).tolist() if row[SIZE] < first) == here


@pytest.mark.parametrize(("item", "end"), list(enumerate(ENDS)))
def test_a_window_that_starts_when_a_slot_is_freed_says_so(item, end):
    rows = record(in_turn(), end, end + 1).of(FREED).tolist()
    assert [(row[WHAT], row[WHERE], row[FROM]) for row in rows] == [(item, item % 2, end)]
    for first in (end - 1, end + 1):
        assert len(record(in_turn(), first, first + 1).of(FREED)) == 0


def two_cores():
    """Core 0 has one tile without steps, 100 B of it at 1 B a cycle; core 1 works until long after."""
    return make_plan(
        teams=[[0, 1, 0, 1], [1, 1, 1, 2]],
        team_streams=[[0], [0]],
        streams=[stream(0, slots=2, tiles=(2, 3), member=EVERY_MEMBER)],
        tiles=[tile(0, 0), tile(0, 4), tile(0, 4)],
        waves=[wave(200)] * 4,
        drain=[[100], [1], [0]],
        write=1,
    )


@pytest.mark.parametrize(("last", "idle"), [(10, False), (99, False), (100, False), (101, True), (150, True)])
def test_no_wait_of_an_unfinished_window_begins_beyond_it(last, idle):
    """Core 0 waits for its writes in 0..99, and is idle from 100 on to an end that the window does not know."""
    log = record(two_cores(), 0, last)
    assert not log.finished
    assert log.last == last
    waited = log.of(WAITED).tolist()
    assert all(row[FROM] < last for row in waited)
    own = [(row[WHAT], row[FROM], row[TO]) for row in waited if row[WHO] == 0]
    assert own == [(DRAIN_CYCLES, 0, 100), (IDLE_CYCLES, 100, BEYOND)][: 1 + idle]


def test_a_finished_window_ends_with_the_run():
    plan = two_cores()
    cycles = run(plan).cycles
    log = record(plan, 0, 10 * cycles)
    assert (log.finished, log.last) == (True, cycles)
    assert [(row[WHAT], row[FROM], row[TO]) for row in log.of(WAITED).tolist() if row[WHO] == 0] == [
        (DRAIN_CYCLES, 0, 100),
        (IDLE_CYCLES, 100, cycles),
    ]
    ((_, _, _, _, start, end, request, place),) = [row for row in log.of(WRITTEN).tolist() if row[WHO] == 0]
    assert (start, end, request, place) == (0, 100, 0, 0)
    assert (FROM, TO, SIZE, EXTRA) == (4, 5, 6, 7)
