"""A data set and a network that train in a second, for tests of the training loop and for the processes they start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from crispsim.prune import CrispConfig
from crispsim.prune.data import LabelledImages, Splits
from crispsim.prune.training import Personalised, TrainingConfig, personalise

CLASSES = (4, 1, 5, 0)
CONFIG = CrispConfig(nm=(2, 4), block=16, sparsity=0.7, steps=2)
TRAINING = TrainingConfig(epochs=7, batch_size=10, learning_rate=0.05, samples_per_class=12, seed=3, device="cpu")


class NoisyPatterns(LabelledImages):
    """Images of 8x8: a pattern for each class, and noise; augmentation adds more noise."""

    def __init__(self, pixels: Tensor, targets: Tensor, name: str, watch: Callable[[str, bool], None]) -> None:
        self.pixels, self.targets, self.name, self.watch = pixels, targets, name, watch

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        self.watch(self.name, generator is not None)
        images = self.pixels[indices]
        return images if generator is None else images + 0.3 * torch.randn(images.shape, generator=generator)

    def _select(self, indices: Tensor, targets: Tensor) -> NoisyPatterns:
        return NoisyPatterns(self.pixels[indices], targets, self.name, self.watch)


class TinyNet(nn.Module):
    """A stem (exempt), two prunable convolutions with BatchNorm, dropout, a head."""

    def __init__(self, outputs: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(16, outputs)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.norm1(self.stem(images)))
        hidden = torch.relu(self.norm2(self.conv1(hidden)))
        return self.head(self.dropout(torch.relu(self.conv2(hidden)).mean((2, 3))))


def ignore(name: str, augmented: bool) -> None:
    """Watch nothing."""


def tiny_splits(watch: Callable[[str, bool], None] = ignore, tests: int = 7) -> Splits:
    """Six classes; `watch` is called with a split's name and whether it is augmented, at each of its batches.

    `tests` is the number of test images of a class.
    """
    numbers = torch.Generator().manual_seed(0)
    patterns = torch.randn((6, 1, 8, 8), generator=numbers)

    def images(name: str, each: int) -> NoisyPatterns:
        targets = torch.arange(6 * each) % 6
        noise = torch.randn((6 * each, 1, 8, 8), generator=numbers)
        return NoisyPatterns(patterns[targets] + noise, targets, name, watch)

    return Splits(
        name="patterns",
        class_names=("ant", "bee", "cat", "dog", "eel", "fox"),
        input_shape=(1, 8, 8),
        train=images("train", 12),
        validation=images("validation", 5),
        test=images("test", tests),
    )


def tiny_model(outputs: int = 6) -> TinyNet:
    """The same weights at each call."""
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        return TinyNet(outputs)


def tiny_run(
    folder: Path,
    *,
    config: CrispConfig = CONFIG,
    training: TrainingConfig = TRAINING,
    classes: Sequence[int] = CLASSES,
    watch: Callable[[str, bool], None] = ignore,
    tests: int = 7,
    **options,
) -> Personalised:
    """Personalise the tiny model."""
    return personalise(tiny_model(), tiny_splits(watch, tests), classes, config, training, folder, **options)


def assert_same_result(one: Personalised, other: Personalised) -> None:
    """Bit for bit: weights, statistics, masks, accuracies, and the history but for its seconds."""
    assert_same_tensors(one.model.state_dict(), other.model.state_dict())
    assert_same_tensors(one.masks, other.masks)
    assert summary(one) == summary(other)


def assert_same_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert sorted(one) == sorted(other)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def summary(done: Personalised) -> list[object]:
    """Figures of a run, without times."""
    figures = [done.accuracy_before, done.validation_before, done.accuracy_after, done.validation_after]
    return [figures, [{**vars(record), "seconds": 0} for record in done.history]]
