"""Accuracy of pruned networks on icons of ten user classes, over five draws of the classes, beside the dense network.

    npm pack @iconify/json@2.2.535
    python -m crispsim.bench.validation.icon_accuracy out/icons --data icons:iconify-json-2.2.535.tgz

trains one universal network on all classes (`crispsim pretrain`), then personalises it to each draw at each sparsity
(`crispsim prune`), two runs at a time, with the same epochs for all, dense included. Every run is a command of its own
in a folder of its own: what is complete is not run again, what was interrupted goes on. `--page docs/pruning.md --csv
FILE` puts the tables there. Test accuracies are printed as they are; nothing is chosen by them.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from .page import publish, table

MODEL = "crispsim.prune.models:resnet_small"
SPARSITIES = ("dense", "0.8", "0.85", "0.9")
DRAWS = 5
CLASSES = 10
NM, BLOCK = "2:4", "16"


def pretrain_command(folder: Path, data: str, epochs: int) -> list[str]:
    """Train the universal network."""
    out = str(folder / "universal.pt")
    return ["pretrain", "--model", MODEL, "--data", data, "--epochs", str(epochs), "--seed", "0", "--out", out]


def prune_command(folder: Path, data: str, draw: int, sparsity: str, epochs: int) -> list[str]:
    """Personalise it to a draw of classes at a sparsity; dense is the same training with nothing pruned."""
    pattern = ["--nm", "dense", "--block", "none", "--sparsity", "0"]
    if sparsity != "dense":
        pattern = ["--nm", NM, "--block", BLOCK, "--sparsity", sparsity]
    start = ["--model", MODEL, "--data", data, "--checkpoint", str(folder / "universal.pt")]
    user = ["--num-classes", str(CLASSES), "--seed", str(draw)]
    out = ["--epochs", str(epochs), "--out", str(folder / f"draw{draw}-{sparsity}")]
    return ["prune", *start, *user, *pattern, *out]


def rows_of(reports: Iterable[tuple[int, str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row a run: draw, sparsity, accuracies on the test set, what was pruned."""
    rows = []
    for draw, sparsity, report in reports:
        totals = report["totals"]
        rows.append(
            {
                "draw": draw,
                "sparsity_asked": sparsity,
                "sparsity": round(totals["prunable"]["sparsity"], 6) if sparsity != "dense" else 0.0,
                "sparsity_network": round(totals["network"]["sparsity"], 6),
                "flops_ratio": round(totals["network"]["flops_ratio"], 6),
                "test_images": report["accuracy"]["test"]["images"],
                "test_accuracy_before": round(report["accuracy"]["test"]["before"], 6),
                "test_accuracy": round(report["accuracy"]["test"]["after"], 6),
                "validation_accuracy": round(report["accuracy"]["validation"]["after"], 6),
                "classes": " ".join(entry["name"] for entry in report["classes"]),
            }
        )
    return rows


def accuracy_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mean and spread over the draws, and every draw beside them."""
    draws = sorted({row["draw"] for row in rows})
    body = []
    for sparsity in dict.fromkeys(row["sparsity_asked"] for row in rows):
        own = {row["draw"]: row for row in rows if row["sparsity_asked"] == sparsity}
        found = [100 * float(own[draw]["test_accuracy"]) for draw in draws]
        spread = (
            f"{statistics.mean(found):.1f} ± {statistics.stdev(found):.1f}" if len(found) > 1 else f"{found[0]:.1f}"
        )
        asked = sparsity if sparsity == "dense" else f"{float(sparsity):.0%}"
        network = statistics.mean(float(row["sparsity_network"]) for row in own.values())
        flops = statistics.mean(float(row["flops_ratio"]) for row in own.values())
        body.append([asked, f"{network:.1%}", f"{flops:.3f}", spread, *(f"{value:.1f}" for value in found)])
    head = ["sparsity asked", "of the whole network", "FLOPs ratio", "test accuracy, %", *(f"draw {d}" for d in draws)]
    return table(head, body)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--data", default="icons", show_default=True, help="As of crispsim prune.")
@click.option("--draws", default=DRAWS, show_default=True)
@click.option("--epochs", default=50, show_default=True, help="Of each personalisation.")
@click.option("--pretrain-epochs", default=12, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Runs at a time, each on one thread.")
@click.option("--page", type=click.Path(path_type=Path), help="Page whose tables are replaced.")
@click.option("--csv", "table_file", type=click.Path(path_type=Path), help="Where the rows go.  [default: FOLDER]")
def main(
    folder: Path,
    data: str,
    draws: int,
    epochs: int,
    pretrain_epochs: int,
    jobs: int,
    page: Path | None,
    table_file: Path | None,
) -> None:
    """Run what is missing of the study in FOLDER, and print its table."""
    folder.mkdir(parents=True, exist_ok=True)
    universal = pretrain_command(folder, data, pretrain_epochs)
    if not (folder / "universal.json").is_file():
        _run(universal)
    runs = {
        (draw, sparsity): prune_command(folder, data, draw, sparsity, epochs)
        for draw in range(draws)
        for sparsity in SPARSITIES
    }
    missing = {key: command for key, command in runs.items() if not (Path(command[-1]) / "report.json").is_file()}
    with ThreadPoolExecutor(jobs) as pool:
        for (draw, sparsity), _ in zip(missing, pool.map(_run, missing.values()), strict=True):
            click.echo(f"draw {draw}, {sparsity}: done", err=True)
    rows = rows_of(
        (draw, sparsity, json.loads((Path(command[-1]) / "report.json").read_text(encoding="utf-8")))
        for (draw, sparsity), command in runs.items()
    )
    with (table_file or folder / "icon-accuracy.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    publish({"icon accuracy": accuracy_table(rows)}, page)


def _run(arguments: Sequence[str], threads: int = 1) -> None:
    """One command in a process of its own, going on where it was interrupted."""
    out = Path(arguments[arguments.index("--out") + 1])
    checkpoint = out if out.suffix == ".pt" else out / "checkpoint.pt"
    command = [sys.executable, "-m", "crispsim.cli", *arguments, "--threads", str(threads)]
    command += ["--resume"] if checkpoint.exists() else []
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run([*command, "--quiet"], env=environment, check=False)
    if done.returncode:
        raise click.ClickException(f"{shlex.join(command)}: exit code {done.returncode}")


if __name__ == "__main__":
    main()
