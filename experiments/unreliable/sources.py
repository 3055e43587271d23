"""Data of the settings, each in three disjoint parts: for teachers, for students, for the test."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d

from preceptor.data import confusable_pairs, hold_out, load_dataset, subset

SPLIT_SEED = 0
"""The parts are the same for every seed of a benchmark; a seed draws students' images within their part."""

TEST_IMAGES = 5000
_CHUNK = 5000
_SMALLEST_PROBABILITY = 3e-8
"""In place of the zeros of stored float16 probabilities, whose logarithm a teacher file would otherwise make -87."""


@dataclass(frozen=True, eq=False)
class Part:
    """Images with their right labels; human annotators' labels and a stored model's probabilities where there are."""

    images: UInt8[Tensor, "n channels height width"]
    labels: Int[Tensor, " n"]
    human: Int[Tensor, " n"] | None = None
    outputs: Float[Tensor, "n classes"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Int[Tensor, " chosen"]) -> "Part":
        """The images at these indices, in this order."""
        chosen = [None if part is None else part[index] for part in (self.human, self.outputs)]
        return Part(self.images[index], self.labels[index], *chosen)


@dataclass(frozen=True, eq=False)
class Source:
    """A data set in three parts that share no image; no part for teachers where the outputs are stored."""

    class_names: tuple[str, ...]
    teacher: Part | None
    students: Part
    test: Part

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of classes that look alike, the most confusable first."""
        return confusable_pairs(self.students.images, self.students.labels, len(self.class_names))


def data_root() -> Path:
    """The folder of the named data sets, and of ``labels/``."""
    return Path(os.environ.get("PRECEPTOR_DATA") or "~/.cache/preceptor/data").expanduser()


def fashion() -> Source:
    """Fashion-MNIST: 54,000 training images for teachers, the other 6,000 for students."""
    data = load_dataset("fashion-mnist")
    assert data.test is not None
    train, test = Part(data.train.images, data.train.labels), Part(data.test.images, data.test.labels)
    teacher, students = hold_out(train.labels, 0.1, SPLIT_SEED, images=train.images)
    tested = subset(test.labels, TEST_IMAGES, SPLIT_SEED)
    return Source(data.class_names, train.take(teacher), train.take(students), test.take(tested))


def cifar_coarse() -> Source:
    """CIFAR-100 in its 20 coarse classes at 16 x 16 pixels, with the human labels of CIFAR-100N."""
    data = load_dataset("cifar100")
    assert data.test is not None
    with np.load(data_root() / "labels" / "cifar100n.npz") as file:
        people = {name: torch.from_numpy(file[name].astype(np.int64)) for name in file.files}
    if not torch.equal(people["clean"], data.train.labels):
        raise ValueError("cifar100n.npz: its labels are in another order than the training images of CIFAR-100")
    coarse = torch.zeros(len(data.class_names), dtype=torch.int64)
    coarse[people["clean"]] = people["clean_coarse"]
    train = Part(halved(data.train.images), people["clean_coarse"], people["noisy_coarse"])
    test = Part(halved(data.test.images), coarse[data.test.labels])
    teacher, students = hold_out(train.labels, 0.1, SPLIT_SEED, images=data.train.images)
    tested = subset(test.labels, TEST_IMAGES, SPLIT_SEED)
    names = tuple(str(number) for number in range(20))
    return Source(names, train.take(teacher), train.take(students), test.take(tested))


def cifar_stored() -> Source:
    """CIFAR-100's test images at 16 x 16 pixels, halved for students and test, with a real model's probabilities."""
    data = load_dataset("cifar100")
    assert data.test is not None
    with np.load(data_root() / "labels" / "cleanlab_cifar100_test_probs.npz") as file:
        outputs = torch.from_numpy(file["cifar100"].astype(np.float32)).clamp_min(_SMALLEST_PROBABILITY)
    every = Part(halved(data.test.images), data.test.labels, outputs=outputs / outputs.sum(dim=1, keepdim=True))
    students, tested = hold_out(every.labels, 0.5, SPLIT_SEED, images=data.test.images)
    return Source(data.class_names, None, every.take(students), every.take(tested))


def halved(images: UInt8[Tensor, "n channels height width"]) -> UInt8[Tensor, "n channels h w"]:
    """Images at half their resolution, so that a student takes seconds."""
    return torch.cat([avg_pool2d(part.float(), 2).round().to(torch.uint8) for part in images.split(_CHUNK)])


SOURCES: dict[str, Callable[[], Source]] = {
    "fashion-mnist": fashion,
    "cifar-100, 20 classes": cifar_coarse,
    "cifar-100, stored outputs": cifar_stored,
}
