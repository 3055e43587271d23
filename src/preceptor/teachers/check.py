"""Checks of a teacher on the training images, before the first step of training."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.chunking import Table
from preceptor.context import UNLABELED, predicted_class
from preceptor.data.lazy import Inputs
from preceptor.errors import InputError
from preceptor.teachers.base import Teacher

_ENOUGH_TO_DIFFER = 16
"""On fewer images a confident teacher may well give the same logits, to the last bit."""


@dataclass(frozen=True)
class TeacherCheck:
    """How a teacher does on the training images.

    Attributes:
        images: number of training images, without augmentation.
        accuracy: share of the labeled ones whose given label it predicts; None when none is labeled.
        wrong: number of labeled ones it gets wrong, the samples that a correction changes.
    """

    images: int
    accuracy: float | None
    wrong: int


@dataclass(frozen=True, eq=False)
class TeacherPredictions:
    """A teacher's predictions on training images, on the CPU.

    Attributes:
        index: of the images in the training set.
        label: their given labels; -1 where there is none.
        predicted: the classes of its largest logits.
        confidence: their probabilities.
    """

    index: Int[Tensor, " n"]
    label: Int[Tensor, " n"]
    predicted: Int[Tensor, " n"]
    confidence: Float[Tensor, " n"]

    @property
    def labeled(self) -> Bool[Tensor, " n"]:
        """Inputs that have a label."""
        return self.label != UNLABELED

    @property
    def wrong(self) -> Bool[Tensor, " n"]:
        """Labeled images for which it predicts another class."""
        return self.labeled & (self.predicted != self.label)

    @property
    def check(self) -> TeacherCheck:
        """The numbers they add up to."""
        count, wrong = int(self.labeled.sum()), int(self.wrong.sum())
        return TeacherCheck(len(self.label), (count - wrong) / count if count else None, wrong)

    def confusion(self, classes: int) -> Int[Tensor, "labels outputs"]:
        """Number of images of each label (row) that are predicted as each class (column)."""
        cells = (self.label * classes + self.predicted)[self.labeled]
        return torch.bincount(cells, minlength=classes**2).reshape(classes, classes)


def check_teacher(
    teacher: Teacher, inputs: Any, labels: Int[Tensor, " n"], classes: int, **options: Any
) -> TeacherCheck:
    """How a teacher does on training images; arguments as for :func:`predict_training_images`."""
    return predict_training_images(teacher, inputs, labels, classes, **options).check


def predict_training_images(
    teacher: Teacher,
    images: Inputs,
    labels: Int[Tensor, " n"],
    classes: int,
    *,
    index: Int[Tensor, " n"] | None = None,
    view: int = 0,
    batch_size: int = 512,
) -> TeacherPredictions:
    """Query the teacher once on training images.

    Args:
        teacher: to be queried.
        images: training images, uint8, on the teacher's device.
        labels: their given labels; -1 where there is none.
        classes: of the data set.
        index: of the images in the training set; None is their order.
        view: number of the view they are in, see ``data.CropFlip.identity``.
        batch_size: images at a time; no more logits than these are held.

    Raises:
        InputError: another number of classes than the data set, logits that are not finite (the first such image is
            named), or the same ones for every image.
    """
    index = torch.arange(len(images)) if index is None else index.cpu()
    predicted, finite, confidence = (Table(len(images)) for _ in range(3))
    first: Tensor | None = None
    constant = True
    for part, part_index in zip(images.split(batch_size), index.split(batch_size), strict=True):
        logits = teacher.outputs(part, part_index, torch.full_like(part_index, view)).logits
        if logits.shape[1] != classes:
            raise InputError(
                f"the teacher has {logits.shape[1]} classes, the data set {classes}: "
                "use a teacher trained on these classes, in this order"
            )
        first = logits[:1].clone() if first is None else first
        predicted.add(predicted_class(logits))
        finite.add(logits.isfinite().all(dim=1))
        confidence.add(logits.softmax(dim=1).amax(dim=1))
        constant = constant and bool((logits == first).all())
    _check_finite(finite.rows.cpu(), images, index)
    if constant and len(images) >= _ENOUGH_TO_DIFFER and len(labels.unique()) > 1:
        raise InputError(
            f"the teacher's logits are the same for all {len(images)} training images, to the last bit: it teaches "
            "nothing; check its weights, its file and the range of its input"
        )
    return TeacherPredictions(index, labels.cpu().long(), predicted.rows.cpu(), confidence.rows.cpu())


def _check_finite(finite: Bool[Tensor, " n"], images: Inputs, index: Int[Tensor, " n"]) -> None:
    bad = (~finite).nonzero().flatten()
    if not len(bad):
        return
    shown, number = images[int(bad[0])], int(index[bad[0]])
    if isinstance(shown, Tensor) and not bool(shown.isfinite().all()):
        raise InputError(f"training input {number} holds a number that is not finite: mend or remove it")
    raise InputError(
        f"the teacher's logits are not finite for {len(bad)} of {len(images)} training images, the first at "
        f"index {number}: check its weights and the range of its input"
    )
