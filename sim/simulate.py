"""Simulate layers on architectures: the function behind `crispsim run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..formats import PackedModel, Pattern
from .activations import Activations, GroupActivations, NoZeros
from .arch_spec import ArchSpec
from .archs import ARCHITECTURES, BASELINE, Architecture
from .archs.base import LoweredInput, Masks, Setup
from .blocking import ALL_IN_DRAM, Residency
from .control import Control
from .energy import DEFAULT_TABLE, EnergyModel, EnergyTable, load_table
from .engine import run
from .errors import InputError
from .fusion import Fusion, Target, check_drams, check_fits, in_layer, plan_fusion, residency_of, targets_of
from .layer import Layer
from .machine import Machine
from .plan import Lowered
from .result import GroupResult, LayerEnergy, LayerResult, Results
from .tasks import Progress, Task, check_jobs, prepare, run_tasks
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
    fuse: bool = False,
    ideal: bool = False,
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
    fuse : bool
        Whether outputs that the next layer reads stay in the SMEM where that moves fewer bytes, and weights of the next
        layer come in the end of the one before (docs/microarchitecture.md, section 9); for machines with a DRAM. The
        network is simulated without fusion as well (`Results.unfused`), which takes up to as long again, and one layer
        is simulated at a time.
    ideal : bool
        Whether to simulate the network with every tensor taken to lie in the SMEM as well (`Results.ideal`), on the
        same machines without their DRAM; nothing is where none has one.
    functional : bool
        Whether to move int8 values along every architecture's datapath, too, in the order of the very plans that
        cycles are counted on, and to compare the results with an integer product (`verify_group`).
    jobs : int
        Layers simulated at a time (not with fuse); the kernels release the GIL.
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
        Something given is wrong; nothing has been simulated then, but where only a layer's plan shows that it cannot
        be simulated.
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
    specs = tasks[0].specs
    # Those without a DRAM are their own ideal, and simulated once.
    resident = (
        [replace(spec, machine=spec.machine.without_dram) for spec in specs] if ideal and _any_dram(specs) else []
    )
    models = {} if energy is None else _energy_models([*specs, *resident], load_table(energy))
    fusion = None
    check_jobs(jobs)
    if fuse:
        check_drams(specs)
        fusion, jobs = plan_fusion(tasks, control), 1
    else:
        check_fits(tasks, control)
    work = partial(
        _simulate_layer,
        resident=resident,
        fusion=fusion,
        models=models,
        functional=functional,
        skip_repetitions=skip_repetitions,
        observer=observer,
        control=control,
    )
    found = list(run_tasks(work, tasks, jobs, progress, control))

    def results(place: int, specs: Sequence[ArchSpec]) -> Results:
        own = {spec.name: models[spec.machine, spec.architecture] for spec in specs} if models else {}
        return Results(tuple(row for layer in found for row in layer[place]), own)

    return replace(
        results(0, specs),
        unfused=results(1, specs) if fuse else None,
        ideal=results(-1, resident) if resident else None,
    )


def run_group(
    architecture: Architecture,
    machine: Machine,
    weights: Weights,
    columns: int,
    activations: LoweredInput | None = None,
    *,
    residency: Residency = ALL_IN_DRAM,
    control: Control | None = None,
    skip_repetitions: bool = True,
) -> GroupResult:
    """Run one convolution group of P = columns on one architecture; None is a matrix product's without zeros."""
    setup = architecture.setup(machine, weights, activations or NoZeros(k=weights.shape[1], columns=columns))
    return _run_setup(setup, machine, weights.shape[0], columns, residency, control, skip_repetitions)[0]


def _any_dram(specs: Sequence[ArchSpec]) -> bool:
    return any(spec.machine.has_dram for spec in specs)


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


class _Groups:
    """Runs a layer's groups; equal set-ups of architectures that no zeros of the input tell apart once."""

    def __init__(self, layer: Layer, skip_repetitions: bool, control: Control) -> None:
        self._layer, self._skip_repetitions, self._control = layer, skip_repetitions, control
        self._known: dict[tuple[Machine, Setup, Residency], tuple[GroupResult, int]] = {}

    def run(self, target: Target, setup: Setup, residency: Residency) -> tuple[GroupResult, int]:
        """A group's result, and what its channel had to spare after its last step, in bytes."""
        key = target.machine, setup, residency
        found = self._known.get(key)
        if found is None:
            size = self._layer.s, self._layer.p
            found = _run_setup(setup, target.machine, *size, residency, self._control, self._skip_repetitions)
            if not target.architecture.reads_activation_bitmaps:
                self._known[key] = found
        return found


