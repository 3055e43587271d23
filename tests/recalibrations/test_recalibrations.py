"""Recalibrations undo what they are for, and what comes out is the teacher for all that follows."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from preceptor import KL, DistillationLoss, InputError, ProbabilityShift, SelectionData
from preceptor.context import ModelOutputs, TeacherSnapshot
from preceptor.recalibrations import Confusion, CrossValidated, Dirichlet, Prior, TemperatureScaling, VectorScaling

CLASSES = 4


def calibrated(samples: int = 4000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits, and labels drawn from their softmax: a teacher whose confidence is right."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(samples, CLASSES, generator=generator)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)


def data(logits: Tensor, label: Tensor) -> SelectionData:
    """The same outputs on training and held-out samples."""
    outputs = ModelOutputs(logits)
    snapshot = TeacherSnapshot(1.0, outputs, outputs)
    return SelectionData(torch.arange(len(label)), label, label, (snapshot,), has_bias=False, size=len(label))


def fitted(component: Any, logits: Tensor, label: Tensor) -> Any:
    component.fit(data(logits, label))
    return component


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_a_temperature_that_was_wrong_is_found(factor: float) -> None:
    logits, label = calibrated()
    component = fitted(TemperatureScaling(), logits * factor, label)
    assert float(component.scale) * factor == pytest.approx(1, abs=0.1)
    assert torch.equal(component(logits).argmax(dim=1), logits.argmax(dim=1))


def test_a_teacher_that_is_always_right_keeps_a_finite_temperature() -> None:
    logits, _ = calibrated()
    assert float(fitted(TemperatureScaling(), logits, logits.argmax(dim=1)).scale) == pytest.approx(20)
    assert float(fitted(TemperatureScaling(), logits, logits.argmin(dim=1)).scale) == pytest.approx(0.05)


def test_a_prior_holds_the_temperature_where_samples_are_few_and_not_where_they_are_many() -> None:
    logits, label = calibrated()
    always_right = logits[:10], logits[:10].argmax(dim=1)
    assert float(fitted(TemperatureScaling(), *always_right).scale) > 10
    assert 1 < float(fitted(TemperatureScaling(prior=4.0), *always_right).scale) < 3
    many = float(fitted(TemperatureScaling(), logits * 3, label).scale)
    assert float(fitted(TemperatureScaling(prior=4.0), logits * 3, label).scale) == pytest.approx(many, rel=0.05)
    with pytest.raises(InputError, match="prior = -1: expected a finite number, 0 or more"):
        TemperatureScaling(prior=-1)


@pytest.mark.parametrize("component", [VectorScaling(l2=1e-4), Dirichlet(l2=1e-4)], ids=lambda one: type(one).__name__)
def test_a_class_that_was_favored_is_not_any_more(component: Any) -> None:
    logits, label = calibrated()
    favored = logits + torch.tensor([2.0, 0, 0, 0])
    after = fitted(component, favored, label)(favored)
    assert float(F.cross_entropy(after, label)) == pytest.approx(float(F.cross_entropy(logits, label)), abs=0.01)
    assert float(F.cross_entropy(favored, label)) > float(F.cross_entropy(after, label)) + 0.1


def test_without_its_prior_a_teacher_favors_no_class() -> None:
    logits = torch.randn(500, CLASSES, generator=torch.Generator().manual_seed(1)) + torch.tensor([2.0, 0, 0, 0])
    probs = fitted(Prior(), logits, torch.full((500,), -1))(logits).softmax(dim=1)
    mean = logits.softmax(dim=1).mean(dim=0)
    expected = logits.softmax(dim=1) / mean
    torch.testing.assert_close(probs, expected / expected.sum(dim=1, keepdim=True))
    assert float(probs.mean(dim=0).max()) < 0.35 < float(mean.max())


def test_two_classes_that_the_teacher_exchanges_change_places() -> None:
    logits, label = calibrated()
    exchanged = logits[:, [1, 0, 2, 3]] * 3
    after = fitted(Confusion(), exchanged, logits.argmax(dim=1))(exchanged)
    right = [float((one.argmax(dim=1) == logits.argmax(dim=1)).float().mean()) for one in (exchanged, after)]
    assert right[0] < 0.6
    assert right[1] > 0.99
    same = fitted(Confusion(), logits, label)(logits)
    torch.testing.assert_close(same.softmax(dim=1), logits.softmax(dim=1), atol=0.04, rtol=0)
    same = fitted(Confusion(smoothing=1e9), exchanged, label)(exchanged)
    torch.testing.assert_close(same.softmax(dim=1), exchanged.softmax(dim=1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("samples", [60, 4000])
def test_cross_validation_takes_a_map_that_the_samples_bear(samples: int) -> None:
    logits, label = calibrated()
    few = slice(0, samples)
    distorted = {
        "temperature": logits * 3,
        "prior": logits + torch.tensor([3.0, 0, 0, 0]),
        "exchanged": logits[:, [1, 0, 2, 3]],
    }
    for name, outputs in distorted.items():
        after = fitted(CrossValidated(), outputs[few], label[few])(outputs)
        loss = float(F.cross_entropy(after, label))
        assert loss < float(F.cross_entropy(outputs, label)) - 0.1, name
        assert loss == pytest.approx(float(F.cross_entropy(logits, label)), abs=0.02 if samples > 1000 else 0.25), name
    plain = fitted(CrossValidated(), logits[few], label[few])(logits)
    assert float((plain.argmax(dim=1) == logits.argmax(dim=1)).float().mean()) > 0.9


def test_a_matrix_is_not_tried_for_many_classes() -> None:
    logits = torch.randn(40, 300, generator=torch.Generator().manual_seed(0))
    component = fitted(CrossValidated(), logits, logits.argmax(dim=1))
    assert component.weight.shape == (300,)
    assert fitted(CrossValidated(), logits[:1], logits[:1].argmax(dim=1)).weight.shape == (300,)


def test_of_very_many_samples_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, label = calibrated()
    whole = fitted(CrossValidated(), logits * 3, label)
    monkeypatch.setattr("preceptor.recalibrations.cross_validated.MOST_SAMPLES", 1000)
    part = fitted(CrossValidated(), logits * 3, label)
    assert not torch.equal(part.scale, whole.scale)
    assert float(part.scale) == pytest.approx(float(whole.scale), rel=0.15)
    assert torch.equal(part.weight, fitted(CrossValidated(), logits * 3, label).weight)


def test_all_that_follows_sees_the_recalibrated_teacher() -> None:
    logits, _ = calibrated()
    exchanged = logits[:, [1, 0, 2, 3]] * 3
    loss = DistillationLoss(recalibration=Confusion(), correction=ProbabilityShift(), loss=KL())
    loss.fit(data(exchanged, logits.argmax(dim=1)))
    some = slice(0, 200)
    unlabeled = torch.where(torch.arange(200) < 100, logits.argmax(dim=1)[some], -1)
    audit = loss(torch.zeros(200, CLASSES), exchanged[some], unlabeled).audit
    assert audit is not None
    assert torch.equal(audit.teacher_class, loss.recalibration(exchanged[some]).argmax(dim=1))  # type: ignore[misc]
    assert audit.wrong.sum() < 5
    assert torch.equal(audit.target[100:], audit.teacher_log_probs[100:])


def test_held_out_samples_are_asked_for() -> None:
    logits, label = calibrated(50)
    snapshot = TeacherSnapshot(1.0, ModelOutputs(logits), None)
    lacking = replace(data(logits, label), held_out_label=None, checkpoints=(snapshot,))
    for cls in (TemperatureScaling, VectorScaling, Dirichlet, Confusion, CrossValidated):
        with pytest.raises(InputError, match=r"is fitted on labeled held-out samples, and there are none: hold"):
            cls().fit(lacking)
        cls(fit_on="train").fit(lacking)
        with pytest.raises(InputError, match=r"is fitted on labeled training samples, and there are none"):
            cls(fit_on="train").fit(replace(lacking, label=torch.full_like(label, -1)))
    Prior().fit(lacking)


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="confusion: smoothing = 0"):
        Confusion(smoothing=0.0)
    with pytest.raises(InputError, match="vector_scaling: l2 = -1"):
        VectorScaling(l2=-1.0)
