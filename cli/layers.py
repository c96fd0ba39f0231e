"""`crispsim layers`: the layer table of a torch model or of an ONNX file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ..bench.whole_files import check_file
from ..formats.errors import BadInputError
from ..sim import Layer, write_layers
from .options import verbose_option
from .training import parse_arguments

_LARGEST_AXIS = 2**31 - 1

_NO_RESIDUALS = (
    "residual inputs are not in the table: where layers' outputs are added, name them in a column Residual "
    "(docs/files.md), or runs with a DRAM leave out reading them"
)


@click.command(
    epilog="Example: crispsim layers torchvision.models:resnet50 --input 1x3x224x224 --out resnet50.csv",
)
@click.argument("model", metavar="MODULE:FACTORY|FILE.onnx")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="[NAME=]1x3x224x224[:DTYPE]",
    help="Size of the input, its batch first. ONNX: NAME for one of several, repeatable; needed where the file leaves "
    "a size open. DTYPE, such as int64 for token numbers: torch models only.",
)
@click.option(
    "--model-arg",
    "model_arguments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Argument of the factory, a Python literal or text, repeatable.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the table there; without it, print it."
)
@verbose_option
def layers(model: str, inputs: tuple[str, ...], model_arguments: tuple[str, ...], out: Path | None) -> None:
    """Write the layer table of a network, which `crispsim run --layer-csv` reads.

    A torch model is run once on one input: its Conv2d, Linear and attention layers are listed in the order they run.
    Of an ONNX graph, convolutions and matrix products with constant weights are. Products of two activations have no
    weights and are left out.
    """
    shapes = dict(_input(text) for text in inputs)
    if len(shapes) < len(inputs):
        raise BadInputError("--input: the same input twice")
    arguments = parse_arguments(model_arguments)
    if out is not None:
        check_file(out, [Path(model)])
    notices: list[str] = []
    if model.lower().endswith(".onnx"):
        found = _of_onnx(Path(model), shapes, arguments, notices)
    else:
        found = _of_model(model, shapes, arguments, notices)
    notices.append(_NO_RESIDUALS)
    for line in notices:
        click.echo(f"note: {line}", err=True)
    if out is None:
        click.echo(_table(found), nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    write_layers(out, found)
    click.echo(f"wrote {out}: {len(found)} layers, {sum(layer.macs * layer.calls for layer in found):,} MACs")


def _of_onnx(
    path: Path,
    shapes: Mapping[str, tuple[tuple[int, ...], str]],
    arguments: Mapping[str, object],
    notices: list[str],
) -> list[Layer]:
    from ..sim.onnx_layers import read_onnx

    if arguments:
        raise BadInputError(f"--model-arg: {path} is a file, no function")
    if any(dtype for _, dtype in shapes.values()):
        raise BadInputError(f"--input: a dtype: {path} knows the types of its inputs; leave it out")
    return read_onnx(path, {name: shape for name, (shape, _) in shapes.items()}, notice=notices.append)


def _of_model(
    text: str,
    shapes: Mapping[str, tuple[tuple[int, ...], str]],
    arguments: Mapping[str, object],
    notices: list[str],
) -> list[Layer]:
    from ..bench.network_layers import layers_of_model
    from .training import prepare_torch

    if ":" not in text:
        raise BadInputError(f"{text!r}: must be module:function, such as torchvision.models:resnet50, or a file .onnx")
    if not shapes:
        raise BadInputError("--input: missing: a torch model needs the size of its input, such as 1x3x224x224")
    if set(shapes) != {""}:
        named = next(name for name in shapes if name)
        raise BadInputError(f"--input {named}=...: a torch model has one input, without a name")
    prepare_torch(None)
    shape, dtype = shapes[""]
    return layers_of_model(text, shape, dtype=dtype or "float32", arguments=arguments, notice=notices.append)


def _input(text: str) -> tuple[str, tuple[tuple[int, ...], str]]:
    """NAME=1x3x224x224:DTYPE as (name, (sizes, dtype)); the last equals sign ends the name."""
    name, _, rest = text.rpartition("=")
    sizes, _, dtype = rest.partition(":")
    if not re.fullmatch(r"[0-9]{1,10}(x[0-9]{1,10})*", sizes, re.ASCII):
        raise BadInputError(f"--input {text!r}: must be sizes such as 1x3x224x224, or NAME=1x3x224x224")
    shape = tuple(int(size) for size in sizes.split("x"))
    if not all(1 <= size <= _LARGEST_AXIS for size in shape):
        raise BadInputError(f"--input {text!r}: each size must be from 1 to 2^31 - 1")
    return name, (shape, dtype)


def _table(found: Sequence[Layer]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layers.csv"
        write_layers(path, found)
        return path.read_text(encoding="utf-8")
