"""RC: value and gradient with the raised logits held, its dependence on a constant, the recipe."""

import numpy as np
import pytest
import torch

from preceptor import DistillationLoss
from preceptor.losses import RC, raised_label
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(10, 5)
LABEL = torch.arange(10) % 5
RAISED = np.array([z + max(z) * (np.arange(5) == y) for z, y in zip(STUDENT.numpy(), LABEL.tolist(), strict=True)])


def expected(student: np.ndarray) -> np.ndarray:
    """At T = 4, with the raised logits held."""
    pairs = [(softmax(own / 4), softmax(z / 4)) for own, z in zip(RAISED, student, strict=True)]
    return np.array([16 * sum(p * np.log(p / q)) for p, q in pairs])


def test_value_and_gradient_are_those_of_the_equations() -> None:
    student = STUDENT.clone().requires_grad_()
    loss = RC()(student, TEACHER, 4.0, LABEL)
    np.testing.assert_allclose(loss.detach().numpy(), expected(STUDENT.numpy()), rtol=1e-10)
    loss.sum().backward()
    by_differences = gradient_by_differences(lambda z: expected(z).sum(), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-6)


def test_the_recipe_is_plain_distillation_and_a_tenth_of_it() -> None:
    losses = DistillationLoss.from_recipe("rc")(STUDENT, TEACHER, LABEL).losses
    kd = DistillationLoss.from_recipe("kd")(STUDENT, TEACHER, LABEL).losses
    torch.testing.assert_close(losses["ce"], kd["ce"] / 0.1)
    torch.testing.assert_close(losses["kl"], kd["kl"] / 0.9)
    np.testing.assert_allclose(losses["rc"].item(), 0.1 * expected(STUDENT.numpy()).mean(), rtol=1e-10)


def test_the_teacher_has_no_part_in_it() -> None:
    assert torch.equal(RC()(STUDENT, TEACHER, 4.0, LABEL), RC()(STUDENT, -TEACHER, 4.0, LABEL))


def test_a_constant_on_all_logits_changes_how_far_the_label_is_raised() -> None:
    logits, label = torch.tensor([[-3.0, -1.0, -2.0]]), torch.tensor([0])
    assert raised_label(logits, label)[0, 0] == -4  # lowered
    assert raised_label(logits + 5, label)[0, 0] == 6


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [1e4, 0.0, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4]])
def test_constant_and_huge_rows_are_finite(row: list[float]) -> None:
    student = torch.tensor([row] * 3).requires_grad_()
    loss = RC()(student, torch.zeros(3, 3), 4.0, torch.arange(3))
    loss.sum().backward()
    assert student.grad is not None
    assert loss.isfinite().all()
    assert student.grad.isfinite().all()
