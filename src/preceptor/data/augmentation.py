"""Random crops and flips as finitely many views of an image, each with a number.

The view that a sample is shown follows from (seed, epoch, sample) alone. So data loading, the teacher cache and a
resumed run agree on it without any hidden state.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from torch import LongTensor, Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from preceptor.data.randomness import RandomStream, random_words, shuffled
from preceptor.errors import InputError

_NUMBERS = 5
"""Drawn for each view: area, shape, place from left to right and from top to bottom, and flip."""


class Augmentation(Protocol):
    """Finitely many views of an image, each with a number.

    Augmentations are frozen dataclasses of plain values: a cache's key tells them apart by these.
    """

    @property
    def count(self) -> int:
        """Number of views of an image."""

    @property
    def identity(self) -> int:
        """The number of the view that changes nothing."""

    def draw(self, seed: int, epoch: int, index: Int[Tensor, " batch"]) -> LongTensor:
        """The view of each sample in an epoch."""

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Each image in its own view, on the images' device."""


@dataclass(frozen=True)
class CropFlip:
    """Crop out of an image with ``padding`` zero pixels on every side, then perhaps ``flip`` it left to right.

    A view's number is ``flipped * side² + row * side + column`` with ``side = 2 * padding + 1``, where row and column
    are the crop's upper left corner in the padded image, in pixels. Padding 4 with flip, the standard for CIFAR
    (He et al. 2016, section 4.2), has 162 views.

    Raises:
        InputError: for a negative padding.
    """

    padding: int
    flip: bool

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise InputError(f"crop padding is {self.padding}; expected 0 or more pixels")

    @property
    def offsets(self) -> int:
        """Number of places of the crop along one side."""
        return 2 * self.padding + 1

    @property
    def count(self) -> int:
        return self.offsets**2 * (2 if self.flip else 1)

    @property
    def identity(self) -> int:
        return self.padding * self.offsets + self.padding

    def draw(self, seed: int, epoch: int, index: Int[Tensor, " batch"]) -> LongTensor:
        """The view of each sample in an epoch, uniform over all views: 0 to ``count - 1``, on the device of ``index``.

        A sample's view depends on seed, epoch (0 to 2^64 - 1) and its own index only, never on the other samples of the
        call. The cost is that of all indices between the smallest and the largest: draw a whole epoch at once.

        Raises:
            InputError: for a negative index, or a seed or epoch out of range.
        """
        return sample_views(seed, epoch, index, self.count)

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Each image in its own view: batched tensor work on the images' device, without host synchronization.

        The views must be on the same device. They are not checked, since that would wait for the device.
        """
        batch, channels, height, width = images.shape
        padded = pad(images, (self.padding,) * 4)
        source = self._source_pixels(views, height, width).expand(batch, channels, height * width)
        return padded.flatten(2).gather(2, source).view(batch, channels, height, width)

    def _source_pixels(self, views: Int[Tensor, " batch"], height: int, width: int) -> Int[Tensor, "batch 1 pixels"]:
        """Where in the flattened padded image each pixel of the view comes from."""
        flipped, crop = views // self.offsets**2, views % self.offsets**2
        down = torch.arange(height, device=views.device)
        right = torch.arange(width, device=views.device)
        across = torch.where(flipped.bool()[:, None], width - 1 - right, right)
        rows = (crop // self.offsets)[:, None] + down
        columns = (crop % self.offsets)[:, None] + across
        return (rows[:, :, None] * (width + 2 * self.padding) + columns[:, None, :]).flatten(1)[:, None]


class DrawnViews:
    """Augmentations whose views are so many draws, the same for every image; view 0 is the image as it is."""

    draws: int

    @property
    def count(self) -> int:
        return self.draws

    @property
    def identity(self) -> int:
        return 0

    def draw(self, seed: int, epoch: int, index: Int[Tensor, " batch"]) -> LongTensor:
        return sample_views(seed, epoch, index, self.count)


@dataclass(frozen=True)
class ResizedCrops(DrawnViews):
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
        flip: flip half of the views left to right. Default True.
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

    def frame(self, view: int, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, upper, right and lower edge of a view's rectangle in an image of this width and height, in pixels."""
        across, along = (float(side) for side in _sides(self, height, width, view))
        _, _, right, down, _ = _drawn(self)[:, view].tolist()
        left, top = right * (width - across), down * (height - along)
        return left, top, min(left + across, width), min(top + along, height)

    def flip_views(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Rectangles that were cut and resized already, flipped where their views are."""
        return torch.where(_flipped(self, images.device)[views][:, None, None, None], images.flip(3), images)

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        theta = _maps(self, images.shape[2], images.shape[3], images.device)[views]
        grid = affine_grid(theta, list(images.shape), align_corners=False)
        resized = grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
        return resized.round().clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=8)
def _drawn(crops: ResizedCrops) -> NDArray[np.float64]:
    """For each view area, shape, place from left to right and from top to bottom, and flip, all from 0 to 1."""
    words = random_words(crops.seed, RandomStream.DRAWS, 0, _NUMBERS * crops.draws).reshape(crops.draws, _NUMBERS)
    return (words / np.float64(2**64)).T


def _sides(
    crops: ResizedCrops, height: int, width: int, views: slice | int = slice(None)
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Width and height of the views' rectangles in an image, in pixels."""
    area, shape = _drawn(crops)[:2, views]
    area = (crops.least_area + area * (1 - crops.least_area)) * height * width
    shape = np.exp((2 * shape - 1) * math.log(crops.widest))
    return np.minimum(np.sqrt(area * shape), width), np.minimum(np.sqrt(area / shape), height)


@lru_cache(maxsize=8)
def _flipped(crops: ResizedCrops, device: torch.device) -> Bool[Tensor, " views"]:
    flipped = (_drawn(crops)[4] < 0.5) & crops.flip
    flipped[crops.identity] = False
    return torch.from_numpy(flipped).to(device)


@lru_cache(maxsize=8)
def _maps(crops: ResizedCrops, height: int, width: int, device: torch.device) -> Float[Tensor, "views 2 3"]:
    """The affine map of each view, from a place in the result to its place in the image, both from -1 to 1."""
    _, _, right, down, flip = _drawn(crops)
    across, along = _sides(crops, height, width)
    across, along = across / width, along / height
    maps = np.zeros((crops.draws, 2, 3))
    maps[:, 0, 0] = np.where((flip < 0.5) & crops.flip, -across, across)
    maps[:, 0, 2] = (2 * right - 1) * (1 - across)
    maps[:, 1, 1] = along
    maps[:, 1, 2] = (2 * down - 1) * (1 - along)
    maps[crops.identity] = [[1, 0, 0], [0, 1, 0]]
    return torch.from_numpy(maps).float().to(device)


def sample_views(seed: int, epoch: int, index: Int[Tensor, " batch"], count: int) -> LongTensor:
    """The view of each sample among ``count`` views; see :meth:`CropFlip.draw`."""
    if index.numel() == 0:
        return _long(torch.empty_like(index, dtype=torch.int64))
    samples = index.cpu().numpy()
    first, last = int(samples.min()), int(samples.max())
    if first < 0:
        raise InputError(f"sample index is {first}; expected 0 or more")
    drawn = random_words(seed, RandomStream.VIEWS, first, last + 1, epoch)[samples - first] % count
    return _long(torch.from_numpy(drawn.astype("int64")).to(index.device))


def default_augmentation(height: int, width: int) -> CropFlip:
    """For data sets without their own: CIFAR's from 24 pixels a side, a shift by one pixel below."""
    if min(height, width) >= 24:
        return CropFlip(padding=4, flip=True)
    return CropFlip(padding=1, flip=False)


def epoch_order(seed: int, epoch: int, n: int) -> LongTensor:
    """The order in which an epoch goes through the data: the indices 0 to n - 1, shuffled, int64, shape [n].

    Raises:
        InputError: for a seed or epoch outside 0 to 2^64 - 1.
    """
    return _long(torch.from_numpy(shuffled(n, seed, RandomStream.ORDER, epoch)))


def _long(tensor: Tensor) -> LongTensor:
    """The same tensor, typed: a type checker cannot see a tensor's dtype."""
    assert tensor.dtype == torch.int64
    return tensor  # type: ignore[return-value]


@dataclass(frozen=True)
class NoAugmentation:
    """One view: every input as it is, images or anything else."""

    count: int = 1
    identity: int = 0

    def draw(self, seed: int, epoch: int, index: Int[Tensor, " batch"]) -> LongTensor:
        return _long(torch.zeros_like(index, dtype=torch.int64))

    def apply(self, inputs: Any, views: Int[Tensor, " batch"]) -> Any:
        return inputs
