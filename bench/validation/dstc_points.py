"""DSTC's published speeds beside ours: cycles at nine pairs of densities over those of the dense product.

The points are those of the DSTC paper (Wang et al., ISCA 2021) as digitised in the Sparseloop artifact. The machine is
theirs as far as it is known: 128 MACs a core in steps of 8 weights x 16 activations, and a buffer port of 116 values a
cycle, or of 256, which never stalls; everything else is the `edge` preset. Nothing is fitted. Run it as

    python -m crispsim.bench.validation.dstc_points --out docs/dstc-points.csv --page docs/validation.md
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd

from ...formats import draw_unstructured
from ...sim import ARCHITECTURES, Layer, Machine
from ...sim.activations import draw_activations
from ...sim.engine_state import CAUSES
from ...sim.result import GroupResult
from ...sim.simulate import run_group
from ...sim.weights import Weights
from .dual_expectation import Cost, cost, drawn, positions
from .page import fill, table
from .paper_claims import RESIDENT_CAUSES

# Cycles over dense at densities of (weights, activations).
PUBLISHED = {
    (1.0, 0.4): 0.543,
    (0.9, 1.0): 0.904,
    (0.9, 0.4): 0.500,
    (0.7, 1.0): 0.717,
    (0.7, 0.4): 0.396,
    (0.5, 1.0): 0.585,
    (0.5, 0.4): 0.322,
    (0.3, 1.0): 0.420,
    (0.3, 0.4): 0.239,
}
PORTS = (116, 256)
SECTION = "dstc-points"


def machine_of(port: int) -> Machine:
    """The machine of the comparison, with this many values a cycle at the accumulation buffer's port."""
    return Machine.load("edge", {"core.lanes": 16, "dstc.step_columns": 16, "dstc.accumulator_values_per_cycle": port})


def points(size: int = 2048, seed: int = 0) -> pd.DataFrame:
    """Every point on both ports, a product of size x size x size; the dense product of each port comes first."""
    rows = []
    for port in PORTS:
        dense, _ = _run(machine_of(port), size, (1.0, 1.0), seed)
        for densities in ((1.0, 1.0), *PUBLISHED):
            result, expected = _run(machine_of(port), size, densities, seed)
            rows.append(_record(machine_of(port), port, size, densities, result, expected, dense.cycles))
    return pd.DataFrame(rows)


def markdown(frame: pd.DataFrame) -> str:
    """The table of the page."""
    head = ["port", "A", "B", "published", "over dense", "error", "over ideal", "granularity", "x port", "x waits"]
    rows = [
        [
            row["port"],
            f"{row['weight_density']:g}",
            f"{row['activation_density']:g}",
            _or_dash(row["published"], ".3f"),
            f"{row['over_dense']:.3f}",
            _or_dash(row["error_percent"], "+.1f", "%"),
            f"{row['over_ideal']:.3f}",
            f"{row['granularity']:.3f}",
            f"{row['port_factor']:.3f}",
            f"{row['waits_factor']:.3f}",
        ]
        for row in frame.to_dict(orient="records")
    ]
    return table(head, rows)


def _run(machine: Machine, size: int, densities: tuple[float, float], seed: int) -> tuple[GroupResult, Cost]:
    layer = Layer(
        name="product", kind="gemm", in_height=size, in_width=1, kernel_h=1, kernel_w=1, in_channels=size,
        out_channels=size,
    )  # fmt: skip
    nonzeros = round(densities[0] * size**2)
    mask = draw_unstructured((size, size), nonzeros, seed, 0, 0)
    activations = draw_activations(layer, round(1 - densities[1], 6), seed)
    result = run_group(
        ARCHITECTURES["dstc"], machine, Weights(shape=(size, size), matrix=mask), size, activations.of_group(0)
    )
    rows = drawn(machine.dual_side.tile_rows, nonzeros, size**2)
    columns = drawn(machine.dual_side.tile_columns, activations.values - activations.zeros, size**2)
    one, tiles = cost(rows, columns, machine.dual_side), positions(layer, machine.dual_side) / machine.core.count
    return result, Cost(mac_cycles=tiles * one.mac_cycles, cycles=tiles * one.cycles, macs=tiles * one.macs)


def _record(
    machine: Machine,
    port: int,
    size: int,
    densities: tuple[float, float],
    result: GroupResult,
    expected: Cost,
    dense_cycles: int,
) -> dict[str, object]:
    published, ideal = PUBLISHED.get(densities, float("nan")), size**3 / machine.macs
    over_dense, over_ideal = result.cycles / dense_cycles, result.cycles / ideal
    spent: dict[str, float] = dict(zip(CAUSES, result.core_cycles.sum(axis=0) / machine.core.count, strict=True))
    steps = spent["busy"] + spent["stall_rf"]
    return {
        "port": port,
        "size": size,
        "weight_density": densities[0],
        "activation_density": densities[1],
        "published": published,
        "cycles": result.cycles,
        "over_dense": round(over_dense, 5),
        "error_percent": round(100 * (over_dense / published - 1), 2),
        "over_ideal": round(over_ideal, 5),
        "error_over_ideal_percent": round(100 * (over_ideal / published - 1), 2),
        "granularity": round(expected.mac_cycles / ideal, 5),
        "port_factor": round(expected.cycles / expected.mac_cycles, 5),
        "waits_factor": round(result.cycles / expected.cycles, 5),
        "closed_form_step_cycles": round(expected.cycles, 1),
        "step_cycles_a_core": float(steps),
        "closed_form_error_percent": round(100 * (expected.cycles / float(steps) - 1), 4),
        **{f"{cause}_percent": round(100 * float(spent[cause]) / result.cycles, 3) for cause in RESIDENT_CAUSES},
        "smem_bound_percent": round(100 * result.smem_bound_cycles / result.cycles, 2),
    }


def _or_dash(value: float, how: str, unit: str = "") -> str:
    return "-" if np.isnan(value) else f"{value:{how}}{unit}"


@click.command()
@click.option("--size", type=click.IntRange(64, 8192), default=2048, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The table, a .csv.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page whose table is to be replaced.")
def main(size: int, out: Path, page: Path | None) -> None:
    """Compare dstc with its published points."""
    frame = points(size)
    frame.to_csv(out, index=False, lineterminator="\n")
    click.echo(markdown(frame))
    if page:
        fill(page, SECTION, markdown(frame))


if __name__ == "__main__":
    main()
