"""SVG drawings to 32x32 grayscale: how much ink each pixel holds, 0 for paper and 255 for black."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import PruneError

SIDE = 32
DEFAULT_BOX = 16
"""Iconify's width and height of an icon where neither it nor its set says."""
LEAST_CONTRAST = 32
"""A rendering whose darkest and lightest pixels differ by less is blank."""


def svg_of(icon: Mapping[str, Any], icon_set: Mapping[str, Any]) -> str:
    """A whole SVG around an icon's body: centred in a square, on white, its own colours, currentColor black.

    Parameters
    ----------
    icon, icon_set : mapping
        The icon's entry and its set's; left, top, width and height of the set hold where the icon has none.
    """

    def box(name: str, default: int) -> float:
        return float(icon.get(name, icon_set.get(name, default)))

    left, top = box("left", 0), box("top", 0)
    width, height = box("width", DEFAULT_BOX), box("height", DEFAULT_BOX)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{SIDE}" height="{SIDE}" viewBox="{left:g} {top:g} {width:g} {height:g}" color="#000000">'
        f"{icon['body']}</svg>"
    )


def render(svg: str) -> np.ndarray | None:
    """Ink of a drawing.

    Returns
    -------
    ndarray, uint8, shape (32, 32), or None
        None: the SVG cannot be read.

    Raises
    ------
    PruneError
        resvg-py or Pillow is not installed.
    """
    try:
        import resvg_py
        from PIL import Image
    except ImportError as error:
        raise PruneError("icons: rendering needs resvg-py and Pillow (pip install resvg-py pillow)") from error
    try:
        # Fonts differ from machine to machine; without them text is left out everywhere.
        png = resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff", skip_system_fonts=True)
    except ValueError:
        return None
    with Image.open(io.BytesIO(bytes(png))) as picture:
        gray = np.asarray(picture.convert("L"))
    return np.ascontiguousarray(255 - gray) if gray.shape == (SIDE, SIDE) else None


def is_blank(ink: np.ndarray) -> bool:
    """Whether nothing can be seen: no contrast. Animated icons that start empty are such."""
    return int(ink.max()) - int(ink.min()) < LEAST_CONTRAST
