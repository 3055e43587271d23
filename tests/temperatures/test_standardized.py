"""Logit standardization: invariance to the scale of either network, values, gradients, and who sees what."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import KL, CrossEntropy, DistillationLoss, InputError, LossTerm
from preceptor.losses import CMKD, DKD, IntraClass, Pearson, SLaM
from preceptor.selections import DropWrong
from preceptor.temperatures import Standardized
from tests.examples import scored, selection_data
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(12, 6)
LABEL = torch.where(torch.arange(12) % 4 == 0, torch.arange(12) % 6, TEACHER.argmax(dim=1))
SCALED = [(3.7, -5.0), (0.01, 40.0), (50.0, 0.0)]


def standardized(row: np.ndarray) -> np.ndarray:
    return (row - row.mean()) / (np.sqrt(((row - row.mean()) ** 2).sum() / (len(row) - 1)) + 1e-7)


def expected(student: np.ndarray, swapped: bool = False) -> float:
    """``0.1 CE + 9 T^2 KL`` at T = 2, row by row; on request with the swap of a wrong teacher."""
    total = 0.0
    for z, t, y in zip(student, TEACHER.numpy().copy(), LABEL.tolist(), strict=True):
        if swapped:
            top = int(t.argmax())
            t[[top, y]] = t[[y, top]]
        p, q = softmax(standardized(t) / 2), softmax(standardized(z) / 2)
        total += 9 * 4 * sum(p * np.log(p / q)) - 0.1 * np.log(softmax(z)[y])
    return total / len(student)


@pytest.mark.parametrize(("name", "swapped"), [("kd-lsk", False), ("ka-lsk", True)])
def test_value_and_gradient_of_the_recipes_are_those_of_the_equations(name: str, swapped: bool) -> None:
    student = STUDENT.clone().requires_grad_()
    total = DistillationLoss.from_recipe(name)(student, TEACHER, LABEL).total
    np.testing.assert_allclose(total.item(), expected(STUDENT.numpy(), swapped), rtol=1e-10)
    total.backward()
    by_differences = gradient_by_differences(lambda z: expected(z, swapped), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-7)


def test_the_decoupled_recipe_has_nine_times_the_weights() -> None:
    losses = DistillationLoss.from_recipe("dkd-lsk")(STUDENT, TEACHER, LABEL, progress=1.0).losses
    plain = DistillationLoss(temperature=Standardized(), loss=DKD())(STUDENT, TEACHER, LABEL)
    torch.testing.assert_close(losses["dkd"], 9 * plain.total)


@pytest.mark.parametrize("factor_and_constant", SCALED)
@pytest.mark.parametrize("name", ["kd-lsk", "dkd-lsk", "ka-lsk", "cmkd", "dist", "rld", "wsld", "at"])
def test_a_positive_factor_and_a_constant_on_either_network_change_nothing(
    name: str, factor_and_constant: tuple[float, float]
) -> None:
    (factor, constant), overrides = factor_and_constant, {"temperature.name": "standardized", "selection": None}
    if name == "at":  # a sample's own factor and constant
        name, factor, constant = "kd-lsk", torch.linspace(0.1, 9, 12)[:, None], torch.linspace(-5, 5, 12)[:, None]  # type: ignore[assignment]
    loss = scored(name, classes=6, **overrides)

    def compared(student: Tensor, teacher: Tensor) -> Tensor:
        losses = loss(student, teacher, LABEL, progress=1.0).losses
        return torch.stack([value for term, value in losses.items() if term != "ce"])

    plain = compared(STUDENT, TEACHER)
    torch.testing.assert_close(compared(factor * STUDENT + constant, TEACHER), plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(compared(STUDENT, factor * TEACHER + constant), plain, rtol=1e-4, atol=1e-4)


def test_label_losses_and_the_verdict_on_the_teacher_have_the_logits_as_they_are() -> None:
    loss = DistillationLoss(temperature=Standardized(), loss=KL(), label_loss=CrossEntropy())
    plain = DistillationLoss(loss=KL(), label_loss=CrossEntropy())(STUDENT, TEACHER, LABEL)
    output = loss(STUDENT, TEACHER, LABEL)
    assert output.audit is not None
    assert plain.audit is not None
    assert torch.equal(output["cross_entropy"], plain["cross_entropy"])
    assert torch.equal(output.audit.wrong, plain.audit.wrong)
    deviation = output.audit.teacher_log_probs.std(dim=1) * 2
    torch.testing.assert_close(deviation, torch.ones_like(deviation), rtol=0, atol=1e-6)


def test_a_sample_of_weight_zero_has_no_gradient_even_where_its_logits_overflow() -> None:
    student = STUDENT.float()
    wrong = TEACHER.argmax(dim=1) != LABEL
    assert wrong.any()
    student[wrong] = 3e38 * torch.tensor([1.0, -1.0]).repeat(3)
    student.requires_grad_()
    DistillationLoss(temperature=Standardized(), selection=DropWrong(), loss=KL())(student, TEACHER, LABEL)[
        "kl"
    ].backward()
    assert student.grad is not None
    assert (student.grad[wrong] == 0).all()
    assert student.grad[~wrong].isfinite().all()
    assert (student.grad[~wrong] != 0).any()


@pytest.mark.parametrize("loss", [KL(), DKD(), CMKD(), IntraClass(), Pearson(on="plain_prob")])
def test_constant_rows_and_huge_ones_are_finite(loss: Any) -> None:
    rows = torch.stack([torch.zeros(6), torch.full((6,), 1e4), 1e4 * torch.eye(6)[0], -1e4 * torch.eye(6)[1]])
    student, teacher = rows.repeat(4, 1).requires_grad_(), rows.repeat_interleave(4, dim=0)
    output = DistillationLoss(temperature=Standardized(), loss=loss)(
        student, teacher, torch.zeros(16, dtype=torch.long)
    )
    output.total.backward()
    assert student.grad is not None
    assert output.total.isfinite()
    assert student.grad.isfinite().all()


def test_an_abstaining_students_extra_output_counts_in_no_statistic() -> None:
    loss = DistillationLoss(temperature=Standardized(), loss=KL())
    wider = torch.cat([STUDENT, 50 * torch.ones(12, 1, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(loss(wider, TEACHER, LABEL).total, loss(STUDENT, TEACHER, LABEL).total)


def test_a_loss_is_fitted_on_what_it_compares() -> None:
    data = selection_data(6)
    loss = DistillationLoss(temperature=Standardized(), terms={"slam": LossTerm(SLaM()), "kl": LossTerm(KL())})
    raw = DistillationLoss(terms={"slam": LossTerm(SLaM())})
    for one in (loss, raw):
        one.fit(data)
    scales = [float(one.terms["slam"].loss.scale) for one in (loss, raw)]  # type: ignore[union-attr]
    deviation = float(data.teacher.held_out.logits.std(dim=1).mean())  # type: ignore[union-attr]
    assert scales[0] == pytest.approx(scales[1] * deviation, rel=0.25)
    assert scales[0] > 1.5 * scales[1]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf")])
def test_a_temperature_is_above_zero(temperature: float) -> None:
    with pytest.raises(InputError, match=r"standardized: temperature = .*: expected a finite number above 0"):
        Standardized(temperature)
