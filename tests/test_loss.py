import copy
import pickle
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from preceptor import (
    KL,
    BatchContext,
    CrossEntropy,
    DistillationLoss,
    DropWrong,
    Fixed,
    LabelRevision,
    LabelSmoothedCrossEntropy,
    LabelSmoothing,
    LossTerm,
    ProbabilityShift,
    SquaredErrorLogits,
    SquaredErrorProbs,
)
from preceptor.component_types import Loss
from tests.conformance import references as plain
from tests.examples import EVERYTHING, LABEL, STUDENT, TEACHER, learned
from tests.strategies import LogitBatch, logit_batches

CORRECTIONS = {
    None: None,
    "ps": (ProbabilityShift(), plain.probability_shift),
    "lr": (LabelRevision(), plain.label_revision),
    "lsr": (LabelSmoothing(), plain.label_smoothing_target),
}
LOSSES: dict[str, tuple[Loss, Any]] = {
    "kl": (KL(), plain.kl),
    "probs": (SquaredErrorProbs(), plain.squared_error_probs),
    "logits": (SquaredErrorLogits(), plain.squared_error_logits),
}


def plain_total(batch: LogitBatch, correction: Any, loss_name: str, temperature: float, weights: list[float]) -> float:
    """Correct, apply the temperature and the loss, and average, sample by sample, in NumPy."""
    z, t, labels = batch.student.numpy(), batch.teacher.numpy(), batch.label.numpy()
    total = 0.0
    for i, y in enumerate(labels):
        top = plain.first_argmax(t[i])
        p = plain.softmax(t[i] / temperature)
        revised = p
        if correction is not None and y not in (-1, top):
            revised = correction[1](np.log(p)[None], [y], [top])[0]
        target = np.log(revised) if loss_name != "logits" else t[i] + temperature * (np.log(revised) - np.log(p))
        loss = LOSSES[loss_name][1](z[i][None], target[None], temperature, [y])[0]
        total += weights[i] * loss / len(labels)
    return total


@given(
    logit_batches(unlabeled=True, largest=8.0),
    st.sampled_from(list(CORRECTIONS)),
    st.sampled_from(list(LOSSES)),
    st.sampled_from([1.0, 4.0]),
    st.booleans(),
)
def test_any_correction_with_any_loss_agrees_with_plain_numpy(
    batch: LogitBatch, correction: str | None, loss_name: str, temperature: float, dropping: bool
) -> None:
    components = CORRECTIONS[correction]
    loss = DistillationLoss(
        correction=components[0] if components else None,
        temperature=Fixed(temperature),
        selection=DropWrong() if dropping else None,
        loss=LOSSES[loss_name][0],
    )
    weights = [0.0 if dropping and wrong else 1.0 for wrong in batch.wrong.tolist()]
    expected = plain_total(batch, components, loss_name, temperature, weights)
    assert float(loss(batch.student, batch.teacher, batch.label).total) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_terms_come_separately_by_name_weighted_and_in_total() -> None:
    terms = DistillationLoss(**EVERYTHING)(STUDENT, TEACHER, LABEL)
    assert list(terms.losses) == ["ce", "kl", "far"]
    torch.testing.assert_close(terms.total, terms["ce"] + terms["kl"] + terms["far"])
    torch.testing.assert_close(terms["ce"], 0.5 * nn.functional.cross_entropy(STUDENT[:3], LABEL[:3]) * 3 / 4)
    right = (STUDENT - TEACHER).square().mean(dim=1)[[0, 2]].sum()
    torch.testing.assert_close(terms["far"], 2 * right / 4)


def test_loss_and_label_loss_arguments_become_terms_under_their_registered_names() -> None:
    short = DistillationLoss(loss=KL(), label_loss=CrossEntropy())
    long = DistillationLoss(terms={"kl": LossTerm(KL()), "cross_entropy": LossTerm(CrossEntropy())})
    assert list(short.terms) == ["kl", "cross_entropy"]
    assert torch.equal(short(STUDENT, TEACHER, LABEL).total, long(STUDENT, TEACHER, LABEL).total)
    both = DistillationLoss(loss=KL(), terms={"ce": LossTerm(CrossEntropy())})
    assert list(both.terms) == ["kl", "ce"]


