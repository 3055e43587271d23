"""Random resized crop: a rule of views whose outcomes are too many to count, so that a number determines the draw."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import LongTensor, Tensor
from torch.nn import functional as F

from preceptor.data.augmentation import sample_views
from preceptor.data.randomness import Stream, words
from preceptor.errors import InputError

_NUMBERS = 5
"""Drawn for each view: area, shape, place from left to right and from top to bottom, and flip."""


@dataclass(frozen=True)
class ResizedCrops:
    """Crop out of the image a rectangle of random area, shape and place, resize it to the whole, perhaps flip it.

    The augmentation of Szegedy et al. 2015 (arXiv:1409.4842, section 6), with the usual defaults. View 0 is the image
    as it is; each of the others is one draw, the same for every image, so that a teacher's word of it can be kept. A
    side that would reach beyond the image is as long as the image.

    Resizing is bilinear, without smoothing first, in fp32, then rounded to whole levels; on another kind of device a
    pixel may come out a level apart.

    Args:
        least_area: of the rectangle, as a share of the image, above 0 and at most 1. Default 0.08.
        widest: most width to height, at least 1, and as much height to width; evenly drawn on a logarithmic scale.
            Default 4/3.
        flip: whether half of the views are flipped left to right.
        draws: how many views there are. Default 1024: over 100 epochs a sample meets few twice.
        seed: of the draws.

    Raises:
        InputError: a value outside these.
    """

    least_area: float = 0.08
    widest: float = 4 / 3
    flip: bool = True
    draws: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.least_area <= 1:
            raise InputError(f"resized crops: least_area {self.least_area}, allowed is above 0, up to 1")
        if not (self.widest >= 1 and math.isfinite(self.widest)):
            raise InputError(f"resized crops: widest {self.widest}, allowed is 1 or more")
        if self.draws < 2:
            raise InputError(f"resized crops: {self.draws} draws, allowed are 2 or more; the first changes nothing")

    @property
    def count(self) -> int:
        """How many views an image has."""
        return self.draws

    @property
    def identity(self) -> int:
        """The number of the view that changes nothing."""
        return 0

    def draw(self, seed: int, epoch: int, positions: Int[Tensor, " batch"]) -> LongTensor:
        """The view each sample is shown in an epoch; as ``CropFlip.draw``."""
        return sample_views(seed, epoch, positions, self.count)

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Each image in its own view; as ``CropFlip.apply``."""
        theta = _maps(self, images.shape[2], images.shape[3], images.device)[views]
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        resized = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
        return resized.round().clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=8)
def _maps(rule: ResizedCrops, height: int, width: int, device: torch.device) -> Float[Tensor, "views 2 3"]:
    """Of each view, from a place in the result to its place in the image, both from -1 to 1."""
    drawn = words(rule.seed, Stream.DRAWS, 0, _NUMBERS * rule.draws).reshape(rule.draws, _NUMBERS)
    area, shape, right, down, flip = (drawn / np.float64(2**64)).T
    area = (rule.least_area + area * (1 - rule.least_area)) * height * width
    shape = np.exp((2 * shape - 1) * math.log(rule.widest))
    across, along = np.minimum(np.sqrt(area * shape) / width, 1), np.minimum(np.sqrt(area / shape) / height, 1)
    maps = np.zeros((rule.draws, 2, 3))
    maps[:, 0, 0] = np.where((flip < 0.5) & rule.flip, -across, across)
    maps[:, 0, 2] = (2 * right - 1) * (1 - across)
    maps[:, 1, 1] = along
    maps[:, 1, 2] = (2 * down - 1) * (1 - along)
    maps[rule.identity] = [[1, 0, 0], [0, 1, 0]]
    return torch.from_numpy(maps).float().to(device)
