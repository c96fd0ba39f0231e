"""What a packed model file holds: the layers asked for, their sums, and how the file was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..formats import FormatError, read_model
from ..sim import InputError
from .inspected_layer import (
    DENSE,
    STORAGES,
    InspectedLayer,
    Storage,
    bits_of,
    look_at,
    macs,
    sparsities,
    tensor_bytes_of,
)


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A file: the layers looked at, of how many, its size, and how it was made."""

    path: Path
    layers: tuple[InspectedLayer, ...]
    layers_in_file: int
    file_bytes: int
    header_bytes: int
    made_by: dict[str, Any]

    @property
    def patterned(self) -> list[InspectedLayer]:
        """The layers looked at that have a pattern."""
        return [layer for layer in self.layers if layer.patterned]

    @property
    def defects(self) -> list[str]:
        """A line for each damaged layer."""
        return [layer.defect for layer in self.layers if layer.defect is not None]

    def tensor_bytes(self) -> dict[str, int]:
        """Bytes in the file by role, of the layers looked at."""
        roles: dict[str, int] = {}
        for layer in self.layers:
            for role, size in layer.tensor_bytes.items():
                roles[role] = roles.get(role, 0) + size
        return roles

    def storage(self) -> dict[str, Storage]:
        """Bits of the undamaged patterned layers by format; a layer that a format does not fit is dense in it."""
        whole = [layer.storage for layer in self.patterned if layer.defect is None]
        return {
            name: sum((storage.get(name, storage[DENSE]) for storage in whole), start=Storage(0, 0))
            for name in STORAGES
            if any(name in storage for storage in whole)
        }

    def total(self, layers: Sequence[InspectedLayer]) -> dict[str, Any]:
        """Sums over layers: weights, kept_weights, nonzeros, both sparsities, MACs of one sample, bytes."""
        sums = {
            key: sum(getattr(layer, key) for layer in layers)
            for key in ("weights", "kept_weights", "nonzeros", "bytes")
        }
        return {"layers": len(layers), **sums, **sparsities(layers), **macs(layers)}

    def record(self) -> dict[str, Any]:
        """The inspection as JSON has it."""
        return {
            "file": str(self.path),
            "file_bytes": self.file_bytes,
            "header_bytes": self.header_bytes,
            "made_by": self.made_by,
            "layers_in_file": self.layers_in_file,
            "layers": [layer.record() for layer in self.layers],
            "patterned": self.total(self.patterned),
            "all": self.total(self.layers),
            "tensor_bytes": self.tensor_bytes(),
            "patterned_storage_bits": bits_of(self.storage()),
            "defects": self.defects,
        }


def inspect_model(path: Path, wanted: Sequence[str] = ()) -> Inspection:
    """Look at a packed model file.

    Parameters
    ----------
    path : Path
    wanted : sequence of str
        Shell-style patterns on layer names, case-sensitive; a name stands for itself. None: every layer.

    Raises
    ------
    InputError
        The file cannot be read, its header breaks a rule, or a pattern fits no layer. Values that break a rule are no
        error: they are the defects of the layers.
    """
    try:
        model = read_model(path, check=False)
        file_bytes = path.stat().st_size
    except FormatError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from error
    names = [layer.name for layer in model.layers]
    for pattern in wanted:
        if not any(_fits(name, pattern) for name in names):
            raise InputError(f"--layer {pattern}: fits none of the {len(names)} layers of {path}")
    chosen = [layer for layer in model.layers if not wanted or any(_fits(layer.name, pattern) for pattern in wanted)]
    data = sum(sum(tensor_bytes_of(layer).values()) for layer in model.layers)
    return Inspection(
        path=path,
        layers=tuple(look_at(layer) for layer in chosen),
        layers_in_file=len(names),
        file_bytes=file_bytes,
        header_bytes=file_bytes - data,
        made_by=model.made_by,
    )


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)
