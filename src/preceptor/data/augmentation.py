"""Augmentation: the finitely many outcomes of random crop and flip, each with a number (DESIGN section 6).

Which view a sample is shown follows from (seed, epoch, sample) alone, so data loading, teacher cache and resume all
agree without any hidden state.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Int, UInt8
from torch import LongTensor, Tensor
from torch.nn.functional import pad

from preceptor.data.randomness import Stream, shuffled, words
from preceptor.errors import InputError


class Augmentation(Protocol):
    """A rule of views: finitely many ways to show an image, each with a number. Rules are frozen dataclasses of plain
    values, which tell them apart in the fingerprint of a cache."""

    @property
    def count(self) -> int:
        """How many views an image has."""

    @property
    def identity(self) -> int:
        """The number of the view that changes nothing."""

    def draw(self, seed: int, epoch: int, positions: Int[Tensor, " batch"]) -> LongTensor:
        """The view each sample is shown in an epoch."""

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Each image in its own view, on the images' device."""


@dataclass(frozen=True)
class CropFlip:
    """Crop out of a zero-padded image, then perhaps flip it left to right.

    A view's number is ``flipped * side² + row * side + column`` with ``side = 2 * padding + 1``, where row and column
    are the crop's upper left corner in the padded image, in pixels. Padding 4 with flip, the usual rule for CIFAR
    (He et al. 2016, section 4.2), has 162 views.

    Args:
        padding: zero pixels added on every side before the crop, at least 0.
        flip: whether half of the views are flipped left to right.

    Raises:
        InputError: for a negative padding.
    """

    padding: int
    flip: bool

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise InputError(f"view rule: padding {self.padding}, allowed is 0 or more pixels")

    @property
    def offsets(self) -> int:
        """How many places the crop may have along one side."""
        return 2 * self.padding + 1

    @property
    def count(self) -> int:
        """How many views an image has."""
        return self.offsets**2 * (2 if self.flip else 1)

    @property
    def identity(self) -> int:
        """The number of the view that changes nothing."""
        return self.padding * self.offsets + self.padding

    def draw(self, seed: int, epoch: int, positions: Int[Tensor, " batch"]) -> LongTensor:
        """The view each sample is shown in an epoch, uniform over all views.

        A sample's view depends on seed, epoch and its own position only, never on which others are asked for. The
        cost is that of all positions between the smallest and the largest: draw a whole epoch at once.

        Args:
            seed: 0 to 2^64 - 1.
            epoch: 0 to 2^64 - 1.
            positions: positions in the data set, integers of at least 0, in any order.

        Returns:
            view numbers from 0 to ``count - 1``, int64, shape [batch], on the device of ``positions``.

        Raises:
            InputError: for a negative position, or a seed or epoch out of range.
        """
        return sample_views(seed, epoch, positions, self.count)

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Each image in its own view: batched tensor work on the images' device, without host synchronization.

        Args:
            images: pixels, shape [batch, channels, height, width].
            views: view numbers from 0 to ``count - 1``, int64, shape [batch], on the same device. They are not
                checked, since that would wait for the device.

        Returns:
            new pixels of the same shape and type; the images themselves are left alone.
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


def sample_views(seed: int, epoch: int, positions: Int[Tensor, " batch"], count: int) -> LongTensor:
    """Which of so many views each sample is shown; see :meth:`CropFlip.draw`."""
    if positions.numel() == 0:
        return _long(torch.empty_like(positions, dtype=torch.int64))
    where = positions.cpu().numpy()
    first, last = int(where.min()), int(where.max())
    if first < 0:
        raise InputError(f"views: position {first}, allowed are positions of at least 0")
    drawn = words(seed, Stream.VIEWS, first, last + 1, epoch)[where - first] % count
    return _long(torch.from_numpy(drawn.astype("int64")).to(positions.device))


def usual_views(height: int, width: int) -> CropFlip:
    """The rule for images that come without one: CIFAR's from 24 pixels a side, a shift by one pixel below."""
    if min(height, width) >= 24:
        return CropFlip(padding=4, flip=True)
    return CropFlip(padding=1, flip=False)


def epoch_order(seed: int, epoch: int, n: int) -> LongTensor:
    """The order in which an epoch goes through the data: the positions 0 to n - 1, shuffled, int64, shape [n].

    Raises:
        InputError: for a seed or epoch outside 0 to 2^64 - 1.
    """
    return _long(torch.from_numpy(shuffled(n, seed, Stream.ORDER, epoch)))


def _long(tensor: Tensor) -> LongTensor:
    """The same tensor under the type's name; a type checker cannot see a tensor's dtype."""
    assert tensor.dtype == torch.int64
    return tensor  # type: ignore[return-value]


@dataclass(frozen=True)
class NoAugmentation:
    """One view: every input as it is, images or anything else."""

    count: int = 1
    identity: int = 0

    def draw(self, seed: int, epoch: int, index: Int[Tensor, " batch"]) -> LongTensor:
        """View 0 for every sample."""
        return _long(torch.zeros_like(index, dtype=torch.int64))

    def apply(self, inputs: Any, views: Int[Tensor, " batch"]) -> Any:
        """The inputs themselves."""
        return inputs
