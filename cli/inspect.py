"""`crispsim inspect`: what a packed model file holds, layer by layer, and what other formats would take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import click
from rich.table import Table

from ..bench.inspected_layer import PACKED, STORAGES, InspectedLayer
from ..bench.inspection import Inspection, inspect_model
from ..sim import InputError
from .options import verbose_option
from .tables import plain_table, print_first, print_table, spellings
from .terminal import Terminal, terminal

_NAMES: dict[str, str] = dict(
    zip(STORAGES, ("packed", "CSR", "ELLPACK", "bitmap", "blocked-ELL", "N:M", "dense"), strict=True)
)
_ROLES = {
    "values": "values",
    "dense": "values of dense layers",
    "nm_index": "N:M indices",
    "block_cols": "block columns",
    "unstructured": "unstructured masks",
    "activations": "activations",
}


@click.command(epilog="Example: crispsim inspect out/user/model.safetensors --layer 'layer4.*'")
@click.argument("file", metavar="FILE.safetensors", type=click.Path(path_type=Path))
@click.option(
    "--layer",
    "wanted",
    multiple=True,
    metavar="NAME",
    help="Only this layer, repeatable; * and ? stand for any letters or one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every number as JSON instead of tables.")
@verbose_option
def inspect_file(file: Path, wanted: tuple[str, ...], as_json: bool) -> None:
    """Show what a packed model file holds: patterns, sparsity, bytes, and the bytes of other formats.

    A file whose header breaks the format is refused. Damaged values (indices, padding) are listed, and the exit code
    is 2 then, too.
    """
    inspection = inspect_model(file, wanted)
    if as_json:
        click.echo(json.dumps(inspection.record(), indent=2, ensure_ascii=False))
    else:
        print_inspection(inspection, terminal(140))
    if inspection.defects:
        raise InputError(*(f"{file}: {line}" for line in inspection.defects))


def print_inspection(inspection: Inspection, console: Terminal) -> None:
    """Print the layers, the totals, the bytes by kind, and the formats beside each other."""
    print_first(console, _layouts(inspection))
    print_table(console, _totals(inspection))
    if inspection.storage():
        print_table(console, _storage_table(inspection))
    for note in _notes(inspection):
        console.print(note, style="dim")


# --- layers ---


def _layouts(inspection: Inspection) -> Iterator[list[Table]]:
    """Everything of a layer in a row; or its bytes in other formats apart, in as many tables as it takes."""
    shown = [name for name in STORAGES if any(name in layer.storage for layer in inspection.layers)]
    named = spellings(layer.name for layer in inspection.layers)
    for names in named:
        yield [_layer_table(inspection, names, "Layers (formats: KiB)", ("dtype",), shown)]
    for others in (("dtype", "bytes"), ()):
        for tables in range(1, len(shown) + 1):
            abreast = -(-len(shown) // tables)
            spread = [shown[start : start + abreast] for start in range(0, len(shown), abreast)]
            for names in named:
                sizes = [_layer_table(inspection, names, "Layers in KiB", None, storages) for storages in spread]
                yield [_layer_table(inspection, names, "Layers", others, ()), *sizes]


def _layer_table(
    inspection: Inspection,
    names: Mapping[str, str],
    title: str,
    others: Sequence[str] | None,
    storages: Sequence[str],
) -> Table:
    """The layers' shapes (unless `others` is None), others of their properties, and their KiB in formats."""
    table = plain_table(title)
    table.add_column("layer", no_wrap=True)
    if others is not None:
        table.add_column("pattern", no_wrap=True)
        grouped = any(layer.groups > 1 for layer in inspection.layers)
        for head in ("groups * SxK" if grouped else "SxK", "blocks", "pruned", "zeros", *others):
            table.add_column(head, justify="right", no_wrap=True)
    for name in storages:
        table.add_column(_NAMES[name], justify="right", no_wrap=True)

    def cells(layer: InspectedLayer) -> tuple[str, ...]:
        own = [_kib(layer.storage[name].total_bits) if name in layer.storage else "" for name in storages]
        return (*(() if others is None else _shape_cells(layer, others)), *own)

    def all_cells(layer: InspectedLayer) -> tuple[object, ...]:
        return (*_shape_cells(layer, ("dtype", "bytes")), layer.storage)  # the same rows folded in every table

    for _, run in groupby(inspection.layers, key=all_cells):
        layers = list(run)
        times = f"  x{len(layers)}" if len(layers) > 1 else ""
        table.add_row(names[layers[0].name] + times, *cells(layers[0]))
    return table


