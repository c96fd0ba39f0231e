"""Adding whole repetitions: exact, because equal states have equal futures.

A run is deterministic: what happens next depends on the state and on the part of the program ahead. When a wave of
the leading team has ended, the state is written down with all times relative to now and all items relative to the
next one (its *signature*) and compared with a remembered one. If the two agree, and every team and every stream has
moved on by the same number of waves, over rows that the plan says repeat, or by the same number of repeats of one
tile, then what happened between the two happens again, as often as the program goes on in the same way. The counts
of one round are added that many times, and every clock moves by as many rounds.

The remembered state is replaced after 1, 2, 4, 8 ... waves (Brent's cycle search), so that a round of any length is
found after about twice that length beyond the start-up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..formats.jit import kernel
from .engine_state import (
    BEYOND,
    DONE,
    EMPTY,
    END,
    EVENTS,
    EVENTS_ADDED,
    FIRST_STEP,
    FREE,
    ITEM,
    MISSING,
    OUTPUT_END,
    POSITION,
    PREV_END,
    PREV_FIRST_STEP,
    READ_AT,
    REP,
    RUNNING,
    S_REP,
    S_STEP,
    S_TILE,
    S_WAVE,
    STATUS,
    STEP,
    TILE,
    WAVE,
    WRITE_AT,
    Program,
    State,
)
from .plan import PER_STEP, PERIOD, PERIODIC_HI, REPEAT, SLOTS, STREAM_TILE_HI, WAVE_HI, WAVE_LO, Ints

# The two kinds of repetition, rows of Finder.search: waves within a tile, and repeats of a tile.
_WAVES, _TILES = range(2)

# Columns of Finder.search: is anything remembered; when; where the leader stood; how far the read port stood ahead;
# waves since; waves until it is replaced.
_KNOWN, _THEN, _LEADER, _LEADER_TILE, _LEADER_REP, _READ_AHEAD, _SINCE, _LIMIT = range(8)


class Finder(NamedTuple):
    """The remembered states, one for each kind of repetition, and the search for them. Modified in place."""

    within_tile: State
    across_tiles: State
    signatures: Ints  # (3, n): of the two remembered states, and of the present one
    search: Ints  # (2, 8)


def new_finder(within_tile: State, across_tiles: State) -> Finder:
    """A finder that remembers nothing; takes two empty states of the run's form."""
    longest = 8 + 3 * within_tile.buffer.size
    return Finder(within_tile, across_tiles, np.zeros((3, longest), np.int64), np.zeros((2, 8), np.int64))


@kernel
def worth_a_look(search: Ints, team: Ints, tiles: Ints, leader: int, read_ahead: int) -> bool:
    """Whether the state after a wave of `leader` can be the remembered one, or is to be remembered. Cheap.

    Modifies the search: counts the wave.
    """
    for t in range(leader):
        if team[t, STATUS] != DONE:
            return False
    tile = team[leader, TILE]
    kind = _WAVES if team[leader, WAVE] > tiles[tile, WAVE_LO] else _TILES
    if (kind == _WAVES and tiles[tile, PERIOD] == 0) or (kind == _TILES and tiles[tile, REPEAT] < 3):
        return False
    row = search[kind]
    if (
        row[_KNOWN] == 0
        or row[_LEADER] != leader
        or row[_LEADER_TILE] != tile
        or (kind == _WAVES and row[_LEADER_REP] != team[leader, REP])
    ):
        row[_KNOWN] = 0
        return True
    row[_SINCE] += 1
    return row[_READ_AHEAD] == read_ahead or row[_SINCE] >= row[_LIMIT]


@kernel
def fast_forward(p: Program, s: State, finder: Finder, leader: int, now: int) -> None:
    """After `leader` ended a wave at `now`: add whole rounds if the state is the remembered one; or remember it.

    Modifies s and finder in place.
    """
    row = s.team[leader]
    kind = _WAVES if row[WAVE] > p.tiles[row[TILE], WAVE_LO] else _TILES
    search, signature, present = finder.search[kind], finder.signatures[kind], finder.signatures[2]
    then = finder.within_tile if kind == _WAVES else finder.across_tiles
    length = _write_signature(p, s, now, present)
    if search[_KNOWN]:
        same = True
        for i in range(length):
            if present[i] != signature[i]:
                same = False
                break
        if same:
            rounds = _rounds_left(p, s, then, kind, leader)
            if rounds > 0:
                _add_rounds(p, s, then, rounds, now - search[_THEN])
                search[_KNOWN] = 0
                return
        if search[_SINCE] < search[_LIMIT]:
            return
        search[_LIMIT] *= 2
    else:
        search[_LIMIT] = 1
    for i in range(length):
        signature[i] = present[i]
    for i in range(len(s.buffer)):
        then.buffer[i] = s.buffer[i]
    search[_KNOWN] = 1
    search[_THEN] = now
    search[_LEADER] = leader
    search[_LEADER_TILE] = row[TILE]
    search[_LEADER_REP] = row[REP]
    search[_READ_AHEAD] = s.clock[READ_AT] - now * p.read_bytes_per_cycle
    search[_SINCE] = 0


