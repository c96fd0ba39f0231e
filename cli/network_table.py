"""A network's results in the terminal: a row per layer (repeats folded), the totals, and what to keep in mind.

No number is ever cropped: where the terminal is too narrow for all architectures side by side, they are shown with
less, and then each in a table of its own; long names are shortened in the middle. Layers of one shape and sparsity are
folded; where an architecture meets other zeros in each of them, and takes other cycles, the mean is shown as such.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.table import Table

from ..formats.errors import few
from ..sim import LayerResult, Results, Total
from ..sim.archs import BASELINE
from ..sim.result import causes_of, parts_of
from ..sim.workload import NO_BLOCKS
from .tables import plain_table, print_first, print_table, short_name
from .terminal import Terminal

_MEAN = "~"
_IDEAL = "*"


@dataclass(frozen=True)
class _Fold:
    """Layers alike but for where their zeros are: the results of each on every architecture."""

    layers: list[list[LayerResult]]

    @property
    def first(self) -> list[LayerResult]:
        """The results that stand for all."""
        return self.layers[0]

    @property
    def count(self) -> int:
        """How often they are called, together."""
        return sum(rows[0].layer.calls for rows in self.layers)

    def mean_cycles(self, index: int) -> float:
        """Of a call on the architecture of this place."""
        return sum(rows[index].cycles * rows[index].layer.calls for rows in self.layers) / self.count

    def spread(self, index: int) -> float:
        """How far the cycles lie apart, of their mean."""
        cycles = [rows[index].cycles for rows in self.layers]
        return (max(cycles) - min(cycles)) / self.mean_cycles(index)

    def mark(self, index: int) -> str:
        """The sign of layers that need more than the SMEM holds, where all is taken to lie there."""
        return _IDEAL if any(rows[index].smem_resident_ideal for rows in self.layers) else ""

    def busy(self, index: int) -> str:
        """The share of busy core-cycles."""
        causes = [rows[index].core_cycles_by_cause for rows in self.layers]
        return _share(sum(c["busy"] for c in causes), sum(sum(c.values()) for c in causes), digits=0)


Folded = Sequence[_Fold]


def print_results(results: Results, console: Terminal) -> None:
    """Print the layers, the totals with their stall breakdown, and the notes.

    Parameters
    ----------
    results : Results
    console : Terminal
    """
    folded = _fold(results)
    print_first(console, _layouts(folded, results.archs))
    print_table(console, _network_table(results))
    for note in [*_means(folded), *_notes(results)]:
        console.print(note, style="dim")


def _layouts(folded: Folded, archs: Sequence[str]) -> Iterator[list[Table]]:
    """The layers in one table, with less in it, and in a table an architecture."""
    full = ("cycles", "speedup", "busy")
    for measures in (full, full[:2]):
        yield [_layer_table("Layers", folded, archs, measures)]
    yield [_layer_table(f"Layers on {arch}", folded, [arch], full) for arch in archs]


def _layer_table(title: str, folded: Folded, archs: Sequence[str], measures: Sequence[str]) -> Table:
    table = plain_table(title)
    grouped = any(fold.first[0].layer.groups > 1 for fold in folded)
    table.add_column("layer", no_wrap=True)
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column("groups * SxKxP" if grouped else "SxKxP", justify="right", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    table.add_column("zeros", justify="right", no_wrap=True)
    for arch in archs:
        for name in _measures(arch, archs, measures):
            head = f"{arch}\n{name}" if len(archs) > 1 and name == "cycles" else f"\n{name}"
            table.add_column(head if len(archs) > 1 else name, justify="right", no_wrap=True)
    marked = {index for fold in folded for index in range(len(fold.first)) if fold.mark(index)}
    for fold in folded:
        first, layer = fold.first[0], fold.first[0].layer
        groups = f"{layer.groups} * " if layer.groups > 1 else ""
        times = f"x{fold.count}" if fold.count > 1 else ""
        cells = [short_name(layer.name), times, f"{groups}{layer.s}x{layer.k}x{layer.p}"]
        cells += [_weights(first), f"{100 * first.weight_sparsity:.1f}%"]
        for index, row in enumerate(fold.first):
            if row.arch in archs:
                mean = fold.mean_cycles(index)
                mark = fold.mark(index) or " " * (index in marked)
                values = {
                    "cycles": f"{_MEAN if fold.spread(index) else ''}{mean:,.0f}{mark}",
                    "speedup": f"{row.baseline_cycles / mean:.2f}x",
                    "busy": fold.busy(index),
                }
                cells += [values[name] for name in _measures(row.arch, archs, measures)]
        table.add_row(*cells)
    return table


def _measures(arch: str, archs: Sequence[str], measures: Sequence[str]) -> list[str]:
    """What a table of these architectures shows of one: no speedup of the baseline over itself."""
    shown = [name for name in measures if arch != BASELINE or name != "speedup"]
    return shown if len(archs) > 1 or arch == BASELINE else [name for name in shown if name != "busy"]


def _fold(results: Results) -> Folded:
    """Layers of equal geometry, weights and share of zeros, at the first one's place."""
    width = len(results.archs)
    folded: dict[Hashable, list[list[LayerResult]]] = {}
    for start in range(0, len(results.rows), width):
        rows = list(results.rows[start : start + width])
        # Where there is a DRAM, what is added to a layer's outputs is read; whose it is makes no difference.
        added = "a layer" if rows[0].layer.residual and any(row.machine.has_dram for row in rows) else None
        geometry = replace(rows[0].layer, name="layer", calls=1, tensor=None, residual=added)
        weights = tuple((row.nm, row.block, row.mask, row.weight_sparsity) for row in rows)
        folded.setdefault((geometry, weights, rows[0].activation_sparsity), []).append(rows)
    return [_Fold(layers) for layers in folded.values()]


