"""What metadata costs in each format, for one pruned layer: the paper's figure 4, right.

The paper says "roughly 5x and 7x more metadata overhead for CSR and ELLPACK formats, respectively, compared to CRISP",
but neither for which layer nor with how wide indices. Every bar therefore states its assumption. The footprints are
those of matrices drawn and packed by `formats/`; the paper's formula stands beside them.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...formats import CSR, ELLPACK, Bitmap, BlockedELL, CrispMatrix, Pattern, draw_unstructured, draw_weights, parse_nm
from ...formats.bits import index_width
from ...formats.footprint import paper_crisp_metadata
from ...sim import InputError
from .drawing import TITLE, WIDTH, Look, save
from .figure_kind import FigureKind
from .records import Record, records_of, values_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHAPE = (512, 4608)  # a 3x3 convolution of 512 channels, layer4's of ResNet-50
BLOCKS = (16, 32, 64)
PAPER = {"CSR": 5.0, "ELLPACK": 7.0}  # times CRISP's metadata (paper, section III-A)
CRISP, CRISP_PAPER = "CRISP", "CRISP, paper's formula"

_SHADES = {16: Look("#A9CBE8"), 32: Look("#4C92C9"), 64: Look("#00406B")}
_KIB = 8 * 1024
_COLUMNS = (1.14, 1.40, 1.70)  # right edges of the columns of numbers, in widths of the widest bar


def collect(
    shape: tuple[int, int] = SHAPE,
    nm: str = "2:4",
    sparsity: float = 0.9,
    blocks: tuple[int, ...] = BLOCKS,
    seed: int = 0,
) -> pd.DataFrame:
    """Metadata of every format, a row for each assumption and block.

    Parameters
    ----------
    shape : (int, int)
        S and K.
    nm : str
    sparsity : float
        Asked of the layer.
    blocks : tuple of int
    seed : int

    Returns
    -------
    DataFrame
        format, assumption, block, kept_blocks, metadata_bits, metadata_kib, stored_values, over_crisp (metadata over
        CRISP's at the same block), paper (what the paper says of over_crisp, or 0), and what was asked.

    Raises
    ------
    PatternError, FormatError, InputError
        Shape, pattern, sparsity or block are impossible, or CRISP's metadata is empty.
    """
    import pandas as pd

    n, m = parse_nm(nm)
    rows = []
    for block in blocks:
        pattern = Pattern(n=n, m=m, block=block)
        own = [*_footprints(shape, pattern, sparsity, seed)]
        crisp = next(row["metadata_bits"] for row in own if row["format"] == CRISP)
        if not crisp:
            raise InputError(f"{shape[0]} x {shape[1]}, {pattern}: it takes no metadata: nothing to compare with")
        for row in own:
            paper = PAPER.get(row["format"], 0.0)
            rows.append(row | {"over_crisp": row["metadata_bits"] / crisp, "paper": paper})
    asked = {"s": shape[0], "k": shape[1], "nm": nm, "sparsity": sparsity, "seed": seed}
    return pd.DataFrame(rows).assign(**asked)


def _footprints(shape: tuple[int, int], pattern: Pattern, sparsity: float, seed: int) -> Iterator[dict[str, Any]]:
    matrix = draw_weights(shape, pattern, sparsity, seed)
    assert isinstance(matrix, CrispMatrix) and pattern.block is not None
    dense = matrix.decode()
    S, K = shape
    kept = matrix.block_cols.shape[1]
    columns = min(K, kept * pattern.block)
    anywhere = draw_unstructured(shape, int(np.count_nonzero(dense)), seed)
    wide, narrow = index_width(K), index_width(columns)

    def row(name: str, assumption: str, bits: int, stored: int) -> dict[str, Any]:
        what = {"format": name, "assumption": assumption, "block": pattern.block, "kept_blocks": kept}
        return what | {"metadata_bits": bits, "metadata_kib": bits / _KIB, "stored_values": stored}

    csr, stored = CSR.encode(dense), int(np.count_nonzero(dense))
    for bits, why in ((narrow, "one of K' kept"), (wide, "one of K"), (16, "whole bytes")):
        yield row("CSR", f"{bits}-bit columns ({why}), row pointers", csr.footprint(bits).metadata_bits, stored)
    for mask, why in ((dense, "same mask: rows alike, no padding"), (anywhere, "unstructured mask, rows padded")):
        packed = ELLPACK.encode(mask)
        bits = packed.footprint(wide).metadata_bits
        yield row("ELLPACK", f"{wide}-bit columns; {why}", bits, packed.indices.size)
    yield row("Bitmap", "a bit for every weight", S * K, stored)
    two_level = Bitmap.encode(dense).footprint().metadata_bits
    yield row("Bitmap", "a bit per 32 x 16 tile, and per weight of occupied tiles", two_level, stored)
    if pattern.m > 1:
        alone = draw_weights(shape, Pattern(n=pattern.n, m=pattern.m), None, seed)
        why = f"{pattern.index_bits} bits a value; no blocks pruned, {float(1 - pattern.density):.0%} sparsity"
        yield row("N:M alone", why, alone.footprint().metadata_bits, alone.nonzeros())
    packed = BlockedELL.encode(dense, block=pattern.block)
    why = "ceil(log2(K/B)) bits a block; same blocks, zeros inside stored"
    yield row("Blocked-ELL", why, packed.footprint().metadata_bits, packed.values.size)
    why = f"{pattern.index_bits} bits a value, ceil(log2(K/B)) a block"
    yield row(CRISP, why, matrix.footprint().metadata_bits, stored)
    bits = paper_crisp_metadata(shape, pattern, kept).total_bits
    yield row(CRISP_PAPER, f"{pattern.m.bit_length() - 1} bits a value, floor(log2(K'/B)) a block", bits, stored)


def draw(table: pd.DataFrame, path: Path) -> None:
    """A bar for each format, assumption and block; marks where the paper gives a number."""
    save(_figure, table, path)


def lacks(table: pd.DataFrame) -> list[str]:
    """What a table must have to be drawn, and has not."""
    return [] if any(kib > 0 for kib in table["metadata_kib"]) else ["no format takes any metadata: nothing to draw"]


def says(table: pd.DataFrame) -> list[str]:
    """Formats beside CRISP at the largest block."""
    rows = records_of(table)
    block = max(values_of(rows, "block"))
    own = [row for row in rows if row["block"] == block]
    lines = []
    for name, paper in PAPER.items():
        ratios = [row["over_crisp"] for row in own if row["format"] == name]
        if ratios:
            lines.append(
                f"{name}: {min(ratios):.1f} to {max(ratios):.1f} times CRISP's metadata at B = {block}, as assumed "
                f"(paper: about {paper:g})"
            )
    for row in own:
        if row["format"] == CRISP:
            lines.append(f"CRISP: {row['metadata_kib']:.1f} KiB for {row['stored_values']:,} values at B = {block}")
    return lines


def _figure(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    rows = records_of(table)
    met: Counter[tuple[str, int]] = Counter()
    lines: dict[tuple[str, int], list[Record]] = {}
    for row in rows:  # the same assumption of the same format stands at the same place for every block
        key = row["format"], row["block"]
        lines.setdefault((row["format"], met[key]), []).append(row)
        met[key] += 1
    blocks = sorted(values_of(rows, "block"))
    shades, thick, widest = _shades(blocks), 0.84 / len(blocks), max(row["metadata_kib"] for row in rows)
    figure = Figure(figsize=(WIDTH, 1.1 + 0.125 * (len(blocks) + 0.6) * len(lines)), layout="constrained")
    axes = figure.subplots()
    beside = axes.get_yaxis_transform()
    for index, own in enumerate(lines.values()):
        for bar in own:
            place = index + thick * (blocks.index(bar["block"]) - (len(blocks) - 1) / 2)
            label = f"B = {bar['block']}"
            axes.barh(place, bar["metadata_kib"], 0.94 * thick, color=shades[bar["block"]].colour, label=label)
            stored = bar["stored_values"] / (bar["s"] * bar["k"])
            over = f"{bar['over_crisp']:.{2 if bar['over_crisp'] >= 0.1 else 3}f}×"
            for column, cell in zip(_COLUMNS, (f"{bar['metadata_kib']:.1f}", over, f"{stored:.1%}"), strict=True):
                axes.text(column * widest, place, cell, ha="right", va="center_baseline")
            if bar["paper"] > 0 and bar["over_crisp"] > 0:
                said = bar["paper"] * bar["metadata_kib"] / bar["over_crisp"]
                ends = [place - thick / 2, place + thick / 2]
                label = "paper: about 5× (CSR), 7× (ELLPACK)"
                axes.plot([said, said], ends, color="#D55E00", linewidth=2.4, solid_capstyle="butt", label=label)
        assumption = "\n".join(textwrap.wrap(_joined([bar["assumption"] for bar in own]), 40))
        lift = 0.2 if "\n" in assumption else 0.07
        axes.text(-0.015, index - lift, own[0]["format"], transform=beside, ha="right", va="bottom", fontweight="bold")
        axes.text(-0.015, index - lift, assumption, transform=beside, ha="right", va="top")
    for column, head in zip(_COLUMNS, ("KiB", "over CRISP's,\nsame blocks", "values stored,\nof S x K"), strict=True):
        axes.text(column * widest, -0.62, head, ha="right", va="bottom")
    axes.set_yticks([])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(0, _COLUMNS[-1] * widest)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= widest])
    axes.grid(axis="x")
    axes.set_xlabel("metadata of the layer (KiB)", loc="left")
    first = rows[0]
    asked = f"{first['nm']} in blocks of B, {100 * first['sparsity']:g}% sparsity asked"
    figure.suptitle(f"S x K = {first['s']} x {first['k']}, {asked}", fontsize=TITLE, fontweight="bold")
    handles, labels = axes.get_legend_handles_labels()
    there = dict(zip(labels, handles, strict=True))
    order = sorted(there, key=lambda label: (not label.startswith("B"), len(label), label))
    figure.legend([there[label] for label in order], order, loc="outside lower center", ncols=len(order))
    return figure


def _joined(texts: list[str]) -> str:
    """One assumption of several blocks; a word that differs stands there in all its forms.

    >>> _joined(["4-bit columns", "5-bit columns"])
    '4-bit/5-bit columns'
    """
    words = zip(*(text.split() for text in texts), strict=False)
    return " ".join("/".join(dict.fromkeys(forms)) for forms in words)


def _shades(blocks: list[int]) -> dict[int, Look]:
    shades = list(_SHADES.values())
    return {block: _SHADES.get(block, shades[index % len(shades)]) for index, block in enumerate(blocks)}


FIGURE = FigureKind(
    name="metadata",
    summary="bits of metadata of each format for a pruned layer (paper, figure 4)",
    text=("format", "assumption", "nm"),
    numbers=("block", "metadata_bits", "metadata_kib", "stored_values", "over_crisp", "paper", "s", "k", "sparsity"),
    positive=("block", "s", "k"),
    lacks=lacks,
    draw=draw,
    says=says,
)
