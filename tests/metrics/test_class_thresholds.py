import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor.errors import InputError
from preceptor.metrics import NoGuarantee, RiskGuarantee, select_class_thresholds, select_threshold
from preceptor.metrics.class_thresholds import at_thresholds

CLASSES = 3
SLOPES = np.array([0.2, 0.5, 1.0])
"""How often each predicted class is wrong where confidence is lowest; it falls to 0 where it is highest."""


def population(n, seed):
    generator = np.random.default_rng(seed)
    prediction = generator.choice(CLASSES, n, p=[0.5, 0.3, 0.2])
    confidence = generator.random(n)
    wrong = generator.random(n) < SLOPES[prediction] * (1 - confidence)
    return torch.tensor(confidence), torch.tensor(wrong), torch.tensor(prediction)


def true_risks(found):
    """Of each class at its threshold, with confidence uniform on [0, 1]; None where nothing is answered."""
    return [
        None if threshold is None else slope * (1 - threshold) / 2
        for slope, threshold in zip(SLOPES, found.thresholds, strict=True)
    ]


@pytest.mark.parametrize("joint", [True, False])
def test_each_class_has_the_threshold_of_its_own_samples(joint):
    confidence, wrong, prediction = population(900, seed=0)
    found = select_class_thresholds(confidence, wrong, prediction, CLASSES, 0.15, 0.06, joint=joint)
    delta = 0.06 / 3 if joint else 0.06
    for number in range(CLASSES):
        own = prediction == number
        assert found.classes[number] == select_threshold(confidence[own], wrong[own], 0.15, delta)
    assert (found.joint, found.delta, found.max_risk, found.samples) == (joint, 0.06, 0.15, 900)
    answered = found.answers(confidence, prediction)
    assert found.coverage == answered.double().mean()
    assert answered.sum() == sum(each.covered for each in found.classes if isinstance(each, RiskGuarantee))
    assert json.loads(json.dumps(asdict(found), allow_nan=False)) == asdict(found)


def test_a_joint_promise_answers_less():
    samples = population(900, seed=0)
    joint, each = (select_class_thresholds(*samples, CLASSES, 0.15, joint=joint) for joint in (True, False))
    assert joint.coverage < each.coverage


def test_the_easy_class_is_answered_more_than_by_one_threshold_for_all():
    confidence, wrong, prediction = population(6000, seed=1)
    found = select_class_thresholds(confidence, wrong, prediction, CLASSES, 0.1)
    one = select_threshold(confidence, wrong, 0.1)
    assert found.thresholds[0] < one.threshold < found.thresholds[2]


def test_a_class_that_is_never_predicted_is_never_answered_and_costs_nothing():
    confidence, wrong, prediction = population(900, seed=0)
    found = select_class_thresholds(confidence, wrong, prediction, CLASSES + 2, 0.15)
    assert found.classes[:CLASSES] == select_class_thresholds(confidence, wrong, prediction, CLASSES, 0.15).classes
    for guarantee in found.classes[CLASSES:]:
        assert isinstance(guarantee, NoGuarantee)
        assert (guarantee.samples, guarantee.lowest_bound) == (0, 1)
    assert not found.answers(torch.ones(2).double(), torch.tensor([3, 4])).any()


def test_no_promise_where_all_is_wrong():
    confidence, _, prediction = population(90, seed=0)
    found = select_class_thresholds(confidence, torch.ones(90).bool(), prediction, CLASSES, 0.5)
    assert found.thresholds == [None] * CLASSES
    assert found.coverage == 0
    assert not found.answers(confidence, prediction).any()


@given(
    thresholds=st.lists(st.none() | st.floats(0, 1), min_size=4, max_size=4),
    samples=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=1, max_size=10),
)
def test_a_sample_is_answered_from_the_threshold_of_its_class_on(thresholds, samples):
    confidence, prediction = zip(*samples, strict=True)
    found = at_thresholds(torch.tensor(confidence, dtype=torch.float64), torch.tensor(prediction), thresholds)
    assert found.tolist() == [thresholds[c] is not None and sure >= thresholds[c] for sure, c in samples]


def test_joint_promises_are_broken_together_no_more_often_than_stated():
    delta, broken, kept = 0.2, 0, 0
    for seed in range(150):
        found = select_class_thresholds(*population(400, seed), CLASSES, 0.2, delta)
        risks = [risk for risk in true_risks(found) if risk is not None]
        kept += bool(risks)
        broken += any(risk > 0.2 for risk in risks)
    assert kept > 100
    assert broken <= delta * 150


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction": torch.zeros(3).long()}, r"\[3\] predictions of torch.int64 beside \[90\]"),
        ({"prediction": torch.full((90,), 3)}, r"predicted class is -?\d; expected 0 to 2"),
        ({"prediction": torch.full((90,), -1)}, r"predicted class is -?\d; expected 0 to 2"),
        ({"max_risk": 2.0}, "max_risk is 2.0"),
        ({"delta": 0.0}, "delta is 0.0"),
        ({"confidence": torch.full((90,), float("inf"))}, "sample 0: its confidence is infinite"),
    ],
)
def test_what_cannot_be_guaranteed_on_is_refused(changes, message):
    confidence, wrong, prediction = population(90, seed=0)
    arguments = {"confidence": confidence, "wrong": wrong, "prediction": prediction, "max_risk": 0.1, **changes}
    with pytest.raises(InputError, match=message):
        select_class_thresholds(classes=CLASSES, **arguments)


def test_nothing_to_calibrate_on_is_refused():
    with pytest.raises(InputError, match="no sample"):
        select_class_thresholds(torch.zeros(0), torch.zeros(0).bool(), torch.zeros(0).long(), CLASSES, 0.1)