def test_the_audit_shows_what_was_done_to_each_sample() -> None:
    audit = DistillationLoss(**EVERYTHING)(STUDENT.clone().requires_grad_(), TEACHER, LABEL).audit
    assert audit is not None
    assert audit.teacher_class.tolist() == [0, 0, 2, 0]
    assert audit.wrong.tolist() == [False, True, False, False]
    assert audit.corrected.tolist() == [False, True, False, False]
    assert audit.weight.tolist() == [1.0, 0.0, 1.0, 1.0]
    assert audit.temperature == 2.0
    torch.testing.assert_close(audit.teacher_log_probs, (TEACHER / 2).log_softmax(dim=1))
    before, after = audit.teacher_log_probs[1].exp(), audit.target[1].exp()
    assert after.argmax() == 1
    assert audit.change[[0, 2, 3]].tolist() == [0.0] * 3
    torch.testing.assert_close(audit.change[1], (after - before).clamp(min=0).sum())
    assert not any(value.requires_grad for value in (audit.weight, audit.teacher_log_probs, audit.target))


def test_without_selection_and_correction_the_audit_shows_none() -> None:
    audit = DistillationLoss(loss=KL())(STUDENT, TEACHER, LABEL).audit
    assert audit is not None
    assert audit.weight.tolist() == [1.0] * 4
    assert not audit.corrected.any()
    assert torch.equal(audit.teacher_log_probs, audit.target)


@given(logit_batches(unlabeled=True))
def test_the_order_of_the_batch_does_not_matter(batch: LogitBatch) -> None:
    order = torch.randperm(len(batch.label), generator=torch.Generator().manual_seed(0))
    one, gradient = learned(DistillationLoss(**EVERYTHING), batch.student, batch.teacher, batch.label)
    two, turned = learned(
        DistillationLoss(**EVERYTHING), batch.student[order], batch.teacher[order], batch.label[order]
    )
    torch.testing.assert_close(one.total, two.total)
    torch.testing.assert_close(gradient[order], turned)


@given(logit_batches(unlabeled=True, largest=1e4))
def test_losses_and_gradients_are_finite_for_logits_up_to_ten_thousand(batch: LogitBatch) -> None:
    for correct in (None, ProbabilityShift(), LabelRevision(), LabelSmoothing()):
        distillation_loss = DistillationLoss(**{**EVERYTHING, "correction": correct, "selection": None})
        for dtype in (torch.float32, torch.bfloat16):
            terms, gradient = learned(distillation_loss, batch.student.to(dtype), batch.teacher.to(dtype), batch.label)
            assert all(loss.isfinite() for loss in terms.losses.values())
            assert gradient.isfinite().all()


class TestGradient:
    def test_none_reaches_the_teacher(self) -> None:
        teacher = TEACHER.clone().requires_grad_()
        learned(DistillationLoss(**EVERYTHING), STUDENT, teacher, LABEL)
        assert teacher.grad is None

    def test_none_reaches_the_student_through_its_own_temperature_or_weight(self) -> None:
        def unsure(context: BatchContext) -> Tensor:
            return 2 - context.student_logits.softmax(dim=1).amax(dim=1)

        value = unsure(BatchContext(STUDENT, TEACHER, LABEL, LABEL))
        own = DistillationLoss(temperature=unsure, selection=unsure, loss=KL())
        written_down = DistillationLoss(temperature=lambda context: value, selection=lambda context: value, loss=KL())
        gradients = [learned(loss, STUDENT, TEACHER, LABEL)[1] for loss in (own, written_down)]
        assert torch.equal(*gradients)

    @pytest.mark.parametrize("loss", [KL(), SquaredErrorLogits(), SquaredErrorProbs()], ids=repr)
    @pytest.mark.parametrize("huge", [3e38, 1e4, float("inf"), float("nan")])
    def test_is_exactly_zero_at_weight_zero_whatever_the_loss(self, loss: Loss, huge: float) -> None:
        student = STUDENT.clone()
        student[1] = torch.tensor([huge, -huge, huge])
        whole = DistillationLoss(selection=DropWrong(), loss=loss)
        terms, gradient = learned(whole, student, TEACHER, LABEL)
        usual, expected = learned(whole, STUDENT, TEACHER, LABEL)
        assert torch.equal(gradient[1], torch.zeros(3))
        assert torch.equal(gradient, expected)
        assert torch.equal(terms.total, usual.total)

    @pytest.mark.parametrize("label_loss", [CrossEntropy(), LabelSmoothedCrossEntropy()], ids=repr)
    @pytest.mark.parametrize("huge", [3e38, float("inf"), float("nan")])
    def test_is_exactly_zero_where_a_label_loss_is_left_out(self, label_loss: Any, huge: float) -> None:
        student = STUDENT.clone()
        student[[1, 3]] = torch.tensor([huge, -huge, huge])
        terms, gradient = learned(
            DistillationLoss(terms={"label_loss": LossTerm(label_loss, where="right")}), student, TEACHER, LABEL
        )
        assert torch.equal(gradient[[1, 3]], torch.zeros(2, 3))
        assert terms.total.isfinite()
        assert (gradient[[0, 2]] != 0).all()

    def test_scales_with_the_weight(self) -> None:
        def thirds(context: BatchContext) -> Tensor:
            return torch.tensor([1.0, 1 / 3, 0.0, 2.0])

        _, full = learned(DistillationLoss(loss=KL()), STUDENT, TEACHER, LABEL)
        _, weighed = learned(DistillationLoss(selection=thirds, loss=KL()), STUDENT, TEACHER, LABEL)
        torch.testing.assert_close(weighed, full * torch.tensor([[1.0], [1 / 3], [0.0], [2.0]]))


