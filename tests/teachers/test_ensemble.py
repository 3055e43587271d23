import math

import pytest
import torch

from preceptor.errors import InputError
from preceptor.teachers.base import Teacher
from preceptor.teachers.ensemble import Ensemble
from tests.teachers.fixed_rows import FixedRows, logits_of

FIRST = [[0.0, 1.0, 2.0], [3.0, -1.0, 0.5], [0.0, 0.0, 0.0]]
SECOND = [[5.0, 1.0, -2.0], [3.0, -1.0, 0.5], [9.0, 0.0, 1.0]]


def softmax(row):
    parts = [math.exp(value) for value in row]
    return [part / sum(parts) for part in parts]


def test_it_is_a_signal():
    assert isinstance(Ensemble([FixedRows(FIRST)]), Teacher)


@pytest.mark.parametrize("weights", [None, [3.0, 1.0]])
def test_it_returns_the_mean_of_the_probabilities(weights):
    w = [0.5, 0.5] if weights is None else [0.75, 0.25]
    logits = logits_of(Ensemble([FixedRows(FIRST), FixedRows(SECOND)], weights)).softmax(dim=1)
    for row, (a, b) in enumerate(zip(FIRST, SECOND, strict=True)):
        mixture = [w[0] * p + w[1] * q for p, q in zip(softmax(a), softmax(b), strict=True)]
        assert logits[row].tolist() == pytest.approx(mixture, rel=1e-5)


def test_its_logits_are_logarithms_of_probabilities():
    logits = logits_of(Ensemble([FixedRows(FIRST), FixedRows(SECOND)]))
    torch.testing.assert_close(logits.logsumexp(dim=1), torch.zeros(3), atol=1e-6, rtol=0)


def test_it_returns_the_mean_of_the_logits_on_request():
    logits = logits_of(Ensemble([FixedRows(FIRST), FixedRows(SECOND)], [1, 3], mean="logits"))
    torch.testing.assert_close(logits, torch.tensor(FIRST) * 0.25 + torch.tensor(SECOND) * 0.75)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_one_member_is_the_ensemble(mean):
    logits = logits_of(Ensemble([FixedRows(FIRST)], mean=mean))
    torch.testing.assert_close(logits.softmax(dim=1), torch.tensor(FIRST).softmax(dim=1))


def test_members_far_apart_leave_it_finite():
    logits = logits_of(Ensemble([FixedRows([[1e4, -1e4]]), FixedRows([[1e4, 0.0]])]), n=1)
    assert logits.isfinite().all()


def test_members_of_other_classes_are_named_when_they_tell():
    with pytest.raises(InputError, match="member 2 has 4 classes, member 1 has 3"):
        Ensemble([FixedRows(FIRST), FixedRows(FIRST, classes=3), FixedRows(FIRST, classes=4)])


def test_members_of_other_classes_are_named_when_they_speak():
    with pytest.raises(InputError, match="member 1 has 2 classes, member 0 has 3"):
        logits_of(Ensemble([FixedRows(FIRST), FixedRows([[0.0, 1.0]] * 3)]))


def test_it_tells_its_classes_if_a_member_does():
    assert Ensemble([FixedRows(FIRST), FixedRows(FIRST, classes=3)]).classes == 3
    assert Ensemble([FixedRows(FIRST)]).classes is None


def test_without_a_member_there_is_none():
    with pytest.raises(InputError, match="no member"):
        Ensemble([])


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_is_above_zero(weight):
    with pytest.raises(InputError, match=f"weight is {weight}"):
        Ensemble([FixedRows(FIRST), FixedRows(SECOND)], [1.0, weight])


def test_there_is_a_weight_for_each_member():
    with pytest.raises(InputError, match="3 weights for 1 members"):
        Ensemble([FixedRows(FIRST)], [1, 1, 1])


def test_an_unknown_mean_is_named():
    with pytest.raises(InputError, match="unknown mean of an ensemble 'probability'"):
        Ensemble([FixedRows(FIRST)], mean="probability")
