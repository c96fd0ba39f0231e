"""A training run, from its beginning or its checkpoint to its end: epochs, iterations of the pruner, a file after each.

The order is fixed: iteration p comes before epoch p floor(E / (n + 1)) (R14; epochs counted from 0). So the epochs done
and the pruner's iteration say where a run stands, and one that was cut off repeats what it lost and ends the same.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...formats.errors import one_line
from ..data import LabelledImages
from ..errors import PruneError
from ..processes import Ranks, copy_from_main, from_main
from ..pruner import CrispPruner
from .checkpoint import check_same_run, read_checkpoint, write_checkpoint
from .config import TrainingConfig
from .initial_weights import load_state
from .loop import Learner, epoch_batches, evaluate, score, scoring_batches
from .model_check import has_unused_parameters
from .progress import Meter, ProgressCallback


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """An epoch as it went.

    Parameters
    ----------
    epoch : int
        From 1.
    iteration : int
        Pruning iterations done before it.
    stretch : int
        Which stretch of fine-tuning it belongs to (R14), from 1.
    loss, train_accuracy : float
        Means over the images as they were trained on.
    validation_accuracy : float
        After it, 0..1.
    learning_rate : float
        At its first batch.
    sparsity : float
        Of the prunable weights, in it.
    seconds : float
        Training and validation.
    """

    epoch: int
    iteration: int
    stretch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    learning_rate: float
    sparsity: float
    seconds: float


@dataclass
class RunState:
    """How far a run got: with weights, optimiser and pruner, all it goes on from. Accuracies are NaN until taken."""

    epoch: int = 0
    history: list[EpochRecord] = field(default_factory=list)
    accuracy_before: float = math.nan
    validation_before: float = math.nan
    accuracy_after: float = math.nan
    validation_after: float = math.nan
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunState:
        """Of what `to_dict` gave.

        Raises
        ------
        KeyError, TypeError
            It is anything else.
        """
        _check_numbers(cls, values)
        if not isinstance(values["history"], list):
            raise TypeError("history must be a list")
        for record in values["history"]:
            _check_numbers(EpochRecord, record)
        return cls(**{**values, "history": [EpochRecord(**record) for record in values["history"]]})


def _check_numbers(kind: type, values: Mapping[str, Any]) -> None:
    """Refuse other types than a dataclass asks for: a file may hold a tensor where a number belongs."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{kind.__name__} must be a mapping, is a {type(values).__name__}")
    for one in fields(kind):
        value = values[one.name]
        wanted = {"int": (int,), "float": (int, float)}.get(str(one.type))
        if wanted and type(value) not in wanted:
            raise TypeError(f"{one.name} must be a number, is a {type(value).__name__}")


def stretches(epochs: int, steps: int) -> tuple[int, ...]:
    """Epochs of each stretch of fine-tuning: one before the first iteration, and one after each (R14).

    >>> stretches(50, 5)
    (8, 8, 8, 8, 8, 10)
    """
    each = epochs // (steps + 1)
    return (each,) * steps + (epochs - steps * each,)


