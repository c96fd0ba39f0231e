"""A page that people write and studies fill: each study's tables stand between markers, and are replaced there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click


def table(head: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Write a Markdown table; all columns but the first `left` are set to the right.

    >>> print(table(["layer", "cycles"], [["fc", 12]]))
    | layer | cycles |
    | --- | ---: |
    | fc | 12 |
    """
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in (head, rule, *rows))


def section(text: str, name: str) -> str:
    """What stands between a page's markers of this name.

    >>> section("a <!-- t -->\\nb\\n<!-- /t --> c", "t")
    'b'
    """
    begin, end = _markers(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"marker {name!r}: must open and close once")
    return text.partition(begin)[2].partition(end)[0].strip("\n")


def fill(page: Path, name: str, body: str) -> None:
    """Replace what stands between a page's markers of this name."""
    text = page.read_text(encoding="utf-8")
    section(text, name)
    begin, end = _markers(name)
    before, after = text.partition(begin)[0], text.partition(end)[2]
    page.write_text(f"{before}{begin}\n{body}\n{end}{after}", encoding="utf-8")


def publish(tables: Mapping[str, str], page: Path | None) -> None:
    """Print a study's tables, and put them between the markers of their names if there is a page."""
    for name, text in tables.items():
        click.echo(f"{text}\n")
        if page:
            fill(page, name, text)


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- /{name} -->"
