"""How fast the simulator is: `make bench`, or `python -m crispsim.bench.speed`.

Every figure is a median over repeats in one process, except compiling and memory, which need a process of their own.
Machines differ and shared ones are noisy: compare the ratios of one run, not the figures of two.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from ..formats import CrispMatrix, Pattern, draw_weights
from ..sim import Layer, Results, read_layers, simulate, verify
from ..sim.simulate import DEFAULT_ARCHS

# Those that need no bitmaps.
LOCKSTEP = ("dense", "stc", "crisp-stc")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One line of the benchmark: seconds, and what was done in them (0 where it does not apply)."""

    name: str
    seconds: float
    macs: int = 0
    events: int = 0
    events_represented: int = 0
    remark: str = ""


def resnet50() -> list[Layer]:
    """The shipped layers of ResNet-50."""
    return read_layers(Path(str(resources.files("crispsim.sim") / "layers" / "resnet50.csv")))


def giant() -> Layer:
    """The GEMM M = 4186116, N = 64, K = 576: 1.5e11 MACs."""
    return Layer(
        name="giant",
        kind="gemm",
        in_height=4_186_116,
        in_width=1,
        kernel_h=1,
        kernel_w=1,
        in_channels=576,
        out_channels=64,
    )


def measure_network(
    name: str, layers: list[Layer], repeats: int, archs: Sequence[str], *, skip_repetitions: bool = True
) -> Measurement:
    """Architectures over a network, one layer at a time: drawing masks and activations included."""
    seconds, results = _median(lambda: simulate(layers, archs, jobs=1, skip_repetitions=skip_repetitions), repeats)
    return _of_results(name, seconds, results)


def measure_values(layers: list[Layer]) -> Measurement:
    """Values through the datapaths of all architectures over whole layers, one layer at a time, once."""
    start = time.perf_counter()
    found = verify(layers, columns=None)
    issued = sum(line.macs_issued for line in found)
    return Measurement(
        name="verify ResNet-50, all columns", seconds=time.perf_counter() - start, remark=f"{issued:.3g} MACs moved"
    )


def measure_packing(layers: list[Layer], repeats: int) -> Measurement:
    """Packing all weights of a network as 2:4 in blocks of 64, all blocks kept, from dense int8 matrices."""
    dense = [draw_weights((layer.s, layer.k), Pattern(n=2, m=4), None, 0, i).decode() for i, layer in enumerate(layers)]
    every_block = [[list(range(-(-w.shape[1] // 64)))] * -(-w.shape[0] // 64) for w in dense]

    def pack() -> None:
        for weights, block_cols in zip(dense, every_block, strict=True):
            CrispMatrix.encode(weights, n=2, m=4, block=64, block_cols=np.array(block_cols, np.int32))

    seconds, _ = _median(pack, repeats)
    packed = sum(w.size for w in dense) / 1e6
    return Measurement(name="pack ResNet-50", seconds=seconds, remark=f"{packed:.1f} M weights, 2:4 in blocks of 64")


def measure_giant(archs: Sequence[str]) -> Measurement:
    """The giant GEMM in a process of its own, for its memory."""
    code = (
        "import resource, time\nfrom crispsim.bench.speed import giant\nfrom crispsim.sim import simulate\n"
        f"t = time.perf_counter()\nr = simulate([giant()], {list(archs)})\nt = time.perf_counter() - t\n"
        "print(t, sum(x.group.events for x in r.rows), sum(x.group.events_represented for x in r.rows),"
        " resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    seconds, events, represented, kib = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    return Measurement(
        name=f"GEMM 4186116 x 64 x 576, {len(archs)} architectures",
        seconds=float(seconds),
        macs=len(archs) * giant().macs,
        events=int(events),
        events_represented=int(represented),
        remark=f"peak {int(kib) / 1024:.0f} MiB; the time goes into drawing 2.4e9 activations",
    )


def measure_compiling() -> Measurement:
    """A first run with an empty kernel cache, in a process of its own: what a user waits for once."""
    with tempfile.TemporaryDirectory() as cache:
        code = "from crispsim.bench.speed import resnet50\nfrom crispsim.sim import simulate\nsimulate(resnet50()[:2])"
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"NUMBA_CACHE_DIR": cache}, check=True)
        return Measurement(
            name="first run, kernels compiled", seconds=time.perf_counter() - start, remark="once per version"
        )


def _median(work: Callable[[], object], repeats: int) -> tuple[float, object]:
    result = work()  # the first call is outside the clock
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def _of_results(name: str, seconds: float, results: object) -> Measurement:
    assert isinstance(results, Results)
    return Measurement(
        name=name,
        seconds=seconds,
        macs=sum(row.layer.macs for row in results.rows),
        events=sum(row.group.events for row in results.rows),
        events_represented=sum(row.group.events_represented for row in results.rows),
    )


def _table(measurements: list[Measurement]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("what", "seconds", "MACs/s", "events/s", "with skipped/s", ""):
        table.add_column(column, justify="left" if column in ("what", "") else "right", no_wrap=True)
    for m in measurements:
        rates = [f"{count / m.seconds:.3g}" if count else "" for count in (m.macs, m.events, m.events_represented)]
        table.add_row(m.name, f"{m.seconds:.3f}", *rates, m.remark)
    return table


@click.command()
@click.option("--repeats", type=int, default=5, show_default=True)
def main(repeats: int) -> None:
    """Measure and print."""
    layers = resnet50()
    measurements = [
        measure_network("ResNet-50, all architectures", layers, repeats, DEFAULT_ARCHS),
        measure_network("the same, event by event", layers, repeats, DEFAULT_ARCHS, skip_repetitions=False),
        measure_network("ResNet-50, dstc and its dense baseline", layers, repeats, ["dstc"]),
        measure_network("ResNet-50 without dstc", layers, repeats, LOCKSTEP),
        measure_packing(layers, repeats),
        measure_values(layers),
        measure_giant(LOCKSTEP),
        measure_giant(DEFAULT_ARCHS),
        measure_compiling(),
    ]
    console = Console(width=None if sys.stdout.isatty() else 190)
    console.print(_table(measurements))
    fast, slow = measurements[:2]
    console.print(f"adding repetitions whole: {slow.seconds / fast.seconds:.1f} times faster than event by event")
    if find_spec("torch"):
        from .pruning_speed import describe, measure_all

        for line in describe(measure_all(repeats)):
            console.print(line)
    else:
        console.print("masks of ResNet-50: not measured, PyTorch is missing")
    console.print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
