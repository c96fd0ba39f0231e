"""An epoch of training, an evaluation, and a scoring pass: the three ways images go through the network.

Training and scoring differ on purpose. Training augments, shuffles, mixes precisions and updates BatchNorm; a scoring
pass does none of it (R4), so that scores depend on the weights and the images alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data import LabelledImages
from ..errors import PruneError
from ..processes import Ranks, add_up
from .config import TrainingConfig
from .determinism import Purpose, derived_seed, generator
from .distributed import average_statistics, parallel
from .model_check import logits_of

OnBatch = Callable[[int, int, Tensor], None]
"""Called after every batch with the batches complete, all of them, and the batch's loss (on the device)."""

# Evaluation needs no room for gradients; larger batches cost less.
_EVALUATION_BATCH = 128


@dataclass
class Learner:
    """A model under training with all that a step needs; make it when the model is on its device and its masks are in.

    Parameters
    ----------
    model : nn.Module
        The model itself, not wrapped for several ranks.
    training : TrainingConfig
    device : torch.device
    ranks : Ranks
    on_scale : callable, optional
        Told what the loss is multiplied by, before each batch whose loss is scaled (float16 only).
    some_unused : bool
        Not all parameters that learn have a part in the outputs (`has_unused_parameters`); asked with several ranks.
    """

    model: nn.Module
    training: TrainingConfig
    device: torch.device
    ranks: Ranks
    on_scale: Callable[[float], None] | None = None
    some_unused: bool = False
    optimizer: torch.optim.SGD = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)  # pyright: ignore[reportPrivateImportUsage]
    _parallel: nn.Module = field(init=False)
    _mixed: torch.dtype | None = field(init=False)

    def __post_init__(self) -> None:
        training = self.training
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if not parameters:
            raise PruneError("model: has no parameter that learns")
        # One group: the paper decays BatchNorm and biases like everything else.
        self.optimizer = torch.optim.SGD(
            parameters, lr=training.learning_rate, momentum=training.momentum, weight_decay=training.weight_decay
        )
        self._parallel = parallel(self.model, self.ranks, self.device, some_unused=self.some_unused)
        self._mixed = mixed_dtype(training, self.device)
        self.scaler = torch.amp.GradScaler(  # pyright: ignore[reportPrivateImportUsage]
            self.device.type, enabled=self._mixed == torch.float16
        )

    def train_epoch(
        self, images: LabelledImages, classes: int, epoch: int, on_batch: OnBatch | None = None
    ) -> tuple[float, float]:
        """Train on all the images once; the model changes, and BatchNorm is the same on all ranks after.

        Parameters
        ----------
        images : LabelledImages
        classes : int
            Outputs the model must have.
        epoch : int
            From 0; with the seed it decides the order, the augmentation and dropout, and sets the learning rate.
        on_batch : callable, optional

        Returns
        -------
        (float, float)
            Mean loss and accuracy over the images as they were trained on, of all ranks.

        Raises
        ------
        PruneError
            The loss became infinite or not a number, or the outputs are not one for each class.
        """
        training, ranks = self.training, self.ranks
        torch.manual_seed(derived_seed(training.seed, epoch, Purpose.LAYERS, ranks.rank))
        augmentation = generator(training.seed, epoch, Purpose.AUGMENTATION, ranks.rank)
        batches = epoch_batches(len(images), training.batch_size, training.seed, epoch, ranks)
        totals = torch.zeros(3, dtype=torch.float64, device=self.device)  # loss, correct, images
        self._parallel.train()
        for number, indices in enumerate(batches):
            self._set_learning_rate(epoch + number / len(batches))
            targets = images.targets[indices].to(self.device)
            inputs = images.batch(indices, augmentation).to(self.device)
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, self._mixed) if self._mixed else nullcontext():
                logits = logits_of(self._parallel, inputs, classes, training=True)
                loss = functional.cross_entropy(logits, targets, label_smoothing=training.label_smoothing)
            if self.scaler.is_enabled() and self.on_scale is not None:
                self.on_scale(self.scaler.get_scale())
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            with torch.no_grad():
                correct = (logits.argmax(1) == targets).sum()
                totals += torch.stack([loss.double() * len(indices), correct.double(), totals.new_tensor(len(indices))])
            if on_batch is not None:
                on_batch(number + 1, len(batches), loss.detach())
        average_statistics(self.model)
        add_up([totals])
        loss_sum, correct_sum, seen = totals.tolist()
        if not math.isfinite(loss_sum):
            raise PruneError(
                f"epoch {epoch + 1}: the loss became {loss_sum}; learning_rate {training.learning_rate:g} is too high; "
                f"begin anew with a lower one, in another place or overwriting the checkpoint"
            )
        return loss_sum / seen, correct_sum / seen

    def learning_rate(self, time: float) -> float:
        """The cosine from the initial rate to 0, at a time in epochs (R14)."""
        return self.training.learning_rate / 2 * (1 + math.cos(math.pi * time / self.training.epochs))

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint keeps beside the model."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`.

        Raises
        ------
        Exception
            Of any kind, if it is something else: torch's, or a ValueError.
        """
        if not all(isinstance(state[name], Mapping) for name in ("optimizer", "scaler")):
            raise ValueError("optimizer and scaler must be mappings")
        self._check_optimizer(state["optimizer"])
        if not all(type(value) in (int, float) for value in state["scaler"].values()):
            raise ValueError("the scaler's values must be numbers")
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def _check_optimizer(self, saved: Mapping[str, Any]) -> None:
        """Refuse what torch would take and fail on later: other settings, momentum that does not fit its weight."""
        for own, group in zip(self.optimizer.state_dict()["param_groups"], saved["param_groups"], strict=True):
            for name, value in own.items():
                there = group.get(name, value)
                # The learning rate is set before each batch.
                same = name == "lr" or there == value
                if not same or type(there) not in (type(value), *((int, float) if name == "lr" else ())):
                    raise ValueError(f"the optimiser's {name} must be {value}")
        for index, state in saved["state"].items():
            weight = self.optimizer.param_groups[0]["params"][index]
            for name, value in state.items():
                fits = isinstance(value, Tensor) and value.shape == weight.shape and value.dtype == weight.dtype
                if value is not None and not fits:
                    raise ValueError(f"the optimiser's {name} of weight {index} must be a tensor as the weight is")

    def _set_learning_rate(self, time: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(time)


def mixed_dtype(training: TrainingConfig, device: torch.device) -> torch.dtype | None:
    """The lower precision that training mixes in, if any."""
    cuda = device.type == "cuda"
    if not (cuda if training.amp == "auto" else training.amp):
        return None
    return torch.bfloat16 if not cuda or torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def epoch_batches(count: int, batch_size: int, seed: int, epoch: int, ranks: Ranks) -> list[Tensor]:
    """The indices of each batch of this rank in an epoch.

    All ranks get equally many batches of equal sizes; where the images cannot be shared out evenly, the first few of
    the order are taken twice. The batches of a rank differ by at most one image in size, and hold at least two: a last
    batch of one image would stop BatchNorm.

    Raises
    ------
    PruneError
        There are fewer than two images for each rank.
    """
    if count < 2 * ranks.world:
        raise PruneError(f"training images {count}: must be at least two for each of {ranks.world} processes")
    order = torch.randperm(count, generator=generator(seed, epoch, Purpose.ORDER))
    order = torch.cat([order, order[: -count % ranks.world]])[ranks.rank :: ranks.world]
    return list(order.tensor_split(min(math.ceil(len(order) / batch_size), len(order) // 2)))


@torch.no_grad()
def evaluate(
    model: nn.Module, images: LabelledImages, classes: int, batch_size: int, device: torch.device, ranks: Ranks
) -> float:
    """The share of images whose class has the largest output; eval mode, full precision, the work shared by the ranks.

    Raises
    ------
    PruneError
        The outputs are not one for each class.
    """
    model.eval()
    counts = torch.zeros(2, dtype=torch.float64, device=device)
    batches = torch.arange(len(images)).split(max(batch_size, _EVALUATION_BATCH))
    for indices in batches[ranks.rank :: ranks.world]:
        logits = logits_of(model, images.batch(indices).to(device), classes)
        correct = (logits.argmax(1) == images.targets[indices].to(device)).sum()
        counts += torch.stack([correct.double(), counts.new_tensor(len(indices))])
    add_up([counts])
    correct, seen = counts.tolist()
    return correct / seen


def scoring_batches(count: int, batch_size: int, ranks: Ranks) -> list[Tensor]:
    """The indices of each batch this rank scores: batches of fixed size in the order of the set, dealt to the ranks.

    Whole batches are dealt, so that averages over batches are over the same batches whatever the number of ranks.
    """
    return list(torch.arange(count).split(batch_size)[ranks.rank :: ranks.world])


def score(
    model: nn.Module,
    images: LabelledImages,
    classes: int,
    batches: list[Tensor],
    device: torch.device,
    accumulate: Callable[[int], None],
    on_batch: OnBatch | None = None,
) -> None:
    """Gradients of the plain loss, in eval mode and full precision, batch after batch (R4).

    Parameters
    ----------
    model : nn.Module
        Not wrapped: gradients stay this rank's own.
    images : LabelledImages
    classes : int
    batches : list of Tensor
        As `scoring_batches` gives them.
    device : torch.device
    accumulate : callable
        Called with the batch's size while its gradients are in the parameters.
    on_batch : callable, optional

    Raises
    ------
    PruneError
        The outputs are not one for each class.
    """
    model.eval()
    model.zero_grad(set_to_none=True)
    for number, indices in enumerate(batches):
        logits = logits_of(model, images.batch(indices).to(device), classes)
        loss = functional.cross_entropy(logits, images.targets[indices].to(device))
        loss.backward()
        accumulate(len(indices))
        if on_batch is not None:
            on_batch(number + 1, len(batches), loss.detach())
    model.zero_grad(set_to_none=True)
