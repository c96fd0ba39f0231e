"""From a folder to its report, and from a report to files, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from ...sim import InputError
from ..pruned_folder import FILES as PRUNED_FILES
from ..pruned_reader import is_pruned, read_pruned
from ..run_folder import FILES as RUN_FILES
from ..run_folder import read_run
from ..whole_files import check_file, whole_files
from .content import Report
from .html import html_page
from .markdown import markdown_page
from .pictures import pruned_pictures, run_pictures
from .pruned_content import pruned_report
from .run_content import run_report

Format: TypeAlias = Literal["html", "md"]

NAME = "report"
_RENDER = {"html": html_page, "md": markdown_page}


def report_of(folder: Path) -> Report:
    """The report of a run's folder, or of a pruned network's.

    Raises
    ------
    InputError
        It is neither, or both.
    """
    if is_pruned(folder):
        pruned = read_pruned(folder)
        return pruned_report(pruned, pruned_pictures(pruned))
    run = read_run(folder)
    return run_report(run, run_pictures(run))


def report_targets(folder: Path, out: Path | None, formats: Sequence[Format]) -> dict[Format, Path]:
    """The file of each format: in the folder, or as asked; with several formats, endings are put to the name asked.

    Raises
    ------
    InputError
        The folder is none. A file would be one of its own, is a folder, lies in none, or does not end as its
        format does.
    """
    if not folder.is_dir():
        what = "it is a file" if folder.exists() else "there is no such folder"
        raise InputError(f"{folder}: not a run's folder: {what}")
    targets: dict[Format, Path]
    if out is None:
        targets = {name: folder / f"{NAME}.{name}" for name in formats}
    elif len(formats) > 1:
        stem = out.with_suffix("") if out.suffix in (".html", ".md") else out
        targets = {name: stem.with_name(f"{stem.name}.{name}") for name in formats}
    else:
        name = formats[0]
        if out.suffix != f".{name}":
            raise InputError(f"--out {out}: its ending is not that of --format {name}: must be .{name}")
        targets = {name: out}
    for path in targets.values():
        check_file(path, [folder / name for name in (*RUN_FILES, *PRUNED_FILES)])
    return targets


def write_report(report: Report, targets: Mapping[Format, Path]) -> None:
    """Write a report in each format; a file that is there is replaced, and none is left half-written.

    Raises
    ------
    InputError
        A file cannot be written.
    """
    with whole_files(list(targets.values())) as staged:
        for name, staging in zip(targets, staged, strict=True):
            staging.write_text(_RENDER[name](report), encoding="utf-8", errors="backslashreplace", newline="\n")
