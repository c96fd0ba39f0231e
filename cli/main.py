"""The command: its group, and what happens to errors."""

from __future__ import annotations

import traceback
from importlib import import_module

import click

from ..formats.errors import BadInputError
from ..sim.control import Interrupted
from ..sim.datapath import DatapathError
from .entry import BAD_INPUT, INTERNAL, WRONG
from .options import verbose_option
from .version import version

# Each command in a module of its name, which is imported when it is asked for: starting one does not wait for others.
_COMMANDS = {
    "archs": "archs",
    "compare": "compare",
    "export": "export_weights",
    "figure": "figure",
    "inspect": "inspect_file",
    "layers": "layers",
    "pretrain": "pretrain",
    "prune": "prune",
    "report": "report",
    "run": "run",
    "sensitivity": "sensitivity",
    "verify": "verify_values",
}


class _Commands(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return getattr(import_module(f".{cmd_name}", __package__), _COMMANDS[cmd_name])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: crispsim run --layer-csv resnet50",
    invoke_without_command=True,
)
@click.version_option(version(), prog_name="crispsim")
@verbose_option
@click.pass_context
def cli(ctx: click.Context) -> None:
    """CRISP: prune a network to what its user meets, and simulate it on its sparse tensor core and the rivals."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run_command(arguments: list[str]) -> int:
    """Run a command line; returns the exit code.

    Raises
    ------
    KeyboardInterrupt
        The user stopped it.
    OSError
        Standard output cannot be written to.
    """
    verbose = any(argument in ("-v", "--verbose") for argument in arguments)
    try:
        code = cli.main(arguments, prog_name="crispsim", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, Interrupted) as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        return _fail([error.format_message()], BAD_INPUT, verbose)
    except BadInputError as error:
        return _fail(error.lines, BAD_INPUT, verbose)
    except DatapathError as error:
        return _fail([f"wrong result: {error}"], WRONG, verbose)
    except OSError:
        raise
    except Exception as error:
        hint = "" if verbose else "; -v shows the traceback"
        return _fail([f"internal error: {type(error).__name__}: {error}{hint}"], INTERNAL, verbose)
    return code if isinstance(code, int) else 0  # of a command that ended with click's Exit


def _fail(lines: list[str], code: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    for line in lines:
        click.echo(f"crispsim: {' '.join(line.split())}", err=True)
    return code
