"""`crispsim figure NAME`: simulate what a figure shows, or read a folder or its table, and draw it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bench.figures import figure8_table, metadata, roofline, roofline_levels, sparsity, stalls
from ..bench.figures.drawing import need_matplotlib
from ..bench.figures.figure_kind import check_target, read_table, write_figure
from ..bench.figures.registry import FIGURES
from ..bench.pruned_reader import read_pruned
from ..bench.run_folder import RunFolder, read_run
from ..sim import ARCHITECTURES, InputError, Layer, Machine, load_arch, read_layers, simulate
from ..sim.energy import DEFAULT_TABLE, load_table, table_names
from ..sim.machine import parse_overrides
from ..sim.tasks import DEFAULT_SPARSITY
from .options import NO_ENERGY, energy_option, machine_option, set_option, verbose_option
from .progress import LayerProgress
from .workload import layer_table

if TYPE_CHECKING:
    import pandas as pd

_MOST_WEIGHTS = 1 << 26
DRAM_PRESET = "edge-lpddr4"


class _Figures(click.Group):
    """The group; an unknown figure is answered with those there are."""

    def resolve_command(self, ctx, args):
        if args and args[0] not in self.commands:
            raise click.UsageError(f"figure {args[0]!r}: must be one of {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Figures, invoke_without_command=True, epilog="Example: crispsim figure speedup --sparsity 0.85")
@click.pass_context
def figure(ctx: click.Context) -> None:
    """Draw a figure: its table as CSV, and the picture as SVG and PNG. Without a name, list them."""
    if ctx.invoked_subcommand is None:
        width = 2 + max(map(len, FIGURES))
        for kind in FIGURES.values():
            click.echo(f"{kind.name:<{width}}{kind.summary}")


def _figure_command(name: str, example: str, *options: Callable) -> Callable:
    """Make a function that collects a figure's table the command that draws it."""
    kind = FIGURES[name]

    def make(collect: Callable[..., pd.DataFrame]) -> click.Command:
        @functools.wraps(collect)
        def command(out: Path, table: Path | None, **given: Any) -> None:
            need_matplotlib()
            check_target(kind, out)
            if table is not None:
                _refuse_beside("--from", "which draws a table as it is")
                rows = read_table(kind, table)
            else:
                rows = collect(**given)
            written = write_figure(kind, rows, out)
            for line in kind.says(rows):
                click.echo(line)
            click.echo(f"wrote {', '.join(map(str, written))}")

        own = (
            click.option(
                "--out", type=click.Path(path_type=Path), default="figures", show_default=True, metavar="DIR",
                help=f"Folder of {name}.csv, .svg and .png; earlier ones are replaced.",
            ),
            click.option(
                "--from", "table", type=click.Path(path_type=Path), metavar="FILE.csv",
                help="Draw this table, as an earlier call wrote it, and simulate nothing.",
            ),
            *options,
            verbose_option,
        )  # fmt: skip
        wrapped: Callable[..., Any] = command
        for option in reversed(own):
            wrapped = option(wrapped)
        help_text = f"{kind.summary[0].upper()}{kind.summary[1:]}."
        return figure.command(name, help=help_text, short_help=kind.summary, epilog=f"Example: {example}")(wrapped)

    return make


def _refuse_beside(source: str, why: str) -> None:
    """Refuse options that say what to simulate beside one that names what is drawn."""
    ctx = click.get_current_context()
    for param in ctx.command.params:
        given = ctx.get_parameter_source(str(param.name)) == click.core.ParameterSource.COMMANDLINE
        if given and param.opts[0] not in (source, "--out", "-v"):
            raise InputError(f"{param.opts[0]}: leave it out with {source}, {why}")


class _Shape(click.ParamType):
    name = "SxK"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        sides = value.lower().split("x")
        if len(sides) == 2 and all(side.isascii() and side.isdigit() and len(side) < 9 for side in sides):
            rows, columns = map(int, sides)
            if 0 < rows * columns <= _MOST_WEIGHTS:
                return rows, columns
        return self.fail(f"{value!r}: must be SxK, such as 512x4608, of at most {_MOST_WEIGHTS} weights", param, ctx)


_sparsity = click.option(
    "--sparsity", type=float, default=DEFAULT_SPARSITY, show_default=True, metavar="0..1", help="Weight sparsity asked."
)
_seed = click.option("--seed", type=int, default=0, show_default=True, help="Of drawn weights and activations.")
_layer_csv = click.option(
    "--layer-csv",
    type=click.Path(path_type=Path),
    default=figure8_table.RESNET50,
    show_default=True,
    metavar="FILE",
    help="Layer table, or a shipped one by name.",
)
_jobs = click.option(
    "--jobs", type=int, default=lambda: os.cpu_count() or 1, metavar="N",
    help="Layers worked on at a time. [default: the number of cores]",
)  # fmt: skip
_simulation = (_layer_csv, _sparsity, machine_option, set_option, _seed, _jobs)
_dram_machine = click.option(
    "--machine", default=DRAM_PRESET, show_default=True, metavar="NAME|FILE.toml",
    help="Machine with a DRAM: a preset, or a file.",
)  # fmt: skip
_paper = (
    *_simulation,
    click.option(
        "--layer", "shown", multiple=True, metavar="NAME",
        help="Layer to show, repeatable. [default: eight of ResNet-50's, or the eight with the most work]",
    ),
)  # fmt: skip
_energy_table = click.option(
    "--energy", default=DEFAULT_TABLE, show_default=True, metavar="NAME|FILE.toml",
    help=f"Energy table, one for all architectures: {', '.join(table_names())}, or a file.",
)  # fmt: skip
_run = click.option(
    "--run", type=click.Path(path_type=Path), metavar="DIR", help="Draw a run that `crispsim run --out DIR` wrote."
)


