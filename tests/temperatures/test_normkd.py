"""NormKD: the equations of its recipe, invariance to the student's scale, edges."""

import numpy as np
import pytest
import torch

from preceptor import KL, DistillationLoss, InputError
from preceptor.temperatures import NormKD
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(10, 5)
LABEL = torch.arange(10) % 5


def deviation(row: np.ndarray) -> float:
    return float(np.sqrt(((row - row.mean()) ** 2).sum() / (len(row) - 1)))


def expected(student: np.ndarray) -> float:
    total = 0.0
    for z, t, y in zip(student, TEACHER.numpy(), LABEL.tolist(), strict=True):
        p, q = softmax(t / (2 * deviation(t))), softmax(z / (2 * deviation(z)))
        total += 0.9 * (2 * deviation(t)) ** 2 * sum(p * np.log(p / q)) - 0.1 * np.log(softmax(z)[y])
    return total / len(student)


def test_value_and_gradient_of_the_recipe_are_those_of_the_equations() -> None:
    student = STUDENT.clone().requires_grad_()
    total = DistillationLoss.from_recipe("normkd")(student, TEACHER, LABEL).total
    np.testing.assert_allclose(total.item(), expected(STUDENT.numpy()), rtol=1e-10)
    total.backward()
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), gradient_by_differences(expected, STUDENT.numpy()), atol=1e-7)


def test_the_students_scale_changes_nothing_and_the_teachers_the_factor_alone() -> None:
    loss = DistillationLoss(temperature=NormKD(), loss=KL())
    plain = loss(STUDENT, TEACHER, LABEL).total
    torch.testing.assert_close(loss(7 * STUDENT + 3, TEACHER, LABEL).total, plain)
    torch.testing.assert_close(loss(STUDENT, 3 * TEACHER - 1, LABEL).total, 9 * plain)


def test_the_audit_has_the_teachers_temperatures() -> None:
    audit = DistillationLoss(temperature=NormKD(factor=3.0), loss=KL())(STUDENT, TEACHER, LABEL).audit
    assert audit is not None
    torch.testing.assert_close(audit.temperature, 3 * TEACHER.std(dim=1))


def test_constant_and_huge_rows_are_finite() -> None:
    rows = torch.stack([torch.zeros(5), torch.full((5,), 1e4), 1e4 * torch.eye(5)[0], 1e-4 * torch.eye(5)[1]])
    student, teacher = rows.repeat(4, 1).requires_grad_(), rows.repeat_interleave(4, dim=0)
    output = DistillationLoss(temperature=NormKD(), loss=KL())(student, teacher, torch.zeros(16, dtype=torch.long))
    output.total.backward()
    assert output.total.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_the_factor_is_above_zero() -> None:
    with pytest.raises(InputError, match="normkd: factor = 0"):
        NormKD(0.0)
