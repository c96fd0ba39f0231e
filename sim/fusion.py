"""Tensors that stay in the SMEM from one layer to the next, and weights that come early (section 9, N1-N3).

`may_stay` says which tensors can stay, `fewest_bytes` which of them do, `plan_fusion` asks both for every target, and
`Fusion` then tells each layer where its tensors are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .arch_spec import ArchSpec
from .archs import ARCHITECTURES, BASELINE, Architecture
from .archs.base import Masks, Setup
from .blocking import LARGEST_CELLS, Residency
from .control import Control
from .errors import InputError
from .layer import Layer
from .machine import Machine
from .tasks import Task

# An SMEM of so many bytes has room for the smallest blocking of layers on the shipped machines: whether a layer fits is
# looked at beforehand in smaller ones only.
ROOMY = 1 << 17

# Whether a layer's input stays, and whether its outputs do.
Way = tuple[bool, bool]
ALL_LEAVE: Way = (False, False)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a layer runs on: a machine, as an architecture, on weights of one kind. Equal targets run alike."""

    machine: Machine
    architecture: Architecture
    masks: Masks

    @classmethod
    def of(cls, spec: ArchSpec) -> Target:
        """An architecture's own."""
        return cls(machine=spec.machine, architecture=spec.architecture, masks=spec.masks)

    @classmethod
    def baseline(cls, machine: Machine) -> Target:
        """The dense machine that speedups are over."""
        return cls(machine=machine, architecture=ARCHITECTURES[BASELINE], masks="given")


def targets_of(specs: Iterable[ArchSpec]) -> dict[Target, str]:
    """The targets of these architectures and of the dense machine beside each, with names for messages."""
    specs = list(specs)
    named = {Target.of(spec): spec.name for spec in specs}
    for spec in specs:
        named.setdefault(Target.baseline(spec.machine), f"{BASELINE}, the baseline of {spec.name}")
    return named


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """What each layer finds of the one before, on every target.

    stays : whether each layer's outputs stay, in the order of the network. spare_bytes : what the channel can bring of
    the next layer's weights in the end of the layer before (N3); **modified in place** as layers run.
    """

    stays: Mapping[Target, Sequence[bool]]
    spare_bytes: dict[Target, int] = field(default_factory=dict)

    def residency(self, target: Target, layer: Layer, index: int) -> Residency:
        """Where a layer's tensors are; `index` is its place in the network."""
        stays = self.stays[target]
        way = index > 0 and stays[index - 1], stays[index]
        spare = self.spare_bytes.get(target, 0) if layer.calls == 1 else 0
        return residency_of(layer, target.machine, way, prefetch_bytes=spare)

    def leave(self, layer: Layer, spare: Mapping[Target, int]) -> None:
        """Leave to the next layer what the channel had to spare after the last step of this one (N3)."""
        self.spare_bytes.clear()
        if layer.calls == 1:
            self.spare_bytes.update(spare)


def residency_of(layer: Layer, machine: Machine, way: Way = ALL_LEAVE, *, prefetch_bytes: int = 0) -> Residency:
    """Where a layer's tensors are if its input and its outputs stay or not; as results they have a result's bytes."""
    input_stays, outputs_stay = way
    outputs = layer.groups * layer.s * layer.p
    return Residency(
        residual=layer.residual is not None,
        kept_input_bytes=layer.inputs * machine.output_bytes if input_stays else None,
        kept_output_bytes=outputs * machine.output_bytes if outputs_stay else None,
        prefetch_bytes=prefetch_bytes,
    )


def check_drams(specs: Iterable[ArchSpec]) -> None:
    """Refuse fusion where there is nothing to fuse.

    Raises
    ------
    InputError
        A machine has no DRAM.
    """
    for spec in specs:
        if not spec.machine.has_dram:
            raise InputError(
                f"--fuse: {spec.name} runs on a machine without a DRAM (dram.bytes_per_cycle = 0), where every tensor "
                f"lies in the SMEM anyway; choose another, such as edge-lpddr4"
            )


def check_fits(tasks: Sequence[Task], control: Control) -> None:
    """Refuse a layer that the SMEM is too small for, of those of which that is in doubt, before anything runs.

    Raises
    ------
    InputError
        There is one.
    """
    named = targets_of(tasks[0].specs)
    for task in tasks:
        _check_fit(task, named, control)


