"""`crispsim archs`: which architectures there are, and what one of them is made of."""

from __future__ import annotations

import click
from rich import box
from rich.table import Table

from ..formats import Pattern, draw_weights
from ..sim import ARCHITECTURES, ArchSpec, InputError, load_arch
from ..sim.activations import NoZeros
from ..sim.arch_spec import variant_names, variant_summary
from ..sim.energy import EnergyModel, area_of, clock_notes, clock_warnings, table_names
from ..sim.machine import Machine, describe, name_of, parse_overrides, preset_names
from ..sim.weights import Weights
from .options import NO_ENERGY, energy_option, machine_option, set_option, verbose_option
from .terminal import Terminal, terminal

_SHOWN_PATTERNS = ((1, 1), (1, 4), (2, 4), (3, 4))


@click.group(invoke_without_command=True, epilog="Example: crispsim archs show crisp-stc --set smem.bytes_per_cycle=32")
@click.pass_context
def archs(ctx: click.Context) -> None:
    """List the architectures, machine presets and energy tables."""
    if ctx.invoked_subcommand is None:
        console = terminal(120)
        for name, architecture in ARCHITECTURES.items():
            console.print(f"{name:<20}{architecture.summary}", soft_wrap=True)
        for name in variant_names():
            console.print(f"{name:<20}{variant_summary(name)}", soft_wrap=True)
        console.print("\n--arch also takes a .toml file; machines (--machine), or a .toml file:")
        for name in preset_names():
            console.print(f"  {name:<18}DRAM: {Machine.load(name).dram_line}", soft_wrap=True, highlight=False)
        console.print(f"energy tables (--energy): {', '.join(table_names())}, a .toml file, or none")


@archs.command(epilog="Example: crispsim archs show stc --machine paper")
@click.argument("name", metavar="NAME|FILE.toml")
@machine_option
@set_option
@energy_option
@verbose_option
def show(name: str, machine: str, overrides: tuple[str, ...], energy: str) -> None:
    """Show an architecture's machine: every field that --set knows, its memories, its area, its peak figures."""
    spec = load_arch(name, machine, parse_overrides(overrides))
    model = None if energy == NO_ENERGY else EnergyModel.of(spec.machine, spec.architecture, energy)
    console = terminal(120)
    console.print(f"{spec.name}: {spec.architecture.summary}")
    console.print(f"machine: {name_of(spec.machine)}", highlight=False)
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
    ports = made.smem.read_bytes_per_cycle, made.smem.write_bytes_per_cycle
    console.print(
        f"peak: {made.macs} MACs a cycle, {made.peak_tops:g} TOPS on stored values; SMEM "
        f"{ports[0] * made.clock_ghz:g} GB/s read, {ports[1] * made.clock_ghz:g} GB/s written",
        highlight=False,
    )
    if made.has_dram:
        console.print(
            f"DRAM: {made.dram_line}; {made.dram.bytes_per_cycle * made.clock_ghz:g} GB/s, reads and writes together",
            highlight=False,
        )
    else:
        console.print("DRAM: none (SMEM-resident ideal: every tensor is taken to lie in SMEM)", highlight=False)
    ways = {pattern.nm: _how(spec, pattern) for pattern in (Pattern(n=n, m=m) for n, m in _SHOWN_PATTERNS)}
    if len(set(ways.values())) == 1:
        ways = {"of any pattern": next(iter(ways.values()))}
    for weights, way in ways.items():
        console.print(f"weights {weights:>5}: {way}", highlight=False)
    if model:
        _print_energy(console, model)


def _print_energy(console: Terminal, model: EnergyModel) -> None:
    """The memories with their area, what each count costs, and whether the arrays make the clock."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title="Memories", title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    for head in ("arrays", "KiB", "banks x bit", "read\npJ", "write\npJ", "access\nns", "cycle\nns", "leakage\nuW"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("area\nmm2", justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    for memory in model.memories:
        sram, shape = memory.sram, memory.sram.shape
        table.add_row(
            memory.part,
            str(memory.count),
            f"{shape.size_bytes / 1024:g}",
            f"{shape.banks} x {shape.word_bits} {shape.ports}",
            f"{sram.read_pj:.4g}",
            f"{sram.write_pj:.4g}",
            "-" if sram.access_ns is None else f"{sram.access_ns:.3g}",
            "-" if sram.cycle_ns is None else f"{sram.cycle_ns:.3g}",
            f"{1000 * memory.leakage_mw:.3g}",
            f"{memory.area_mm2:.4g}",
            "CACTI 7" if sram.origin == "table" else sram.origin,
        )
    areas = area_of(model.memories)
    table.add_section()
    table.add_row("all", *[""] * 7, f"{1000 * sum(m.leakage_mw for m in model.memories):.3g}", f"{areas['total']:.4g}")
    console.print(table)
    technology, mac = model.table.technology, next(term for term in model.terms if term.part == "mac")
    tops = model.machine.peak_tops
    alone = f": {2 / mac.pj:.3g} TOPS/W for the arithmetic alone" if mac.pj else ""
    console.print(
        f"area: of the memories, {tops / areas['total']:.3g} TOPS a mm2 of them; the logic has no source",
        highlight=False,
    )
    console.print(
        f"energy: table {model.table.name}, {technology}; a MAC takes {mac.pj:.3g} pJ{alone}; what a network "
        f"gets `crispsim run` says",
        highlight=False,
    )
    for line in clock_notes(model.machine, model.memories):
        console.print(f"note: {line}", highlight=False)
    for line in clock_warnings(model.machine, model.memories):
        console.print(f"warning: {line}", highlight=False)


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
