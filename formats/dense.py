"""Dense matrices as the formats take them: checked, seen as words, and cut into tiles.

S rows (output channels), K columns (reduction positions).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

K_ORDERS = ("hwc", "chw")


def check_dense(name: str, dense: NDArray[Any]) -> NDArray[Any]:
    """Return a matrix [S, K] that a format can take, contiguous, or raise FormatError.

    `name` opens the message: the format asked to encode it.
    """
    if dense.ndim != 2:
        raise FormatError(f"{name}: array of shape {dense.shape}: must be a matrix [S, K]")
    check_shape(name, dense.shape)
    check_value_dtype(name, dense.dtype)
    return np.ascontiguousarray(dense)


def check_mask(name: str, dense: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return the mask [S, K], by default the nonzeros, or raise FormatError."""
    if mask is None:
        return dense != 0
    check_array(name, "mask", mask, np.bool_, dense.shape)
    return np.ascontiguousarray(mask)


def check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Raise FormatError unless the shape is (S, K), both at least 1."""
    if len(shape) != 2 or min(shape) < 1:
        raise FormatError(f"{name}: shape {tuple(shape)}: must be (S, K), both at least 1")


def check_k_order(name: str, k_order: str) -> None:
    """Raise FormatError unless the order of K is one of K_ORDERS."""
    if k_order not in K_ORDERS:
        raise FormatError(f"{name}: k_order {k_order!r}: must be one of {', '.join(K_ORDERS)}")


def check_value_dtype(name: str, dtype: np.dtype[Any]) -> None:
    """Raise FormatError unless values are integers or floats of 1, 2, 4 or 8 bytes, in native order."""
    if dtype.kind not in "iuf" or dtype.itemsize not in (1, 2, 4, 8) or not dtype.isnative:
        raise FormatError(f"{name}: values of dtype {dtype}: must be native integers or floats of 1 to 8 bytes")


def check_array(name: str, field: str, array: NDArray[Any], dtype: Any, shape: tuple[int, ...]) -> None:
    """Raise FormatError unless the array has this dtype (None: any for values) and this shape."""
    if dtype is None:
        check_value_dtype(name, array.dtype)
    elif array.dtype != dtype:
        raise FormatError(f"{name}: {field} of dtype {array.dtype}: must be {np.dtype(dtype)}")
    if array.shape != tuple(shape):
        raise FormatError(f"{name}: {field} of shape {array.shape}: must be {tuple(int(side) for side in shape)}")


def words(array: NDArray[Any]) -> NDArray[Any]:
    """The array's bits as unsigned integers of the same size: a view where the array is contiguous.

    Kernels that only move values see words, so that one compiled version serves every dtype of a size.
    """
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def tiles_along(size: int, side: int) -> int:
    """Tiles that cover `size` positions, `side` each: ceil(size / side)."""
    return -(-size // side)


def to_tiles(dense: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Cut [S, K], padded with zeros, into tiles [ceil(S/height), ceil(K/width), height, width]."""
    rows, columns = tiles_along(dense.shape[0], height), tiles_along(dense.shape[1], width)
    padded = np.zeros((rows * height, columns * width), dense.dtype)
    padded[: dense.shape[0], : dense.shape[1]] = dense
    return padded.reshape(rows, height, columns, width).swapaxes(1, 2)


def from_tiles(tiles: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Put tiles [rows, columns, height, width] together and drop the padding; undoes `to_tiles`."""
    rows, columns, height, width = tiles.shape
    whole = tiles.swapaxes(1, 2).reshape(rows * height, columns * width)
    return np.ascontiguousarray(whole[: shape[0], : shape[1]])


def occupied_tiles(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Which tiles of the mask [S, K] hold a True: bool [ceil(S/height), ceil(K/width)]."""
    by_columns = np.logical_or.reduceat(mask, np.arange(0, mask.shape[1], width), axis=1)
    return np.logical_or.reduceat(by_columns, np.arange(0, mask.shape[0], height), axis=0)
