"""The event engine: runs any plan, cycle-exactly, and knows no architecture.

Two kinds of events move time: a team's step ends, or the read port takes its next transfer; with a DRAM behind the
SMEM two more (`memory_state.py`): a burst arrives, or the channel takes its next. They are handled in order of time,
step ends first, then lower team first, so that a slot freed by a step whose last cycle is t-1 is there for a transfer
in t. Everything else follows at once from one of them: a step starts when its last operand is scheduled or the step
before it ends; sums drain when a step of the last wave ends. Ports keep their place as bytes, so that nothing is
rounded between transfers (M11).

A tile without waves is no event: its outputs are written when the tile before it ends (M25). What happens in a window
of cycles can be written down event by event (`event_log.py`).

Where a plan repeats itself the engine meets the same state again, a fixed number of cycles later. It then adds the
whole repetitions that are left (`fast_forward.py`): the same result, exactly, for a fraction of the events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..formats.jit import kernel
from .control import PROGRESS, STOP, Control, Interrupted
from .engine_state import (
    ALL_QUEUES,
    BEYOND,
    BUSY_CYCLES,
    CYCLES,
    DONE,
    DRAIN_CYCLES,
    DRAM_CYCLES,
    EMPTY,
    END,
    EVENTS,
    EVENTS_ADDED,
    FIRST_STEP,
    FREE,
    IDLE_CYCLES,
    ITEM,
    MISSING,
    MOVED,
    NO_QUEUE,
    OUTPUT_END,
    POSITION,
    PREV_END,
    PREV_FIRST_STEP,
    READ_AT,
    REP,
    RF_CYCLES,
    RUNNING,
    S_REP,
    S_STEP,
    S_TILE,
    S_WAVE,
    SKIPPED,
    SMEM_CYCLES,
    STATUS,
    STEP,
    SYNC_CYCLES,
    TILE,
    WAITING,
    WAVE,
    WRITE_AT,
    Program,
    State,
    empty_state,
    program_of,
)
from .event_log import (
    COUNT,
    FIRST,
    FREED,
    FROM,
    KIND,
    LAST,
    READ,
    STEPPED,
    VACANT,
    WAITED,
    WRITTEN,
    EventLog,
    Recorder,
    note,
    recorder,
    write_row,
)
from .fast_forward import Finder, fast_forward, new_finder, worth_a_look
from .memory_state import (
    ARRIVED,
    AT,
    BURSTS_SENT,
    BYTES,
    CELL,
    CHANNEL_AT,
    CHANNEL_END,
    COMING,
    KEEPS,
    READ_BYTES,
    RESIDUAL_BYTES,
    SENT_BYTES,
    SENT_UNTIL,
    STEPS_END,
    TAIL_BUSY,
    MemoryProgram,
    MemoryState,
    add_writeback,
    arrive,
    channel_from,
    is_quiet,
    memory_program,
    memory_state,
    move_burst,
    note_arrival,
    note_burst,
    note_read_back,
    read_back,
    sends_later,
    staged_from,
    there_from,
    update_needs,
    writeback_from,
)
from .memory_state import WRITTEN as WRITTEN_PIECES
from .plan import (
    ACTIVE,
    BUSY,
    CORES,
    EVERY_MEMBER,
    FIRST_CORE,
    INPUT_BASE,
    ITEM_COLUMN,
    LAG,
    MEMBER,
    NEVER,
    PASS,
    PER_STEP,
    REPEAT,
    RF,
    SLOTS,
    STEPS,
    STREAM_TILE_HI,
    STREAM_TILE_LO,
    TAIL_COLUMNS,
    TEAM_TILE_HI,
    TEAM_TILE_LO,
    WAVE_HI,
    WAVE_LO,
    Ints,
    Memory,
    Plan,
)

_FINISHED, _STOPPED, _STUCK, _BEYOND_WINDOW = range(4)

MOST_LOGGED = 1 << 20  # events of a log, 64 bytes each


@dataclass(frozen=True, kw_only=True)
class MemoryTiming:
    """What moved between DRAM and SMEM, in bytes (D19).

    Attributes
    ----------
    writeback_bytes : int
        Read from the SMEM.
    sent_bytes, residual_bytes : int
        Written to DRAM, and read for residual inputs.
    spare_bytes : int
        What the channel could still have moved between the last step's end and the end.
    """

    writeback_bytes: int
    sent_bytes: int
    residual_bytes: int
    spare_bytes: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the engine measured of one plan.

    Attributes
    ----------
    cycles : int
    core_cycles : int64, (cores, 7)
        Cycles of each core by cause, in the order of `engine_state.CAUSES`; every row adds up to `cycles`.
    stream_bytes, stream_metadata_bytes : int64, (streams,)
        Bytes each stream read, and how many of them were metadata.
    smem_write_bytes : int
        Outputs, and pieces from DRAM, those prefetched left out.
    memory : MemoryTiming or None
        None without a DRAM.
    events : int
        Transfers and step ends handled one by one.
    events_represented : int
        The same, with those of the repetitions that were added whole.
    """

    cycles: int
    core_cycles: Ints
    stream_bytes: Ints
    stream_metadata_bytes: Ints
    smem_write_bytes: int
    memory: MemoryTiming | None
    events: int
    events_represented: int


