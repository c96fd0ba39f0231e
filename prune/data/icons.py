"""IconSet-100: 100 visual concepts as drawn by many icon sets, 32x32 grayscale, built from the npm package on the spot.

The package `@iconify/json` holds SVG icon sets under open licences. Nothing of it is shipped: the user fetches it with
`npm pack`, and the set is rendered once and kept in the user's cache folder. Names tell the concept
(`icons_concepts.py`), `icons_rendering.py` draws, `icons_split.py` splits by families of sets. Of identical renderings
one is kept, over the whole data set, so none is in two splits; a rendering that stands for two concepts is left out.

It is easier than CIFAR-100: clean drawings, centred, one object each. Say so beside every figure.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import PruneError
from .augmentation import RandomAffine
from .dataset import Splits, TensorImages
from .icons_concepts import concept_of, is_brand_set, read_concepts
from .icons_package import count_sets, icon_sets, package_version
from .icons_rendering import SIDE, is_blank, render, svg_of
from .icons_split import LEAST_PER_CONCEPT, PARTS, check_every_concept, families, split_families

BUILDER_VERSION = 1
"""Changes with anything that changes the arrays."""
KNOWN_PACKAGE = "2.2.535"
"""The release that the documentation's figures are of."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class IconSet:
    """What the built file holds.

    Parameters
    ----------
    images : ndarray, uint8, shape (n, 32, 32)
        Ink: 0 paper, 255 black. In the order of set prefixes and names.
    labels : ndarray, uint8, shape (n,)
        Index into `concepts`.
    split : ndarray, uint8, shape (n,)
        0 train, 1 validation, 2 test.
    sets : ndarray, int64, shape (n,)
        Index into `about["sets"]`.
    about : dict
        concepts, sets, families (set to family), versions, what was left out and why, sha256 of images, labels, split.
    """

    images: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    sets: np.ndarray
    about: dict[str, Any]


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
        "resvg_py": _resvg_version(),
        "concepts": list(concepts),
        "sets": sets,
        "families": {name: family[name] for name in sets},
        "drawings": len(bodies),
        "left_out": left_out,
        "sha256": _sha256(images, labels, split),
    }
    where = {prefix: index for index, prefix in enumerate(sets)}
    return IconSet(
        images=images,
        labels=labels,
        split=split,
        sets=np.array([where[prefix] for prefix, *_ in kept], np.int64),
        about=about,
    )


_USUAL_SETS = 243  # of release 2.2.535; an archive does not say how many it holds


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


def _sha256(images: np.ndarray, labels: np.ndarray, split: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in (images, labels, split):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _resvg_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("resvg-py")
    except PackageNotFoundError:
        return "unknown"


def cache_folder() -> Path:
    """Where built sets are kept: the user's cache folder of crispsim."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("crispsim"))


def write_icons(icons: IconSet, path: Path) -> None:
    """Write a built set; the file appears whole or not at all.

    Raises
    ------
    PruneError
        The folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".icons-", suffix=".npz", delete=False) as stream:
            temporary = Path(stream.name)
            np.savez_compressed(
                stream,
                images=icons.images,
                labels=icons.labels,
                split=icons.split,
                sets=icons.sets,
                about=np.array(json.dumps(icons.about, sort_keys=True)),
            )
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        raise PruneError(f"icons {path}: cannot write: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def read_icons(path: Path) -> IconSet:
    """Read a built set and check it.

    Raises
    ------
    PruneError
        The file cannot be read, is damaged, or is of another builder.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            icons = IconSet(
                images=stored["images"],
                labels=stored["labels"],
                split=stored["split"],
                sets=stored["sets"],
                about=about,
            )
            whole = about["sha256"] == _sha256(icons.images, icons.labels, icons.split)
            builder = about["builder"]
            count = len(icons.images)
            if icons.images.shape != (count, SIDE, SIDE) or any(
                array.shape != (count,) for array in (icons.labels, icons.split, icons.sets)
            ):
                raise ValueError("its arrays do not fit together")
    except OSError as error:
        raise PruneError(f"icons {path}: cannot read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise PruneError(f"icons {path}: not a built icon set: {error}") from error
    if builder != BUILDER_VERSION:
        raise PruneError(f"icons {path}: made by builder {builder}, must be {BUILDER_VERSION}; build it again")
    if not whole:
        raise PruneError(f"icons {path}: damaged, its SHA-256 differs; delete it and build it again")
    return icons


def load_icons(path: str | None = None, progress: Progress | None = None) -> Splits:
    """IconSet-100 from the package, a built file, or the cache.

    Parameters
    ----------
    path : str, optional
        The npm package (.tgz or folder), built if it is not in the cache yet; or a built .npz. None: the newest in the
        cache.
    progress : callable, optional
        As in `build_icons`.

    Raises
    ------
    PruneError
        Nothing is built and no package is given, or it cannot be read.
    """
    if path is None:
        cached = sorted(
            cache_folder().glob(f"icons-*-{BUILDER_VERSION}.npz"), key=lambda file: (file.stat().st_mtime_ns, file.name)
        )
        if not cached:
            raise PruneError(
                f"data icons: not built yet; run `npm pack @iconify/json@{KNOWN_PACKAGE}` and `pip install resvg-py`, "
                f"then give --data icons:iconify-json-{KNOWN_PACKAGE}.tgz once"
            )
        return to_splits(read_icons(cached[-1]))
    source = Path(path)
    if source.suffix == ".npz":
        return to_splits(read_icons(source))
    built = cache_folder() / f"icons-{package_version(source)}-{BUILDER_VERSION}.npz"
    if not built.exists():
        write_icons(build_icons(source, progress=progress), built)
    return to_splits(read_icons(built))


def to_splits(icons: IconSet) -> Splits:
    """The built set as tensors; pixels are normalised by the training images' mean and deviation."""
    images = torch.from_numpy(icons.images)[:, None]
    labels = torch.from_numpy(icons.labels.astype(np.int64))
    split = torch.from_numpy(icons.split)
    known = images[split == 0].to(torch.float64)
    mean, std = [float(known.mean())], [float(known.std())]
    # No mirroring: some concepts have a direction.
    augmentation = RandomAffine(shift=3, turn=10, zoom=0.1)
    train, validation, test = (
        TensorImages(images[split == part], labels[split == part], mean=mean, std=std, augmentation=augmentation)
        for part in range(len(PARTS))
    )
    about = icons.about
    return Splits(
        name="icons",
        class_names=tuple(about["concepts"]),
        input_shape=(1, SIDE, SIDE),
        train=train,
        validation=validation,
        test=test,
        note=(
            f"IconSet-{len(about['concepts'])} from @iconify/json {about['package']}, split by icon set, easier than "
            f"CIFAR-100; SHA-256 {about['sha256']}"
        ),
    )