@_figure_command(
    "metadata", "crispsim figure metadata --shape 256x2304 --nm 1:4",
    click.option(
        "--shape", type=_Shape(), default=metadata.SHAPE, show_default="512x4608", help="Rows and columns of weights."
    ),
    click.option("--nm", default="2:4", show_default=True, metavar="N:M", help="Fine-grained pattern."),
    _sparsity, _seed,
)  # fmt: skip
def collect_metadata(**given: Any) -> pd.DataFrame:
    """Pack one layer in every format."""
    return metadata.collect(**given)


@_figure_command("speedup", "crispsim figure speedup --sparsity 0.85 --out figures", *_paper, energy_option)
def collect_speedup(**given: Any) -> pd.DataFrame:
    """Simulate every pattern and block."""
    return _paper_table(**given)


@_figure_command("energy", "crispsim figure energy --from figures/speedup.csv", *_paper, _energy_table)
def collect_energy(energy: str, **given: Any) -> pd.DataFrame:
    """Simulate every pattern and block."""
    if energy == NO_ENERGY:
        raise InputError("--energy none: the figure is of energy; name a table")
    return _paper_table(energy=energy, **given)


@_figure_command("stalls", "crispsim figure stalls --run out/r50", _run, *_simulation)
def collect_stalls(run: Path | None, **given: Any) -> pd.DataFrame:
    """Read or simulate a run."""
    if run is not None:
        return stalls.collect(_read(run).rows)
    rows, _ = _simulated(**given)
    return stalls.collect(rows)


@_figure_command("roofline", "crispsim figure roofline --run out/r50", _run, *_simulation)
def collect_roofline(run: Path | None, **given: Any) -> pd.DataFrame:
    """Read or simulate a run."""
    if run is not None:
        folder = _read(run)
        return roofline.collect(folder.rows, folder.machines)
    return roofline.collect(*_simulated(**given))


@_figure_command(
    "roofline-levels", "crispsim figure roofline-levels --run out/r50",
    _run, _layer_csv, _sparsity, _dram_machine, set_option, _seed, _jobs,
)  # fmt: skip
def collect_levels(run: Path | None, **given: Any) -> pd.DataFrame:
    """Read or simulate a run with a DRAM."""
    if run is not None:
        folder = _read(run)
        return roofline_levels.collect(folder.rows, folder.machines)
    if not Machine.load(given["machine"], parse_overrides(given["overrides"])).has_dram:
        raise InputError(f"figure roofline-levels: {roofline_levels.NO_DRAM}")
    return roofline_levels.collect(*_simulated(**given))


@_figure_command(
    "sparsity", "crispsim figure sparsity --run out/digits",
    click.option(
        "--run", type=click.Path(path_type=Path), metavar="DIR",
        help="Draw a network that `crispsim prune --out DIR` wrote.",
    ),
)  # fmt: skip
def collect_sparsity(run: Path | None) -> pd.DataFrame:
    """Read a pruned network."""
    if run is None:
        raise InputError("figure sparsity: give --run DIR, a pruned network, or --from FILE.csv, its sparsity.csv")
    return sparsity.collect(read_pruned(run).layers)


def _read(run: Path) -> RunFolder:
    _refuse_beside("--run", "which has its own")
    return read_run(run)


def _paper_table(
    *,
    layer_csv: Path,
    sparsity: float,
    machine: str,
    overrides: tuple[str, ...],
    shown: tuple[str, ...],
    energy: str,
    seed: int,
    jobs: int,
) -> pd.DataFrame:
    fields = parse_overrides(overrides)
    with _progress() as progress:
        return figure8_table.collect(
            sparsity,
            layers=_layers(layer_csv),
            network=layer_csv.stem,
            shown=shown,
            archs=[load_arch(name, machine, fields) for name in figure8_table.ARCHS],
            energy=None if energy == NO_ENERGY else load_table(energy),
            seed=seed,
            jobs=jobs,
            progress=progress.update,
        )


def _simulated(
    *, layer_csv: Path, sparsity: float, machine: str, overrides: tuple[str, ...], seed: int, jobs: int
) -> tuple[pd.DataFrame, dict[str, Machine]]:
    """Rows of a run with the defaults, and the machines of its architectures."""
    fields = parse_overrides(overrides)
    specs = [load_arch(name, machine, fields) for name in ARCHITECTURES]
    with _progress() as progress:
        results = simulate(
            _layers(layer_csv), specs, sparsity=sparsity, energy=None, seed=seed, jobs=jobs, progress=progress.update
        )
    return results.to_dataframe(), {spec.name: spec.machine for spec in specs}


def _layers(path: Path) -> list[Layer]:
    return read_layers(layer_table(path), notice=lambda line: click.echo(f"note: {line}", err=True))


def _progress() -> LayerProgress:
    return LayerProgress("simulating", shown=sys.stderr.isatty(), announce=True)
