"""A report as one HTML file that loads nothing: styles, script and figures stand in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from importlib import resources

from .content import Block, Cell, Code, Column, Heading, Notes, Picture, Report, Section, Table, Text
from .pictures import inline

LONG = 48  # signs of a text that is broken into lines
# What HTML knows no sign for: control characters but tab and line feed, and halves of a pair of surrogates.
_CONTROLS = dict.fromkeys([*{*range(0x20)} - {0x09, 0x0A}, *range(0x7F, 0xA0), *range(0xD800, 0xE000)], "\ufffd")
# The browser itself is told to load nothing from anywhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def html_page(report: Report) -> str:
    """Set a report as an HTML document."""
    return "\n".join(_page(report)) + "\n"


def _text(text: str) -> str:
    """Text for a page; signs that no page may hold are shown as the one for those."""
    return escape(text.translate(_CONTROLS))


def _asset(name: str) -> str:
    return (resources.files(__package__ or "crispsim.bench.report") / name).read_text(encoding="utf-8").strip()


def _page(report: Report) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>{_text(report.title)}: crispsim report</title>"
    yield '<link rel="icon" href="data:,">'
    yield f"<style>\n{_asset('page.css')}\n{_group_rules(report)}</style>"
    yield "</head>"
    yield "<body>"
    yield "<header>"
    yield f"<h1>{_text(report.title)}</h1>"
    facts = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in report.facts)
    yield f'<dl class="facts">{facts}</dl>'
    links = "".join(f'<li><a href="#{_text(s.id)}">{_text(s.title)}</a></li>' for s in report.sections)
    yield f'<nav aria-label="Sections"><ul>{links}</ul></nav>'
    yield "</header>"
    yield "<main>"
    for section in report.sections:
        yield from _section(section)
    yield "</main>"
    yield f"<footer><p>{_text(report.made_by)}</p></footer>"
    yield f"<script>\n{_asset('page.js')}\n</script>"
    yield "</body>"
    yield "</html>"


def _section(section: Section) -> Iterator[str]:
    yield f'<section id="{_text(section.id)}" aria-labelledby="{_text(section.id)}-title">'
    yield f'<h2 id="{_text(section.id)}-title">{_text(section.title)}</h2>'
    for block in section.blocks:
        yield from _block(block)
    yield "</section>"


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Text):
        yield f"<p{_class(block.role)}>{_text(block.text)}</p>"
    elif isinstance(block, Notes):
        yield from _notes(block)
    elif isinstance(block, Code):
        code = f'<pre tabindex="0"><code>{_text(block.text.rstrip())}</code></pre>'
        if block.folded:
            yield f"<details><summary>{_text(block.title)}</summary>{code}</details>"
        else:
            yield code
    elif isinstance(block, Heading):
        yield f"<h3>{_text(block.text)}</h3>"
    elif isinstance(block, Picture):
        yield "<figure>"
        yield f'<div class="drawing" tabindex="0" role="group" aria-label="{_text(block.caption)}">'
        yield inline(block.draw(), block.id, block.description)
        yield "</div>"
        yield f"<figcaption>{_text(block.caption)}</figcaption>"
        yield "</figure>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _notes(notes: Notes) -> Iterator[str]:
    yield f"<ul{_class(' '.join(filter(None, ('notes', notes.role))))}>"
    for term, text in notes.items:
        head = f"<b>{_text(term)}:</b> " if term else ""
        yield f"<li>{head}{_text(text)}</li>"
    yield "</ul>"


def _group_rules(report: Report) -> str:
    """A rule for each group of columns that can be hidden: it says which columns those are."""
    rules = []
    for section in report.sections:
        for table in section.blocks:
            if isinstance(table, Table) and table.explore:
                for index, name in enumerate(table.groups):
                    own = [place for place, column in enumerate(table.columns, start=1) if column.group == name]
                    span = f":nth-child(n+{own[0]}):nth-child(-n+{own[-1]})"
                    rules.append(f"#{table.id}.hides-{index} tr>{span}{{display:none}}\n")
    return "".join(rules)


def _table(table: Table) -> Iterator[str]:
    name = _text(table.id)
    if table.explore:
        yield from _controls(table)
    tall = " tall" if table.explore else ""
    label = _text(table.id.replace("-", " "))
    described = f' aria-describedby="{name}-caption"' if table.caption else ""
    yield f'<div class="box{tall}" tabindex="0" role="group" aria-label="{label}">'
    yield f'<table id="{name}"{described}>'
    heads = "".join(_head(column, table.explore) for column in table.columns)
    yield f"<thead><tr>{heads}</tr></thead>"
    yield "<tbody>"
    for index, row in enumerate(table.rows):
        cells = zip(table.columns, row, strict=True)
        first = table.explore and (index == 0 or row[0] != table.rows[index - 1][0])
        start = '<tr class="first">' if first else "<tr>"
        yield start + "".join(_cell(table, index, at, *cell) for at, cell in enumerate(cells)) + "</tr>"
    yield "</tbody>"
    yield "</table>"
    yield "</div>"
    if table.caption:
        yield f'<p class="caption" id="{name}-caption">{_text(table.caption)}</p>'


def _head(column: Column, explore: bool) -> str:
    unit = f" <small>{_text(column.unit)}</small>" if column.unit else ""
    title = f' title="{_text(column.meaning)}"' if column.meaning else ""
    kind = _class("t" if column.is_text else "")
    if not explore:
        return f'<th scope="col"{kind}{title}>{_text(column.label)}{unit}</th>'
    button = f'<button type="button"{title}>{_text(column.label)}{unit}</button>'
    return f'<th scope="col"{kind} aria-sort="none">{button}</th>'


def _cell(table: Table, row: int, at: int, column: Column, value: Cell) -> str:
    shown = column.shown(value)
    kind = "t" if column.is_text else ""
    if len(shown) > LONG and not table.explore:
        kind += " long"
    if at < table.heads:
        return f'<th scope="row"{_class(kind)}>{_text(shown)}</th>'
    if (row, at) in table.best:
        return f'<td class="best"{_exact(table, shown, value)}>{_text(shown)}<span> (best)</span></td>'
    return f"<td{_class(kind)}{_exact(table, shown, value)}>{_text(shown)}</td>"


def _exact(table: Table, shown: str, value: Cell) -> str:
    """The value itself, where what is shown is rounded: to sort by, or to read where the pointer rests."""
    if isinstance(value, str | bool) or value is None or math.isnan(value) or shown.replace(",", "") == repr(value):
        return ""
    return f" data-v={value!r}" if table.explore else f' title="{value!r}"'


def _controls(table: Table) -> Iterator[str]:
    """What a reader can narrow the table by; the script shows it."""
    values = dict.fromkeys(str(row[table.narrow_by]) for row in table.rows)
    yield f'<form class="controls" data-table="{_text(table.id)}" data-narrow="{table.narrow_by}" hidden>'
    yield f'<label>Filter by {_text(table.columns[0].label)} <input type="search" name="words"></label>'
    yield f"<fieldset><legend>{_text(table.columns[table.narrow_by].label.capitalize())}</legend>"
    for value in values:
        yield _choice("value", value, value, checked=True)
    yield "</fieldset>"
    yield "<fieldset><legend>Columns</legend>"
    for index, group in enumerate(table.groups):
        yield _choice("group", str(index), group, checked=group in table.shown_groups)
    yield "</fieldset>"
    yield '<button type="reset">Reset</button>'
    yield '<output aria-live="polite"></output>'
    yield '<button type="button" name="more" hidden>Show all</button>'
    yield "</form>"


def _choice(name: str, value: str, label: str, *, checked: bool) -> str:
    state = " checked" if checked else ""
    return f'<label><input type="checkbox" name="{name}" value="{_text(value)}"{state}> {_text(label)}</label>'
