"""Building IconSet-100 from the npm package: find the concepts' drawings, render them, split them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .built_file import BUILDER_VERSION, IconSet, sha256_of
from .concepts import concept_of, is_brand_set, read_concepts
from .package import count_sets, icon_sets, package_version
from .rendering import SIDE, is_blank, render, svg_of
from .split import LEAST_PER_CONCEPT, check_every_concept, families, split_families

Progress = Callable[[str, int, int], None]

UNKNOWN = "unknown"

_USUAL_SETS = 243  # of release 2.2.535; an archive does not say how many it holds


def build_icons(
    package: Path,
    *,
    concepts: Sequence[str] | None = None,
    least: Sequence[int] = LEAST_PER_CONCEPT,
    progress: Progress | None = None,
) -> IconSet:
    """Render the concepts' drawings from the npm package and split them.

    Parameters
    ----------
    package : path
        The .tgz of `npm pack @iconify/json`, or the package's folder.
    concepts : sequence of str, optional
        Those of `iconset100_concepts.csv` if None.
    least : sequence of 3 int
        Fewest drawings of a concept in train, validation and test.
    progress : callable, optional
        Called with a word, sets done, and sets in all.

    Raises
    ------
    PruneError
        The package cannot be read, a needed library is missing, or a concept has too few drawings.
    """
    package = Path(package)
    version = package_version(package)
    concepts = tuple(concepts) if concepts is not None else tuple(read_concepts())
    numbers = {concept: number for number, concept in enumerate(concepts)}
    left_out = {"unreadable": 0, "blank": 0, "repeated": 0, "ambiguous": 0}
    drawn: list[tuple[str, str, int, bytes]] = []  # set, icon, concept, rendering
    bodies: set[tuple[int, str]] = set()
    total = count_sets(package)
    for done, (prefix, content) in enumerate(icon_sets(package), start=1):
        if progress is not None:
            progress("rendering icons", done, total or max(done, _USUAL_SETS))
        if is_brand_set(prefix, content.get("info") or {}):
            continue
        for name, icon in content["icons"].items():
            concept = concept_of(name, numbers)
            if concept is None:
                continue
            try:
                ink = render(svg_of(icon, content))
            except (KeyError, TypeError, ValueError, AttributeError):  # an entry that is no icon
                ink = None
            if ink is None or is_blank(ink):
                left_out["unreadable" if ink is None else "blank"] += 1
                continue
            bodies.add((numbers[concept], icon["body"]))
            drawn.append((prefix, name, numbers[concept], ink.tobytes()))
    drawn.sort()
    family = families(_by_set(drawn))
    kept = _distinct(drawn, left_out)

    names = sorted(set(family.values()))
    position = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(concepts)), np.int64)
    for prefix, _, concept, _ in kept:
        counts[position[family[prefix]], concept] += 1
    parts = split_families(counts, names)
    check_every_concept(counts, parts, concepts, least)

    sets = sorted({prefix for prefix, *_ in kept})
    images = np.frombuffer(b"".join(ink for *_, ink in kept), np.uint8).reshape(-1, SIDE, SIDE).copy()
    labels = np.array([concept for _, _, concept, _ in kept], np.uint8)
    split = np.array([parts[position[family[prefix]]] for prefix, *_ in kept], np.uint8)
    about = {
        "package": version,
        "builder": BUILDER_VERSION,
        "resvg_py": resvg_version(),
        "concepts": list(concepts),
        "sets": sets,
        "families": {name: family[name] for name in sets},
        "drawings": len(bodies),
        "left_out": left_out,
        "sha256": sha256_of(images, labels, split),
    }
    where = {prefix: index for index, prefix in enumerate(sets)}
    return IconSet(
        images=images,
        labels=labels,
        split=split,
        sets=np.array([where[prefix] for prefix, *_ in kept], np.int64),
        about=about,
    )


def _by_set(drawn: Sequence[tuple[str, str, int, bytes]]) -> dict[str, frozenset[bytes]]:
    grouped: defaultdict[str, set[bytes]] = defaultdict(set)
    for prefix, _, _, ink in drawn:
        grouped[prefix].add(ink)
    return {prefix: frozenset(renderings) for prefix, renderings in grouped.items()}


def _distinct(
    drawn: Sequence[tuple[str, str, int, bytes]], left_out: dict[str, int]
) -> list[tuple[str, str, int, bytes]]:
    """The first of each rendering, none of those drawn for two concepts; `left_out` is counted up in place."""
    meanings: defaultdict[bytes, set[int]] = defaultdict(set)
    for _, _, concept, ink in drawn:
        meanings[ink].add(concept)
    seen: set[bytes] = set()
    kept = []
    for entry in drawn:
        ink = entry[3]
        if len(meanings[ink]) > 1:
            left_out["ambiguous"] += 1
        elif ink in seen:
            left_out["repeated"] += 1
        else:
            seen.add(ink)
            kept.append(entry)
    return kept


def resvg_version() -> str:
    """Of the resvg-py that would render; UNKNOWN where there is none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("resvg-py")
    except PackageNotFoundError:
        return UNKNOWN