class TestWhere:
    @pytest.mark.parametrize(
        ("where", "taught_rows"),
        [
            (None, [0, 1, 2, 3]),
            ("right", [0, 2]),
            ("wrong", [1]),
            ("labeled", [0, 1, 2]),
            ("unlabeled", [3]),
            ("selected", [0, 2, 3]),
            ("unselected", [1]),
            ("selected & labeled | unselected", [0, 1, 2]),
            ("right & wrong", []),
        ],
    )
    def test_limits_a_loss(self, where: str | None, taught_rows: list[int]) -> None:
        for weight, reduction in product((1.0, 0.5), ("batch", "where")):
            terms = {"kl": LossTerm(KL(), weight, where, reduction)}  # type: ignore[arg-type]
            loss = DistillationLoss(selection=DropWrong(), terms=terms)
            rows = [row for row in taught_rows if row != 1]  # a selection weighs the loss whatever its where
            losses = [
                float(DistillationLoss(loss=KL())(STUDENT[[i]], TEACHER[[i]], LABEL[[i]]).total.detach()) for i in rows
            ]
            count = 4 if reduction == "batch" else max(1, len(taught_rows))
            actual = float(loss(STUDENT, TEACHER, LABEL).total.detach())
            assert actual == pytest.approx(weight * sum(losses) / count, rel=1e-5)

    def test_a_label_loss_skips_unlabeled_samples_for_every_where(self) -> None:
        for where in (None, "unlabeled", "selected", "labeled | unlabeled"):
            terms, gradient = learned(
                DistillationLoss(selection=DropWrong(), terms={"ce": LossTerm(CrossEntropy(), where=where)}),
                STUDENT,
                TEACHER,
                LABEL,
            )
            assert torch.equal(gradient[3], torch.zeros(3))
            assert (terms.total > 0) == (where != "unlabeled")

    def test_without_a_teacher_labeled_and_unlabeled_are_still_known(self) -> None:
        loss = DistillationLoss(terms={"ce": LossTerm(CrossEntropy(), where="labeled", reduction="where")})
        assert not loss.uses_teacher
        expected = nn.functional.cross_entropy(STUDENT[:3], LABEL[:3])
        torch.testing.assert_close(loss(STUDENT, None, LABEL).total, expected)


def test_one_temperature_a_sample_softens_each_with_its_own() -> None:
    degrees = torch.tensor([1.0, 2.0, 4.0, 8.0])
    together = DistillationLoss(temperature=lambda context: degrees, correction=ProbabilityShift(), loss=KL())(
        STUDENT, TEACHER, LABEL
    )
    alone = [
        DistillationLoss(temperature=Fixed(degree), correction=ProbabilityShift(), loss=KL())(
            STUDENT[[i]], TEACHER[[i]], LABEL[[i]]
        )
        for i, degree in enumerate(degrees.tolist())
    ]
    torch.testing.assert_close(together.total, torch.stack([terms.total for terms in alone]).mean())


def test_index_and_progress_reach_the_context() -> None:
    seen: list[BatchContext] = []

    def weights(context: BatchContext) -> Tensor:
        seen.append(context)
        return torch.ones(4)

    DistillationLoss(selection=weights, loss=KL())(STUDENT, TEACHER, LABEL, index=torch.arange(4) + 10, progress=0.25)
    [context] = seen
    assert context.index is not None
    assert context.index.tolist() == [10, 11, 12, 13]
    assert context.progress == 0.25


def test_a_loss_can_be_copied_and_pickled() -> None:
    loss = DistillationLoss(**EVERYTHING)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(STUDENT, TEACHER, LABEL).total, loss(STUDENT, TEACHER, LABEL).total)


def test_a_loss_shows_its_components() -> None:
    shown = repr(DistillationLoss(**EVERYTHING))
    assert "KL(temperature_squared=True), weight=1.0" in shown
