"""Class-aware pruning of a universal model for a user: slice the head, fine-tune and prune in turns, fine-tune.

Paper, section III and Algorithm 1; docs/pruning.md, R14. How a run goes on after it was cut off: `run.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ..config import CrispConfig
from ..data import Splits
from ..errors import PruneError
from ..pruner import CrispPruner
from ..report import PruneReport
from .config import TrainingConfig
from .determinism import deterministic
from .distributed import find_device, process_group
from .head import slice_head
from .model_check import check_model
from .progress import ProgressCallback
from .run import EpochRecord, Run
from .run_identity import describe_run

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, kw_only=True)
class Personalised:
    """A pruned model, and how it came about. Accuracies are 0..1, among the user's classes.

    Parameters
    ----------
    model : nn.Module
        Finalized: a plain module, exact zeros where weights are pruned; on the run's device, in eval mode.
    classes : tuple of int
        Indices among all classes of the data, in the order of the head's rows.
    class_names : tuple of str
    masks : dict of str to Tensor, bool, shape (S, K)
        What is kept, by layer name.
    pruner : CrispPruner
        For `masks()`, with N:M and blocks apart.
    report : PruneReport
    history : tuple of EpochRecord
    accuracy_before, validation_before : float
        On test and validation images: the dense model with its head sliced, before any fine-tuning.
    accuracy_after, validation_after : float
        The same at the end.
    seconds : float
        Work on this run, over all times it was resumed; what was lost is not counted.
    device : str
    checkpoint : Path
    """

    model: nn.Module
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    masks: dict[str, Tensor]
    pruner: CrispPruner
    report: PruneReport
    history: tuple[EpochRecord, ...]
    accuracy_before: float
    validation_before: float
    accuracy_after: float
    validation_after: float
    seconds: float
    device: str
    checkpoint: Path


def personalise(
    model: nn.Module,
    data: Splits,
    classes: Sequence[int],
    config: CrispConfig,
    training: TrainingConfig,
    folder: Path,
    *,
    start: str = "",
    resume: bool = False,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> Personalised:
    """Prune and fine-tune a universal model for these classes.

    Parameters
    ----------
    model : nn.Module
        Tells all classes of the data apart; changed in place. On resuming its weights do not matter.
    data : Splits
    classes : sequence of int
        At least two, in the order the head's rows shall have (`choose_classes`).
    config : CrispConfig
        A dense one gives plain fine-tuning.
    training : TrainingConfig
    folder : Path
        Where `checkpoint.pt` is written after every epoch and iteration; made if it is not there. With several
        processes, all of them must see it.
    start : str
        What the model and its weights are, in words of the caller's (a factory and a file's hash, say): kept, and
        compared on resuming, since a checkpoint has no other trace of them.
    resume : bool
        Go on from the folder's checkpoint; without one, begin. With as many threads and
        processes (others are refused) the result is bit-identical on the CPU.
    overwrite : bool
        Begin anew although there is a checkpoint; it stands until the first of this run takes its place.
    progress : callable, optional
        Called on rank 0 with Progress events.

    Returns
    -------
    Personalised
        The same on all ranks.

    Raises
    ------
    PruneError
        The classes, the model or the configuration do not fit the data or each other; the folder holds a checkpoint
        and `resume` is false; the checkpoint is of another run; training diverged.
    KeyboardInterrupt
        As it came: what the last checkpoint holds is kept.
    """
    if len(set(classes)) != len(classes) or len(classes) < 2:
        raise PruneError(f"classes {list(classes)}: must be two or more different classes")
    chosen = tuple(int(index) for index in classes)
    with process_group(training.device) as ranks:
        device = find_device(training.device, ranks.local_rank)
        train = data.train.subset(chosen, training.samples_per_class)
        slice_head(model, chosen, len(data.class_names))
        model.to(device)
        check_model(model, train, len(chosen), device)
        pruner = CrispPruner(model, config)
        run = Run(
            kind="personalise",
            asked=describe_run(data, training, ranks, chosen, device, start=start, config=config.to_dict()),
            class_names=tuple(data.class_names[index] for index in chosen),
            train=train,
            scored=train.subset(range(len(chosen)), training.score_samples_per_class),
            validation=data.validation.subset(chosen),
            test=data.test.subset(chosen),
            training=training,
            path=folder / CHECKPOINT,
            model=model,
            device=device,
            ranks=ranks,
            pruner=pruner,
        )
        with deterministic(device):
            masks = run.complete(resume, progress, overwrite=overwrite)
    state = run.state
    return Personalised(
        model=model,
        classes=chosen,
        class_names=run.class_names,
        masks=masks,
        pruner=pruner,
        report=pruner.report(),
        history=tuple(state.history),
        accuracy_before=state.accuracy_before,
        validation_before=state.validation_before,
        accuracy_after=state.accuracy_after,
        validation_after=state.validation_after,
        seconds=state.seconds,
        device=str(device),
        checkpoint=run.path,
    )