@dataclass(kw_only=True)
class Run:
    """What is trained on what, and where its checkpoint lies.

    Parameters
    ----------
    kind : str
        "personalise" or "pretrain".
    asked : dict
        What decides the result, in plain values; resuming must ask for the same.
    class_names : tuple of str
        One for each output.
    train, scored, validation, test : LabelledImages
        `scored` are the training images of a scoring pass.
    training : TrainingConfig
    path : Path
    model : nn.Module
        On its device; changed in place.
    device : torch.device
    ranks : Ranks
    pruner : CrispPruner, optional
        Not prepared yet; None to train only.
    """

    kind: str
    asked: dict[str, Any]
    class_names: tuple[str, ...]
    train: LabelledImages
    scored: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    training: TrainingConfig
    path: Path
    model: nn.Module
    device: torch.device
    ranks: Ranks
    pruner: CrispPruner | None = None
    state: RunState = field(default_factory=RunState)
    _clock: float = field(default_factory=time.monotonic)

    def complete(
        self, resume: bool, progress: ProgressCallback | None, *, overwrite: bool = False
    ) -> dict[str, Tensor]:
        """Run to the end; the model is then plain, in eval mode, and the finished checkpoint is written.

        With `overwrite` an earlier checkpoint stands until the first of this run takes its place.

        Returns
        -------
        dict of str to Tensor
            The pruner's masks; empty without one.

        Raises
        ------
        PruneError
            There is a checkpoint and both `resume` and `overwrite` are false, or it is of another run; or the training
            fails.
        """
        saved = self._find_checkpoint(resume, overwrite)
        if saved is not None and saved["finished"]:
            masks = self._restore_finished(saved)
        else:
            masks = self._train(saved, progress if self.ranks.main else None)
        self.model.eval()
        return masks

    @property
    def _iterations(self) -> int:
        return 0 if self.pruner is None or self.pruner.config.dense else self.pruner.config.steps

    @property
    def _iteration(self) -> int:
        return 0 if self.pruner is None else self.pruner.iteration

    def _find_checkpoint(self, resume: bool, overwrite: bool) -> dict[str, Any] | None:
        # Rank 0 looks, so that all do the same even where folders are shared with a delay.
        if not from_main(os.path.lexists(self.path)) or overwrite:
            return None
        if not resume:
            raise PruneError(f"checkpoint {self.path}: is there; resume it, remove it, or give another place")
        saved = read_checkpoint(self.path)
        check_same_run(self.path, saved, self.kind, self.asked)
        return saved

    def _restore_finished(self, saved: Mapping[str, Any]) -> dict[str, Tensor]:
        load_state(self.model, saved["model"], self.path)
        self._restore_state(saved)
        if self.pruner is None:
            return {}
        self.pruner.prepare()
        self._restore_pruner(saved)
        return self.pruner.finalize()

    def _restore_state(self, saved: Mapping[str, Any]) -> None:
        try:
            self.state = RunState.from_dict(saved["state"]["progress"])
        except Exception as error:  # it may hold anything
            raise self._not_whole(error) from error
        if not len(self.state.history) == self.state.epoch <= self.training.epochs:
            raise self._not_whole(ValueError(f"{self.state.epoch} epochs, {len(self.state.history)} records of them"))

    def _restore_pruner(self, saved: Mapping[str, Any]) -> None:
        if self.pruner is None:
            return
        try:
            self.pruner.load_state_dict(saved["state"].get("pruner"))
        except PruneError:
            raise
        except Exception as error:  # tensors, say, which do not compare as numbers do
            raise self._not_whole(error) from error

    def _not_whole(self, error: Exception) -> PruneError:
        return PruneError(f"checkpoint {self.path}: its state is not whole ({one_line(error)})")

    def _train(self, saved: dict[str, Any] | None, progress: ProgressCallback | None) -> dict[str, Tensor]:
        if saved is None:
            copy_from_main(self.model)
            if self.pruner is not None:
                self.state.accuracy_before = self._evaluate(self.test)
                self.state.validation_before = self._evaluate(self.validation)
        if self.pruner is not None:
            self.pruner.prepare()
        if saved is not None:
            load_state(self.model, saved["model"], self.path)
            self._restore_state(saved)
            self._restore_pruner(saved)
        learner = Learner(
            self.model,
            self.training,
            self.device,
            self.ranks,
            on_scale=None if self.pruner is None else self.pruner.set_gradient_scale,
            some_unused=self.ranks.world > 1
            and has_unused_parameters(self.model, self.train, len(self.class_names), self.device),
        )
        if saved is not None:
            try:
                learner.load_state_dict(saved["state"])
            except Exception as error:  # torch checks little of what it is given
                raise self._not_whole(error) from error
        self._go_on(learner, self._meter(progress))
        masks = {} if self.pruner is None else self.pruner.finalize()
        self.state.accuracy_after = self._evaluate(self.test)
        self.state.validation_after = self._evaluate(self.validation)
        self._save(None)
        return masks

    def _meter(self, progress: ProgressCallback | None) -> Meter:
        training = self.training
        epochs_left, iterations_left = training.epochs - self.state.epoch, self._iterations - self._iteration
        trained = epoch_batches(len(self.train), training.batch_size, training.seed, 0, self.ranks)
        scored = scoring_batches(len(self.scored), training.batch_size, self.ranks)
        work = epochs_left * len(trained) + iterations_left * len(scored)
        meter = Meter(progress, training.epochs, self._iterations, work)
        meter.epoch, meter.iteration = self.state.epoch, self._iteration
        return meter

    def _go_on(self, learner: Learner, meter: Meter) -> None:
        stretch = stretches(self.training.epochs, self._iterations)[0]
        while True:
            while self._iteration < self._iterations and self.state.epoch >= stretch * (self._iteration + 1):
                self._iterate(learner, meter)
                self._save(learner)
            if self.state.epoch == self.training.epochs:
                return
            self._epoch(learner, meter)
            self._save(learner)

    def _epoch(self, learner: Learner, meter: Meter) -> None:
        start = time.monotonic()
        epoch = self.state.epoch
        meter.epoch = epoch + 1
        loss, accuracy = learner.train_epoch(
            self.train, len(self.class_names), epoch, lambda done, of, loss: meter.batch("train", done, of, loss)
        )
        validation_accuracy = self._evaluate(self.validation)
        self.state.epoch += 1
        self.state.history.append(
            EpochRecord(
                epoch=epoch + 1,
                iteration=self._iteration,
                stretch=self._iteration + 1,
                loss=loss,
                train_accuracy=accuracy,
                validation_accuracy=validation_accuracy,
                learning_rate=learner.learning_rate(epoch),
                sparsity=0.0 if self.pruner is None else self.pruner.report().sparsity,
                seconds=time.monotonic() - start,
            )
        )
        meter.tell("evaluate", loss=loss, validation_accuracy=validation_accuracy)

    def _iterate(self, learner: Learner, meter: Meter) -> None:
        pruner = self.pruner
        assert pruner is not None  # without one there are no iterations
        if pruner.config.criterion != "magnitude":  # which looks at no images
            pruner.begin_scoring()
            score(
                self.model,
                self.scored,
                len(self.class_names),
                scoring_batches(len(self.scored), self.training.batch_size, self.ranks),
                self.device,
                pruner.accumulate,
                lambda done, of, loss: meter.batch("score", done, of, loss),
            )
        pruner.step(learner.optimizer)
        meter.iteration = pruner.iteration
        meter.tell("step")

    def _evaluate(self, images: LabelledImages) -> float:
        return evaluate(self.model, images, len(self.class_names), self.training.batch_size, self.device, self.ranks)

    def _save(self, learner: Learner | None) -> None:
        """Write the checkpoint, on rank 0; the finished one without a learner."""
        now = time.monotonic()
        self.state.seconds += now - self._clock
        self._clock = now
        if not self.ranks.main:
            return
        state: dict[str, Any] = {"progress": self.state.to_dict()}
        if self.pruner is not None:
            state["pruner"] = self.pruner.state_dict()
        if learner is not None:
            state |= learner.state_dict()
        content = {
            "kind": self.kind,
            "finished": learner is None,
            "run": self.asked,
            "classes": list(self.class_names),
            "model": dict(self.model.state_dict()),
            "state": state,
        }
        write_checkpoint(self.path, content)
