"""What is measured: pairs of teacher and student at a batch size, and variants of the same training step."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.errors import unknown_name
from preceptor.teachers.optimize import bf16_unsupported_reason


@dataclass(frozen=True)
class Pair:
    """A teacher, a student and the shape of their images.

    Attributes:
        teacher, student: architectures, see ``models.build_model``.
        channels, side: of the square images, in pixels.
        classes: of the labels.
        size: images in the training set, as many as the data set of this shape has.
        normalization: that data set's.
        batch_sizes: what ``--all`` measures.
        images_a_round: so many that a round on a CPU takes seconds, at any batch size.
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
"""By name, the default first. Shapes and sizes are those of CIFAR-100 and Fashion-MNIST."""

BATCHES_ON_CUDA = 100
"""A round on a GPU: steps take milliseconds there."""

AUGMENTATION = CropFlip(padding=4, flip=True)
"""That of both data sets."""


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
    """A pair at a batch size, so many batches a round."""

    pair: Pair
    batch_size: int
    batches: int

    @property
    def images(self) -> int:
        """Of a round."""
        return self.batch_size * self.batches

    def __str__(self) -> str:
        return f"{self.pair.name}, batch {self.batch_size}"


def default_batches(pair: Pair, batch_size: int, device: torch.device) -> int:
    """Batches a round: at least 2, at most an epoch."""
    wanted = BATCHES_ON_CUDA if device.type == "cuda" else pair.images_a_round // batch_size
    return max(2, min(wanted, pair.size // batch_size))


@dataclass(frozen=True)
class RandomData:
    """Random images and labels: the cost of a step does not depend on their content.

    Attributes:
        train: the training set, on the CPU.
        index: the images of every round, from all over the set; one batch more than a round has.
    """

    train: ImageSet
    index: Int[Tensor, " some"]


def random_data(case: Case, seed: int = 0) -> RandomData:
    """Random pixels and labels in the shape of the case's data set, the same for a seed."""
    pair, generator = case.pair, torch.Generator().manual_seed(seed)
    size = max(pair.size, case.images + case.batch_size)
    shape = (size, pair.channels, pair.side, pair.side)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(pair.classes, (size,), generator=generator)
    index = torch.randperm(size, generator=generator)[: case.images + case.batch_size]
    return RandomData(ImageSet(images, labels), index)


BASELINE, ALONE = "baseline", "student-alone"


@dataclass(frozen=True)
class Variant:
    """One way to do the training step.

    Attributes:
        name: on the command line and in the result.
        about: what it does, in a line.
        source: "baseline" is the baseline loop; otherwise the source of our loop's teacher outputs.
        fp32: the student is fp32 and eager; otherwise precision and compiling are the defaults.
        bf16_teacher: the teacher's precision; None is the default.
        students: trained in one pass over the data; measured per student.
        needs_bf16: it differs from others only where the device has units for bf16.
    """

    name: str
    about: str
    source: Literal["baseline", "live", "cache", "none"]
    fp32: bool = False
    bf16_teacher: bool | None = None
    students: int = 1
    needs_bf16: bool = False

    def reason_to_leave_out(self, device: torch.device) -> str | None:
        """Why it is not worth measuring on a device; None when it is."""
        return bf16_unsupported_reason(device) if self.needs_bf16 else None


_LIVE_FP32 = "live teacher in fp32 with batch norm folded; student in fp32; nothing compiled"
VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(
            BASELINE,
            "baseline loop: PIL in 2 worker processes, fp32, channels first, nothing compiled",
            "baseline",
        ),
        Variant("live-fp32", _LIVE_FP32, "live", fp32=True, bf16_teacher=False),
        Variant(
            "live-bf16-teacher",
            "the same with the teacher in bf16",
            "live",
            fp32=True,
            bf16_teacher=True,
            needs_bf16=True,
        ),
        Variant("live", "live teacher, all defaults", "live"),
        Variant("cache", "teacher outputs from a filled cache, all defaults", "cache"),
        Variant(
            "cache-fp32", "the same with the student in fp32, nothing compiled", "cache", fp32=True, needs_bf16=True
        ),
        Variant(ALONE, "no teacher, labels alone, all defaults: the floor", "none"),
        Variant("live-8", "8 students of one live teacher, per student, all defaults", "live", students=8),
    )
}
"""By name, the baseline first."""


def find_variants(names: Iterable[str]) -> list[Variant]:
    """The variants of these names in the order of :data:`VARIANTS`, always with the baseline.

    Raises:
        InputError: one is unknown; the nearest is offered.
    """
    wanted = {BASELINE, *names}
    for name in wanted - set(VARIANTS):
        raise unknown_name("variant", name, VARIANTS)
    return [variant for variant in VARIANTS.values() if variant.name in wanted]
