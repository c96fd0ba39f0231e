"""What there is to simulate: every layer with its architectures, weights and activations, settled before anything runs.

Whatever is wrong is found here, in whole: nothing has been simulated then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..formats import FormatError, PackedLayer, PackedModel, Pattern, parse_nm, read_model
from ..formats.errors import few
from .activations import Activations, GroupActivations, draw_activations, given_activations
from .arch_spec import ArchSpec, load_arch
from .archs.base import Masks
from .control import Control
from .errors import InputError
from .layer import Layer, check_residuals
from .machine import Machine
from .weights import Weights
from .workload import (
    LayerPattern,
    PatternRequest,
    layer_of_packed,
    packed_layer,
    packed_unstructured_weights,
    packed_weights,
    resolve_patterns,
    synthetic_weights,
    unstructured_weights,
)

T = TypeVar("T")

DEFAULT_SPARSITY = 0.9

# Rows, positions and drawn weights of a group, beyond which tables and matrices would take gigabytes; input values and
# groups with patterns of their own, beyond which drawing them would take an hour.
LARGEST_S, LARGEST_K, LARGEST_DRAWN = 1 << 24, 1 << 22, 1 << 32
LARGEST_INPUT, LARGEST_GROUPS = 1 << 40, 1 << 16

Progress = Callable[[Layer, int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One layer with all that its simulation needs.

    layer, index : the layer, and its place in the network. specs : the architectures. seed : the run's.
    requested_sparsity : the weight sparsity asked of it, None if none was. note : why its pattern is not what was
    asked for, else empty.
    """

    layer: Layer
    index: int
    specs: tuple[ArchSpec, ...]
    seed: int
    requested_sparsity: float | None
    note: str
    weights: Callable[[], Iterator[tuple[Weights, int]]]
    unstructured: Callable[[Weights, int], Weights]
    activations: Callable[[Control], Activations]

    def groups(
        self, activations: Activations
    ) -> Iterator[tuple[Weights, dict[Masks, Weights], list[GroupActivations]]]:
        """The layer's convolution groups, consecutive ones that have the same weights together.

        Yields
        ------
        The weights, those that each kind of `ArchSpec.masks` among the architectures is given, and the groups' inputs.
        """
        group = 0
        kinds: set[Masks] = {spec.masks for spec in self.specs}
        for weights, times in self.weights():
            given: dict[Masks, Weights] = {
                masks: weights if masks == "given" else self.unstructured(weights, group) for masks in kinds
            }
            yield weights, given, [activations.of_group(index) for index in range(group, group + times)]
            group += times


