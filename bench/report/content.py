"""What a report says, apart from how it is set: sections of text, tables and figures for `html` and `markdown`.

A kind of folder becomes a report in a module of its own (`run_content` for a run's).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Cell: TypeAlias = str | int | float | bool | None
"""A value as it is computed with; None is an empty cell."""

Form: TypeAlias = Literal["text", "count", "percent", "fixed", "significant", "exact", "any"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    form : "text"; "count", an integer with its thousands apart; "percent", a share of 1; "fixed", two digits after the
    point; "significant", four digits; "exact", all digits; "any", by the value's type. meaning : shown with the
    heading. group : of columns that are shown and hidden together ("" is always shown).
    """

    label: str
    unit: str = ""
    form: Form = "any"
    meaning: str = ""
    group: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it is set to the left and sorted as text."""
        return self.form == "text"

    def shown(self, value: Cell) -> str:
        """A value as a reader sees it.

        >>> Column(label="cycles", form="count").shown(16014951)
        '16,014,951'
        >>> Column(label="utilization", unit="%", form="percent").shown(0.9842138)
        '98.4'
        """
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str) or self.form == "text":
            return str(value)
        if self.form == "percent":
            return f"{100 * value:,.1f}"
        if self.form == "fixed":
            return f"{value:,.2f}"
        if self.form == "exact":
            return f"{value:,.15g}" if isinstance(value, float) else f"{value:,}"
        if isinstance(value, int) or (self.form == "count" and value.is_integer()):
            return f"{int(value):,}"
        return significant(value)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells below columns; the first `heads` columns name the row.

    best : places (row, column) that are marked. explore : whether readers can sort, filter and hide. narrow_by : with
    that, the column whose values can be switched off one by one. shown_groups : groups of columns that are shown at
    first.
    """

    id: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    heads: int = 1
    best: frozenset[tuple[int, int]] = frozenset()
    explore: bool = False
    narrow_by: int = 1
    shown_groups: Sequence[str] = ()

    @property
    def groups(self) -> list[str]:
        """Names of the groups of columns, in order."""
        return [name for name in dict.fromkeys(column.group for column in self.columns) if name]


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph. role : "lead" stands out, "warning" more so."""

    text: str
    role: Literal["", "lead", "warning"] = ""


@dataclass(frozen=True, kw_only=True)
class Notes:
    """Points with a term each. role : as of a text."""

    items: Sequence[tuple[str, str]]
    role: Literal["", "warning"] = ""


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text as it is typed or stands in a file. folded : opened by the reader."""

    text: str
    title: str = ""
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure. draw : makes the text of an SVG file, when a page is set. description : for those who cannot see it."""

    id: str
    draw: Callable[[], str]
    caption: str
    description: str


Block: TypeAlias = Table | Text | Notes | Code | Heading | Picture


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report with a heading."""

    id: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report. facts : settings that stand below the title, as (name, value). notices : what it lacks."""

    title: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    made_by: str
    notices: Sequence[str] = ()


def significant(value: float, digits: int = 4) -> str:
    """A number with so many digits, but all of those before the point.

    >>> significant(2643.198), significant(0.01234567), significant(123456.7)
    ('2,643', '0.01235', '123,457')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = math.floor(math.log10(abs(value)))
    if not -5 <= size < 15:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - size)}f}"


def listed(words: Sequence[str]) -> str:
    """Words in a sentence.

    >>> listed(["dense", "stc", "dstc"])
    'dense, stc and dstc'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