def run(plan: Plan, *, control: Control | None = None, skip_repetitions: bool = True) -> Timing:
    """Run a plan.

    Parameters
    ----------
    plan : Plan
    control : Control, optional
        For another thread to stop the run, or to watch it.
    skip_repetitions : bool
        Whether repetitions are added whole. The result is the same either way; without, every event is handled
        one by one.

    Raises
    ------
    Interrupted
        `control.stop()` was called.
    OverflowError
        The run could be longer than the engine's integers reach.
    RuntimeError
        A team needs an item that its stream does not hold, or an item is never used: the lowering is at fault.
    """
    state, behind, _ = _start(plan, recorder(0, 0, 0), skip_repetitions, control)
    return Timing(
        cycles=int(state.clock[CYCLES]),
        core_cycles=state.core_cycles,
        stream_bytes=state.stream_bytes[:, 0].copy(),
        stream_metadata_bytes=state.stream_bytes[:, 1].copy(),
        smem_write_bytes=int(state.written[0]),
        memory=_memory_timing(plan.memory, behind, int(state.clock[CYCLES])) if plan.memory else None,
        events=int(state.clock[EVENTS]),
        events_represented=int(state.clock[EVENTS] + state.clock[EVENTS_ADDED]),
    )


def _memory_timing(memory: Memory, behind: MemoryState, cycles: int) -> MemoryTiming:
    clock = behind.clock
    return MemoryTiming(
        writeback_bytes=int(clock[READ_BYTES]),
        sent_bytes=int(clock[SENT_BYTES]),
        residual_bytes=int(clock[RESIDUAL_BYTES]),
        spare_bytes=(cycles - int(clock[STEPS_END])) * memory.bytes_per_cycle - int(clock[TAIL_BUSY]),
    )


