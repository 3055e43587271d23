"""Label Revision's loss in all its readings: with labels on wrong samples or without, both reductions, both scopes."""

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from preceptor import DistillationLoss, recipe
from preceptor.corrections import label_revision
from preceptor.selections import RankedSelection
from tests.examples import learned, ready
from tests.strategies import LogitBatch, logit_batches

TERMS = ("ce", "logits", "revised")
LABELS_ON = (None, "labeled", "right")
READINGS = list(product(LABELS_ON, ("batch", "where"), ("wrong", "all")))


def reading(labels_on: str | None, reduction: str, scope: str) -> dict[str, Any]:
    changes: dict[str, Any] = {f"terms.{name}.reduction": reduction for name in TERMS}
    return changes | {"terms.ce.where": labels_on, "correction.apply_to": scope}


def losses_of_each(batch: LogitBatch, scope: str) -> dict[str, Tensor]:
    """The value of each term on each sample, whether the teacher is right or wrong."""
    revised = label_revision(batch.outputs().logits, batch.label, batch.teacher_class, 0.8)
    target = torch.where((batch.wrong | (scope == "all")).unsqueeze(1), revised, batch.outputs().logits)
    probs = batch.student.softmax(dim=1)
    return {
        "ce": F.cross_entropy(batch.student, batch.label, reduction="none"),
        "logits": 4 * (batch.student - batch.teacher - target + batch.outputs().logits).square().mean(dim=1),
        "revised": (probs - target.exp()).square().mean(dim=1),
    }


@given(logit_batches(largest=8.0), st.sampled_from(READINGS))
def test_every_reading_is_its_formula(batch: LogitBatch, chosen: tuple[str | None, str, str]) -> None:
    labels_on, reduction, scope = chosen
    terms = DistillationLoss(**recipe("label-revision", reading(*chosen)))(batch.student, batch.teacher, batch.label)
    right = ~batch.wrong
    members = {"ce": right if labels_on == "right" else torch.ones_like(right), "logits": right, "revised": batch.wrong}
    for name, each in losses_of_each(batch, scope).items():
        count = len(right) if reduction == "batch" else max(1, int(members[name].sum()))
        torch.testing.assert_close(terms[name], each[members[name]].sum() / count)


@given(
    logit_batches(largest=8.0), st.sampled_from(["right", "labeled"]), st.lists(st.booleans(), min_size=6, max_size=6)
)
def test_with_a_selection_each_sample_has_the_loss_of_its_group(
    batch: LogitBatch, labels_on: str, selected: list[bool]
) -> None:
    chosen = torch.tensor(selected)[: len(batch.label)]
    keep = float(chosen.double().mean())
    loss = DistillationLoss(**recipe("lr-ds", {"terms.ce.where": f"unselected | {labels_on}", "selection.keep": keep}))
    index = torch.arange(len(chosen))
    assert isinstance(loss.selection, RankedSelection)
    loss.selection.set_scores(index, chosen.double(), len(chosen))
    each = losses_of_each(batch, "wrong")
    on_wrong = each["revised"] + (each["ce"] if labels_on == "labeled" else 0)
    by_teacher = torch.where(batch.wrong, on_wrong, each["ce"] + each["logits"])
    actual = loss(batch.student, batch.teacher, batch.label, index=index).total
    torch.testing.assert_close(actual, torch.where(chosen, by_teacher, each["ce"]).mean())


@pytest.mark.parametrize("name", ["label-revision", "lr-ds"])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("chosen", READINGS, ids=str)
def test_batches_all_right_or_all_wrong_have_finite_gradients(
    name: str, right: bool, chosen: tuple[str | None, str, str]
) -> None:
    teacher = torch.tensor([[4.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    label = (teacher.argmax(dim=1) + (not right)) % 3
    everything = {"selection.keep": 1.0} if name == "lr-ds" else {}
    loss = ready(name, 2, **{**reading(*chosen), **everything})
    terms, gradient = learned(loss, torch.zeros(2, 3), teacher, label)
    assert terms.total.isfinite()
    assert gradient.isfinite().all()
    assert (gradient.abs().sum(dim=1) > 0).all()
    assert (terms["logits"] > 0) == right
    assert (terms["revised"] > 0) != right
