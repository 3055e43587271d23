import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor import KL, DistillationLoss, Fixed, InputError, LabelSmoothing
from preceptor.context import is_class
from preceptor.corrections import label_probability, smoothed_one_hot
from tests.strategies import LogitBatch, logit_batches

shares = st.floats(0, 1)


@given(logit_batches(), shares)
def test_both_parametrizations_are_one_target(batch: LogitBatch, eps: float) -> None:
    arguments = batch.outputs().logits, batch.label, batch.teacher_class
    classes = batch.teacher.shape[1]
    textbook = (1 - eps) * is_class(batch.teacher, batch.label).double() + eps / classes
    torch.testing.assert_close(LabelSmoothing(eps=eps)(*arguments).exp(), textbook)
    by_truth = LabelSmoothing(correct_prob=label_probability(eps, classes))
    torch.testing.assert_close(by_truth(*arguments).exp(), textbook)


@given(st.integers(2, 50), shares)
def test_the_mapping_between_them_can_be_undone(classes: int, eps: float) -> None:
    truth = label_probability(eps, classes)
    assert (1 - truth) * classes / (classes - 1) == pytest.approx(eps, abs=1e-12)


@given(logit_batches(), logit_batches())
def test_nothing_of_the_teacher_is_left(one: LogitBatch, other: LogitBatch) -> None:
    shape = one.teacher.shape
    stranger = other.teacher.flatten().repeat(shape.numel())[: shape.numel()].view(shape).log_softmax(dim=1)
    assert torch.equal(
        LabelSmoothing()(one.outputs().logits, one.label, one.teacher_class),
        LabelSmoothing()(stranger, one.label, one.teacher_class),
    )


def test_only_wrong_samples_are_replaced_and_the_temperature_does_not_soften_the_label() -> None:
    teacher, label = torch.tensor([[3.0, 1.0, 0.0]] * 3), torch.tensor([0, 2, -1])
    for temperature in (1.0, 4.0):
        loss = DistillationLoss(correction=LabelSmoothing(correct_prob=0.9), temperature=Fixed(temperature), loss=KL())
        audit = loss(torch.zeros(3, 3), teacher, label).audit
        assert audit is not None
        torch.testing.assert_close(audit.target[1].exp(), torch.tensor([0.05, 0.05, 0.9]))
        assert torch.equal(audit.target[::2], audit.teacher_log_probs[::2])


def test_the_default_is_nine_tenths() -> None:
    assert LabelSmoothing().label_probability(10) == 0.9
    assert LabelSmoothing(eps=0.1).label_probability(4) == pytest.approx(0.925)


@pytest.mark.parametrize("correct_prob", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_of_zero_stay_finite_in_log_space(correct_prob: float, dtype: torch.dtype) -> None:
    actual = smoothed_one_hot(torch.zeros(1, 3, dtype=dtype), torch.tensor([1]), correct_prob)
    assert actual.dtype == dtype
    assert actual.isfinite().all()
    expected = torch.full((1, 3), (1 - correct_prob) / 2, dtype=dtype)
    expected[0, 1] = correct_prob
    torch.testing.assert_close(actual.exp(), expected)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("name", ["eps", "correct_prob"])
def test_shares_outside_zero_to_one_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"label_smoothing: {name} = .*: expected 0 to 1"):
        LabelSmoothing(**{name: value})  # type: ignore[arg-type]


def test_eps_takes_the_place_of_correct_prob() -> None:
    assert LabelSmoothing(correct_prob=0.5, eps=0.1).label_probability(4) == pytest.approx(0.925)
