"""Transformed teacher matching: the power is a temperature of the teacher alone; values, gradients, edges."""

import numpy as np
import pytest
import torch

from preceptor import DistillationLoss, InputError
from preceptor.losses import TTM, WTTM, kl_divergence, power_transform
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(15, 5)
LABEL = torch.arange(15) % 5
TARGET = TEACHER.log_softmax(dim=1)


def expected(student: np.ndarray, gamma: float, weighted: bool) -> np.ndarray:
    losses = []
    for z, t in zip(student, TEACHER.numpy(), strict=True):
        powers, q = softmax(t) ** gamma, softmax(z)
        p = powers / powers.sum()
        losses.append((powers.sum() if weighted else 1) * sum(p * np.log(p / q)))
    return np.array(losses)


@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient_are_those_of_the_equations(weighted: bool) -> None:
    student = STUDENT.clone().requires_grad_()
    loss = (WTTM if weighted else TTM)(gamma=0.3)(student, TARGET, 1.0, LABEL)
    np.testing.assert_allclose(loss.detach().numpy(), expected(STUDENT.numpy(), 0.3, weighted), rtol=1e-10)
    loss.sum().backward()
    by_differences = gradient_by_differences(lambda z: expected(z, 0.3, weighted).sum(), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-6)


@pytest.mark.parametrize(("name", "gamma", "weight"), [("ttm", 0.1, 45), ("wttm", 0.2, 4)])
def test_the_recipes_have_no_factor_of_the_temperature(name: str, gamma: float, weight: float) -> None:
    losses = DistillationLoss.from_recipe(name)(STUDENT, TEACHER, LABEL).losses
    of_equations = weight * expected(STUDENT.numpy(), gamma, name == "wttm").mean()
    np.testing.assert_allclose(losses[name].item(), of_equations, rtol=1e-10)


@pytest.mark.parametrize("temperature", [2.0, 4.0, 10.0])
def test_the_power_is_a_temperature_of_the_teacher(temperature: float) -> None:
    softened = (TEACHER / temperature).log_softmax(dim=1)
    torch.testing.assert_close(power_transform(TARGET, 1 / temperature)[0], softened)
    loss = TTM(gamma=1 / temperature)(STUDENT, TARGET, 1.0, LABEL)
    torch.testing.assert_close(loss, kl_divergence(STUDENT, softened, 1.0))


def test_the_power_sum_is_one_for_a_certain_teacher_and_largest_for_an_undecided_one() -> None:
    rows = torch.stack([1e4 * torch.eye(8)[3], torch.zeros(8)]).log_softmax(dim=1)
    torch.testing.assert_close(power_transform(rows, 0.2)[1], torch.tensor([1.0, 8**0.8]))
    assert (power_transform(TARGET, 1.0)[1] - 1).abs().max() < 1e-12  # p itself


@pytest.mark.parametrize("loss", [TTM(), WTTM()])
def test_certain_and_constant_rows_are_finite(loss: TTM) -> None:
    student = torch.stack([torch.zeros(3), 1e4 * torch.eye(3)[0], -1e4 * torch.eye(3)[0]]).requires_grad_()
    for teacher in (torch.zeros(3, 3), 1e4 * torch.eye(3)):
        total = loss(student, teacher.log_softmax(dim=1), 1.0, torch.tensor([0, 1, 0])).sum()
        (gradient,) = torch.autograd.grad(total, student)
        assert total.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", [TTM, WTTM])
def test_the_power_is_above_zero(loss: type[TTM]) -> None:
    with pytest.raises(InputError, match="ttm: gamma = 0"):
        loss(gamma=0.0)