@kernel
def _write_signature(p: Program, s: State, now: int, out: Ints) -> int:
    """Write the state relative to now into out (modified in place); returns how many numbers that takes.

    Everything that the future depends on is in it, except where the program stands (tile, repeat and wave of every
    team and stream, and the numbers that count them), which `_rounds_left` compares.
    """
    out[0] = s.clock[READ_AT] - now * p.read_bytes_per_cycle
    out[1] = max(s.clock[WRITE_AT] - now * p.write_bytes_per_cycle, 0)
    at = 2
    # Times before the last step end of every team have no effect any more: they all count as that moment.
    oldest = now
    for t in range(len(s.team)):
        out[at] = s.team[t, STATUS]
        at += 1
        if s.team[t, STATUS] == DONE:
            continue
        oldest = min(oldest, s.team[t, PREV_END])
        out[at] = s.team[t, STEP]
        out[at + 1] = s.team[t, MISSING]
        out[at + 2] = s.team[t, PREV_END] - now
        out[at + 3] = s.team[t, END] - now if s.team[t, STATUS] == RUNNING else 0
        at += 4
        for o in range(s.need.shape[1]):
            f = p.team_streams[t, o]
            out[at] = s.need[t, o] - s.stream[f, ITEM] if f >= 0 and not _is_silent(p, s, f) else 0
            at += 1
    for q in range(len(s.head)):
        head = s.head[q]
        out[at] = head
        out[at + 1] = s.turn[q]
        at += 2
        first_a_step, first_a_wave = EMPTY, EMPTY
        for f in range(p.queue_streams[q, 0], p.queue_streams[q, 1]):
            if _is_silent(p, s, f):
                out[at] = -1
                at += 1
                continue
            out[at] = s.stream[f, S_STEP]
            out[at + 1] = s.stream[f, FREE]
            out[at + 2] = s.stream[f, POSITION] - s.stream[head, POSITION] if head != EMPTY else 0
            # At one position of a queue the lower item goes first, among streams of the same kind.
            if p.streams[f, PER_STEP]:
                first_a_step = f if first_a_step == EMPTY else first_a_step
                out[at + 3] = s.stream[f, ITEM] - s.stream[first_a_step, ITEM]
            else:
                first_a_wave = f if first_a_wave == EMPTY else first_a_wave
                out[at + 3] = s.stream[f, ITEM] - s.stream[first_a_wave, ITEM]
            at += 4
            slots = p.streams[f, SLOTS]
            for i in range(slots):
                item = s.slot_item[f, i]
                if item != EMPTY:
                    # By the item's distance from the next, at most a few slots wide unless sharers skip items.
                    out[at] = s.stream[f, ITEM] - item
                    out[at + 1] = s.slot_pending[f, i]
                    out[at + 2] = max(s.slot_ready[f, i], oldest) - now
                    at += 3
            _sort_triples(out, at, slots - s.stream[f, FREE])
    for core in range(s.sums_free.shape[0]):
        for step in range(s.sums_free.shape[1]):
            out[at] = max(s.sums_free[core, step], oldest) - now
            at += 1
    return at


@kernel
def _sort_triples(out: Ints, end: int, count: int) -> None:
    """Insertion sort of the `count` triples that end at `end`, by their first number; modifies out in place.

    Which slot an item is in does not matter; without sorting, fewer states would be seen to agree.
    """
    lo = end - 3 * count
    for i in range(1, count):
        for k in range(i, 0, -1):
            a, b = lo + 3 * (k - 1), lo + 3 * k
            if out[a] <= out[b]:
                break
            for column in range(3):
                out[a + column], out[b + column] = out[b + column], out[a + column]


@kernel
def _is_silent(p: Program, s: State, f: int) -> bool:
    """Whether all of the stream has been read and used."""
    return s.stream[f, S_TILE] == p.streams[f, STREAM_TILE_HI] and s.stream[f, FREE] == p.streams[f, SLOTS]


