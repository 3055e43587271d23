"""Data sets held in memory: uint8 images, labels, and what a model must know about them."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from unicodedata import category

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from preceptor.context import UNLABELED
from preceptor.data.augmentation import Augmentation
from preceptor.data.images import AS_THEY_ARE, Framing
from preceptor.data.lazy import Inputs, LazyInputs, joined, taken
from preceptor.errors import InputError, few

_CHUNK = 512

MEASURED = 4096
"""Inputs that mean and deviation are measured on, where they have to be decoded for it."""

LARGEST_MEAN, LEAST_DEVIATION = 1e6, 1e-12
"""Bounds of a normalization: no pixels in [0, 1] reach them, and float32 overflows far beyond."""


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per channel, of pixel values scaled to [0, 1].

    Raises:
        InputError: the two differ in length, a mean is beyond 1e6, or a deviation below 1e-12.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise InputError(
                f"normalization: {len(self.mean)} means and {len(self.std)} deviations; expected one of each a channel"
            )
        if not all(LEAST_DEVIATION <= value < math.inf for value in self.std):
            raise InputError(f"normalization: std is {self.std}; expected values of at least {LEAST_DEVIATION:g}")
        if not all(abs(value) <= LARGEST_MEAN for value in self.mean):
            raise InputError(f"normalization: mean is {self.mean}; expected values up to {LARGEST_MEAN:g}")

    def __call__(
        self, images: UInt8[Tensor, "batch channels height width"] | Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """``(x - mean) / std`` in fp32 on the images' device, where x is in [0, 1]: uint8 images are divided by 255."""
        if images.shape[1] != len(self.mean):
            raise InputError(f"images have {images.shape[1]} channels; the normalization is for {len(self.mean)}")
        unit = 1.0 if images.is_floating_point() else 255.0
        gain = tuple(1 / (unit * std) for std in self.std)
        shift = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        return torch.addcmul(_per_channel(shift, images.device), images.float(), _per_channel(gain, images.device))

    @staticmethod
    def from_images(images: Inputs) -> "Normalization":
        """Mean and (population) deviation over all pixels; a constant channel has deviation 1.

        Of images that are decoded when needed, over those of ``MEASURED`` at even distances.
        """
        if len(images) == 0:
            raise InputError("normalization: no image to take mean and deviation from")
        if isinstance(images, LazyInputs):
            images = images.take(torch.linspace(0, len(images) - 1, min(len(images), MEASURED)).long())
        levels = np.arange(256) / 255
        shares = _histograms(images) / (images.shape.numel() / images.shape[1])
        mean = shares @ levels
        deviation = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))
        return Normalization(
            tuple(float(value) for value in mean),
            tuple(float(value) if value > 0 else 1.0 for value in deviation),
        )


@dataclass(frozen=True)
class NoNormalization:
    """Inputs go to the networks as they are: images that these normalize themselves, or inputs of another kind."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __call__(self, inputs: Any) -> Any:
        """The same inputs."""
        return inputs


Normalizer = Normalization | NoNormalization


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Inputs and their labels (int64, 0 to classes - 1; -1 means unlabeled and is allowed in training only).

    Attributes:
        names: of the files, relative to the data set's folder; None where the images come from an array.
        groups: numbers; images with the same one, such as those of one patient, are held out together. None: every
            image is by itself.
    """

    images: Inputs
    labels: Int[Tensor, " n"]
    names: tuple[str, ...] | None = None
    groups: Int[Tensor, " n"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Int[Tensor, " chosen"]) -> "ImageSet":
        """The images and labels at these indices, in this order, copied; encoded images stay encoded."""
        names = None if self.names is None else tuple(self.names[place] for place in index.tolist())
        groups = None if self.groups is None else self.groups[index.to(self.groups.device)]
        return ImageSet(taken(self.images, index), self.labels[index], names, groups)

    def to(self, device: torch.device) -> "ImageSet":
        """The same on a device."""
        return ImageSet(self.images.to(device), self.labels.to(device), self.names, self.groups)


