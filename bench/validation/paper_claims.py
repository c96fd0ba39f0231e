"""ResNet-50 as the CRISP paper evaluates it: speedups by pattern, block, sparsity and stage, to lay beside its claims.

Every row of the table is one architecture on one configuration over the whole network, its early stages (layer1,
layer2) or its late ones (layer3, layer4). Run it as

    python -m crispsim.bench.validation.paper_claims --out docs/paper-claims.csv --page docs/validation.md
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import click
import pandas as pd

from ...sim import Layer, LayerResult, Machine, load_arch, read_layers, shipped_layers, simulate
from ...sim.engine_state import CAUSES
from ...sim.result import causes_of
from ...sim.workload import NO_BLOCKS
from .page import publish, table

PATTERNS = ("1:4", "2:4", "3:4")
BLOCKS = (16, 32, 64)
SPARSITIES = (0.8, 0.85, 0.9)
ARCHS = ("crisp-stc", "stc", "dstc", "dstc-equal-storage")
WIDE = "edge, 1024 B/cycle"
# Machine, sparsity and blocks. 93% is there to see what a layer must lose for the largest speedups the paper reports,
# the wide machine to see what the SMEM's bandwidth costs.
STUDIES = (
    ("edge", 0.8, BLOCKS),
    ("edge", 0.85, BLOCKS),
    ("edge", 0.9, BLOCKS),
    ("edge", 0.93, BLOCKS),
    ("paper", 0.9, BLOCKS),
    (WIDE, 0.9, (16,)),
)
STAGES = {"network": ("",), "early": ("layer1.", "layer2."), "late": ("layer3.", "layer4.")}
# Causes of core-cycles without a DRAM, in the order of the committed tables.
RESIDENT_CAUSES = tuple(cause for cause in CAUSES if cause in causes_of(with_dram=False))
PAPER_RANGES = {"1:4": "7-14x", "2:4": "5-12x", "3:4": "2-8x"}

Key = tuple[object, ...]


def resnet50() -> list[Layer]:
    """The layers of the study."""
    return read_layers(shipped_layers()["resnet50"])


def machine_named(name: str) -> Machine:
    """A preset, or `edge` with so wide an SMEM that bandwidth hardly matters."""
    return Machine.load("edge", {"smem.bytes_per_cycle": 1024}) if name == WIDE else Machine.load(name)


def study(machine: str, sparsity: float, blocks: Sequence[int] = BLOCKS) -> pd.DataFrame:
    """Every pattern on one machine, at one sparsity and some blocks."""
    layers, specs = resnet50(), [load_arch(name, machine_named(machine)) for name in ARCHS]
    rows = []
    for nm in PATTERNS:
        for block in blocks:
            results = simulate(layers, specs, nm=nm, block=block, sparsity=sparsity)
            for arch in results.archs:
                for stage, prefixes in STAGES.items():
                    of_stage = [row for row in results.of(arch) if row.layer.name.startswith(prefixes)]
                    key = {"machine": machine, "sparsity": sparsity, "nm": nm, "block": block, "arch": arch}
                    rows.append({**key, "stage": stage, **summary(of_stage)})
    return pd.DataFrame(rows)


def summary(rows: Sequence[LayerResult]) -> dict[str, object]:
    """Totals of some layers on one architecture, and the spread of their speedups where weights are pruned.

    The ceiling is the speedup if every MAC unit had a nonzero product in every cycle: nonzero weights, and for dstc
    nonzero activations too.
    """
    pruned = sorted((row for row in rows if row.weight_sparsity > 0), key=speedup)
    cycles, base = sum(row.cycles for row in rows), sum(row.baseline_cycles for row in rows)
    macs = sum(_needed_macs(row) for row in rows)
    spent = {cause: sum(row.core_cycles_by_cause[cause] for row in rows) for cause in RESIDENT_CAUSES}
    return {
        "layers": len(rows),
        "pruned_layers": len(pruned),
        "nm_only_layers": sum(row.note == NO_BLOCKS for row in pruned),
        "pruned_weights_percent": _percent(
            sum(row.weight_sparsity * row.layer.weights for row in pruned), sum(row.layer.weights for row in pruned)
        ),
        "cycles": cycles,
        "speedup": round(base / cycles, 4),
        "ceiling": round(base * rows[0].machine.macs / macs, 4),
        "slowest": round(speedup(pruned[0]), 4),
        "median": round(median(map(speedup, pruned)), 4),
        "fastest": round(speedup(pruned[-1]), 4),
        "slowest_layer": pruned[0].layer.name,
        "fastest_layer": pruned[-1].layer.name,
        "smem_read_bytes": sum(row.group.smem_read_bytes for row in rows),
        "compute_bound_percent": _percent(sum(row.group.compute_bound_cycles for row in rows), cycles),
        "smem_bound_percent": _percent(sum(row.group.smem_bound_cycles for row in rows), cycles),
        "smem_bound_layers": sum(row.group.smem_bound_cycles > row.group.compute_bound_cycles for row in rows),
        **{f"{cause}_percent": _percent(part, sum(spent.values())) for cause, part in spent.items()},
    }


def speedup(row: LayerResult) -> float:
    """Of a layer, over the dense machine."""
    return row.baseline_cycles / row.cycles


def markdown(frame: pd.DataFrame) -> dict[str, str]:
    """The tables of the page, by the names of their sections."""
    cells = {_key(row): row for row in frame.to_dict(orient="records")}
    return {
        "claims-network": _network(cells),
        "claims-layers": _layers(cells),
        "claims-machines": _machines(cells),
        "claims-dstc": _stages(cells),
    }


def _network(cells: dict[Key, dict]) -> str:
    head = ["N:M", "block", *(f"{name}, {100 * s:g}%" for s in SPARSITIES for name in ("crisp-stc", "stc", "dstc"))]
    rows = (
        [nm, block]
        + [
            f"{cells['edge', s, nm, block, arch, 'network']['speedup']:.2f}"
            for s in SPARSITIES
            for arch in ("crisp-stc", "stc", "dstc")
        ]
        for nm, block in _patterns()
    )
    return table(head, rows)


def _layers(cells: dict[Key, dict]) -> str:
    head = ["N:M", "paper", "sparsity", *(f"B = {block}" for block in BLOCKS)]
    rows = (
        [nm, PAPER_RANGES[nm], f"{100 * s:g}%"]
        + [_spread(cells["edge", s, nm, block, "crisp-stc", "network"]) for block in BLOCKS]
        for nm in PATTERNS
        for s in (*SPARSITIES, 0.93)
    )
    return table(head, rows, left=2)


def _machines(cells: dict[Key, dict]) -> str:
    head = ["N:M", "block", "pruned", "ceiling"]
    head += [f"{machine}: {what}" for machine in ("edge", "paper") for what in ("speedup", "SMEM", "SMEM-bound")]
    rows = []
    for nm, block in _patterns():
        edge, paper = (cells[machine, 0.9, nm, block, "crisp-stc", "network"] for machine in ("edge", "paper"))
        row = [nm, block, f"{edge['pruned_weights_percent']:.1f}%", f"{edge['ceiling']:.2f}"]
        for one in (edge, paper):
            row += [f"{one['speedup']:.2f}", f"{one['smem_bound_percent']:.0f}%", one["smem_bound_layers"]]
        rows.append(row)
    return table(head, rows)


def _stages(cells: dict[Key, dict]) -> str:
    head = ["machine", "architecture", "N:M", "block"]
    head += [f"{stage}: {what}" for stage in ("early", "late") for what in ("speedup", "layers", "SMEM", "stall_smem")]
    rows = []
    for machine in ("edge", "paper", WIDE):
        for arch in ("dstc", "dstc-equal-storage"):
            for nm, block in (("2:4", 16), ("2:4", 64), ("3:4", 64)):
                if machine == WIDE and block != 16:
                    continue
                row: list[object] = [machine, arch, nm, block]
                for stage in ("early", "late"):
                    one = cells[machine, 0.9, nm, block, arch, stage]
                    row += [f"{one['speedup']:.2f}", f"{one['slowest']:.2f}-{one['fastest']:.2f}"]
                    row += [f"{one['smem_bound_percent']:.0f}%", f"{one['stall_smem_percent']:.1f}%"]
                rows.append(row)
    return table(head, rows, left=3)


def _spread(cell: dict) -> str:
    return f"{cell['slowest']:.2f} / {cell['median']:.2f} / {cell['fastest']:.2f}"


def _patterns() -> Iterable[tuple[str, int]]:
    return ((nm, block) for nm in PATTERNS for block in BLOCKS)


def _key(row: dict) -> Key:
    return tuple(row[name] for name in ("machine", "sparsity", "nm", "block", "arch", "stage"))


def _needed_macs(row: LayerResult) -> float:
    """Multiplications that this architecture cannot do without."""
    if row.group.mode == "dual":
        return row.macs_effectual
    return (1 - row.weight_sparsity) * row.layer.macs


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 3)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The table, a .csv.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page whose tables are to be replaced.")
def main(out: Path, page: Path | None) -> None:
    """Simulate ResNet-50 on every configuration of the paper's evaluation."""
    frame = pd.concat([study(*one) for one in STUDIES], ignore_index=True)
    frame.to_csv(out, index=False, lineterminator="\n")
    publish(markdown(frame), page)


if __name__ == "__main__":
    main()
