"""How dstc reacts to masks: unstructured ones, those of the other architectures, and less storage for sums.

ResNet-50 at one sparsity, on the layers that have blocks. Beside the measured step cycles stand those expected of
random masks in closed form (`dual_expectation`). Run it as

    python -m crispsim.bench.validation.mask_reaction --out docs/mask-reaction.csv --page docs/validation.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import pandas as pd

from ...formats import Pattern, parse_nm
from ...sim import ArchSpec, LayerResult, Machine, load_arch, read_layers, shipped_layers, simulate
from ...sim.engine_state import CAUSES
from ...sim.simulate import GroupRun
from .dual_expectation import Chances, cost, drawn_columns, drawn_rows, hybrid_rows, independent, positions
from .page import publish, table
from .paper_claims import RESIDENT_CAUSES

PATTERNS = ("1:4", "2:4")
BLOCKS = (16, 32, 64)
MANY_SLOTS = 16
# Weights of a position that are not zero in the table of expected values: those that 90% sparsity leaves.
DENSITY = 0.1
ACTIVATION_DENSITY = 0.6


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Steps that cores take, of all slices of all tiles."""

    taken: int
    slices: int


def variants() -> list[ArchSpec]:
    """The dual-side machines of the study; the last has room for many slices, so that cores need not keep step."""
    names = ("dstc", "dstc-given-masks", "dstc-equal-storage")
    slots = load_arch("dstc-given-masks", overrides={"dstc.slice_slots": MANY_SLOTS})
    return [*map(load_arch, names), replace(slots, name=f"dstc-given-masks, {MANY_SLOTS} slots")]


def reactions(sparsity: float = 0.9, patterns: Sequence[str] = PATTERNS, seed: int = 0) -> pd.DataFrame:
    """Every pattern, block and variant."""
    layers, rows = read_layers(shipped_layers()["resnet50"]), []
    for nm in patterns:
        for block in BLOCKS:
            steps: dict[tuple[str, str], Steps] = {}

            def observe(run: GroupRun, steps: dict[tuple[str, str], Steps] = steps) -> None:
                steps[run.layer.name, run.spec.name] = _steps(run)

            results = simulate(layers, variants(), nm=nm, block=block, sparsity=sparsity, seed=seed, observer=observe)
            for arch in results.archs:
                with_blocks = [row for row in results.of(arch) if row.requested_sparsity is not None]
                record = _record(with_blocks, steps, _pattern(nm, block))
                key = {"sparsity": sparsity, "nm": nm, "block": block, "arch": arch}
                rows.append({**key, "network_speedup": round(results.total(arch).speedup, 4), **record})
    return pd.DataFrame(rows)


def expected_step_cycles(row: LayerResult, pattern: Pattern) -> float:
    """Step cycles over all cores, of masks drawn as this row's are."""
    layer, dstc = row.layer, row.machine.dual_side
    zeros = round(row.activation_sparsity * row.layer.inputs)
    columns = drawn_columns(layer, zeros, row.layer.inputs, dstc.tile_columns)
    if row.mask == "hybrid":
        kept = (1 - row.weight_sparsity) * pattern.m / pattern.n
        rows = hybrid_rows(pattern, kept, dstc.tile_rows)
    else:
        rows = drawn_rows(layer, round((1 - row.weight_sparsity) * layer.weights), dstc.tile_rows)
    return positions(layer, dstc) * cost(rows, columns, dstc).cycles


def markdown(frame: pd.DataFrame) -> dict[str, str]:
    """The tables of the page, by the names of their sections."""
    return {"mask-reaction": _reactions(frame), "mask-ceilings": _ceilings()}


def _ceilings() -> str:
    """Expected values of a position on an endless layer."""
    head = ["weights", "tile", "P(a = 0)", "E a", "E ceil(a/8)", "E b", "E ceil(b/8)", "cycles", "lanes used"]
    dstc, small = (load_arch(name).machine.dual_side for name in ("dstc", "dstc-equal-storage"))
    kinds = [("unstructured", independent(dstc.tile_rows, DENSITY), dstc)]
    for nm in PATTERNS:
        for block in BLOCKS[:2]:
            pattern = _pattern(nm, block)
            chances = hybrid_rows(pattern, DENSITY * pattern.m / pattern.n, dstc.tile_rows)
            kinds.append((f"{nm} in blocks of {block}" + (" or 64" if block == BLOCKS[1] else ""), chances, dstc))
    kinds.append(("unstructured", independent(small.tile_rows, DENSITY), small))
    rows = []
    for name, a, machine in kinds:
        b = independent(machine.tile_columns, ACTIVATION_DENSITY)
        one = cost(a, b, machine)
        cells = [f"{a[0]:.3f}", *(f"{value:.2f}" for value in (*_steps_of(a), *_steps_of(b), one.cycles))]
        rows.append(
            [name, f"{machine.tile_rows} x {machine.tile_columns}", *cells, f"{one.macs / one.cycles / 64:.1%}"]
        )
    return table(head, rows, left=2)


