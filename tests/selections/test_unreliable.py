"""Weights for unreliable teachers: trust, conformal sets, near misses, weighted soft labels."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from preceptor import BatchContext, InputError
from preceptor.context import ModelOutputs
from preceptor.selections import WSLD, ConformalWeight, NearMiss, Trust, TrustWeight, soft_label_weight
from preceptor.selections.conformal_weight import least_probability
from tests.recalibrations.test_recalibrations import calibrated, data
from tests.test_fitting import selection_data


def context(teacher: Tensor, label: Tensor, student: Tensor | None = None) -> BatchContext:
    return BatchContext(teacher if student is None else student, teacher, label, teacher.argmax(dim=1))


def test_trusted_samples_are_more_often_right() -> None:
    logits, label = calibrated()
    fresh, fresh_label = calibrated(seed=1)
    right = (logits.argmax(dim=1) == label).float()
    component = Trust(keep=0.5)
    component.fit(data(logits, label))
    kept = component.weight > 0
    assert right[kept].mean() > right.mean() + 0.15
    weight = TrustWeight()
    weight.fit(data(logits, label))
    trust, fresh_right = weight(context(fresh, fresh_label)), (fresh.argmax(dim=1) == fresh_label).float()
    assert trust[fresh_right == 1].mean() > trust[fresh_right == 0].mean() + 0.1
    kept_by_weight = weight(context(logits, label)).argsort(descending=True)[: len(logits) // 2]
    assert set(kept_by_weight.tolist()) == set(kept.nonzero().squeeze(1).tolist())


def test_trust_in_unseen_samples_learns_from_trusted_labels_alone() -> None:
    clean = selection_data()
    trusted = torch.arange(len(clean.label)) % 3 > 0
    wrong = torch.where(trusted | (clean.label < 0), clean.label, (clean.label + 1) % 4)
    scores = []
    for label, order in ((clean.label, torch.arange(len(wrong))), (wrong, torch.arange(len(wrong)).flip(0))):
        train = ModelOutputs(clean.teacher.train.logits[order])
        data = replace(
            clean,
            index=order,
            label=label[order],
            trusted=trusted[order],
            checkpoints=(replace(clean.teacher, train=train),),
        )
        component = Trust(fit_on="unseen")
        component.fit(data)
        scores.append(component.scores)
    assert torch.equal(*(one.nan_to_num(-1) for one in scores))
    assert scores[0].isfinite().sum() == (clean.label >= 0).sum()


def test_a_teacher_without_any_error_has_a_finite_trust() -> None:
    logits, _ = calibrated(200)
    for label in (logits.argmax(dim=1), logits.argmin(dim=1)):
        component = TrustWeight()
        component.fit(data(logits, label))
        assert component(context(logits, label)).isfinite().all()


@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_the_sets_hold_as_many_labels_as_they_should(alpha: float) -> None:
    logits, label = calibrated()
    fresh, fresh_label = calibrated(seed=1)
    least = least_probability(logits, label, alpha)
    covered = fresh.double().softmax(dim=1).gather(1, fresh_label.unsqueeze(1)) >= least
    assert float(covered.float().mean()) == pytest.approx(1 - alpha, abs=0.03)


def test_a_sure_teacher_weighs_more_than_an_unsure_one() -> None:
    logits, label = calibrated()
    teacher = torch.tensor([[9.0, 0, 0, 0], [0.0, 0, 0, 0]])
    for decay, expected in (("inverse", [1.0, 0.25]), ("linear", [1.0, 0.0])):
        component = ConformalWeight(decay=decay)  # type: ignore[arg-type]
        component.fit(data(logits, label))
        assert component(context(teacher, torch.tensor([0, -1]))).tolist() == expected


def test_near_misses_and_hard_samples_are_distilled() -> None:
    teacher = torch.tensor([4.0, 3.99, 1, 0]).repeat(5, 1)
    teacher[1] = torch.tensor([4.0, 0, 0, 0])
    label = torch.tensor([0, 0, 2, 3, -1])
    assert NearMiss(near=1, hard=0.5)(context(teacher, label)).tolist() == [1, 0, 1, 0.5, 1]


def test_weighted_soft_labels_follow_the_student() -> None:
    """1 where the teacher is certain of the label, little where the student has it and the teacher has not."""
    certain, unsure = torch.tensor([[100.0, 0, 0]]), torch.tensor([[0.0, 5, 0]])
    label = torch.tensor([0])
    for student in (certain, unsure, torch.zeros(1, 3)):
        assert float(soft_label_weight(student, certain, label)) == pytest.approx(1)
    assert float(soft_label_weight(torch.tensor([[6.0, 0, 0]]), unsure, label)) < 0.01
    assert float(WSLD()(context(unsure, torch.tensor([-1])))) == 1


def test_options_are_checked() -> None:
    for build, message in (
        (lambda: Trust(l2=0.0), "trust: l2 = 0"),
        (lambda: TrustWeight(l2=-1.0), "trust_weight: l2 = -1"),
        (lambda: ConformalWeight(alpha=1.0), "conformal_weight: alpha = 1"),
        (lambda: NearMiss(hard=-1.0), "near_miss: hard = -1"),
        (lambda: NearMiss(margin=2.0), "near_miss: margin = 2"),
    ):
        with pytest.raises(InputError, match=message):
            build()
