"""A timing diagram of a few cycles, drawn from a trace of `crispsim run --trace`.

    python -m crispsim.bench.figures.timing trace.json --arch crisp-stc --from 0 --to 90 --out diagram.svg

docs/files.md, section 7, has the commands that make the diagrams of docs/microarchitecture.md. It needs matplotlib:
`pip install crispsim[plot]`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...sim import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What a bar stands for: (fill, text). Okabe and Ito's colours, which colour-blind readers tell apart, and tints.
LOOKS = {
    "MAC": ("#0072B2", "white"),
    "select": ("#7FB8DA", "black"),
    "gather": ("#7FB8DA", "black"),
    "stall_smem": ("#D55E00", "white"),
    "stall_dram": ("#000000", "white"),
    "stall_drain": ("#E69F00", "black"),
    "stall_sync": ("#F0E442", "black"),
    "stall_rf": ("#CC79A7", "black"),
    "idle": ("#DDDDDD", "#444444"),
    "activations": ("#A6CEE3", "black"),
    "weights": ("#8FD0B8", "black"),
    "results": ("#E3B5D0", "black"),
    "DRAM": ("#C9BBE6", "black"),
    "write-back": ("#EAD7A4", "black"),
}
STALLS = ("stall_dram", "stall_smem", "stall_drain", "stall_sync", "stall_rf", "idle")

WIDTH, LABELS, ROW, HEAD, FOOT = 11.0, 1.75, 0.2, 0.55, 0.42  # inches: page, row names, a row, legend, axis
FONT = 6.6  # points


@dataclass(frozen=True)
class Bar:
    """What a row shows from `start` to `end`, in cycles; `kind` is a key of LOOKS, `usable` a cycle between the two."""

    start: float
    end: float
    kind: str
    text: str = ""
    usable: float | None = None


@dataclass(frozen=True)
class Row:
    """A row with its bars, or, for a port's occupancy, (cycle, percent) where it changes."""

    name: str
    bars: list[Bar] = field(default_factory=list)
    percent: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Diagram:
    """What is drawn: rows from the top, over cycles first to last."""

    title: str
    first: float
    last: float
    rows: list[Row]


def read_trace(path: Path) -> dict[str, Any]:
    """Read a trace file, compressed or not.

    Raises
    ------
    InputError
        It cannot be read, or is no trace.
    """
    try:
        data = path.read_bytes()
        document = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
        document["traceEvents"]
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(f"{path}: not a trace: {error}") from error
    return document


def collect(document: dict[str, Any], arch: str, first: float, last: float) -> Diagram:
    """Take the rows of an architecture from a trace, cut to cycles first to last of its time axis.

    Raises
    ------
    InputError
        The trace has no such architecture, or none of its layers there.
    """
    events = document["traceEvents"]
    processes = {event["args"]["name"]: event["pid"] for event in events if event["name"] == "process_name"}
    if arch not in processes:
        raise InputError(f"--arch {arch!r}: the trace has {', '.join(processes)}")
    own = [event for event in events if event["pid"] == processes[arch]]
    names = {event["tid"]: event["args"]["name"] for event in own if event["name"] == "thread_name"}
    pieces: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for event in own:
        if event["ph"] == "X" and event["ts"] < last and event["ts"] + event["dur"] > first:
            pieces[names[event["tid"]]].append(event)
    if len(pieces["layer"]) != 1:
        raise InputError(f"--from {first:g} --to {last:g}: the trace has {len(pieces['layer'])} layers there, not one")
    layer = pieces["layer"][0]
    shift = layer["ts"] - layer["args"]["first"]  # of the layer's own cycles on the time axis
    rows = []
    for name, found in pieces.items():
        if name != "layer":
            rows.append(Row(name, [*_bars(name, found, first, last, shift)]))
        if _is_port(name):
            counter = [event for event in own if event["ph"] == "C" and event["name"].startswith(name)]
            rows.append(Row(f"{name}, % of bandwidth", percent=[*_steps(counter, first, last)]))
    return Diagram(f"{arch}: {layer['name'].partition(', cycles')[0]}", first, last, rows)


