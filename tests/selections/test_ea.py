"""Entropy-based weights: values, bounds, the published bound, and that they carry no gradient."""

import math

import numpy as np
import pytest
import torch

from preceptor import BatchContext, DistillationLoss, InputError
from preceptor.context import predicted_class
from preceptor.selections import EA
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(10, 6)
LABEL = torch.arange(10) % 6


def entropy(row: np.ndarray, temperature: float) -> float:
    p = softmax(row / temperature)
    return -float(sum(p * np.log(p)))


def weights(student: np.ndarray, largest: float) -> np.ndarray:
    pairs = zip(student, TEACHER.numpy(), strict=True)
    return np.array([0.5 * entropy(t, 3.0) * (1 + entropy(z, 3.0) / largest) for z, t in pairs])


def context(student: torch.Tensor, teacher: torch.Tensor) -> BatchContext:
    return BatchContext(student, teacher, torch.full((len(student),), -1), predicted_class(teacher))


@pytest.mark.parametrize(("faithful", "largest"), [(False, math.log(6)), (True, 100.0)])
def test_weights_are_those_of_the_equations(faithful: bool, largest: float) -> None:
    actual = EA(faithful=faithful)(context(STUDENT, TEACHER))
    np.testing.assert_allclose(actual.numpy(), weights(STUDENT.numpy(), largest), rtol=1e-12)


def test_value_and_gradient_of_the_recipe_with_weights_that_are_constants() -> None:
    student, fixed = STUDENT.clone().requires_grad_(), weights(STUDENT.numpy(), math.log(6))

    def expected(logits: np.ndarray) -> float:
        total = 0.0
        for z, t, y, w in zip(logits, TEACHER.numpy(), LABEL.tolist(), fixed, strict=True):
            p, q = softmax(t / 4), softmax(z / 4)
            total += 0.9 * w * 16 * sum(p * np.log(p / q)) - 0.1 * np.log(softmax(z)[y])
        return total / len(logits)

    loss = DistillationLoss.from_recipe("ea-kd")(student, TEACHER, LABEL).total
    np.testing.assert_allclose(loss.item(), expected(STUDENT.numpy()), rtol=1e-10)
    loss.backward()
    assert student.grad is not None
    by_differences = gradient_by_differences(expected, STUDENT.numpy())
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-7)


def test_a_certain_teacher_is_left_out_and_two_undecided_networks_count_most() -> None:
    certain, undecided = 1e4 * torch.eye(4)[:1], torch.zeros(1, 4)
    assert EA()(context(undecided, certain)).item() == 0
    assert EA()(context(undecided, undecided)).item() == pytest.approx(math.log(4))
    assert EA()(context(certain, undecided)).item() == pytest.approx(math.log(4) / 2)


def test_an_abstaining_students_extra_output_does_not_count() -> None:
    wider = torch.cat([STUDENT, torch.full((10, 1), 9.0, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(EA()(context(wider, TEACHER)), EA()(context(STUDENT, TEACHER)))


def test_the_temperature_is_above_zero() -> None:
    with pytest.raises(InputError, match="ea: temperature = 0"):
        EA(temperature=0.0)
