"""`crispsim pretrain`: parse, train on all classes, print, write."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..formats.errors import BadInputError
from .options import verbose_option
from .terminal import say
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


@click.command(
    epilog="Example: crispsim pretrain --data icons --model crispsim.prune.models:resnet_small --out out/universal.pt"
)
@model_options
@checkpoint_option
@data_option
@click.option("--epochs", type=int, default=12, show_default=True)
@click.option("--learning-rate", type=float, default=0.1, show_default=True, help="Initial; falls to 0 as a cosine.")
@click.option("--momentum", type=float, default=0.9, show_default=True)
@click.option("--weight-decay", type=float, default=5e-4, show_default=True)
@click.option("--batch-size", type=int, default=128, show_default=True, help="Of each process.")
@click.option("--label-smoothing", type=float, default=0.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order and augmentation.")
@device_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE.pt",
    help="Where the weights go, with a FILE.json that says how they were made.",
)
@click.option("--resume", is_flag=True, help="Go on from the last whole epoch in FILE.pt.")
@click.option("--overwrite", is_flag=True, help="Begin anew although FILE.pt is there.")
@click.option("--json", "as_json", is_flag=True, help="Print what FILE.json holds.")
@click.option("--quiet", is_flag=True, help="Print neither results nor progress.")
@verbose_option
def pretrain(
    model: str,
    model_arguments: tuple[str, ...],
    checkpoint: Path | None,
    data: str,
    threads: int | None,
    out: Path,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    amp: bool | None,
    **asked: Any,
) -> None:
    """Train the universal network on all classes of the data: what `crispsim prune --checkpoint` personalises."""
    arguments = parse_arguments(model_arguments)
    if out.suffix != ".pt":
        raise BadInputError(f"--out {out}: must end in .pt")
    if resume and overwrite:
        raise BadInputError("--resume and --overwrite: give one of them")
    from ..bench.main_process import main_process
    from ..bench.whole_files import check_file, whole_files

    description = out.with_suffix(".json")
    for path in (out, description):
        check_file(path, [])
        if checkpoint is not None and path.resolve() == checkpoint.resolve():
            raise BadInputError(f"--out {out}: is the --checkpoint to begin with; give another")
        if path.exists() and not resume and not overwrite:
            raise BadInputError(f"--out {out}: {path} is there; --resume goes on, --overwrite begins anew")
    if resume and description.exists() and not out.exists():
        raise BadInputError(f"--out {out}: {description} is there without it, so there is nothing to resume")
    main = main_process()
    if main and resume and not out.exists():
        say(f"note: --resume: there is no {out}; a new run begins", err=True)
    with (
        says_where_it_stands(out),  # outermost: speaks when the bar is gone
        TrainingProgress(quiet=quiet or as_json or not main) as progress,
    ):
        prepare_torch(threads)
        from ..bench.personalisation import Start
        from ..prune.training import PretrainConfig
        from ..prune.training import pretrain as train

        training = PretrainConfig(amp="auto" if amp is None else amp, **asked)
        start = Start(model=model, model_arguments=arguments, checkpoint=checkpoint, data=data, seed=training.seed)
        network, splits = start.load(progress.building)
        done = train(
            network,
            splits,
            training,
            out,
            start=start.words(),
            resume=resume,
            overwrite=overwrite,
            progress=progress.update,
        )
    if not main:
        return
    record = {
        **how_made(),
        **start.record(splits),
        "training": training.to_dict() | {"device_used": done.device},
        "accuracy": {"test": done.test_accuracy, "validation": done.validation_accuracy},
        "history": [asdict(epoch) for epoch in done.history],
        "seconds": {"training": done.seconds},
    }
    with whole_files([description]) as (staged,):
        staged.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps(record, indent=2))
    elif not quiet:
        if splits.note:
            say(f"note: data {splits.name}: {splits.note}", err=True)
        say(
            f"accuracy over {len(splits.class_names)} classes: {done.test_accuracy:.2%} of {len(splits.test):,} test "
            f"images, {done.validation_accuracy:.2%} of {len(splits.validation):,} validation images"
        )
        say(f"wrote {out}, {description}")
