"""The batches that conformance checks are run on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.context import UNLABELED, BatchContext, ModelOutputs, SelectionData, TeacherSnapshot, predicted_class

CLASSES = 5
EXTREME = 1e4
"""Logits up to this size must give finite losses and gradients."""
POSITIONS = 256
"""How many images the training set has that all batches are taken from."""


@dataclass(frozen=True)
class Batch:
    """What a training loop hands to a chain."""

    student: Float[Tensor, "batch outputs"]
    teacher: Float[Tensor, "batch classes"]
    label: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]

    @property
    def given(self) -> Mapping[str, Any]:
        """The keyword arguments of a chain's call besides the logits and the label."""
        return {"index": self.index, "progress": 0.5}

    @property
    def context(self) -> BatchContext:
        """The batch as temperatures and selections see it."""
        teacher_class = predicted_class(self.teacher)
        return BatchContext(self.student.detach(), self.teacher, self.label, teacher_class, self.index, 0.5)

    @property
    def taught_label(self) -> Int[Tensor, " batch"]:
        """The label, or the teacher's class where there is none."""
        return torch.where(self.label == UNLABELED, predicted_class(self.teacher), self.label)

    def cast(self, dtype: torch.dtype) -> "Batch":
        """The same with logits of another type."""
        return replace(self, student=self.student.to(dtype), teacher=self.teacher.to(dtype))

    def to(self, device: str) -> "Batch":
        """The same on another device."""
        return Batch(*(tensor.to(device) for tensor in (self.student, self.teacher, self.label, self.index)))

    def reordered(self, order: Tensor) -> "Batch":
        """The samples in another order."""
        return Batch(*(tensor[order] for tensor in (self.student, self.teacher, self.label, self.index)))


def plain_batch(samples: int = 8, dtype: torch.dtype = torch.float32, seed: int = 0) -> Batch:
    """Ordinary logits. Of every four samples the teacher gets two right and one wrong; one has no label."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(samples, CLASSES, generator=generator, dtype=dtype) for _ in range(2))
    position = torch.arange(samples)
    right = predicted_class(teacher)
    label = torch.where(position % 4 == 1, (right + 1 + position // 4 % (CLASSES - 1)) % CLASSES, right)
    return Batch(student, teacher, torch.where(position % 4 == 3, UNLABELED, label), 100 + 7 * position)


def extreme_batch() -> Batch:
    """Every pairing of a huge, a certain, a split, a constant and a tied row on either side, under every label."""
    rows = torch.zeros(6, CLASSES)
    rows[0, 0], rows[0, 1] = EXTREME, -EXTREME
    rows[1, 2] = EXTREME
    rows[2, :3] = EXTREME
    rows[3] = EXTREME
    rows[4] = -EXTREME
    cases = list(product(range(len(rows)), range(len(rows)), range(UNLABELED, CLASSES)))
    of_student, of_teacher, label = (torch.tensor(column) for column in zip(*cases, strict=True))
    return Batch(rows[of_student], rows[of_teacher], label, torch.arange(len(cases)))


def with_reservation(batch: Batch) -> Batch:
    """The same batch from a student that has one more output, as large as its others, to abstain with."""
    if batch.student.shape[1] > batch.teacher.shape[1]:
        return batch
    order = torch.randperm(len(batch.student), generator=torch.Generator().manual_seed(3))
    return replace(batch, student=torch.cat([batch.student, batch.student[order, :1]], dim=1))


def plain_evidence(dtype: torch.dtype = torch.float32) -> SelectionData:
    """What a selection is fitted on before it meets the batches: two checkpoints of a teacher with four features.

    The positions are those of all batches, in no order. The teacher gets most samples right; some have no label.
    """
    generator = torch.Generator().manual_seed(4)
    held_out = 64
    weights = torch.randn(4, CLASSES, generator=generator, dtype=dtype)
    features = torch.randn(POSITIONS + held_out, 4, generator=generator, dtype=dtype)
    noise = torch.randn(POSITIONS + held_out, CLASSES, generator=generator, dtype=dtype)
    label = predicted_class(features @ weights + 0.5 * noise)
    sample = torch.arange(POSITIONS)
    return SelectionData(
        index=torch.randperm(POSITIONS, generator=generator),
        label=torch.where(sample % 7 == 3, UNLABELED, label[:POSITIONS]),
        held_out_label=label[POSITIONS:],
        checkpoints=tuple(
            _checkpoint(rate, features * size, features @ weights * size) for rate, size in ((0.1, 0.5), (0.01, 1.0))
        ),
        has_bias=True,
        size=POSITIONS,
    )


def _checkpoint(learning_rate: float, features: Tensor, logits: Tensor) -> TeacherSnapshot:
    train, held_out = (
        ModelOutputs(logits[part], features[part]) for part in (slice(POSITIONS), slice(POSITIONS, None))
    )
    return TeacherSnapshot(learning_rate, train, held_out)
