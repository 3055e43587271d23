"""Refined logit distillation: decoupled distillation where the teacher is right, a mask where it is wrong."""

import pytest
import torch
from torch import Tensor

from preceptor import InputError
from preceptor.losses import RLD, confidence_divergence, masked_divergence

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (3 * torch.randn(20, 6, generator=GENERATOR, dtype=torch.float64) for _ in range(2))


def decoupled(student: Tensor, teacher: Tensor, label: Tensor, temperature: float, alpha: float, beta: float) -> Tensor:
    """DKD, row by row from its definition."""
    losses = []
    for z, t, y in zip(student / temperature, teacher / temperature, label.tolist(), strict=True):
        p, q, others = t.softmax(0), z.softmax(0), [c for c in range(len(z)) if c != y]
        target = p[y] * (p[y] / q[y]).log() + (1 - p[y]) * ((1 - p[y]) / (1 - q[y])).log()
        rest, own = t[others].softmax(0), z[others].softmax(0)
        losses.append(temperature**2 * (alpha * target + beta * (rest * (rest / own).log()).sum()))
    return torch.stack(losses)


def test_where_the_teacher_is_right_it_is_decoupled_distillation() -> None:
    label = TEACHER.argmax(dim=1)
    loss = RLD(alpha=0.7, beta=8.0, confidence_temperature=None)(STUDENT, TEACHER, 4.0, label)
    torch.testing.assert_close(loss, decoupled(STUDENT, TEACHER, label, 4.0, 0.7, 8.0))


def test_with_the_teachers_own_weight_it_is_plain_distillation() -> None:
    """DKD with beta = 1 - p_y for each sample is KD."""
    label = TEACHER.argmax(dim=1)
    beta = 1 - (TEACHER / 4).softmax(dim=1).gather(1, label.unsqueeze(1)).squeeze(1)
    parts = (divergence(STUDENT, TEACHER, label, 4.0) for divergence in (confidence_divergence, masked_divergence))
    first, second = parts
    log_p, log_q = (TEACHER / 4).log_softmax(dim=1), (STUDENT / 4).log_softmax(dim=1)
    torch.testing.assert_close(first + beta * second, (log_p.exp() * (log_p - log_q)).sum(dim=1))


def test_what_a_wrong_teacher_ranks_above_the_label_is_masked() -> None:
    label = TEACHER.argsort(dim=1, descending=True)[:, 2]
    changed = STUDENT.clone()
    above = TEACHER.gather(1, label.unsqueeze(1)) <= TEACHER
    changed[above] += torch.randn(int(above.sum()), generator=GENERATOR, dtype=torch.float64)
    before, after = (masked_divergence(student, TEACHER, label, 4.0) for student in (STUDENT, changed))
    torch.testing.assert_close(before, after)


def test_a_label_that_the_teacher_ranks_last_leaves_its_confidence_alone() -> None:
    student = STUDENT.clone().requires_grad_()
    ranking = masked_divergence(student, TEACHER, TEACHER.argmin(dim=1), 4.0)
    assert torch.equal(ranking, torch.zeros_like(ranking))
    ranking.sum().backward()
    assert student.grad is not None
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_options_are_checked() -> None:
    for options, message in (
        ({"alpha": -1.0}, "rld: alpha = -1"),
        ({"beta": float("inf")}, "rld: beta = inf"),
        ({"confidence_temperature": 0.0}, "rld: confidence_temperature = 0"),
    ):
        with pytest.raises(InputError, match=message):
            RLD(**options)  # type: ignore[arg-type]
