"""A batch of four samples and a loss with a component in every slot, for the tests of the loss."""

from typing import Any

import torch
from torch import Tensor

from preceptor import (
    KL,
    CrossEntropy,
    DistillationLoss,
    DropWrong,
    Fixed,
    LabelRevision,
    LossOutput,
    LossTerm,
    SquaredErrorLogits,
    recipe,
)
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.selections import RankedSelection

TEACHER = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.5, 2.0], [1.0, 1.0, 0.0]])
STUDENT = torch.tensor([[2.0, 1.0, 0.5], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.3, 0.1, 0.2]])
LABEL = torch.tensor([0, 1, 2, -1])  # right, wrong, right, unlabeled
EVERYTHING: dict[str, Any] = {
    "correction": LabelRevision(),
    "temperature": Fixed(2.0),
    "selection": DropWrong(),
    "terms": {
        "ce": LossTerm(CrossEntropy(), 0.5),
        "kl": LossTerm(KL()),
        "far": LossTerm(SquaredErrorLogits(), 2.0, "right"),
    },
}


def scored(name: str, size: int = 4, classes: int = 4, **overrides: Any) -> DistillationLoss:
    """The loss of a recipe, fitted; a selection by score prefers the first samples of the training set."""
    loss = DistillationLoss(**recipe(name, overrides))
    if isinstance(loss.selection, RankedSelection):
        loss.selection.set_scores(torch.arange(size), -torch.arange(size).float(), size)
    loss.fit(selection_data(classes))
    loss.expect_samples(size)
    return loss


def selection_data(classes: int, samples: int = 64) -> SelectionData:
    """Selection data of a teacher that is right on most samples."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2 * samples, classes, generator=generator)
    label = (logits + torch.randn(logits.shape, generator=generator)).argmax(dim=1)
    train, held_out = (ModelOutputs(rows) for rows in logits.split(samples))
    snapshot = TeacherSnapshot(1.0, train, held_out)
    return SelectionData(
        torch.arange(samples), label[:samples], label[samples:], (snapshot,), has_bias=False, size=samples
    )


def ready(name: str, size: int = 4, classes: int = 4, **overrides: Any) -> DistillationLoss:
    """The loss of a recipe that can be called without networks: its feature losses compare a layer called "layer"."""
    loss = scored(name, size, classes, **overrides)
    for feature_loss in loss.feature_losses.values():
        feature_loss.resolve_layers(["layer"], ["layer"])
    maps = features(loss, 2)
    if maps:
        loss.build_adapters(maps["student_features"], maps["teacher_features"])
    return loss


def features(loss: DistillationLoss, samples: int, student: Tensor | None = None) -> dict[str, dict[str, Tensor]]:
    """What a loss with feature losses is called with, all ones, those of the student times its first logit where it is
    given; nothing for others."""
    if not loss.feature_losses:
        return {}
    maps = {name: torch.ones(samples, 2, 3, 3) for name in (*loss.student_layers, *loss.teacher_layers)}
    own = maps if student is None else {name: one * student[:, :1, None, None] for name, one in maps.items()}
    return {"student_features": own, "teacher_features": maps}


def suited(loss: DistillationLoss, student: Tensor) -> Tensor:
    """The logits, with one more output where the loss wants a reservation."""
    return torch.cat([student, student.new_zeros(len(student), 1)], dim=1) if loss.abstains else student


def learned(
    loss: DistillationLoss, student: Tensor, teacher: Tensor | None, label: Tensor
) -> tuple[LossOutput, Tensor]:
    student = student.detach().clone().requires_grad_()
    terms = loss(
        student, teacher, label, index=torch.arange(len(label)), progress=0.5, **features(loss, len(label), student)
    )
    terms.total.backward()
    assert student.grad is not None
    return terms, student.grad
