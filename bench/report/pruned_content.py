"""What a report says of a pruned network's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..pruned_reader import PrunedFolder
from .content import Block, Cell, Code, Column, Heading, Notes, Picture, Report, Section, Table, Text, listed
from .machine_content import plain_value
from .pruned_columns import FIT, MAIN, TRAINING, epoch_rows, layer_rows
from .shared_blocks import by_reason, exempt_notes, figure_blocks, figure_notices

MOST_CLASSES = 12  # named in a sentence

# What the fields of configuration and training are, as `crispsim prune --help` has them.
_MEANINGS = {
    "nm": "N:M, at most N of M neighbours along K are kept; 1:1 is no such pattern",
    "block": "side of the pruned blocks",
    "sparsity": "share of the prunable weights to prune",
    "steps": "iterations of pruning",
    "criterion": "saliency of a weight: eq1 is |mean gradient x weight|",
    "normalise": "how rank columns compete: by score per weight, or raw",
    "schedule": "of the sparsity over the iterations",
    "sr_ste": "decay of masked weights",
    "include": "names of layers pruned although exempt by rule",
    "exclude": "names of layers left dense",
    "epochs": "of fine-tuning, over all iterations",
    "batch_size": "of each process",
    "learning_rate": "initial; falls to 0 as a cosine",
    "samples_per_class": "training images of each class, at most",
    "score_samples_per_class": "of these, how many are scored; none: all of them",
    "seed": "of drawn classes, order and augmentation",
    "device": "asked for",
    "device_used": "what it ran on",
    "amp": "mixed precision in training",
}


def pruned_report(pruned: PrunedFolder, pictures: Sequence[Picture] | None) -> Report:
    """The report of a pruned network; pictures None: matplotlib to draw them is not installed."""
    report = pruned.report
    sections = [
        Section(id="results", title="Results", blocks=_results(report)),
        Section(id="reading", title="What to know when reading it", blocks=[Notes(items=_reading(pruned))]),
        Section(id="start", title="What was pruned, and for whom", blocks=_start(report)),
    ]
    if pictures is None or pictures:
        sections.append(Section(id="figures", title="Figures", blocks=figure_blocks(pictures)))
    sections += [
        Section(id="layers", title="Layers", blocks=_layers(pruned)),
        Section(id="training", title="Training", blocks=_training(pruned)),
        Section(id="again", title="How to run it again", blocks=_again(report)),
    ]
    version = report["versions"].get("crispsim", "")
    return Report(
        title=f"{_network(report)} {_done(report)} for {_classes_of(report)}",
        facts=_facts(report),
        sections=sections,
        made_by=f"Made by crispsim report from the report.json, sparsity.csv and history.csv of crispsim {version}.",
        notices=figure_notices(pictures),
    )


def _network(report: Mapping[str, Any]) -> str:
    return report["model"].rpartition(":")[2] or "A network"


def _is_pruned(report: Mapping[str, Any]) -> bool:
    total = report["totals"]["network"]
    return total["kept_weights"] < total["weights"]


def _classes_of(report: Mapping[str, Any]) -> str:
    return f"{len(report['classes']):,} of {report['data']['classes']:,} classes of {report['data']['name']}"


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings that a reader asks for first."""
    config, training = report["config"], report["training"]
    checkpoint = report["checkpoint"]
    return [
        ("layers", f"{len(report['layers']):,}"),
        ("pattern", _pattern(config)),
        ("sparsity asked", _asked(config)),
        ("iterations", f"{config['steps']:,}"),
        ("epochs", f"{training['epochs']:,}"),
        ("started from", Path(checkpoint["path"]).name if checkpoint else "the factory's weights"),
        ("packed as", report["dtype"]),
        ("seed", str(training["seed"])),
    ]


def _pattern(config: Mapping[str, Any]) -> str:
    """What was asked for, in words."""
    n, m = config["nm"]
    blocks = "" if config["block"] is None else f"blocks of {config['block']}"
    if n == m:
        return blocks or "dense"
    return f"{n}:{m}, {blocks or 'no blocks'}"


