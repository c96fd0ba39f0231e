"""What the engine's kernels keep of the level behind the SMEM: its part of the program, and its state (D8-D16)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..formats.jit import kernel
from .engine_state import BEYOND, DONE, S_TILE, STATUS, TILE, WAVE, Program, State
from .event_log import BACK, CARRIED, EMPTIED, FILLED, note
from .plan import (
    CELL_FIELDS,
    INPUT_BASE,
    INPUT_LATER,
    NEED_CELL,
    NEVER,
    PIECES,
    SIZE_LO,
    STREAM_TILE_HI,
    TEAM_TILE_HI,
    TEAM_TILE_LO,
    WAVE_HI,
    WAVE_LO,
    Ints,
    Plan,
)

# Columns of MemoryState.fill: the visit and the place in it of the piece that is moved next, its number, how much of it
# is left (0: not begun), pieces freed, pieces there, and the cycle from which the last of these is.
VISIT, PLACE, NEXT, LEFT, FREED, WRITTEN, LAST_READY = range(7)

# Columns of MemoryState.arrivals: cycle, bytes, fill stream, whether the piece is whole with it.
AT, BYTES, STREAM, WHOLE = range(4)

# Columns of MemoryState.backlog: whose write-back, its bytes, the cycle of its last byte into the SMEM.
TEAM, AMOUNT, SINCE = range(3)

# Columns of MemoryState.buffers: first cycle on the channel, bytes there, whose; first cycle in which it is free.
READY, MOVES, OWNER, FREE_AT = range(4)
BUFFERS = 2

# Columns of MemoryState.team: number of its cell; write-backs read, and when the last two of them were; the cycle after
# the last byte it sent; the lowest pieces it still needs.
CELL, READ_BACK, EVEN_AT, ODD_AT, SENT_UNTIL, KEEPS = range(6)
TEAM_COLUMNS = 7

# MemoryState.clock: the channel's byte position, and that after its last byte; first and last of arrivals and of the
# backlog, what is left of the backlog's head; bursts read from the SMEM and sent; bytes of write-backs read from the
# SMEM, sent, and of residual inputs; channel bytes after the last step's end, and that cycle.
(
    CHANNEL_AT, CHANNEL_END, ARRIVED, COMING, BACK_FIRST, BACK_LAST, BACK_LEFT, BURSTS_READ, BURSTS_SENT, READ_BYTES,
    SENT_BYTES, RESIDUAL_BYTES, TAIL_BUSY, STEPS_END,
) = range(14)  # fmt: skip


class MemoryProgram(NamedTuple):
    """A plan's `Memory` as the kernels see it; `plan.Memory` documents it. Without one, bytes_per_cycle is 0."""

    bytes_per_cycle: int
    latency: int
    burst: int
    writes_back: int
    residual: int
    output_bytes: int
    nonzeros: int
    values: int
    cells: Ints
    stream_fill: Ints
    item_pieces: Ints
    step_pieces: Ints
    visits: Ints  # of both streams, one after the other
    visit_ranges: Ints  # (2, 2): of each stream [lo, hi)
    sizes: Ints  # of both streams; the visits' rows are shifted
    slots: Ints  # (2,)
    prefetched: Ints  # (2,)


class MemoryState(NamedTuple):
    """What changes behind the SMEM during a run. All int64, modified in place by the kernels."""

    fill: Ints  # (2, 7)
    ready: Ints  # (2, slots): first cycle in which a piece is there, by its number modulo the slots
    arrivals: Ints  # (n, 4): bursts on their way, a ring
    backlog: Ints  # (team rows, 3): write-backs, in order
    buffers: Ints  # (2, 4)
    team: Ints  # (teams, 7)
    clock: Ints  # (14,)


