"""The columns of a layer table: what each may be called, which fields it sets, how its values are read.

Two kinds of table, told apart by their header: SCALE-Sim's convolutions and its GEMMs `M, N, K`. Columns
that set the same fields (`Strides` and `Stride Height`; `NM` and SCALE-Sim v3's `Sparsity`) may stand side
by side as long as they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..formats.pattern import parse_nm
from .errors import InputError

Kind = Literal["conv", "gemm"]
KINDS: tuple[Kind, ...] = ("conv", "gemm")


@dataclass(frozen=True)
class Column:
    """A column that we know.

    Parameters
    ----------
    title : str
        As we write it; matched in any case.
    fields : tuple of str
        Fields of `Layer` that it sets, all to the same value.
    parse : callable
        From the text of a field to the value; raises ValueError whose message ends in `: rule`.
    aliases : tuple of str
        Other titles, in lower case.
    kind : {"conv", "gemm"}, optional
        Kind of table that has the column; both if None.
    required : bool
        Whether such a table needs it, or others that set the same fields.
    """

    title: str
    fields: tuple[str, ...]
    parse: Callable[[str], object]
    aliases: tuple[str, ...] = ()
    kind: Kind | None = None
    required: bool = False


@dataclass(frozen=True)
class Place:
    """A column of one file: where it stands, from 0, and its title there."""

    column: Column
    index: int
    title: str


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A header that we understand: the kind of its table, its columns, and what its user should know."""

    kind: Kind
    places: tuple[Place, ...]
    notes: tuple[str, ...]


def understand(titles: tuple[str, ...], *, where: str) -> Heading:
    """Recognise the columns and, by them, the kind of a table.

    Parameters
    ----------
    titles : tuple of str
        The fields of the header.
    where : str
        File and line, for messages.

    Raises
    ------
    InputError
        Neither kind of table, a required column is missing, or a column stands twice.

    Notes
    -----
    Some of SCALE-Sim's own files (DeepBench, DeepSpeech2) call the height `IFMAP Width` too: of two such
    columns without an `IFMAP Height` the first is the height.
    """
    plain = [_plain(title) for title in titles]
    notes = []
    if plain.count("ifmap width") == 2 and "ifmap height" not in plain:
        plain[plain.index("ifmap width")] = "ifmap height"
        notes.append("the first of two columns 'IFMAP Width' is read as IFMAP Height")
    for kind in KINDS:
        places = _places(plain, titles, kind)
        if not _missing(places, kind):
            _refuse_twins(places, where)
            known = {place.index for place in places}
            others = [title for index, title in enumerate(titles) if title and index not in known]
            if others:
                notes.append(f"columns not read: {', '.join(others)}")
            return Heading(kind=kind, places=places, notes=tuple(notes))
    raise InputError(f"{where}: {_complaint(plain, titles)}")


def required(kind: Kind) -> list[Column]:
    """List the columns that every table of a kind has, itself or as others that set the same fields."""
    return [column for column in COLUMNS if column.required and column.kind in (None, kind)]


def _integer(text: str) -> int:
    """Read a whole number of at most 18 digits."""
    digits = text[1:] if text[:1] in "+-" else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise ValueError(f"{text}: must be an integer of at most 18 digits")
    return int(text)


def _number(text: str) -> float:
    try:
        if not text.isascii() or "_" in text:  # Python reads more than a table should hold
            raise ValueError
        return float(text)
    except ValueError:
        raise ValueError(f"{text}: must be a number") from None


def _block(text: str) -> int | str:
    return "none" if text.lower() == "none" else _integer(text)


COLUMNS = (
    Column("Layer name", ("name",), str, ("layer", "l"), required=True),
    Column("IFMAP Height", ("in_height",), _integer, kind="conv", required=True),
    Column("IFMAP Width", ("in_width",), _integer, kind="conv", required=True),
    Column("Filter Height", ("kernel_h",), _integer, kind="conv", required=True),
    Column("Filter Width", ("kernel_w",), _integer, kind="conv", required=True),
    Column("Channels", ("in_channels",), _integer, kind="conv", required=True),
    Column("Num Filter", ("out_channels",), _integer, ("num filters",), kind="conv", required=True),
    Column("Strides", ("stride_h", "stride_w"), _integer, ("stride",), kind="conv", required=True),
    Column("Stride Height", ("stride_h",), _integer, kind="conv"),
    Column("Stride Width", ("stride_w",), _integer, kind="conv"),
    Column("M", ("in_height",), _integer, kind="gemm", required=True),
    Column("N", ("out_channels",), _integer, kind="gemm", required=True),
    Column("K", ("in_channels",), _integer, kind="gemm", required=True),
    Column("Padding", ("pad_h", "pad_w"), _integer),
    Column("Padding Height", ("pad_h",), _integer),
    Column("Padding Width", ("pad_w",), _integer),
    Column("Dilation", ("dilation_h", "dilation_w"), _integer),
    Column("Dilation Height", ("dilation_h",), _integer),
    Column("Dilation Width", ("dilation_w",), _integer),
    Column("Groups", ("groups",), _integer),
    Column("Batch", ("batch",), _integer, ("batch size",)),
    Column("Calls", ("calls",), _integer),
    Column("NM", ("nm",), parse_nm),
    Column("Sparsity", ("nm",), parse_nm),
    Column("Block", ("block",), _block),
    Column("Weight Sparsity", ("weight_sparsity",), _number),
    Column("Activation Sparsity", ("activation_sparsity",), _number),
    Column("Tensor", ("tensor",), str),
    Column("Residual", ("residual",), str),
    Column("Kind", ("kind",), str.lower, kind="conv"),
)


def _plain(title: str) -> str:
    return " ".join(title.lower().split())


def _places(plain: Sequence[str], titles: Sequence[str], kind: Kind) -> tuple[Place, ...]:
    known = {
        name: column
        for column in COLUMNS
        if column.kind in (None, kind)
        for name in (column.title.lower(), *column.aliases)
    }
    return tuple(Place(known[name], index, titles[index]) for index, name in enumerate(plain) if name in known)


def _missing(places: tuple[Place, ...], kind: Kind) -> list[Column]:
    covered = {name for place in places for name in place.column.fields}
    return [column for column in required(kind) if not covered.issuperset(column.fields)]


def _refuse_twins(places: tuple[Place, ...], where: str) -> None:
    seen: dict[str, str] = {}
    for place in places:
        if place.column.title in seen:
            first = seen[place.column.title]
            raise InputError(f"{where}: columns {first!r} and {place.title!r} mean the same: one must go")
        seen[place.column.title] = place.title


def _complaint(plain: Sequence[str], titles: Sequence[str]) -> str:
    present = ", ".join(title for title in titles if title)
    found = {kind: [place for place in _places(plain, titles, kind) if place.column.kind] for kind in KINDS}
    kind = max(KINDS, key=lambda kind: len(found[kind]))
    if not found[kind]:
        either = " or ".join(", ".join(column.title for column in required(kind)) for kind in KINDS)
        return f"header {present!r}: must name the columns {either}"
    missing = _missing(_places(plain, titles, kind), kind)
    names = ", ".join(repr(column.title) for column in missing)
    return f"missing column {names}: every {kind} table has it; present are {present}"
