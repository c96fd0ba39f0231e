"""Simulate layers on architectures: the function behind `crispsim run`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..formats import FormatError, PackedLayer, PackedModel, Pattern, parse_nm, read_model
from .activations import Activations, GroupActivations, NoZeros, draw_activations, given_activations
from .arch_spec import ArchSpec, load_arch
from .archs import ARCHITECTURES, BASELINE, Architecture
from .archs.base import LoweredInput, Masks, Setup
from .control import Control
from .engine import run
from .errors import InputError
from .layer import Layer
from .machine import Machine
from .plan import Lowered
from .result import GroupResult, LayerResult, Results
from .weights import Weights
from .workload import (
    LayerPattern,
    PatternRequest,
    few,
    layer_of_packed,
    packed_layer,
    packed_unstructured_weights,
    packed_weights,
    resolve_patterns,
    synthetic_weights,
    unstructured_weights,
)

DEFAULT_ARCHS = tuple(ARCHITECTURES)
DEFAULT_SPARSITY = 0.9

# Rows, positions and drawn weights of a group, beyond which tables and matrices would take gigabytes; input values and
# groups with patterns of their own, beyond which drawing them would take an hour.
LARGEST_S, LARGEST_K, LARGEST_DRAWN = 1 << 24, 1 << 22, 1 << 32
LARGEST_INPUT, LARGEST_GROUPS = 1 << 40, 1 << 16
# For an architecture that reads bitmaps: input values, and steps of all cores over a group, in gigabytes again.
LARGEST_MAP, LARGEST_STEPS = 1 << 35, 1 << 27

Progress = Callable[[Layer, int, int], None]


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

    >>> layer = Layer(name="l", kind="gemm", in_height=8, in_width=1, kernel_h=1, kernel_w=1,
    ...               in_channels=64, out_channels=32)
    >>> [row.cycles for row in simulate([layer], ["dense", "crisp-stc"], nm="2:4", block=32, sparsity=0.75).rows]
    [82, 31]
    """
    if isinstance(archs, str):
        archs = [archs]
    specs = [arch if isinstance(arch, ArchSpec) else load_arch(arch, machine) for arch in archs]
    _check_names(specs)
    if not _is_number(activation_sparsity) or not 0.0 <= activation_sparsity <= 1.0:
        raise InputError(f"activation sparsity {activation_sparsity!r}: must be a number from 0 to 1")
    if sparsity is not None and not _is_number(sparsity):
        raise InputError(f"sparsity {sparsity!r}: must be a number")
    if block is not None and not _is_int(block):
        raise InputError(f"block {block!r}: must be an integer or None")
    if not _is_int(seed) or not 0 <= seed < 1 << 64:
        raise InputError(f"seed {seed!r}: must be an integer from 0 to 2^64 - 1")
    if not _is_int(jobs) or jobs < 1:
        raise InputError(f"jobs {jobs!r}: must be an integer of at least 1")
    model = _read(weights)
    if layers is None:
        if model is None:
            raise InputError("nothing to simulate: give layers, or weights, or both")
        layers = [layer_of_packed(packed) for packed in model.layers]
    if not layers:
        raise InputError("nothing to simulate: there are no layers")
    tasks = _tasks(layers, specs, model, _request(nm, block, sparsity, all_layers), activation_sparsity, seed)
    if notice and model is not None:
        packed = [packed_layer(layer, model) for layer in layers]
        _tell_operands(packed, specs, notice)
        _tell_masks(packed, specs, notice)
    control = control or Control()
    work = partial(_simulate_layer, specs=specs, skip_repetitions=skip_repetitions, observer=observer, control=control)
    rows: list[LayerResult] = []
    pool = ThreadPoolExecutor(jobs)
    try:
        if progress:
            progress(tasks[0].layer, 0, len(tasks))
        for done, result in enumerate(pool.map(work, tasks), start=1):
            rows += result
            if progress:
                progress(tasks[done - 1].layer, done, len(tasks))
    except BaseException:
        control.stop()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return Results(tuple(rows))


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """One layer with all that its simulation needs."""

    layer: Layer
    index: int
    weights: Callable[[], Iterator[tuple[Weights, int]]]
    unstructured: Callable[[Weights, int], Weights]
    activations: Callable[[Control], Activations]
    requested_sparsity: float | None
    note: str


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_int(value) or isinstance(value, float | np.floating)


def _check_names(specs: Sequence[ArchSpec]) -> None:
    if not specs:
        raise InputError("no architecture given")
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"architecture {name!r}: given {names.count(name)} times; each name once")


def _read(weights: str | Path | PackedModel | None) -> PackedModel | None:
    if weights is None or isinstance(weights, PackedModel):
        return weights
    try:
        return read_model(Path(weights))
    except FormatError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"{weights}: cannot read: {error.strerror}") from error