def _means(folded: Folded) -> list[str]:
    """What the sign of a mean means, if there is one."""
    spread = max(fold.spread(index) for fold in folded for index in range(len(fold.first)))
    if not spread:
        return []
    return [f"{_MEAN}: mean over layers alike but for where their zeros are; they lie within {100 * spread:.1f}%"]


def _network_table(results: Results) -> Table:
    """The totals: a column an architecture; below them energy with its parts, and the shares of core-cycles."""
    table = plain_table("Network")
    table.add_column("", no_wrap=True)
    for arch in results.archs:
        table.add_column(arch, justify="right", no_wrap=True)
    totals = [results.total(arch) for arch in results.archs]
    rows = {
        "cycles": [f"{t.cycles:,}" for t in totals],
        **_without(totals, "cycles", lambda t: f"{t.cycles:,}"),
        **_ideal(totals, "cycles", lambda t: f"{t.cycles:,}"),
        "latency, ms": [f"{t.latency_us / 1000:.4g}" for t in totals],
        "speedup, in cycles": [f"{t.speedup:.2f}x" for t in totals],
        **_ideal(totals, "speedup", lambda t: f"{t.speedup:.2f}x"),
        "utilization of the MACs": [f"{100 * t.utilization:.1f}%" for t in totals],
        "over the compute bound": [_share(t.cycles - t.compute_bound_cycles, t.compute_bound_cycles) for t in totals],
        "SMEM read, MB": [f"{t.smem_read_bytes / 1e6:,.4g}" for t in totals],
        "SMEM written, MB": [f"{t.smem_write_bytes / 1e6:,.4g}" for t in totals],
    }
    if results.with_dram:
        rows |= {
            "DRAM read, MB": [_of_dram(t, f"{t.dram_read_bytes / 1e6:,.4g}") for t in totals],
            **_without(totals, "DRAM read, MB", lambda t: f"{t.dram_read_bytes / 1e6:,.4g}"),
            "DRAM written, MB": [_of_dram(t, f"{t.dram_write_bytes / 1e6:,.4g}") for t in totals],
            **_without(totals, "DRAM written, MB", lambda t: f"{t.dram_write_bytes / 1e6:,.4g}"),
            "DRAM bound, of the cycles": [_of_dram(t, _share(t.dram_bound_cycles, t.cycles)) for t in totals],
        }
    for name, cells in rows.items():
        table.add_row(name, *cells, end_section=name == list(rows)[-1])
    if results.energy_models:
        _add_energy(table, totals, parts_of(with_dram=results.with_dram))
    for cause in causes_of(with_dram=results.with_dram):
        shares = [_share(t.core_cycles.get(cause, 0), sum(t.core_cycles.values()), digits=2) for t in totals]
        if cause == "stall_dram":
            shares = [_of_dram(t, share) for t, share in zip(totals, shares, strict=True)]
        table.add_row(f"core-cycles {cause}", *shares)
    return table


