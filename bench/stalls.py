"""Excess over the compute bound, layer by layer, split by what the cores waited for.

All cores together spend cycles x cores; had each of them been busy for the compute bound they would have spent bound
x cores. The difference is their stalls, and their idle cycles beyond those of cores that have less work than the
busiest one. Run it with

    python -m crispsim.bench.stalls --layer-csv sim/layers/resnet50.csv --out docs/stalls

which writes docs/stalls.csv (every layer) and docs/stalls.md (what stands out).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pandas as pd

from ..sim import Layer, LayerResult, read_layers, simulate

PATTERNS = ("1:4", "2:4", "3:4")
BLOCKS = (16, 32, 64)
SPLIT = ("stall_smem", "stall_drain", "stall_sync", "idle")
NOTABLE = 0.02
# Every layer of it differs with every mask: one run of it is shown.
FREE_RUNNING, SHOWN_RUN = "dstc", ("2:4", 64)


def excess_shares(row: LayerResult) -> dict[str, float]:
    """What each cause adds to the compute bound; the shares add up to (cycles - bound) / bound, exactly.

    Idle counts beyond the idleness of cores with less work than the busiest, so that it can be slightly negative
    where such a core waits for other reasons instead.
    """
    bound, cores = row.group.compute_bound_cycles, row.group.core_cycles.shape[0]
    cycles = row.core_cycles_by_cause
    missing_work = bound * cores - cycles["busy"] - cycles["stall_rf"]
    return {cause: (cycles[cause] - (missing_work if cause == "idle" else 0)) / (bound * cores) for cause in SPLIT}


def stall_table(layers: list[Layer], sparsity: float, seed: int = 0) -> pd.DataFrame:
    """Every pattern and block at one sparsity, on every architecture, layers of equal numbers folded."""
    rows = []
    for nm in PATTERNS:
        for block in BLOCKS:
            results = simulate(layers, nm=nm, block=block, sparsity=sparsity, seed=seed)
            rows += [_record(nm, block, row) for row in results.rows]
    table = pd.DataFrame(rows)
    keys = [column for column in table.columns if column not in ("layer", "times")]
    folded = table.groupby(keys, sort=False, as_index=False).agg(layer=("layer", "first"), times=("times", "sum"))
    return folded.reindex(columns=table.columns)


def notable(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in which some cause adds more than 2% to the compute bound, the largest first, runs alike folded."""
    columns = [f"{cause}_percent" for cause in SPLIT]
    rows = table[(table[columns] > 100 * NOTABLE).any(axis=1)].copy()
    rows["runs"] = [f"{nm} B={block}" for nm, block in zip(rows["nm"], rows["block"], strict=True)]
    keys = [column for column in rows.columns if column not in ("nm", "block", "runs")]
    folded = rows.groupby(keys, sort=False)["runs"].agg(_name_runs).reset_index()
    return folded.sort_values(by=["excess_percent"], ascending=[False])


def _name_runs(runs: pd.Series) -> str:
    return "every pattern and block" if len(runs) == len(PATTERNS) * len(BLOCKS) else ", ".join(runs)


def _record(nm: str, block: int, row: LayerResult) -> dict[str, object]:
    layer, bound = row.layer, row.group.compute_bound_cycles
    return {
        "nm": nm,
        "block": block,
        "layer": layer.name,
        "times": layer.calls,
        "s": layer.s,
        "k": layer.k,
        "p": layer.p,
        "arch": row.arch,
        "mode": row.group.mode,
        "cycles": row.cycles,
        "compute_bound_cycles": bound,
        "smem_bound_cycles": row.group.smem_bound_cycles,
        "excess_percent": round(100 * (row.cycles / bound - 1), 3),
        **{f"{cause}_percent": round(100 * share, 3) for cause, share in excess_shares(row).items()},
    }


def _markdown(table: pd.DataFrame, command: str, sparsity: float) -> str:
    lockstep = table.loc[table["arch"] != FREE_RUNNING]
    parts = [_preface(command, sparsity), _summary(table), [""], _outliers(notable(lockstep)), [""], _free(table), [""]]
    return "\n".join(line for part in parts for line in part)


