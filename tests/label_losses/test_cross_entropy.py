import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from preceptor import CrossEntropy, InputError, LabelSmoothedCrossEntropy
from preceptor.context import is_class
from tests.strategies import LogitBatch, logit_batches


@given(logit_batches())
def test_cross_entropy_is_the_negative_log_probability_of_the_label(batch: LogitBatch) -> None:
    log_q = log_softmax(batch.student.numpy(), axis=1)
    expected = [-row[y] for row, y in zip(log_q, batch.label.tolist(), strict=True)]
    torch.testing.assert_close(CrossEntropy()(batch.student, batch.label), torch.tensor(expected, dtype=torch.float64))


@given(logit_batches(), st.floats(0, 1))
def test_smoothing_is_cross_entropy_with_the_smoothed_target(batch: LogitBatch, eps: float) -> None:
    classes = batch.student.shape[1]
    target = (1 - eps) * is_class(batch.student, batch.label) + eps / classes
    expected = -(target * batch.student.log_softmax(dim=1)).sum(dim=1)
    torch.testing.assert_close(LabelSmoothedCrossEntropy(eps)(batch.student, batch.label), expected)


@given(logit_batches())
def test_without_smoothing_it_is_cross_entropy(batch: LogitBatch) -> None:
    plain, smoothed = (loss(batch.student, batch.label) for loss in (CrossEntropy(), LabelSmoothedCrossEntropy(0.0)))
    torch.testing.assert_close(smoothed, plain)


def test_its_gradient_is_the_students_probabilities_less_the_target() -> None:
    student = torch.tensor([[1.0, 0.2, -0.5]], dtype=torch.float64, requires_grad=True)
    LabelSmoothedCrossEntropy(0.3)(student, torch.tensor([2])).sum().backward()
    target = torch.tensor([[0.1, 0.1, 0.8]], dtype=torch.float64)
    torch.testing.assert_close(student.grad, student.detach().softmax(dim=1) - target)


def test_the_default_is_a_tenth() -> None:
    assert LabelSmoothedCrossEntropy().eps == 0.1


@pytest.mark.parametrize("eps", [-0.1, 1.1, float("nan")])
def test_eps_outside_zero_to_one_is_refused(eps: float) -> None:
    with pytest.raises(InputError, match="label_smoothing: eps"):
        LabelSmoothedCrossEntropy(eps)
