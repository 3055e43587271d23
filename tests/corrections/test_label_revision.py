from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor import DistillationLoss, InputError, LabelRevision, recipe
from preceptor.context import at_class, is_class
from preceptor.corrections import label_revision, revision_beta
from tests.strategies import LogitBatch, logit_batches, temperatures

etas = st.sampled_from([0.0, 0.1, 0.5, 0.8, 0.99])


def revised(batch: LogitBatch, eta: float, temperature: float = 1.0) -> Tensor:
    return label_revision(batch.outputs(temperature).logits, batch.label, batch.teacher_class, eta).exp()


@given(logit_batches(), etas, temperatures)
def test_rows_are_probabilities(batch: LogitBatch, eta: float, temperature: float) -> None:
    probs = revised(batch, eta, temperature)
    assert (probs >= 0).all()
    torch.testing.assert_close(probs.sum(dim=1), torch.ones_like(probs[:, 0]))


@given(logit_batches(), etas, temperatures)
def test_the_label_loss_comes_out_on_top_and_leads_by_one_minus_eta_where_the_teacher_was_wrong(
    batch: LogitBatch, eta: float, temperature: float
) -> None:
    probs = revised(batch, eta, temperature)
    margin = at_class(probs, batch.label) - at_class(probs, batch.teacher_class)
    torch.testing.assert_close(margin[batch.wrong], torch.full_like(margin[batch.wrong], 1 - eta))
    assert torch.equal(probs.argmax(dim=1), batch.label)


@given(logit_batches(), etas)
def test_the_teacher_keeps_between_half_eta_and_eta(batch: LogitBatch, eta: float) -> None:
    beta = revision_beta(batch.outputs().logits, batch.label, batch.teacher_class, eta)
    assert (beta >= eta / 2 - 1e-12).all()
    assert (beta <= eta + 1e-12).all()
    torch.testing.assert_close(beta[~batch.wrong], torch.full_like(beta[~batch.wrong], eta))


@given(logit_batches(largest=10.0), st.sampled_from([0.1, 0.5, 0.8]))
def test_ratios_among_the_other_classes_are_kept(batch: LogitBatch, eta: float) -> None:
    before = batch.outputs().logits
    after = label_revision(before, batch.label, batch.teacher_class, eta)
    change = (after - before).masked_fill(is_class(before, batch.label), float("nan"))
    others = [row[~row.isnan()] for row in change]
    for row in others:
        torch.testing.assert_close(row, row[:1].expand_as(row))


@given(logit_batches(), etas)
def test_where_the_teacher_is_right_it_is_label_mixing(batch: LogitBatch, eta: float) -> None:
    probs = revised(batch, eta)
    mixed = eta * batch.outputs().logits.exp() + (1 - eta) * is_class(batch.teacher, batch.label)
    torch.testing.assert_close(probs[~batch.wrong], mixed[~batch.wrong])


@given(logit_batches(unlabeled=True), etas)
def test_by_default_right_and_unlabeled_samples_stay_bit_for_bit(batch: LogitBatch, eta: float) -> None:
    loss = DistillationLoss(**recipe("label-revision-kl", {"correction.eta": eta}))
    audit = loss(batch.student, batch.teacher, batch.label).audit
    assert audit is not None
    assert torch.equal(audit.target[~batch.wrong], audit.teacher_log_probs[~batch.wrong])
    assert torch.equal(audit.corrected, batch.wrong)


def test_applied_to_all_it_touches_every_labeled_sample() -> None:
    logits, label = torch.tensor([[3.0, 0.0], [0.0, 3.0], [3.0, 0.0]]), torch.tensor([0, 0, -1])
    loss = DistillationLoss(**recipe("label-revision-kl", {"correction.apply_to": "all"}))
    audit = loss(torch.zeros(3, 2), logits, label).audit
    assert audit is not None
    assert audit.corrected.tolist() == [True, True, False]
    assert (audit.change > 0).tolist() == [True, True, False]


def test_eta_zero_is_the_label_itself_and_stays_finite() -> None:
    log_probs = torch.tensor([[0.6, 0.3, 0.1]]).log()
    actual = label_revision(log_probs, torch.tensor([1]), torch.tensor([0]), 0.0)
    torch.testing.assert_close(actual.exp(), torch.tensor([[0.0, 1.0, 0.0]]))
    assert actual.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_teacher_that_is_certain_and_wrong_stays_finite(dtype: torch.dtype) -> None:
    log_probs = torch.tensor([[1e4, 0.0, -1e4]], dtype=dtype).log_softmax(dim=1)
    actual = label_revision(log_probs, torch.tensor([2]), torch.tensor([0]), 0.8)
    assert actual.isfinite().all()
    torch.testing.assert_close(actual.exp(), torch.tensor([[0.4, 0.0, 0.6]], dtype=dtype))


@pytest.mark.parametrize("eta", [-0.1, 1.0, 2.0, float("nan"), float("inf")])
def test_eta_outside_its_range_is_refused(eta: float) -> None:
    with pytest.raises(InputError, match="label_revision: eta"):
        LabelRevision(eta=eta)


@pytest.mark.parametrize("right", [True, False])
def test_batches_all_right_or_all_wrong_give_finite_losses_and_gradients(right: bool) -> None:
    teacher = torch.tensor([[4.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    label = teacher.argmax(dim=1) if right else (teacher.argmax(dim=1) + 1) % 3
    for name in ("label-revision", "label-revision-kl"):
        student = torch.zeros(2, 3, requires_grad=True)
        terms = DistillationLoss(**recipe(name))(student, teacher, label)
        terms.total.backward()
        gradient: Any = student.grad
        assert terms.total.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
