"""ResNet-50's energy beside the CRISP paper's claims: gains over dense by pattern and block, under each energy table.

A row of the table is one architecture on one configuration under one energy table. Nothing is simulated again for a
table: energies are counts times figures (docs/energy.md). Run it as

    python -m crispsim.bench.validation.energy_claims --out docs/energy-claims.csv --page docs/validation.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import click
import pandas as pd

from ...sim import LayerResult, Results, load_arch, simulate
from ...sim.energy import Energy, EnergyModel
from ...sim.result import parts_of
from .page import publish, table
from .paper_claims import BLOCKS, PATTERNS, resnet50

TABLES = ("horowitz45", "sparseloop", "horowitz22")
SPARSITIES = (0.8, 0.9)
ARCHS = ("dense", "crisp-stc", "stc", "dstc", "dstc-given-masks", "dstc-equal-storage")
PAPER_GAINS = {"crisp-stc": "up to 30x", "stc": "up to 2x", "dstc": "no figure"}
SHOWN = (0.9, "2:4", 64)
SHOWN_ARCHS = ("crisp-stc", "stc", "dstc")

# What the artifact's dense design pays for its SMEM beside the others' (hardware.md, section 7).
DENSE_SMEM_IN_THE_ARTIFACT = 1.9

# Counts that dense spends too, at the same price as stc and crisp-stc: none of them can gain more than its own ratio.
SHARED_COUNTS = (
    "macs_issued", "rf_read_bytes", "rf_write_bytes", "accumulator_read_bytes", "accumulator_write_bytes",
    "weight_bytes", "activation_bytes", "smem_write_bytes", "cycles",
)  # fmt: skip
_BOUNDED = ("stc", "crisp-stc")

Cells = dict[tuple[object, ...], dict]


def study(sparsity: float, nm: str, block: int) -> pd.DataFrame:
    """Every architecture under every table, on one configuration."""
    specs = [load_arch(name) for name in ARCHS]
    results = simulate(resnet50(), specs, nm=nm, block=block, sparsity=sparsity, energy=None)
    rows: list[dict[str, object]] = []
    for name in TABLES:
        energies = {arch: list(_energies(results, arch, name)) for arch in ARCHS}
        for arch in ARCHS:
            key = {"sparsity": sparsity, "nm": nm, "block": block, "arch": arch, "table": name}
            own = _summary(results, energies["dense"], energies[arch], arch)
            rows.append(key | {name: _rounded(value) for name, value in own.items()})
    return pd.DataFrame(rows)


def _energies(results: Results, arch: str, name: str) -> Iterator[Energy]:
    """Of every layer on an architecture, under a table."""
    spec = load_arch(arch)
    model = EnergyModel.of(spec.machine, spec.architecture, name)
    return (model.energy(row.group) for row in results.of(arch))


def _summary(results: Results, dense: Sequence[Energy], own: Sequence[Energy], arch: str) -> dict[str, object]:
    rows, base = results.of(arch), results.of("dense")
    total, total_dense = _total(own, rows), _total(dense, rows)
    gains = [
        (d.energy_uj / o.energy_uj, row.layer.name)
        for d, o, row in zip(dense, own, rows, strict=True)
        if row.weight_sparsity > 0
    ]
    bounds = [_bound([d], [o]) for d, o in zip(base, rows, strict=True) if o.weight_sparsity > 0]
    flattered = total_dense.energy_uj + (DENSE_SMEM_IN_THE_ARTIFACT - 1) * total_dense.smem_uj
    return {
        "energy_uj": total.energy_uj,
        **{f"{part}_uj": total.parts[f"{part}_uj"] for part in parts_of(with_dram=False)},
        "gain": total_dense.energy_uj / total.energy_uj,
        "least": min(gains)[0],
        "median": median(gain for gain, _ in gains),
        "most": max(gains)[0],
        "most_layer": max(gains)[1],
        "bound": _bound(base, rows) if arch in _BOUNDED else "",
        "bound_most": max(bounds) if arch in _BOUNDED else "",
        "gain_dense_smem_x1.9": flattered / total.energy_uj,
    }


def _rounded(value: object) -> object:
    """To six digits, as the committed table has it."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _total(energies: Sequence[Energy], rows: Sequence[LayerResult]) -> Energy:
    return Energy.sum((energy, row.layer.calls) for energy, row in zip(energies, rows, strict=True))


