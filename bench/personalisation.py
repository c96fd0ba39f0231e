"""From names to a pruned network: model, data, classes and settings as a command gives them, to a `PrunedRecord`.

Between the pruner, which knows no files of ours, and the folder (`pruned_folder`), which knows no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..formats import PackedModel
from ..prune import CrispConfig, PruneError, PruneReport, find_layers
from ..prune.data import Splits, load_data
from ..prune.export import TracedLayer, check_packable, pack_model, trace_layers
from ..prune.matrix import from_matrix
from ..prune.models import load_model
from ..prune.training import Personalised, TrainingConfig, choose_classes, personalise
from ..prune.training import load_checkpoint_into as load_weights
from ..prune.training.progress import Progress, ProgressCallback
from .main_process import main_process
from .pruned_folder import CHECKPOINT, LayerSparsity, PrunedRecord, clear_results
from .run_folder import sha256_of

Notice = Callable[[str], None]
Building = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Start:
    """What training begins with.

    model : `module:factory`. model_arguments : of the factory. checkpoint : weights to begin with, None for the
    factory's own. data : as `load_data`. seed : of the weights that the factory draws.
    """

    model: str
    model_arguments: Mapping[str, object] = field(default_factory=dict)
    checkpoint: Path | None = None
    data: str = "digits"
    seed: int = 0

    @cached_property
    def _checkpoint_hash(self) -> str:
        assert self.checkpoint is not None  # asked for where there is one
        return sha256_of(self.checkpoint)

    def load(self, building: Building | None = None) -> tuple[nn.Module, Splits]:
        """The model, with its weights, and the data.

        Raises
        ------
        PruneError
            As `load_data`, `load_model` and `load_checkpoint_into`.
        """
        data = load_data(self.data, building)
        torch.manual_seed(self.seed)
        model = load_model(
            self.model, classes=len(data.class_names), input_shape=data.input_shape, arguments=self.model_arguments
        )
        if self.checkpoint is not None:
            load_weights(model, self.checkpoint)
        return model, data

    def words(self) -> str:
        """What the weights to begin with are, as a checkpoint keeps it."""
        arguments = "".join(f" {key}={value!r}" for key, value in sorted(self.model_arguments.items()))
        weights = f"drawn from seed {self.seed}" if self.checkpoint is None else f"sha256 {self._checkpoint_hash}"
        return f"{self.model}{arguments}, {weights}"

    def record(self, data: Splits) -> dict[str, Any]:
        """For the files that say how something was made."""
        checkpoint = None
        if self.checkpoint is not None:
            checkpoint = {"path": str(self.checkpoint), "sha256": self._checkpoint_hash}
        return {
            "model": self.model,
            "model_arguments": {key: str(value) for key, value in self.model_arguments.items()},
            "checkpoint": checkpoint,
            "data": {
                "asked": self.data,
                "name": data.name,
                "note": data.note,
                "classes": len(data.class_names),
                "input_shape": list(data.input_shape),
                "preprocessing": data.test.preprocessing(),
                "images": {split: len(getattr(data, split)) for split in ("train", "validation", "test")},
            },
        }


@dataclass(frozen=True, kw_only=True)
class UserClasses:
    """How the user's classes are found: given, drawn from the seed, or the most frequent of a history."""

    given: str | None = None
    number: int | None = None
    history: Path | None = None
    window: int | None = None

    def choose(self, data: Splits, seed: int) -> tuple[int, ...]:
        """Their indices, in the order of the head's rows.

        Raises
        ------
        PruneError
            As `choose_classes`.
        """
        return choose_classes(
            data.class_names, given=self.given, num=self.number, seed=seed, history=self.history, window=self.window
        )


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How weights are packed: dtype, and whether each layer's input of one test image goes along ("mask")."""

    dtype: str = "float32"
    activations: str = "none"


