"""Which labeled samples a component is fitted on."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import DistillationLoss, InputError, SelectionData
from preceptor.context import ModelOutputs, TeacherSnapshot
from preceptor.fitting import has_seen, labeled_outputs
from preceptor.recalibrations import CrossValidated
from tests.recalibrations.test_recalibrations import calibrated

N, CLASSES = 300, 4


def selection_data(train_scale: float = 1.0) -> SelectionData:
    """300 training and 300 held-out samples of one calibrated teacher; 30 of each have no label."""
    logits, label = calibrated(2 * N)
    label[::10] = -1
    train, held_out = logits[:N].clone(), logits[N:]
    if train_scale != 1:  # it learned from them: right, and sure of it
        train = train_scale * torch.nn.functional.one_hot(label[:N].clamp(min=0), CLASSES).float()
    snapshot = TeacherSnapshot(1.0, ModelOutputs(train, features=train[:, :2]), ModelOutputs(held_out))
    return SelectionData(torch.arange(N), label[:N], label[N:], (snapshot,), has_bias=False, size=N)


def test_unseen_samples_are_all_labeled_ones_of_a_teacher_that_has_not_seen_them() -> None:
    data = selection_data()
    train, held_out, unseen = (labeled_outputs(data, part, "x") for part in ("train", "held_out", "unseen"))
    assert len(train.label) == len(held_out.label) == 270
    assert torch.equal(unseen.logits, torch.cat([held_out.logits, train.logits]))
    assert torch.equal(unseen.label, torch.cat([held_out.label, train.label]))
    assert unseen.features is None, "the held-out ones have none"


def test_a_teacher_that_learned_from_the_training_samples_leaves_the_held_out_ones() -> None:
    data = selection_data(train_scale=8)
    assert torch.equal(labeled_outputs(data, "unseen", "x").logits, labeled_outputs(data, "held_out", "x").logits)


def test_with_an_audit_only_training_samples_with_trusted_labels_count() -> None:
    data = selection_data()
    trusted = torch.arange(N) < 100
    unseen = labeled_outputs(replace(data, trusted=trusted), "unseen", "x")
    assert torch.equal(unseen.label, data.label[:100][data.label[:100] >= 0])
    none = labeled_outputs(replace(data, trusted=torch.zeros(N, dtype=torch.bool)), "unseen", "x")
    assert torch.equal(none.label, labeled_outputs(data, "held_out", "x").label)


def test_the_verdicts_of_an_audit_reach_the_fit() -> None:
    data = selection_data()
    verdicts = torch.full((N,), -1)
    verdicts[100:] = 1  # wrong_label
    losses = [DistillationLoss.from_recipe("kd") for _ in range(2)]
    for loss in losses:
        loss.recalibration = CrossValidated(fit_on="unseen")
    losses[0].use_verdicts(verdicts)
    losses[0].fit(data)
    losses[1].fit(replace(data, trusted=torch.arange(N) < 100))
    assert torch.equal(losses[0].recalibration.weight, losses[1].recalibration.weight)  # type: ignore[union-attr]


def test_unseen_samples_need_held_out_ones_to_tell_by() -> None:
    data = selection_data()
    with pytest.raises(InputError, match="labeled held-out samples, and there are none"):
        labeled_outputs(replace(data, held_out_label=None), "unseen", "x")


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_seen_is_a_loss_two_standard_errors_lower_by_welch(shift: float) -> None:
    data = selection_data()
    held_out = labeled_outputs(data, "held_out", "x")
    train = replace(labeled_outputs(data, "train", "x"), logits=_raised(labeled_outputs(data, "train", "x"), shift))
    losses = [_losses(one.logits.double().numpy(), one.label.numpy()) for one in (held_out, train)]
    error = math.sqrt(sum(one.var(ddof=1) / len(one) for one in losses))
    assert has_seen(held_out, train) == ((losses[0].mean() - losses[1].mean()) / error > 2)


def test_seen_goes_both_ways_over_the_shifts() -> None:
    held_out = labeled_outputs(selection_data(), "held_out", "x")
    train = labeled_outputs(selection_data(), "train", "x")
    told = [has_seen(held_out, replace(train, logits=_raised(train, shift))) for shift in (-1.0, 0.0, 2.0)]
    assert told == [False, False, True]


def _raised(outputs: object, shift: float) -> Tensor:
    """The label's logit is higher."""
    logits: Tensor = outputs.logits.clone()  # type: ignore[attr-defined]
    logits[torch.arange(len(logits)), outputs.label] += shift  # type: ignore[attr-defined]
    return logits


def _losses(logits: np.ndarray, label: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(label)), label]