def memory_program(plan: Plan) -> MemoryProgram:
    """Lay the memory of a plan out for the kernels."""
    memory = plan.memory
    if memory is None:
        empty = np.zeros((0, 2), np.int64)
        return MemoryProgram(
            0, 1, 1, 0, 0, 1, 0, 0, np.zeros((0, CELL_FIELDS), np.int64), np.zeros(0, np.int64), empty, empty,
            np.zeros((0, 3), np.int64), np.zeros((2, 2), np.int64), np.zeros(0, np.int64), np.ones(2, np.int64),
            np.zeros(2, np.int64),
        )  # fmt: skip
    inputs, weights = memory.fills
    shifted = weights.visits.copy()
    shifted[:, SIZE_LO] += len(inputs.sizes)
    counts = len(inputs.visits), len(weights.visits)
    return MemoryProgram(
        bytes_per_cycle=memory.bytes_per_cycle,
        latency=memory.latency_cycles,
        burst=memory.burst_bytes,
        writes_back=int(memory.writes_back),
        residual=int(memory.residual),
        output_bytes=memory.output_bytes,
        nonzeros=memory.nonzeros,
        values=memory.values,
        cells=memory.cells,
        stream_fill=memory.stream_fill,
        item_pieces=np.ascontiguousarray(memory.item_pieces, np.int64),
        step_pieces=np.ascontiguousarray(memory.step_pieces, np.int64),
        visits=np.concatenate([inputs.visits, shifted]),
        visit_ranges=np.array([[0, counts[0]], [counts[0], sum(counts)]], np.int64),
        sizes=np.concatenate([inputs.sizes, weights.sizes]),
        slots=np.array([inputs.slots, weights.slots], np.int64),
        prefetched=np.array([inputs.prefetched, weights.prefetched], np.int64),
    )


