import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from torch import Tensor

from preceptor import DistillationLoss, DropWrong, Fixed
from preceptor.losses import intra_class_loss
from preceptor.losses.intra_class import weighted_pearson
from preceptor.registry import build_component

seeds = st.integers(0, 10_000)


def batch(seed: int, samples: int = 7, classes: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Two batches of logits, and weights of which some are zero."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, samples, classes, generator=generator, dtype=torch.float64) * 2
    weight = torch.randint(0, 3, (samples,), generator=generator).double()
    weight[:3] = torch.tensor([1.0, 2.0, 1.0])
    return student, teacher, weight


@given(seeds)
def test_whole_weights_are_rows_that_are_repeated(seed: int) -> None:
    first, second, weight = batch(seed)
    times = weight.long()
    actual = weighted_pearson(first, second, weight)
    for column in range(first.shape[1]):
        rows = [part[:, column].repeat_interleave(times) for part in (first, second)]
        assert float(actual[column]) == pytest.approx(pearsonr(*rows).statistic, abs=1e-6)
    assert (actual.abs() <= 1 + 1e-12).all()


@given(seeds, st.sampled_from([1.0, 4.0]))
def test_it_is_from_0_to_2_and_0_with_no_gradient_at_the_teacher(seed: int, temperature: float) -> None:
    student, teacher, weight = batch(seed)
    target = (teacher / temperature).log_softmax(dim=1)
    assert 0 <= float(intra_class_loss(student, target, temperature, weight)) <= 2
    own = teacher.clone().requires_grad_()
    loss = intra_class_loss(own, target, temperature, weight)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(own.grad, torch.zeros_like(teacher), atol=1e-6, rtol=0)


@pytest.mark.parametrize("junk", [1e4, 3e38, float("nan")])
def test_rows_without_weight_are_not_there(junk: float) -> None:
    student, teacher, _ = batch(0)
    label = teacher.argmax(dim=1)
    label[4:] = (label[4:] + 1) % 4  # the teacher is wrong about these, and dropped
    overflowing = student.clone()
    overflowing[4:] = junk * torch.tensor([1.0, -1.0, 1.0, -1.0])
    overflowing.requires_grad_()
    component = build_component("loss", "intra_class")
    distillation_loss = DistillationLoss(temperature=Fixed(4.0), selection=DropWrong(), loss=component)
    loss = distillation_loss(overflowing, teacher, label).total
    loss.backward()
    alone = DistillationLoss(temperature=Fixed(4.0), loss=component)(student[:4], teacher[:4], label[:4]).total
    torch.testing.assert_close(loss.detach(), alone)
    assert overflowing.grad is not None
    assert (overflowing.grad[4:] == 0).all()
    assert overflowing.grad.isfinite().all()


@pytest.mark.parametrize("spread", [0.0, 1e-7, 1e-5])
def test_a_student_of_nearly_constant_logits_gets_a_bounded_gradient(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    student = (spread * torch.randn(8, 10, generator=generator)).requires_grad_()
    target = torch.randn(8, 10, generator=generator).log_softmax(dim=1)
    intra_class_loss(student, target, 4.0, torch.ones(8)).backward()
    assert student.grad is not None
    assert 0 < student.grad.abs().max() < 1e4 / 40 / 10 * 2  # a tenth of a class's, which two classes can share


def test_constant_classes_single_rows_and_no_rows_are_finite() -> None:
    student, teacher, weight = batch(1)
    alone = torch.zeros(7, dtype=torch.float64)
    alone[2] = 1.0
    for rows, shares in ((torch.zeros_like(student), weight), (student, alone), (student, 0 * alone)):
        rows = rows.clone().requires_grad_()
        loss = intra_class_loss(rows, teacher.log_softmax(dim=1), 1.0, shares)
        loss.backward()
        assert rows.grad is not None
        assert loss.isfinite()
        assert rows.grad.isfinite().all()
    assert float(loss.detach()) == 0
