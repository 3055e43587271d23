"""Multi-level distillation: values and gradients from the equations, masks and the published form, weights, edges."""

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import InputError
from preceptor.losses import MLKD, low_half
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

STUDENT, TEACHER = random_logits(7, 5)
LABEL = torch.zeros(7, dtype=torch.long)
TEMPERATURES = (4.0, 3.0, 5.0, 2.0, 6.0)


def standardized_rows(rows: np.ndarray) -> np.ndarray:
    deviation = rows.std(axis=1, ddof=1, keepdims=True)
    scaled: np.ndarray = (rows - rows.mean(axis=1, keepdims=True)) / (deviation + 1e-7)
    return scaled


def expected(student: np.ndarray, teacher: np.ndarray, faithful: bool, standardized: bool = False) -> float:
    """Entry by entry, in loops."""
    batch, classes = student.shape
    at_one = np.array([softmax(t) for t in teacher])
    sure, mass, total = at_one.max(axis=1), at_one.sum(axis=0), 0.0
    rows, columns = sure <= np.percentile(sure, 50), mass <= np.percentile(mass, 50)
    row_factor = np.full(batch, rows.mean()) if faithful else rows
    column_factor = np.full(classes, columns.mean()) if faithful else columns
    scaled = [standardized_rows(one) if standardized else one for one in (teacher, student)]
    for temperature in TEMPERATURES:
        of_samples = [np.array([softmax(row / temperature) for row in one]) for one in scaled]
        p = np.array([softmax(t / temperature) for t in teacher])
        q = np.array([softmax(z / temperature) for z in student])
        for i in range(batch):
            one, other = (probs[i] for probs in of_samples)
            total += row_factor[i] * temperature**2 * sum(one * np.log(one / other)) / batch
            for j in range(batch):
                total += row_factor[i] * (p[i] @ p[j] - q[i] @ q[j]) ** 2 / batch
        for c in range(classes):
            for d in range(classes):
                total += column_factor[c] * (p[:, c] @ p[:, d] - q[:, c] @ q[:, d]) ** 2 / classes
    return total


def loss_of(student: Tensor, teacher: Tensor = TEACHER, weight: Tensor | None = None, **options: bool) -> Tensor:
    weight = torch.ones(len(student), dtype=torch.float64) if weight is None else weight
    return MLKD(**options)(student, teacher, 4.0, LABEL[: len(student)], weight)


@pytest.mark.parametrize("samples", [6, 7])
@pytest.mark.parametrize("options", [{}, {"faithful": True}, {"standardized": True}], ids=str)
def test_value_and_gradient_are_those_of_the_equations(options: dict[str, bool], samples: int) -> None:
    student, teacher = STUDENT[:samples].clone().requires_grad_(), TEACHER[:samples]
    loss, chosen = loss_of(student, teacher, **options), {"faithful": False, **options}
    at = student.detach().numpy().copy()
    np.testing.assert_allclose(loss.item(), expected(at, teacher.numpy(), **chosen), rtol=1e-10)
    loss.backward()
    by_differences = gradient_by_differences(lambda z: expected(z, teacher.numpy(), **chosen), at)
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-5)


def test_the_masks_leave_samples_out_and_the_published_form_does_not() -> None:
    sure = TEACHER.softmax(dim=1).amax(dim=1)
    surest = int(sure.argmax())
    gradients = []
    for faithful in (False, True):
        student = STUDENT.clone().requires_grad_()
        loss_of(student, faithful=faithful).backward()
        assert student.grad is not None
        gradients.append(student.grad[surest].abs().sum().item())
    assert gradients[0] < 0.5 * gradients[1]


@pytest.mark.parametrize("faithful", [False, True])
def test_a_sample_of_weight_zero_is_as_if_it_were_absent(faithful: bool) -> None:
    kept = torch.tensor([True, False, True, True, False, True, True])
    student = torch.where(kept.unsqueeze(1), STUDENT, 1e300).requires_grad_()
    loss = loss_of(student, weight=kept.double(), faithful=faithful)
    alone = loss_of(STUDENT[kept], TEACHER[kept], faithful=faithful)
    torch.testing.assert_close(loss, alone)
    loss.backward()
    assert student.grad is not None
    assert (student.grad[~kept] == 0).all()
    assert student.grad[kept].isfinite().all()


def test_nothing_of_weight_is_no_loss() -> None:
    student = STUDENT.clone().requires_grad_()
    loss = loss_of(student, weight=torch.zeros(7, dtype=torch.float64))
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_at_the_teacher_it_is_zero() -> None:
    student = TEACHER.clone().requires_grad_()
    loss = loss_of(student)
    loss.backward()
    assert student.grad is not None
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert student.grad.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("values", "counted", "low"),
    [
        ([3.0, 1.0, 2.0], [1, 1, 1], [0, 1, 1]),
        ([3.0, 1.0, 2.0, 4.0], [1, 1, 1, 1], [0, 1, 1, 0]),
        ([3.0, 1.0, 2.0, 4.0], [1, 0, 1, 1], [1, 1, 1, 0]),
        ([5.0, 5.0, 5.0], [1, 1, 1], [1, 1, 1]),
        ([7.0], [1], [1]),
    ],
)
def test_the_low_half_is_up_to_the_median_of_what_counts(
    values: list[float], counted: list[int], low: list[int]
) -> None:
    assert low_half(torch.tensor(values), torch.tensor(counted).bool()).int().tolist() == low


def test_constant_and_certain_rows_are_finite() -> None:
    rows = torch.stack([torch.zeros(4), torch.full((4,), 1e4), 1e4 * torch.eye(4)[0], -1e4 * torch.eye(4)[1]])
    student, teacher = rows.repeat(4, 1).requires_grad_(), rows.repeat_interleave(4, dim=0)
    loss = MLKD()(student, teacher, 4.0, torch.zeros(16, dtype=torch.long), torch.ones(16))
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_temperatures_are_above_zero() -> None:
    with pytest.raises(InputError, match="mlkd: more_temperatures = 0"):
        MLKD(more_temperatures=[2.0, 0.0])
