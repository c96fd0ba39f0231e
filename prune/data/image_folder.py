"""Folders of pictures, laid out as ImageNet is: DIR/train/<class>/* and DIR/val/<class>/*, read when needed.

The validation set for choices is the last tenth of each training class in file order; DIR/val is the test set that is
only reported. Pictures become 224x224: the middle of the shorter side scaled to 256, or, for training, a random part of
8% to 100% of the area and a shape of 3:4 to 4:3 (Szegedy et al. 2015, arXiv:1409.4842, section 6), mirrored half the
time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...formats.errors import one_line
from ..errors import PruneError
from .dataset import LabelledImages, Splits
from .splitting import within_class_share

SIDE = 224
RESIZED = 256
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".gif", ".tif", ".tiff"})
_TRIES = 10


class FolderImages(LabelledImages):
    """Pictures in files, decoded one by one when a batch asks for them.

    Parameters
    ----------
    paths : sequence of Path, length n
    targets : Tensor, int64, shape (n,)
    """

    def __init__(self, paths: Sequence[Path], targets: Tensor) -> None:
        self.paths = tuple(paths)
        self.targets = targets

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Normalised images [b,3,224,224]; a random part of each, mirrored half the time, if there is a generator.

        Raises
        ------
        PruneError
            A picture cannot be decoded.
        """
        images = torch.empty(len(indices), 3, SIDE, SIDE)
        for place, index in enumerate(indices.tolist()):
            images[place] = _decode(self.paths[index], generator)
        mean, std = torch.tensor(_MEAN).view(-1, 1, 1), torch.tensor(_STD).view(-1, 1, 1)
        return images.div_(255).sub_(mean).div_(std)

    def preprocessing(self) -> dict[str, Any]:  # noqa: D102
        return {
            "input": "(pixels - mean) / std",
            "channels": 3,
            "pixels": [0, 1],
            "pixels_are": "red, green, blue, divided by 255",
            "mean": list(_MEAN),
            "std": list(_STD),
            "resize": RESIZED,
            "crop": SIDE,
            "resizing": "the shorter side to `resize`, bilinear; then the middle `crop` x `crop`",
        }

    def _select(self, indices: Tensor, targets: Tensor) -> FolderImages:
        return FolderImages([self.paths[index] for index in indices.tolist()], targets)


def load_image_folder(folder: str | Path) -> Splits:
    """Pictures of `folder`/train and `folder`/val; classes are the folder names of train, sorted.

    Raises
    ------
    PruneError
        Pillow is not installed, a folder is missing or empty, train and val differ in their classes, a class has
        fewer than 10 pictures to train on (none would be left for validation), or a folder's name is not printable
        text (a class's name goes into files).
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise PruneError("data imagefolder: needs Pillow (pip install pillow)") from error
    folder = Path(folder)
    if not str(folder).isprintable():
        raise PruneError(f"data imagefolder:{str(folder)!r}: must be a path of printable text")
    missing = [part for part in ("train", "val") if not (folder / part).is_dir()]
    if missing:
        raise PruneError(
            f"data imagefolder:{folder}: must be DIR/train/CLASS/* and DIR/val/CLASS/*; has no {missing[0]}"
        )
    classes = _classes(folder / "train")
    unknown = sorted(set(_classes(folder / "val")) ^ set(classes))
    if unknown:
        raise PruneError(f"{folder}: class {unknown[0]} must be in both train and val")
    paths, targets = _files(folder / "train", classes)
    validation = within_class_share(targets) >= 0.9
    for label, name in enumerate(classes):
        if not (validation & (targets == label)).any():
            raise PruneError(f"{folder / 'train' / name}: must hold 10 pictures or more, to leave some for validation")
    known = FolderImages(paths, targets)

    def part(chosen: Tensor) -> LabelledImages:
        indices = chosen.nonzero().flatten()
        return known._select(indices, targets[indices])

    return Splits(
        name=f"imagefolder:{folder.name}",
        class_names=classes,
        input_shape=(3, SIDE, SIDE),
        train=part(~validation),
        validation=part(validation),
        test=FolderImages(*_files(folder / "val", classes)),
        origin=str(folder.resolve()),
    )


def _classes(folder: Path) -> tuple[str, ...]:
    try:
        names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    except OSError as error:
        raise PruneError(f"{folder}: cannot read: {error.strerror}") from error
    if not names:
        raise PruneError(f"data imagefolder: {folder}: must hold a folder for each class, CLASS/*")
    # Names that are not UTF-8 come as lone surrogates, which are not printable either.
    odd = next((name for name in names if not name.isprintable()), None)
    if odd is not None:
        raise PruneError(f"{folder}: class folder {odd!r}: its name must be printable text in UTF-8")
    return names


def _files(folder: Path, classes: Sequence[str]) -> tuple[list[Path], Tensor]:
    paths: list[Path] = []
    targets: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in _ENDINGS)
        if not found:
            raise PruneError(f"{folder / name}: holds no pictures")
        paths += found
        targets += [label] * len(found)
    return paths, torch.tensor(targets)


def _decode(path: Path, generator: torch.Generator | None) -> Tensor:
    """Float32 [3,224,224] from 0 to 255."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except Exception as error:  # Pillow's decoders fail in many ways
        raise PruneError(f"{path}: not a picture: {one_line(error)}") from error
    if generator is None:
        box, mirror = _middle(*picture.size), False
    else:
        box = _random_part(*picture.size, generator)
        mirror = bool(torch.randint(0, 2, (1,), generator=generator))
    shown = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
    if mirror:
        shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(shown)).permute(2, 0, 1).to(torch.float32)


def _middle(width: int, height: int) -> tuple[float, float, float, float]:
    """The box whose side is 224/256 of the shorter side: resize and centre crop in one resampling."""
    side = min(width, height) * SIDE / RESIZED
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _random_part(width: int, height: int, generator: torch.Generator) -> tuple[float, float, float, float]:
    # The same numbers are drawn whether or not the first try fits, so the next picture's do not depend on this one's.
    drawn = torch.rand(_TRIES, 4, generator=generator, dtype=torch.float64).tolist()
    for area, shape, across, down in drawn:
        part = width * height * (0.08 + 0.92 * area)
        ratio = math.exp((2 * shape - 1) * math.log(4 / 3))
        wide, tall = math.sqrt(part * ratio), math.sqrt(part / ratio)
        if wide <= width and tall <= height:
            left, top = across * (width - wide), down * (height - tall)
            return left, top, left + wide, top + tall
    return _middle(width, height)
