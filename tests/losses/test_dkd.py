"""Decoupled distillation: its identities with plain and refined distillation, values, gradients and edges."""

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import InputError
from preceptor.losses import DKD, RLD, kl_divergence, non_target_divergence, target_class_divergence
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(20, 6)
LABEL = torch.arange(20) % 6
TEMPERATURE = 4.0
TARGET = (TEACHER / TEMPERATURE).log_softmax(dim=1)


def expected(student: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """Row by row from the equations."""
    losses = []
    for z, t, y in zip(student, TEACHER.numpy(), LABEL.tolist(), strict=True):
        p, q = softmax(t / TEMPERATURE), softmax(z / TEMPERATURE)
        target = p[y] * np.log(p[y] / q[y]) + (1 - p[y]) * np.log((1 - p[y]) / (1 - q[y]))
        rest, own = np.delete(p, y) / (1 - p[y]), np.delete(q, y) / (1 - q[y])
        losses.append(TEMPERATURE**2 * (alpha * target + beta * sum(rest * np.log(rest / own))))
    return np.array(losses)


def test_value_and_gradient_are_those_of_the_equations() -> None:
    student = STUDENT.clone().requires_grad_()
    loss = DKD(alpha=0.7, beta=2.5)(student, TARGET, TEMPERATURE, LABEL)
    np.testing.assert_allclose(loss.detach().numpy(), expected(STUDENT.numpy(), 0.7, 2.5), rtol=1e-10)
    loss.sum().backward()
    by_differences = gradient_by_differences(lambda z: expected(z, 0.7, 2.5).sum(), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-6)


def test_with_the_teachers_own_weight_it_is_plain_distillation() -> None:
    beta = 1 - TARGET.exp().gather(1, LABEL.unsqueeze(1)).squeeze(1)
    first, second = (
        divergence(STUDENT, TARGET, LABEL, TEMPERATURE)
        for divergence in (target_class_divergence, non_target_divergence)
    )
    torch.testing.assert_close(first + beta * second, kl_divergence(STUDENT, TARGET, TEMPERATURE))


def test_where_the_teacher_is_right_refined_distillation_is_the_same() -> None:
    label = TEACHER.argmax(dim=1)
    refined = RLD(alpha=1.0, beta=8.0, confidence_temperature=None)(STUDENT, TEACHER, TEMPERATURE, label)
    torch.testing.assert_close(DKD()(STUDENT, TARGET, TEMPERATURE, label), refined)


def test_the_students_logit_of_the_label_has_no_part_in_the_other_classes() -> None:
    changed = STUDENT.scatter_add(1, LABEL.unsqueeze(1), torch.full((20, 1), 5.0, dtype=torch.float64))
    before, after = (non_target_divergence(student, TARGET, LABEL, TEMPERATURE) for student in (STUDENT, changed))
    torch.testing.assert_close(before, after, rtol=0, atol=1e-12)


@pytest.mark.parametrize("teacher", [torch.zeros(4, 3), 1e4 * torch.eye(4, 3), -1e4 * torch.eye(4, 3)])
@pytest.mark.parametrize("student", [torch.zeros(4, 3), 1e4 * torch.eye(4, 3).flip(1)])
def test_constant_and_certain_rows_are_finite(student: Tensor, teacher: Tensor) -> None:
    student = student.clone().requires_grad_()
    loss = DKD()(student, teacher.log_softmax(dim=1), 1.0, torch.tensor([0, 1, 2, 0]))
    loss.sum().backward()
    assert student.grad is not None
    assert loss.isfinite().all()
    assert student.grad.isfinite().all()


def test_of_two_classes_the_other_one_says_nothing() -> None:
    student, teacher = random_logits(5, 2)
    zeros = non_target_divergence(student, teacher.log_softmax(dim=1), torch.tensor([0, 1, 0, 1, 0]), 1.0)
    torch.testing.assert_close(zeros, torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"beta": float("inf")}, {"beta": float("nan")}])
def test_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"dkd: {next(iter(options))} = .*: expected a finite number, 0 or more"):
        DKD(**options)
