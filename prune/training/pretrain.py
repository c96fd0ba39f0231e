"""The universal model: trained on all classes, for users to be personalised from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ..data import Splits
from .config import PretrainConfig
from .determinism import deterministic
from .distributed import find_device, process_group
from .model_check import check_model
from .progress import ProgressCallback
from .run import EpochRecord, Run
from .run_identity import describe_run


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A trained model. Accuracies are 0..1, among all classes.

    Parameters
    ----------
    model : nn.Module
        On the run's device, in eval mode.
    class_names : tuple of str
    history : tuple of EpochRecord
    validation_accuracy, test_accuracy : float
        At the end.
    seconds : float
        Over all times it was resumed.
    device : str
    checkpoint : Path
    """

    model: nn.Module
    class_names: tuple[str, ...]
    history: tuple[EpochRecord, ...]
    validation_accuracy: float
    test_accuracy: float
    seconds: float
    device: str
    checkpoint: Path


def pretrain(
    model: nn.Module,
    data: Splits,
    training: PretrainConfig,
    path: Path,
    *,
    start: str = "",
    resume: bool = False,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> Pretrained:
    """Train a model on all classes of the data.

    Parameters
    ----------
    model : nn.Module
        With an output for each class; changed in place. On resuming its weights do not matter.
    data : Splits
    training : PretrainConfig
    path : Path
        The checkpoint, written after every epoch; the finished one is what `load_checkpoint_into` reads.
    start : str
        What the model and its weights are, in words of the caller's (a factory and a file's hash, say): kept, and
        compared on resuming, since a checkpoint has no other trace of them.
    resume : bool
        Go on from it; if it is not there, begin.
    overwrite : bool
        Begin anew although there is a checkpoint; it stands until the first of this run takes its place.
    progress : callable, optional
        Called on rank 0 with Progress events.

    Returns
    -------
    Pretrained
        The same on all ranks.

    Raises
    ------
    PruneError
        The model does not fit the data; there is a checkpoint and `resume` is false, or it is of another run;
        training diverged.
    """
    classes = range(len(data.class_names))
    with process_group(training.device) as ranks:
        device = find_device(training.device, ranks.local_rank)
        per_class = training.samples_per_class
        train = data.train if per_class is None else data.train.subset(classes, per_class)
        model.to(device)
        check_model(model, train, len(classes), device)
        run = Run(
            kind="pretrain",
            asked=describe_run(data, training, ranks, classes, device, start=start),
            class_names=data.class_names,
            train=train,
            scored=train,
            validation=data.validation,
            test=data.test,
            training=training,
            path=path,
            model=model,
            device=device,
            ranks=ranks,
        )
        with deterministic(device):
            run.complete(resume, progress, overwrite=overwrite)
    return Pretrained(
        model=model,
        class_names=run.class_names,
        history=tuple(run.state.history),
        validation_accuracy=run.state.validation_after,
        test_accuracy=run.state.accuracy_after,
        seconds=run.state.seconds,
        device=str(device),
        checkpoint=path,
    )
