"""`crispsim prune`: parse, personalise, print, write."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..formats import parse_nm
from ..sim.tasks import DEFAULT_SPARSITY
from .options import BlockSize, verbose_option
from .pruned_table import print_pruned
from .terminal import say, terminal
from .training import (
    checkpoint_option,
    data_option,
    device_options,
    how_made,
    model_options,
    parse_arguments,
    prepare_torch,
    says_where_it_stands,
)
from .training_progress import TrainingProgress

if TYPE_CHECKING:
    from ..prune import CrispConfig
    from ..prune.training import TrainingConfig

_CONFIG = ("steps", "criterion", "normalise", "schedule", "sr_ste", "include", "exclude")
_TRAINING = (
    "epochs",
    "batch_size",
    "learning_rate",
    "momentum",
    "weight_decay",
    "samples_per_class",
    "score_samples_per_class",
    "label_smoothing",
    "seed",
    "device",
)


@click.command(
    epilog="Example: crispsim prune --data digits --model crispsim.prune.models:resnet_tiny --classes 1,3,7 "
    "--block 16 --sparsity 0.8 --epochs 12 --out out/digits"
)
@model_options
@checkpoint_option
@data_option
@click.option("--classes", metavar="A,B,...", help="The user's classes, by number or name.")
@click.option("--num-classes", type=int, metavar="N", help="Draw so many classes, or take so many of --class-history.")
@click.option(
    "--class-history",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What the user met, a class a line, oldest first: the most frequent --num-classes of its last --window.",
)
@click.option("--window", type=int, metavar="N", help="Lines of --class-history that count.  [default: all]")
@click.option("--nm", default="2:4", show_default=True, metavar="N:M", help="Fine-grained pattern, or dense.")
@click.option("--block", type=BlockSize(), default="64", show_default=True, help="Side of the pruned blocks, or none.")
@click.option(
    "--sparsity",
    metavar="0..1",
    help="Share of the prunable weights to prune.  [default: 0.9, or what N:M gives without blocks]",
)
@click.option("--steps", type=int, default=5, show_default=True, help="Iterations of Algorithm 1.")
@click.option("--epochs", type=int, default=50, show_default=True, help="Of fine-tuning, over all iterations.")
@click.option(
    "--criterion",
    type=click.Choice(["eq1", "abs", "magnitude"]),
    default="eq1",
    show_default=True,
    help="Saliency: |mean gradient x weight| (the paper), |weight| x mean |gradient|, or |weight|.",
)
@click.option(
    "--normalise",
    type=click.Choice(["weights", "raw"]),
    default="weights",
    show_default=True,
    help="Rank columns compete by score per weight, or raw as in the paper.",
)
@click.option("--schedule", type=click.Choice(["linear", "cubic"]), default="linear", show_default=True)
@click.option("--sr-ste", type=float, default=0.0, show_default=True, metavar="LAMBDA", help="Decay of masked weights.")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Prune layers of this name, exempt by rule or not. Repeatable."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave layers of this name dense. Repeatable.")
@click.option("--learning-rate", type=float, default=0.1, show_default=True, help="Initial; falls to 0 as a cosine.")
@click.option("--momentum", type=float, default=0.9, show_default=True)
@click.option("--weight-decay", type=float, default=4e-5, show_default=True)
@click.option("--batch-size", type=int, default=32, show_default=True, help="Of each process.")
@click.option("--samples-per-class", type=int, default=256, show_default=True, help="Training images, at most.")
@click.option(
    "--score-samples-per-class", type=int, metavar="N", help="Of these, how many are scored.  [default: all of them]"
)
@click.option("--label-smoothing", type=float, default=0.0, show_default=True, help="In training; scores do without.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of drawn classes, order, augmentation, a factory's weights."
)
@device_options
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    show_default=True,
    help="Of the packed weights; int8 has a scale for each output channel.",
)
@click.option(
    "--activations",
    type=click.Choice(["none", "mask"]),
    default="none",
    show_default=True,
    help="Pack which inputs of each layer are zero for one test image, for dstc.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where the files go.")
@click.option("--resume", is_flag=True, help="Go on from the last whole epoch or pruning in DIR.")
@click.option("--overwrite", is_flag=True, help="Begin anew although DIR holds an earlier run.")
@click.option("--json", "as_json", is_flag=True, help="Print report.json instead of tables.")
@click.option("--quiet", is_flag=True, help="Print neither tables nor progress.")
@verbose_option
def prune(
    model: str,
    model_arguments: tuple[str, ...],
    checkpoint: Path | None,
    data: str,
    classes: str | None,
    num_classes: int | None,
    class_history: Path | None,
    window: int | None,
    dtype: str,
    activations: str,
    threads: int | None,
    out: Path,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Personalise a network to its user's classes: hybrid N:M and block sparsity, guided by class-aware saliency.

    The network is fine-tuned and pruned in turns (CRISP, Algorithm 1; the rules are in docs/pruning.md). DIR gets
    model.safetensors and layers.csv, which `crispsim run --weights DIR/model.safetensors` reads, the masks,
    report.json, sparsity.csv, history.csv and checkpoint.pt. Without --checkpoint the network starts from what its
    factory gives, usually random weights; `crispsim pretrain` makes one. Under torchrun every process takes its share
    of each epoch.
    """
    arguments = parse_arguments(model_arguments)
    from ..bench.main_process import main_process
    from ..bench.pruned_folder import CHECKPOINT, FILES, check_pruned_target, report_of, write_pruned

    check_pruned_target(out, resume=resume, overwrite=overwrite)
    main = main_process()
    if main and resume and not (out / CHECKPOINT).exists():
        say(f"note: --resume: {out} holds no checkpoint; a new run begins", err=True)
    with (
        says_where_it_stands(out / CHECKPOINT),  # outermost: speaks when the bar is gone
        TrainingProgress(quiet=quiet or as_json or not main) as progress,
    ):
        prepare_torch(threads)
        from ..bench.personalisation import Packing, Start, UserClasses, prune_network

        config, training = _config(asked), _training(asked)
        record = prune_network(
            Start(model=model, model_arguments=arguments, checkpoint=checkpoint, data=data, seed=training.seed),
            UserClasses(given=classes, number=num_classes, history=class_history, window=window),
            config,
            training,
            out,
            packing=Packing(dtype=dtype, activations=activations),
            made=how_made(),
            resume=resume,
            overwrite=overwrite,
            progress=progress.update,
            building=progress.building,
        )
    if record is None:
        return
    write_pruned(out, record)
    if as_json:
        click.echo(json.dumps(report_of(record), indent=2))
    elif not quiet:
        for line in record.notices:
            say(f"note: {line}", err=True)
        print_pruned(record, terminal(140))
        say(f"wrote {out}/{', '.join(FILES)}, {CHECKPOINT}")
        click.echo(f"next: crispsim run --weights {shlex.quote(str(out / 'model.safetensors'))}")


def _config(asked: dict[str, Any]) -> CrispConfig:
    from ..prune import CrispConfig

    nm, block, sparsity = parse_nm(asked["nm"]), asked["block"], asked["sparsity"]
    if sparsity is None:
        sparsity = str(DEFAULT_SPARSITY) if block is not None else f"{nm[1] - nm[0]}/{nm[1]}"
    return CrispConfig(nm=nm, block=block, sparsity=sparsity, **{name: asked[name] for name in _CONFIG})


def _training(asked: dict[str, Any]) -> TrainingConfig:
    from ..prune.training import TrainingConfig

    amp = "auto" if asked["amp"] is None else asked["amp"]
    return TrainingConfig(amp=amp, **{name: asked[name] for name in _TRAINING})
