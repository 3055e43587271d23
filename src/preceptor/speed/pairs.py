"""What is measured on: pairs of teacher and student, and images made up for them."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.errors import unknown_name


@dataclass(frozen=True)
class Pair:
    """A teacher, a student and the images they are shown.

    Attributes:
        teacher, student: architectures, see ``models.build_model``.
        channels, side: of the square images, in pixels.
        classes: of the labels.
        size: images in the training set, as many as the data set has whose shape it is.
        normalization: that data set's.
        batch_sizes: what ``--all`` measures.
        images_a_round: so many that a round on a CPU takes seconds, at whatever batch size.
    """

    teacher: str
    student: str
    channels: int
    side: int
    classes: int
    size: int
    normalization: Normalization
    batch_sizes: tuple[int, ...]
    images_a_round: int

    @property
    def name(self) -> str:
        """``TEACHER:STUDENT``."""
        return f"{self.teacher}:{self.student}"


_CIFAR_100 = Normalization((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
_FASHION_MNIST = Normalization((0.2860,), (0.3530,))

PAIRS = {
    pair.name: pair
    for pair in (
        Pair("resnet32x4", "resnet8x4", 3, 32, 100, 50_000, _CIFAR_100, (64, 128), 512),
        Pair("resnet56", "resnet20", 3, 32, 100, 50_000, _CIFAR_100, (64, 128), 1024),
        Pair("resnet20", "resnet8", 1, 28, 10, 60_000, _FASHION_MNIST, (64,), 4096),
    )
}
"""By name; the first is measured when none is named. Shapes and sizes are those of CIFAR-100 and Fashion-MNIST."""

BATCHES_ON_CUDA = 100
"""A round on a GPU: steps take milliseconds there."""

RULE = CropFlip(padding=4, flip=True)
"""The augmentation of both data sets; the peers have the same."""


def find_pair(name: str) -> Pair:
    """The pair of this name.

    Raises:
        InputError: there is none; the nearest is offered.
    """
    if name not in PAIRS:
        raise unknown_name("pair", name, PAIRS)
    return PAIRS[name]


@dataclass(frozen=True)
class Case:
    """A pair at a batch size; a round is so many batches."""

    pair: Pair
    batch_size: int
    batches: int

    @property
    def images(self) -> int:
        """Of a round."""
        return self.batch_size * self.batches

    def __str__(self) -> str:
        return f"{self.pair.name}, batch {self.batch_size}"


def usual_batches(pair: Pair, batch_size: int, device: torch.device) -> int:
    """How many batches make a round when nobody says: at least 2, at most an epoch."""
    wanted = BATCHES_ON_CUDA if device.type == "cuda" else pair.images_a_round // batch_size
    return max(2, min(wanted, pair.size // batch_size))


@dataclass(frozen=True)
class RunContext:
    """Images and labels made up: what a step costs does not depend on what is in them.

    Attributes:
        train: the training set, on the CPU.
        positions: the images that are shown in every round, from all over it; one batch more than a round has.
    """

    train: ImageSet
    positions: Int[Tensor, " some"]


def made_up(case: Case, seed: int = 0) -> RunContext:
    """Random pixels and labels in the shape of the case's data set, the same for a seed."""
    pair, generator = case.pair, torch.Generator().manual_seed(seed)
    size = max(pair.size, case.images + case.batch_size)
    shape = (size, pair.channels, pair.side, pair.side)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(pair.classes, (size,), generator=generator)
    positions = torch.randperm(size, generator=generator)[: case.images + case.batch_size]
    return RunContext(ImageSet(images, labels), positions)
