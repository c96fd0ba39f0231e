"""`crispsim run --trace`: its options, checked before anything is simulated; its file, written whole or not at all."""

from __future__ import annotations

import difflib
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import click
from rich.console import Console

from ..bench.whole_files import nearest_folder
from ..formats import FormatError, read_model
from ..sim import ArchSpec, Control, InputError, Layer
from ..sim.trace import DEFAULT_CYCLES, LEAST_CYCLES, Tracer, Window, write_trace
from .version import version

_OPTIONS = (
    click.option(
        "--trace",
        "trace",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write a timeline for Perfetto (ui.perfetto.dev) or chrome://tracing; compressed if it ends in .gz.",
    ),
    click.option(
        "--trace-cycles",
        metavar="N|FROM:TO",
        help="Cycles of each layer to trace, from 0 or FROM on, to before TO. "
        f"[default: {DEFAULT_CYCLES:,} in all, {LEAST_CYCLES} of each layer and architecture at least]",
    ),
    click.option(
        "--trace-layer",
        "trace_layers",
        multiple=True,
        metavar="NAME",
        help="Layer to trace, repeatable. [default: all]",
    ),
)


def trace_options(command: Callable[..., None]) -> Callable[..., None]:
    """The three options of a trace, for a command's function."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class TraceFile:
    """The trace that a run was asked for.

    Parameters
    ----------
    path : Path
    tracer : Tracer
        For `simulate`'s observer.
    """

    def __init__(self, path: Path, tracer: Tracer) -> None:
        self.path, self.tracer = path, tracer
        self._staged: Path | None = None

    def __enter__(self) -> TraceFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._staged:
            self._staged.unlink(missing_ok=True)

    def stage(self, *, shown: bool) -> None:
        """Write the trace beside its place: all that can go wrong for want of room goes wrong here.

        Parameters
        ----------
        shown : bool
            Whether the terminal shows that something is being done.

        Raises
        ------
        InputError
            It cannot be written.
        """
        self._staged = nearest_folder(self.path.absolute().parent) / f".crispsim-{secrets.token_hex(4)}"
        busy = Console(stderr=True, markup=False).status(f"writing {self.path}") if shown else nullcontext()
        try:
            with busy, self._staged.open("xb") as file:
                write_trace(file, self.tracer, version=version(), compress=self.path.suffix.lower() == ".gz")
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def place(self) -> None:
        """Move what is staged to its place; an earlier file there is replaced.

        Raises
        ------
        InputError
            It cannot be moved.
        """
        assert self._staged
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._staged.replace(self.path)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        self._staged = None


def trace_file(
    path: Path | None,
    cycles: str | None,
    names: Sequence[str],
    *,
    layers: Sequence[Layer] | None,
    weights: Path | None,
    specs: Sequence[ArchSpec],
    taken: Sequence[Path],
    control: Control,
) -> TraceFile | None:
    """Read the options of a trace; None without --trace.

    Parameters
    ----------
    path : Path or None
        Where it goes.
    cycles : str or None
        As given: N or FROM:TO.
    names : sequence of str
        Layers to trace; all without any.
    layers : sequence of Layer or None
        The run's; None for those of the packed model `weights`.
    specs : sequence of ArchSpec
    taken : sequence of Path
        Files that the run reads or writes: the trace must be none of them.
    control : Control

    Raises
    ------
    InputError
        An option is wrong.
    """
    if path is None:
        for option, given in (("--trace-cycles", cycles is not None), ("--trace-layer", bool(names))):
            if given:
                raise InputError(f"{option}: give --trace FILE, too")
        return None
    _check_path(path, taken)
    window = Window() if cycles is None else _window(cycles)
    known = [layer.name for layer in layers] if layers is not None else _names_in(weights)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise InputError(
                f"--trace-layer {name!r}: no such layer" + (f"; did you mean {near[0]!r}?" if near else "")
            )
    return TraceFile(path, Tracer(names or known, specs, window, control=control))


def _window(text: str) -> Window:
    first, colon, last = text.partition(":")
    if not colon:
        first, last = "0", first
    numbers = [part.strip() for part in (first, last)]
    if not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in numbers):
        raise InputError(f"--trace-cycles {text!r}: must be a number of cycles, such as 500, or FROM:TO")
    window = Window(int(numbers[0]), int(numbers[1]))
    if window.first >= int(numbers[1]):
        rule = f"FROM must be below TO = {window.last}" if colon else "must be at least 1"
        raise InputError(f"--trace-cycles {text!r}: {rule}")
    return window


def _names_in(weights: Path | None) -> list[str]:
    """The layers of a packed model."""
    assert weights
    try:
        return [layer.name for layer in read_model(weights).layers]
    except FormatError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"{weights}: cannot read: {error.strerror}") from error


def _check_path(path: Path, taken: Sequence[Path]) -> None:
    """Refuse a file that cannot be written, or that the run needs for something else."""
    if path == Path():
        raise InputError("--trace: empty; give a file")
    own = path.resolve()
    for other in (given.resolve() for given in taken):
        if own == other or own in other.parents or other in own.parents:
            raise InputError(f"--trace {path}: the run reads or writes {other} for another purpose; give another file")
    if os.path.lexists(path) and not path.is_file():
        raise InputError(f"--trace {path}: is there and no file; give a file")
    nearest = nearest_folder(path.absolute().parent)
    if not nearest.is_dir():
        raise InputError(f"--trace {path}: {nearest} is a file; give a path in a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--trace {path}: {nearest} cannot be written to")


def _cannot_write(path: Path, error: OSError) -> InputError:
    return InputError(f"--trace {path}: cannot write: {error.strerror}")
