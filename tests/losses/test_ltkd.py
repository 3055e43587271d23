"""Long-tailed distillation: its identity with plain distillation, values, gradients and edges."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from preceptor import DistillationLoss, InputError
from preceptor.conformance.batch import plain_selection_data
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.losses import LTKD, balanced_log_masses, group_log_masses, groups_by_frequency, kl_divergence
from preceptor.losses.divergences import divergence_among
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(12, 6)
LABEL = torch.arange(12) % 6
TEMPERATURE = 4.0
TARGET = (TEACHER / TEMPERATURE).log_softmax(dim=1)
COUNTS = (2, 40, 7, 9, 40, 1)
GROUPS = ([1, 4], [3, 2], [0, 5])
WEIGHT = torch.linspace(0.5, 2.0, 12, dtype=torch.float64)


def long_tailed() -> SelectionData:
    label = torch.repeat_interleave(torch.arange(6), torch.tensor(COUNTS))
    outputs = ModelOutputs(torch.zeros(len(label), 6))
    snapshot = TeacherSnapshot(1.0, outputs, None)
    return SelectionData(torch.arange(len(label)), label, None, (snapshot,), has_bias=False, size=len(label))


def fitted(**options: float) -> LTKD:
    loss = LTKD(**options)  # type: ignore[arg-type]
    loss.fit(long_tailed())
    return loss


def expected(student: np.ndarray, weight: np.ndarray, between: float, within: float) -> float:
    """Sample by sample and group by group from the equations."""
    p = np.array([softmax(row) for row in TEACHER.numpy() / TEMPERATURE])
    q = np.array([softmax(row) for row in student / TEMPERATURE])
    masses, own = (np.array([[row[g].sum() for g in GROUPS] for row in of]) for of in (p, q))
    mean = weight @ masses / weight.sum()
    total = 0.0
    for i in range(len(p)):
        balanced = masses[i] / mean / (masses[i] / mean).sum()
        inner = 0.0
        for g in GROUPS:
            a, b = p[i][g] / p[i][g].sum(), q[i][g] / q[i][g].sum()
            inner += sum(a * np.log(a / b)) / 3
        total += weight[i] * (between * sum(balanced * np.log(balanced / own[i])) + within * inner)
    return float(TEMPERATURE**2 * total / weight.sum())


@pytest.mark.parametrize(("between", "within"), [(1.0, 1.0), (0.5, 3.0), (0.0, 1.0), (2.0, 0.0)])
def test_value_and_gradient_are_those_of_the_equations(between: float, within: float) -> None:
    student = STUDENT.clone().requires_grad_()
    loss = fitted(between=between, within=within)(student, TARGET, TEMPERATURE, LABEL, WEIGHT)
    weight = WEIGHT.numpy()
    np.testing.assert_allclose(loss.item(), expected(STUDENT.numpy(), weight, between, within), rtol=1e-10)
    loss.backward()
    by_differences = gradient_by_differences(lambda z: expected(z, weight, between, within), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-6)


def test_classes_are_grouped_by_how_frequent_they_are() -> None:
    label = long_tailed().label
    group = groups_by_frequency(label, 6, 3)
    assert [(group == number).nonzero().flatten().tolist() for number in range(3)] == [sorted(one) for one in GROUPS]
    assert torch.equal(groups_by_frequency(torch.tensor([-1, -1, 2]), 4, 2), torch.tensor([0, 1, 0, 1]))


def test_with_the_teachers_own_masses_it_would_be_plain_distillation() -> None:
    group = groups_by_frequency(long_tailed().label, 6, 3)
    student = STUDENT / TEMPERATURE
    p, q = (group_log_masses(one, group, 3) for one in (TARGET, student.log_softmax(dim=1)))
    whole = (p.exp() * (p - q)).sum(dim=1)
    for number in range(3):
        whole = whole + p[:, number].exp() * divergence_among(student, TARGET, (group == number).expand_as(TARGET))
    torch.testing.assert_close(whole, kl_divergence(STUDENT, TARGET, TEMPERATURE))


def test_a_biased_teachers_masses_are_balanced() -> None:
    biased = torch.log(torch.tensor([[0.8, 0.15, 0.05], [0.7, 0.2, 0.1], [0.9, 0.07, 0.03]], dtype=torch.float64))
    mean = balanced_log_masses(biased, torch.ones(3, dtype=torch.float64)).exp().mean(dim=0)
    assert mean.max() < 0.42
    assert mean.min() > 0.24


def test_a_sample_of_weight_zero_is_as_if_it_were_absent() -> None:
    weight, loss = WEIGHT.clone(), fitted()
    weight[3] = 0
    kept = torch.arange(12) != 3
    student = STUDENT.clone().requires_grad_()
    value = loss(student, TARGET, TEMPERATURE, LABEL, weight)
    torch.testing.assert_close(value, loss(STUDENT[kept], TARGET[kept], TEMPERATURE, LABEL[kept], weight[kept]))
    value.backward()
    assert student.grad is not None
    assert not student.grad[3].any()
    nothing = loss(student, TARGET, TEMPERATURE, LABEL, torch.zeros_like(weight))
    assert nothing.item() == 0


@pytest.mark.parametrize("teacher", [torch.zeros(4, 6), 1e4 * torch.eye(6)[:4], -1e4 * torch.eye(6)[:4]])
@pytest.mark.parametrize("student", [torch.zeros(4, 6), 1e4 * torch.eye(6)[:4].flip(1)])
def test_constant_and_certain_rows_are_finite(student: torch.Tensor, teacher: torch.Tensor) -> None:
    student = student.clone().requires_grad_()
    loss = fitted()(student, teacher.log_softmax(dim=1), 1.0, torch.tensor([0, 1, 2, 0]), torch.ones(4))
    loss.backward()
    assert student.grad is not None
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_it_is_fitted_by_the_recipe_and_kept_in_its_state() -> None:
    loss = DistillationLoss.from_recipe("ltkd")
    with pytest.raises(InputError, match="ltkd: not fitted yet"):
        loss(STUDENT, TEACHER, LABEL)
    loss.fit(long_tailed())
    again = DistillationLoss.from_recipe("ltkd")
    again.load_state_dict(loss.state_dict())
    assert torch.equal(again(STUDENT, TEACHER, LABEL).total, loss(STUDENT, TEACHER, LABEL).total)


def test_options_and_classes_are_checked() -> None:
    with pytest.raises(InputError, match=r"ltkd: within = -1\.0"):
        LTKD(within=-1.0)
    with pytest.raises(InputError, match="ltkd: groups = 1"):
        LTKD(groups=1)
    with pytest.raises(InputError, match="7 groups of 5 classes: choose fewer"):
        LTKD(groups=7).fit(replace(plain_selection_data()))
    with pytest.raises(InputError, match="3 groups of 2 classes"):
        DistillationLoss.from_recipe("ltkd").check_classes(2)