def _bars(row: str, events: list[dict[str, Any]], first: float, last: float, shift: float) -> Iterator[Bar]:
    """The bars of a row, with what stands on them."""
    for event in sorted(events, key=lambda event: event["ts"]):
        start, end = max(first, event["ts"]), min(last, event["ts"] + event["dur"])
        name, args = event["name"], event["args"]
        if name in LOOKS:
            place = "wave" if "wave" in args else "step"
            text = name if name in STALLS else f"{place} {args[place]}" if place in args else ""
            yield Bar(start, end, name, text)
        elif _is_port(row):
            stream, _, item = name.partition(": ")
            text = item.split()[-1] if item else stream.partition(" of ")[2]
            yield Bar(start, end, _kind(name), f"{stream.removeprefix('DRAM ')} {text}" if "DRAM" in stream else text)
        else:
            usable = min(max(args["usable_from"] + shift, start), end)
            yield Bar(start, end, _kind(row), name, usable)


def _is_port(row: str) -> bool:
    return row.endswith(" port") or row == "DRAM channel"


def _kind(name: str) -> str:
    return next(kind for kind in ("DRAM", "write-back", "activations", "weights", "results") if kind in name)


def _steps(counter: list[dict[str, Any]], first: float, last: float) -> Iterator[tuple[float, float]]:
    """A counter's (cycle, value) from first on, closed at last."""
    value = 0.0
    for event in counter:
        (now,) = event["args"].values()
        if event["ts"] <= first:
            value = now
        elif event["ts"] < last:
            if value is not None:
                yield first, value
                value = None
            yield event["ts"], now
    if value is not None:
        yield first, value


def draw(diagram: Diagram) -> Figure:
    """Draw a diagram with matplotlib, 11 inches wide."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator

    heights = [2 * ROW if row.percent else ROW for row in diagram.rows]
    height = sum(heights) + HEAD + FOOT
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    box = (LABELS / WIDTH, FOOT / height, 1 - (LABELS + 0.15) / WIDTH, 1 - (HEAD + FOOT) / height)
    axes = figure.add_axes(box)
    axes.set_xlim(diagram.first, diagram.last)
    axes.set_ylim(sum(heights), 0)
    a_cycle = 72 * WIDTH * box[2] / (diagram.last - diagram.first)  # points
    top, middles = 0.0, []
    for above, row, size in zip([None, *diagram.rows], diagram.rows, heights, strict=False):
        if above and _kind_of_row(above.name) != _kind_of_row(row.name):
            axes.axhline(top, color="black", linewidth=0.5)
        middles.append(top + size / 2)
        if row.percent:
            _draw_percent(axes, row, top, size, diagram.last)
        _draw_bars(axes, row.bars, top)
        for bar in _labelled(row.bars):
            _draw_text(axes, bar, top, a_cycle)
        top += size
    axes.set_yticks(middles, [row.name for row in diagram.rows], fontsize=FONT + 1)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=FONT + 1)
    axes.xaxis.set_major_locator(MultipleLocator(10))
    axes.xaxis.set_minor_locator(MultipleLocator(1 if diagram.last - diagram.first <= 120 else 10))
    axes.grid(axis="x", color="#BBBBBB", linewidth=0.4)
    axes.set_axisbelow(True)
    axes.set_xlabel("cycle", fontsize=FONT + 2, labelpad=2)
    figure.text(LABELS / WIDTH, 1 - 0.17 / height, diagram.title, fontsize=FONT + 3, weight="bold", va="center")
    _draw_legend(figure, diagram, height)
    return figure


def _kind_of_row(name: str) -> str:
    kinds = ("MACs", "selection", "activations", "weights", "read port", "write port", "DRAM channel")
    return next(kind for kind in kinds if kind in name)


def _labelled(bars: list[Bar]) -> Iterator[Bar]:
    """Bars to write on; of neighbours with the same text one that spans them all."""
    for _, run in groupby(bars, key=lambda bar: (bar.text, bar if bar.kind != "MAC" else None)):
        alike = list(run)
        if alike[0].text:
            yield replace(alike[0], end=alike[-1].end)


def _draw_bars(axes: Axes, bars: list[Bar], top: float) -> None:
    """A row's bars; those of a kind together, which keeps the file small."""
    place = top + 0.12 * ROW, 0.76 * ROW
    for kind in dict.fromkeys(bar.kind for bar in bars):
        alike = [bar for bar in bars if bar.kind == kind]
        fill, _ = LOOKS[kind]
        spans = [(_begin(bar), bar.end - _begin(bar)) for bar in alike]
        axes.broken_barh(spans, place, facecolor=fill, edgecolor="white", linewidth=0.5)
        arriving = [(bar.start, _begin(bar) - bar.start) for bar in alike if _begin(bar) > bar.start]
        if arriving:
            axes.broken_barh(arriving, place, facecolor="white", edgecolor=fill, hatch="////", linewidth=0.5)


