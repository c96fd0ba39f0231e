"""A window of a run as rows of named slices, and the occupancy of its ports: what a trace shows of one layer.

Times are in thousandths of a cycle, since transfers begin and end at bytes; a byte's time is rounded down, the same for
the end of one transfer and the beginning of the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .engine_state import CAUSES, RF_CYCLES
from .event_log import (
    BACK,
    CARRIED,
    EMPTIED,
    EXTRA,
    FILLED,
    FREED,
    FROM,
    READ,
    SIZE,
    STEPPED,
    TO,
    WAITED,
    WHAT,
    WHERE,
    WHO,
    WRITTEN,
    EventLog,
)
from .plan import (
    ACTIVE,
    CORES,
    FIRST_CORE,
    ITEM_COLUMN,
    MEMBER,
    PER_STEP,
    PIECES,
    QUEUE,
    REPEAT,
    SIZE_LO,
    SLOTS,
    STEPS,
    TAIL_COLUMNS,
    TEAM_TILE_LO,
    WAVE_HI,
    WAVE_LO,
    Ints,
    Lowered,
    Plan,
)
from .simulate import GroupRun

UNIT = 1000  # of a cycle

# Rows of an architecture, in the order they are shown; what follows in a row's key tells its like apart.
LAYER, MACS, SELECTION, ACTIVATIONS, WEIGHTS, READ_PORT, WRITE_PORT, CHANNEL = range(8)
RowKey = tuple[int, int, int]

MAC, EMPTY_STEP, STALL_RF = "MAC", "empty step", CAUSES[RF_CYCLES]
PORTS = {READ_PORT: "read port", WRITE_PORT: "write port", CHANNEL: "DRAM channel"}
_PASSES = {READ_PORT: (READ, EMPTIED), WRITE_PORT: (WRITTEN, FILLED), CHANNEL: (CARRIED,)}
_FILLS = "inputs", "weights"

# Columns of LayerWindow.details, by kind: of a step, a transfer, a write, a burst.
TILE, WAVE, STEP, COLUMNS, MEMBERS = range(5)  # numbered from 0 through the group, as the law's M6 does
METADATA, SLICE, TURN, BAND = range(4)
PIECE_BYTES = 0
DETAILS = 5


class Slice(NamedTuple):
    """Something that a row of the timeline shows from `start` to `end`, both in thousandths of a cycle of the layer.

    A slice without length is shown as an instant. `args` are the same wherever the window begins and ends.
    """

    row: RowKey
    start: int
    end: int
    name: str
    args: dict[str, int]


class Stream(NamedTuple):
    """A stream's name and the row of its first slot."""

    name: str
    kind: int
    number: int
    slots: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerWindow:
    """The events of one layer's window on one architecture, with what is needed to name them, and no more.

    run_cycles : of the whole group. details : int64, (events, 5), beside the rows of `log`. teams : (first core,
    cores) of each. selection : what the selection unit does, empty where the machine has none. bandwidth : bytes per
    cycle of the read and the write port, and of the DRAM channel where there is one.
    """

    run_cycles: int
    log: EventLog
    details: Ints
    teams: list[tuple[int, int]]
    streams: list[Stream]
    selection: str
    dual: bool
    bandwidth: dict[int, int]

    def row_names(self) -> dict[RowKey, str]:
        """Every row of the machine, whether something happens there or not."""
        names = {(LAYER, 0, 0): "layer"}
        for first, count in self.teams:
            for core in range(first, first + count):
                names[MACS, core, 0] = f"core {core} MACs"
                if self.selection:
                    names[SELECTION, core, 0] = f"core {core} selection"
        for stream in self.streams:
            for slot in range(stream.slots):
                names[stream.kind, stream.number, slot] = f"{stream.name}, slot {slot}"
        return names | {(kind, 0, 0): PORTS[kind] for kind in self.bandwidth}

    def slices(self) -> list[Slice]:
        """All slices, cut to the window; row by row, in order of time."""
        first, last = self.log.first * UNIT, self.log.last * UNIT
        cut = []
        for piece in (*self._steps(), *self._waits(), *self._reads(), *self._writes(), *self._bursts(), *self._runs()):
            start, end = max(piece.start, first), min(piece.end, last)
            if start < end or (piece.start == piece.end and first <= start < last):
                cut.append(piece._replace(start=start, end=end))
        return sorted(cut, key=lambda piece: piece[:3])

    def occupancy(self, port: int) -> list[tuple[int, int]]:
        """Bytes that pass a port in a cycle: (cycle, bytes) where they change, and none after the window."""
        served = self.log.of(*_PASSES[port])
        served = served[np.argsort(served[:, FROM], kind="stable")]
        bandwidth, first, last = self.bandwidth[port], self.log.first, self.log.last
        borders = np.arange(first, last + 1, dtype=np.int64) * bandwidth
        before = np.concatenate([[0], np.cumsum(served[:, TO] - served[:, FROM])])
        transfer = np.searchsorted(served[:, FROM], borders)  # those that begin before each border
        if len(served):
            beyond = np.maximum(0, served[np.maximum(transfer - 1, 0), TO] - borders)
            passed = before[transfer] - np.where(transfer > 0, beyond, 0)
        else:
            passed = np.zeros(len(borders), np.int64)
        a_cycle = np.diff(passed)
        changes = np.flatnonzero(np.diff(a_cycle, prepend=-1))
        return [*((first + int(at), int(a_cycle[at])) for at in changes), (last, 0)]

    def _steps(self) -> Iterator[Slice]:
        for (team, start, end, busy), (tile, wave, step, columns, members) in self._of(STEPPED, WHO, FROM, TO, SIZE):
            place = {"tile": tile, "step": step}
            if not self.dual:
                place |= {"wave": wave, "columns": columns}
            first, between = self.teams[team][0], start + busy
            for core in range(first, first + members):
                if start < end:
                    yield _cycles((MACS, core, 0), start, between, MAC, place)
                else:
                    yield _cycles((MACS, core, 0), start, end, EMPTY_STEP, place)
                if between < end:
                    yield _cycles((MACS, core, 0), between, end, STALL_RF, place)
                if start < end and self.selection:
                    yield _cycles((SELECTION, core, 0), start, between, self.selection)

    def _waits(self) -> Iterator[Slice]:
        for (core, cause, start, end), _ in self._of(WAITED, WHO, WHAT, FROM, TO):
            yield _cycles((MACS, core, 0), start, min(end, self.run_cycles), CAUSES[cause])

    def _reads(self) -> Iterator[Slice]:
        bandwidth = self.bandwidth[READ_PORT]
        freed = {(stream, item): cycle for (stream, item, cycle), _ in self._of(FREED, WHO, WHAT, FROM)}
        for (number, item, slot, start, end, usable), detail in self._of(READ, WHO, WHAT, WHERE, FROM, TO, SIZE):
            stream = self.streams[number]
            label, args = self._item(stream, item, detail)
            args |= {"bytes": end - start, "metadata_bytes": detail[METADATA]}
            args |= {"cycle": start // bandwidth, "usable_from": usable}
            until = freed.get((number, item), self.log.last)
            begins, passed = start * UNIT // bandwidth, end * UNIT // bandwidth
            yield Slice((READ_PORT, 0, 0), begins, passed, f"{stream.name}: {label}", args)
            yield Slice((stream.kind, stream.number, slot), begins, until * UNIT, label, args)

    def _writes(self) -> Iterator[Slice]:
        bandwidth = self.bandwidth[WRITE_PORT]
        for (core, start, end, requested), detail in self._of(WRITTEN, WHO, FROM, TO, SIZE):
            args = {"bytes": end - start, "cycle": start // bandwidth, "requested": requested, "tile": detail[TILE]}
            if not self.dual:  # of which only the last step of a tile makes one
                args["step"] = detail[STEP]
            begins, passed = start * UNIT // bandwidth, end * UNIT // bandwidth
            yield Slice((WRITE_PORT, 0, 0), begins, passed, f"results of core {core}", args)

    def _bursts(self) -> Iterator[Slice]:
        """Bursts between DRAM and SMEM at the ports."""
        bandwidth = self.bandwidth[WRITE_PORT]
        for (fill, piece, start, end, arrived), detail in self._of(FILLED, WHO, WHAT, FROM, TO, SIZE):
            args = {"bytes": end - start, "cycle": start // bandwidth, "arrived": arrived}
            args |= {"piece": piece, "piece_bytes": detail[PIECE_BYTES]}
            begins, passed = start * UNIT // bandwidth, end * UNIT // bandwidth
            yield Slice((WRITE_PORT, 0, 0), begins, passed, f"DRAM {_FILLS[fill]}: piece {piece}", args)
        bandwidth = self.bandwidth[READ_PORT]
        for (team, start, end), _ in self._of(EMPTIED, WHO, FROM, TO):
            args = {"bytes": end - start, "cycle": start // bandwidth}
            begins, passed = start * UNIT // bandwidth, end * UNIT // bandwidth
            yield Slice((READ_PORT, 0, 0), begins, passed, self._write_back(team), args)

    def _runs(self) -> Iterator[Slice]:
        """The channel: bursts of one piece, or of one set's write-backs, that follow each other byte by byte."""
        begun, last = 0, (-1, -1, -1, 0)  # byte; who, piece, byte after the last, bytes of the piece
        for (who, piece, start, end), detail in self._of(CARRIED, WHO, WHAT, FROM, TO):
            if (who, piece, start) != last[:3]:
                yield from self._run(begun, *last)
                begun = start
            last = who, piece, end, detail[PIECE_BYTES]
        yield from self._run(begun, *last)

    def _run(self, begun: int, who: int, piece: int, end: int, piece_bytes: int) -> Iterator[Slice]:
        if who < 0:
            return
        bandwidth, name, args = self.bandwidth[CHANNEL], self._write_back(who - BACK), dict[str, int]()
        if who < BACK:
            name, args = f"DRAM {_FILLS[who]}: piece {piece}", {"piece": piece, "piece_bytes": piece_bytes}
        yield Slice((CHANNEL, 0, 0), begun * UNIT // bandwidth, end * UNIT // bandwidth, name, args)

    def _write_back(self, team: int) -> str:
        return f"write-back of core {self.teams[team][0]}" if self.dual else f"write-back of set {team}"

    def _item(self, stream: Stream, item: int, detail: list[int]) -> tuple[str, dict[str, int]]:
        """What an item is called, and which one it is."""
        if self.dual:
            return f"slice {detail[SLICE]}", {"band": detail[BAND], "turn": detail[TURN], "slice": detail[SLICE]}
        kind = "chunk" if stream.kind == ACTIVATIONS else "wave"
        return f"{kind} {item}", {kind: item}

    def _of(self, kind: int, *columns: int) -> Iterator[tuple[list[int], list[int]]]:
        """Some columns of the events of a kind, and their details."""
        chosen = self.log.rows[:, 0] == kind
        rows, details = self.log.rows[chosen], self.details[chosen]
        yield from zip(rows[:, list(columns)].tolist(), details.tolist(), strict=True)


def _cycles(row: RowKey, start: int, end: int, name: str, place: dict[str, int] | None = None) -> Slice:
    """A slice of whole cycles, which says when it began and how long it is wherever the window cuts it."""
    args = {"cycle": start, "cycles": end - start} | (place or {})
    return Slice(row, start * UNIT, end * UNIT, name, args)


def window_of(run: GroupRun, log: EventLog) -> LayerWindow:
    """Take from a run what its window's rows need, and leave the plan, which can be large, alone."""
    lowered, plan = run.lowered, run.lowered.plan
    dual = lowered.item_slices is not None
    return LayerWindow(
        run_cycles=run.cycles,
        log=log,
        details=_details(run, log),
        teams=[(int(team[FIRST_CORE]), int(team[CORES])) for team in plan.teams],
        streams=_streams(lowered, dual),
        selection="gather" if dual else "select" if lowered.mux_selections else "",
        dual=dual,
        bandwidth=_bandwidth(plan),
    )


def _bandwidth(plan: Plan) -> dict[int, int]:
    """Bytes per cycle of the ports, and of the channel where there is one."""
    ports = {READ_PORT: plan.ports.read_bytes_per_cycle, WRITE_PORT: plan.ports.write_bytes_per_cycle}
    return ports | ({CHANNEL: plan.memory.bytes_per_cycle} if plan.memory else {})


def _streams(lowered: Lowered, dual: bool) -> list[Stream]:
    """Every stream's name: by its cores' row or column, or by the set or core that it is for."""
    plan, streams = lowered.plan, []
    for index, (row, queue) in enumerate(zip(plan.streams.tolist(), plan.streams[:, QUEUE].tolist(), strict=True)):
        weights = index in lowered.weight_streams
        kind, what = (WEIGHTS, "weights") if weights else (ACTIVATIONS, "activations")
        if dual:
            number = (lowered.weight_streams if weights else lowered.activation_streams).index(index)
            name = f"{'A' if weights else 'B'}{number} {what}"
        elif weights:
            number = int(plan.teams[queue, FIRST_CORE]) + row[MEMBER]
            name = f"weights of core {number}"
        else:
            number, name = queue, f"activations of set {queue}"
        streams.append(Stream(name, kind, number, row[SLOTS]))
    return streams


def _details(run: GroupRun, log: EventLog) -> Ints:
    """What the plan says of each event (the columns above)."""
    plan, machine, rows = run.lowered.plan, run.spec.machine, log.rows
    details = np.zeros((len(rows), DETAILS), np.int64)
    waves = plan.tiles[:, WAVE_HI] - plan.tiles[:, WAVE_LO]
    tile_waves, wave_steps = _before(plan, plan.tiles[:, REPEAT] * waves), plan.tiles[:, STEPS]
    tile_steps, tiles_before = (
        _before(plan, plan.tiles[:, REPEAT] * waves * wave_steps),
        _before(plan, plan.tiles[:, REPEAT]),
    )
    for kind in (STEPPED, WRITTEN):
        at = np.flatnonzero(rows[:, 0] == kind)
        events = rows[at]
        row = events[:, WHERE] if kind == STEPPED else events[:, WHAT]
        repetition, step = np.divmod(events[:, EXTRA], wave_steps[row])
        wave = (events[:, WHAT] - plan.tiles[row, WAVE_LO] if kind == STEPPED else waves[row] - 1) + repetition * waves[
            row
        ]
        details[at, TILE] = tiles_before[row] + repetition
        details[at, WAVE] = tile_waves[row] + wave
        details[at, STEP] = tile_steps[row] + wave * wave_steps[row] + step
        if kind == STEPPED:
            details[at, COLUMNS] = np.where(step + 1 < wave_steps[row], plan.columns, plan.tiles[row, TAIL_COLUMNS])
            details[at, MEMBERS] = np.minimum(plan.tiles[row, ACTIVE], plan.teams[events[:, WHO], CORES])
    for fill, fills in enumerate(plan.memory.fills if plan.memory else ()):
        at = np.flatnonzero(np.isin(rows[:, 0], (FILLED, CARRIED)) & (rows[:, WHO] == fill))
        starts = np.cumsum(fills.visits[:, PIECES]) - fills.visits[:, PIECES]
        visit = np.searchsorted(starts, rows[at, WHAT], side="right") - 1
        details[at, PIECE_BYTES] = fills.sizes[fills.visits[visit, SIZE_LO] + rows[at, WHAT] - starts[visit]]
    at = np.flatnonzero(rows[:, 0] == READ)
    events = rows[at]
    streams = plan.streams[events[:, WHO]]
    size = plan.item_bytes[events[:, EXTRA], streams[:, ITEM_COLUMN]].astype(np.int64)
    columns = np.where(streams[:, PER_STEP] > 0, (events[:, TO] - events[:, FROM]) // np.maximum(size, 1), 1)
    details[at, METADATA] = plan.item_metadata_bytes[events[:, EXTRA], streams[:, ITEM_COLUMN]] * columns
    if run.lowered.item_slices is not None:
        dstc = machine.dual_side
        slices = -(-run.layer.k // dstc.slice_positions)
        turns = -(-run.layer.p // (dstc.tile_columns * dstc.core_columns))
        turn, details[at, SLICE] = np.divmod(run.lowered.item_slices[events[:, EXTRA]], slices)
        details[at, BAND], details[at, TURN] = np.divmod(turn, turns)
    return details


def _before(plan: Plan, counts: Ints) -> Ints:
    """What the rows of `tiles` before each one, of its team, count together."""
    before = np.cumsum(counts) - counts
    for lo, hi in pairwise([*plan.teams[:, TEAM_TILE_LO].tolist(), len(plan.tiles)]):
        before[lo:hi] -= before[lo : lo + 1]
    return before