def prepare(
    layers: Sequence[Layer] | None,
    archs: str | Sequence[str | ArchSpec],
    *,
    machine: str | Path | Machine,
    weights: str | Path | PackedModel | None,
    nm: str | Sequence[int],
    block: int | None,
    sparsity: float | None,
    activation_sparsity: float,
    seed: int,
    all_layers: bool,
    keep_maps: bool,
    notice: Callable[[str], None] | None,
) -> list[Task]:
    """Settle every layer's weights and activations, and refuse whatever cannot run, before anything does.

    Parameters
    ----------
    layers, archs, machine, weights, nm, block, sparsity, activation_sparsity, seed, all_layers, notice
        As `simulate`.
    keep_maps : bool
        Whether input maps are wanted even where no architecture reads them.

    Raises
    ------
    InputError
        Something given is wrong.
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
    model = _read(weights)
    if layers is None:
        if model is None:
            raise InputError("nothing to simulate: give layers, or weights, or both")
        layers = [layer_of_packed(packed) for packed in model.layers]
    if not layers:
        raise InputError("nothing to simulate: there are no layers")
    check_residuals(layers)
    keep_maps = keep_maps or any(spec.architecture.reads_activation_bitmaps for spec in specs)
    request = _request(nm, block, sparsity, all_layers)
    tasks = _build(layers, specs, model, request, activation_sparsity, seed, keep_maps)
    if notice and model is not None:
        packed = [packed_layer(layer, model) for layer in layers]
        _tell_operands(packed, specs, notice)
        _tell_masks(packed, specs, notice)
    return tasks


def run_tasks(
    work: Callable[[Task], T], tasks: Sequence[Task], jobs: int, progress: Progress | None, control: Control
) -> Iterator[T]:
    """Do the work on every task, `jobs` at a time, and give its results in the tasks' order; a failure stops the rest.

    Raises
    ------
    InputError
        `jobs` is not an integer of at least 1.
    """
    check_jobs(jobs)
    pool = ThreadPoolExecutor(jobs)
    try:
        if progress:
            progress(tasks[0].layer, 0, len(tasks))
        for done, result in enumerate(pool.map(work, tasks), start=1):
            yield result
            if progress:
                progress(tasks[done - 1].layer, done, len(tasks))
    except BaseException:
        control.stop()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def check_jobs(jobs: int) -> None:
    """Refuse a number of layers at a time that is none.

    Raises
    ------
    InputError
        It is not an integer of at least 1.
    """
    if not _is_int(jobs) or jobs < 1:
        raise InputError(f"jobs {jobs!r}: must be an integer of at least 1")


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


def _build(
    layers: Sequence[Layer],
    specs: Sequence[ArchSpec],
    model: PackedModel | None,
    request: PatternRequest,
    activation_sparsity: float,
    seed: int,
    keep_maps: bool,
) -> list[Task]:
    """Settle every layer's weights and activations, and refuse whatever cannot run, before anything does."""
    choices: list[LayerPattern | None] = (
        list(resolve_patterns(layers, request)) if model is None else [None] * len(layers)
    )
    tasks = []
    for index, (layer, choice) in enumerate(zip(layers, choices, strict=True)):
        _check_size(layer, choice)
        own = layer.activation_sparsity
        zeros = activation_sparsity if own is None else own
        draw = partial(draw_activations, layer, zeros, seed, index, keep_map=keep_maps)
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
                spec.architecture.check(spec.machine, pattern, layer)
            except InputError as error:
                raise InputError(f"{layer.place}{spec.name}: layer {layer.name!r}: {error}") from error
        tasks.append(
            Task(
                layer=layer,
                index=index,
                specs=tuple(specs),
                seed=seed,
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


def _tell_masks(packed: Sequence[PackedLayer], specs: Sequence[ArchSpec], notice: Callable[[str], None]) -> None:
    """Say so where an architecture that runs unstructured weights finds none in the file, or of another sparsity."""
    names = [spec.name for spec in specs if spec.masks == "unstructured"]
    if not names:
        return
    differ = [layer.name for layer in packed if _twin_differs(layer)]
    if differ:
        notice(
            f"{', '.join(names)}: in {len(differ)} layer(s) the file's unstructured weights are not as sparse as its "
            f"pruned ones (column weight_sparsity): {few(differ)}"
        )
    without = [
        layer.name
        for layer in packed
        if layer.unstructured is None and not isinstance(layer.group_weights[0], np.ndarray)
    ]
    if without:
        notice(
            f"{', '.join(names)}: unstructured weights of the same sparsity are drawn for the {len(without)} pruned "
            f"layer(s) of which the file has none: {few(without)}"
        )


def _twin_differs(packed: PackedLayer) -> bool:
    """Whether a packed layer's unstructured weights are another number than its own, by more than a thousandth."""
    if packed.unstructured is None:
        return False
    own = sum(int(np.count_nonzero(m) if isinstance(m, np.ndarray) else m.nonzeros()) for m in packed.group_weights)
    twin = int(np.unpackbits(packed.unstructured).sum())
    weights = packed.groups * packed.group_weights[0].shape[0] * packed.group_weights[0].shape[1]
    return abs(own - twin) > weights / 1000


def _check_size(layer: Layer, choice: LayerPattern | None) -> None:
    """Refuse what would take more memory than it is worth, before it does."""
    patterned = choice is not None and choice.pattern.kind != "dense"
    sizes = [
        ("S", layer.s, LARGEST_S),
        ("K", layer.k, LARGEST_K),
        ("filter positions x channels", layer.kernel_h * layer.kernel_w * layer.in_channels, 8 * LARGEST_K),
        ("input values", layer.inputs, LARGEST_INPUT),
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
