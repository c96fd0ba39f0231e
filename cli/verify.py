"""`crispsim verify`: parse, move values along the datapaths, print what was found right."""

from __future__ import annotations

import sys
import time

import click
from rich import box
from rich.table import Table

from ..sim import InputError, Verified, verify
from ..sim.verify import DEFAULT_COLUMNS
from .options import verbose_option
from .progress import LayerProgress
from .terminal import terminal
from .workload import Workload, workload_options


@click.command(name="verify", epilog="Example: crispsim verify --layer-csv resnet50 --arch crisp-stc --columns all")
@workload_options
@click.option(
    "--columns",
    default=str(DEFAULT_COLUMNS),
    show_default=True,
    metavar="N|all",
    help="Columns of each layer to run; with a number, also at most 8 groups of a grouped layer.",
)
@click.option("--quiet", is_flag=True, help="Print neither the table nor progress.")
@verbose_option
def verify_values(workload: Workload, columns: str, quiet: bool) -> None:
    """Move real int8 values along every architecture's datapath, and compare with an integer product.

    Packed values, indices or bitmaps, selection, lanes and partial sums, in the order of the simulated plan: every
    result must equal the product bit for bit. Exit code 1 if one does not.
    """
    width = _columns(columns)
    notices: list[str] = []
    specs, layers = workload.specs(), workload.layers(notices.append)
    start = time.perf_counter()
    with LayerProgress("verifying", shown=not quiet and sys.stderr.isatty(), announce=not quiet) as progress:
        found = verify(
            layers, specs, columns=width, **workload.arguments(), progress=progress.update, notice=notices.append
        )
    if quiet:
        return
    for line in notices:
        click.echo(f"note: {line}", err=True)
    console = terminal(120)
    console.print(_table(found))
    seconds = time.perf_counter() - start
    console.print(f"every result compared equals the integer product, bit for bit; {seconds:.1f} s", highlight=False)


def _columns(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--columns {text}: must be an integer of at least 1, or all")
    return int(text)


def _table(found: list[Verified]) -> Table:
    """A row an architecture: what was run, over all layers."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("architecture", no_wrap=True)
    for column in ("layers", "groups", "columns", "results compared", "MACs issued"):
        table.add_column(column, justify="right", no_wrap=True)
    for arch in dict.fromkeys(line.arch for line in found):
        own = [line for line in found if line.arch == arch]
        run, there = sum(line.groups for line in own), sum(line.layer.groups for line in own)
        columns, all_columns = sum(line.columns for line in own), sum(line.layer.p for line in own)
        table.add_row(
            arch,
            f"{len(own)}",
            f"{run:,} of {there:,}",
            f"{columns:,} of {all_columns:,}",
            f"{sum(line.results for line in own):,}",
            f"{sum(line.macs_issued for line in own):,}",
        )
    return table
