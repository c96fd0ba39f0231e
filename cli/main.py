"""The command: its group, and what happens to errors. 0 done, 2 bad input, 1 internal error, 130 interrupted."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

import click

from ..formats.errors import FormatError
from ..sim.control import Interrupted
from ..sim.errors import InputError
from .archs import archs
from .run import run
from .version import version

BAD_INPUT, INTERNAL, INTERRUPTED = 2, 1, 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: crispsim run --layer-csv sim/layers/resnet50.csv",
)
@click.version_option(version(), prog_name="crispsim")
@click.option("-v", "--verbose", is_flag=True, help="Show a traceback with an error.")
def cli(verbose: bool) -> None:
    """Exact, event-driven simulation of the CRISP sparse tensor core and its rivals."""


cli.add_command(run)
cli.add_command(archs)


def main() -> NoReturn:
    """Run the command; errors are one line each on standard error."""
    code = _run(sys.argv[1:])
    if code == INTERRUPTED:  # do not wait for a thread that compiles a kernel
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    verbose = any(argument in ("-v", "--verbose") for argument in arguments)
    try:
        cli.main(arguments, prog_name="crispsim", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt, Interrupted):
        return _fail(["interrupted; nothing was written"], INTERRUPTED, verbose)
    except click.ClickException as error:
        return _fail([error.format_message()], BAD_INPUT, verbose)
    except InputError as error:
        return _fail(error.lines, BAD_INPUT, verbose)
    except FormatError as error:
        return _fail([str(error)], BAD_INPUT, verbose)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left: nobody is to be told
        return 0
    except Exception as error:
        hint = "" if verbose else "; -v shows the traceback"
        return _fail([f"internal error: {type(error).__name__}: {error}{hint}"], INTERNAL, verbose)
    return 0


def _fail(lines: list[str], code: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    for line in lines:
        click.echo(f"crispsim: {' '.join(line.split())}", err=True)
    return code
