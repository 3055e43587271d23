"""Random crop and flip as finitely many views of an image, each with a number.

The view that a sample is shown follows from (seed, epoch, sample) alone. So data loading, the teacher cache and a
resumed run agree on it without any hidden state.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Int, UInt8
from torch import LongTensor, Tensor
from torch.nn.functional import pad

from preceptor.data.randomness import RandomStream, random_words, shuffled
from preceptor.errors import InputError


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
    """Crop out of a zero-padded image, then perhaps flip it left to right.

    A view's number is ``flipped * side² + row * side + column`` with ``side = 2 * padding + 1``, where row and column
    are the crop's upper left corner in the padded image, in pixels. Padding 4 with flip, the standard for CIFAR
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
            raise InputError(f"crop padding is {self.padding}; expected 0 or more pixels")

    @property
    def offsets(self) -> int:
        """Number of places of the crop along one side."""
        return 2 * self.padding + 1

    @property
    def count(self) -> int:
        """Number of views of an image."""
        return self.offsets**2 * (2 if self.flip else 1)

    @property
    def identity(self) -> int:
        """The number of the view that changes nothing."""
        return self.padding * self.offsets + self.padding

    def draw(self, seed: int, epoch: int, index: Int[Tensor, " batch"]) -> LongTensor:
        """The view of each sample in an epoch, uniform over all views.

        A sample's view depends on seed, epoch and its own index only, never on the other samples of the call. The
        cost is that of all indices between the smallest and the largest: draw a whole epoch at once.

        Args:
            seed: 0 to 2^64 - 1.
            epoch: 0 to 2^64 - 1.
            index: of samples in the data set, integers of at least 0, in any order.

        Returns:
            view numbers from 0 to ``count - 1``, int64, shape [batch], on the device of ``index``.

        Raises:
            InputError: for a negative index, or a seed or epoch out of range.
        """
        return sample_views(seed, epoch, index, self.count)

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Each image in its own view: batched tensor work on the images' device, without host synchronization.

        Args:
            images: pixels, shape [batch, channels, height, width].
            views: view numbers from 0 to ``count - 1``, int64, shape [batch], on the same device. They are not
                checked, since that would wait for the device.

        Returns:
            new pixels of the same shape and type.
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
        """View 0 for every sample."""
        return _long(torch.zeros_like(index, dtype=torch.int64))

    def apply(self, inputs: Any, views: Int[Tensor, " batch"]) -> Any:
        """The inputs themselves."""
        return inputs
