"""DKD's divergences as losses of their own: that they add up to it, the teacher's leading classes, and edges."""

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import DistillationLoss, InputError
from preceptor.losses import DKD, NCKD, TCKD, leading_non_targets
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(20, 8)
LABEL = torch.arange(20) % 8
TEMPERATURE = 4.0
TARGET = (TEACHER / TEMPERATURE).log_softmax(dim=1)


def expected(student: np.ndarray, count: int) -> np.ndarray:
    """NCKD over the first classes but the label's, row by row."""
    losses = []
    for z, t, y in zip(student, TEACHER.numpy(), LABEL.tolist(), strict=True):
        kept = [c for c in np.argsort(-t) if c != y][:count]
        p, q = softmax(t[kept] / TEMPERATURE), softmax(z[kept] / TEMPERATURE)
        losses.append(TEMPERATURE**2 * sum(p * np.log(p / q)))
    return np.array(losses)


def test_the_two_add_up_to_decoupled_distillation() -> None:
    both = TCKD()(STUDENT, TARGET, TEMPERATURE, LABEL) + 8 * NCKD()(STUDENT, TARGET, TEMPERATURE, LABEL)
    torch.testing.assert_close(both, DKD()(STUDENT, TARGET, TEMPERATURE, LABEL))


@pytest.mark.parametrize(("share", "count"), [(0.05, 2), (0.4, 3), (0.5, 4), (1.0, 7)])
def test_value_and_gradient_are_those_of_the_equation(share: float, count: int) -> None:
    student = STUDENT.clone().requires_grad_()
    loss = NCKD(share)(student, TARGET, TEMPERATURE, LABEL)
    np.testing.assert_allclose(loss.detach().numpy(), expected(STUDENT.numpy(), count), rtol=1e-10)
    loss.sum().backward()
    by_differences = gradient_by_differences(lambda z: expected(z, count).sum(), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-6)
    assert ((student.grad != 0).sum(dim=1) == count).all()


def test_the_label_is_among_the_ranked_where_it_is_faithful() -> None:
    target = torch.tensor([[3.0, 2.0, 1.0, 0.0, -1.0]]).log_softmax(dim=1)
    for label, own, faithful in ((0, [1, 2], [1]), (1, [0, 2], [0]), (4, [0, 1], [0, 1])):
        where = torch.tensor([label])
        found = [leading_non_targets(target, where, 0.5, with_label=public)[0] for public in (False, True)]
        assert [kept.nonzero().flatten().tolist() for kept in found] == [own, faithful]


def test_ties_all_count() -> None:
    kept = leading_non_targets(torch.zeros(1, 6), torch.tensor([2]), 0.05)
    assert kept[0].tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize("teacher", [torch.zeros(4, 3), 1e4 * torch.eye(4, 3), -1e4 * torch.eye(4, 3)])
@pytest.mark.parametrize("student", [torch.zeros(4, 3), 1e4 * torch.eye(4, 3).flip(1)])
@pytest.mark.parametrize("loss", [TCKD(), NCKD(0.05), NCKD(0.05, faithful=True)])
def test_constant_and_certain_rows_are_finite(student: Tensor, teacher: Tensor, loss: TCKD | NCKD) -> None:
    student = student.clone().requires_grad_()
    values = loss(student, teacher.log_softmax(dim=1), 1.0, torch.tensor([0, 1, 2, 0]))
    values.sum().backward()
    assert student.grad is not None
    assert values.isfinite().all()
    assert student.grad.isfinite().all()


def test_of_two_classes_the_other_one_says_nothing() -> None:
    student, teacher = random_logits(5, 2)
    zeros = NCKD(0.05)(student, teacher.log_softmax(dim=1), 1.0, torch.tensor([0, 1, 0, 1, 0]))
    torch.testing.assert_close(zeros, torch.zeros(5, dtype=torch.float64))


def test_the_recipe_shows_more_classes_as_training_goes_on() -> None:
    loss = DistillationLoss.from_recipe("deepkd")
    for progress, active in ((0.1, "nckd_first"), (0.5, "nckd_half"), (0.9, "nckd")):
        losses = loss(STUDENT, TEACHER, LABEL, progress=progress).losses
        assert [name for name, value in losses.items() if name.startswith("nckd") and value > 0] == [active]
    last = loss(STUDENT, TEACHER, LABEL, progress=0.9)
    torch.testing.assert_close(
        last.total, DistillationLoss.from_recipe("dkd")(STUDENT, TEACHER, LABEL, progress=0.9).total
    )


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_options_are_checked(share: float) -> None:
    with pytest.raises(InputError, match=r"nckd: share = .*: expected a number above 0, at most 1"):
        NCKD(share)