class _LayerRun:
    """A layer on one target, group after group, once for each way that its tensors may lie (`ways`)."""

    def __init__(self, target: Target, ways: Sequence[Residency], groups: _Groups) -> None:
        self.ways, self.spare_bytes = ways, 0
        self._target, self._next, self._groups = target, ways, groups
        self._parts: list[list[tuple[GroupResult, int]]] = [[] for _ in ways]

    def add(self, weights: Weights, inputs: Sequence[GroupActivations]) -> None:
        """Run the groups of these inputs, which have the same weights."""
        architecture = self._target.architecture
        while inputs:
            # Only the first group's weights can have come in the end of the layer before.
            first = any(residency.prefetch_bytes for residency in self._next)
            count = 1 if first or architecture.reads_activation_bitmaps else len(inputs)
            setup = architecture.setup(self._target.machine, weights, inputs[0])
            found = {way: self._groups.run(self._target, setup, way) for way in dict.fromkeys(self._next)}
            for way, parts in zip(self._next, self._parts, strict=True):
                parts.append((found[way][0], count))
            self.spare_bytes = found[self._next[0]][1]
            self._next = [replace(way, prefetch_bytes=0) for way in self._next]
            inputs = inputs[count:]

    def results(self) -> list[GroupResult]:
        """All groups together, for each way."""
        return [GroupResult.sum(parts) for parts in self._parts]

    @property
    def first_cycles(self) -> int:
        """Cycles of the first group, the first way."""
        return self._parts[0][0][0].cycles


def _simulate_layer(
    task: Task,
    *,
    resident: Sequence[ArchSpec],
    fusion: Fusion | None,
    models: Mapping[_ModelKey, EnergyModel],
    functional: bool,
    skip_repetitions: bool,
    observer: Callable[[GroupRun], None] | None,
    control: Control,
) -> list[list[LayerResult]]:
    """A layer on every architecture as asked for; with fusion, without it; and on the `resident` ones, if any."""
    layer, specs, activations = task.layer, task.specs, task.activations(control)
    named, groups = targets_of([*specs, *resident]), _Groups(layer, skip_repetitions, control)
    runs: dict[Target, _LayerRun] = {}
    for target in named:
        ways = [residency_of(layer, target.machine)]
        if fusion and target in fusion.stays:
            ways.insert(0, fusion.residency(target, layer, task.index))
        runs[target] = _LayerRun(target, ways, groups)
    tallies: dict[Masks, _Tally] = {spec.masks: _Tally() for spec in specs}
    is_first = True
    for weights, given, inputs in task.groups(activations):
        for masks, tally in tallies.items():
            tally.add(given[masks], inputs)
        for target, name in named.items():
            try:
                runs[target].add(given.get(target.masks, weights), inputs)
            except InputError as error:
                raise InputError(in_layer(layer, name, error)) from error
        for spec in specs if observer and is_first else ():
            assert observer
            run = runs[Target.of(spec)]
            setup = spec.architecture.setup(spec.machine, given[spec.masks], inputs[0])
            lowered = setup.lower(spec.machine, layer.s, layer.p, run.ways[0])
            observer(GroupRun(layer=layer, index=task.index, spec=spec, lowered=lowered, cycles=run.first_cycles))
        is_first = False
        for spec in specs if functional else ():
            way = replace(runs[Target.of(spec)].ways[0], prefetch_bytes=0)  # which moves nothing elsewhere
            for own in inputs:
                verify_group(spec, given[spec.masks], own, layer.p, seed=task.seed, index=task.index, residency=way)
    if fusion:
        fusion.leave(layer, {target: runs[target].spare_bytes for target in fusion.stays})
    found = {target: run.results() for target, run in runs.items()}
    rows: list[list[LayerResult]] = []
    asked = [(0, specs), *([(1, specs)] if fusion else []), *([(0, resident)] if resident else [])]
    for way, shown in asked:
        rows.append([])
        for spec in shown:
            target, tally = Target.of(spec), tallies[spec.masks]
            group, dense = found[target][way], found[Target.baseline(spec.machine)][way]
            rows[-1].append(
                LayerResult(
                    layer=layer,
                    arch=spec.name,
                    machine=spec.machine,
                    group=group,
                    mask=tally.mask,
                    nm=tally.pattern.nm,
                    block=str(tally.pattern.block or "none"),
                    weight_sparsity=1 - tally.nonzeros / layer.weights,
                    activation_sparsity=activations.sparsity,
                    requested_sparsity=task.requested_sparsity,
                    note=task.note,
                    macs_effectual=tally.effectual,
                    input_bytes=_input_bytes(spec, activations),
                    baseline_cycles=dense.cycles,
                    energy=_layer_energy(spec, group, dense, models) if models else None,
                    fused=runs[target].ways[0] if fusion and way == 0 and target in fusion.stays else None,
                )
            )
    return rows


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
    setup: Setup,
    machine: Machine,
    rows: int,
    columns: int,
    residency: Residency,
    control: Control | None,
    skip_repetitions: bool,
) -> tuple[GroupResult, int]:
    """Run a group: its result, and what its channel could still have moved after its last step, in bytes."""
    lowered = setup.lower(machine, rows, columns, residency)
    try:
        timing = run(lowered.plan, control=control, skip_repetitions=skip_repetitions)
    except OverflowError as error:
        raise InputError(f"S x P = {rows} x {columns}: {error}") from error
    return GroupResult.of(lowered, timing), timing.memory.spare_bytes if timing.memory else 0