def _shape_cells(layer: InspectedLayer, others: Sequence[str]) -> list[str]:
    groups = f"{layer.groups} * " if layer.groups > 1 else ""
    cells = [
        str(layer.pattern) + (" (damaged)" if layer.defect else ""),
        f"{groups}{layer.s}x{layer.k}",
        "" if layer.kept_blocks is None else f"{layer.kept_blocks} of {layer.block_columns}",
        f"{1 - layer.kept_weights / layer.weights:.2%}" if layer.patterned else "",
        f"{1 - layer.nonzeros / layer.weights:.2%}",
    ]
    properties = {"dtype": layer.dtype, "bytes": f"{layer.bytes:,}"}
    return [*cells, *(properties[name] for name in others)]


# --- totals ---


def _totals(inspection: Inspection) -> Table:
    table = plain_table("Totals")
    table.add_column("", no_wrap=True)
    columns = [("patterned layers", inspection.patterned), ("all layers", inspection.layers)]
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    sums = [inspection.total(layers) for _, layers in columns]
    for name, key in (("layers", "layers"), ("weights", "weights"), ("kept by the pattern", "kept_weights")):
        table.add_row(name, *(f"{total[key]:,}" for total in sums))
    table.add_row("not zero", *(f"{total['nonzeros']:,}" for total in sums))
    for name, key in (("pruned", "sparsity"), ("zeros", "zeros")):
        table.add_row(name, *(f"{total[key]:.2%}" for total in sums))
    for name, key in (("MACs, dense", "macs_dense"), ("MACs, kept", "macs_kept")):
        table.add_row(name, *(f"{total[key]:,}" for total in sums))
    table.add_row("bytes", *(f"{total['bytes']:,}" for total in sums), end_section=True)
    sizes = inspection.tensor_bytes()
    for role in (role for role in _ROLES if role in sizes):
        table.add_row(f"  {_ROLES[role]}", "", f"{sizes[role]:,}")
    table.add_row("  header of the file", "", f"{inspection.header_bytes:,}")
    return table


# --- formats ---


def _storage_table(inspection: Inspection) -> Table:
    storage = inspection.storage()
    table = plain_table("Patterned layers in other formats")
    table.add_column("format", no_wrap=True)
    for head in ("values KiB", "metadata KiB", "total KiB", "metadata", "total"):
        table.add_column(head, justify="right", no_wrap=True)
    own = storage[PACKED]
    for name, each in storage.items():
        table.add_row(
            _NAMES[name],
            _kib(each.value_bits),
            _kib(each.metadata_bits),
            _kib(each.total_bits),
            _times(each.metadata_bits, own.metadata_bits),
            _times(each.total_bits, own.total_bits),
        )
    return table


def _notes(inspection: Inspection) -> list[str]:
    notes = [
        "pruned: weights the pattern does not keep; zeros: those and kept ones that are zero; MACs: of one sample; "
        "padding counts in bytes only"
    ]
    if inspection.storage():
        notes.append(
            "formats: every index has just enough bits (a block column has 32 in the file); times are of packed; a "
            "layer that a format does not fit stays dense in it"
        )
    if len(inspection.layers) < inspection.layers_in_file:
        notes.append(f"{len(inspection.layers)} of the file's {inspection.layers_in_file} layers")
    made = ", ".join(
        f"{key} {value}" for key, value in inspection.made_by.items() if isinstance(value, str | int | float)
    )
    if made:
        notes.append(f"made by: {made}")
    if inspection.defects:
        notes.append("damaged layers are not in the comparison of formats")
    return notes


def _kib(bits: int) -> str:
    return f"{bits / 8192:,.1f}"


def _times(part: int, whole: int) -> str:
    if not part or not whole:
        return "-"
    return f"{part / whole:.2f}x" if part / whole >= 0.005 else "<0.01x"
