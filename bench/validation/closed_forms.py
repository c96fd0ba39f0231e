"""What is known in closed form beside what is measured, on two layers of ResNet-50 (2:4 in blocks of 64, 90%).

python -m crispsim.bench.validation.closed_forms --page docs/validation.md
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import click

from ...formats import Pattern
from ...sim import LayerResult, Machine, read_layers, shipped_layers, simulate
from .dual_expectation import cost, independent
from .mask_reaction import expected_step_cycles
from .page import publish, table

LAYERS = ("layer2.1.conv2", "layer4.1.conv2")
PATTERN = Pattern(n=2, m=4, block=64)
POINTWISE = ("layer2.1.conv1", "layer3.1.conv1", "layer4.1.conv1")
IDEAL = {
    "smem.bytes_per_cycle": 1 << 20,
    "smem.latency_cycles": 1,
    "core.pipeline_cycles": 0,
}


def expected_bound(row: LayerResult, pattern: Pattern) -> int:
    """Compute bound of dense, stc and crisp-stc on whole rows, for a pattern with whole blocks.

    A band of 32 rows takes a cycle for each column and wave; a wave covers 8 positions, or floor(8 / N) groups of M.
    """
    layer, machine = row.layer, row.machine
    if row.arch == "dense" or (row.arch == "stc" and pattern.density > Fraction(1, 2)) or row.mask == "dense":
        positions, window = layer.k, machine.core.lanes
    elif row.arch == "stc":
        positions, window = layer.k, 2 * machine.core.lanes
    else:
        positions = round((1 - row.weight_sparsity) / pattern.density * layer.k)
        window = machine.core.lanes // pattern.n * pattern.m
    return -(-layer.s // machine.band_rows) * -(-positions // window) * layer.p


def checks() -> Iterator[list[object]]:
    """Layer, what, its closed form, and what was measured."""
    layers = [layer for layer in read_layers(shipped_layers()["resnet50"]) if layer.name in LAYERS]
    for layer in layers:
        real, ideal = (
            {row.arch: row for row in simulate([layer], machine=machine, nm="2:4", block=64, all_layers=True).rows}
            for machine in (Machine.load("edge"), Machine.load("edge", IDEAL))
        )
        for arch in ("dense", "stc", "crisp-stc"):
            bound = real[arch].group.compute_bound_cycles
            yield [layer.name, f"{arch}: compute bound", f"{expected_bound(real[arch], PATTERN):,}", f"{bound:,}"]
            yield [layer.name, f"{arch}: cycles, ideal machine", f"{bound + 2:,}", f"{ideal[arch].cycles:,}"]
            yield [layer.name, f"{arch}: cycles, `edge`", "", f"{real[arch].cycles:,}"]
        dstc = real["dstc"]
        causes = dstc.core_cycles_by_cause
        pairs, macs = dstc.macs_effectual, dstc.group.macs_issued
        steps = f"{causes['busy'] + causes['stall_rf']:,}"
        yield [layer.name, "dstc: MACs, pairs of nonzeros", f"{pairs:,}", f"{macs:,}"]
        yield [layer.name, "dstc: step cycles, expected", f"{expected_step_cycles(dstc, PATTERN):,.0f}", steps]
        yield [layer.name, "dstc: core-cycles, causes added up", f"{4 * dstc.cycles:,}", f"{sum(causes.values()):,}"]


def core_columns() -> Iterator[list[object]]:
    """Layers without padding on dstc, one image and 64: what their last tile of columns leaves its cores to do.

    Core columns take the column tiles in turn; those of the one with the most work are busy, the other waits for it.
    """
    layers = [layer for layer in read_layers(shipped_layers()["resnet50"]) if layer.name in POINTWISE]
    for layer, batch in product(layers, (1, 64)):
        (row,) = simulate([replace(layer, batch=batch)], ["dstc"], nm="2:4", block=16, all_layers=True).rows
        dstc, causes = row.machine.dual_side, row.core_cycles_by_cause
        weights = independent(dstc.tile_rows, 1 - row.weight_sparsity)
        work = [0.0] * dstc.core_columns
        for tile, first in enumerate(range(0, row.layer.p, dstc.tile_columns)):
            columns = independent(min(dstc.tile_columns, row.layer.p - first), 1 - row.activation_sparsity)
            work[tile % dstc.core_columns] += cost(weights, columns, dstc).cycles
        expected = sum(work) / len(work) / max(work)
        busy = causes["busy"] / sum(causes.values())
        waits = causes["stall_smem"] / sum(causes.values())
        speedup = f"{row.baseline_cycles / row.cycles:.2f}"
        yield [layer.name, batch, row.layer.p, f"{expected:.1%}", f"{busy:.1%}", f"{waits:.1%}", speedup]


def markdown() -> dict[str, str]:
    """The tables of the page, by the names of their sections."""
    columns = ["layer", "images", "P", "busy, expected", "busy", "stall_smem", "speedup"]
    return {
        "closed-forms": table(["layer", "what", "expected", "measured"], checks(), left=2),
        "core-columns": table(columns, core_columns()),
    }


@click.command()
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page whose tables are to be replaced.")
def main(page: Path | None) -> None:
    """Lay closed forms beside measured numbers."""
    publish(markdown(), page)


if __name__ == "__main__":
    main()
