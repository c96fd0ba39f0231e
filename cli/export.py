"""`crispsim export`: a packed model's weights in the formats of other libraries."""

from __future__ import annotations

from pathlib import Path

import click

from ..bench.whole_files import check_file, whole_files
from ..formats import read_model
from ..formats.errors import BadInputError
from .options import verbose_option
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
@click.option("--layer", "names", multiple=True, metavar="NAME", help="Only this layer, repeatable.  [default: all]")
@verbose_option
def export_weights(file: Path, kind: str, out: Path, names: tuple[str, ...]) -> None:
    """Write a packed model's weights for cuSPARSE, scipy or torch.

    blocked-ell and scipy-bsr give an .npz of arrays `<layer>.<field>`, torch-bsr and torch-2:4 a .pt of `<layer>` to a
    tensor, its real shape and its scales: these formats have whole blocks only, so S and K are padded with zeros.
    Layers without blocks go along dense. int8 weights are stored values with their scales beside them. state-dict
    gives real weights for `load_state_dict(..., strict=False)`; the file has no biases or BatchNorm.
    """
    if out.suffix != _SUFFIXES[kind]:
        raise BadInputError(f"--out {out}: {kind} is written as {_SUFFIXES[kind]}: must end in it")
    check_file(out, [file])
    model = read_model(file)
    prepare_torch(None)
    from ..prune.export.files import export

    content, dense = export(model, kind, names)
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
        click.echo(f"note: {kind} cannot hold these, they go along dense ({len(dense)}): {said}", err=True)
    click.echo(f"wrote {out}: {len(names) or len(model.layers)} layers as {kind}")
