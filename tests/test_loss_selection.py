"""A loss whose selection is fitted before training: teacher logits of other samples are ignored."""

from typing import Any

import pytest
import torch
from torch import Tensor

from preceptor import (
    CWSM,
    FLSW,
    KL,
    CrossEntropy,
    DistillationLoss,
    InputError,
    LabelRevision,
    LossTerm,
    ProbabilityShift,
)
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.selections import Random
from tests.examples import LABEL, STUDENT, TEACHER, ready

INDEX = torch.arange(4)


def selecting(selected: list[int], size: int = 4) -> Random:
    """A selection of these indices alone."""
    score = torch.zeros(size)
    score[selected] = 1.0
    select = Random(keep=len(selected) / size)
    select.set_scores(torch.arange(size), score, size)
    return select


def outcome(loss: DistillationLoss, teacher: Tensor, label: Tensor = LABEL, **given: Any) -> tuple[Tensor, Tensor]:
    student = STUDENT.clone().requires_grad_()
    total = loss(student, teacher, label, **{"index": INDEX, "progress": 0.5, **given}).total
    total.backward()
    assert student.grad is not None
    return total.detach(), student.grad


@pytest.mark.parametrize("name", ["ds", "lr-ds"])
@pytest.mark.parametrize("junk", [0.0, 1e4, float("nan"), float("inf")])
def test_teacher_logits_of_other_samples_are_ignored(name: str, junk: float) -> None:
    loss = ready(name, **{"selection.keep": 0.5})
    replaced = TEACHER.clone()
    replaced[2] = junk
    for actual, expected in zip(outcome(loss, replaced), outcome(loss, TEACHER), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    "temperature", [FLSW(), FLSW(normalize="sum", beta=3.0), CWSM(), CWSM(normalize="sum")], ids=repr
)
def test_a_dynamic_temperature_depends_on_the_selected_samples_alone(temperature: Any) -> None:
    selected = [0, 3]
    audit = DistillationLoss(temperature=temperature, selection=selecting(selected), loss=KL())(
        STUDENT, TEACHER, LABEL, index=INDEX
    ).audit
    rows = STUDENT[selected], TEACHER[selected], LABEL[selected]
    alone = DistillationLoss(temperature=temperature, loss=KL())(*rows).audit
    assert audit is not None
    assert alone is not None
    torch.testing.assert_close(audit.temperature[selected], alone.temperature)  # type: ignore[index]
    torch.testing.assert_close(audit.mean_temperature, alone.mean_temperature)


def test_a_sample_without_a_query_is_neither_right_nor_wrong_nor_corrected() -> None:
    loss = DistillationLoss(selection=selecting([0, 3]), correction=LabelRevision(apply_to="all"), loss=KL())
    audit = loss(STUDENT, TEACHER, LABEL, index=INDEX).audit
    assert audit is not None
    assert audit.queried.tolist() == [True, False, False, True]
    assert audit.wrong.tolist() == [False] * 4
    assert audit.corrected.tolist() == [True, False, False, False]
    for where in ("right", "wrong", "right | wrong"):
        loss = DistillationLoss(
            selection=selecting([0, 3]), loss=KL(), terms={"ce": LossTerm(CrossEntropy(), where=where)}
        )
        _, gradient = outcome(
            DistillationLoss(selection=selecting([1]), terms={"ce": LossTerm(CrossEntropy(), where=where)}), TEACHER
        )
        assert (gradient[[0, 2, 3]] == 0).all()


@pytest.mark.parametrize("recipe", ["lr-ds", "ds"])
def test_keeping_everything_is_the_recipe_without_selection_and_nothing_is_labels_alone(recipe: str) -> None:
    plain = {"lr-ds": "lr", "ds": "kd"}[recipe]
    label = torch.tensor([0, 1, 2, 0])
    everything = outcome(ready(recipe, **{"selection.keep": 1.0}), TEACHER, label)
    nothing = outcome(ready(recipe, **{"selection.keep": 0.0}), TEACHER, label)
    torch.testing.assert_close(everything, outcome(ready(plain), TEACHER, label))
    torch.testing.assert_close(nothing, outcome(ready("none"), TEACHER, label))


def test_teacher_mask_is_true_for_the_queried_samples() -> None:
    loss = ready("ds", **{"selection.keep": 0.5})
    assert loss.teacher_mask(INDEX).tolist() == [True, True, False, False]
    assert ready("kd").teacher_mask(INDEX).tolist() == [True] * 4
    assert ready("none").teacher_mask(INDEX).tolist() == [False] * 4


def test_it_needs_to_be_fitted_and_needs_an_index() -> None:
    loss = DistillationLoss(selection=Random(), loss=KL())
    assert loss.needs_fit
    with pytest.raises(InputError, match="not fitted yet"):
        loss(STUDENT, TEACHER, LABEL, index=INDEX)
    loss.fit(
        SelectionData(INDEX, LABEL, None, (TeacherSnapshot(1.0, ModelOutputs(TEACHER), None),), has_bias=False, size=4)
    )
    assert not loss.needs_fit
    with pytest.raises(InputError, match="index="):
        loss(STUDENT, TEACHER, LABEL)
    assert loss(STUDENT, TEACHER, LABEL, index=INDEX).total.isfinite()


def test_a_loss_without_a_selection_has_nothing_to_fit() -> None:
    loss = DistillationLoss(correction=ProbabilityShift(), loss=KL())
    assert not loss.needs_fit
    before = loss(STUDENT, TEACHER, LABEL).total
    loss.fit(
        SelectionData(INDEX, LABEL, None, (TeacherSnapshot(1.0, ModelOutputs(TEACHER), None),), has_bias=False, size=4)
    )
    assert torch.equal(loss(STUDENT, TEACHER, LABEL).total, before)


def test_a_fitted_selection_is_in_the_state_dict() -> None:
    fitted_one, empty = (
        ready("ds", **{"selection.keep": 0.5}),
        DistillationLoss(**{"selection": Random(keep=0.5), "loss": KL()}),
    )
    empty.selection.load_state_dict(fitted_one.selection.state_dict())  # type: ignore[union-attr]
    assert empty.teacher_mask(INDEX).tolist() == fitted_one.teacher_mask(INDEX).tolist()