def _begin(bar: Bar) -> float:
    return bar.start if bar.usable is None else bar.usable


def _draw_text(axes: Axes, bar: Bar, top: float, a_cycle: float) -> None:
    """Write on a bar what fits: its text, or the number at the end of it."""
    start = _begin(bar)
    for text in (bar.text, bar.text.split()[-1] if bar.kind not in STALLS else ""):
        if text and len(text) * 0.6 * FONT + 1.5 <= (bar.end - start) * a_cycle:
            middle = (start + bar.end) / 2, top + ROW / 2
            fill, ink = LOOKS[bar.kind]
            behind = {"facecolor": fill, "edgecolor": "none", "pad": 0.4} if bar.kind == "MAC" else None
            axes.text(*middle, text, fontsize=FONT, color=ink, ha="center", va="center_baseline", bbox=behind)
            break


def _draw_percent(axes: Axes, row: Row, top: float, size: float, last: float) -> None:
    """A port's occupancy as an area over its cycles."""
    foot, full = top + 0.93 * size, 0.82 * size
    times, values = [time for time, _ in row.percent], [value for _, value in row.percent]
    levels = [foot - full * value / 100 for value in (*values, values[-1])]
    axes.fill_between([*times, last], foot, levels, step="post", color="#777777", linewidth=0)
    axes.axhline(foot, color="#777777", linewidth=0.4)
    axes.axhline(foot - full, color="#777777", linewidth=0.4, linestyle=(0, (2, 2)))


def _draw_legend(figure: Figure, diagram: Diagram, height: float) -> None:
    from matplotlib.patches import Patch

    there = {bar.kind for row in diagram.rows for bar in row.bars}
    named = {"MAC": "MACs busy", "select": "selecting", "gather": "gathering", "DRAM": "from DRAM"}
    looks = [(named.get(kind, kind), fill) for kind, (fill, _) in LOOKS.items() if kind in there]
    patches = [Patch(facecolor=fill, label=label) for label, fill in looks]
    patches.append(Patch(facecolor="white", hatch="////", edgecolor="#999999", label="on its way, not usable yet"))
    left = LABELS if len(patches) < 12 else 0.1
    figure.legend(
        handles=patches, loc="center left", bbox_to_anchor=(left / WIDTH, 1 - 0.39 / height), ncols=len(patches),
        frameon=False, fontsize=FONT + 0.5, handlelength=1.5, columnspacing=1.1, handletextpad=0.4, borderpad=0,
        borderaxespad=0,
    )  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """Write a figure; an SVG is the same for the same figure, byte by byte, under one version of matplotlib."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "crispsim", "hatch.linewidth": 0.5}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=160)


@click.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--arch", required=True, help="Architecture to draw, by its name in the trace.")
@click.option("--from", "first", type=int, required=True, help="First cycle, on the trace's time axis.")
@click.option("--to", "last", type=int, required=True, help="Cycle after the last one.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Picture to write: .svg, .png or .pdf.")
def main(trace: Path, arch: str, first: int, last: int, out: Path) -> None:
    """Draw some cycles of one architecture from a trace."""
    if first >= last:
        raise click.UsageError(f"--from {first}: must be below --to {last}")
    try:
        diagram = collect(read_trace(trace), arch, first, last)
    except InputError as error:
        raise click.ClickException(str(error)) from error
    save(draw(diagram), out)


if __name__ == "__main__":
    main()
