"""Random resized crops as numbered views: the number seeds the draw, since the outcomes are too many to count."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import LongTensor, Tensor
from torch.nn import functional as F

from preceptor.data.augmentation import sample_views
from preceptor.data.randomness import RandomStream, random_words
from preceptor.errors import InputError

_NUMBERS = 5
"""Drawn for each view: area, shape, place from left to right and from top to bottom, and flip."""


@dataclass(frozen=True)
class ResizedCrops:
    """Crop out of the image a rectangle of random area, shape and place, resize it to the whole, perhaps flip it.

    The augmentation of Szegedy et al. 2015 (arXiv:1409.4842, section 6), with the usual defaults. View 0 is the image
    as it is; each of the others is one draw, the same for every image, so that teacher outputs can be cached. A side
    that would reach beyond the image is as long as the image.

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
            raise InputError(f"resized crops: least_area is {self.least_area}; expected above 0, up to 1")
        if not (self.widest >= 1 and math.isfinite(self.widest)):
            raise InputError(f"resized crops: widest is {self.widest}; expected 1 or more")
        if self.draws < 2:
            raise InputError(f"resized crops: draws is {self.draws}; expected 2 or more")

    @property
    def count(self) -> int:
        """Number of views of an image."""
        return self.draws

    @property
    def identity(self) -> int:
        """The number of the view that changes nothing."""
        return 0

    def draw(self, seed: int, epoch: int, index: Int[Tensor, " batch"]) -> LongTensor:
        """The view of each sample in an epoch; as ``CropFlip.draw``."""
        return sample_views(seed, epoch, index, self.count)

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Each image in its own view; as ``CropFlip.apply``."""
        theta = _maps(self, images.shape[2], images.shape[3], images.device)[views]
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        resized = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
        return resized.round().clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=8)
def _maps(crops: ResizedCrops, height: int, width: int, device: torch.device) -> Float[Tensor, "views 2 3"]:
    """The affine map of each view, from a place in the result to its place in the image, both from -1 to 1."""
    drawn = random_words(crops.seed, RandomStream.DRAWS, 0, _NUMBERS * crops.draws).reshape(crops.draws, _NUMBERS)
    area, shape, right, down, flip = (drawn / np.float64(2**64)).T
    area = (crops.least_area + area * (1 - crops.least_area)) * height * width
    shape = np.exp((2 * shape - 1) * math.log(crops.widest))
    across, along = np.minimum(np.sqrt(area * shape) / width, 1), np.minimum(np.sqrt(area / shape) / height, 1)
    maps = np.zeros((crops.draws, 2, 3))
    maps[:, 0, 0] = np.where((flip < 0.5) & crops.flip, -across, across)
    maps[:, 0, 2] = (2 * right - 1) * (1 - across)
    maps[:, 1, 1] = along
    maps[:, 1, 2] = (2 * down - 1) * (1 - along)
    maps[crops.identity] = [[1, 0, 0], [0, 1, 0]]
    return torch.from_numpy(maps).float().to(device)
