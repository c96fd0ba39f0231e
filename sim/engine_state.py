"""What the engine's kernels pass around: the plan's arrays, the state of a run, and the meaning of their columns."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from .plan import QUEUE, SLOTS, Ints, Plan, SmallInts

# Causes of a core-cycle, columns of State.core_cycles; M17 and D18 say which goes before which.
CAUSES = ("busy", "stall_rf", "idle", "stall_smem", "stall_drain", "stall_sync", "stall_dram")
BUSY_CYCLES, RF_CYCLES, IDLE_CYCLES, SMEM_CYCLES, DRAIN_CYCLES, SYNC_CYCLES, DRAM_CYCLES = range(7)

# Columns of State.team: where a team stands in its program (the step it runs or will run next), and its clock.
TILE, REP, WAVE, STEP, STATUS, PREV_END, END, MISSING = range(8)
MOVED, WAITING, RUNNING, DONE = range(4)

# Columns of State.stream: where its next item stands in its program, the item's number, the slots free, and its
# place in the queue; then the number of the first step of that item's wave, and of the wave before it; and how many
# waves of its team passed by without an item.
S_TILE, S_REP, S_WAVE, S_STEP, ITEM, FREE, POSITION, FIRST_STEP, PREV_FIRST_STEP, SKIPPED = range(10)

# State.clock: byte positions of both ports, cycle after the last byte written, events handled, events added whole, and,
# at the end, the cycles of the run.
READ_AT, WRITE_AT, OUTPUT_END, EVENTS, EVENTS_ADDED, CYCLES = range(6)

EMPTY = -1
NO_QUEUE, ALL_QUEUES = -1, -2
BEYOND = 1 << 62


class Program(NamedTuple):
    """A plan as the kernels see it; `Plan` documents the arrays."""

    columns: int
    read_bytes_per_cycle: int
    write_bytes_per_cycle: int
    latency: int
    pipeline: int
    teams: Ints
    team_streams: Ints
    streams: Ints
    stream_teams: Ints  # (streams, teams): which operand of the team the stream is, -1 for none
    queue_streams: Ints  # (queues, 2): the queue's streams [lo, hi)
    queue_priority: Ints
    tiles: Ints
    drain_bytes: Ints
    waves: SmallInts
    item_bytes: SmallInts
    item_metadata_bytes: SmallInts
    item_sharers: SmallInts
    advance: SmallInts


class State(NamedTuple):
    """Everything that changes during a run. All int64, modified in place by the kernels."""

    buffer: Ints  # (n,): all of it; the arrays below are views
    team: Ints  # (teams, 8)
    need: Ints  # (teams, operands): number of the item needed next
    stream: Ints  # (streams, 10)
    slot_item: Ints  # (streams, slots): number of the item it holds, EMPTY for none
    slot_ready: Ints  # (streams, slots): first cycle in which a step may use it
    slot_pending: Ints  # (streams, slots): teams that still need it
    sums_free: Ints  # (cores, steps): first cycle in which these sums are free
    output_end: Ints  # (cores,): cycle after the core's last output byte so far
    head: Ints  # (queues,): the stream whose item is next, EMPTY when all is read
    turn: Ints  # (queues,): per priority, the queue at which the round robin's search starts
    clock: Ints  # (6,)
    core_cycles: Ints  # (cores, 7)
    stream_bytes: Ints  # (streams, 2): all, metadata
    written: Ints  # (1,)


def program_of(plan: Plan) -> Program:
    """Lay a plan out for the kernels."""
    streams, teams = len(plan.streams), len(plan.teams)
    stream_teams = np.full((streams, teams), EMPTY, np.int64)
    for team, row in enumerate(plan.team_streams):
        for operand, stream in enumerate(row):
            if stream >= 0:
                stream_teams[stream, team] = operand
    queues = plan.streams[:, QUEUE]
    if np.any(np.diff(queues) < 0):
        raise ValueError("plan: streams must be listed queue by queue")
    if np.any((plan.queue_priority < 0) | (plan.queue_priority >= len(plan.queue_priority))):
        raise ValueError(f"plan: queue_priority {plan.queue_priority.tolist()}: must be below the number of queues")
    bounds = np.searchsorted(queues, np.arange(len(plan.queue_priority) + 1))
    return Program(
        columns=plan.columns,
        read_bytes_per_cycle=plan.ports.read_bytes_per_cycle,
        write_bytes_per_cycle=plan.ports.write_bytes_per_cycle,
        latency=plan.ports.latency_cycles,
        pipeline=plan.ports.pipeline_cycles,
        teams=plan.teams,
        team_streams=plan.team_streams,
        streams=plan.streams,
        stream_teams=stream_teams,
        queue_streams=np.stack([bounds[:-1], bounds[1:]], axis=1).astype(np.int64),
        queue_priority=plan.queue_priority,
        tiles=plan.tiles,
        drain_bytes=plan.drain_bytes,
        waves=plan.waves,
        item_bytes=plan.item_bytes,
        item_metadata_bytes=plan.item_metadata_bytes,
        item_sharers=plan.item_sharers,
        advance=plan.advance,
    )


def empty_state(plan: Plan, most_steps: int) -> State:
    """The state of a machine that has not started; also the form of a snapshot."""
    streams, teams, queues = len(plan.streams), len(plan.teams), len(plan.queue_priority)
    slots = int(plan.streams[:, SLOTS].max(initial=1))

    shapes = {
        "team": (teams, 8),
        "need": plan.team_streams.shape,
        "stream": (streams, 10),
        "slot_item": (streams, slots),
        "slot_ready": (streams, slots),
        "slot_pending": (streams, slots),
        "sums_free": (plan.cores, most_steps),
        "output_end": (plan.cores,),
        "head": (queues,),
        "turn": (queues,),
        "clock": (6,),
        "core_cycles": (plan.cores, len(CAUSES)),
        "stream_bytes": (streams, 2),
        "written": (1,),
    }
    sizes = [math.prod(shape) for shape in shapes.values()]
    buffer = np.zeros(sum(sizes), np.int64)
    starts = itertools.accumulate(sizes, initial=0)
    views = {
        name: buffer[start : start + size].reshape(shape)
        for (name, shape), start, size in zip(shapes.items(), starts, sizes, strict=False)
    }
    views["slot_item"][:] = EMPTY
    return State(buffer=buffer, **views)
