"""`crispsim report`: read a folder of results, write a page of it, print what was written."""

from __future__ import annotations

from pathlib import Path

import click

from ..bench.report import Format, report_of, report_targets, write_report
from ..sim import InputError
from .options import verbose_option

_FORMATS: dict[str, tuple[Format, ...]] = {"html": ("html",), "md": ("md",), "both": ("html", "md")}


@click.command(epilog="Example: crispsim report out/r50 --format both")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write, ending in .html or .md; --format both puts these to its name.  [default: DIR/report.html]",
)
@click.option(
    "--format",
    "asked",
    type=click.Choice([*_FORMATS]),
    help="Web page, Markdown or both.  [default: by the ending of --out, else html]",
)
@verbose_option
def report(folder: Path, out: Path | None, asked: str | None) -> None:
    """Write one self-contained page of a run, or of a pruned network: results, figures, every layer, how it was made.

    DIR is what `crispsim run --out DIR` or `crispsim prune --out DIR` wrote. The page loads nothing from anywhere, so
    that it can be passed on as it is. Figures need matplotlib and stand in the web page only.
    """
    if asked is None and out is not None:
        if out.suffix not in (".html", ".md"):
            raise InputError(f"--out {out}: must end in .html or .md")
        asked = out.suffix.removeprefix(".")
    asked = asked or "html"
    targets = report_targets(folder, out, _FORMATS[asked])
    page = report_of(folder)
    write_report(page, targets)
    for path in targets.values():
        click.echo(f"wrote {path} ({max(1, round(path.stat().st_size / 1024)):,} KiB)")
    for line in page.notices:
        click.echo(f"note: {line}", err=True)