@kernel
def _rounds_left(p: Program, s: State, then: State, kind: int, leader: int) -> int:
    """How many more rounds the program goes on as it did between the two states; 0 for none or unknown."""
    waves = s.team[leader, WAVE] - then.team[leader, WAVE]
    reps = s.team[leader, REP] - then.team[leader, REP]
    if (kind == _WAVES and waves <= 0) or (kind == _TILES and reps <= 0):
        return 0
    rounds = BEYOND
    for t in range(len(s.team)):
        a, b = s.team[t], then.team[t]
        if a[STATUS] == DONE:
            continue
        if a[TILE] != b[TILE] or a[WAVE] - b[WAVE] != waves or a[REP] - b[REP] != reps:
            return 0
        if kind == _TILES:
            rounds = min(rounds, (p.tiles[a[TILE], REPEAT] - 1 - a[REP]) // reps)
            continue
        # The first wave waits for sums and the last one drains them: only waves between are alike.
        if b[WAVE] == p.tiles[a[TILE], WAVE_LO]:
            return 0
        rounds = min(rounds, _waves_left(p, a[TILE], a[WAVE], p.tiles[a[TILE], WAVE_HI] - 2, waves))
    for f in range(len(s.stream)):
        a, b = s.stream[f], then.stream[f]
        if _is_silent(p, s, f):
            continue
        if a[S_TILE] != b[S_TILE] or a[S_WAVE] - b[S_WAVE] != waves or a[S_REP] - b[S_REP] != reps:
            return 0
        # Places in the queue must have moved as far as the steps they stand for (not yet so at the very start).
        moved = a[POSITION] - b[POSITION]
        if p.streams[f, PER_STEP]:
            if moved != a[ITEM] - b[ITEM]:
                return 0
        elif moved != a[FIRST_STEP] - b[FIRST_STEP] or moved != a[PREV_FIRST_STEP] - b[PREV_FIRST_STEP]:
            return 0
        if kind == _TILES:
            rounds = min(rounds, (p.tiles[a[S_TILE], REPEAT] - 1 - a[S_REP]) // reps)
        else:
            rounds = min(rounds, _waves_left(p, a[S_TILE], a[S_WAVE], p.tiles[a[S_TILE], WAVE_HI] - 1, waves))
    return rounds


@kernel
def _waves_left(p: Program, tile: int, wave: int, last: int, waves: int) -> int:
    """Rounds of so many waves until the tile's alike rows, or row `last`, are left."""
    if p.tiles[tile, PERIOD] == 0 or waves % p.tiles[tile, PERIOD] != 0:
        return 0
    return max(0, min(last, p.tiles[tile, PERIODIC_HI] - 1) - wave) // waves


@kernel
def _add_rounds(p: Program, s: State, then: State, rounds: int, round_cycles: int) -> None:
    """Move s on by whole rounds like the one from `then` to s, in place."""
    cycles = rounds * round_cycles
    for t in range(len(s.team)):
        if s.team[t, STATUS] == DONE:
            continue
        s.team[t, PREV_END] += cycles
        s.team[t, END] += cycles
        s.team[t, WAVE] += rounds * (s.team[t, WAVE] - then.team[t, WAVE])
        s.team[t, REP] += rounds * (s.team[t, REP] - then.team[t, REP])
        for o in range(s.need.shape[1]):
            s.need[t, o] += rounds * (s.need[t, o] - then.need[t, o])
    for f in range(len(s.stream)):
        items = rounds * (s.stream[f, ITEM] - then.stream[f, ITEM])
        slots = p.streams[f, SLOTS]
        for i in range(slots):  # each item keeps its slot; they are put where their new numbers ask for them below
            if s.slot_item[f, i] != EMPTY:
                s.slot_item[f, i] += items
                s.slot_ready[f, i] += cycles
        _settle_slots(s.slot_item[f], s.slot_ready[f], s.slot_pending[f], slots)
        for column in (S_WAVE, S_REP, ITEM, POSITION, FIRST_STEP, PREV_FIRST_STEP):
            s.stream[f, column] += rounds * (s.stream[f, column] - then.stream[f, column])
        for column in range(2):
            s.stream_bytes[f, column] += rounds * (s.stream_bytes[f, column] - then.stream_bytes[f, column])
    for core in range(len(s.output_end)):
        if s.output_end[core] != then.output_end[core]:
            s.output_end[core] += cycles
        for step in range(s.sums_free.shape[1]):
            s.sums_free[core, step] += cycles
        for cause in range(s.core_cycles.shape[1]):
            s.core_cycles[core, cause] += rounds * (s.core_cycles[core, cause] - then.core_cycles[core, cause])
    events = s.clock[EVENTS] + s.clock[EVENTS_ADDED] - then.clock[EVENTS] - then.clock[EVENTS_ADDED]
    s.clock[EVENTS_ADDED] += rounds * events
    if s.clock[OUTPUT_END] != then.clock[OUTPUT_END]:
        s.clock[OUTPUT_END] += cycles
    s.clock[READ_AT] += cycles * p.read_bytes_per_cycle
    s.clock[WRITE_AT] += cycles * p.write_bytes_per_cycle
    s.written[0] += rounds * (s.written[0] - then.written[0])


@kernel
def _settle_slots(item: Ints, ready: Ints, pending: Ints, slots: int) -> None:
    """Rotate a stream's slots until each item stands where its number asks for it; modifies the rows in place.

    All items have moved on by the same number, so one rotation puts all of them right that were right before. This is
    for speed: the engine would find them in any slot.
    """
    for _ in range(slots):
        for i in range(slots):
            if item[i] != EMPTY and item[i] % slots != i:
                break
        else:
            return
        last = slots - 1
        last_item, last_ready, last_pending = item[last], ready[last], pending[last]
        for i in range(last, 0, -1):
            item[i], ready[i], pending[i] = item[i - 1], ready[i - 1], pending[i - 1]
        item[0], ready[0], pending[0] = last_item, last_ready, last_pending
