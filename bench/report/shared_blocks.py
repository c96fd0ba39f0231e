"""What the reports of runs and of pruned networks say alike: figures, and layers that were not pruned as asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .content import Block, Code, Picture, Text

INSTALL = "pip install 'crispsim[plot]'"
MOST_NAMED = 24  # layers of one kind in the text


def figure_blocks(pictures: Sequence[Picture] | None) -> list[Block]:
    """The figures, or how they could be had; None: matplotlib to draw them is not installed."""
    if pictures is None:
        return [
            Text(text="There are no figures: matplotlib is not installed. Install it, and make the report again:"),
            Code(text=INSTALL),
        ]
    return list(pictures)


def figure_notices(pictures: Sequence[Picture] | None) -> list[str]:
    """What a report without figures lacks."""
    return [] if pictures is not None else [f"no figures: matplotlib is not installed: {INSTALL}"]


def exempt_notes(dense_by_rule: Mapping[str, str], without_blocks: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Layers that were not pruned as asked, by reason."""
    for head, layers in (("Dense by rule", dense_by_rule), ("N:M without blocks", without_blocks)):
        if layers:
            yield head, by_reason(layers)


def by_reason(notes: Mapping[str, str]) -> str:
    """Layers by what is said of them."""
    reasons: dict[str, list[str]] = {}
    for layer, reason in notes.items():
        reasons.setdefault(reason, []).append(layer)
    return "; ".join(f"{reason}: {named(layers)}" for reason, layers in reasons.items()) + "."


def named(layers: Sequence[str]) -> str:
    """Names of layers; of many the first ones."""
    if len(layers) <= MOST_NAMED:
        return ", ".join(layers)
    return f"{', '.join(layers[:MOST_NAMED])} and {len(layers) - MOST_NAMED} more (column note of the layers)"
