from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor import KL, Attention, CrossEntropy, DropWrong, Fixed, InputError, LabelRevision, LossTerm
from preceptor.context import VERDICTS
from preceptor.loss_terms import GROUPS, TEACHER_GROUPS, parse_where

Expression = list[list[str]]

groups_of_a_sample = st.sampled_from(
    [
        {"right": right, "wrong": labeled and not right, "labeled": labeled, "unlabeled": not labeled}
        | {"selected": selected, "unselected": not selected, "trusted_label": labeled and verdict != "wrong_label"}
        | {name: name == verdict for name in VERDICTS}
        for labeled, right, selected in product([True, False], repeat=3)
        for verdict in (None, *VERDICTS)
        if labeled or not right
    ]
)
expressions: st.SearchStrategy[Expression] = st.lists(
    st.lists(st.sampled_from(GROUPS), min_size=1, max_size=3), min_size=1, max_size=3
)


def spelled(expression: Expression, gap: str) -> str:
    return f"{gap}|{gap}".join(f"{gap}&{gap}".join(part) for part in expression)


def tensors(samples: list[dict[str, bool]]) -> dict[str, Tensor]:
    return {name: torch.tensor([sample[name] for sample in samples]) for name in GROUPS}


@given(expressions, st.lists(groups_of_a_sample, min_size=1, max_size=8), st.sampled_from(["", " ", "  "]))
def test_where_means_what_python_means(expression: Expression, samples: list[dict[str, bool]], gap: str) -> None:
    where = spelled(expression, gap)
    python = where.replace("&", " and ").replace("|", " or ").strip()
    expected = [eval(python, {}, sample) for sample in samples]
    assert (
        LossTerm(CrossEntropy(), where=where).limited(torch.ones(len(samples)), tensors(samples))[1].tolist()
        == expected
    )


def test_where_none_is_everything() -> None:
    assert parse_where(None) == ((),)
    samples = tensors([dict.fromkeys(GROUPS, False)] * 3)
    assert LossTerm(CrossEntropy()).limited(torch.ones(3), samples)[1].tolist() == [True] * 3


@given(
    expressions | st.none(),
    st.lists(st.tuples(groups_of_a_sample, st.floats(-5, 5), st.sampled_from([0.0, 0.5, 1.0, 2.0])), min_size=1),
    st.sampled_from(["batch", "where"]),
    st.sampled_from([0.0, 0.5, 4.0, -1.0]),
)
def test_the_reduction_is_the_weighted_sum_over_the_samples_it_counts(
    expression: Expression | None, rows: list[tuple[dict[str, bool], float, float]], reduction: Any, factor: float
) -> None:
    groups = tensors([sample for sample, _, _ in rows])
    loss, weight = (torch.tensor([row[column] for row in rows], dtype=torch.float64) for column in (1, 2))
    where = None if expression is None else spelled(expression, " ")
    term = LossTerm(CrossEntropy(), factor, where, reduction)
    actual = term.reduce(loss, *term.limited(weight, groups))
    included = [
        (value, share)
        for sample, value, share in rows
        if expression is None or any(all(sample[name] for name in part) for part in expression)
    ]
    count = len(rows) if reduction == "batch" else max(1, len(included))
    torch.testing.assert_close(float(actual), factor * sum(value * share for value, share in included) / count)


@pytest.mark.parametrize("reduction", ["batch", "where"])
@pytest.mark.parametrize("loss", [float("inf"), float("nan"), -float("inf")])
def test_a_loss_that_is_not_finite_does_not_reach_past_a_weight_of_zero(reduction: Any, loss: float) -> None:
    values = torch.tensor([1.0, 3.0, 2.0], requires_grad=True)
    per_sample = values * torch.tensor([1.0, loss, 1.0])
    groups = tensors([dict.fromkeys(GROUPS, True)] * 3)
    term = LossTerm(CrossEntropy(), reduction=reduction)
    total = term.reduce(per_sample, *term.limited(torch.tensor([1.0, 0.0, 2.0]), groups))
    assert float(total.detach()) == pytest.approx(5 / 3)
    left_out = groups | {"right": torch.tensor([True, False, True])}
    term = LossTerm(CrossEntropy(), where="right", reduction=reduction)
    total = term.reduce(per_sample, *term.limited(torch.ones(3), left_out))
    assert float(total.detach()) == pytest.approx(3 / (3 if reduction == "batch" else 2))


@pytest.mark.parametrize("reduction", ["batch", "where"])
def test_an_empty_group_gives_zero_with_gradient_zero(reduction: Any) -> None:
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    groups = tensors([dict.fromkeys(GROUPS, False)] * 2)
    term = LossTerm(CrossEntropy(), where="right", reduction=reduction)
    total = term.reduce(values, *term.limited(torch.ones(2), groups))
    total.backward()
    assert total == 0
    assert torch.equal(values.grad, torch.zeros(2))  # type: ignore[arg-type]


def test_what_a_term_needs_follows_from_its_loss_and_its_groups() -> None:
    assert not LossTerm(CrossEntropy()).uses_teacher
    assert not LossTerm(CrossEntropy(), where="labeled | unlabeled").uses_teacher
    assert LossTerm(KL()).uses_teacher
    for name in GROUPS:
        term = LossTerm(CrossEntropy(), where=f"labeled | {name}")
        assert term.uses_teacher == (name in TEACHER_GROUPS)
        assert term.uses_selection == ("selected" in name)
    assert LossTerm(KL()).kind == "loss"
    assert LossTerm(CrossEntropy()).kind == "label_loss"
    assert LossTerm(Attention()).kind == "feature_loss"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"where": "rigth"}, "unknown group of samples in 'where' 'rigth': did you mean 'right'"),
        ({"where": ""}, "unknown group of samples in 'where' ''"),
        ({"where": "right &"}, "unknown group of samples"),
        ({"where": "right and wrong"}, "unknown group of samples in 'where' 'right and wrong'"),
        ({"reduction": "mean"}, "unknown reduction 'mean': .*known: batch, where"),
        ({"weight": float("nan")}, "weight = nan: must be finite"),
        ({"weight": float("inf")}, "weight = inf: must be finite"),
        ({"weight": -float("inf")}, "weight = -inf: must be finite"),
    ],
)
def test_arguments_that_do_not_fit_say_so(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LossTerm(CrossEntropy(), **arguments)


@pytest.mark.parametrize("component", [LabelRevision(), Fixed(4.0), DropWrong(), "kl", None])
def test_only_a_loss_or_a_label_loss_is_a_loss(component: Any) -> None:
    with pytest.raises(InputError, match="loss"):
        LossTerm(component)


def test_a_term_shows_its_settings() -> None:
    shown = repr(LossTerm(KL(), 0.9, "right", "where"))
    assert "KL(temperature_squared=True), weight=0.9, where='right', reduction='where'" in shown