def _without(totals: Sequence[Total], name: str, figure: Callable[[Total], str]) -> dict[str, list[str]]:
    """In a run with --fuse a row of what its figure would be without."""
    unfused = [t.unfused for t in totals]
    return {f"  {name}, without --fuse": [figure(t) for t in unfused if t]} if all(unfused) else {}


def _ideal(totals: Sequence[Total], name: str, figure: Callable[[Total], str]) -> dict[str, list[str]]:
    """Where machines have a DRAM a row of what its figure would be with every tensor in the SMEM."""
    cells = [figure(t.ideal) if t.ideal else "-" for t in totals]
    return {f"  {name}, SMEM-resident ideal": cells} if any(t.ideal for t in totals) else {}


def _of_dram(total: Total, cell: str) -> str:
    """A cell about DRAM, of an architecture that has one."""
    return cell if total.has_dram else "-"


def _add_energy(table: Table, totals: Sequence[Total], parts: Sequence[str]) -> None:
    """The energy rows of the network's table."""
    values = [t.energy_values for t in totals]
    rows = {
        "energy, mJ": [f"{v['energy_uj'] / 1000:,.4g}" for v in values],
        **_without(totals, "energy, mJ", lambda t: f"{t.energy_values['energy_uj'] / 1000:,.4g}"),
        **_ideal(totals, "energy, mJ", lambda t: f"{t.energy_values['energy_uj'] / 1000:,.4g}"),
        "energy gain": [f"{v['energy_gain']:.2f}x" for v in values],
        **_ideal(totals, "energy gain", lambda t: f"{t.energy_values['energy_gain']:.2f}x"),
        "energy-delay product, uJ s": [f"{v['edp_uj_us'] / 1e6:,.4g}" for v in values],
        "TOPS/W on dense work": [f"{v['tops_per_watt_dense']:.2f}" for v in values],
        "TOPS/W on effectual work": [f"{v['tops_per_watt_effectual']:.2f}" for v in values],
    }
    for part in parts:
        shares = [f"{100 * v[f'{part}_uj'] / v['energy_uj']:.1f}%" for v in values]
        own = [_of_dram(t, share) for t, share in zip(totals, shares, strict=True)] if part == "dram" else shares
        rows[f"energy {part}"] = own
    for name, cells in rows.items():
        table.add_row(name, *cells, end_section=name == list(rows)[-1])


def _weights(row: LayerResult) -> str:
    if row.nm == "dense" and row.block == "none":
        return row.mask
    return row.nm if row.block == "none" else f"{row.nm} B={row.block}"


def _share(part: int, whole: int, *, digits: int = 1) -> str:
    return f"{100 * part / whole:.{digits}f}%" if whole else "-"


def _notes(results: Results) -> list[str]:
    first = results.of(results.archs[0])
    notes = ["speedup: cycles of the dense architecture on the same machine, over its own; energy gain likewise"]
    if not results.energy_models:
        notes[0] = notes[0].partition(";")[0]
    notes += _energy_notes(results)
    others = [arch for arch in results.archs if _unstructured(results.of(arch)) != _unstructured(first)]
    if others:
        own = [arch for arch in results.archs if arch not in others]
        odd, rest = (own, others) if _unstructured(first) else (others, own)
        notes.append(
            f"masks: {', '.join(odd)} on unstructured weights of the sparsity of {', '.join(rest)} (column mask of "
            f"results.csv)"
        )
    reasons: dict[str, list[str]] = {}
    for row in first:
        if row.note:
            reasons.setdefault(row.note, []).append(short_name(row.layer.name))
    for reason, names in reasons.items():
        effect = "without blocks" if reason == NO_BLOCKS else "dense by rule (--all-layers prunes them, too)"
        notes.append(f"{effect}, {reason}: {few(names, 6)}")
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
    return [*notes, *_memory(results)]


