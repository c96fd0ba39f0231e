"""A network's results in the terminal: a row per layer (repeats folded), the totals, and what to keep in mind.

No number is ever cropped: where the terminal is too narrow for all architectures side by side, each gets a table of
its own; long names are shortened in the middle.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from rich import box
from rich.measure import Measurement
from rich.table import Table

from ..sim import LayerResult, Results
from ..sim.archs import BASELINE
from ..sim.result import CAUSE_COLUMNS
from ..sim.workload import NO_BLOCKS
from .terminal import Terminal

_LONGEST_NAME = 32

Folded = Sequence[tuple[list[LayerResult], int]]


def print_results(results: Results, console: Terminal) -> None:
    """Print the layers, the totals with their stall breakdown, and the notes.

    Parameters
    ----------
    results : Results
    console : Terminal
    """
    folded = _fold(results)
    together = _layer_table("Layers", folded, results.archs)
    if _width(console, together) <= console.width:
        _print(console, together)
    else:
        for arch in results.archs:
            _print(console, _layer_table(f"Layers on {arch}", folded, [arch]))
    _print(console, _network_table(results))
    for note in _notes(results):
        console.print(note, style="dim")


def _print(console: Terminal, table: Table) -> None:
    """Print a table at its own width, even beyond the terminal's: a wrapped line can be read, a cropped number not."""
    needed = _width(console, table)
    (console if needed <= console.width else console.wider(needed)).print(table)


def _width(console: Terminal, table: Table) -> int:
    """What the table needs, however narrow the console is."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def _table(title: str) -> Table:
    return Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", padding=(0, 0, 0, 1), pad_edge=False
    )


def _layer_table(title: str, folded: Folded, archs: Sequence[str]) -> Table:
    table = _table(title)
    grouped = any(rows[0].layer.groups > 1 for rows, _ in folded)
    table.add_column("layer", no_wrap=True)
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column("groups * SxKxP" if grouped else "SxKxP", justify="right", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    table.add_column("zeros", justify="right", no_wrap=True)
    for arch in archs:
        for name in _measures(arch, archs):
            head = f"{arch}\n{name}" if len(archs) > 1 and name == "cycles" else f"\n{name}"
            table.add_column(head if len(archs) > 1 else name, justify="right", no_wrap=True)
    for rows, count in folded:
        first, layer = rows[0], rows[0].layer
        groups = f"{layer.groups} * " if layer.groups > 1 else ""
        cells = [_short(layer.name), f"x{count}" if count > 1 else "", f"{groups}{layer.s}x{layer.k}x{layer.p}"]
        cells += [_weights(first), f"{100 * first.weight_sparsity:.1f}%"]
        for row in rows:
            if row.arch in archs:
                causes = row.core_cycles_by_cause
                values = {
                    "cycles": f"{row.cycles:,}",
                    "speedup": f"{row.baseline_cycles / row.cycles:.2f}x",
                    "busy": _share(causes["busy"], sum(causes.values()), digits=0),
                }
                cells += [values[name] for name in _measures(row.arch, archs)]
        table.add_row(*cells)
    return table


def _measures(arch: str, archs: Sequence[str]) -> list[str]:
    """What a table of these architectures shows of one; a table of its own is for narrow terminals."""
    if arch == BASELINE:
        return ["cycles", "busy"]
    return ["cycles", "speedup"] if len(archs) == 1 else ["cycles", "speedup", "busy"]


def _fold(results: Results) -> Folded:
    """Layers of equal shape, weights and cycles on every architecture, at the first one's place: (rows, how many)."""
    width = len(results.archs)
    layers = [list(results.rows[i : i + width]) for i in range(0, len(results.rows), width)]
    folded: dict[Hashable, tuple[list[LayerResult], int]] = {}
    for rows in layers:
        layer = rows[0].layer
        shape = (layer.s, layer.k, layer.p, layer.groups)
        key = (*shape, _weights(rows[0]), rows[0].weight_sparsity, *(row.cycles for row in rows))
        first, count = folded.get(key, (rows, 0))
        folded[key] = (first, count + layer.calls)
    return list(folded.values())


def _network_table(results: Results) -> Table:
    """The totals: a column an architecture, the shares of core-cycles below."""
    table = _table("Network")
    table.add_column("", no_wrap=True)
    for arch in results.archs:
        table.add_column(arch, justify="right", no_wrap=True)
    totals = [results.total(arch) for arch in results.archs]
    rows = {
        "cycles": [f"{t.cycles:,}" for t in totals],
        "latency, ms": [f"{t.latency_us / 1000:.4g}" for t in totals],
        "speedup, in cycles": [f"{t.speedup:.2f}x" for t in totals],
        "utilization of the MACs": [f"{100 * t.utilization:.1f}%" for t in totals],
        "over the compute bound": [_share(t.cycles - t.compute_bound_cycles, t.compute_bound_cycles) for t in totals],
        "SMEM read, MB": [f"{t.smem_read_bytes / 1e6:,.4g}" for t in totals],
        "SMEM written, MB": [f"{t.smem_write_bytes / 1e6:,.4g}" for t in totals],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells, end_section=name == "SMEM written, MB")
    for cause in CAUSE_COLUMNS:
        shares = [_share(t.core_cycles[cause], sum(t.core_cycles.values()), digits=2) for t in totals]
        table.add_row(f"core-cycles {cause}", *shares)
    return table


def _weights(row: LayerResult) -> str:
    if row.nm == "dense" and row.block == "none":
        return row.mask
    return row.nm if row.block == "none" else f"{row.nm} B={row.block}"


def _share(part: int, whole: int, *, digits: int = 1) -> str:
    return f"{100 * part / whole:.{digits}f}%" if whole else "-"


def _short(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _notes(results: Results) -> list[str]:
    first = results.of(results.archs[0])
    notes = ["speedup: cycles of the dense architecture on the same machine, over its own"]
    reasons: dict[str, list[str]] = {}
    for row in first:
        if row.note:
            reasons.setdefault(row.note, []).append(_short(row.layer.name))
    for reason, names in reasons.items():
        effect = "without blocks" if reason == NO_BLOCKS else "dense by rule (--all-layers prunes them, too)"
        notes.append(f"{effect}, {reason}: {_few(names)}")
    asked = {row.requested_sparsity for row in first if row.requested_sparsity is not None}
    if asked:
        realised = [100 * row.weight_sparsity for row in first if row.requested_sparsity is not None]
        wanted = " or ".join(f"{100 * value:g}%" for value in sorted(asked))
        span = (
            f"{min(realised):.1f}%"
            if min(realised) == max(realised)
            else f"{min(realised):.1f}% to {max(realised):.1f}%"
        )
        notes.append(f"weight sparsity asked: {wanted}; realised in whole blocks: {span} ({len(realised)} layers)")
    return [*notes, _resident(results)]


def _resident(results: Results) -> str:
    """What everything lying in SMEM takes for granted."""
    said = []
    for arch in results.archs:
        total, machine = results.total(arch), results.of(arch)[0].machine
        if total.layers_beyond_smem:
            capacity, excess = machine.smem.capacity_bytes / 1024, total.largest_smem_excess_bytes / 1024
            said.append(
                f"{arch}: {total.layers_beyond_smem} of {len(results.of(arch))} layers need more than its "
                f"{capacity:g} KiB, by up to {excess:,.0f} KiB"
            )
    return "SMEM-resident ideal (dram = none), every tensor is taken to lie in SMEM. " + "; ".join(said)


def _few(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