def _request(nm: str | Sequence[int], block: int | None, sparsity: float | None, all_layers: bool) -> PatternRequest:
    try:
        pair = parse_nm(nm) if isinstance(nm, str) else tuple(nm)
    except FormatError as error:
        raise InputError(str(error)) from error
    if len(pair) != 2 or not all(map(_is_int, pair)):
        raise InputError(f"pattern {nm!r}: must be N:M or two integers")
    if sparsity is None and block is not None:
        sparsity = DEFAULT_SPARSITY
    return PatternRequest(nm=pair, block=block, sparsity=sparsity, all_layers=all_layers)


def _tasks(
    layers: Sequence[Layer],
    specs: Sequence[ArchSpec],
    model: PackedModel | None,
    request: PatternRequest,
    activation_sparsity: float,
    seed: int,
) -> list[_Task]:
    """Settle every layer's weights and activations, and refuse whatever cannot run, before anything does."""
    keep_map = any(spec.architecture.reads_activation_bitmaps for spec in specs)
    choices: list[LayerPattern | None] = (
        list(resolve_patterns(layers, request)) if model is None else [None] * len(layers)
    )
    tasks = []
    for index, (layer, choice) in enumerate(zip(layers, choices, strict=True)):
        _check_size(layer, choice)
        _check_bitmaps(layer, specs)
        own = layer.activation_sparsity
        zeros = activation_sparsity if own is None else own
        draw = partial(draw_activations, layer, zeros, seed, index, keep_map=keep_map)
        twin = partial(_unstructured, None, seed, index)
        if choice is not None:
            pattern = choice.pattern
            weights = partial(synthetic_weights, layer, choice, seed, index)
        else:
            assert model is not None
            packed = packed_layer(layer, model)
            pattern = Weights(shape=(layer.s, layer.k), matrix=packed.group_weights[0]).pattern  # that of all groups
            weights = partial(packed_weights, layer, model)
            twin = partial(_unstructured, packed, seed, index)
            if packed.activations is not None and own is None:
                draw = partial(_packed_activations, layer, packed, seed, index)
        for spec in specs:
            try:
                spec.architecture.check(spec.machine, pattern)
            except InputError as error:
                raise InputError(f"{layer.place}{spec.name}: layer {layer.name!r}: {error}") from error
        tasks.append(
            _Task(
                layer=layer,
                index=index,
                weights=weights,
                unstructured=twin,
                activations=lambda control, draw=draw: draw(control=control),
                requested_sparsity=choice.requested if choice else None,
                note=choice.note if choice else "",
            )
        )
    return tasks


def _tell_operands(packed: Iterable[PackedLayer], specs: Sequence[ArchSpec], notice: Callable[[str], None]) -> None:
    """Say so where stored values and the machine's operands differ in width: cycles and bytes are the machine's."""
    stored = sorted({(np.dtype(layer.dtype).itemsize * 8, layer.dtype) for layer in packed})
    for bits in sorted({spec.machine.operand_bits for spec in specs}):
        names = [name for width, name in stored if width != bits]
        if names:
            notice(f"packed weights of {', '.join(names)} are run as {bits}-bit operands (operand_bits)")


def _tell_masks(packed: Iterable[PackedLayer], specs: Sequence[ArchSpec], notice: Callable[[str], None]) -> None:
    """Say so where an architecture that runs unstructured weights finds none in the file."""
    names = [spec.name for spec in specs if spec.masks == "unstructured"]
    without = [
        layer.name
        for layer in packed
        if layer.unstructured is None and not isinstance(layer.group_weights[0], np.ndarray)
    ]
    if names and without:
        notice(
            f"{', '.join(names)}: unstructured weights of the same sparsity are drawn for the {len(without)} pruned "
            f"layer(s) of which the file has none: {few(without)}"
        )


