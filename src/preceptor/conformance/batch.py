"""Batches and selection data on which conformance checks run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.context import UNLABELED, BatchContext, ModelOutputs, SelectionData, TeacherSnapshot, predicted_class
from preceptor.feature_losses.layers import PRE

CLASSES = 5
EXTREME = 1e4
"""Logits up to this size must give finite losses and gradients."""
TRAIN_SIZE = 256
"""Images in the training set from which all batches are taken."""


@dataclass(frozen=True)
class Batch:
    """The tensors with which a training loop calls a :class:`preceptor.DistillationLoss`."""

    student: Float[Tensor, "batch outputs"]
    teacher: Float[Tensor, "batch classes"]
    label: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]

    @property
    def keywords(self) -> Mapping[str, Any]:
        return {"index": self.index, "progress": 0.5}

    @property
    def context(self) -> BatchContext:
        """The batch as temperatures and selections get it."""
        teacher_class = predicted_class(self.teacher)
        return BatchContext(self.student.detach(), self.teacher, self.label, teacher_class, self.index, 0.5)

    def cast(self, dtype: torch.dtype) -> "Batch":
        return replace(self, student=self.student.to(dtype), teacher=self.teacher.to(dtype))

    def to(self, device: str) -> "Batch":
        return Batch(*(tensor.to(device) for tensor in (self.student, self.teacher, self.label, self.index)))

    def reordered(self, order: Tensor) -> "Batch":
        return Batch(*(tensor[order] for tensor in (self.student, self.teacher, self.label, self.index)))


def plain_batch(samples: int = 8, dtype: torch.dtype = torch.float32, seed: int = 0) -> Batch:
    """Ordinary logits. Of every four samples the teacher is right on two and wrong on one; one has no label."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(samples, CLASSES, generator=generator, dtype=dtype) for _ in range(2))
    sample = torch.arange(samples)
    teacher_class = predicted_class(teacher)
    wrong_label = (teacher_class + 1 + sample // 4 % (CLASSES - 1)) % CLASSES
    label = torch.where(sample % 4 == 1, wrong_label, teacher_class)
    return Batch(student, teacher, torch.where(sample % 4 == 3, UNLABELED, label), 100 + 7 * sample)


def extreme_batch() -> Batch:
    """Every pair of a huge, a certain, a split, two constant and a zero row, with every label."""
    rows = torch.zeros(6, CLASSES)
    rows[0, 0], rows[0, 1] = EXTREME, -EXTREME
    rows[1, 2] = EXTREME
    rows[2, :3] = EXTREME
    rows[3] = EXTREME
    rows[4] = -EXTREME
    cases = list(product(range(len(rows)), range(len(rows)), range(UNLABELED, CLASSES)))
    student_row, teacher_row, label = (torch.tensor(column) for column in zip(*cases, strict=True))
    return Batch(rows[student_row], rows[teacher_row], label, torch.arange(len(cases)))


def degenerate_batches(samples: int = 8, dtype: torch.dtype = torch.float32) -> dict[str, Batch]:
    """Ordinary logits where the teacher is right on all samples or wrong on all, or all have one class; and rows of
    equal logits, the same in all samples, of the student or of the teacher."""
    plain = plain_batch(samples, dtype)
    teacher_class = predicted_class(plain.teacher)
    labeled = replace(plain, label=(teacher_class + torch.arange(samples) % 2) % CLASSES)
    constant = torch.full_like(plain.teacher, 0.5)
    return {
        "teacher right on all": replace(plain, label=teacher_class),
        "teacher wrong on all": replace(plain, label=(teacher_class + 1) % CLASSES),
        "labels of one class": replace(plain, label=torch.zeros_like(plain.label)),
        "constant student": replace(labeled, student=constant),
        "constant teacher": replace(labeled, teacher=constant),
    }


def with_reservation(batch: Batch) -> Batch:
    """The same batch from a student with one more output, as large as its others, to abstain with."""
    if batch.student.shape[1] > batch.teacher.shape[1]:
        return batch
    order = torch.randperm(len(batch.student), generator=torch.Generator().manual_seed(3))
    return replace(batch, student=torch.cat([batch.student, batch.student[order, :1]], dim=1))


def plain_selection_data(dtype: torch.dtype = torch.float32) -> SelectionData:
    """The data on which selections are fitted: two checkpoints of a teacher with four features.

    The indices cover those of all batches, unsorted. The teacher is right on most samples; some have no label.
    """
    generator = torch.Generator().manual_seed(4)
    held_out = 64
    weights = torch.randn(4, CLASSES, generator=generator, dtype=dtype)
    features = torch.randn(TRAIN_SIZE + held_out, 4, generator=generator, dtype=dtype)
    noise = torch.randn(TRAIN_SIZE + held_out, CLASSES, generator=generator, dtype=dtype)
    label = predicted_class(features @ weights + 0.5 * noise)
    sample = torch.arange(TRAIN_SIZE)
    return SelectionData(
        index=torch.randperm(TRAIN_SIZE, generator=generator),
        label=torch.where(sample % 7 == 3, UNLABELED, label[:TRAIN_SIZE]),
        held_out_label=label[TRAIN_SIZE:],
        checkpoints=tuple(
            _snapshot(rate, features * size, features @ weights * size) for rate, size in ((0.1, 0.5), (0.01, 1.0))
        ),
        has_bias=True,
        size=TRAIN_SIZE,
    )


def _snapshot(learning_rate: float, features: Tensor, logits: Tensor) -> TeacherSnapshot:
    train, held_out = (
        ModelOutputs(logits[rows], features[rows]) for rows in (slice(TRAIN_SIZE), slice(TRAIN_SIZE, None))
    )
    return TeacherSnapshot(learning_rate, train, held_out)


FEATURE_LAYERS = ("first", "second", "third")


def feature_maps(batch: Batch, *, equal_channels: bool = False) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features of student and teacher on a batch: logits as channels, spread over 4 x 4 pixels in a pattern a layer.

    The teacher's have twice the channels, so that a loss which needs equal shapes has to adapt them; one that states
    ``equal_channels`` gets as many of both.
    """
    own = batch.student[:, : batch.teacher.shape[1]]  # features know nothing of a reservation
    student = {layer: _map(own, number) for number, layer in enumerate(FEATURE_LAYERS)}
    doubled = batch.teacher if equal_channels else torch.cat([batch.teacher, -batch.teacher], dim=1)
    teacher = {layer: _map(doubled, number + 1) for number, layer in enumerate(FEATURE_LAYERS)}
    return student, {**teacher, **{layer + PRE: features for layer, features in teacher.items()}}


def _map(logits: Tensor, number: int) -> Tensor:
    channels = logits.shape[1]
    pattern = (torch.arange(channels * 16, device=logits.device) * (7 + number) % 5 - 2).reshape(channels, 4, 4) / 4
    return logits[:, :, None, None] * (1 + pattern.to(logits.dtype))
