"""Random changes of whole batches, for training: shifts, mirroring, small turns and zooms.

Every change takes raw float32 pixels [b,C,H,W] whose background is 0 and draws one set of numbers per image from the
generator it is given, always on the CPU, so the same generator state gives the same batch on every device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class RandomShift:
    """Shift each image by whole pixels, filling with background, and mirror half of them if asked.

    Parameters
    ----------
    most : int
        Largest shift along each axis, in pixels; every shift from -most to +most is equally likely.
    mirror : bool
        Whether left and right may be exchanged (not for digits or directional signs).
    """

    most: int
    mirror: bool = False

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Shifted pixels, same shape."""
        images, _, height, width = pixels.shape
        shift = torch.randint(0, 2 * self.most + 1, (2, images), generator=generator)
        padded = functional.pad(pixels, (self.most,) * 4)
        rows = shift[0][:, None] + torch.arange(height)
        columns = shift[1][:, None] + torch.arange(width)
        if self.mirror:
            mirrored = torch.randint(0, 2, (images, 1), generator=generator).bool()
            columns = torch.where(mirrored, columns.flip(1), columns)
        which = torch.arange(images)[:, None, None]
        # Advanced indices around a slice come first: [b,H,W,C].
        return padded[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class RandomAffine:
    """Shift, turn and zoom each image a little, in one bilinear resampling, filling with background.

    Parameters
    ----------
    shift : float
        Largest shift along each axis, in pixels.
    turn : float
        Largest turn either way, in degrees.
    zoom : float
        Zoom factors are drawn between 1 - zoom and 1 + zoom, for each axis alike.
    """

    shift: float
    turn: float
    zoom: float

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Changed pixels, same shape."""
        images, _, height, width = pixels.shape
        drawn = torch.rand((4, images), generator=generator) * 2 - 1
        angle = drawn[0] * (self.turn * torch.pi / 180)
        scale = 1 / (1 + drawn[1] * self.zoom)
        theta = torch.zeros(images, 2, 3)
        theta[:, 0, 0] = scale * angle.cos()
        theta[:, 0, 1] = -scale * angle.sin() * (height / width)
        theta[:, 1, 0] = scale * angle.sin() * (width / height)
        theta[:, 1, 1] = scale * angle.cos()
        # affine_grid's coordinates run from -1 to 1 across the image: one pixel is 2/size.
        theta[:, 0, 2] = drawn[2] * (2 * self.shift / width)
        theta[:, 1, 2] = drawn[3] * (2 * self.shift / height)
        grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
        return functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
