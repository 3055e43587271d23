"""Normalized distillation: values, gradients, and that the label's class is really removed."""

import numpy as np
import pytest
import torch

from preceptor import DistillationLoss, InputError
from preceptor.losses import NKD, non_target_cross_entropy, non_target_divergence
from preceptor.losses.divergences import log_probs_among
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(15, 5)
LABEL = torch.arange(15) % 5


def expected(student: np.ndarray, gamma: float, temperature: float) -> np.ndarray:
    losses = []
    for z, t, y in zip(student, TEACHER.numpy(), LABEL.tolist(), strict=True):
        p, q = softmax(np.delete(t, y) / temperature), softmax(np.delete(z, y) / temperature)
        losses.append(-softmax(t)[y] * np.log(softmax(z)[y]) - gamma * temperature**2 * sum(p * np.log(q)))
    return np.array(losses)


@pytest.mark.parametrize(("gamma", "temperature"), [(1.5, 1.0), (3.5, 3.0)])
def test_value_and_gradient_are_those_of_the_equations(gamma: float, temperature: float) -> None:
    student = STUDENT.clone().requires_grad_()
    loss = NKD(gamma)(student, TEACHER, temperature, LABEL)
    np.testing.assert_allclose(loss.detach().numpy(), expected(STUDENT.numpy(), gamma, temperature), rtol=1e-10)
    loss.sum().backward()
    by_differences = gradient_by_differences(lambda z: expected(z, gamma, temperature).sum(), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-6)


def test_the_recipe_adds_cross_entropy() -> None:
    total = DistillationLoss.from_recipe("nkd")(STUDENT, TEACHER, LABEL).total
    ce = np.array([-np.log(softmax(z)[y]) for z, y in zip(STUDENT.numpy(), LABEL.tolist(), strict=True)])
    np.testing.assert_allclose(total.item(), (ce + expected(STUDENT.numpy(), 1.5, 1.0)).mean(), rtol=1e-10)


def test_the_distribution_over_the_others_is_whole_without_the_label() -> None:
    others = ~torch.nn.functional.one_hot(LABEL, 5).bool()
    probs = log_probs_among(TEACHER, others).exp()
    assert (probs[~others] == 0).all()
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(15, dtype=torch.float64))
    for rows in (STUDENT, TEACHER):
        changed = torch.where(others, rows, rows + 7)
        arguments = (changed, TEACHER) if rows is STUDENT else (STUDENT, changed)
        torch.testing.assert_close(
            non_target_cross_entropy(*arguments, LABEL, 2.0), non_target_cross_entropy(STUDENT, TEACHER, LABEL, 2.0)
        )


def test_it_differs_from_the_divergence_by_the_teachers_entropy_alone() -> None:
    others = ~torch.nn.functional.one_hot(LABEL, 5).bool()
    log_p = log_probs_among(TEACHER / 2, others)
    entropy = -torch.where(others, log_p.exp() * log_p, 0).sum(dim=1)
    divergence = non_target_divergence(STUDENT, (TEACHER / 2).log_softmax(dim=1), LABEL, 2.0)
    torch.testing.assert_close(non_target_cross_entropy(STUDENT, TEACHER, LABEL, 2.0), divergence + entropy)


def test_certain_and_constant_rows_are_finite() -> None:
    student = torch.stack([torch.zeros(3), 1e4 * torch.eye(3)[0], -1e4 * torch.eye(3)[0]]).requires_grad_()
    for teacher in (torch.zeros(3, 3), 1e4 * torch.eye(3)):
        loss = NKD()(student, teacher, 1.0, torch.tensor([0, 1, 0])).sum()
        (gradient,) = torch.autograd.grad(loss, student)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_a_weight_below_zero_is_refused() -> None:
    with pytest.raises(InputError, match=r"nkd: gamma = -1.0: expected a finite number, 0 or more"):
        NKD(gamma=-1.0)