def _steps_of(chances: Chances) -> tuple[float, float]:
    """Expected nonzeros, and expected steps of 8."""
    values = np.arange(len(chances))
    return float(chances @ values), float(chances @ -(-values // 8))


def _reactions(frame: pd.DataFrame) -> str:
    head = [
        "N:M", "block", "architecture", "cycles", "speedup", "network", "read, MB", "slices skipped", "step cycles",
        "expected", "lanes used", "busiest core", "stall_smem",
    ]  # fmt: skip
    rows = [
        [
            row["nm"],
            row["block"],
            row["arch"],
            f"{row['cycles']:,}",
            f"{row['speedup']:.2f}",
            f"{row['network_speedup']:.2f}",
            f"{row['smem_read_bytes'] / 1e6:.1f}",
            f"{row['slices_skipped_percent']:.1f}%",
            f"{row['step_cycles']:,}",
            f"{-row['expected_error_percent']:+.2f}%",
            f"{row['lanes_used_percent']:.1f}%",
            f"{row['compute_bound_percent']:.1f}%",
            f"{row['stall_smem_percent']:.1f}%",
        ]
        for row in frame.to_dict(orient="records")
    ]
    return table(head, rows, left=3)


def _steps(run: GroupRun) -> Steps:
    layer, dstc = run.layer, run.spec.machine.dual_side
    tiles = -(-layer.s // dstc.tile_rows) * -(-layer.p // dstc.tile_columns)
    return Steps(taken=len(run.lowered.plan.waves), slices=tiles * -(-layer.k // dstc.slice_positions))


def _record(rows: Sequence[LayerResult], steps: dict[tuple[str, str], Steps], pattern: Pattern) -> dict[str, object]:
    own = [steps[row.layer.name, row.arch] for row in rows]
    spent: dict[str, int] = dict(
        zip(CAUSES, np.sum([row.group.core_cycles.sum(axis=0) for row in rows], axis=0).tolist(), strict=True)
    )
    cycles, step_cycles = sum(row.cycles for row in rows), spent["busy"] + spent["stall_rf"]
    macs, per_core = sum(row.group.macs_issued for row in rows), _macs_a_core(rows[0].machine)
    expected = sum(expected_step_cycles(row, pattern) for row in rows)
    return {
        "layers": len(rows),
        "cycles": cycles,
        "speedup": round(sum(row.baseline_cycles for row in rows) / cycles, 4),
        "smem_read_bytes": sum(row.group.smem_read_bytes for row in rows),
        "weight_bytes": sum(row.group.weight_bytes for row in rows),
        "activation_bytes": sum(row.group.activation_bytes for row in rows),
        "metadata_bytes": sum(row.group.metadata_bytes for row in rows),
        "slices_skipped_percent": round(100 - 100 * sum(one.taken for one in own) / sum(one.slices for one in own), 3),
        "macs": macs,
        "step_cycles": step_cycles,
        "expected_step_cycles": round(expected),
        "expected_error_percent": round(100 * (expected / step_cycles - 1), 4),
        "lanes_used_percent": round(100 * macs / (step_cycles * per_core), 3),
        "compute_bound_percent": round(100 * sum(row.group.compute_bound_cycles for row in rows) / cycles, 3),
        "smem_bound_percent": round(100 * sum(row.group.smem_bound_cycles for row in rows) / cycles, 3),
        **{f"{cause}_percent": round(100 * spent[cause] / sum(spent.values()), 3) for cause in RESIDENT_CAUSES},
    }


def _pattern(nm: str, block: int) -> Pattern:
    n, m = parse_nm(nm)
    return Pattern(n=n, m=m, block=block)


def _macs_a_core(machine: Machine) -> int:
    return machine.core.rows * machine.core.lanes


@click.command()
@click.option("--sparsity", type=float, default=0.9, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The table, a .csv.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page whose table is to be replaced.")
def main(sparsity: float, out: Path, page: Path | None) -> None:
    """Simulate dstc on ResNet-50 with masks of three kinds."""
    frame = reactions(sparsity)
    frame.to_csv(out, index=False, lineterminator="\n")
    publish(markdown(frame), page)


if __name__ == "__main__":
    main()