def _check_bitmaps(layer: Layer, specs: Sequence[ArchSpec]) -> None:
    """Refuse what would take an architecture that reads bitmaps more memory than it is worth."""
    for spec in specs:
        if spec.architecture.reads_activation_bitmaps:
            dstc = spec.machine.dstc
            steps = (
                -(-layer.s // dstc.tile_rows) * -(-layer.p // dstc.tile_columns) * -(-layer.k // dstc.slice_positions)
            )
            values = layer.batch * layer.in_height * layer.in_width * layer.in_channels
            for name, size, most in (("input values", values, LARGEST_MAP), ("steps", steps, LARGEST_STEPS)):
                if size > most:
                    raise InputError(
                        f"{layer.place}{spec.name}: layer {layer.name!r}: {name} = {size}: too large for the bitmaps "
                        f"of this architecture, must be at most {most}; choose others with --arch"
                    )


def _check_size(layer: Layer, choice: LayerPattern | None) -> None:
    """Refuse what would take more memory than it is worth, before it does."""
    patterned = choice is not None and choice.pattern.kind != "dense"
    sizes = [
        ("S", layer.s, LARGEST_S),
        ("K", layer.k, LARGEST_K),
        ("filter positions x channels", layer.kernel_h * layer.kernel_w * layer.in_channels, 8 * LARGEST_K),
        ("input values", layer.batch * layer.in_height * layer.in_width * layer.in_channels, LARGEST_INPUT),
        (
            "weights to draw a group",
            _padded_weights(layer, choice.pattern) if choice and patterned else 0,
            LARGEST_DRAWN,
        ),
        ("groups with a pattern", layer.groups if patterned else 0, LARGEST_GROUPS),
    ]
    for name, size, most in sizes:
        if size > most:
            raise InputError(
                f"{layer.place}layer {layer.name!r}: {name} = {size}: too large to simulate, must be at most {most}"
            )


def _padded_weights(layer: Layer, pattern: Pattern) -> int:
    """Weights of a group in whole blocks."""
    block = pattern.block or 1
    return (-(-layer.s // block) * block) * (-(-layer.k // block) * block)


def _packed_activations(layer: Layer, packed: PackedLayer, seed: int, index: int, *, control: Control) -> Activations:
    return given_activations(layer, packed.nonzero_activations(), packed.int8_activations(), seed, index)


def _unstructured(packed: PackedLayer | None, seed: int, index: int, weights: Weights, group: int) -> Weights:
    """The unstructured twin of a group's weights: the packed file's, or drawn."""
    own = packed_unstructured_weights(packed, group) if packed else None
    return own or unstructured_weights(weights, seed, index, group)


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
    """Runs the groups of one layer; equal set-ups on equal machines once."""

    def __init__(self, layer: Layer, skip_repetitions: bool, control: Control) -> None:
        self._layer, self._skip_repetitions, self._control = layer, skip_repetitions, control
        self._known: dict[tuple[Machine, Setup], GroupResult] = {}

    def run(
        self, architecture: Architecture, machine: Machine, weights: Weights, inputs: Sequence[GroupActivations]
    ) -> list[tuple[GroupResult, int]]:
        """Run the groups of these inputs, which have the same weights: (result, how many groups have it)."""
        if not architecture.reads_activation_bitmaps:
            return [(self._run(architecture.setup(machine, weights, inputs[0]), machine), len(inputs))]
        return [(self._run(architecture.setup(machine, weights, own), machine), 1) for own in inputs]

    def _run(self, setup: Setup, machine: Machine) -> GroupResult:
        if (machine, setup) not in self._known:
            self._known[machine, setup] = _run_setup(
                setup, machine, self._layer.s, self._layer.p, self._control, self._skip_repetitions
            )
        return self._known[machine, setup]


def _simulate_layer(
    task: _Task,
    *,
    specs: Sequence[ArchSpec],
    skip_repetitions: bool,
    observer: Callable[[GroupRun], None] | None,
    control: Control,
) -> list[LayerResult]:
    layer, activations = task.layer, task.activations(control)
    runner = _Runner(layer, skip_repetitions, control)
    parts: dict[int, list[tuple[GroupResult, int]]] = {index: [] for index in range(len(specs))}
    baseline: dict[Machine, list[tuple[GroupResult, int]]] = {spec.machine: [] for spec in specs}
    tallies: dict[Masks, _Tally] = {spec.masks: _Tally() for spec in specs}
    group = 0
    for weights, times in task.weights():
        inputs = [activations.of_group(index) for index in range(group, group + times)]
        own = {masks: weights if masks == "given" else task.unstructured(weights, group) for masks in tallies}
        for masks, tally in tallies.items():
            tally.add(own[masks], inputs)
        for index, spec in enumerate(specs):
            parts[index] += runner.run(spec.architecture, spec.machine, own[spec.masks], inputs)
            if observer and group == 0:
                lowered = spec.architecture.setup(spec.machine, own[spec.masks], inputs[0]).lower(
                    spec.machine, layer.s, layer.p
                )
                cycles = parts[index][0][0].cycles
                observer(GroupRun(layer=layer, index=task.index, spec=spec, lowered=lowered, cycles=cycles))
        for machine, runs in baseline.items():
            runs += runner.run(ARCHITECTURES[BASELINE], machine, weights, inputs)
        group += times
    return [
        LayerResult(
            layer=layer,
            arch=spec.name,
            machine=spec.machine,
            group=GroupResult.sum(parts[index]),
            mask=tallies[spec.masks].mask,
            nm=tallies[spec.masks].pattern.nm,
            block=str(tallies[spec.masks].pattern.block or "none"),
            weight_sparsity=1 - tallies[spec.masks].nonzeros / layer.weights,
            activation_sparsity=activations.sparsity,
            requested_sparsity=task.requested_sparsity,
            note=task.note,
            macs_effectual=tallies[spec.masks].effectual,
            input_bytes=_input_bytes(spec, activations),
            baseline_cycles=GroupResult.sum(baseline[spec.machine]).cycles,
        )
        for index, spec in enumerate(specs)
    ]


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