def _asked(config: Mapping[str, Any]) -> str:
    """The sparsity as it was asked for: a number as %, a fraction as it stands."""
    asked = config["sparsity"]
    return asked if isinstance(asked, str) else f"{100 * asked:g}%"


# --- results


def _results(report: Mapping[str, Any]) -> list[Block]:
    test, network, data = report["accuracy"]["test"], report["totals"]["network"], report["data"]
    prunable = report["totals"]["prunable"]
    name = _network(report)
    if _is_pruned(report):
        line = (
            f"{name} keeps {1 - prunable['sparsity']:.1%} of its prunable weights, {1 - network['sparsity']:.1%} of "
            f"all, and {network['flops_ratio']:.1%} of the network's MACs."
        )
    else:
        line = f"{name} was {_done(report)}, not pruned."
    line += (
        f" Of {test['images']:,} test images of the user's {len(report['classes']):,} classes it gets "
        f"{test['after']:.1%} right; the network as it came, {test['before']:.1%}."
    )
    blocks: list[Block] = [Text(text=line, role="lead")]
    if data["note"]:
        blocks.append(Notes(items=[(f"Data {data['name']}", data["note"])], role="warning"))
    return [*blocks, _accuracies(report), _totals(report)]


def _done(report: Mapping[str, Any]) -> str:
    """What was done to the network."""
    done = ["fine-tuned"] if report["training"]["epochs"] else []
    return listed([*done, "pruned"] if _is_pruned(report) else done) or "left as it came"


def _accuracies(report: Mapping[str, Any]) -> Table:
    accuracy = report["accuracy"]
    rows: list[list[Cell]] = []
    for split in ("test", "validation"):
        own = accuracy[split]
        change = 100 * (own["after"] - own["before"])
        rows.append([split, own["images"], own["before"], own["after"], f"{change:+.1f}", 100 / own["images"]])
    columns = [
        Column(label="images", form="text"), Column(label="number", form="count"),
        Column(label="before", unit="%", form="percent"), Column(label="after", unit="%", form="percent"),
        Column(label="change", unit="points"), Column(label="one image is", unit="points", form="fixed"),
    ]  # fmt: skip
    caption = (
        f"Accuracy among {accuracy['among']}. Before: {accuracy['before_is']}. After: {_done(report)}. "
        "The test images are looked at twice, before and after; nothing is chosen by them."
    )
    return Table(id="accuracy", columns=columns, rows=rows, caption=caption)


