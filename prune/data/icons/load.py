"""IconSet-100 as a data set: from the package, a built file, or the user's cache of built files."""

from __future__ import annotations

import glob
from pathlib import Path

import numpy as np
import torch

from ...errors import PruneError
from ..augmentation import RandomAffine
from ..dataset import Splits, TensorImages
from .build import UNKNOWN, Progress, build_icons, resvg_version
from .built_file import BUILDER_VERSION, IconSet, read_icons, write_icons
from .package import package_version
from .rendering import SIDE
from .split import PARTS

KNOWN_PACKAGE = "2.2.535"
"""The release that the documentation's figures are of."""


def load_icons(path: str | None = None, progress: Progress | None = None) -> Splits:
    """IconSet-100 from the package, a built file, or the cache.

    Parameters
    ----------
    path : str, optional
        The npm package (.tgz or folder), built if the cache has nothing that this package and the resvg-py installed
        gave (of this package, where none is installed); or a built .npz. None: the newest in the cache.
    progress : callable, optional
        As in `build_icons`.

    Raises
    ------
    PruneError
        Nothing is built and no package is given, or it cannot be read.
    """
    if path is None:
        cached = _cached("icons-*")
        if not cached:
            raise PruneError(
                f"data icons: not built yet; run `npm pack @iconify/json@{KNOWN_PACKAGE}` and `pip install resvg-py`, "
                f"then give --data icons:iconify-json-{KNOWN_PACKAGE}.tgz once"
            )
        return to_splits(read_icons(cached[-1]))
    source = Path(path)
    if source.suffix == ".npz":
        return to_splits(read_icons(source))
    package, resvg = package_version(source), resvg_version()
    name = f"icons-{package}-resvg{resvg}"
    cached = _cached(glob.escape(name))
    if not cached:
        # Before the renderer's version was in the name, the file alone said it.
        older = _cached(glob.escape(f"icons-{package}"))
        cached = [file for file in older if read_icons(file).about.get("resvg_py") == resvg]
        if not cached and resvg == UNKNOWN:
            cached = older or _cached(glob.escape(f"icons-{package}-resvg") + "*")
    if not cached:
        cached = [cache_folder() / f"{name}-{BUILDER_VERSION}.npz"]
        write_icons(build_icons(source, progress=progress), cached[0])
    return to_splits(read_icons(cached[-1]))


def _cached(pattern: str) -> list[Path]:
    """Built files of the cache whose names, less builder and suffix, match; the newest last."""
    found = cache_folder().glob(f"{pattern}-{BUILDER_VERSION}.npz")
    return sorted(found, key=lambda file: (file.stat().st_mtime_ns, file.name))


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
        TensorImages(
            images[split == part],
            labels[split == part],
            mean=mean,
            std=std,
            augmentation=augmentation,
            meaning="ink: 0 paper, 255 black",
        )
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
        origin=f"SHA-256 {about['sha256']}",
    )


def cache_folder() -> Path:
    """Where built sets are kept: the user's cache folder of crispsim."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("crispsim"))
