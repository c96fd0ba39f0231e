"""Values through every architecture's datapath, against an integer product that knows no architecture.

A group's plan says in which order what moves; `Architecture.datapath` moves real int8 values that way; the result must
equal `datapath.integer_product` bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..formats import PackedModel
from .activations import GivenColumns, GroupActivations
from .arch_spec import ArchSpec
from .archs import ARCHITECTURES
from .blocking import ALL_IN_DRAM, Residency
from .control import Control
from .datapath import DatapathError
from .datapath.product import difference, integer_product
from .datapath.values import int8_weights
from .errors import InputError
from .layer import Layer
from .machine import Machine
from .tasks import Progress, Task, prepare, run_tasks
from .weights import Weights

DEFAULT_COLUMNS = 64
# Groups of a layer that are run where only some of the columns are; and bytes of an input that is held whole.
MOST_GROUPS, LARGEST_INPUT = 8, 1 << 31


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found right: a layer on one architecture.

    columns : of P, that were run. groups : of the layer's, that were run. macs_issued : by the machine, in them.
    results : values compared.
    """

    layer: Layer
    arch: str
    columns: int
    groups: int
    macs_issued: int
    results: int


def verify(
    layers: Sequence[Layer] | None = None,
    archs: str | Sequence[str | ArchSpec] = tuple(ARCHITECTURES),
    *,
    columns: int | None = DEFAULT_COLUMNS,
    machine: str | Path | Machine = "edge",
    weights: str | Path | PackedModel | None = None,
    nm: str | Sequence[int] = (2, 4),
    block: int | None = 64,
    sparsity: float | None = None,
    activation_sparsity: float = 0.4,
    seed: int = 0,
    all_layers: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
    control: Control | None = None,
) -> list[Verified]:
    """Move int8 values along every architecture's datapath, and compare the results with an integer product.

    Parameters
    ----------
    columns : int or None
        So many columns of each layer, at most, and at most `MOST_GROUPS` of its convolution groups, evenly spread;
        None for all of everything.
    layers, archs, and all others
        As `simulate`.

    Returns
    -------
    list of Verified
        One for each layer and architecture.

    Raises
    ------
    InputError
        Something given is wrong, or an input is too large to be held.
    DatapathError
        A result differs from the product.
    Interrupted
        `control.stop()` was called.
    """
    if columns is not None and (not isinstance(columns, int) or isinstance(columns, bool) or columns < 1):
        raise InputError(f"columns {columns!r}: must be an integer of at least 1, or None for all")
    tasks = prepare(
        layers,
        archs,
        machine=machine,
        weights=weights,
        nm=nm,
        block=block,
        sparsity=sparsity,
        activation_sparsity=activation_sparsity,
        seed=seed,
        all_layers=all_layers,
        keep_maps=True,
        notice=notice,
    )
    for task in tasks:
        check_input_size(task.layer)
    control = control or Control()
    work = partial(_verify_layer, columns=columns, control=control)
    return [line for lines in run_tasks(work, tasks, jobs, progress, control) for line in lines]


def check_input_size(layer: Layer) -> None:
    """Refuse a layer whose input and lowered columns would take gigabytes as values.

    Raises
    ------
    InputError
        They would.
    """
    for name, size in (("input values", layer.inputs), ("P x K of a group", layer.p * layer.k)):
        if size > LARGEST_INPUT:
            raise InputError(
                f"{layer.place}layer {layer.name!r}: {name} = {size}: too large to move as values, must be at most "
                f"{LARGEST_INPUT}"
            )


def _verify_layer(task: Task, *, columns: int | None, control: Control) -> list[Verified]:
    layer, activations = task.layer, task.activations(control)
    width = layer.p if columns is None else min(layer.p, columns)
    chosen = set(range(layer.groups))
    if columns is not None and layer.groups > MOST_GROUPS:
        chosen = set(np.linspace(0, layer.groups - 1, MOST_GROUPS).round().astype(int).tolist())
    issued = dict.fromkeys((spec.name for spec in task.specs), 0)
    for _, given, inputs in task.groups(activations):
        for own in (own for own in inputs if own.group in chosen):
            for spec in task.specs:
                control.check()
                issued[spec.name] += verify_group(spec, given[spec.masks], own, width, seed=task.seed, index=task.index)
    return [
        Verified(
            layer=layer,
            arch=name,
            columns=width,
            groups=len(chosen),
            macs_issued=macs,
            results=len(chosen) * layer.s * width,
        )
        for name, macs in issued.items()
    ]


def verify_group(
    spec: ArchSpec,
    weights: Weights,
    inputs: GroupActivations,
    columns: int,
    *,
    seed: int,
    index: int,
    residency: Residency = ALL_IN_DRAM,
) -> int:
    """Move one convolution group's values along an architecture's datapath.

    Parameters
    ----------
    spec : ArchSpec
    weights : Weights
        As this architecture is given them; values are drawn where there are none (`datapath.int8_weights`).
    inputs : GroupActivations
    columns : int
        The first columns of P that are run; with all of them the plan is the one that cycles are counted on.
    seed, index : int
        Name the values drawn: the run's seed, and the layer's place in the network.
    residency : Residency
        Where the layer's tensors are, on a machine with a DRAM.

    Returns
    -------
    int
        MACs issued.

    Raises
    ------
    DatapathError
        The result differs from the product, or the plan moves what is not there, or not from DRAM what its steps need.
    """
    layer = inputs.activations.layer
    values = inputs.int8_columns(columns)
    stored = int8_weights(weights, seed, index, inputs.group)
    met = inputs if columns == layer.p else GivenColumns(nonzero=values != 0)
    setup = spec.architecture.setup(spec.machine, weights, met)
    lowered = setup.lower(spec.machine, layer.s, columns, residency)
    group = f", group {inputs.group + 1} of {layer.groups}" if layer.groups > 1 else ""
    where = f"{spec.name}: layer {layer.name!r}{group}"
    try:
        got = spec.architecture.datapath(lowered, setup, spec.machine, stored, values)
    except DatapathError as error:
        raise DatapathError(f"{where}: {error}") from error
    wrong = difference(got, integer_product(stored, values, spec.machine.sum_bits))
    if wrong:
        raise DatapathError(f"{where}: {wrong}")
    return lowered.macs_issued