def plan_fusion(tasks: Sequence[Task], control: Control) -> Fusion:
    """Which tensors of the network stay, on every target its own (N2).

    Raises
    ------
    InputError
        The SMEM is too small for a layer (also where it would do if a tensor stayed: fusion is shown beside the
        network without it).
    """
    may, named = may_stay([task.layer for task in tasks]), targets_of(tasks[0].specs)
    moved: list[dict[Target, dict[Way, float]]] = []
    for index, task in enumerate(tasks):
        ways = [
            (before, after)
            for before in (False, True)[: 1 + (index > 0 and may[index - 1])]
            for after in (False, True)[: 1 + may[index]]
        ]
        if len(ways) > 1:
            moved.append(_bytes_by_way(task, named, ways, control))
        else:  # what there is no choice of makes no difference
            _check_fit(task, named, control)
            moved.append({target: {ALL_LEAVE: 0.0} for target in named})
    return Fusion(
        stays={
            target: fewest_bytes(may, lambda index, before, after, target=target: moved[index][target][before, after])
            for target in named
        }
    )


def may_stay(layers: Sequence[Layer]) -> list[bool]:
    """Whether each layer's outputs are the next layer's input and nobody else's (N1); False for the last.

    They are the next one's input if they have its shape. Those of a layer that is called more than once or has a
    residual input, and those that another layer adds, do not stay. Nor do those of a matrix product whose own input has
    that shape as well: the next one may read that (a transformer's query, key and value do).
    """
    added = {layer.residual for layer in layers}
    follow = [
        _output_shape(layer) == _input_shape(following)
        and not (layer.kind == "gemm" and _input_shape(layer) == _output_shape(layer))
        and layer.calls == following.calls == 1
        and layer.residual is None
        and layer.name not in added
        for layer, following in zip(layers, layers[1:], strict=False)
    ]
    return [*follow, False] if layers else []


def fewest_bytes(may: Sequence[bool], moved: Callable[[int, bool, bool], float]) -> list[bool]:
    """Which tensors stay, so that the network moves the fewest bytes (N2); of equal choices, later tensors rather.

    Parameters
    ----------
    may : sequence of bool
        Whether each layer's outputs may stay; not the last's.
    moved : callable
        (layer, its input stays, its outputs stay) -> bytes it moves; infinite where that does not fit, which it does if
        neither stays.
    """
    # The fewest bytes up to a layer, and which tensors stay for that, by whether its outputs do.
    best: dict[bool, tuple[float, list[bool]]] = {False: (0, [])}
    for index, possible in enumerate(may):
        best = {
            after: min((sofar + moved(index, before, after), [*kept, after]) for before, (sofar, kept) in best.items())
            for after in ((False, True) if possible else (False,))
        }
    return best[False][1]


def _input_shape(layer: Layer) -> tuple[int, int, int, int]:
    return layer.batch, layer.in_height, layer.in_width, layer.in_channels


def _output_shape(layer: Layer) -> tuple[int, int, int, int]:
    return layer.batch, layer.out_height, layer.out_width, layer.out_channels


def _in_doubt(machine: Machine, layer: Layer) -> bool:
    """Whether a layer may be refused: its SMEM is small, or it may have too many cells."""
    cells = -(-layer.s // machine.band_rows) * layer.p  # at most
    return machine.has_dram and (machine.smem.capacity_bytes < ROOMY or cells > LARGEST_CELLS)


def _check_fit(task: Task, named: Mapping[Target, str], control: Control) -> None:
    doubtful = {target: name for target, name in named.items() if _in_doubt(target.machine, task.layer)}
    if doubtful:
        _bytes_by_way(task, doubtful, [ALL_LEAVE], control)


def _bytes_by_way(
    task: Task, named: Mapping[Target, str], ways: Sequence[Way], control: Control
) -> dict[Target, dict[Way, float]]:
    """Bytes a layer moves from and to DRAM on every target, all groups together; infinite for ways that do not fit.

    Raises
    ------
    InputError
        It does not fit with all tensors in DRAM.
    """
    moved: dict[Target, dict[Way, float]] = {target: dict.fromkeys(ways, 0.0) for target in named}
    for weights, given, inputs in task.groups(task.activations(control)):
        for target, name in named.items():
            alike = not target.architecture.reads_activation_bitmaps
            for own in inputs[:1] if alike else inputs:
                setup = target.architecture.setup(target.machine, given.get(target.masks, weights), own)
                for way in ways:
                    try:
                        found = _bytes_of_group(setup, target.machine, task.layer, way)
                    except InputError as error:
                        if way == ALL_LEAVE:
                            raise InputError(in_layer(task.layer, name, error)) from error
                        found = math.inf
                    moved[target][way] += found * (len(inputs) if alike else 1)
    return moved


def _bytes_of_group(setup: Setup, machine: Machine, layer: Layer, way: Way) -> int:
    """Bytes a group moves: pieces, and outputs if they leave, uncompressed."""
    blocking = setup.blocking(machine, layer.s, layer.p, residency_of(layer, machine, way))
    return blocking.read_bytes + (0 if way[1] else layer.s * layer.p * machine.output_bytes)


def in_layer(layer: Layer, name: str, error: InputError) -> str:
    """An error's message with the layer and the architecture that it is about."""
    return f"{layer.place}{name}: layer {layer.name!r}: {error}"
