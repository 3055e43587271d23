"""Any correction with any temperature, method, selection and head: properties that hold in every combination."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor

from preceptor import DistillationLoss, LossTerm
from preceptor.component_types import ComponentType, declares
from preceptor.conformance.batch import TRAIN_SIZE, Batch, feature_maps, plain_batch, with_reservation
from preceptor.conformance.check import ComponentCase
from preceptor.loss_output import LossOutput
from preceptor.registry import build_component, components, find_component

BATCH = plain_batch(samples=12, dtype=torch.float64)
ABSTAINING = with_reservation(BATCH)


def names(kind: ComponentType) -> list[str]:
    return [info.name for info in components(kind)]


def options(kind: ComponentType) -> list[str | None]:
    return [None, *names(kind)]


HEADS: dict[str, list[str]] = {
    "plain": ["cross_entropy"],
    "smoothed": ["label_smoothing"],
    "gambling": ["cross_entropy", "gambler"],
    "adaptive": ["self_adaptive", "entropy"],
    "virtual": ["virtual_teacher"],
}
METHODS = [*names("loss"), *names("feature_loss")]
SLOTS: tuple[Sequence[str | None], ...] = (
    options("correction"),
    options("temperature"),
    METHODS,
    options("selection"),
    list(HEADS),
)
EVERY = 9
COMBINATIONS: list[tuple[Any, ...]] = [
    tuple(slot[place] for slot, place in zip(SLOTS, places, strict=True))
    for places in product(*(range(len(slot)) for slot in SLOTS))
    if sum(places) % EVERY == 0
]
"""Of the whole product every ninth, in which any three of a slot each stand together: many, so that a sixth of them is
tried by day and all by night."""


@cache
def ready(kind: ComponentType, name: str) -> Any:
    """Fitted, its adapters built."""
    return ComponentCase(find_component(kind, name)).build()


def slot(kind: ComponentType, name: str | None) -> Any:
    return None if name is None else deepcopy(ready(kind, name))


def built(
    correction: str | None, temperature: str | None, method: str, selection: str | None, head: str
) -> DistillationLoss:
    slots: dict[str, Any] = {
        "correction": slot("correction", correction),
        "temperature": slot("temperature", temperature),
        "selection": slot("selection", selection),
    }
    terms = {f"truth_{name}": LossTerm(build_component("label_loss", name), 0.5) for name in HEADS[head]}
    loss = slot("feature_loss" if method in names("feature_loss") else "loss", method)
    whole = DistillationLoss(**slots, terms={"loss": LossTerm(loss), **terms}).double()
    whole.expect_samples(TRAIN_SIZE)
    return whole.eval()  # so that beliefs, too, are the same at every call


def call(loss: DistillationLoss, student: Tensor, teacher: Tensor, label: Tensor, index: Tensor) -> LossOutput:
    """With features made of the logits: what reaches them reaches these."""
    equal = declares(loss.terms["loss"].loss, "equal_channels")
    own, other = feature_maps(Batch(student, teacher, label, index), equal_channels=equal)
    features = {"student_features": own, "teacher_features": other} if loss.feature_losses else {}
    return loss(student, teacher, label, index=index, progress=0.5, **features)


def forward_backward(loss: DistillationLoss, order: Tensor | None = None, **given: Tensor) -> tuple[Any, Tensor]:
    batch = ABSTAINING if loss.abstains else BATCH
    parts = {"student": batch.student, "teacher": batch.teacher, "label": batch.label, "index": batch.index, **given}
    if order is not None:
        parts = {name: part[order] for name, part in parts.items()}
    student = parts["student"].detach().clone().requires_grad_()
    terms = call(loss, **{**parts, "student": student})
    terms.total.backward()
    assert student.grad is not None
    return terms, student.grad


def test_any_three_stand_together() -> None:
    """Every registered correction, temperature, loss, feature loss and selection takes part, those of later versions
    too."""
    for three in combinations(range(len(SLOTS)), 3):
        together = {tuple(combination[slot] for slot in three) for combination in COMBINATIONS}
        assert together == set(product(*(SLOTS[slot] for slot in three))), three
    heads = {name for kinds in HEADS.values() for name in kinds}
    assert heads == set(names("label_loss"))


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("correction", options("correction"))
def test_every_combination_trains(correction: str | None, method: str, every: int) -> None:
    """Loss and gradient are finite; a sample of weight zero, the order of the batch and the teacher's gradient keep
    their guarantees whatever stands beside."""
    order = torch.randperm(len(BATCH.label), generator=torch.Generator().manual_seed(0))
    for combination in COMBINATIONS[::every]:
        if combination[0] == correction and combination[2] == method:
            check(built(*combination), order, combination)


def check(loss: DistillationLoss, order: Tensor, what: Any) -> None:
    teacher = BATCH.teacher.clone().requires_grad_()
    terms, gradient = forward_backward(loss, teacher=teacher)
    audit = terms.audit
    assert terms.total.isfinite(), what
    assert gradient.isfinite().all(), what
    assert teacher.grad is None, what
    torch.testing.assert_close(terms.total, sum(terms.losses.values()), msg=str(what))
    rows = audit.target.exp().sum(dim=1)
    torch.testing.assert_close(rows, torch.ones_like(rows), msg=str(what))
    assert (audit.corrected <= audit.queried).all(), what
    reordered, reordered_gradient = forward_backward(loss, order)
    torch.testing.assert_close(reordered.total, terms.total, msg=str(what))
    torch.testing.assert_close(reordered_gradient, gradient[order], msg=str(what))
    label_gradient = label_loss_gradient(loss)
    ignored = audit.weight == 0
    assert torch.equal(label_gradient[ignored], gradient[ignored]), what
    replaced = torch.where(audit.queried.unsqueeze(1), BATCH.teacher, torch.full_like(BATCH.teacher, torch.nan))
    unchanged, unchanged_gradient = forward_backward(loss, teacher=replaced)
    assert torch.equal(unchanged.total, terms.total), what
    assert torch.equal(unchanged_gradient, gradient), what
    assert all(p.grad is None or p.grad.isfinite().all() for p in loss.parameters()), what
    if loss.abstains and not declares(loss.terms["loss"].loss, "wants_reservation"):
        assert (gradient[:, -1] != 0).any(), what


def label_loss_gradient(distillation_loss: DistillationLoss) -> Tensor:
    """The gradient of the label losses alone."""
    batch = ABSTAINING if distillation_loss.abstains else BATCH
    student = batch.student.detach().clone().requires_grad_()
    terms = call(distillation_loss, student, batch.teacher, batch.label, batch.index)
    sum(loss for name, loss in terms.losses.items() if name != "loss").backward()
    assert student.grad is not None
    return student.grad
