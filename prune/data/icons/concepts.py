"""Which drawings of `@iconify/json` show which of the 100 concepts, told from their names.

The rule, in full. An icon of a set belongs to a concept if its name is the concept's (`folder-open`), or the concept's
with digits glued on (`home2`), followed by nothing but style words and numbers, each after a hyphen (`home-2-fill`,
`bell-20-filled`). Style words are those of `STYLES`: how it is drawn (outline, bold, duotone, ...) and what it is drawn
in (circle, square, box). Names that begin with a style (`outline-home`) do not count, nor do aliases, which repeat
another icon's drawing; hidden icons do. Left out are brand and logo sets: those of the category "Logos" and those whose
name ends in `-brands`. Drawings are counted as different SVG bodies.

Against the counts of `iconset100_concepts.csv`, whose own rule is only outlined there, release 2.2.535 gives 19,365
drawings where the file says 19,402; 78 of the 100 concepts lie within 5%, the others within 40 drawings. Style words
and sets left out were chosen to come near these counts: the agreement is a fit, no confirmation. A built set's `about`
counts 19,359: without the 6 that render blank.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

STYLES = frozenset(
    {
        *("outline", "outlined", "line", "linear", "regular", "thin", "light", "broken"),
        *("fill", "filled", "solid", "bold", "duotone", "twotone", "two", "tone"),
        *("round", "rounded", "sharp", "circle", "square", "box"),
    }
)


def read_concepts() -> dict[str, int]:
    """The concepts, in the order of the file, and how many drawings it says there are of each."""
    text = files(__package__ or __name__).joinpath("iconset100_concepts.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["concept"]: int(row["drawings"]) for row in rows}


def concept_of(name: str, concepts: Mapping[str, object]) -> str | None:
    """The concept that an icon's name says it shows, or None.

    >>> [concept_of(name, {"folder": 0, "folder-open": 0}) for name in ("folder-open-2", "folder3-bold", "folder-add")]
    ['folder-open', 'folder', None]
    """
    words = name.split("-")
    while len(words) > 1 and (words[-1] in STYLES or _is_number(words[-1])):
        if "-".join(words) in concepts:  # a concept may itself end in a style word
            break
        words.pop()
    stem = "-".join(words)
    if stem not in concepts:
        stem = stem.rstrip("0123456789")
    return stem if stem in concepts else None


def is_brand_set(prefix: str, info: Mapping[str, Any]) -> bool:
    """Whether a set draws brands and logos; `info` is what the package says of the set."""
    return info.get("category") == "Logos" or prefix.endswith("-brands")


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()
