"""Which icon sets go into training, validation and test: whole families of sets, never one drawing style on two sides.

Families, so that no fork of a training set is tested on. Sets are of one family if

1. the first words of their names agree, digits aside (`fa`, `fa6-solid`, `fa7-regular`; `mdi`, `mdi-light`);
2. they stand together in `RELATED`: sets known to descend from each other, and pairs of release 2.2.535 of which one
   has a near twin in the other for 15% of its drawings and for 10 at least. (Near twin: of the same concept, and their
   difference has less than 0.2 of the length of the fainter of them, as vectors of ink.)
3. they share identical renderings: 15% of the smaller set's, and 10 at least. This finds forks of later releases.

The split, without random numbers: families in descending size, each to the part where it brings the counts of all
concepts nearest to 70:10:20; then single families move while that brings them nearer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import PruneError

RELATED = (
    ("material", "mdi", "ic", "zmdi", "line"),  # Google's Material icons, by rule 1 with material-symbols, line-md
    ("bx", "bxs", "bxl", "boxicons"),
    ("uil", "uim", "uis", "uit"),  # Unicons
    ("feather", "lucide", "meteor", "keyline"),
    ("ion", "famicons"),
    ("mi", "mono"),
    ("solar", "reicon"),
    ("icons8", "la"),  # Line Awesome is of Icons8
    ("codicon", "fluent"),  # Microsoft
    ("heroicons", "tabler"),
    ("maki", "temaki", "pinhead"),  # map markers
)
"""First words of the names of sets that descend from each other."""

SHARED_RATIO = 0.15
SHARED_LEAST = 10

PARTS = ("train", "validation", "test")
TENTHS = (7, 1, 2)
LEAST_PER_CONCEPT = (20, 3, 5)
"""Fewest drawings of a concept in each part."""


def families(drawings: Mapping[str, frozenset[bytes]]) -> dict[str, str]:
    """Family of each set, named after its first set in alphabetical order.

    Parameters
    ----------
    drawings : mapping
        Set to its renderings, as bytes.
    """
    names = sorted(drawings)
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    def join(one: str, other: str) -> None:
        first, second = sorted((root(one), root(other)))
        parent[second] = first

    related = {word: group[0] for group in RELATED for word in group}
    by_word: dict[str, str] = {}
    for name in names:
        word = name.split("-")[0]
        word = related.get(word, word.rstrip("0123456789") or word)
        join(name, by_word.setdefault(related.get(word, word), name))

    holders: defaultdict[bytes, list[str]] = defaultdict(list)
    for name in names:
        for drawing in drawings[name]:
            holders[drawing].append(name)
    shared = Counter((one, other) for held in holders.values() for i, one in enumerate(held) for other in held[i + 1 :])
    for (one, other), count in sorted(shared.items()):
        smaller = min(len(drawings[one]), len(drawings[other]))
        if count >= SHARED_LEAST and count >= SHARED_RATIO * smaller:
            join(one, other)
    return {name: root(name) for name in names}


def split_families(counts: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The part of each family.

    Parameters
    ----------
    counts : ndarray, int64, shape (families, concepts)
        Drawings.
    names : sequence of str
        Of the families, all different; they decide between equal sizes.

    Returns
    -------
    ndarray, int64, shape (families,)
        0 train, 1 validation, 2 test.
    """
    total = counts.sum(0)
    tenths = np.array(TENTHS)[:, None]
    # Squared distance from the aim, relative to the aim: (10 n - t N)^2 / t, times 14 to stay in whole numbers.
    weight = np.array([14 // t for t in TENTHS])[:, None]

    def cost(held: np.ndarray) -> int:
        return int((weight * (10 * held - tenths * total) ** 2).sum())

    def best(held: np.ndarray, family: int) -> int:
        """The part where it costs least, the first of equals."""
        costs = []
        for part in range(3):
            held[part] += counts[family]
            costs.append(cost(held))
            held[part] -= counts[family]
        return costs.index(min(costs))

    order = sorted(range(len(names)), key=lambda family: (-int(counts[family].sum()), names[family]))
    parts = np.zeros(len(names), np.int64)
    held = np.zeros((3, counts.shape[1]), np.int64)
    for family in order:
        parts[family] = best(held, family)
        held[parts[family]] += counts[family]
    moved = True
    while moved:  # the cost falls with every move, so this ends
        moved = False
        for family in order:
            before = cost(held)
            held[parts[family]] -= counts[family]
            part = best(held, family)
            held[part] += counts[family]
            if cost(held) < before:
                parts[family] = part
                moved = True
            else:
                held[part] -= counts[family]
                held[parts[family]] += counts[family]
    return parts


def check_every_concept(counts: np.ndarray, parts: np.ndarray, concepts: Sequence[str], least: Sequence[int]) -> None:
    """Refuse a split that leaves a concept with too few drawings in a part.

    Raises
    ------
    PruneError
    """
    for part, name in enumerate(PARTS):
        held = counts[parts == part].sum(0)
        for concept, count in zip(concepts, held.tolist(), strict=True):
            if count < least[part]:
                raise PruneError(
                    f"icons: concept {concept} has {count} drawings in split {name}, must be at least {least[part]}: "
                    "the package holds too few icon sets"
                )
