"""Swapped logit distillation: values, gradients with and without the published leak, the recipe's course."""

import numpy as np
import pytest
import torch

from preceptor import DistillationLoss, InputError
from preceptor.losses import SLD, SLDStudent
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(10, 5)
LABEL = torch.arange(10) % 5


def swap(logits: np.ndarray) -> np.ndarray:
    shifted = logits.copy()
    for z, y in zip(shifted, LABEL.tolist(), strict=True):
        top = int(z.argmax())
        z[[top, y]] = z[[y, top]]
    return shifted


def divergence(student: np.ndarray, target: np.ndarray) -> float:
    total = 0.0
    for temperature in range(1, 7):
        for z, t in zip(student, target, strict=True):
            p, q = softmax(t / temperature), softmax(z / temperature)
            total += temperature**2 * sum(p * np.log(p / q))
    return total


def test_the_recipe_swaps_the_teacher_and_late_the_student() -> None:
    early, late = (DistillationLoss.from_recipe("sld")(STUDENT, TEACHER, LABEL, progress=p) for p in (0.6, 0.63))
    of_teacher = 0.9 * divergence(STUDENT.numpy(), swap(TEACHER.numpy())) / 10
    for output in (early, late):
        np.testing.assert_allclose(output["teacher"].item(), of_teacher, rtol=1e-10)
    assert early["student"] == 0
    of_student = 0.9 * divergence(STUDENT.numpy(), swap(STUDENT.numpy())) / 10
    np.testing.assert_allclose(late["student"].item(), of_student, rtol=1e-10)


def test_the_gradient_of_the_teachers_part_is_that_of_the_equations() -> None:
    student = STUDENT.clone().requires_grad_()
    SLD()(student, TEACHER, 1.0, LABEL).sum().backward()
    by_differences = gradient_by_differences(lambda z: divergence(z, TEACHER.numpy()), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-5)


@pytest.mark.parametrize("faithful", [False, True])
def test_gradient_reaches_the_swapped_student_in_the_published_form_alone(faithful: bool) -> None:
    student, held = STUDENT.clone().requires_grad_(), swap(STUDENT.numpy())
    SLDStudent(faithful=faithful)(student, TEACHER, 1.0, LABEL).sum().backward()
    by_differences = gradient_by_differences(lambda z: divergence(z, swap(z) if faithful else held), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-5)


def test_a_student_that_names_the_label_has_nothing_to_learn_from_itself() -> None:
    student = STUDENT.clone().requires_grad_()
    loss = SLDStudent()(student, TEACHER, 1.0, STUDENT.argmax(dim=1))
    loss.sum().backward()
    assert student.grad is not None
    torch.testing.assert_close(loss, torch.zeros_like(loss))
    torch.testing.assert_close(student.grad, torch.zeros_like(student))


@pytest.mark.parametrize("temperatures", [[], [1.0, 0.0]])
@pytest.mark.parametrize("loss", [SLD, SLDStudent])
def test_temperatures_are_checked(loss: type[SLD], temperatures: list[float]) -> None:
    with pytest.raises(InputError, match=r"sld.*: temperatures .*above 0"):
        loss(temperatures=temperatures)
