"""Simulate layers on architectures: the function behind `crispsim run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..formats import PackedModel, Pattern
from .activations import Activations, GroupActivations, NoZeros
from .arch_spec import ArchSpec
from .archs import ARCHITECTURES, BASELINE, Architecture
from .archs.base import LoweredInput, Masks, Setup
from .control import Control
from .energy import DEFAULT_TABLE, EnergyModel, EnergyTable, load_table
from .engine import run
from .errors import InputError
from .layer import Layer
from .machine import Machine
from .plan import Lowered
from .result import GroupResult, LayerEnergy, LayerResult, Results
from .tasks import Progress, Task, prepare, run_tasks
from .verify import check_input_size, verify_group
from .weights import Weights

DEFAULT_ARCHS = tuple(ARCHITECTURES)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupRun:
    """What an observer of a simulation sees: a layer's first convolution group on one architecture.

    index : place of the layer in the network. cycles : of this group. lowered : the plan that took them.
    """

    layer: Layer
    index: int
    spec: ArchSpec
    lowered: Lowered
    cycles: int


def simulate(
    layers: Sequence[Layer] | None = None,
    archs: str | Sequence[str | ArchSpec] = DEFAULT_ARCHS,
    *,
    machine: str | Path | Machine = "edge",
    weights: str | Path | PackedModel | None = None,
    nm: str | Sequence[int] = (2, 4),
    block: int | None = 64,
    sparsity: float | None = None,
    activation_sparsity: float = 0.4,
    seed: int = 0,
    all_layers: bool = False,
    energy: str | Path | EnergyTable | None = DEFAULT_TABLE,
    functional: bool = False,
    jobs: int = 1,
    skip_repetitions: bool = True,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
    observer: Callable[[GroupRun], None] | None = None,
    control: Control | None = None,
) -> Results:
    """Simulate every layer on every architecture.

    Parameters
    ----------
    layers : sequence of Layer, optional
        As `read_layers` gives them; may be left out with `weights`, which knows its layers.
    archs : str, or sequence of str or ArchSpec
        Names or .toml files.
    machine : str, Path or Machine
        For the architectures given by name.
    weights : path or PackedModel, optional
        Packed weights; without, masks are drawn from (seed, layer index) and obey the pattern exactly.
    nm, block, sparsity, all_layers
        The pattern of drawn masks (`PatternRequest`); sparsity defaults to 0.9 with blocks, and to what N:M gives
        without.
    activation_sparsity : float
        Zeros in the input, from 0 to 1; a layer's own value wins.
    seed : int
    energy : str, Path, EnergyTable or None
        The energy table, one for all architectures: a shipped one's name or a .toml file; None leaves energy out, and
        takes machines whose memories no source knows.
    functional : bool
        Whether to move int8 values along every architecture's datapath, too, in the order of the very plans that
        cycles are counted on, and to compare the results with an integer product (`verify_group`).
    jobs : int
        Layers simulated at a time; the kernels release the GIL.
    skip_repetitions : bool
        As in `engine.run`; the result is the same either way.
    progress : callable, optional
        Called with (layer, layers done, layers in all): once everything is found to be in order, and after each layer.
    notice : callable, optional
        Called with a line about what was understood otherwise than it may have been meant.
    observer : callable, optional
        Called with each layer's first group on each architecture, from the thread that simulates the layer.
    control : Control, optional
        For another thread to stop the run.

    Raises
    ------
    InputError
        Something given is wrong; nothing has been simulated then.
    Interrupted
        `control.stop()` was called.
    DatapathError
        With functional: a result differs from the product.

    >>> layer = Layer(name="l", kind="gemm", in_height=8, in_width=1, kernel_h=1, kernel_w=1,
    ...               in_channels=64, out_channels=32)
    >>> [row.cycles for row in simulate([layer], ["dense", "crisp-stc"], nm="2:4", block=32, sparsity=0.75).rows]
    [82, 31]
    """
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
        keep_maps=functional,
        notice=notice,
    )
    if functional:
        for task in tasks:
            check_input_size(task.layer)
    control = control or Control()
    models = {} if energy is None else _energy_models(tasks[0].specs, load_table(energy))
    work = partial(
        _simulate_layer,
        models=models,
        functional=functional,
        skip_repetitions=skip_repetitions,
        observer=observer,
        control=control,
    )
    rows = [row for result in run_tasks(work, tasks, jobs, progress, control) for row in result]
    own = {spec.name: models[spec.machine, spec.architecture] for spec in tasks[0].specs} if models else {}
    return Results(tuple(rows), own)


def run_group(
    architecture: Architecture,
    machine: Machine,
    weights: Weights,
    columns: int,
    activations: LoweredInput | None = None,
    *,
    control: Control | None = None,
    skip_repetitions: bool = True,
) -> GroupResult:
    """Run one convolution group of P = columns on one architecture; None is an input without zeros."""
    setup = architecture.setup(machine, weights, activations or NoZeros(k=weights.shape[1], columns=columns))
    return _run_setup(setup, machine, weights.shape[0], columns, control, skip_repetitions)


# What an energy model is of.
_ModelKey = tuple[Machine, Architecture]


def _energy_models(specs: Sequence[ArchSpec], table: EnergyTable) -> dict[_ModelKey, EnergyModel]:
    """The energy models of the architectures, and of the dense machine beside each."""
    dense = ARCHITECTURES[BASELINE]
    needed = dict.fromkeys((spec.machine, arch) for spec in specs for arch in (spec.architecture, dense))
    return {(machine, arch): EnergyModel.of(machine, arch, table) for machine, arch in needed}


class _Tally:
    """What a layer's weights of one kind are, over its groups."""

    def __init__(self) -> None:
        self.nonzeros, self.effectual = 0, 0
        self._masks: set[str] = set()
        self._last: Weights | None = None

    def add(self, weights: Weights, inputs: Sequence[GroupActivations]) -> None:
        """Add groups of these inputs that have these weights."""
        self.nonzeros += weights.nonzeros * len(inputs)
        self.effectual += sum(int(np.dot(weights.column_nonzeros, own.nonzeros())) for own in inputs)
        self._masks.add(weights.mask)
        self._last = weights

    @property
    def mask(self) -> str:
        """What they look like; unstructured if groups differ."""
        return next(iter(self._masks)) if len(self._masks) == 1 else "unstructured"

    @property
    def pattern(self) -> Pattern:
        """The pattern of all groups."""
        assert self._last is not None
        return self._last.pattern


