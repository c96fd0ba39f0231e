"""`crispsim export`: a packed model's weights in the formats of other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import click

from ..bench.whole_files import check_file, whole_files
from ..formats import PackedModel, read_model
from ..formats.errors import BadInputError
from .options import verbose_option
from .terminal import say
from .training import prepare_torch

# As `prune.export.EXPORTS`, which needs torch.
_SUFFIXES = {
    "blocked-ell": ".npz",
    "scipy-bsr": ".npz",
    "torch-bsr": ".pt",
    "torch-2:4": ".pt",
    "state-dict": ".pt",
}


@click.command(
    "export", epilog="Example: crispsim export out/digits/model.safetensors --to blocked-ell --out out/digits/ell.npz"
)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.safetensors")
@click.option("--to", "kind", type=click.Choice(list(_SUFFIXES)), required=True, help="The format.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="An .npz or .pt, as the format asks."
)
@click.option(
    "--layer",
    "wanted",
    multiple=True,
    metavar="NAME",
    help="Only this layer, repeatable; * and ? stand for any letters or one.  [default: all]",
)
@verbose_option
def export_weights(file: Path, kind: str, out: Path, wanted: tuple[str, ...]) -> None:
    """Write a packed model's weights for cuSPARSE, scipy or torch.

    blocked-ell and scipy-bsr give an .npz of arrays `<layer>.<field>`, torch-bsr and torch-2:4 a .pt of `<layer>` to a
    tensor, its real shape and its scales. S and K are padded with zeros to whole blocks, for torch-2:4 to multiples of
    32 and 64. Layers that the format cannot hold (without blocks; for torch-2:4, more than 2 in 4) go along dense; one
    that --layer names in full is refused then. int8 weights are stored values with their scales beside them; torch-2:4
    and state-dict have real weights. state-dict is for `load_state_dict(..., strict=False)`: a packed file has no
    biases or BatchNorm.
    """
    if out.suffix != _SUFFIXES[kind]:
        raise BadInputError(f"--out {out}: {kind} is written as {_SUFFIXES[kind]}: must end in it")
    check_file(out, [file])
    try:
        model = _chosen(read_model(file), wanted)
    except OSError as error:
        raise BadInputError(f"{file}: cannot read: {error.strerror}") from error
    prepare_torch(None)
    from ..prune.export.files import export

    known = {layer.name for layer in model.layers}
    content, dense = export(model, kind, wanted if known.issuperset(wanted) else ())
    with whole_files([out]) as [staging]:
        if out.suffix == ".npz":
            import numpy as np

            with staging.open("wb") as stream:
                np.savez(stream, **content)
        else:
            import torch

            torch.save(content, staging)
    if dense:
        said = ", ".join(dense[:3]) + (", ..." if len(dense) > 3 else "")
        them = "these, they go along dense" if len(dense) > 1 else "this, it goes along dense"
        say(f"note: {kind} cannot hold {them} ({len(dense)}): {said}", err=True)
    say(f"wrote {out}: {len(known)} layer{'s' if len(known) > 1 else ''} as {kind}")


def _chosen(model: PackedModel, wanted: Sequence[str]) -> PackedModel:
    """The model with the layers only that a name or a pattern, as `crispsim inspect` has them, stands for."""
    chosen: set[str] = set()
    names = [layer.name for layer in model.layers]
    for pattern in wanted or ("*",):
        found = {name for name in names if pattern == name or fnmatchcase(name, pattern)}
        if not found:
            raise BadInputError(f"--layer {pattern}: fits none of the {len(names)} layers of {model.path}")
        chosen |= found
    return replace(model, layers=tuple(layer for layer in model.layers if layer.name in chosen))
