"""`crispsim run`: parse, simulate, print, write."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

import click

from ..bench.run_folder import FILES, RunRecord, check_target, summary_of, write_run
from ..sim import Control, simulate
from ..sim.energy import load_table
from ..sim.fusion import check_drams
from .network_table import print_results
from .options import NO_ENERGY, energy_option, verbose_option
from .progress import LayerProgress
from .terminal import terminal
from .trace_file import trace_file, trace_options
from .version import versions
from .workload import Workload, workload_options


@click.command(epilog="Example: crispsim run --layer-csv resnet50 --machine edge-lpddr4 --fuse --out out/r50")
@workload_options
@click.option(
    "--fuse",
    is_flag=True,
    help="With a DRAM: results that the next layer reads stay in SMEM where that moves fewer bytes, and its first "
    "weights come early. Totals without it are shown beside; about twice the time.",
)
@energy_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write results.csv, summary.json and config.toml; an earlier run there is replaced.",
)
@trace_options
@click.option("--json", "as_json", is_flag=True, help="Print the summary and all rows as JSON instead of tables.")
@click.option("--quiet", is_flag=True, help="Print neither tables nor progress.")
@verbose_option
def run(
    workload: Workload,
    fuse: bool,
    energy: str,
    out: Path | None,
    trace: Path | None,
    trace_cycles: str | None,
    trace_layers: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Simulate a network: cycles, traffic, energy, and why every core-cycle was spent.

    Without --weights, masks that obey the pattern exactly are drawn from the seed. Layers the CRISP pruner leaves
    dense (the stem, depthwise and grouped convolutions, the classifier) stay dense unless their row says otherwise.
    dstc is given unstructured weights of the same sparsity (--arch dstc-given-masks: the same weights).

    The default machine, edge, has no DRAM: every tensor is taken to lie in SMEM, an ideal. --machine edge-lpddr4 is the
    same with a DRAM behind it; totals of the ideal are shown beside. Layers are chained (--fuse) by the shapes of
    their rows.
    """
    notices: list[str] = []
    specs = workload.specs()
    if fuse:
        check_drams(specs)
    table = None if energy == NO_ENERGY else load_table(energy)
    if out is not None:
        check_target(out)
    layers = workload.layers(notices.append)
    control = Control()
    tracing = trace_file(
        trace,
        trace_cycles,
        trace_layers,
        layers=layers,
        weights=workload.weights,
        specs=specs,
        taken=[
            *workload.files(),
            *([Path(energy)] if energy.endswith(".toml") else []),
            *(out / name for name in FILES if out is not None),
        ],
        control=control,
    )

    talk = not quiet and not as_json
    shown = talk and sys.stderr.isatty()
    with LayerProgress("simulating", shown=shown, announce=not quiet) as progress:
        results = simulate(
            layers,
            specs,
            **workload.arguments(),
            energy=table,
            fuse=fuse,
            ideal=True,
            progress=progress.update,
            notice=notices.append,
            observer=tracing and tracing.tracer,
            control=control,
        )
    if talk:
        for line in notices:
            click.echo(f"note: {line}", err=True)
    if not quiet:
        for line in results.warnings():
            click.echo(f"warning: {line}", err=True)
    record = RunRecord(
        command=shlex.join(["crispsim", *sys.argv[1:]]),
        versions=versions(),
        seed=workload.seed,
        fuse=fuse,
        options=workload.asked(),
        inputs=tuple(workload.inputs()),
        specs=tuple(specs),
        energy=table,
        notices=tuple(notices),
    )
    with tracing or nullcontext():
        if tracing:
            tracing.stage(shown=shown)
        if out is not None:
            write_run(out, results, record)
        if tracing:
            tracing.place()
    if as_json:
        rows = [dict.fromkeys(results.columns) | row.row() for row in results.rows]
        click.echo(json.dumps(summary_of(results, record) | {"rows": rows}, indent=2))
    elif talk:
        print_results(results, terminal(140))
        if out is not None:
            click.echo(f"wrote {out}/results.csv, summary.json, config.toml")
        if tracing:
            click.echo(f"wrote {tracing.path}: open it in https://ui.perfetto.dev or chrome://tracing")
            if told := tracing.tracer.notice():
                click.echo(f"note: trace: {told}; --trace-cycles, --trace-layer", err=True)