def _energy_notes(results: Results) -> list[str]:
    """The table that energies come from, and memories that it does not hold."""
    if not results.energy_models:
        return []
    models = results.energy_models
    table = next(iter(models.values())).table
    notes = [f"energy: table {table.name} ({table.technology.node_nm} nm), {_counted(results)}"]
    found = {
        f"{m.part} of {m.sram.shape.size_bytes} B, {m.sram.shape.banks} x {m.sram.shape.word_bits} bit": m.sram.origin
        for model in models.values()
        for m in model.memories
    }
    for origin, effect in _ORIGINS.items():
        if names := [name for name, own in found.items() if own == origin]:
            notes.append(f"{origin}: {'; '.join(names)}: {effect}")
    return [*notes, *results.clock_notes()]


def _counted(results: Results) -> str:
    """What the energies include."""
    if not results.with_dram:
        return "SMEM, register files and MACs; no DRAM"
    lacking = [arch for arch, machine in results.machines.items() if not machine.has_dram]
    return "SMEM, register files, MACs and DRAM" + (f" ({', '.join(lacking)}: no DRAM)" if lacking else "")


_ORIGINS = {
    "interpolated": "not in CACTI's table, interpolated between its sizes",
    "live": "not in CACTI's table, from a run of CACTI",
}


def _unstructured(rows: Sequence[LayerResult]) -> int:
    """Layers whose weights have no structure."""
    return sum(row.mask == "unstructured" for row in rows)


def _memory(results: Results) -> list[str]:
    """The machine, and what lies behind its SMEM or what everything lying there takes for granted."""
    words = results.machine_words()
    lines = [f"machine: {words['machine']}"]
    if results.with_dram:
        lines.append(f"DRAM: {words['dram']}")
    if results.ideal:
        lines.append("SMEM-resident ideal: on the same machine without its DRAM, every tensor is taken to lie in SMEM")
    if results.fused:
        lines.append(
            f"--fuse: tensors that stay in SMEM: {', '.join(_kept(results))} (columns input_kept, output_kept)"
        )
    resident = [arch for arch, machine in results.machines.items() if not machine.has_dram]
    return [*lines, *([_resident(results, resident)] if resident else [])]


def _kept(results: Results) -> list[str]:
    """How many layers leave their outputs in SMEM, by architecture."""
    kept = {
        arch: sum(row.fused is not None and row.fused.kept_output_bytes is not None for row in results.of(arch))
        for arch in results.archs
    }
    return [f"{arch} {count} of {len(results.of(arch))}" for arch, count in kept.items()]


def _resident(results: Results, archs: Sequence[str]) -> str:
    """What everything lying in SMEM takes for granted, on the architectures that have no DRAM."""
    said = []
    for arch in archs:
        total, machine = results.total(arch), results.machines[arch]
        if total.layers_beyond_smem:
            capacity, excess = machine.smem.capacity_bytes / 1024, total.largest_smem_excess_bytes / 1024
            said.append(
                f"{arch}: {total.layers_beyond_smem} of {len(results.of(arch))} layers need more than its "
                f"{capacity:g} KiB, by up to {excess:,.0f} KiB"
            )
    whose = f"{', '.join(archs)}: " if len(archs) < len(results.archs) else ""
    beyond = f" {_IDEAL} beyond its capacity: {'; '.join(said)}" if said else ""
    return f"{whose}SMEM-resident ideal (dram = none), every tensor is taken to lie in SMEM.{beyond}"
