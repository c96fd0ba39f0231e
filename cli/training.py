"""What the commands that train a network share: options, how it was made, what an interruption leaves."""

from __future__ import annotations

import ast
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from ..formats.errors import BadInputError
from .entry import INTERRUPTED
from .version import versions

_MODEL = (
    click.option(
        "--model",
        required=True,
        metavar="MODULE:FACTORY",
        help="What makes the network: torchvision.models:resnet50, crispsim.prune.models:resnet_small, yours.",
    ),
    click.option(
        "--model-arg",
        "model_arguments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Argument of the factory, a Python literal or text, repeatable. num_classes comes from the data.",
    ),
)

checkpoint_option = click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights to begin with: of crispsim, a state dict of torch, or .safetensors.",
)

data_option = click.option(
    "--data",
    default="digits",
    show_default=True,
    metavar="DATA",
    help="digits, icons:FILE, icons, cifar100:DIR, imagefolder:DIR, noise:CLASSESxCxHxW, or module:function.",
)

_DEVICE = (
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ..."),
    click.option("--amp/--no-amp", default=None, help="Mixed precision in training.  [default: where there is a GPU]"),
    click.option(
        "--threads", type=click.IntRange(1, 1024), metavar="N", help="Threads of torch on the CPU.  [default: torch's]"
    ),
)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --model and --model-arg."""
    return _with(command, _MODEL)


def device_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --device, --amp and --threads."""
    return _with(command, _DEVICE)


def parse_arguments(texts: Sequence[str]) -> dict[str, object]:
    """`KEY=VALUE` texts as keyword arguments; a value that is no Python literal is text.

    >>> parse_arguments(["width=32", "activation=relu"])
    {'width': 32, 'activation': 'relu'}

    Raises
    ------
    BadInputError
        One is not of that form.
    """
    found: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise BadInputError(f"--model-arg {text!r}: must be KEY=VALUE")
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found[key] = value
    return found


def prepare_torch(threads: int | None) -> None:
    """Import torch, which takes seconds, with so many threads.

    Idle OpenMP threads spin, by default, and take the cores from other processes: they are told to sleep.

    Raises
    ------
    BadInputError
        It is not installed.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import torch
    except ImportError as error:
        raise BadInputError(f"PyTorch is missing ({error}): pip install 'crispsim[prune]'") from error
    if threads is not None:
        torch.set_num_threads(threads)


def how_made() -> dict[str, Any]:
    """Command line and versions, for the files that say how something was made.

    --resume and --overwrite are left out: a packed file is the same whether its run was interrupted or not.
    """
    found = versions()
    for name in ("torch", "torchvision"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    words = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
    return {"command": shlex.join(["crispsim", *words]), "versions": found}


@contextmanager
def says_where_it_stands(checkpoint: Path) -> Iterator[None]:
    """On Ctrl-C, say what is kept and how to go on; the exit code is that of an interruption."""
    try:
        yield
    except KeyboardInterrupt:
        kept = (
            f"{checkpoint} holds the last whole epoch or pruning; --resume goes on"
            if checkpoint.exists()
            else "nothing is kept"
        )
        click.echo(f"\ncrispsim: interrupted; {kept}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


def _with(command: Callable[..., None], options: Sequence[Callable]) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command
