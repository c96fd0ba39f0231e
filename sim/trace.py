"""A timeline of a run in Chrome's trace JSON, for Perfetto and chrome://tracing (docs/files.md, section 7).

`Tracer` is an observer of `simulate`: it records a window of each layer on each architecture. `write_trace` writes what
it saw: an architecture is a process, a row of it a thread, a cycle a microsecond.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import IO, NamedTuple

from .arch_spec import ArchSpec
from .control import Control
from .engine import record
from .layer import Layer
from .simulate import GroupRun
from .trace_rows import LAYER, PORTS, UNIT, LayerWindow, RowKey, Slice, window_of

# Without a window asked for: cycles of all windows together, but so many of each at least.
DEFAULT_CYCLES, LEAST_CYCLES = 40_000, 200
MOST_EVENTS = 1 << 19  # of the engine, in all windows: some 200 MB, compressed 10 to 15
GAP, ROUND = 20, 100  # cycles between one layer's window and the next, which begins at a round number
# Perfetto wants threads of different processes to have different numbers, and shows them behind the rows' names.
FIRST_THREAD = 1001

# Colours of chrome://tracing. Perfetto picks its own, by name.
COLOURS = {
    "MAC": "good",
    "empty step": "grey",
    "stall_rf": "rail_load",
    "stall_smem": "terrible",
    "stall_dram": "black",
    "stall_drain": "bad",
    "stall_sync": "yellow",
    "idle": "grey",
    "select": "rail_response",
    "gather": "rail_response",
}

HOW_TO_READ = (
    "A process is an architecture; its threads are, from the top: the layer, the MACs and the selection unit of each "
    "core, the slots of each stream (what lies in them, from the beginning of its transfer until it is freed), the two "
    "ports, and the DRAM channel where there is one. 1 us is 1 cycle. Layers stand one after another; args count "
    "cycles from the layer's own cycle 0."
)


class Window(NamedTuple):
    """Cycles of a layer, from `first` on, up to `last`; None leaves the end to the tracer's budget."""

    first: int = 0
    last: int | None = None


AS_BUDGETED = Window()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Traced:
    """A layer on one architecture; without a window if its first group ends before it."""

    layer: Layer
    cycles: int
    window: LayerWindow | None


