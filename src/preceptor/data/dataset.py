"""Data sets held in memory: uint8 images, labels, and what a model must know about them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from preceptor.context import UNLABELED
from preceptor.data.augmentation import CropFlip
from preceptor.data.class_names import check_printable
from preceptor.errors import InputError

_CHUNK = 4096

LARGEST_MEAN, LEAST_DEVIATION = 1e6, 1e-12
"""Beyond what images of pixels in [0, 1] have; still far from where float32 overflows."""


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per channel, of pixel values scaled to [0, 1].

    Raises:
        InputError: if the two differ in length, or a value is one that no pixels have: a mean beyond 1e6, or a
            deviation below 1e-12.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise InputError(
                f"normalization: {len(self.mean)} means and {len(self.std)} deviations; give one of each a channel"
            )
        if not all(LEAST_DEVIATION <= value < math.inf for value in self.std):
            raise InputError(f"normalization: std {self.std}, allowed are values above 0, {LEAST_DEVIATION:g} at least")
        if not all(abs(value) <= LARGEST_MEAN for value in self.mean):
            raise InputError(f"normalization: mean {self.mean}, allowed are values up to {LARGEST_MEAN:g}")

    def __call__(
        self, images: UInt8[Tensor, "batch channels height width"] | Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """``(x - mean) / std`` in fp32 on the images' device, where x is in [0, 1].

        Args:
            images: uint8 from 0 to 255, or floating point already in [0, 1].
        """
        if images.shape[1] != len(self.mean):
            raise InputError(f"images of {images.shape[1]} channels, normalization for {len(self.mean)}")
        unit = 1.0 if images.is_floating_point() else 255.0
        gain = tuple(1 / (unit * std) for std in self.std)
        shift = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        return torch.addcmul(_per_channel(shift, images.device), images.float(), _per_channel(gain, images.device))

    @staticmethod
    def from_images(images: UInt8[Tensor, "n channels height width"]) -> "Normalization":
        """Exact mean and (population) deviation over all pixels; a constant channel is given deviation 1."""
        if images.numel() == 0:
            raise InputError("normalization: no image to take mean and deviation from")
        levels = np.arange(256) / 255
        shares = _histograms(images) / (images.numel() / images.shape[1])
        mean = shares @ levels
        deviation = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))
        return Normalization(
            tuple(float(value) for value in mean),
            tuple(float(value) if value > 0 else 1.0 for value in deviation),
        )


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and their labels (int64, 0 to classes - 1; -1 means unlabeled and is allowed in training only)."""

    images: UInt8[Tensor, "n channels height width"]
    labels: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, positions: Int[Tensor, " chosen"]) -> "ImageSet":
        """The images and labels at these positions, in this order, copied."""
        return ImageSet(self.images[positions], self.labels[positions])


@dataclass(frozen=True, eq=False)
class Contents:
    """What a reader found: the two sets, the class names where the source has them, and what it left out, in words."""

    train: ImageSet
    test: ImageSet | None = None
    class_names: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set. Without a test set, what is reported is the held-out share of training.

    ``skipped`` names each image that was left out, and why.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    test: ImageSet | None
    normalization: Normalization
    augmentation: CropFlip
    skipped: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Channels of an image: 1 for grayscale, 3 for color."""
        return self.train.images.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        height, width = self.train.images.shape[2:]
        return height, width


def check_dataset(dataset: Dataset) -> None:
    """Make sure that a model can be trained and tested on a data set.

    Raises:
        InputError: fewer than two classes; a name of one that cannot be written down; different numbers of images and
            labels; a label out of range (with split, first position and value); a class without a training image; an
            empty test set; test images of another shape than the training images.
    """
    if dataset.classes < 2:
        raise InputError(f"data set {dataset.name!r}: {dataset.classes} class, a classifier needs at least 2")
    check_printable(dataset.class_names, f"data set {dataset.name!r}")
    _check_split(dataset, "train", dataset.train, lowest=UNLABELED)
    _check_every_class_is_taught(dataset)
    if dataset.test is not None:
        _check_split(dataset, "test", dataset.test, lowest=0)
        _check_test_images(dataset, dataset.test)


def _check_split(dataset: Dataset, split: str, images: ImageSet, lowest: int) -> None:
    if len(images.images) != len(images.labels):
        raise InputError(
            f"data set {dataset.name!r}: {len(images.images)} {split} images but {len(images.labels)} {split} labels: "
            "give one label an image"
        )
    wrong = ((images.labels < lowest) | (images.labels >= dataset.classes)).nonzero()
    if len(wrong):
        position = int(wrong[0])
        unlabeled = f", or {UNLABELED} for unlabeled" if lowest == UNLABELED else ""
        raise InputError(
            f"data set {dataset.name!r}: {split} label {int(images.labels[position])} at position {position} is out "
            f"of range; allowed are 0 to {dataset.classes - 1}{unlabeled}"
        )


def _check_every_class_is_taught(dataset: Dataset) -> None:
    labels = dataset.train.labels
    counts = torch.bincount(labels[labels >= 0], minlength=dataset.classes)
    empty = (counts == 0).nonzero().flatten().tolist()
    if empty:
        shown = ", ".join(f"{dataset.class_names[label]!r} (label {label})" for label in empty[:5])
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise InputError(
            f"data set {dataset.name!r}: no training image of class {shown}{more}; add some or take the class out"
        )


def _check_test_images(dataset: Dataset, test: ImageSet) -> None:
    if len(test) == 0:
        raise InputError(f"data set {dataset.name!r}: the test set is empty; add images or leave it out")
    if test.images.shape[1:] != dataset.train.images.shape[1:]:
        raise InputError(
            f"data set {dataset.name!r}: test images have shape {_shape(test)} (channels x height x width), "
            f"training images {_shape(dataset.train)}; they must be the same"
        )


def _shape(images: ImageSet) -> str:
    return " x ".join(str(side) for side in images.images.shape[1:])


def _per_channel(values: tuple[float, ...], device: torch.device) -> Float[Tensor, "channels 1 1"]:
    # Filled on the device: a tensor made from a Python list would be copied there and wait for it.
    return torch.cat([torch.full((1, 1, 1), value, device=device) for value in values])


def _histograms(images: UInt8[Tensor, "n channels height width"]) -> np.ndarray:
    """How often each of the 256 values occurs in each channel: whole numbers, so exact in any order."""
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for chunk in torch.split(images, _CHUNK):
        for channel, pixels in enumerate(chunk.unbind(1)):
            counts[channel] += torch.bincount(pixels.flatten(), minlength=256).cpu()
    return counts.numpy()
