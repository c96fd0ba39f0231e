"""`crispsim archs`: which architectures there are, and what one of them is made of."""

from __future__ import annotations

import click
from rich import box
from rich.table import Table

from ..formats import Pattern, draw_weights
from ..sim import ARCHITECTURES, ArchSpec, InputError, load_arch
from ..sim.activations import NoZeros
from ..sim.arch_spec import variant_names, variant_summary
from ..sim.machine import describe, parse_overrides, preset_names
from ..sim.weights import Weights
from .options import machine_option, set_option, verbose_option
from .terminal import terminal

_SHOWN_PATTERNS = ((1, 1), (1, 4), (2, 4), (3, 4))


@click.group(invoke_without_command=True, epilog="Example: crispsim archs show crisp-stc --set smem.bytes_per_cycle=32")
@click.pass_context
def archs(ctx: click.Context) -> None:
    """List the architectures and machine presets."""
    if ctx.invoked_subcommand is None:
        console = terminal(120)
        for name, architecture in ARCHITECTURES.items():
            console.print(f"{name:<20}{architecture.summary}", soft_wrap=True)
        for name in variant_names():
            console.print(f"{name:<20}{variant_summary(name)}", soft_wrap=True)
        console.print(
            f"\n--arch also takes a .toml file; machines (--machine): {', '.join(preset_names())}, or a .toml file"
        )


@archs.command(epilog="Example: crispsim archs show stc --machine paper")
@click.argument("name", metavar="NAME|FILE.toml")
@machine_option
@set_option
@verbose_option
def show(name: str, machine: str, overrides: tuple[str, ...]) -> None:
    """Show an architecture's machine: every field that --set knows, its unit and meaning, and what follows from it."""
    spec = load_arch(name, machine, parse_overrides(overrides))
    console = terminal(120)
    console.print(f"{spec.name}: {spec.architecture.summary}")
    if spec.masks == "unstructured":
        console.print("It is given unstructured weights of the sparsity that the other architectures' weights have.")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("field", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("meaning")
    for key, value, unit, meaning in describe(spec.machine):
        table.add_row(key, f"{value:,}" if isinstance(value, int) else str(value), unit, meaning)
    console.print(table)
    console.print("--set smem.bytes_per_cycle=N sets both ports; of several settings the last wins")
    made = spec.machine
    console.print(
        f"peak: {made.macs} MACs a cycle, {2 * made.macs * made.clock_ghz / 1000:g} TOPS on stored values",
        highlight=False,
    )
    ways = {pattern.nm: _how(spec, pattern) for pattern in (Pattern(n=n, m=m) for n, m in _SHOWN_PATTERNS)}
    if len(set(ways.values())) == 1:
        ways = {"of any pattern": next(iter(ways.values()))}
    for weights, way in ways.items():
        console.print(f"weights {weights:>5}: {way}")


def _how(spec: ArchSpec, pattern: Pattern) -> str:
    """How the architecture runs weights of a pattern, or why it does not."""
    shape = (spec.machine.band_rows, 4 * pattern.m)
    matrix = draw_weights(shape, pattern, None, seed=0) if pattern.m > 1 else None
    try:
        setup = spec.architecture.setup(
            spec.machine, Weights(shape=shape, matrix=matrix), NoZeros(k=shape[1], columns=1)
        )
        return f"runs {setup.mode}, {setup.explain(spec.machine)}"
    except InputError as error:
        return f"refused: {error}"
