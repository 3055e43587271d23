import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from preceptor import DistillationLoss, Fixed, LabelSmoothing, SquaredErrorLogits, SquaredErrorProbs
from preceptor.losses import squared_error_logits, squared_error_probs
from tests.strategies import LogitBatch, logit_batches, temperatures


@given(logit_batches())
def test_on_logits_it_is_the_mean_over_classes(batch: LogitBatch) -> None:
    expected = np.mean((batch.student.numpy() - batch.teacher.numpy()) ** 2, axis=1)
    torch.testing.assert_close(squared_error_logits(batch.student, batch.teacher), torch.from_numpy(expected))


@given(logit_batches(), temperatures)
def test_on_probabilities_it_is_the_mean_over_classes(batch: LogitBatch, temperature: float) -> None:
    p, q = (softmax(logits.numpy() / temperature, axis=1) for logits in (batch.teacher, batch.student))
    actual = squared_error_probs(batch.student, batch.outputs(temperature).logits, temperature)
    torch.testing.assert_close(actual, torch.from_numpy(((p - q) ** 2).mean(axis=1)))


@given(logit_batches(), temperatures)
def test_on_probabilities_it_is_bounded(batch: LogitBatch, temperature: float) -> None:
    actual = squared_error_probs(batch.student, batch.outputs(temperature).logits, temperature)
    assert (actual >= 0).all()
    assert (actual <= 2 / batch.teacher.shape[1] + 1e-12).all()


@given(logit_batches(), st.floats(0.5, 10))
def test_a_constant_added_to_the_student_shows_on_logits_and_not_on_probabilities(
    batch: LogitBatch, constant: float
) -> None:
    moved = squared_error_logits(batch.teacher + constant, batch.teacher)
    torch.testing.assert_close(moved, torch.full_like(moved, constant**2))
    before, after = (
        squared_error_probs(student, batch.outputs().logits) for student in (batch.student, batch.student + constant)
    )
    torch.testing.assert_close(after, before)


@given(logit_batches(), temperatures)
def test_uncorrected_logits_reach_the_loss_at_any_temperature(batch: LogitBatch, temperature: float) -> None:
    loss = DistillationLoss(correction=LabelSmoothing(), temperature=Fixed(temperature), loss=SquaredErrorLogits())
    total = loss(batch.student, batch.teacher, batch.teacher_class).total
    assert torch.equal(total, squared_error_logits(batch.student, batch.teacher).sum() / len(batch.label))


@given(logit_batches(largest=10.0), temperatures)
def test_corrected_logits_soften_to_the_corrected_probabilities(batch: LogitBatch, temperature: float) -> None:
    loss = DistillationLoss(correction=LabelSmoothing(), temperature=Fixed(temperature), loss=SquaredErrorLogits())
    audit = loss(batch.student, batch.teacher, batch.label).audit
    assert audit is not None
    # The student that has no loss is the target itself.
    target = batch.teacher + temperature * (audit.target - audit.teacher_log_probs)
    torch.testing.assert_close((target / temperature).log_softmax(dim=1), audit.target)
    assert loss(target, batch.teacher, batch.label).total == 0


def test_the_temperature_plays_its_part_on_probabilities_alone() -> None:
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    label = torch.tensor([1])
    on_logits, on_probs = (
        [float(DistillationLoss(temperature=Fixed(t), loss=match)(student, teacher, label).total) for t in (1.0, 4.0)]
        for match in (SquaredErrorLogits(), SquaredErrorProbs())
    )
    assert on_logits == [2.5, 2.5]
    assert on_probs[0] > on_probs[1] > 0