class _Runner:
    """Runs the groups of one layer; equal set-ups on equal machines once, unless zeros of the input tell them apart."""

    def __init__(self, layer: Layer, skip_repetitions: bool, control: Control) -> None:
        self._layer, self._skip_repetitions, self._control = layer, skip_repetitions, control
        self._known: dict[tuple[Machine, Setup], GroupResult] = {}

    def run(
        self, architecture: Architecture, machine: Machine, weights: Weights, inputs: Sequence[GroupActivations]
    ) -> list[tuple[GroupResult, int]]:
        """Run the groups of these inputs, which have the same weights: (result, how many groups have it)."""
        if not architecture.reads_activation_bitmaps:
            return [(self._run_once(architecture.setup(machine, weights, inputs[0]), machine), len(inputs))]
        return [(self._run(architecture.setup(machine, weights, own), machine), 1) for own in inputs]

    def _run_once(self, setup: Setup, machine: Machine) -> GroupResult:
        if (machine, setup) not in self._known:
            self._known[machine, setup] = self._run(setup, machine)
        return self._known[machine, setup]

    def _run(self, setup: Setup, machine: Machine) -> GroupResult:
        return _run_setup(setup, machine, self._layer.s, self._layer.p, self._control, self._skip_repetitions)


def _simulate_layer(
    task: Task,
    *,
    models: Mapping[_ModelKey, EnergyModel],
    functional: bool,
    skip_repetitions: bool,
    observer: Callable[[GroupRun], None] | None,
    control: Control,
) -> list[LayerResult]:
    layer, specs, activations = task.layer, task.specs, task.activations(control)
    runner = _Runner(layer, skip_repetitions, control)
    parts: dict[int, list[tuple[GroupResult, int]]] = {index: [] for index in range(len(specs))}
    baseline: dict[Machine, list[tuple[GroupResult, int]]] = {spec.machine: [] for spec in specs}
    tallies: dict[Masks, _Tally] = {spec.masks: _Tally() for spec in specs}
    for weights, given, inputs in task.groups(activations):
        for masks, tally in tallies.items():
            tally.add(given[masks], inputs)
        for index, spec in enumerate(specs):
            runs = runner.run(spec.architecture, spec.machine, given[spec.masks], inputs)
            if observer and not parts[index]:
                setup = spec.architecture.setup(spec.machine, given[spec.masks], inputs[0])
                lowered = setup.lower(spec.machine, layer.s, layer.p)
                observer(GroupRun(layer=layer, index=task.index, spec=spec, lowered=lowered, cycles=runs[0][0].cycles))
            if functional:
                for own in inputs:
                    verify_group(spec, given[spec.masks], own, layer.p, seed=task.seed, index=task.index)
            parts[index] += runs
        for machine, runs in baseline.items():
            runs += runner.run(ARCHITECTURES[BASELINE], machine, weights, inputs)
    groups = [GroupResult.sum(parts[index]) for index in range(len(specs))]
    dense = {machine: GroupResult.sum(runs) for machine, runs in baseline.items()}
    return [
        LayerResult(
            layer=layer,
            arch=spec.name,
            machine=spec.machine,
            group=groups[index],
            mask=tallies[spec.masks].mask,
            nm=tallies[spec.masks].pattern.nm,
            block=str(tallies[spec.masks].pattern.block or "none"),
            weight_sparsity=1 - tallies[spec.masks].nonzeros / layer.weights,
            activation_sparsity=activations.sparsity,
            requested_sparsity=task.requested_sparsity,
            note=task.note,
            macs_effectual=tallies[spec.masks].effectual,
            input_bytes=_input_bytes(spec, activations),
            baseline_cycles=dense[spec.machine].cycles,
            energy=_layer_energy(spec, groups[index], dense[spec.machine], models) if models else None,
        )
        for index, spec in enumerate(specs)
    ]


def _layer_energy(
    spec: ArchSpec, group: GroupResult, dense: GroupResult, models: Mapping[_ModelKey, EnergyModel]
) -> LayerEnergy:
    own, baseline = models[spec.machine, spec.architecture], models[spec.machine, ARCHITECTURES[BASELINE]]
    return LayerEnergy(own=own.energy(group), baseline=baseline.energy(dense), sram_origin=own.origin)


def _input_bytes(spec: ArchSpec, activations: Activations) -> int:
    """A layer's input as it lies in the SMEM: whole, or nonzeros under a bitmap."""
    if not spec.architecture.reads_activation_bitmaps:
        return activations.values * spec.machine.operand_bytes
    return (activations.values - activations.zeros) * spec.machine.operand_bytes + -(-activations.values // 8)


def _run_setup(
    setup: Setup, machine: Machine, rows: int, columns: int, control: Control | None, skip_repetitions: bool
) -> GroupResult:
    lowered = setup.lower(machine, rows, columns)
    try:
        return GroupResult.of(lowered, run(lowered.plan, control=control, skip_repetitions=skip_repetitions))
    except OverflowError as error:
        raise InputError(f"S x P = {rows} x {columns}: {error}") from error