def record(
    plan: Plan, first: int, last: int, *, most_events: int = MOST_LOGGED, control: Control | None = None
) -> EventLog:
    """Run a plan, event by event, and write down what touches cycles first to last - 1.

    The window is shortened from its end until no more than `most_events` happen in it.

    Raises
    ------
    As `run`; ValueError for an empty window.
    """
    if not 0 <= first < last:
        raise ValueError(f"window {first} to {last}: must be at least one cycle, from 0 on")
    capacity = min(most_events, 64 * (last - first))
    held = len(plan.streams) * int(plan.streams[:, SLOTS].max(initial=1))
    while True:
        log = recorder(capacity, first, last, held)
        state, _, status = _start(plan, log, False, control)
        needed = int(log.window[COUNT]) - held
        if needed <= capacity:
            break
        if capacity < most_events:
            capacity = min(most_events, needed)
        else:
            last = first + max(1, min((last - first) // 2, (last - first) * capacity // needed))
            if last == first + 1:
                capacity = most_events = needed
    finished = status == _FINISHED
    if finished:
        last = min(last, int(state.clock[CYCLES]))
    rows = log.rows[: int(log.window[COUNT])]
    later = (rows[:, KIND] == WAITED) & (rows[:, FROM] >= last)
    return EventLog(rows=rows[(rows[:, KIND] != VACANT) & ~later], first=first, last=last, finished=finished)


def _start(
    plan: Plan, log: Recorder, skip_repetitions: bool, control: Control | None
) -> tuple[State, MemoryState, int]:
    """Run a plan to its end, or to that of the log's window."""
    control = control or Control()
    plan.check_range()
    most_steps = int(plan.tiles[:, STEPS].max(initial=1))
    state = empty_state(plan, most_steps)
    finder = new_finder(empty_state(plan, most_steps), empty_state(plan, most_steps))
    behind = memory_program(plan)
    memory = memory_state(plan, behind)
    status = _run(program_of(plan), state, behind, memory, finder, log, skip_repetitions, control.words)
    if status == _STOPPED:
        raise Interrupted
    if status == _STUCK:
        raise RuntimeError("plan: a stream's items and what its teams need contradict each other")
    return state, memory, status


@kernel
def _run(
    p: Program, s: State, m: MemoryProgram, d: MemoryState, finder: Finder, log: Recorder, skip_repetitions: bool,
    control: Ints,
) -> int:  # fmt: skip
    """Run the program to its end, or to that of the log's window.

    Modifies s, d, finder, log and control[PROGRESS] in place; returns a status.

    One long function: Numba counts references to every array of a tuple that it passes on, which costs more than
    an event does.
    """
    columns, latency, pipeline = p.columns, p.latency, p.pipeline
    read_bw, write_bw = p.read_bytes_per_cycle, p.write_bytes_per_cycle
    teams, team_streams, streams, stream_teams = p.teams, p.team_streams, p.streams, p.stream_teams
    queue_streams, queue_priority, tiles, drain_bytes = (
        p.queue_streams,
        p.queue_priority,
        p.tiles,
        p.drain_bytes,
    )
    waves, item_bytes, item_metadata_bytes = p.waves, p.item_bytes, p.item_metadata_bytes
    item_sharers, advance = p.item_sharers, p.advance
    team, need, stream, head, turn, clock = s.team, s.need, s.stream, s.head, s.turn, s.clock
    slot_item, slot_ready, slot_pending = s.slot_item, s.slot_ready, s.slot_pending
    sums_free, output_end, core_cycles = s.sums_free, s.output_end, s.core_cycles
    logged, window, written = log.rows, log.window, s.written
    logging = len(logged) > 0
    team_count, operand_count, queue_count = len(teams), team_streams.shape[1], len(queue_streams)
    dram, channel_bw, teams_left = m.bytes_per_cycle > 0, m.bytes_per_cycle, 0
    cells, stream_fill, item_pieces, fill_slots = m.cells, m.stream_fill, m.item_pieces, m.slots
    fill, piece_ready, arrivals, behind = d.fill, d.ready, d.arrivals, d.clock
    # What is only looked at again after it can have changed: the cycles of the channel's next burst and of the
    # backlog's next read, and those from which the queues' heads are there.
    look_behind, moving, backing = dram, BEYOND, BEYOND
    head_there = np.full(queue_count, BEYOND)

    for t in range(team_count):
        team[t, TILE] = teams[t, TEAM_TILE_LO]
        team[t, STATUS] = DONE
        if teams[t, TEAM_TILE_LO] < teams[t, TEAM_TILE_HI]:
            team[t, WAVE] = tiles[teams[t, TEAM_TILE_LO], WAVE_LO]
            team[t, STATUS] = MOVED
            if tiles[team[t, TILE], WAVE_LO] == tiles[team[t, TILE], WAVE_HI]:
                _pass_empty_tiles(
                    t, pipeline, write_bw, teams, team, tiles, drain_bytes, sums_free, output_end, clock, written,
                    m, d, logged, window,
                )  # fmt: skip
        teams_left += int(team[t, STATUS] != DONE)
        need[t] = -1
    if dram:
        for t in range(team_count):
            for source in range(2):
                d.team[t, KEEPS + source] = NEVER
        for t in range(team_count):
            update_needs(m, d, team, tiles, t, team[t, STATUS] == DONE)
    for f in range(len(streams)):
        stream[f, S_TILE] = streams[f, STREAM_TILE_LO]
        stream[f, FREE] = streams[f, SLOTS]
        if streams[f, STREAM_TILE_LO] < streams[f, STREAM_TILE_HI]:
            stream[f, S_WAVE] = tiles[streams[f, STREAM_TILE_LO], WAVE_LO]
    served, status = ALL_QUEUES, _FINISHED

    while True:
        if control[STOP]:
            return _STOPPED

        # Teams that moved on: what does the next step need, and is it scheduled? (M12)
        for t in range(team_count):
            if team[t, STATUS] != MOVED:
                continue
            team[t, STATUS] = WAITING
            team[t, MISSING] = 0
            active = tiles[team[t, TILE], ACTIVE]
            for o in range(operand_count):
                f = team_streams[t, o]
                if f < 0 or streams[f, MEMBER] >= active:
                    continue
                if streams[f, PER_STEP]:
                    need[t, o] += 1
                elif team[t, STEP] == 0:
                    need[t, o] += advance[team[t, WAVE], o]
                else:
                    continue
                if need[t, o] >= stream[f, ITEM]:
                    team[t, MISSING] += 1

        # Teams that miss nothing start their step in the first cycle they can (M12), and say why not earlier (M17).
        for t in range(team_count):
            if team[t, STATUS] != WAITING or team[t, MISSING] > 0:
                continue
            arrived = team[t, PREV_END]  # from when on nothing from DRAM is missing (D16, D18)
            if dram and team[t, STEP] == 0:
                if m.writes_back and team[t, WAVE] == tiles[team[t, TILE], WAVE_LO]:
                    arrived = max(arrived, staged_from(d, t))
                    if arrived == BEYOND:
                        continue
                for source in range(2):
                    base = cells[team[t, TILE], INPUT_BASE + source]
                    if base >= 0:
                        arrived = max(arrived, there_from(m, d, source, base + m.step_pieces[team[t, WAVE], source]))
            tile, wave, step, previous = team[t, TILE], team[t, WAVE], team[t, STEP], team[t, PREV_END]
            first_core, active = teams[t, FIRST_CORE], tiles[tile, ACTIVE]
            new_tile = wave == tiles[tile, WAVE_LO]
            shared_ready, start = arrived, arrived
            for o in range(operand_count):
                f = team_streams[t, o]
                if f >= 0 and streams[f, MEMBER] < active and (step == 0 or streams[f, PER_STEP]):
                    slot = _slot_with(slot_item, f, need[t, o], need[t, o], streams[f, SLOTS])
                    if slot < 0:
                        return _STUCK
                    start = max(start, slot_ready[f, slot])
                    if streams[f, MEMBER] == EVERY_MEMBER:
                        shared_ready = max(shared_ready, slot_ready[f, slot])
            if new_tile:
                for core in range(first_core, first_core + active):
                    start = max(start, sums_free[core, step])
            n = columns if step + 1 < tiles[tile, STEPS] else tiles[tile, TAIL_COLUMNS]
            busy, rf = n * waves[wave, BUSY], n * waves[wave, RF]
            team[t, STATUS] = RUNNING
            team[t, END] = start + busy + rf
            if logging and team[t, END] >= window[FIRST]:
                place = team[t, REP] * tiles[tile, STEPS] + step
                note(logged, window, STEPPED, t, wave, tile, start, team[t, END], busy, place)
            for member in range(teams[t, CORES]):
                core = first_core + member
                if member >= active:
                    core_cycles[core, IDLE_CYCLES] += team[t, END] - previous
                    if logging and team[t, END] >= window[FIRST]:
                        note(logged, window, WAITED, core, IDLE_CYCLES, 0, previous, team[t, END], 0, 0)
                    continue
                core_cycles[core, BUSY_CYCLES] += busy
                core_cycles[core, RF_CYCLES] += rf
                if start == previous:
                    continue
                operands = shared_ready
                if step == 0:
                    for o in range(operand_count):
                        f = team_streams[t, o]
                        if f >= 0 and streams[f, MEMBER] == member:
                            slot = _slot_with(slot_item, f, need[t, o], need[t, o], streams[f, SLOTS])
                            operands = max(operands, slot_ready[f, slot])
                sums = max(sums_free[core, step], operands) if new_tile else operands
                core_cycles[core, DRAM_CYCLES] += arrived - previous
                core_cycles[core, SMEM_CYCLES] += operands - arrived
                core_cycles[core, DRAIN_CYCLES] += sums - operands
                core_cycles[core, SYNC_CYCLES] += start - sums
                if logging and start >= window[FIRST]:
                    if arrived > previous:
                        note(logged, window, WAITED, core, DRAM_CYCLES, 0, previous, arrived, 0, 0)
                    if operands > arrived:
                        note(logged, window, WAITED, core, SMEM_CYCLES, 0, arrived, operands, 0, 0)
                    if sums > operands:
                        note(logged, window, WAITED, core, DRAIN_CYCLES, 0, operands, sums, 0, 0)
                    if start > sums:
                        note(logged, window, WAITED, core, SYNC_CYCLES, 0, sums, start, 0, 0)

        # The heads of the queues (M10): by position; at one position an item a step before an item a wave, then the
        # lower item, then the lower stream.
        for q in range(queue_count):
            if served != ALL_QUEUES and served != q:
                continue
            best = EMPTY
            head_there[q] = BEYOND
            for f in range(queue_streams[q, 0], queue_streams[q, 1]):
                if stream[f, S_TILE] == streams[f, STREAM_TILE_HI]:
                    continue
                later = -1
                if best != EMPTY:
                    later = 0
                    if dram:  # (D7)
                        later = cells[stream[f, S_TILE], PASS] - cells[stream[best, S_TILE], PASS]
                    if later == 0:
                        later = stream[f, POSITION] - stream[best, POSITION]
                    if later == 0:
                        later = streams[best, PER_STEP] - streams[f, PER_STEP]
                    if later == 0:
                        # By number of step or wave: those that pass by count, too.
                        later = stream[f, ITEM] + stream[f, SKIPPED] - stream[best, ITEM] - stream[best, SKIPPED]
                if later < 0:
                    best = f
            head[q] = best
        served = NO_QUEUE

        # The earliest step end, lower team first; and the queue the read port would take (M11).
        ending, end = -1, BEYOND
        for t in range(team_count):
            if team[t, STATUS] == RUNNING and team[t, END] < end:
                ending, end = t, team[t, END]
        queue, back, reading, arriving = -1, False, BEYOND, BEYOND
        if look_behind:
            look_behind = False
            moving = channel_from(m, d)
            if m.writes_back:
                backing = writeback_from(d)
        if dram:
            back = backing <= clock[READ_AT] // read_bw
            reading = backing
            if behind[ARRIVED] < behind[COMING]:
                arriving = arrivals[behind[ARRIVED] % len(arrivals), AT]
        if not back:
            for priority in range(queue_count):
                for offset in range(queue_count):
                    q = turn[priority] + offset
                    if q >= queue_count:
                        q -= queue_count
                    f = head[q]
                    if queue_priority[q] == priority and f != EMPTY and stream[f, FREE] > 0:
                        if dram:  # (D13)
                            if head_there[q] == BEYOND:
                                source = stream_fill[f]
                                piece = cells[stream[f, S_TILE], INPUT_BASE + source]
                                if piece >= 0:
                                    piece += item_pieces[stream[f, S_WAVE], source]
                                if piece < 0:
                                    head_there[q] = 0
                                elif piece < fill[source, WRITTEN_PIECES]:
                                    head_there[q] = piece_ready[source, piece % fill_slots[source]]
                            if head_there[q] > clock[READ_AT] // read_bw:
                                reading = min(reading, head_there[q])
                                continue
                        queue = q
                        break
                if queue >= 0:
                    break
        if back or queue >= 0:
            reading = clock[READ_AT] // read_bw

        # The cycle of the next event: step ends go first, then arrivals, then the ports (D12).
        now = min(end, reading, moving, arriving)

        if logging:
            # Is all that begins within the window written down?
            open_waits = False
            for t in range(team_count):
                if team[t, STATUS] == WAITING and team[t, PREV_END] < window[LAST]:
                    open_waits = True
                if dram and team[t, STATUS] == DONE and sends_later(m, d, t):
                    open_waits = True
            if now >= window[LAST] and not open_waits and now < BEYOND:
                status = _BEYOND_WINDOW
                break

        if now == BEYOND:
            break
        if end > now and arriving == now:
            clock[EVENTS] += 1
            written[0] += arrivals[behind[ARRIVED] % len(arrivals), BYTES]
            clock[WRITE_AT] = arrive(m, d, clock[WRITE_AT], write_bw)
            if logging and (clock[WRITE_AT] - 1) // write_bw >= window[FIRST]:
                note_arrival(d, clock[WRITE_AT], logged, window)
            clock[OUTPUT_END] = max(clock[OUTPUT_END], (clock[WRITE_AT] - 1) // write_bw + 1)

        elif end > now and moving == now:
            clock[EVENTS] += 1
            bursts_sent = d.clock[BURSTS_SENT]
            begun = max(d.clock[CHANNEL_AT], now * channel_bw)
            move_burst(m, d, now, teams_left == 0)
            if logging and (d.clock[CHANNEL_AT] - 1) // channel_bw >= window[FIRST]:
                note_burst(d, bursts_sent, begun, logged, window)
            look_behind = True

        elif end > now and queue < 0:
            # The read port has waited for what comes from DRAM, or a burst leaves for it (D14).
            clock[READ_AT] = max(clock[READ_AT], now * read_bw)
            if back:
                clock[EVENTS] += 1
                begun = clock[READ_AT]
                clock[READ_AT] = read_back(m, d, begun, read_bw, latency)
                if logging and (clock[READ_AT] - 1) // read_bw >= window[FIRST]:
                    note_read_back(d, begun, clock[READ_AT], logged, window)
                look_behind = True

        elif end > now:
            # A transfer: its bytes, its slot, and the teams that waited for it.
            clock[EVENTS] += 1
            served = queue
            turn[queue_priority[queue]] = queue + 1 if queue + 1 < queue_count else 0
            f = head[queue]
            tile, wave, item = stream[f, S_TILE], stream[f, S_WAVE], stream[f, ITEM]
            per_step, slots, steps = streams[f, PER_STEP], streams[f, SLOTS], tiles[tile, STEPS]
            size, metadata = (
                item_bytes[wave, streams[f, ITEM_COLUMN]],
                item_metadata_bytes[wave, streams[f, ITEM_COLUMN]],
            )
            if per_step:
                n = columns if stream[f, S_STEP] + 1 < steps else tiles[tile, TAIL_COLUMNS]
                size *= n
                metadata *= n
            s.stream_bytes[f, 0] += size
            s.stream_bytes[f, 1] += metadata
            clock[READ_AT] += size
            slot = _slot_with(slot_item, f, item, EMPTY, slots)
            slot_item[f, slot] = item
            slot_ready[f, slot] = (clock[READ_AT] - 1) // read_bw + latency
            slot_pending[f, slot] = item_sharers[wave, streams[f, ITEM_COLUMN]]
            stream[f, FREE] -= 1
            if logging:
                at, ready = clock[READ_AT], slot_ready[f, slot]
                if ready >= window[FIRST]:
                    note(logged, window, READ, f, item, slot, at - size, at, ready, wave)
                else:  # it may lie in its slot for long
                    held = f * slot_item.shape[1] + slot
                    write_row(logged, held, READ, f, item, slot, at - size, at, ready, wave)
            for t in range(team_count):
                o = stream_teams[f, t]
                if o >= 0 and team[t, STATUS] == WAITING and need[t, o] == item:
                    team[t, MISSING] -= 1

            # The stream's next item, and its position in the queue.
            stream[f, ITEM] += 1
            stream[f, S_STEP] += 1
            if per_step:
                stream[f, POSITION] = max(0, stream[f, ITEM] - slots + 1)
            else:
                stream[f, PREV_FIRST_STEP] = stream[f, FIRST_STEP]
                stream[f, FIRST_STEP] += steps
                if stream[f, ITEM] + stream[f, SKIPPED] >= slots:
                    stream[f, POSITION] = stream[f, PREV_FIRST_STEP] + min(streams[f, LAG], steps - 1)
            if not per_step or stream[f, S_STEP] == steps:
                stream[f, S_STEP] = 0
                stream[f, S_WAVE] += 1
                if stream[f, S_WAVE] == tiles[tile, WAVE_HI]:
                    stream[f, S_REP] += 1
                    if stream[f, S_REP] == tiles[tile, REPEAT]:
                        stream[f, S_REP] = 0
                        stream[f, S_TILE] += 1
                    while stream[f, S_TILE] < streams[f, STREAM_TILE_HI]:
                        tile = stream[f, S_TILE]
                        stream[f, S_WAVE] = tiles[tile, WAVE_LO]
                        if streams[f, MEMBER] < tiles[tile, ACTIVE]:
                            break
                        # Tiles in which the member has no rows pass by; its next item's position counts their steps.
                        skipped = tiles[tile, REPEAT] * (tiles[tile, WAVE_HI] - tiles[tile, WAVE_LO])
                        stream[f, FIRST_STEP] += skipped * tiles[tile, STEPS]
                        stream[f, PREV_FIRST_STEP] = stream[f, FIRST_STEP] - tiles[tile, STEPS]
                        stream[f, SKIPPED] += skipped
                        if stream[f, ITEM] + stream[f, SKIPPED] >= slots:
                            lag = min(streams[f, LAG], tiles[tile, STEPS] - 1)
                            stream[f, POSITION] = stream[f, PREV_FIRST_STEP] + lag
                        stream[f, S_TILE] += 1

        else:
            # A step's end: its slots are free, the last wave's sums drain, and the team moves on.
            clock[EVENTS] += 1
            t = ending
            tile, wave, step = team[t, TILE], team[t, WAVE], team[t, STEP]
            active, wave_ended = tiles[tile, ACTIVE], step + 1 == tiles[tile, STEPS]
            # The read port has had nothing to do until now, or else stands beyond this cycle already.
            clock[READ_AT] = max(clock[READ_AT], end * read_bw)
            if dram:
                behind[CHANNEL_AT] = max(behind[CHANNEL_AT], end * channel_bw)
            for o in range(operand_count):
                f = team_streams[t, o]
                if f >= 0 and streams[f, MEMBER] < active and (wave_ended or streams[f, PER_STEP]):
                    slot = _slot_with(slot_item, f, need[t, o], need[t, o], streams[f, SLOTS])
                    if slot < 0:
                        return _STUCK
                    slot_pending[f, slot] -= 1
                    if slot_pending[f, slot] == 0:
                        slot_item[f, slot] = EMPTY
                        stream[f, FREE] += 1
                        if logging and end >= window[FIRST]:
                            note(logged, window, FREED, f, need[t, o], slot, end, end, 0, 0)
                        elif logging:
                            logged[f * slot_item.shape[1] + slot, KIND] = VACANT
            if wave + 1 == tiles[tile, WAVE_HI]:  # (M14, M15)
                n = columns if not wave_ended else tiles[tile, TAIL_COLUMNS]
                for member in range(active):
                    core = teams[t, FIRST_CORE] + member
                    size = drain_bytes[tile, member] * n
                    written[0] += size
                    clock[WRITE_AT] = max(clock[WRITE_AT], (end + pipeline) * write_bw) + size
                    output_end[core] = (clock[WRITE_AT] - 1) // write_bw + 1
                    sums_free[core, step] = output_end[core]
                    clock[OUTPUT_END] = max(clock[OUTPUT_END], output_end[core])
                    if logging and output_end[core] >= window[FIRST]:
                        at = clock[WRITE_AT]
                        place = team[t, REP] * tiles[tile, STEPS] + step
                        note(logged, window, WRITTEN, core, tile, 0, at - size, at, end + pipeline, place)
                if dram and wave_ended:
                    if m.writes_back:
                        n = columns * step + tiles[tile, TAIL_COLUMNS]
                        add_writeback(d, t, n * drain_bytes[tile].sum(), (clock[WRITE_AT] - 1) // write_bw)
                    d.team[t, CELL] += 1
            team[t, PREV_END] = end
            team[t, STATUS] = MOVED
            team[t, STEP] += 1
            if wave_ended:
                team[t, STEP] = 0
                team[t, WAVE] += 1
                if team[t, WAVE] == tiles[tile, WAVE_HI]:
                    team[t, REP] += 1
                    if team[t, REP] == tiles[tile, REPEAT]:
                        team[t, REP] = 0
                        team[t, TILE] += 1
                    if team[t, TILE] == teams[t, TEAM_TILE_HI]:
                        team[t, STATUS] = DONE
                    else:
                        team[t, WAVE] = tiles[team[t, TILE], WAVE_LO]
                        if team[t, WAVE] == tiles[team[t, TILE], WAVE_HI]:
                            _pass_empty_tiles(
                                t, pipeline, write_bw, teams, team, tiles, drain_bytes, sums_free, output_end, clock,
                                written, m, d, logged, window,
                            )  # fmt: skip
                control[PROGRESS] = clock[EVENTS] + clock[EVENTS_ADDED]
                if dram:
                    update_needs(m, d, team, tiles, t, team[t, STATUS] == DONE)
                    look_behind = True
                if team[t, STATUS] == DONE:
                    teams_left -= 1
                    if dram and teams_left == 0:
                        behind[STEPS_END] = end
                        behind[TAIL_BUSY] = behind[CHANNEL_AT] - end * channel_bw
                elif skip_repetitions and (not dram or (arriving == BEYOND and moving == BEYOND)):
                    ahead = clock[READ_AT] - end * read_bw
                    if worth_a_look(finder.search, team, tiles, t, ahead) and (not dram or is_quiet(m, d, p, s, end)):
                        fast_forward(p, s, finder, t, end)

    # Each core's cycles from its team's last step to the end of the layer (M17, D18), which no window knows.
    cycles = clock[OUTPUT_END] - 1 + latency if status == _FINISHED else BEYOND
    if dram and d.clock[CHANNEL_END] > 0 and status == _FINISHED:  # (D17)
        cycles = max(cycles, (d.clock[CHANNEL_END] - 1) // channel_bw + m.latency)
    clock[CYCLES] = cycles
    for t in range(team_count):
        if team[t, STATUS] != DONE:
            if status == _BEYOND_WINDOW:
                continue
            return _STUCK
        for core in range(teams[t, FIRST_CORE], teams[t, FIRST_CORE] + teams[t, CORES]):
            drained = max(team[t, PREV_END], output_end[core])
            sent = drained
            if dram and output_end[core] > 0:
                sent = max(drained, d.team[t, SENT_UNTIL])
            core_cycles[core, DRAIN_CYCLES] += drained - team[t, PREV_END]
            core_cycles[core, DRAM_CYCLES] += sent - drained
            core_cycles[core, IDLE_CYCLES] += cycles - sent
            if logging and drained > team[t, PREV_END]:
                note(logged, window, WAITED, core, DRAIN_CYCLES, 0, team[t, PREV_END], drained, 0, 0)
            if logging and sent > drained:
                note(logged, window, WAITED, core, DRAM_CYCLES, 0, drained, sent, 0, 0)
            if logging and cycles > sent:
                note(logged, window, WAITED, core, IDLE_CYCLES, 0, sent, cycles, 0, 0)
    if status == _BEYOND_WINDOW:
        return status
    for f in range(len(streams)):
        if stream[f, S_TILE] < streams[f, STREAM_TILE_HI] or stream[f, FREE] < streams[f, SLOTS]:
            return _STUCK
    return _FINISHED


@kernel
def _slot_with(slot_item: Ints, f: int, item: int, holding: int, slots: int) -> int:
    """The slot of stream f that holds `holding`, looked for from the one that `item` belongs in; -1 if none does.

    An item is in the slot of its number, modulo the slots, unless teams that share the stream skip different items.
    """
    slot = item % slots
    for _ in range(slots):
        if slot_item[f, slot] == holding:
            return slot
        slot = slot + 1 if slot + 1 < slots else 0
    return -1


@kernel
def _pass_empty_tiles(
    t, pipeline, write_bw, teams, team, tiles, drain_bytes, sums_free, output_end, clock, written, m, d, logged, window
):  # fmt: skip
    """Take team t, at the start of a tile without waves, on to its next tile with some, or to its end (M25).

    Modifies team, the state of the write port and the log. Cold: `_run` has the same lines for tiles with waves.
    """
    while tiles[team[t, TILE], WAVE_LO] == tiles[team[t, TILE], WAVE_HI]:
        tile = team[t, TILE]
        for repetition in range(tiles[tile, REPEAT]):
            for member in range(tiles[tile, ACTIVE]):
                core, size = teams[t, FIRST_CORE] + member, drain_bytes[tile, member] * tiles[tile, TAIL_COLUMNS]
                request = team[t, PREV_END] + pipeline
                written[0] += size
                clock[WRITE_AT] = max(clock[WRITE_AT], request * write_bw) + size
                output_end[core] = (clock[WRITE_AT] - 1) // write_bw + 1
                sums_free[core, 0] = output_end[core]
                clock[OUTPUT_END] = max(clock[OUTPUT_END], output_end[core])
                if len(logged) > 0 and output_end[core] >= window[FIRST]:
                    at = clock[WRITE_AT]
                    place = repetition * tiles[tile, STEPS]
                    note(logged, window, WRITTEN, core, tile, 0, at - size, at, request, place)
            if m.bytes_per_cycle > 0:
                if m.writes_back:
                    amount = drain_bytes[tile].sum() * tiles[tile, TAIL_COLUMNS]
                    add_writeback(d, t, amount, (clock[WRITE_AT] - 1) // write_bw)
                d.team[t, CELL] += 1
        team[t, TILE] += 1
        if team[t, TILE] == teams[t, TEAM_TILE_HI]:
            team[t, STATUS] = DONE
            break
        team[t, WAVE] = tiles[team[t, TILE], WAVE_LO]
