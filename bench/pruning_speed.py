"""How fast masks are made: `python -m crispsim.bench.pruning_speed`, one thread, ResNet-50.

All 53 convolutions and fc take part, a little more than the rules of pruning let in. Scores are random: the time does
not depend on them. Machines differ and shared ones are noisy: compare the figures of one run only.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from pathlib import Path

import click
import torch
from torch import Tensor

from ..prune.masks import LayerScores, generate, nothing_pruned, score
from ..prune.matrix import to_matrix
from ..sim import Layer, read_layers

PATTERNS = (((2, 4), 64), ((2, 4), 16), ((1, 4), 32))
TARGET = Fraction(9, 10)


@dataclass(frozen=True, kw_only=True)
class PruningTime:
    """Seconds of one mask generation, a median over repeats.

    Parameters
    ----------
    nm : tuple of int
    block : int
    masks : float
        From scores in matrices to masks.
    whole : float
        From weights and gradients to masks: scoring and putting scores in `hwc` order included.
    """

    nm: tuple[int, int]
    block: int
    masks: float
    whole: float


def draw(layers: list[Layer]) -> list[tuple[Layer, Tensor, Tensor]]:
    """Random weights and gradients of every layer: float32, (S, C, kh, kw)."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(layer.s, layer.in_channels, layer.kernel_h, layer.kernel_w) for layer in layers]
    return [
        (layer, torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))
        for layer, shape in zip(layers, shapes, strict=True)
    ]


def measure(drawn: list[tuple[Layer, Tensor, Tensor]], nm: tuple[int, int], block: int, repeats: int) -> PruningTime:
    """Time one generation of all layers, from no block pruned to 90%; the first call is outside the clock."""

    def score_all() -> list[LayerScores]:
        return [
            LayerScores(layer.name, to_matrix(score(weight, gradient, "eq1")), nothing_pruned(layer.s, layer.k, block))
            for layer, weight, gradient in drawn
        ]

    scores = score_all()
    return PruningTime(
        nm=nm,
        block=block,
        masks=_median(lambda: generate(scores, nm=nm, block=block, target=TARGET), repeats),
        whole=_median(lambda: generate(score_all(), nm=nm, block=block, target=TARGET), repeats),
    )


def measure_all(repeats: int = 5) -> list[PruningTime]:
    """Every pattern of the benchmark, on one thread; the number of threads is put back."""
    layers = read_layers(Path(str(resources.files("crispsim.sim") / "layers" / "resnet50.csv")))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        drawn = draw(layers)
        return [measure(drawn, nm, block, repeats) for nm, block in PATTERNS]
    finally:
        torch.set_num_threads(threads)


def describe(times: list[PruningTime]) -> list[str]:
    """One line for each measurement."""
    return [
        f"masks of ResNet-50, {t.nm[0]}:{t.nm[1]} in blocks of {t.block}: "
        f"{t.masks:.3f} s from scores, {t.whole:.3f} s from weights and gradients"
        for t in times
    ]


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@click.command()
@click.option("--repeats", type=int, default=5, show_default=True)
def main(repeats: int) -> None:
    """Measure and print."""
    for line in describe(measure_all(repeats)):
        click.echo(line)


if __name__ == "__main__":
    main()