class Tracer:
    """Records the same window of every layer asked for, on every architecture. Give it to `simulate` as observer.

    Parameters
    ----------
    layers : iterable of str
        Names of the layers to trace.
    specs : sequence of ArchSpec
        The architectures of the run, in the order in which the trace shows them.
    window : Window
        Without an end, the layers and architectures share 40,000 cycles evenly, 200 each at least.
    most_events : int
        Of all windows together. A window with more than its share is shortened from its end.
    control : Control, optional
        For another thread to stop it.
    """

    def __init__(
        self,
        layers: Iterable[str],
        specs: Sequence[ArchSpec],
        window: Window = AS_BUDGETED,
        *,
        most_events: int = MOST_EVENTS,
        control: Control | None = None,
    ) -> None:
        self._layers, self._archs, self._control = set(layers), [spec.name for spec in specs], control
        windows = max(1, len(self._layers) * len(specs))
        self._first = window.first
        self._last = window.last or window.first + max(LEAST_CYCLES, DEFAULT_CYCLES // windows)
        self._most_events = max(1, most_events // windows)
        self._traced: dict[tuple[int, str], _Traced] = {}

    def __call__(self, run: GroupRun) -> None:
        """Record a layer's window, if it is one to trace.

        Raises
        ------
        Interrupted
            `control.stop()` was called.
        """
        if run.layer.name not in self._layers:
            return
        window = None
        if self._first < run.cycles:
            last = min(self._last, run.cycles)
            log = record(run.lowered.plan, self._first, last, most_events=self._most_events, control=self._control)
            window = window_of(run, log)
        self._traced[run.index, run.spec.name] = _Traced(layer=run.layer, cycles=run.cycles, window=window)

    def notice(self) -> str:
        """What the trace shows of what there is, in a line; empty if that is all of it."""
        parts = []
        windows = [(traced.window.log, traced.cycles) for traced in self._traced.values() if traced.window]
        shown, cycles = sum(log.last - log.first for log, _ in windows), sum(cycles for _, cycles in windows)
        if shown < cycles:
            layers, archs = len({index for index, _ in self._traced}), len({arch for _, arch in self._traced})
            parts.append(f"cycles {self._first:,}-{self._last:,} of each layer")
            parts.append(
                f"{_count(layers, 'layer')} on {_count(archs, 'architecture')}, {shown:,} of {cycles:,} cycles in all"
            )
        shortened = sum(log.last < min(self._last, cycles) for log, cycles in windows)
        if shortened:
            parts.append(f"{_count(shortened, 'window')} shortened further, to {self._most_events:,} events")
        missed = len(self._traced) - len(windows)
        if missed:
            parts.append(f"{_count(missed, 'run')} ended before cycle {self._first:,}")
        if any(traced.layer.groups > 1 for traced in self._traced.values()):
            parts.append("of layers with several groups the first group")
        return "; ".join(parts)

    def events(self) -> Iterator[str]:
        """The trace's events, each a JSON object: names of processes and rows, then layer by layer."""
        rows = self._rows()
        for place, arch in enumerate(self._archs):
            for event in (("process_name", {"name": arch}), ("process_sort_index", {"sort_index": place})):
                yield _metadata(place + 1, 0, *event)
            for (owner, _), (thread, name) in rows.items():
                if owner == arch:
                    yield _metadata(place + 1, thread, "thread_name", {"name": name})
                    yield _metadata(place + 1, thread, "thread_sort_index", {"sort_index": thread})
        base = self._first * UNIT
        for index in sorted({index for index, _ in self._traced}):
            longest = 1
            for place, arch in enumerate(self._archs):
                traced = self._traced[index, arch]
                threads = {key: thread for (owner, key), (thread, _) in rows.items() if owner == arch}
                yield from _events_of(traced, place + 1, threads, base - self._first * UNIT, self._first)
                if traced.window:
                    longest = max(longest, traced.window.log.last - self._first)
            base += -(-(longest + GAP) // ROUND) * ROUND * UNIT

    def _rows(self) -> dict[tuple[str, RowKey], tuple[int, str]]:
        """All rows of all architectures: (thread, name), in the order in which they are shown."""
        rows: dict[tuple[str, RowKey], tuple[int, str]] = {}
        for arch in self._archs:
            names: dict[RowKey, str] = {(LAYER, 0, 0): "layer"}
            for (_, owner), traced in sorted(self._traced.items(), key=lambda item: item[0]):
                if owner == arch and traced.window:
                    names |= traced.window.row_names()
            for key in sorted(names):
                rows[arch, key] = FIRST_THREAD + len(rows), names[key]
        return rows


def write_trace(file: IO[bytes], tracer: Tracer, *, version: str, compress: bool) -> None:
    """Write what a tracer saw; equal runs give equal bytes.

    Parameters
    ----------
    file : binary file
    tracer : Tracer
    version : str
        Of crispsim.
    compress : bool
        Whether the file is gzip's.
    """
    about = {"version": f"crispsim {version}", "unit": "1 us is 1 cycle", "how to read": HOW_TO_READ}
    about["window"] = tracer.notice() or "all cycles"
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if compress else nullcontext(file) as out:
        out.write(f'{{"otherData": {json.dumps(about)},\n"traceEvents": [\n'.encode())
        separator = b""
        for event in tracer.events():
            out.write(separator + event.encode())
            separator = b",\n"
        out.write(b"\n]}\n")


def _events_of(traced: _Traced, process: int, threads: dict[RowKey, int], shift: int, first: int) -> Iterator[str]:
    """One layer on one architecture; `shift`, in thousandths of a cycle, is where the trace puts its cycle 0."""
    layer, window = traced.layer, traced.window
    name = f"{layer.name} {layer.s}x{layer.k}x{layer.p}"
    if layer.groups > 1:
        name += f", group 1 of {layer.groups}"
    args = {"s": layer.s, "k": layer.k, "p": layer.p, "groups": layer.groups, "cycles": traced.cycles}
    row = (LAYER, 0, 0)
    if window is None:
        ended = Slice(row, first * UNIT, first * UNIT, f"{name}, ended at cycle {traced.cycles:,}", args)
        yield _event(ended, process, threads[row], shift)
        return
    log = window.log
    name += f", cycles {log.first:,}-{log.last:,} of {traced.cycles:,}"
    args |= {"first": log.first, "last": log.last}
    yield _event(Slice(row, log.first * UNIT, log.last * UNIT, name, args), process, threads[row], shift)
    for piece in window.slices():
        yield _event(piece, process, threads[piece.row], shift)
    for port in window.bandwidth:
        port_name = PORTS[port]
        for cycle, passed in window.occupancy(port):
            percent = f"{round(100 * passed / window.bandwidth[port], 4):g}"
            yield (
                f'{{"name":"{port_name} occupancy","ph":"C","ts":{_time(cycle * UNIT + shift)},"pid":{process},'
                f'"args":{{"% of bandwidth":{percent}}}}}'
            )


def _event(piece: Slice, process: int, thread: int, shift: int) -> str:
    """A slice as a complete event, or as an instant if it has no length."""
    length = f'"ph":"X","dur":{_time(piece.end - piece.start)}' if piece.end > piece.start else '"ph":"i","s":"t"'
    colour = f',"cname":"{COLOURS[piece.name]}"' if piece.name in COLOURS else ""
    args = ",".join([f'"{key}":{value}' for key, value in piece.args.items()])
    return (
        f'{{"name":{json.dumps(piece.name)},{length},"ts":{_time(piece.start + shift)},"pid":{process},'
        f'"tid":{thread}{colour},"args":{{{args}}}}}'
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _metadata(process: int, thread: int, name: str, args: Mapping[str, str | int]) -> str:
    return json.dumps({"name": name, "ph": "M", "pid": process, "tid": thread, "args": args}, separators=(",", ":"))


def _time(thousandths: int) -> str:
    """Thousandths of a cycle in cycles.

    >>> _time(2500), _time(2007), _time(3000)
    ('2.500', '2.007', '3')
    """
    cycles, rest = divmod(thousandths, UNIT)
    return f"{cycles}.{rest:03}" if rest else str(cycles)
