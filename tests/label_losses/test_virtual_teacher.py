"""The designed teacher: values and gradients in both forms, its optimum, edges."""

import math

import numpy as np
import pytest
import torch

from preceptor import DistillationLoss, InputError
from preceptor.label_losses import VirtualTeacher
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, _ = random_logits(8, 5)
LABEL = torch.arange(8) % 5


def expected(student: np.ndarray, faithful: bool) -> np.ndarray:
    losses = []
    for z, y in zip(student, LABEL.tolist(), strict=True):
        teacher = np.where(np.arange(5) == y, 0.9, 0.1 / 4)
        if faithful:
            p, q, factor = softmax(teacher / 20), softmax(z), 1
        else:
            powers = teacher ** (1 / 20)
            p, q, factor = powers / powers.sum(), softmax(z / 20), 400
        losses.append(factor * sum(p * np.log(p / q)))
    return np.array(losses)


@pytest.mark.parametrize("faithful", [False, True])
def test_value_and_gradient_are_those_of_the_equations(faithful: bool) -> None:
    student = STUDENT.clone().requires_grad_()
    loss = VirtualTeacher(correct_prob=0.9, faithful=faithful)(student, LABEL)
    np.testing.assert_allclose(loss.detach().numpy(), expected(STUDENT.numpy(), faithful), rtol=1e-9)
    loss.sum().backward()
    by_differences = gradient_by_differences(lambda z: expected(z, faithful).sum(), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-5)


def test_its_optimum_is_the_designed_distribution_and_the_published_forms_nearly_uniform() -> None:
    designed = torch.where(torch.eye(5)[LABEL] == 1, 0.99, 0.01 / 4).double()
    torch.testing.assert_close(VirtualTeacher()(designed.log(), LABEL), torch.zeros(8, dtype=torch.float64))
    at_published = VirtualTeacher(faithful=True)(designed / 20, LABEL)
    torch.testing.assert_close(at_published, torch.zeros(8, dtype=torch.float64))
    assert (designed / 20).softmax(dim=1).max() < 0.21


def test_the_recipe_needs_no_teacher() -> None:
    loss = DistillationLoss.from_recipe("tf-kd")
    assert not loss.uses_teacher
    total = loss(STUDENT, None, LABEL).total
    ce = -STUDENT.log_softmax(dim=1).gather(1, LABEL.unsqueeze(1)).mean()
    torch.testing.assert_close(total, 0.9 * ce + 0.1 * VirtualTeacher()(STUDENT, LABEL).mean())


def test_options_are_checked() -> None:
    for options, message in (
        ({"correct_prob": 1.0}, "correct_prob = 1.0: expected above 0 and below 1"),
        ({"temperature": math.inf}, "temperature = inf: expected a finite number above 0"),
    ):
        with pytest.raises(InputError, match=message):
            VirtualTeacher(**options)
    VirtualTeacher(correct_prob=0.3).check_classes(4)
    with pytest.raises(InputError, match="so that the label leads"):
        VirtualTeacher(correct_prob=0.25).check_classes(4)
