import torch
from hypothesis import given

from preceptor import KL, DistillationLoss, Fixed, ProbabilityShift, SquaredErrorLogits
from preceptor.context import at_class, predicted_class
from preceptor.corrections import probability_shift
from preceptor.losses import z_score
from tests.strategies import LogitBatch, logit_batches, temperatures


@given(logit_batches())
def test_it_swaps_two_entries_and_keeps_the_rest(batch: LogitBatch) -> None:
    actual = probability_shift(batch.teacher, batch.label, batch.teacher_class)
    for before, after, y, k in zip(batch.teacher, actual, batch.label, batch.teacher_class, strict=True):
        expected = before.clone()
        expected[y], expected[k] = before[k], before[y]
        assert torch.equal(after, expected)


@given(logit_batches(), temperatures)
def test_it_keeps_the_sorted_vector_and_the_entropy(batch: LogitBatch, temperature: float) -> None:
    before = batch.outputs(temperature).logits
    after = probability_shift(before, batch.label, batch.teacher_class)
    assert torch.equal(after.sort(dim=1).values, before.sort(dim=1).values)
    entropies = [-(row.exp() * row).sum(dim=1) for row in (before, after)]
    torch.testing.assert_close(entropies[0], entropies[1])


@given(logit_batches())
def test_the_label_loss_comes_out_on_top(batch: LogitBatch) -> None:
    actual = probability_shift(batch.teacher, batch.label, batch.teacher_class)
    assert torch.equal(at_class(actual, batch.label), batch.teacher.amax(dim=1))
    alone_on_top = (batch.teacher == batch.teacher.amax(dim=1, keepdim=True)).sum(dim=1) == 1
    assert torch.equal(predicted_class(actual)[alone_on_top], batch.label[alone_on_top])


@given(logit_batches())
def test_twice_is_once(batch: LogitBatch) -> None:
    once = probability_shift(batch.teacher, batch.label, batch.teacher_class)
    assert torch.equal(probability_shift(once, batch.label, predicted_class(once)), once)


@given(logit_batches(), temperatures)
def test_it_commutes_with_the_softmax_at_any_temperature(batch: LogitBatch, temperature: float) -> None:
    first = probability_shift(batch.teacher, batch.label, batch.teacher_class) / temperature
    last = probability_shift(batch.outputs(temperature).logits, batch.label, batch.teacher_class)
    torch.testing.assert_close(first.log_softmax(dim=1), last)


@given(logit_batches())
def test_it_commutes_with_the_z_score(batch: LogitBatch) -> None:
    first = z_score(probability_shift(batch.teacher, batch.label, batch.teacher_class))
    last = probability_shift(z_score(batch.teacher), batch.label, batch.teacher_class)
    torch.testing.assert_close(first, last)


@given(logit_batches())
def test_right_samples_stay_and_nothing_is_changed_in_place(batch: LogitBatch) -> None:
    unchanged = batch.teacher.clone()
    actual = probability_shift(batch.teacher, batch.label, batch.teacher_class)
    assert torch.equal(actual[~batch.wrong], unchanged[~batch.wrong])
    assert torch.equal(batch.teacher, unchanged)


@given(logit_batches(), temperatures)
def test_a_teacher_that_is_always_right_is_left_alone(batch: LogitBatch, temperature: float) -> None:
    loss = DistillationLoss(correction=ProbabilityShift(), temperature=Fixed(temperature), loss=KL())
    plain = DistillationLoss(temperature=Fixed(temperature), loss=KL())
    terms, expected = (one(batch.student, batch.teacher, batch.teacher_class) for one in (loss, plain))
    assert terms.audit is not None
    assert torch.equal(terms.audit.target, terms.audit.teacher_log_probs)
    assert torch.equal(terms.total, expected.total)


@given(logit_batches(), temperatures)
def test_a_loss_on_logits_is_handed_the_swapped_logits(batch: LogitBatch, temperature: float) -> None:
    loss = DistillationLoss(correction=ProbabilityShift(), temperature=Fixed(temperature), loss=SquaredErrorLogits())
    swapped = probability_shift(batch.teacher, batch.label, batch.teacher_class)
    expected = (batch.student - swapped).square().mean()
    torch.testing.assert_close(loss(batch.student, batch.teacher, batch.label).total, expected)
