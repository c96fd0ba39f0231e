"""The claims of `paper_claims` and `energy_claims` again with a DRAM behind the SMEM, beside the SMEM-resident ideal.

A row of the table is one architecture on one machine and configuration, over all of ResNet-50, its early stages or
its late ones. Run it as

    python -m crispsim.bench.validation.dram_claims --out docs/dram-claims.csv --page docs/validation.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import median

import click
import pandas as pd

from ...sim import LayerResult, Machine, load_arch, simulate
from ...sim.energy import Energy, EnergyModel
from ...sim.engine_state import CAUSES
from .page import publish, table
from .paper_claims import BLOCKS, PATTERNS, STAGES, resnet50, speedup

MACHINES = ("edge", "edge-lpddr4", "edge-lpddr5", "edge-dram32")
SPARSITIES = (0.8, 0.9)
ARCHS = ("dense", "crisp-stc", "stc", "dstc")
SHOWN = ((0.9, "1:4", 16), (0.9, "2:4", 16), (0.9, "2:4", 64), (0.9, "3:4", 64), (0.8, "2:4", 64))
BREAKDOWN = (0.9, "2:4", 64)
OTHER_TABLE = "sparseloop"  # beside the default table of energies

Cells = dict[tuple[object, ...], dict]


def study(machine: str, sparsity: float, nm: str, block: int) -> pd.DataFrame:
    """Every architecture on one machine and configuration, by stage."""
    specs = [load_arch(name, machine) for name in ARCHS]
    results = simulate(resnet50(), specs, nm=nm, block=block, sparsity=sparsity)
    models = {spec.name: EnergyModel.of(spec.machine, spec.architecture, OTHER_TABLE) for spec in specs}
    rows = []
    for arch in ARCHS:
        for stage, prefixes in STAGES.items():
            own, dense = (
                [row for row in results.of(name) if row.layer.name.startswith(prefixes)] for name in (arch, "dense")
            )
            other = [sum(models[name].energy(row.group).energy_uj for row in of) for name, of in
                     (("dense", dense), (arch, own))]  # fmt: skip
            key = {"machine": machine, "sparsity": sparsity, "nm": nm, "block": block, "arch": arch, "stage": stage}
            rows.append(key | summary(own) | {f"gain_{OTHER_TABLE}": round(other[0] / other[1], 4)})
    return pd.DataFrame(rows)


def summary(rows: Sequence[LayerResult]) -> dict[str, object]:
    """Totals of some layers on one architecture, and the spread of speedups and gains where weights are pruned.

    A layer is bound by DRAM if this bound is its largest. `gain_limit` is the gain if nothing but DRAM took energy:
    dense's energy, all of it, over the own DRAM's.
    """
    pruned = [row for row in rows if row.weight_sparsity > 0]
    speeds, gains = sorted(map(speedup, pruned)), sorted(map(_gain, pruned))
    cycles = sum(row.cycles for row in rows)
    own, base = (
        Energy.sum((energy, 1) for energy in energies)
        for energies in zip(*((row.energy.own, row.energy.baseline) for row in rows if row.energy), strict=True)
    )
    spent = {cause: sum(row.core_cycles_by_cause[cause] for row in rows) for cause in CAUSES}
    bounds = {
        name: [getattr(row.group, f"{name}_bound_cycles") for row in rows] for name in ("compute", "smem", "dram")
    }
    moved = ("dram_weight_bytes", "dram_input_bytes", "dram_residual_bytes", "dram_write_bytes")
    return {
        "layers": len(rows),
        "cycles": cycles,
        "speedup": round(sum(row.baseline_cycles for row in rows) / cycles, 4),
        "slowest": round(speeds[0], 4),
        "median": round(median(speeds), 4),
        "fastest": round(speeds[-1], 4),
        "energy_uj": round(own.energy_uj, 3),
        "dram_uj": round(own.dram_uj, 3),
        "gain": round(base.energy_uj / own.energy_uj, 4),
        "gain_least": round(gains[0], 4),
        "gain_most": round(gains[-1], 4),
        "gain_limit": round(base.energy_uj / own.dram_uj, 4) if own.dram_uj else "",
        **{name: sum(getattr(row.group, name) for row in rows) for name in moved},
        **{f"{name}_bound_percent": _percent(sum(bound), cycles) for name, bound in bounds.items()},
        "dram_bound_layers": sum(d > max(c, s) for c, s, d in zip(*bounds.values(), strict=True)),
        **{f"{cause}_percent": _percent(part, sum(spent.values())) for cause, part in spent.items()},
    }


def markdown(frame: pd.DataFrame) -> dict[str, str]:
    """The tables of the page, by the names of their sections."""
    names = ("machine", "sparsity", "nm", "block", "arch", "stage")
    cells = {tuple(row[name] for name in names): row for row in frame.to_dict(orient="records")}
    return {
        "dram-network": _network(cells),
        "dram-layers": _layers(cells),
        "dram-stages": _stages(cells),
        "dram-energy": _energy(cells),
        "dram-breakdown": _breakdown(cells),
    }


def _network(cells: Cells) -> str:
    head = ["sparsity", "N:M", "block", *(f"{arch}, {_short(name)}" for arch in ARCHS[1:] for name in MACHINES)]
    rows = (
        [f"{100 * sparsity:g}%", nm, block]
        + [
            f"{cells[name, sparsity, nm, block, arch, 'network']['speedup']:.2f}"
            for arch in ARCHS[1:]
            for name in MACHINES
        ]
        for sparsity, nm, block in configurations()
    )
    return table(head, rows, left=2)


def _layers(cells: Cells) -> str:
    head = ["sparsity", "N:M", "block", *(f"crisp-stc, {_short(name)}" for name in MACHINES)]
    rows = []
    for sparsity, nm, block in configurations():
        row: list[object] = [f"{100 * sparsity:g}%", nm, block]
        for name in MACHINES:
            one = cells[name, sparsity, nm, block, "crisp-stc", "network"]
            row.append(f"{one['slowest']:.2f} / {one['median']:.2f} / {one['fastest']:.2f}")
        rows.append(row)
    return table(head, rows, left=2)


def _stages(cells: Cells) -> str:
    head = ["architecture", "sparsity, N:M, block", "machine"]
    what = ("speedup", "DRAM bound", "bound by DRAM", "stall_dram")
    head += [f"{stage}: {name}" for stage in ("early", "late") for name in what]
    rows = []
    for arch, (sparsity, nm, block), name in product(ARCHS, SHOWN, MACHINES):
        if arch in ("dense", "stc") and (sparsity, nm, block) != BREAKDOWN:
            continue  # nearly the same whatever is pruned
        row: list[object] = [arch, f"{100 * sparsity:g}%, {nm}, {block}", _short(name)]
        for stage in ("early", "late"):
            one = cells[name, sparsity, nm, block, arch, stage]
            row += [f"{one['speedup']:.2f}", f"{one['dram_bound_percent']:.0f}%"]
            row += [f"{one['dram_bound_layers']} of {one['layers']}", f"{one['stall_dram_percent']:.1f}%"]
        rows.append(row)
    return table(head, rows, left=3)


def _energy(cells: Cells) -> str:
    head = ["sparsity", "N:M", "block"]
    head += [f"{arch}, {_short(name)}" for arch in ARCHS[1:] for name in MACHINES[:3]]
    head += [f"crisp-stc, a layer at most, {_short(name)}" for name in MACHINES[:2]]
    head += ["crisp-stc, DRAM alone, lpddr4"]
    rows = []
    for sparsity, nm, block in configurations():
        row: list[object] = [f"{100 * sparsity:g}%", nm, block]
        row += [
            f"{cells[name, sparsity, nm, block, arch, 'network']['gain']:.2f}"
            for arch in ARCHS[1:]
            for name in MACHINES[:3]
        ]
        crisp = [cells[name, sparsity, nm, block, "crisp-stc", "network"] for name in MACHINES[:2]]
        rows.append([*row, *(f"{one['gain_most']:.2f}" for one in crisp), f"{float(crisp[1]['gain_limit']):.2f}"])
    return table(head, rows, left=2)


def _breakdown(cells: Cells) -> str:
    """One configuration on edge-lpddr4: what crosses the channel, in MB, and what it takes."""
    archs = {arch: cells["edge-lpddr4", *BREAKDOWN, arch, "network"] for arch in ARCHS}
    dense = archs["dense"]
    rows: list[list[object]] = []
    for what in ("weight", "input", "residual", "write"):
        name = f"dram_{what}_bytes"
        label = {"weight": "weights", "input": "inputs", "residual": "residual inputs", "write": "results"}[what]
        rows.append([f"{label}, MB", *(f"{one[name] / 1e6:.2f}" for one in archs.values())])
    moved = {arch: sum(one[f"dram_{what}_bytes"] for what in ("weight", "input", "residual", "write"))
             for arch, one in archs.items()}  # fmt: skip
    rows.append(["all, MB", *(f"{total / 1e6:.2f}" for total in moved.values())])
    rows.append(["all, less than dense", *(f"{moved['dense'] / total:.2f}x" for total in moved.values())])
    rows.append(["DRAM, uJ", *(f"{one['dram_uj']:,.1f}" for one in archs.values())])
    rows.append(["all else, uJ", *(f"{one['energy_uj'] - one['dram_uj']:,.1f}" for one in archs.values())])
    apart = [(dense["energy_uj"] - dense["dram_uj"]) / (one["energy_uj"] - one["dram_uj"]) for one in archs.values()]
    rows.append(["gain of all else", *(f"{value:.2f}x" for value in apart)])
    rows.append(["gain", *(f"{one['gain']:.2f}x" for one in archs.values())])
    rows.append([f"gain, {OTHER_TABLE}", *(f"{one[f'gain_{OTHER_TABLE}']:.2f}x" for one in archs.values())])
    return table(["edge-lpddr4", *archs], rows)


def first_result(frame: pd.DataFrame) -> str:
    """The table that README.md leads with: one configuration with LPDDR4, beside the ideal."""
    names = ("machine", "sparsity", "nm", "block", "arch", "stage")
    cells = {tuple(row[name] for name in names): row for row in frame.to_dict(orient="records")}
    archs = ("dense", "stc", "dstc", "crisp-stc")
    measures = {
        "cycles": lambda one: f"{one['cycles']:,}",
        "speedup": lambda one: f"{one['speedup']:.2f}x",
        "energy, mJ": lambda one: f"{one['energy_uj'] / 1000:.3f}",
        "energy gain": lambda one: f"{one['gain']:.2f}x",
    }
    machines = {"edge-lpddr4": "**DRAM** (`edge-lpddr4`)", "edge": "SMEM-resident ideal (`edge`)"}
    rows = (
        [label, name, *(show(cells[machine, *BREAKDOWN, arch, "network"]) for arch in archs)]
        for machine, label in machines.items()
        for name, show in measures.items()
    )
    return table(["memory", "", *archs], rows, left=2)


def configurations() -> Iterator[tuple[float, str, int]]:
    """Sparsity, N:M and block."""
    return product(SPARSITIES, PATTERNS, BLOCKS)


def _short(machine: str) -> str:
    """A machine as the tables name it: its DRAM, or ideal."""
    return machine.removeprefix("edge-") if Machine.load(machine).has_dram else "ideal"


def _gain(row: LayerResult) -> float:
    assert row.energy
    return row.energy.baseline.energy_uj / row.energy.own.energy_uj


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 3)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The table, a .csv.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page whose tables are to be replaced.")
@click.option("--from-csv", is_flag=True, help="Simulate nothing: the page's tables from --out as it is.")
def main(out: Path, page: Path | None, from_csv: bool) -> None:
    """Simulate ResNet-50 on every configuration with three DRAMs and without."""
    if from_csv:
        frame = pd.read_csv(out)
    else:
        studies = [study(name, *one) for name in MACHINES for one in configurations()]
        frame = pd.concat(studies, ignore_index=True)
        frame.to_csv(out, index=False, lineterminator="\n")
    publish(markdown(frame), page)


if __name__ == "__main__":
    main()