def _bound(dense: Sequence[LayerResult], own: Sequence[LayerResult]) -> float:
    """The most that energy can gain under any table: a ratio of sums is at most the largest ratio of their terms."""
    ratios = []
    for count in SHARED_COUNTS:
        spent = [sum(getattr(row.group, count) * row.layer.calls for row in rows) for rows in (dense, own)]
        if spent[0]:
            ratios.append(spent[0] / spent[1])
    return max(ratios)


def markdown(frame: pd.DataFrame) -> dict[str, str]:
    """The tables of the page, by the names of their sections."""
    names = ("sparsity", "nm", "block", "arch", "table")
    cells = {tuple(row[name] for name in names): row for row in frame.to_dict(orient="records")}
    return {
        "energy-network": _network(cells),
        "energy-layers": _layers(cells),
        "energy-breakdown": _breakdown(cells),
    }


def _network(cells: Cells) -> str:
    head = ["sparsity", "N:M", "block"]
    head += [f"{arch}, {name}" for arch in SHOWN_ARCHS for name in TABLES]
    rows = [
        [f"{100 * sparsity:g}%", nm, block]
        + [f"{cells[sparsity, nm, block, arch, name]['gain']:.2f}" for arch in SHOWN_ARCHS for name in TABLES]
        for sparsity in SPARSITIES
        for nm in PATTERNS
        for block in BLOCKS
    ]
    return table(head, rows, left=2)


def _layers(cells: Cells) -> str:
    head = ["N:M", "block", "architecture", "paper"]
    for name in TABLES[:2]:
        head += [f"{name}: least / median / most"]
    head += ["any table: network", "any table: a layer", "dense SMEM x 1.9"]
    rows = []
    for nm in PATTERNS:
        for block in BLOCKS:
            for arch in ("crisp-stc", "stc"):
                shown = [cells[0.9, nm, block, arch, name] for name in TABLES[:2]]
                row: list[object] = [nm, block, arch, PAPER_GAINS[arch]]
                row += [f"{one['least']:.2f} / {one['median']:.2f} / {one['most']:.2f}" for one in shown]
                row += [f"{float(shown[0][key]):.2f}" for key in ("bound", "bound_most", "gain_dense_smem_x1.9")]
                rows.append(row)
    return table(head, rows, left=4)


def _breakdown(cells: Cells) -> str:
    archs = ("dense", "stc", "dstc", "crisp-stc", "dstc-given-masks", "dstc-equal-storage")
    rows = []
    for name in TABLES:
        shown = [cells[(*SHOWN, arch, name)] for arch in archs]
        for part in parts_of(with_dram=False):
            rows.append([name, part, *(f"{cell[f'{part}_uj']:,.1f}" for cell in shown)])
        rows.append([name, "all", *(f"{cell['energy_uj']:,.1f}" for cell in shown)])
        rows.append([name, "gain", *(f"{cell['gain']:.2f}x" for cell in shown)])
    return table(["table", "uJ", *archs], rows, left=2)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The table, a .csv.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page whose tables are to be replaced.")
def main(out: Path, page: Path | None) -> None:
    """Energies of ResNet-50 on the configurations of the paper's evaluation."""
    studies = [study(sparsity, nm, block) for sparsity in SPARSITIES for nm in PATTERNS for block in BLOCKS]
    frame = pd.concat(studies, ignore_index=True)
    frame.to_csv(out, index=False, lineterminator="\n")
    publish(markdown(frame), page)


if __name__ == "__main__":
    main()