def _preface(command: str, sparsity: float) -> Iterator[str]:
    yield "# Excess over the compute bound"
    yield ""
    yield f"Made by `{command}`."
    yield f"Every layer stands in the CSV beside this file. Weight sparsity asked: {100 * sparsity:g}%."
    yield "An excess is (cycles - compute bound) / compute bound, split exactly by what the cores waited for; idle"
    yield "counts beyond that of cores with less work. `docs/microarchitecture.md`, section 10, explains every cause"
    yield "above 2%. A negative idle: cores with less work than the busiest wait for slices instead of being idle."
    yield ""


def _summary(table: pd.DataFrame) -> Iterator[str]:
    yield "## The whole network"
    yield ""
    yield _row(["N:M", "block", "architecture", "cycles", "over the bound", *SPLIT])
    yield _row(["---"] * 3 + ["---:"] * 6)
    for key, rows in table.groupby(["nm", "block", "arch"], sort=False):
        nm, block, arch = tuple(key) if isinstance(key, tuple) else (key, "", "")
        cycles, bound = (rows[name] * rows["times"] for name in ("cycles", "compute_bound_cycles"))
        shares = [(rows[f"{cause}_percent"] * bound).sum() / bound.sum() for cause in SPLIT]
        shares = [100 * (cycles.sum() / bound.sum() - 1), *shares]
        yield _row([nm, block, arch, f"{cycles.sum():,}", *(f"{share:.2f}%" for share in shares)])


def _outliers(rows: pd.DataFrame) -> Iterator[str]:
    yield "## Layers in which a cause adds more than 2%, on architectures in lockstep"
    yield ""
    yield _row(["runs", "layer", "times", "SxKxP", "architecture", "mode", "over the bound", *SPLIT])
    yield _row(["---"] * 2 + ["---:"] * 2 + ["---"] * 2 + ["---:"] * 5)
    for row in rows.to_dict(orient="records"):
        shares = [row["excess_percent"], *(row[f"{cause}_percent"] for cause in SPLIT)]
        shape = f"{row['s']}x{row['k']}x{row['p']}"
        names = [row["runs"], row["layer"], row["times"], shape, row["arch"], row["mode"]]
        yield _row([*names, *(f"{share:.2f}%" for share in shares)])


def _free(table: pd.DataFrame) -> Iterator[str]:
    nm, block = SHOWN_RUN
    shown = table.loc[(table["arch"] == FREE_RUNNING) & (table["nm"] == nm) & (table["block"] == block)]
    yield f"## {FREE_RUNNING}, whose cores run freely: its layers at {nm} B={block}, the largest excess first"
    yield ""
    yield _row(["layer", "times", "SxKxP", "cycles", "SMEM bound", "over the bound", *SPLIT])
    yield _row(["---"] + ["---:"] * 9)
    for row in shown.sort_values(by=["excess_percent"], ascending=[False]).to_dict(orient="records"):
        shares = [row["excess_percent"], *(row[f"{cause}_percent"] for cause in SPLIT)]
        sizes = [f"{row['s']}x{row['k']}x{row['p']}", f"{row['cycles']:,}", f"{row['smem_bound_cycles']:,}"]
        yield _row([row["layer"], row["times"], *sizes, *(f"{share:.2f}%" for share in shares)])


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


@click.command()
@click.option("--layer-csv", type=click.Path(path_type=Path), required=True)
@click.option("--sparsity", type=float, default=0.9, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Path without its ending; .csv and .md are added."
)
def main(layer_csv: Path, sparsity: float, out: Path) -> None:
    """Write the table of excess cycles of a network, for all patterns and blocks."""
    table = stall_table(read_layers(layer_csv), sparsity)
    command = f"python -m crispsim.bench.stalls --layer-csv {layer_csv} --sparsity {sparsity:g} --out {out}"
    table.to_csv(out.with_suffix(".csv"), index=False, lineterminator="\n")
    out.with_suffix(".md").write_text(_markdown(table, command, sparsity), encoding="utf-8")


if __name__ == "__main__":
    main()