def _totals(report: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = []
    for scope, name in (("prunable", "prunable layers"), ("network", "all layers")):
        total = report["totals"][scope]
        rows.append(
            [name, len(total["layers"]), total["weights"], total["kept_weights"], 100 * total["sparsity"],
             total["macs_dense"], total["macs_kept"], f"{total['flops_ratio']:.4f}"]
        )  # fmt: skip
    columns = [
        Column(label="", form="text"), Column(label="layers", form="count"), Column(label="weights", form="count"),
        Column(label="weights kept", form="count"), Column(label="sparsity", unit="%", form="fixed"),
        Column(label="dense MACs", form="count"), Column(label="MACs kept", form="count"),
        Column(label="FLOPs ratio", unit="kept / dense"),
    ]  # fmt: skip
    caption = (
        "Prunable layers: those the pruner worked on, N:M alone included; the sparsity asked for is theirs. All "
        f"layers: with those that stay dense. Counted are {report['totals_are']}."
    )
    return Table(id="totals", columns=columns, rows=rows, caption=caption)


# --- what one must know to read it


def _reading(pruned: PrunedFolder) -> list[tuple[str, str]]:
    report = pruned.report
    prunable, data = report["totals"]["prunable"], report["data"]
    items = []
    if _is_pruned(report):
        reached = f"asked {_asked(report['config'])} of the prunable weights, reached {100 * prunable['sparsity']:.4g}%"
        if report["config"]["block"] is not None:
            reached += "; blocks are taken one from each block row of a layer at a time, until it is met"
        items += [
            ("Sparsity", reached + "."),
            (
                "MACs",
                "a budget in weights takes most from the layers that hold the weights, the late ones of a "
                "convolutional network, and little from the early ones, which hold the work.",
            ),
        ]
    else:
        items.append(("Not pruned", "every weight of every layer is kept."))
    items += exempt_notes(report["dense_by_rule"], report["without_blocks"])
    others = {row.layer: row.note for row in pruned.layers if row.note and row.prunable and row.block != "none"}
    if others:
        items.append(("Blocks", by_reason(others)))
    if report["dtype"] != "float32":
        items.append(("Packed weights", f"{report['dtype']}; the accuracies are those of the network before packing."))
    return items + [("Notice", text) for text in report["notices"] if text != f"data {data['name']}: {data['note']}"]


def _start(report: Mapping[str, Any]) -> list[Block]:
    data, checkpoint = report["data"], report["checkpoint"]
    classes = [_named(entry) for entry in report["classes"]]
    arguments = {key: plain_value(value) for key, value in report["model_arguments"].items()}
    rows: list[list[Cell]] = [
        ["model", report["model"]],
        *([f"model argument {key}", value] for key, value in arguments.items()),
        ["checkpoint", checkpoint["path"] if checkpoint else "none: the weights that the factory gives"],
        *([["SHA-256 of the checkpoint", checkpoint["sha256"]]] if checkpoint else []),
        ["data", data["asked"]],
        ["classes in the data", f"{data['classes']:,}"],
        ["an image (channels x height x width)", " x ".join(map(str, data["input_shape"]))],
        *([f"{split} images, of all classes", f"{count:,}"] for split, count in data["images"].items()),
    ]
    if len(classes) > MOST_CLASSES:
        shown: list[Block] = [
            Text(text=f"The user's {len(classes):,} classes, in the order of the head's rows:"),
            Code(text="\n".join(classes), title="Classes", folded=True),
        ]
    else:
        shown = [Text(text=f"The user's classes, in the order of the head's rows: {listed(classes)}.")]
    return [*shown, _settings("start-table", rows)]


def _named(entry: Mapping[str, Any]) -> str:
    """A class by name, and by number where the name does not say it."""
    return entry["name"] if entry["name"] == str(entry["index"]) else f"{entry['name']} ({entry['index']})"


# --- layers, training, settings


def _layers(pruned: PrunedFolder) -> list[Block]:
    columns, rows = layer_rows(pruned.layers)
    caption = "A row is a layer, in the order they run; sparsity.csv has the numbers, masks.safetensors the masks."
    return [
        Table(
            id="layer-table", columns=columns, rows=rows, heads=2, caption=caption, explore=True, shown_groups=(MAIN,)
        )
    ]


def _training(pruned: PrunedFolder) -> list[Block]:
    seconds = pruned.report["seconds"]["training"]
    if not pruned.history:
        return [Text(text="The network was not trained: 0 epochs of fine-tuning were asked for.")]
    columns, rows = epoch_rows(pruned.history)
    table = Table(
        id="epoch-table",
        columns=columns,
        rows=rows,
        heads=2,
        caption="A row is an epoch; history.csv has the numbers.",
        explore=True,
        shown_groups=(FIT, TRAINING),
    )
    device = pruned.report["training"]["device_used"]
    return [Text(text=f"{len(rows):,} epochs took {seconds:,.0f} s on {device}."), table]


def _again(report: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [Code(text=report["command"])]
    for key, title in (("config", "Configuration"), ("training", "Training")):
        rows: list[list[Cell]] = [
            [name, ":".join(map(str, value)) if name == "nm" else _shown(value), _MEANINGS.get(name, "")]
            for name, value in report[key].items()
        ]
        blocks += [Heading(text=title), _settings(f"{key}-table", rows, "meaning")]
    versions: list[list[Cell]] = [[name, version] for name, version in report["versions"].items()]
    return [*blocks, Heading(text="Versions"), _settings("versions", versions)]


def _shown(value: object) -> Cell:
    """A setting as it is typed: a list with commas, none where there is none."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else plain_value(value)


def _settings(name: str, rows: Sequence[Sequence[Cell]], *more: str) -> Table:
    columns = [Column(label=label, form="text") for label in ("setting", "value", *more)]
    return Table(id=name, columns=columns, rows=rows)
