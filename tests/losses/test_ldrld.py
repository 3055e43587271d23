"""Local dense relations: values and gradients from the equations, who ranks, what no term sees, edges."""

from itertools import combinations

import numpy as np
import pytest
import torch

from preceptor import InputError
from preceptor.losses import LDRLD
from preceptor.losses.ldrld import RankedBy
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(6, 9)
LABEL = torch.zeros(6, dtype=torch.long)
TARGET = (TEACHER / 4).log_softmax(dim=1)


def among(z: np.ndarray, t: np.ndarray, kept: list[int]) -> float:
    p, q = softmax(t[kept] / 4), softmax(z[kept] / 4)
    return float(sum(p * np.log(p / q)))


def expected(student: np.ndarray, depth: int, ranked_by: RankedBy) -> float:
    total = 0.0
    for z, t, ranking in zip(
        student, TEACHER.numpy(), (STUDENT if ranked_by == "student" else TEACHER).numpy(), strict=True
    ):
        order = [int(c) for c in np.argsort(-ranking)]
        leading, rest = order[:depth], order[depth:]
        local = among(z, t, leading)
        for i, j in combinations(range(depth), 2):
            weight = 2 / (1.5 + (j - i)) * np.exp(-0.05 * (i + j + 2))
            local += weight * among(z, t, [leading[i], leading[j]])
        behind = among(z, t, rest) if rest else 0.0
        total += 16 * (10.5 * local / (depth * (depth - 1) / 2 + 1) + 7 * behind)
    return total


@pytest.mark.parametrize("ranked_by", ["student", "teacher"])
@pytest.mark.parametrize("depth", [2, 7, 9])
def test_value_and_gradient_are_those_of_the_equations(depth: int, ranked_by: RankedBy) -> None:
    student = STUDENT.clone().requires_grad_()
    loss = LDRLD(depth=depth, ranked_by=ranked_by)(student, TARGET, 4.0, LABEL).sum()
    np.testing.assert_allclose(loss.item(), expected(STUDENT.numpy(), depth, ranked_by), rtol=1e-10)
    loss.backward()
    by_differences = gradient_by_differences(lambda z: expected(z, depth, ranked_by), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-5)


def test_with_fewer_classes_than_its_depth_all_of_them_lead() -> None:
    deep, whole = (LDRLD(depth=depth)(STUDENT, TARGET, 4.0, LABEL) for depth in (40, 9))
    torch.testing.assert_close(deep, whole)


def test_the_odds_between_leading_classes_and_the_others_are_not_seen() -> None:
    leading = torch.zeros_like(STUDENT, dtype=torch.bool).scatter(1, TEACHER.topk(3).indices, True)
    losses = [LDRLD(depth=3, ranked_by="teacher")(z, TARGET, 4.0, LABEL) for z in (STUDENT, STUDENT + 5 * leading)]
    torch.testing.assert_close(*losses)


def test_constant_and_certain_rows_are_finite() -> None:
    rows = torch.stack([torch.zeros(9), torch.full((9,), 1e4), 1e4 * torch.eye(9)[0], -1e4 * torch.eye(9)[1]])
    student, teacher = rows.repeat(4, 1).requires_grad_(), rows.repeat_interleave(4, dim=0)
    loss = LDRLD()(student, (teacher / 4).log_softmax(dim=1), 4.0, torch.zeros(16, dtype=torch.long))
    loss.sum().backward()
    assert student.grad is not None
    assert loss.isfinite().all()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"beta": float("nan")}, {"depth": 1}])
def test_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"ldrld: {next(iter(options))} ="):
        LDRLD(**options)  # type: ignore[arg-type]
