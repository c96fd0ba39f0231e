"""A report as Markdown (GitHub's): the same text and tables; figures stand in the HTML page only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .content import Block, Code, Heading, Notes, Picture, Report, Table, Text

_SIGNS = re.compile(r"([\\`*_{}\[\]<>|#~!$&])")
_RUN_OF_TICKS = re.compile(r"`+")


def markdown_page(report: Report) -> str:
    """Set a report as Markdown."""
    return "\n".join(_page(report)).rstrip() + "\n"


def _page(report: Report) -> Iterator[str]:
    yield f"# {_plain(report.title)}"
    yield ""
    yield "; ".join(f"{_plain(name)}: {_plain(value)}" for name, value in report.facts)
    yield ""
    for section in report.sections:
        yield f"## {_plain(section.title)}"
        yield ""
        for block in section.blocks:
            yield from _block(block)
            yield ""
    yield _plain(report.made_by)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Text):
        yield _plain(block.text)
    elif isinstance(block, Notes):
        for term, text in block.items:
            yield f"- **{_plain(term)}:** {_plain(text)}" if term else f"- {_plain(text)}"
    elif isinstance(block, Code):
        if block.title:
            yield _plain(block.title) + ":"
            yield ""
        longest = max((len(run) for run in _RUN_OF_TICKS.findall(block.text)), default=0)
        fence = "`" * max(3, longest + 1)
        yield fence
        yield block.text.rstrip()
        yield fence
    elif isinstance(block, Heading):
        yield f"### {_plain(block.text)}"
    elif isinstance(block, Picture):
        yield f"Only in the web page: {_plain(block.caption)}"


def _table(table: Table) -> Iterator[str]:
    """A table; of one that readers can explore, the columns that are shown at first."""
    kept = [
        place
        for place, column in enumerate(table.columns)
        if not table.explore or column.group in ("", *table.shown_groups)
    ]
    columns = [table.columns[place] for place in kept]
    yield _row(f"{column.label}, {column.unit}" if column.unit else column.label for column in columns)
    yield "|" + "|".join("---" if column.is_text else "---:" for column in columns) + "|"
    for index, row in enumerate(table.rows):
        yield _row(
            (table.columns[place].shown(row[place]) for place in kept),
            {at for at, place in enumerate(kept) if (index, place) in table.best},
        )
    if table.caption:
        yield ""
        yield _plain(table.caption)


def _row(cells: Iterable[str], strong: Iterable[int] = ()) -> str:
    strong = set(strong)
    texts = (_plain(cell) for cell in cells)
    return "| " + " | ".join(f"**{text}**" if at in strong else text for at, text in enumerate(texts)) + " |"


def _plain(text: str) -> str:
    """Text on one line, with no sign in it that Markdown or HTML takes for its own."""
    return _SIGNS.sub(r"\\\1", " ".join(text.split()))