def memory_state(plan: Plan, m: MemoryProgram) -> MemoryState:
    """The state before the first cycle: pieces prefetched are there, nothing else."""
    teams = len(plan.teams)
    rows = int((plan.teams[:, TEAM_TILE_HI] - plan.teams[:, TEAM_TILE_LO]).sum()) if m.bytes_per_cycle else 0
    largest = int(m.sizes.max(initial=1))
    # No more bursts are on their way than the channel sends within its latency, nor than there are.
    bursts = int(m.visits[:, PIECES].sum()) * -(-largest // m.burst)
    coming = min((m.latency + 1) * max(m.bytes_per_cycle, 1), bursts) + 2
    state = MemoryState(
        fill=np.zeros((2, 7), np.int64),
        ready=np.zeros((2, int(m.slots.max())), np.int64),
        arrivals=np.zeros((coming, 4), np.int64),
        backlog=np.zeros((rows, 3), np.int64),
        buffers=np.zeros((BUFFERS, 4), np.int64),
        team=np.zeros((teams, TEAM_COLUMNS), np.int64),
        clock=np.zeros(14, np.int64),
    )
    for f in range(2):
        state.fill[f, VISIT] = m.visit_ranges[f, 0]
        left = int(m.prefetched[f])
        state.fill[f, NEXT] = state.fill[f, WRITTEN] = left
        while left and state.fill[f, VISIT] < m.visit_ranges[f, 1]:
            pieces = m.visits[state.fill[f, VISIT], PIECES]
            if left < pieces:
                state.fill[f, PLACE], left = left, 0
            else:
                state.fill[f, VISIT] += 1
                left -= pieces
    return state


@kernel
def update_needs(m: MemoryProgram, d: MemoryState, team: Ints, tiles: Ints, t: int, done: bool) -> None:
    """After team t moved on: the lowest pieces it still needs, and the slots that are freed by that (D9).

    Modifies d in place.
    """
    for f in range(2):
        lowest = NEVER
        if not done:
            tile, wave = team[t, TILE], team[t, WAVE]
            lowest = m.cells[tile, INPUT_LATER + f]
            if wave < tiles[tile, WAVE_HI] and m.cells[tile, INPUT_BASE + f] >= 0:
                piece = m.cells[tile, INPUT_BASE + f] + m.step_pieces[wave, f]
                if piece >= 0:
                    lowest = min(lowest, piece)
        d.team[t, KEEPS + f] = lowest
        for other in range(len(team)):
            lowest = min(lowest, d.team[other, KEEPS + f])
        d.fill[f, FREED] = lowest


@kernel
def piece_of_item(m: MemoryProgram, f: int, tile: int, item: int) -> int:
    """The piece that an item of stream f comes from, -1 for none."""
    fill = m.stream_fill[f]
    base = m.cells[tile, INPUT_BASE + fill]
    return base + m.item_pieces[item, fill] if base >= 0 else -1


@kernel
def there_from(m: MemoryProgram, d: MemoryState, fill: int, piece: int) -> int:
    """The cycle from which a piece is there (D13): BEYOND if that is not known yet, 0 for no piece."""
    if piece < 0:
        return 0
    if piece >= d.fill[fill, WRITTEN]:
        return BEYOND
    return d.ready[fill, piece % m.slots[fill]]


@kernel
def next_fill(m: MemoryProgram, d: MemoryState) -> int:
    """The stream whose piece the channel would move: with a slot, needed first (D10); -1 for none."""
    best = -1
    for f in range(2):
        if d.fill[f, VISIT] == m.visit_ranges[f, 1] or d.fill[f, NEXT] >= d.fill[f, FREED] + m.slots[f]:
            continue
        if best < 0:
            best = f
            continue
        sooner = m.visits[d.fill[f, VISIT], NEED_CELL] - m.visits[d.fill[best, VISIT], NEED_CELL]
        if sooner == 0:
            sooner = d.fill[f, PLACE] - d.fill[best, PLACE]
        if sooner < 0:
            best = f
    return best


@kernel
def writeback_from(d: MemoryState) -> int:
    """The cycle from which the next burst of the backlog can be read (D14); BEYOND if that is not known yet."""
    if d.clock[BACK_FIRST] == d.clock[BACK_LAST] or d.clock[BURSTS_SENT] < d.clock[BURSTS_READ] - 1:
        return BEYOND
    buffer = d.clock[BURSTS_READ] % BUFFERS
    return max(d.backlog[d.clock[BACK_FIRST], SINCE] + 1, d.buffers[buffer, FREE_AT])


@kernel
def channel_from(m: MemoryProgram, d: MemoryState) -> int:
    """The cycle in which the channel takes its next burst; BEYOND for none."""
    now, sent = d.clock[CHANNEL_AT] // m.bytes_per_cycle, d.clock[BURSTS_SENT]
    if next_fill(m, d) >= 0:
        return now
    if sent < d.clock[BURSTS_READ]:
        return max(now, d.buffers[sent % BUFFERS, READY])
    return BEYOND


@kernel
def read_back(m: MemoryProgram, d: MemoryState, read_at: int, read_bw: int, latency: int) -> int:
    """Read a burst of the backlog through the read port, which stands at read_at; returns where it stands then.

    Modifies d in place.
    """
    head, buffer = d.clock[BACK_FIRST], d.clock[BURSTS_READ] % BUFFERS
    if d.clock[BACK_LEFT] == 0:
        d.clock[BACK_LEFT] = d.backlog[head, AMOUNT]
    size = min(d.clock[BACK_LEFT], m.burst)
    last = (read_at + size - 1) // read_bw
    moves = size
    if m.values > 0:
        values = size // m.output_bytes
        moves = -(-values * m.nonzeros // m.values) * m.output_bytes + -(-values // 8)
    t = d.backlog[head, TEAM]
    d.buffers[buffer, READY] = last + latency
    d.buffers[buffer, MOVES] = moves
    d.buffers[buffer, OWNER] = t
    d.clock[BURSTS_READ] += 1
    d.clock[READ_BYTES] += size
    d.clock[BACK_LEFT] -= size
    if d.clock[BACK_LEFT] == 0:
        d.clock[BACK_FIRST] += 1
        d.team[t, EVEN_AT + d.team[t, READ_BACK] % 2] = last + 1
        d.team[t, READ_BACK] += 1
    return read_at + size


@kernel
def move_burst(m: MemoryProgram, d: MemoryState, now: int, tail: bool) -> None:
    """The channel takes its next burst in cycle `now` (D10, D11, D14, D15); modifies d in place.

    tail : whether all steps have ended.
    """
    bandwidth = m.bytes_per_cycle
    at, sent = max(d.clock[CHANNEL_AT], now * bandwidth), d.clock[BURSTS_SENT]
    buffer = sent % BUFFERS
    if sent < d.clock[BURSTS_READ] and d.buffers[buffer, READY] <= now:
        size = d.buffers[buffer, MOVES]
        d.clock[SENT_BYTES] += size
        if m.residual:
            d.clock[RESIDUAL_BYTES] += size
            size *= 2
        last = (at + size - 1) // bandwidth
        d.buffers[buffer, FREE_AT] = last + 1
        d.team[d.buffers[buffer, OWNER], SENT_UNTIL] = last + 1
        d.clock[BURSTS_SENT] += 1
    else:
        f = next_fill(m, d)
        row = d.fill[f]
        if row[LEFT] == 0:
            row[LEFT] = m.sizes[m.visits[row[VISIT], SIZE_LO] + row[PLACE]]
        size = min(row[LEFT], m.burst)
        row[LEFT] -= size
        arrival = d.arrivals[d.clock[COMING] % len(d.arrivals)]
        arrival[AT] = (at + size - 1) // bandwidth + m.latency
        arrival[BYTES] = size
        arrival[STREAM] = f
        arrival[WHOLE] = int(row[LEFT] == 0)
        d.clock[COMING] += 1
        if row[LEFT] == 0:
            row[NEXT] += 1
            row[PLACE] += 1
            if row[PLACE] == m.visits[row[VISIT], PIECES]:
                row[PLACE] = 0
                row[VISIT] += 1
    d.clock[CHANNEL_AT] = d.clock[CHANNEL_END] = at + size
    if tail:
        d.clock[TAIL_BUSY] += size


@kernel
def arrive(m: MemoryProgram, d: MemoryState, write_at: int, write_bw: int) -> int:
    """Write the next burst that arrives into the SMEM (D12); returns where the write port stands then.

    Modifies d in place.
    """
    arrival = d.arrivals[d.clock[ARRIVED] % len(d.arrivals)]
    d.clock[ARRIVED] += 1
    write_at = max(write_at, arrival[AT] * write_bw) + arrival[BYTES]
    if arrival[WHOLE]:
        row = d.fill[arrival[STREAM]]
        row[LAST_READY] = (write_at - 1) // write_bw + 1
        d.ready[arrival[STREAM], row[WRITTEN] % m.slots[arrival[STREAM]]] = row[LAST_READY]
        row[WRITTEN] += 1
    return write_at


@kernel
def note_arrival(d: MemoryState, write_at: int, logged: Ints, window: Ints) -> None:
    """Write down the burst that `arrive` has written up to write_at; modifies the log."""
    arrival = d.arrivals[(d.clock[ARRIVED] - 1) % len(d.arrivals)]
    f, whole = arrival[STREAM], arrival[WHOLE]
    piece = d.fill[f, WRITTEN] - whole
    note(logged, window, FILLED, f, piece, 0, write_at - arrival[BYTES], write_at, arrival[AT], whole)


@kernel
def note_burst(d: MemoryState, sent: int, begun: int, logged: Ints, window: Ints) -> None:
    """Write down the burst that `move_burst` has moved from byte begun on; modifies the log.

    sent : write-back bursts sent before it.
    """
    if d.clock[BURSTS_SENT] > sent:
        who, piece = BACK + d.buffers[sent % BUFFERS, OWNER], 0
    else:
        arrival = d.arrivals[(d.clock[COMING] - 1) % len(d.arrivals)]
        who, piece = arrival[STREAM], d.fill[arrival[STREAM], NEXT] - arrival[WHOLE]
    note(logged, window, CARRIED, who, piece, 0, begun, d.clock[CHANNEL_AT], 0, 0)


@kernel
def note_read_back(d: MemoryState, begun: int, read_at: int, logged: Ints, window: Ints) -> None:
    """Write down the burst that `read_back` has read from byte begun to read_at; modifies the log."""
    buffer = (d.clock[BURSTS_READ] - 1) % BUFFERS
    note(
        logged, window, EMPTIED, d.buffers[buffer, OWNER], 0, buffer, begun, read_at, d.buffers[buffer, READY], 0
    )  # fmt: skip


@kernel
def sends_later(m: MemoryProgram, d: MemoryState, t: int) -> bool:
    """Whether write-backs of team t have still to be read or sent."""
    if m.writes_back == 0:
        return False
    for burst in range(d.clock[BURSTS_SENT], d.clock[BURSTS_READ]):
        if d.buffers[burst % BUFFERS, OWNER] == t:
            return True
    return d.team[t, READ_BACK] < d.team[t, CELL]


@kernel
def add_writeback(d: MemoryState, t: int, amount: int, last_byte: int) -> None:
    """Team t's outputs of a cell are in the SMEM, their last byte in this cycle (D14); modifies d in place."""
    row = d.backlog[d.clock[BACK_LAST]]
    row[TEAM] = t
    row[AMOUNT] = amount
    row[SINCE] = last_byte
    d.clock[BACK_LAST] += 1


@kernel
def staged_from(d: MemoryState, t: int) -> int:
    """The cycle from which the first step of team t's cell may start (D16): BEYOND if that is not known yet."""
    cell = d.team[t, CELL]
    if cell < 2:
        return 0
    if d.team[t, READ_BACK] < cell - 1:
        return BEYOND
    return d.team[t, EVEN_AT + cell % 2]


@kernel
def is_quiet(m: MemoryProgram, d: MemoryState, p: Program, s: State, now: int) -> bool:
    """Whether nothing moves behind the SMEM, nor will before some team's tile ends, and nobody will wait for it.

    Then a repetition within tiles is one of the whole machine.
    """
    if (
        d.clock[ARRIVED] != d.clock[COMING]
        or d.clock[BACK_FIRST] != d.clock[BACK_LAST]
        or d.clock[BURSTS_SENT] != d.clock[BURSTS_READ]
        or d.clock[CHANNEL_AT] > now * m.bytes_per_cycle
        or max(d.fill[0, LAST_READY], d.fill[1, LAST_READY]) > now
        or next_fill(m, d) >= 0
    ):
        return False
    for t in range(len(s.team)):
        if s.team[t, STATUS] == DONE:
            continue
        tile = s.team[t, TILE]
        for f in range(2):
            first, last = m.step_pieces[p.tiles[tile, WAVE_LO], f], m.step_pieces[p.tiles[tile, WAVE_HI] - 1, f]
            base = m.cells[tile, INPUT_BASE + f]
            frees = first < last and m.cells[tile, INPUT_LATER + f] > base + first
            if base >= 0 and frees and d.fill[f, VISIT] < m.visit_ranges[f, 1]:
                return False  # a piece freed by a wave makes room for another
    for f in range(len(s.stream)):
        tile = s.stream[f, S_TILE]
        if tile < p.streams[f, STREAM_TILE_HI]:
            piece = piece_of_item(m, f, tile, p.tiles[tile, WAVE_HI] - 1)
            if piece >= d.fill[m.stream_fill[f], WRITTEN]:
                return False
    return True
