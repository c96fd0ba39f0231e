"""CIFAR-100 from a folder the user downloaded: the binary version, or the Python version read without running it.

Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html. The Python version's files are pickles, and
unpickling runs whatever a file says. They are read by an unpickler that knows numpy arrays and nothing else.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import PruneError
from .augmentation import RandomShift
from .dataset import Splits, TensorImages
from .splitting import within_class_share

CLASSES = 100
_PIXELS = 3 * 32 * 32
# Of the training images; the usual values, 255 * (0.5071, 0.4865, 0.4409) and (0.2673, 0.2564, 0.2762).
_MEAN = (129.31, 124.06, 112.43)
_STD = (68.16, 65.38, 70.43)

# What a pickled numpy array of bytes needs, under numpy's old and new names.
_SAFE = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _SAFE:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, which is not data")
        # numpy 2 renamed the module; either name reaches the same function.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_cifar100(folder: str | Path) -> Splits:
    """CIFAR-100, 32x32 colour, 100 fine classes; the last tenth of each training class is the validation set.

    Parameters
    ----------
    folder : path
        Holds train.bin, test.bin and fine_label_names.txt (binary version), or train, test and meta (Python version).
        A folder above it is taken too (`cifar-100-binary`, `cifar-100-python`).

    Raises
    ------
    PruneError
        Files are missing, damaged, or ask to run code.
    """
    folder = Path(folder)
    for place in (folder, folder / "cifar-100-binary", folder / "cifar-100-python"):
        if (place / "train.bin").is_file():
            names = _names(place / "fine_label_names.txt")
            return _splits(place, names, *_read_binary(place / "train.bin"), *_read_binary(place / "test.bin"))
        if (place / "train").is_file():
            meta = _unpickle(place / "meta").get("fine_label_names")
            if not isinstance(meta, list) or len(meta) != CLASSES:
                raise PruneError(f"{place / 'meta'}: must list {CLASSES} fine_label_names")
            names = tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in meta)
            return _splits(place, names, *_read_python(place / "train"), *_read_python(place / "test"))
    raise PruneError(
        f"cifar100 {folder}: must hold train.bin, test.bin and fine_label_names.txt (binary version), "
        "or train, test and meta (Python version)"
    )


def _splits(
    place: Path,
    names: tuple[str, ...],
    known: np.ndarray,
    known_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
) -> Splits:
    targets = torch.from_numpy(known_labels.astype(np.int64))
    validation = within_class_share(targets) >= 0.9

    def part(pixels: torch.Tensor, labels: torch.Tensor) -> TensorImages:
        # Shifts of 4 pixels and mirroring: He et al. 2016, section 4.2.
        augmentation = RandomShift(4, mirror=True)
        return TensorImages(pixels, labels, mean=_MEAN, std=_STD, augmentation=augmentation, meaning="red, green, blue")

    pixels = torch.from_numpy(known.reshape(-1, 3, 32, 32))
    return Splits(
        name="cifar100",
        class_names=names,
        input_shape=(3, 32, 32),
        train=part(pixels[~validation], targets[~validation]),
        validation=part(pixels[validation], targets[validation]),
        test=part(torch.from_numpy(test.reshape(-1, 3, 32, 32)), torch.from_numpy(test_labels.astype(np.int64))),
        origin=str(place.resolve()),
    )


def _names(path: Path) -> tuple[str, ...]:
    names = tuple(_bytes(path).decode(errors="replace").split())
    if len(names) != CLASSES:
        raise PruneError(f"{path}: {len(names)} names, must be {CLASSES}")
    return names


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [n,3072] and fine labels [n]: a record is a coarse label, a fine label and the pixels."""
    data = _bytes(path)
    record = 2 + _PIXELS
    if not data or len(data) % record:
        raise PruneError(f"{path}: {len(data)} bytes, must be one or more records of {record}")
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return records[:, 2:].copy(), _checked(path, records[:, 1].copy())


def _read_python(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = _unpickle(path)
    pixels, labels = content.get("data"), content.get("fine_labels")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise PruneError(f"{path}: data must be a uint8 array of {_PIXELS} columns")
    if not isinstance(labels, list) or len(labels) != len(pixels) or not all(type(label) is int for label in labels):
        raise PruneError(f"{path}: fine_labels must be whole numbers, one for each of {len(pixels)} images")
    return np.ascontiguousarray(pixels), _checked(path, np.array(labels, np.int64))


def _checked(path: Path, labels: np.ndarray) -> np.ndarray:
    if len(labels) and (labels.min() < 0 or labels.max() >= CLASSES):
        raise PruneError(f"{path}: label {labels.max()}, must be from 0 to {CLASSES - 1}")
    return labels


def _unpickle(path: Path) -> dict[str, Any]:
    """The dictionary in a pickle that holds data only; its keys as text."""
    try:
        with path.open("rb") as stream:
            content = _ArrayUnpickler(stream, encoding="bytes").load()
    except OSError as error:
        raise PruneError(f"{path}: cannot read: {error.strerror}") from error
    except Exception as error:  # a damaged pickle fails in any way
        raise PruneError(f"{path}: not a pickle of CIFAR-100: {error}") from error
    if not isinstance(content, dict):
        raise PruneError(f"{path}: must hold a dictionary, not {type(content).__name__}")
    return {key.decode(errors="replace") if isinstance(key, bytes) else str(key): item for key, item in content.items()}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PruneError(f"{path}: cannot read: {error.strerror}") from error
