"""What a command works on: layers, weights, architectures. The options that say so, shared by the commands."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click

from ..sim import ARCHITECTURES, ArchSpec, InputError, Layer, load_arch, read_layers, shipped_layers
from ..sim.machine import parse_overrides, read_toml
from ..sim.tasks import DEFAULT_SPARSITY
from .options import BlockSize, machine_option, set_option

_PATTERN_OPTIONS = ("nm", "block", "sparsity", "all_layers")


_OPTIONS = (
    click.option(
        "--layer-csv",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Layer table: SCALE-Sim's, our own, or a shipped one by name, such as resnet50.",
    ),
    click.option(
        "--weights",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Packed model; alone, it is also the layer table.",
    ),
    click.option(
        "--arch",
        "archs",
        multiple=True,
        metavar="NAME|FILE.toml",
        help=f"Architecture or variant, repeatable; `crispsim archs` lists them. [default: {' '.join(ARCHITECTURES)}]",
    ),
    machine_option,
    set_option,
    click.option(
        "--nm",
        default="2:4",
        show_default=True,
        metavar="N:M",
        help="Fine-grained pattern of drawn weights, or dense.",
    ),
    click.option(
        "--block",
        type=BlockSize(),
        default="64",
        show_default=True,
        help="Side of the pruned blocks of drawn weights.",
    ),
    click.option(
        "--sparsity",
        type=float,
        metavar="0..1",
        help=f"Weight sparsity asked of each layer. [default: {DEFAULT_SPARSITY}, or what N:M gives without blocks]",
    ),
    click.option("--all-layers", is_flag=True, help="Prune the stem, depthwise, grouped and classifier layers, too."),
    click.option(
        "--activation-sparsity",
        type=float,
        default=0.4,
        show_default=True,
        metavar="0..1",
        help="Zeros in each layer's input; dstc skips them, for the others they only count in macs_effectual.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of drawn weights and activations."),
    click.option(
        "--jobs",
        type=int,
        default=lambda: os.cpu_count() or 1,
        metavar="N",
        help="Layers worked on at a time. [default: the number of cores]",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The options as given; everything is read and checked by its methods."""

    layer_csv: Path | None
    weights: Path | None
    archs: tuple[str, ...]
    machine: str
    overrides: tuple[str, ...]
    nm: str
    block: int | None
    sparsity: float | None
    all_layers: bool
    activation_sparsity: float
    seed: int
    jobs: int

    def specs(self) -> list[ArchSpec]:
        """The architectures, each on its machine.

        Raises
        ------
        InputError
            As `load_arch`.
        """
        given = parse_overrides(self.overrides)
        return [load_arch(text, self.machine, given) for text in self.archs or ARCHITECTURES]

    def layers(self, notice: Callable[[str], None]) -> list[Layer] | None:
        """The layer table, or None if the packed model is one.

        Raises
        ------
        InputError
            As `read_layers`.
        """
        return None if self.layer_csv is None else read_layers(self.layer_csv, notice=notice)

    def inputs(self) -> list[Path]:
        """The layer table and the packed model, where there are such."""
        return [path for path in (self.layer_csv, self.weights) if path is not None]

    def files(self) -> list[Path]:
        """All files that are read."""
        archs = [Path(text) for text in self.archs if text.endswith(".toml")]
        machines = [self.machine, *(str(read_toml(path).get("machine", "")) for path in archs)]
        return [*self.inputs(), *archs, *(Path(text) for text in machines if text.endswith(".toml"))]

    def arguments(self) -> dict[str, Any]:
        """For `simulate` and `verify`, beside layers and architectures."""
        names = ("weights", "nm", "block", "sparsity", "all_layers", "activation_sparsity", "seed", "jobs")
        return {name: getattr(self, name) for name in names}

    def asked(self) -> dict[str, object]:
        """What was asked for, for a run's record: packed weights have a pattern of their own."""
        said: dict[str, object] = {"layer_csv": str(self.layer_csv or "")}
        if self.weights is not None:
            said["weights"] = str(self.weights)
        else:
            usual = DEFAULT_SPARSITY if self.block is not None else "as N:M gives"
            said["nm"] = self.nm
            said["block"] = "none" if self.block is None else self.block
            said["sparsity"] = usual if self.sparsity is None else self.sparsity
            said["all_layers"] = self.all_layers
        return said | {"activation_sparsity": self.activation_sparsity}


def workload_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options; it is called with a `Workload` before its own."""

    @click.pass_context
    @functools.wraps(command)
    def with_workload(ctx: click.Context, /, **given: Any) -> None:
        own = {field.name: given.pop(field.name) for field in fields(Workload)}
        command(_checked(ctx, Workload(**own)), **given)

    wrapped: Callable[..., None] = with_workload
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _checked(ctx: click.Context, workload: Workload) -> Workload:
    """Refuse options that contradict each other, and find a shipped table by its name."""
    if workload.layer_csv is None and workload.weights is None:
        raise InputError("give --layer-csv FILE, or --weights FILE, or both")
    for option, path in (("--layer-csv", workload.layer_csv), ("--weights", workload.weights)):
        if path == Path():
            raise InputError(f"{option}: empty; give a file")
    if workload.weights is not None:
        for name in _PATTERN_OPTIONS:
            if ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{option}: the weights of {workload.weights} have their own pattern; leave it out")
    return replace(workload, layer_csv=workload.layer_csv and layer_table(workload.layer_csv))


def layer_table(given: Path) -> Path:
    """The layer table of this name: a shipped one, unless there is a file; a folder is not in its way."""
    is_file = given.exists() and not given.is_dir()
    return given if is_file else shipped_layers().get(str(given), given)
