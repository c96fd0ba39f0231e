"""What happened in a window of a run, event by event: the engine writes it, traces are made of it.

One row an event, int64. Rows stand in the order in which the engine settles things, not in order of time.

| kind | WHO | WHAT | WHERE | FROM | TO | SIZE | EXTRA |
|---|---|---|---|---|---|---|---|
| STEPPED | team | row of `waves` | row of `tiles` | cycle | cycle | busy cycles | place in the tile |
| WAITED | core | cause (`engine_state`) | | cycle | cycle | | |
| READ | stream | item's number | slot | byte | byte | first cycle usable | row of the item tables |
| FREED | stream | item's number | slot | cycle | the same | | |
| WRITTEN | core | row of `tiles` | | byte | byte | cycle of the request | place in the tile |
| FILLED | fill stream | piece | | byte | byte | cycle of its arrival | 1 if the piece is whole with it |
| EMPTIED | team | | burst buffer | byte | byte | first cycle on the channel | |
| CARRIED | fill stream, or BACK + team | piece | | byte | byte | | |

FILLED, EMPTIED and CARRIED are bursts between DRAM and SMEM (D10-D14): at the write port, at the read port, and on the
channel.

FROM is the first one, TO the one after the last; a core that is idle to the end of a run that goes on after the window
is so until `engine_state.BEYOND`. Bytes are positions of a port: byte b passes in cycle
b // (bytes per cycle). A place in the tile is (repetition of the tile) * (steps of a wave) + (step of the wave).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..formats.jit import kernel
from .plan import Ints

KIND, WHO, WHAT, WHERE, FROM, TO, SIZE, EXTRA = range(8)
STEPPED, WAITED, READ, FREED, WRITTEN, FILLED, EMPTIED, CARRIED = range(8)
VACANT = -1
BACK = 2  # after the two fill streams

# Columns of Recorder.window: rows written so far, first cycle of interest, cycle after the last one.
COUNT, FIRST, LAST = range(3)


class Recorder(NamedTuple):
    """Where the engine writes a log; it writes none where there are no rows. Modified in place.

    Before all others stands a row for each slot of each stream: what was usable in it before the window began, VACANT
    where that was freed before, too.
    """

    rows: Ints  # (capacity, 8)
    window: Ints  # (3,)


@dataclass(frozen=True, kw_only=True, eq=False)
class EventLog:
    """The events that touch cycles first to last - 1.

    rows : int64, (events, 8). finished : whether the run ended within the window; then `last` is its end.
    """

    rows: Ints
    first: int
    last: int
    finished: bool

    def of(self, *kinds: int) -> Ints:
        """The rows of these kinds."""
        return self.rows[np.isin(self.rows[:, KIND], kinds)]


def recorder(capacity: int, first: int, last: int, slots: int = 0) -> Recorder:
    """A recorder of so many rows for cycles first to last - 1, beside those of so many slots."""
    rows = np.zeros((slots + capacity, 8), np.int64)
    rows[:slots, KIND] = VACANT
    return Recorder(rows, np.array([slots, first, last], np.int64))


@kernel
def note(rows, window, kind, who, what, where, start, end, size, extra):
    """Write an event down, if there is room; modifies rows and window. The count goes on where there is none."""
    at = window[COUNT]
    window[COUNT] += 1
    if at < len(rows):
        write_row(rows, at, kind, who, what, where, start, end, size, extra)


@kernel
def write_row(rows, at, kind, who, what, where, start, end, size, extra):
    """Write an event into row `at`."""
    row = rows[at]
    row[KIND], row[WHO], row[WHAT], row[WHERE] = kind, who, what, where
    row[FROM], row[TO], row[SIZE], row[EXTRA] = start, end, size, extra
