"""`crispsim run`: simulate the layers of a network and show where the cycles went."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import click

from ..bench.run_folder import RunRecord, check_target, summary_of, write_run
from ..sim import ARCHITECTURES, InputError, load_arch, read_layers, shipped_layers, simulate
from ..sim.machine import parse_overrides
from ..sim.simulate import DEFAULT_SPARSITY
from .network_table import print_results
from .options import machine_option, set_option, verbose_option
from .progress import LayerProgress
from .terminal import terminal
from .version import versions

_PATTERN_OPTIONS = ("nm", "block", "sparsity", "all_layers")


class _Block(click.ParamType):
    name = "B|none"

    def convert(self, value, param, ctx):
        if isinstance(value, str) and value.lower() == "none":
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is not an integer or none", param, ctx)


@click.command(epilog="Example: crispsim run --layer-csv resnet50 --nm 1:4 --block 32 --sparsity 0.85 --out out/r50")
@click.option(
    "--layer-csv",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Layer table: SCALE-Sim's, our own, or a shipped one by name, such as resnet50.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Packed model; alone, it is also the layer table.",
)
@click.option(
    "--arch",
    "archs",
    multiple=True,
    metavar="NAME|FILE.toml",
    help=f"Architecture, repeatable. [default: {' '.join(ARCHITECTURES)}]",
)
@machine_option
@set_option
@click.option(
    "--nm",
    default="2:4",
    show_default=True,
    metavar="N:M",
    help="Fine-grained pattern of drawn weights, or dense.",
)
@click.option(
    "--block",
    type=_Block(),
    default="64",
    show_default=True,
    help="Side of the pruned blocks of drawn weights.",
)
@click.option(
    "--sparsity",
    type=float,
    metavar="0..1",
    help=f"Weight sparsity asked of each layer. [default: {DEFAULT_SPARSITY}, or what N:M gives without blocks]",
)
@click.option("--all-layers", is_flag=True, help="Prune the stem, depthwise, grouped and classifier layers, too.")
@click.option(
    "--activation-sparsity",
    type=float,
    default=0.4,
    show_default=True,
    metavar="0..1",
    help="Zeros in each layer's input (no architecture here skips them: they count in macs_effectual only).",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of drawn weights and activations.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write results.csv, summary.json and config.toml; an earlier run there is replaced.",
)
@click.option(
    "--jobs",
    type=int,
    default=lambda: os.cpu_count() or 1,
    metavar="N",
    help="Layers simulated at a time. [default: the number of cores]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary and all rows as JSON instead of tables.")
@click.option("--quiet", is_flag=True, help="Print neither tables nor progress.")
@verbose_option
@click.pass_context
def run(
    ctx: click.Context,
    layer_csv: Path | None,
    weights: Path | None,
    archs: tuple[str, ...],
    machine: str,
    overrides: tuple[str, ...],
    nm: str,
    block: int | None,
    sparsity: float | None,
    all_layers: bool,
    activation_sparsity: float,
    seed: int,
    out: Path | None,
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Simulate a network: cycles, traffic, and why every core-cycle was spent.

    Without --weights, masks that obey the pattern exactly are drawn from the seed. Layers the CRISP pruner leaves
    dense (the stem, depthwise and grouped convolutions, the classifier) stay dense unless their row says otherwise.
    """
    notices: list[str] = []
    if layer_csv is None and weights is None:
        raise InputError("give --layer-csv FILE, or --weights FILE, or both")
    for option, path in (("--layer-csv", layer_csv), ("--weights", weights)):
        if path == Path():
            raise InputError(f"{option}: empty; give a file")
    if weights is not None:
        for name in _PATTERN_OPTIONS:
            if ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
                raise InputError(
                    f"--{name.replace('_', '-')}: the weights of {weights} have their own pattern; leave it out"
                )
    fields = parse_overrides(overrides)
    specs = [load_arch(text, machine, fields) for text in archs or ARCHITECTURES]
    if out is not None:
        check_target(out)
    layer_csv = layer_csv and _table_of(layer_csv)
    layers = None if layer_csv is None else read_layers(layer_csv, notice=notices.append)

    talk = not quiet and not as_json
    with LayerProgress(shown=talk and sys.stderr.isatty(), announce=not quiet) as progress:
        results = simulate(
            layers,
            specs,
            weights=weights,
            nm=nm,
            block=block,
            sparsity=sparsity,
            activation_sparsity=activation_sparsity,
            seed=seed,
            all_layers=all_layers,
            jobs=jobs,
            progress=progress.update,
            notice=notices.append,
        )
    if talk:
        for line in notices:
            click.echo(f"note: {line}", err=True)
    record = RunRecord(
        command=shlex.join(["crispsim", *sys.argv[1:]]),
        versions=versions(),
        seed=seed,
        options=_options(layer_csv, weights, nm, block, sparsity, all_layers)
        | {"activation_sparsity": activation_sparsity},
        inputs=tuple(path for path in (layer_csv, weights) if path is not None),
        specs=tuple(specs),
        notices=tuple(notices),
    )
    if out is not None:
        write_run(out, results, record)
    if as_json:
        table = results.to_dataframe().to_dict(orient="records")
        click.echo(json.dumps(summary_of(results, record) | {"rows": table}, indent=2))
    elif talk:
        print_results(results, terminal(140))
        if out is not None:
            click.echo(f"wrote {out}/results.csv, summary.json, config.toml")


def _table_of(name: Path) -> Path:
    """The layer table of this path, or the shipped one of this name."""
    shipped = shipped_layers()
    if not name.exists() and str(name) in shipped:
        return shipped[str(name)]
    return name


def _options(
    layer_csv: Path | None, weights: Path | None, nm: str, block: int | None, sparsity: float | None, all_layers: bool
) -> dict[str, object]:
    """What the run was asked for, as far as it had a say in it: packed weights have a pattern of their own."""
    if weights is not None:
        return {"layer_csv": str(layer_csv or ""), "weights": str(weights)}
    asked = DEFAULT_SPARSITY if block is not None else "as N:M gives"
    return {
        "layer_csv": str(layer_csv),
        "nm": nm,
        "block": "none" if block is None else block,
        "sparsity": asked if sparsity is None else sparsity,
        "all_layers": all_layers,
    }