def prune_network(
    start: Start,
    user: UserClasses,
    config: CrispConfig,
    training: TrainingConfig,
    folder: Path,
    *,
    packing: Packing,
    made: Mapping[str, Any],
    resume: bool = False,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
    building: Building | None = None,
) -> PrunedRecord | None:
    """Load, personalise, pack.

    Parameters
    ----------
    start, user, config, training, packing
    folder : Path
        Where the training's checkpoint is kept.
    made : mapping
        More of how it was made: command, versions.
    resume : bool
        Go on from the folder's checkpoint.
    overwrite : bool
        Begin anew although there is one. What the folder holds is kept until training has begun.
    progress, building : callable, optional
        Events of the training, and of the making of a data set.

    Returns
    -------
    PrunedRecord, or None in a process of torchrun that is not the first

    Raises
    ------
    PruneError
        Whatever was asked for cannot be done.
    """
    started = time.monotonic()
    if overwrite and start.checkpoint is not None and start.checkpoint.resolve() == (folder / CHECKPOINT).resolve():
        raise PruneError(f"--checkpoint {start.checkpoint}: would be overwritten; give another --out")
    notices: list[str] = []
    model, data = start.load(building)
    classes = user.choose(data, training.seed)
    example = torch.zeros(1, *data.input_shape)
    # What could not be exported in the end is refused before it is trained.
    prunable, _ = find_layers(model, config.include, config.exclude)
    made_by = {"tool": "crispsim", "command": made.get("command", ""), "seed": training.seed}
    made_by |= {"versions": dict(made.get("versions", {}))}
    names = [layer.name for layer in prunable]
    check_packable(trace_layers(model, example), names, config, dtype=packing.dtype, made_by=made_by)
    said = start.record(data)
    if start.checkpoint is None:
        notices.append(f"no --checkpoint: {start.model} started from the weights its factory gives")
    if 0 < training.epochs < config.steps + 1 and not config.dense:
        notices.append(
            f"{training.epochs} epochs are fewer than the {config.steps + 1} stretches of fine-tuning: all come after "
            f"the last pruning (rule R14); fewer --steps or more --epochs train in between"
        )
    if data.note:
        notices.append(f"data {data.name}: {data.note}")

    def begun(event: Progress) -> None:
        nonlocal overwrite
        if overwrite:
            clear_results(folder)
            overwrite = False
        if progress is not None:
            progress(event)

    done = personalise(
        model,
        data,
        classes,
        config,
        training,
        folder,
        start=start.words(),
        resume=resume,
        overwrite=overwrite,
        progress=begun,
    )
    if not main_process():
        return None
    done.model.cpu()
    sample = "mask" if packing.activations == "mask" else None
    image = data.test.subset(classes).batch(torch.zeros(1, dtype=torch.int64)) if sample else example
    traced = trace_layers(done.model, image, sample=sample, notice=notices.append)
    packed = pack_model(
        done.model,
        traced,
        done.pruner.masks(),
        config,
        dtype=packing.dtype,
        made_by=made_by,
    )
    return PrunedRecord(
        made={
            **made,
            **said,
            "classes": [{"index": index, "name": data.class_names[index]} for index in classes],
            "config": config.to_dict(),
            "training": training.to_dict() | {"device_used": done.device, "threads_used": torch.get_num_threads()},
            "dtype": packing.dtype,
        },
        accuracy=_accuracy(done, data),
        history=[asdict(epoch) for epoch in done.history],
        layers=_sparsities(done.report, traced, packed),
        masks=_weight_masks(done, traced),
        model=packed,
        seconds={"training": done.seconds, "this_process": time.monotonic() - started},
        notices=notices,
    )


def _accuracy(done: Personalised, data: Splits) -> dict[str, Any]:
    return {
        "among": "the user's classes",
        "before_is": "the network as it came, its head sliced to the classes, nothing trained or pruned",
        "test": {
            "images": len(data.test.subset(done.classes)),
            "before": done.accuracy_before,
            "after": done.accuracy_after,
        },
        "validation": {
            "images": len(data.validation.subset(done.classes)),
            "before": done.validation_before,
            "after": done.validation_after,
        },
    }


def _sparsities(report: PruneReport, traced: tuple[TracedLayer, ...], packed: PackedModel) -> list[LayerSparsity]:
    """A row for every layer, in the order they run."""
    pruned = {layer.layer: layer for layer in report.layers}
    reasons = {layer.name: layer.reason for layer in report.dense}
    rows = []
    for layer, stored in zip(traced, packed.layers, strict=True):
        own = pruned.get(layer.name)
        weights = layer.groups * layer.shape[0] * layer.shape[1]
        kept = own.kept_weights if own else weights
        positions = stored.p * stored.batch
        rows.append(
            LayerSparsity(
                layer=layer.name,
                kind=layer.kind,
                nm=own.nm if own else "dense",
                block=str(own.block) if own and own.block is not None else "none",
                s=layer.shape[0],
                k=layer.shape[1],
                groups=layer.groups,
                p=positions,
                calls=stored.calls,
                block_columns=(own.block_columns or 0) if own else 0,
                kept_blocks=(own.kept_blocks or 0) if own else 0,
                weights=weights,
                kept_weights=kept,
                sparsity=1 - kept / weights,
                macs_dense=weights * positions * stored.calls,
                macs_kept=kept * positions * stored.calls,
                prunable=int(own is not None),
                note=own.note if own else reasons.get(layer.name, ""),
            )
        )
    return rows


def _weight_masks(done: Personalised, traced: tuple[TracedLayer, ...]) -> dict[str, Any]:
    """The masks in the shapes of the weights they belong to, under the weights' names in the state dict."""
    state = done.model.state_dict()
    keys = {layer.name: layer.key for layer in traced}
    return {keys[name]: from_matrix(mask, state[keys[name]].shape).cpu().numpy() for name, mask in done.masks.items()}
