"""`crispsim sensitivity`: which conclusions of a run stand when its energy figures vary.

As in the tables of `crispsim run`, no number is ever cropped: a table too wide for the terminal is split.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table

from ..bench.run_folder import read_run
from ..bench.sensitivity import (
    Choice,
    Conclusion,
    Finding,
    Gain,
    Measure,
    Option,
    Range,
    Study,
    json_of,
    pj_of,
    study_run,
    write_options,
)
from ..bench.whole_files import check_file
from ..sim.archs import BASELINE
from .options import verbose_option
from .tables import plain_table, print_first, print_table, short_name, side_by_side
from .terminal import Terminal, terminal

_MARK = "*"

_TITLES: dict[Measure, str] = {
    "energy": "Energy of the network: A takes less than B",
    "edp": "Energy-delay product of the network: A has a smaller one than B",
}

# What an item's figures are for.
_PER = {
    "mac": "operation",
    "mux2_bit": "bit",
    "full_adder": "operation",
    "crossbar_bit": "bit",
    "register_bit": "bit",
    "smem": "B, read / write",
    "metadata": "B, read",
    "rf": "B, read / write",
    "buffer": "B, read / write",
    "technology": "see below",
    "dram": "bit",
}


@click.command(epilog="Example: crispsim sensitivity out/r50 --out spread.csv")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Write a row per item, alternative and architecture: pJ, sources, energy with its parts, gain.",
)
@verbose_option
def sensitivity(folder: Path, as_json: bool, out: Path | None) -> None:
    """Show which conclusions of a run stand when its energy figures vary as far as their sources lie apart.

    DIR is what `crispsim run --out DIR` wrote, at 45 or 22 nm. Every figure takes what each other source says of it,
    one item at a time and all in every combination; nothing is simulated again.
    """
    run = read_run(folder)
    if out is not None:
        check_file(out, run.files)
    study = study_run(run)
    if out is not None:
        write_options(out, study)
    if as_json:
        click.echo(json.dumps(json_of(study), indent=2))
        return
    print_study(study, terminal(140))
    if out is not None:
        click.echo(f"wrote {out}")


def print_study(study: Study, console: Terminal) -> None:
    """Print the conclusions, the gains, the largest parts, and every alternative alone."""
    console.print(f"{study.run.path}: {study.run.summary['command']}", soft_wrap=True)
    console.print(study.run.machine_line, soft_wrap=True, highlight=False)
    console.print(
        f"energy table {study.table.name} ({study.table.technology.node_nm} nm); {len(study.items)} items varied, "
        f"{study.combinations:,} combinations"
    )
    for measure, title in _TITLES.items():
        if found := [c for c in study.conclusions if c.measure == measure]:
            _print_conclusions(title, found, console)
    _print_gains(study, console)
    _print_parts(study, console)
    _print_options(study, console)
    for note in _notes(study):
        console.print(note, style="dim")


def _print_conclusions(title: str, conclusions: Sequence[Conclusion], console: Terminal) -> None:
    names = [_claim(c) for c in conclusions]
    ratios = [_ratios(c.ratio, c.one_at_a_time, c.all_at_once) for c in conclusions]
    verdicts = [[_share(c.share), c.verdict] for c in conclusions]
    least = [[_choices(c.one_at_a_time.least_with) or "as run"] for c in conclusions]
    heads = ["B / A\nas run", *_RANGES]
    kinds = {
        "ratios": (heads, ratios),
        "verdicts": (["\nholds in", "\nverdict"], verdicts),
        "least": (["one at a time\nleast with"], least),
    }
    layouts = [
        [["ratios", "verdicts", "least"]],
        [["ratios", "verdicts"], ["least"]],
        [["verdicts"], ["ratios"], ["least"]],
    ]
    made: list[list[Table]] = []
    for layout in layouts:
        tables = []
        for columns in layout:
            table = plain_table(title)
            table.add_column("\nA < B", no_wrap=True)
            for head in (head for column in columns for head in kinds[column][0]):
                right = head not in ("\nverdict", "one at a time\nleast with")
                table.add_column(head, justify="right" if right else "left", no_wrap=True)
            for row, name in enumerate(names):
                table.add_row(name, *(cell for column in columns for cell in kinds[column][1][row]))
            tables.append(table)
        made.append(tables)
    print_first(console, made)
    for name, conclusion in zip(names, conclusions, strict=True):
        _print_overturned(name, conclusion, console)


_RANGES = ["one at a time\nleast", "\ngreatest", "all at once\nleast", "\ngreatest"]


def _print_gains(study: Study, console: Terminal) -> None:
    for over in dict.fromkeys(gain.over for gain in study.gains):
        _print_gains_over(over, [gain for gain in study.gains if gain.over == over], console)


def _print_gains_over(over: str, gains: Sequence[Gain], console: Terminal) -> None:
    heads = ["\nas run", *_RANGES]
    with_choice = [*heads, "one at a time\nleast with", "\ngreatest with"]
    rows = [[short_name(gain.arch), *_ratios(gain.gain, gain.one_at_a_time, gain.all_at_once)] for gain in gains]
    ends = [
        [_choices(end) or "as run" for end in (gain.one_at_a_time.least_with, gain.one_at_a_time.greatest_with)]
        for gain in gains
    ]
    layouts = [
        [(with_choice, [row + end for row, end in zip(rows, ends, strict=True)])],
        [(heads, rows), (with_choice[-2:], [[row[0], *end] for row, end in zip(rows, ends, strict=True)])],
    ]
    made = []
    for layout in layouts:
        tables = []
        for columns, cells in layout:
            table = plain_table(f"Energy gain over {short_name(over)}")
            table.add_column("\narchitecture", no_wrap=True)
            for head in columns:
                table.add_column(head, justify="left" if head.endswith("with") else "right", no_wrap=True)
            for row in cells:
                table.add_row(*row)
            tables.append(table)
        made.append(tables)
    print_first(console, made)


def _print_parts(study: Study, console: Terminal) -> None:
    table = plain_table("Largest part of the energy")
    for head in ("\narchitecture", "\npart"):
        table.add_column(head, no_wrap=True)
    for head in ("of its\nenergy", "stays the\nlargest in"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("\nverdict", no_wrap=True)
    table.add_column("\notherwise", no_wrap=True)
    for part in study.largest_parts:
        others = ", ".join(part.others)
        table.add_row(
            short_name(part.arch), part.part, f"{100 * part.of_energy:.1f}%", _share(part.share), part.verdict, others
        )
    print_table(console, table)
    for part in study.largest_parts:
        _print_overturned(f"{short_name(part.arch)}, {part.part} the largest", part, console)


def _print_overturned(name: str, finding: Finding, console: Terminal) -> None:
    """What alone turns a finding over."""
    if finding.overturned_by:
        console.print(f"{name}: depends on {_choices(finding.overturned_by)}")


def _print_options(study: Study, console: Terminal) -> None:
    """Every alternative alone, the items with most effect first; as many architectures abreast as there is room for."""
    names = [arch.name for arch in study.archs]
    print_first(console, ([_options_table(study, group) for group in groups] for groups in side_by_side(names)))
    if any(item.name == "technology" for item in study.items):
        print_table(console, _technology_table(study))


def _options_table(study: Study, archs: Sequence[str]) -> Table:
    table = plain_table("One item at a time")
    for head in ("\nitem", "\nalternative"):
        table.add_column(head, no_wrap=True)
    table.add_column("\npJ", justify="right", no_wrap=True)
    table.add_column("\nper", no_wrap=True)
    for arch in archs:
        table.add_column(f"{short_name(arch)}\nmJ", justify="right", no_wrap=True)
        if study.baselines[arch] not in (None, arch):
            table.add_column("\ngain", justify="right", no_wrap=True)
    for axis in sorted(range(len(study.items)), key=lambda axis: -_effect(study, axis)):
        item = study.items[axis]
        for index, option in enumerate(item.options):
            cells = [item.name if index == 0 else "", option.label + (_MARK if index == item.base else "")]
            cells += [_pj(study, option), _PER[item.name] if index == 0 else ""]
            for arch in archs:
                energy = study.at(study.energies[arch], axis, index)
                cells.append(_figure(energy / 1000))
                if (over := study.baselines[arch]) not in (None, arch):
                    cells.append(f"{study.at(study.energies[over], axis, index) / energy:.2f}x")
            table.add_row(*cells, end_section=index == len(item.options) - 1)
    return table


def _effect(study: Study, axis: int) -> float:
    """By how much an item alone changes the energy of the architecture that it changes most."""
    changes = []
    for energies in study.energies.values():
        values = [study.at(energies, axis, index) for index in range(len(study.items[axis].options))]
        changes.append((max(values) - min(values)) / study.at(energies))
    return max(changes)


def _technology_table(study: Study) -> Table:
    table = plain_table("Technology of the memories")
    table.add_column("\nalternative", no_wrap=True)
    kinds = {"smem": "SMEM, pJ/B\nread / write", "rf": "register file, pJ/B\nread / write"}
    kinds |= {"buffer": "accumulation buffer, pJ/B\nread / write"}
    (item,) = (item for item in study.items if item.name == "technology")
    shown = {kind: head for kind, head in kinds.items() if _named(study, item.options[0], f"{kind}_read")}
    for head in (*shown.values(), "leakage\nuW"):
        table.add_column(head, justify="right", no_wrap=True)
    for index, option in enumerate(item.options):
        cells = [option.label + (_MARK if index == item.base else "")]
        cells += [_named(study, option, f"{kind}_read", f"{kind}_write") for kind in shown]
        table.add_row(*cells, _named(study, option, "leakage_uw"))
    return table


def _pj(study: Study, option: Option) -> str:
    if option.item == "technology":
        return ""
    return _named(study, option, *dict.fromkeys(name for own in pj_of(study, option).values() for name in own))


def _named(study: Study, option: Option, *names: str) -> str:
    """Figures by name, of all architectures that have them; "or" where those differ."""
    told = [tuple(own[name] for name in names) for own in pj_of(study, option).values() if set(names) <= own.keys()]
    return " or ".join(dict.fromkeys(" / ".join(map(_figure, values)) for values in told))


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:#.4g}".rstrip(".")


def _claim(conclusion: Conclusion) -> str:
    return f"{short_name(conclusion.a)} {'=' if conclusion.equal else '<'} {short_name(conclusion.b)}"


def _ratios(ratio: float, *ranges: Range) -> list[str]:
    return [f"{value:.2f}x" for value in (ratio, *(end for span in ranges for end in (span.least, span.greatest)))]


def _share(share: float) -> str:
    """In percent; all and none only where it is so."""
    if share in (0.0, 1.0):
        return f"{100 * share:.0f}%"
    return f"{min(max(100 * share, 0.1), 99.9):.1f}%"


def _choices(choices: Sequence[Choice]) -> str:
    return "; ".join(f"{item}: {label}" for item, label in choices)


def _notes(study: Study) -> list[str]:
    notes = [
        f"{_MARK}: as the run has it",
        "stands: with every combination; stands one at a time: with each alternative alone, but not with every "
        "combination; depends: not with some alternative alone",
        "holds in: of all combinations, each counted once; they are not equally likely",
    ]
    labels = [option.label for item in study.items if item.name == "technology" for option in item.options]
    if any(label.endswith("(scaled)") for label in labels):
        notes.append(
            "scaled: the run's arrays times the ratio of 1-bank 1rw arrays of their size and word in CACTI's table; "
            "where these are not in it for both, interpolated for both between the same rows"
        )
    if not any(arch.baseline for arch in study.archs):
        notes.append(f"no gains: {BASELINE} is not in this run")
    elif study.without_gain:
        names = ", ".join(map(short_name, study.without_gain))
        notes.append(f"no gain is given for {names}: {BASELINE} was not run on the same machine")
    return notes + [f"not varied: {line}" for line in study.left_out]
