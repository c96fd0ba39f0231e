"""A network while it was fine-tuned and pruned: a picture of `crispsim report`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from .drawing import INK, WIDTH, save
from .records import Record, records_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VALIDATION, _TRAINING, _LOSS, _SPARSITY = "#00406B", "#E69F00", "#C04A00", "#A9CBE4"
_MARKED = 30  # epochs: of more, lines have no marks


def draw(history: pd.DataFrame, path: Path) -> None:
    """Accuracies, loss and sparsity over the epochs; a rule where masks were made anew.

    history : history.csv of a pruned network's folder: epoch, iteration, loss, train_accuracy, validation_accuracy,
    sparsity.
    """
    save(_figure, history, path)


def _figure(history: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = records_of(history)
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    accuracy, loss, sparsity = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
    marker = "o" if len(rows) <= _MARKED else ""
    _line(accuracy, rows, "validation_accuracy", 100, _VALIDATION, marker, "validation images")
    _line(accuracy, rows, "train_accuracy", 100, _TRAINING, "", "training images")
    accuracy.set_ylabel("accuracy (%)")
    accuracy.set_title("Accuracy: of validation images after each epoch, of training images while it lasts")
    figure.legend(loc="outside upper center", ncols=2)
    _line(loss, rows, "loss", 1, _LOSS, marker)
    loss.set_ylim(bottom=0)
    loss.set_ylabel("loss")
    loss.set_title("Loss on the training images")
    edges = [rows[0]["epoch"] - 0.5, *(row["epoch"] + 0.5 for row in rows)]
    sparsity.stairs([100 * row["sparsity"] for row in rows], edges, fill=True, color=_SPARSITY)
    sparsity.set_ylim(0, 100)
    sparsity.set_ylabel("sparsity (%)")
    sparsity.set_title("Sparsity of the prunable weights in each epoch; broken line: masks made anew")
    sparsity.set_xlabel("epoch")
    sparsity.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (accuracy, loss, sparsity):
        axes.grid(axis="y")
        for before, after in pairwise(rows):
            if after["iteration"] != before["iteration"]:
                axes.axvline(after["epoch"] - 0.5, color=INK, linewidth=0.6, linestyle="--")
    sparsity.set_xlim(edges[0], edges[-1])
    return figure


def _line(
    axes: Axes, rows: list[Record], name: str, scale: float, colour: str, marker: str, label: str = "_nolegend_"
) -> None:
    axes.plot(
        [row["epoch"] for row in rows], [scale * row[name] for row in rows], color=colour, linewidth=1.1,
        marker=marker, markersize=2.5, label=label,
    )  # fmt: skip