@dataclass(frozen=True, eq=False)
class LoadedData:
    """What a reader returns: the sets, the class names where the source has them, and what it skipped, with reasons.

    ``photographs`` tells whether the images have several sizes as they come.
    """

    train: ImageSet
    test: ImageSet | None = None
    class_names: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()
    validation: ImageSet | None = None
    photographs: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set.

    Attributes:
        name: as the user stated it.
        class_names: in the order of the labels.
        train: training images.
        test: test images; without them, results are reported on the held-out images.
        normalization: of the pixels, or none.
        augmentation: the views a training shows.
        skipped: each image that was left out, with the reason.
        validation: the user's own held-out images; without them, a share of ``train`` is held out.
        framing: how encoded images were brought to one size.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    test: ImageSet | None
    normalization: Normalizer
    augmentation: Augmentation
    skipped: tuple[str, ...] = ()
    validation: ImageSet | None = None
    framing: Framing = AS_THEY_ARE

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def of_images(self) -> bool:
        """Whether its inputs are uint8 images, rather than something else of one's own."""
        return isinstance(self.normalization, Normalization)

    @property
    def channels(self) -> int:
        """Channels of an image: 1 for grayscale, 3 for color."""
        return int(self.train.images.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        height, width = self.train.images.shape[2:]
        return height, width

    def train_and_validation(self) -> ImageSet:
        """The training images, followed by the validation images where there are any.

        Indices of held-out images count through both, so that they mean one thing with and without an own validation
        set. An index of a training image is the same in ``train``.
        """
        if self.validation is None:
            return self.train
        names = None
        if self.train.names is not None and self.validation.names is not None:
            names = (*self.train.names, *self.validation.names)
        return ImageSet(
            joined(self.train.images, self.validation.images),
            torch.cat([self.train.labels, self.validation.labels]),
            names,
        )


def check_dataset(dataset: Dataset) -> None:
    """Make sure that a model can be trained and tested on a data set.

    Raises:
        InputError: fewer than two classes; a class name that cannot be written down; different numbers of images and
            labels; a label out of range (with set, first index and value); a class without a training image; an
            empty test or validation set, or one with images of another shape than the training images.
    """
    if dataset.classes < 2:
        raise InputError(f"data set {dataset.name!r}: {dataset.classes} class; a classifier needs at least 2")
    check_class_names(dataset.class_names, f"data set {dataset.name!r}")
    _check_labels(dataset, "train", dataset.train, lowest=UNLABELED)
    _check_every_class_has_images(dataset)
    for name, images in (("validation", dataset.validation), ("test", dataset.test)):
        if images is not None:
            _check_labels(dataset, name, images, lowest=0)
            _check_held_out(dataset, name, images)


def check_class_names(names: Iterable[str], where: str) -> None:
    """Refuse class names that cannot be written to a file or would steer a terminal; ``where`` is for the message."""
    for name in names:
        if any(category(letter) in ("Cc", "Cs") for letter in name):
            raise InputError(f"{where}: the class name {name!a} holds a control character or is not UTF-8; rename it")


def image_digests(images: Inputs) -> list[bytes]:
    """A hash of 128 bits of each image's pixels: equal images have equal ones. Of encoded images, of their files."""
    if isinstance(images, LazyInputs):
        return images.digests()
    rows = images.cpu().contiguous().numpy()
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]


def _check_labels(dataset: Dataset, split: str, images: ImageSet, lowest: int) -> None:
    if len(images.images) != len(images.labels):
        raise InputError(
            f"data set {dataset.name!r}: {len(images.images)} {split} images but {len(images.labels)} {split} labels; "
            "give one label an image"
        )
    wrong = ((images.labels < lowest) | (images.labels >= dataset.classes)).nonzero()
    if len(wrong):
        index = int(wrong[0])
        unlabeled = f", or {UNLABELED} for unlabeled" if lowest == UNLABELED else ""
        raise InputError(
            f"data set {dataset.name!r}: {split} label {int(images.labels[index])} at index {index} is out of range; "
            f"expected 0 to {dataset.classes - 1}{unlabeled}"
        )


def _check_every_class_has_images(dataset: Dataset) -> None:
    labels = dataset.train.labels
    counts = torch.bincount(labels[labels >= 0], minlength=dataset.classes)
    empty = (counts == 0).nonzero().flatten().tolist()
    if empty:
        named = few([f"{dataset.class_names[label]!r} (label {label})" for label in empty], most=5)
        raise InputError(
            f"data set {dataset.name!r}: no training image of class {named}; add some or take the class out"
        )


def _check_held_out(dataset: Dataset, split: str, images: ImageSet) -> None:
    if len(images) == 0:
        raise InputError(f"data set {dataset.name!r}: the {split} set is empty; add images or leave it out")
    if images.images.shape[1:] != dataset.train.images.shape[1:]:
        ours, theirs = (" x ".join(map(str, one.images.shape[1:])) for one in (images, dataset.train))
        raise InputError(
            f"data set {dataset.name!r}: {split} images have shape {ours} (channels x height x width), training images "
            f"{theirs}; they must be the same"
        )


def _per_channel(values: tuple[float, ...], device: torch.device) -> Float[Tensor, "channels 1 1"]:
    # Filled on the device: a tensor made from a Python list would be copied there and wait for it.
    return torch.cat([torch.full((1, 1, 1), value, device=device) for value in values])


def _histograms(images: Inputs) -> np.ndarray:
    """How often each of the 256 values occurs in each channel."""
    # Counting integers is exact in any order; a sum of floating-point pixels would depend on the chunks.
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for chunk in images.split(_CHUNK):
        for channel, pixels in enumerate(chunk.unbind(1)):
            counts[channel] += torch.bincount(pixels.flatten(), minlength=256).cpu()
    return counts.numpy()
