"""Multi-level distillation with two views: the weak one's terms are mlkd's, the strong one's from the equation."""

import numpy as np
import pytest
import torch

from preceptor import InputError
from preceptor.losses import MLKD, MLKDViews
from tests.losses.numeric import gradient_by_differences, random_logits, softmax
from tests.losses.test_mlkd import TEMPERATURES, standardized_rows
from tests.losses.test_mlkd import expected as of_one_view

IMAGES = 5
STUDENT, TEACHER = random_logits(2 * IMAGES, 4, seed=1)
INDEX = torch.tensor([8, 2, 6, 1, 3]).repeat(2)
LABEL = torch.zeros(2 * IMAGES, dtype=torch.long)
ONES = torch.ones(2 * IMAGES, dtype=torch.float64)


def expected(student: np.ndarray, faithful: bool = False, standardized: bool = False) -> float:
    teacher = TEACHER.numpy()
    total = of_one_view(student[:IMAGES], teacher[:IMAGES], faithful, standardized)
    if standardized:
        student, teacher = standardized_rows(student), standardized_rows(teacher)
    for row in range(IMAGES, 2 * IMAGES):
        for temperature in TEMPERATURES:
            of = row - IMAGES if faithful and temperature in (2, 6) else row
            p, q = softmax(teacher[of] / temperature), softmax(student[of] / temperature)
            total += temperature**2 * sum(p * np.log(p / q)) / IMAGES
    return float(total)


@pytest.mark.parametrize("options", [{}, {"faithful": True}, {"standardized": True}], ids=str)
def test_value_and_gradient_are_those_of_the_equations(options: dict[str, bool]) -> None:
    student = STUDENT.clone().requires_grad_()
    loss = MLKDViews(**options)(student, TEACHER, 4.0, LABEL, INDEX, ONES)
    np.testing.assert_allclose(loss.item(), expected(STUDENT.numpy(), **options), rtol=1e-10)
    loss.backward()
    by_differences = gradient_by_differences(lambda z: expected(z, **options), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-5)


def test_without_strong_views_it_is_mlkd() -> None:
    alone = MLKDViews()(STUDENT, TEACHER, 4.0, LABEL, torch.arange(10), ONES)
    torch.testing.assert_close(alone, MLKD()(STUDENT, TEACHER, 4.0, LABEL, ONES))


def test_views_of_weight_zero_are_as_if_they_were_absent() -> None:
    weight = ONES.clone()
    weight[[1, 1 + IMAGES]] = 0
    kept = weight > 0
    student = torch.where(kept.unsqueeze(1), STUDENT, 1e300).requires_grad_()
    loss = MLKDViews()(student, TEACHER, 4.0, LABEL, INDEX, weight)
    torch.testing.assert_close(
        loss, MLKDViews()(STUDENT[kept], TEACHER[kept], 4.0, LABEL[kept], INDEX[kept], weight[kept])
    )
    loss.backward()
    assert student.grad is not None
    assert not student.grad[~kept].any()
    assert MLKDViews()(STUDENT, TEACHER, 4.0, LABEL, INDEX, torch.zeros_like(ONES)).item() == 0


def test_temperatures_are_above_zero() -> None:
    with pytest.raises(InputError, match="mlkd: more_temperatures = 0"):
        MLKDViews(more_temperatures=[0.0])
