"""A network's results in the terminal: a row per layer (repeats folded), the totals, and what to keep in mind."""

from __future__ import annotations

from collections.abc import Hashable

from rich import box
from rich.console import Console
from rich.table import Table

from ..sim import LayerResult, Results
from ..sim.archs import BASELINE
from ..sim.result import CAUSE_COLUMNS


def print_results(results: Results, console: Console) -> None:
    """Print the layer table, the totals with their stall breakdown, and the notes."""
    layers = _layer_table(results, busy=True)
    if console.measure(layers).maximum > console.width:
        layers = _layer_table(results, busy=False)
    console.print(layers)
    console.print(_total_table(results))
    console.print(_breakdown_table(results))
    for note in _notes(results):
        console.print(note, style="dim", highlight=False)


def _layer_table(results: Results, *, busy: bool) -> Table:
    table = _table("Layers")
    table.add_column("layer", no_wrap=True)
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column(
        "groups * SxKxP" if any(row.layer.groups > 1 for row in results.rows) else "SxKxP",
        justify="right",
        no_wrap=True,
    )
    table.add_column("weights", no_wrap=True)
    table.add_column("zeros", justify="right", no_wrap=True)
    for arch in results.archs:
        table.add_column(f"{arch}\ncycles", justify="right", no_wrap=True)
        if arch != BASELINE:
            table.add_column("\nspeedup", justify="right", no_wrap=True)
        if busy:
            table.add_column("\nbusy", justify="right", no_wrap=True)
    for rows, count in _fold(results):
        first, layer = rows[0], rows[0].layer
        cells = [
            layer.name,
            f"x{count}" if count > 1 else "",
            (f"{layer.groups} * " if layer.groups > 1 else "") + f"{layer.s}x{layer.k}x{layer.p}",
            _weights(first),
            f"{100 * first.weight_sparsity:.1f}%",
        ]
        for row in rows:
            cells.append(f"{row.cycles:,}")
            if row.arch != BASELINE:
                cells.append(f"{row.baseline_cycles / row.cycles:.2f}x")
            if busy:
                causes = row.core_cycles_by_cause
                cells.append(_share(causes["busy"], sum(causes.values()), digits=0))
        table.add_row(*cells)
    return table


def _table(title: str) -> Table:
    return Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", padding=(0, 0, 0, 1), pad_edge=False
    )


def _fold(results: Results) -> list[tuple[list[LayerResult], int]]:
    """Layers of equal shape, weights and cycles on every architecture, at the first one's place: (rows, how many)."""
    width = len(results.archs)
    layers = [list(results.rows[i : i + width]) for i in range(0, len(results.rows), width)]
    folded: dict[Hashable, tuple[list[LayerResult], int]] = {}
    for rows in layers:
        layer = rows[0].layer
        key = (layer.s, layer.k, layer.p, layer.groups, _weights(rows[0]), *(row.cycles for row in rows))
        first, count = folded.get(key, (rows, 0))
        folded[key] = (first, count + layer.calls)
    return list(folded.values())


def _weights(row: LayerResult) -> str:
    if row.nm == "dense" and row.block == "none":
        return row.mask
    return row.nm if row.block == "none" else f"{row.nm} B={row.block}"


def _share(part: int, whole: int, *, digits: int = 1) -> str:
    return f"{100 * part / whole:.{digits}f}%" if whole else "-"


def _total_table(results: Results) -> Table:
    table = _table("Network")
    for name in (
        "architecture",
        "cycles",
        "latency, ms",
        "speedup",
        "utilization",
        "over compute bound",
        "SMEM read, MB",
        "SMEM written, MB",
    ):
        table.add_column(name, justify="left" if name == "architecture" else "right", no_wrap=True)
    for arch in results.archs:
        total = results.total(arch)
        table.add_row(
            arch,
            f"{total.cycles:,}",
            f"{total.latency_us / 1000:.3f}",
            f"{total.speedup:.2f}x",
            f"{100 * total.utilization:.1f}%",
            _share(total.cycles - total.compute_bound_cycles, total.compute_bound_cycles),
            f"{total.smem_read_bytes / 1e6:,.1f}",
            f"{total.smem_write_bytes / 1e6:,.1f}",
        )
    return table


def _breakdown_table(results: Results) -> Table:
    table = _table("Where the core-cycles went")
    table.add_column("architecture", no_wrap=True)
    for cause in CAUSE_COLUMNS:
        table.add_column(cause, justify="right")
    table.add_column("core-cycles", justify="right")
    for arch in results.archs:
        causes = results.total(arch).core_cycles
        whole = sum(causes.values())
        table.add_row(arch, *(f"{100 * causes[cause] / whole:.2f}%" for cause in CAUSE_COLUMNS), f"{whole:,}")
    return table


def _notes(results: Results) -> list[str]:
    first = results.of(results.archs[0])
    notes = []
    reasons: dict[str, list[str]] = {}
    for row in first:
        if row.note:
            reasons.setdefault(row.note, []).append(row.layer.name)
    for reason, names in reasons.items():
        effect = "N:M only" if reason == "K <= block" else "dense by rule"
        notes.append(f"{effect} ({reason}): {_few(names)}")
    asked = {row.requested_sparsity for row in first if row.requested_sparsity is not None}
    if asked:
        realised = [row.weight_sparsity for row in first if row.requested_sparsity is not None]
        wanted = " or ".join(f"{100 * value:g}%" for value in sorted(asked))
        notes.append(
            f"weight sparsity asked of the {len(realised)} pruned layers: {wanted}; realised in whole blocks: "
            f"{100 * min(realised):.1f}% to {100 * max(realised):.1f}%"
        )
    worst = max((results.total(arch) for arch in results.archs), key=lambda total: total.layers_beyond_smem)
    capacity = first[0].machine.smem.capacity_bytes
    ideal = "SMEM-resident ideal (dram = none): every tensor is taken to lie in SMEM"
    if worst.layers_beyond_smem:
        ideal += (
            f"; on {worst.arch}, {worst.layers_beyond_smem} of {len(first)} layers need more than its "
            f"{capacity / 1024:g} KiB, by up to {worst.largest_smem_excess_bytes / 1024:,.0f} KiB"
        )
    notes.append(ideal)
    return notes


def _few(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
