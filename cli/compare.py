"""`crispsim compare`: two runs side by side, in the terminal, as JSON or as a table.

As in the tables of `crispsim run`, no number is ever cropped: a table too wide for the terminal is split.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ..bench.compare import (
    ArchComparison,
    Change,
    Comparison,
    choose_pairs,
    compare_runs,
    json_of,
    write_csv,
)
from ..bench.run_folder import read_run
from ..bench.whole_files import check_file
from ..sim.energy import PARTS
from ..sim.result import CAUSE_COLUMNS
from .options import verbose_option
from .tables import plain_table, print_first, short_name, side_by_side
from .terminal import Terminal, terminal

_ABSENT = "-"
_MOST_NAMES = 20
_MOST_VALUES = 3
_MARK = "*"

# Rows of the table of totals: key of a total, what it is called, what it is divided by.
_ROWS = (
    ("cycles", "cycles", 1),
    ("latency_us", "latency, us", 1),
    ("speedup", "speedup over dense, in cycles", 1),
    ("energy_uj", "energy, uJ", 1),
    *((f"{part}_uj", f"  {part}, uJ", 1) for part in PARTS),
    ("edp_uj_us", "EDP, uJ us", 1),
    ("energy_gain", "energy gain over dense", 1),
    ("utilization", "utilization of the MACs, %", 0.01),
    ("macs_issued", "MACs issued", 1),
    *((f"core_cycles.{cause}", f"core-cycles {cause}", 1) for cause in CAUSE_COLUMNS),
    ("smem_read_bytes", "SMEM read, B", 1),
    ("weight_bytes", "  weights, B", 1),
    ("metadata_bytes", "  metadata, B", 1),
    ("activation_bytes", "  activations, B", 1),
    ("smem_write_bytes", "SMEM written, B", 1),
    ("writeback_bytes", "SMEM read for DRAM, B", 1),
    ("dram_read_bytes", "DRAM read, B", 1),
    ("dram_weight_bytes", "  weights, B", 1),
    ("dram_input_bytes", "  inputs, B", 1),
    ("dram_residual_bytes", "  residual inputs, B", 1),
    ("dram_write_bytes", "DRAM written, B", 1),
    ("dram_bound_cycles", "DRAM bound, cycles", 1),
)
_LAST_OF_SECTION = ("speedup", "energy_gain", "macs_issued", f"core_cycles.{list(CAUSE_COLUMNS)[-1]}")


@click.command(epilog="Example: crispsim compare out/block64 out/block16 --arch crisp-stc --layers 30")
@click.argument("dir_a", metavar="DIR_A", type=click.Path(path_type=Path))
@click.argument("dir_b", metavar="DIR_B", type=click.Path(path_type=Path))
@click.option(
    "--arch", "archs", multiple=True, metavar="NAME", help="Architecture of both runs, repeatable. [default: all]"
)
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="A_NAME=B_NAME",
    help="An architecture of A beside another one of B, repeatable.",
)
@click.option(
    "--layers",
    "most",
    type=click.IntRange(min=0),
    default=15,
    show_default=True,
    metavar="N",
    help="Layers to print at most, those that changed most first; 0: all, unchanged ones, too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything, with all layers, as one JSON object.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Write a row per layer and architecture, with all numbers of both runs and their ratios.",
)
@verbose_option
def compare(
    dir_a: Path,
    dir_b: Path,
    archs: tuple[str, ...],
    pairs: tuple[str, ...],
    most: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """Show two runs side by side: what changed in configuration, cycles, energy and stalls.

    DIR_A and DIR_B are folders that `crispsim run --out` wrote. Architectures of one name are compared unless --arch
    or --pair says which; layers are matched by name.
    """
    a, b = read_run(dir_a), read_run(dir_b)
    if out is not None:
        check_file(out, [*a.files, *b.files])
    comparison = compare_runs(a, b, choose_pairs(a, b, archs, pairs) if archs or pairs else None)
    if out is not None:
        write_csv(out, comparison)
    if as_json:
        click.echo(json.dumps(json_of(comparison), indent=2))
        return
    print_comparison(comparison, terminal(140), most)
    if out is not None:
        click.echo(f"wrote {out}")


def print_comparison(comparison: Comparison, console: Terminal, most: int) -> None:
    """Print what differs, the totals, and at most so many layers of each architecture (0: all)."""
    for name, run in (("A", comparison.a), ("B", comparison.b)):
        console.print(f"{name}: {run.path}: {run.summary['command']}", soft_wrap=True)
        console.print(f"   {run.machine_line}", soft_wrap=True, highlight=False)
    if comparison.identical:
        console.print("no differences")
        return
    _print_configuration(comparison, console)
    differing = [arch for arch in comparison.archs if not arch.identical]
    for arch in comparison.archs:
        if arch.identical:
            console.print(f"{arch.label}: no differences in the results of {len(arch.layers)} layers")
    if not differing:
        return
    _print_totals(differing, console)
    for arch in differing:
        _print_layers(arch, console, most)
    for note in _notes(comparison, differing):
        console.print(note, style="dim")


def _print_configuration(comparison: Comparison, console: Terminal) -> None:
    table = plain_table("Configuration")
    table.add_column("what differs", no_wrap=True)
    for name in ("A", "B"):
        table.add_column(name, overflow="fold")
    several = len(comparison.archs) > 1
    if several:
        table.add_column("architectures", overflow="fold")
    for difference in comparison.configuration:
        concerned = "" if not difference.archs else ", ".join(difference.archs)
        if len(difference.archs) == len(comparison.archs):
            concerned = "all"
        cells = [_setting(difference.key, value) for value in (difference.a, difference.b)]
        table.add_row(difference.key, *cells, *([concerned] if several else []))
    if comparison.configuration:
        console.print(table)
    elif not comparison.only_a and not comparison.only_b:
        console.print("configuration: no differences")
    for name, only in (("A", comparison.only_a), ("B", comparison.only_b)):
        if only:
            console.print(f"architectures only in {name}, not compared: {', '.join(only)}")


def _setting(key: str, value: object) -> str:
    if value is None:
        return _ABSENT
    if key.endswith(".sha256"):
        return f"{str(value)[:12]}…"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _print_totals(archs: Sequence[ArchComparison], console: Terminal) -> None:
    """As many architectures side by side as the terminal has room for."""
    print_first(console, ([_totals_table(group) for group in groups] for groups in side_by_side(archs)))


def _totals_table(archs: Sequence[ArchComparison]) -> Table:
    table = plain_table("Network" if len(archs) > 1 else f"Network on {archs[0].label}")
    table.add_column("", no_wrap=True)
    for arch in archs:
        for index, name in enumerate(("A", "B", "B/A", "change")):
            head = f"{arch.label if index == 0 else ''}\n{name}" if len(archs) > 1 else name
            table.add_column(head, justify="right", no_wrap=True)
    for key, name, unit in _ROWS:
        changes = [arch.totals.get(key) for arch in archs]
        if any(change and (change.a or change.b) for change in changes):
            cells = [cell for change in changes for cell in _cells(change, unit)]
            table.add_row(name, *cells, end_section=key in _LAST_OF_SECTION)
    return table


def _cells(change: Change | None, unit: float) -> list[str]:
    """A, B, B/A, and the change in percent."""
    if change is None:
        return [_ABSENT] * 4
    return [_figure(change.a / unit if unit != 1 else change.a), _figure(change.b / unit if unit != 1 else change.b),
            _ratio(change), _percent(change)]  # fmt: skip


def _print_layers(arch: ArchComparison, console: Terminal, most: int) -> None:
    rows = arch.by_change()
    changed, repatterned = rows.loc[rows["changed"]], len(rows.loc[rows["pattern_only"]])
    listed = changed if most else rows
    shown = listed.head(most or len(rows)).to_dict(orient="records")
    left = [(repatterned, "with another pattern and equal numbers")]
    if most:
        more = "more " if shown else ""
        left.insert(0, (len(changed) - len(shown), f"{more}changed"))
        left.append((len(rows) - len(changed) - repatterned, f"{more}unchanged"))
    told = ", ".join(f"{count} {kind}" for count, kind in left if count)
    if not shown:
        console.print(f"Layers on {arch.label}: {told or 'none in both runs'}")
        return
    print_first(console, _layouts(arch.label, shown))
    if told:
        console.print(f"and {told}" if most else f"of them {told}")
    unlike = [row for row in listed.to_dict(orient="records") if row["differs"]]
    if unlike:
        console.print(
            f"{_MARK} another shape or pattern in B: cycles are not comparable one to one; {_unlike(unlike)}",
            style="dim",
        )


def _layouts(label: str, rows: Sequence[dict[str, Any]]) -> Iterator[list[Table]]:
    """The layers in one table or in several, the widest first."""
    title = f"Layers on {label}"
    energy = ["energy"] if "energy_uj_a" in rows[0] else []
    yield [_layer_table(title, rows, ["cycles", "difference", "percent", *energy, "causes"])]
    yield [_layer_table(title, rows, ["cycles", "difference", "percent", *energy, "cause"])]
    why, one = (_layer_table(f"{title}: why", rows, [causes]) for causes in ("causes", "cause"))
    for explained in (why, one):
        yield [_layer_table(title, rows, ["cycles", "difference", "percent", *energy]), explained]
        yield [_layer_table(title, rows, ["cycles", "percent", *energy]), explained]
    apart = [_layer_table(f"{title}: energy", rows, energy)] if energy else []
    yield [_layer_table(title, rows, ["cycles", "difference", "percent"]), *apart, one]


def _layer_table(title: str, rows: Sequence[dict[str, Any]], parts: Sequence[str]) -> Table:
    """Of one call: cycles and their change, energy, and the causes whose core-cycles changed most."""
    table = plain_table(title)
    table.add_column("\nlayer", no_wrap=True)
    called = "cycles" in parts and any(row["calls_a"] != 1 or row["calls_b"] != 1 for row in rows)
    heads = {
        "cycles": ["cycles\nA", "\nB"],
        "difference": ["\nB - A"],
        "percent": ["\nchange"],
        "energy": ["energy, uJ\nA", "\nB", "\nchange"],
    }
    if called:
        table.add_column("\ntimes", justify="right", no_wrap=True)
    for part in parts:
        for head in heads.get(part, []):
            table.add_column(head, justify="right", no_wrap=True)
    if "cause" in parts or "causes" in parts:
        table.add_column("core-cycles, B - A\n(share of the change in cycles)", no_wrap=True)
    for row in rows:
        cycles = Change(a=row["cycles_a"], b=row["cycles_b"])
        cells = {
            "cycles": [_figure(cycles.a), _figure(cycles.b)],
            "difference": [f"{row['cycles_change']:+,}" if row["cycles_change"] else "0"],
            "percent": [_percent(cycles)],
            "causes": [_causes(row, 2)],
            "cause": [_causes(row, 1)],
        }
        if "energy" in parts:
            energy = Change(a=row["energy_uj_a"], b=row["energy_uj_b"])
            cells["energy"] = [_figure(energy.a), _figure(energy.b), _percent(energy)]
        name = short_name(row["layer"]) + (_MARK if row["differs"] else "")
        calls = [_times(row)] if called else []
        table.add_row(name, *calls, *(cell for part in parts for cell in cells[part]))
    return table


def _times(row: dict[str, Any]) -> str:
    a, b = row["calls_a"], row["calls_b"]
    return f"x{a}" if a == b else f"x{a} -> x{b}"


def _causes(row: dict[str, Any], most: int) -> str:
    """The causes whose core-cycles changed most."""
    changes = {
        cause: row[f"{column}_b"] - row[f"{column}_a"]
        for cause, column in CAUSE_COLUMNS.items()
        if f"{column}_a" in row
    }
    largest = sorted((cause for cause in changes if changes[cause]), key=lambda cause: -abs(changes[cause]))
    said = []
    for cause in largest[:most]:
        share = f" ({100 * row[f'{cause}_share']:.0f}%)" if row["cycles_change"] else ""
        said.append(f"{cause} {changes[cause]:+,}{share}")
    return ", ".join(said)


def _unlike(rows: Sequence[dict[str, Any]]) -> str:
    """What differs in shape or pattern, and in how many layers."""
    fields = dict.fromkeys(name for row in rows for name in row["differs"].split())
    said = []
    for name in fields:
        values = Counter((row[f"{name}_a"], row[f"{name}_b"]) for row in rows if name in row["differs"].split())
        shown = [f"{_value(a, b)} ({_count(n)})" for (a, b), n in values.most_common(_MOST_VALUES)]
        left = len(values) - len(shown)
        said.append(f"{name} {', '.join(shown)}" + (f" and {left} other changes" if left > 0 else ""))
    return "; ".join(said)


def _value(a: object, b: object) -> str:
    if isinstance(a, float) and isinstance(b, float) and f"{a:.4g}" != f"{b:.4g}":
        return f"{a:.4g} -> {b:.4g}"
    return f"{a} -> {b}"


def _count(layers: int) -> str:
    return f"{layers} layer{'s' if layers != 1 else ''}"


def _notes(comparison: Comparison, archs: Sequence[ArchComparison]) -> list[str]:
    notes = []
    for run in ("a", "b"):
        told: dict[tuple[str, ...], list[str]] = {}
        for arch in archs:
            told.setdefault(tuple(arch.only_in(run)), []).append(arch.label)
        for names, labels in told.items():
            if names:
                where = "" if len(labels) == len(archs) else f" on {', '.join(labels)}"
                more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
                shown = ", ".join(short_name(name) for name in names[:_MOST_NAMES])
                notes.append(f"layers only in {run.upper()}{where}, in its totals nevertheless: {shown}{more}")
    if comparison.energy_not_compared:
        notes.append(f"energy is not compared: {comparison.energy_not_compared}")
    if any(d.key == "machine.core.count" for d in comparison.configuration):
        notes.append("A and B have different numbers of cores: the shares are those of core-cycles over cores")
    clocked = [label for d in comparison.configuration if d.key == "machine.clock_ghz" for label in d.archs]
    if clocked:
        where = "" if len(clocked) == len(comparison.archs) else f" on {', '.join(clocked)}"
        notes.append(
            f"A and B have different clocks{where}: cycles are compared as such, however long; what differs in time "
            f"is the latency"
        )
    notes.append("of a network: every layer as often as it is called; of a layer: one call. change: B over A, less 1")
    return notes


def _figure(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def _ratio(change: Change) -> str:
    if change.ratio is None:
        return _ABSENT if change.b else "="
    return "=" if change.a == change.b else f"{change.ratio:,.3f}x"


def _percent(change: Change) -> str:
    """The change, to a tenth of a percent; of smaller ones the first digit."""
    if change.a == change.b:
        return "="
    if change.ratio is None:
        return _ABSENT
    percent = 100 * (change.ratio - 1)
    return f"{percent:+,.1f}%" if abs(percent) >= 0.05 else f"{percent:+.1g}%"
