"""What is no table of logits, no labels or no number is refused in one line, wherever it is handed in."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from preceptor.errors import InputError
from preceptor.metrics import (
    Predictions,
    RiskTarget,
    SetTarget,
    accuracy,
    agreement,
    calibrate_sets,
    choose_p_norm,
    confidence,
    evaluate,
    fit_temperature,
    full_report,
    prediction_sets,
    scores,
    select_class_thresholds,
    select_threshold,
    set_metrics,
)
from preceptor.metrics.checks import check_number
from preceptor.metrics.class_thresholds import at_thresholds
from preceptor.metrics.decisions import decide, decide_sets
from preceptor.metrics.scores import max_logit_p_norm
from preceptor.models import CalibrationSet
from tests.metrics.samples import answered

N, CLASSES = 40, 5
LOGITS, LABELS = answered(N, CLASSES)
SOURCE = CalibrationSet(data="digits", part="test", samples=N, fingerprint="")

OF_LOGITS = {
    "evaluate": evaluate,
    "full_report": lambda logits, labels: full_report(Predictions(logits), labels, resamples=3),
    "held_out": lambda logits, labels: full_report(
        Predictions(LOGITS), LABELS, held_out=(Predictions(logits), labels), resamples=3
    ),
    "calibrate_sets": calibrate_sets,
    "decide": lambda logits, labels: decide(Predictions(logits), labels, RiskTarget(0.5), SOURCE),
    "decide by class": lambda logits, labels: decide(
        Predictions(logits), labels, RiskTarget(0.5, by_class=True), SOURCE
    ),
    "decide_sets": lambda logits, labels: decide_sets(Predictions(logits), labels, SetTarget(), SOURCE),
    "fit_temperature": fit_temperature,
}
OF_LABELS = {
    **OF_LOGITS,
    "set_metrics": lambda logits, labels: set_metrics(logits > 0, labels),
}


def refused(message, function, *args, **kwargs):
    with pytest.raises(InputError, match=message) as raised:
        function(*args, **kwargs)
    assert "\n" not in str(raised.value)


def with_value(value, dtype=torch.float64):
    logits = LOGITS.to(dtype, copy=True)
    logits[7, 2] = value
    return logits


@pytest.mark.parametrize("function", OF_LOGITS.values(), ids=OF_LOGITS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_finite_is_named(function, value):
    refused("sample 7: its logits are not all finite", function, with_value(value), LABELS)


def test_nothing_is_calibrated_on_nan_alone():
    refused("sample 0: its logits are not all finite", calibrate_sets, torch.full((N, CLASSES), math.nan), LABELS)


@pytest.mark.parametrize("function", OF_LOGITS.values(), ids=OF_LOGITS)
@pytest.mark.parametrize(("value", "dtype"), [(-1e307, torch.float64), (3e38, torch.float32)])
def test_a_logit_too_large_to_compute_with_is_named(function, value, dtype):
    refused(r"sample 7: its logits reach .*; expected 1e\+30 at most", function, with_value(value, dtype), LABELS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_report_of_the_largest_logits_that_are_taken_is_json(dtype):
    logits = (LOGITS / LOGITS.abs().max() * 0.99e30).to(dtype)
    known = Predictions(logits, teacher=-logits)
    scores = {"max_logit_p_norm": {"p": 8}, "energy": {"temperature": 1e-6}, "negative_teacher_kl": {}}
    found = full_report(known, LABELS, scores=scores, held_out=(known, LABELS), resamples=5)
    assert json.dumps(asdict(found), allow_nan=False)
    assert json.dumps(asdict(evaluate(logits, LABELS)), allow_nan=False)


@pytest.mark.parametrize("value", [math.nan, 1e307])
def test_a_teacher_is_looked_at_too(value):
    broken = with_value(value)
    refused("sample 7: the teacher's logits", full_report, Predictions(LOGITS, teacher=broken), LABELS)


LABELS_OF_NO_USE = {
    "a column": (LABELS[:, None], r"int64 of shape \[40, 1\]"),
    "a table": (LABELS[:, None].expand(-1, 2), r"int64 of shape \[40, 2\]"),
    "a number": (torch.tensor(1), r"int64 of shape \[\]"),
    "floats": (LABELS + 0.5, "float32 of shape"),
    "booleans": (LABELS > 2, "bool of shape"),
    "complex": (LABELS * 1j, "complex64"),
    "uint64": (LABELS.to(torch.uint64), "uint64"),
    "a list": (LABELS.tolist(), "of type list"),
    "numpy": (LABELS.numpy(), "of type ndarray"),
    "sparse": (LABELS.to_sparse(), "torch.sparse_coo"),
    "meta": (LABELS.to("meta"), "without values"),
}


@pytest.mark.parametrize("function", OF_LABELS.values(), ids=OF_LABELS)
@pytest.mark.parametrize(("labels", "told"), LABELS_OF_NO_USE.values(), ids=LABELS_OF_NO_USE)
def test_labels_are_one_whole_number_a_sample(function, labels, told):
    refused(f"labels: .*{told}.*; expected a one-dimensional tensor of integers", function, LOGITS, labels)


@pytest.mark.parametrize("function", OF_LABELS.values(), ids=OF_LABELS)
def test_labels_are_as_many_as_the_rows(function):
    refused("39 labels for 40 rows of .*; expected one for each row", function, LOGITS, LABELS[:-1])


@pytest.mark.parametrize("function", [each for name, each in OF_LOGITS.items()], ids=OF_LOGITS)
def test_a_label_that_is_no_class_is_named(function):
    refused("sample 7: label 5 is out of range", function, LOGITS, LABELS.where(torch.arange(N) != 7, CLASSES))


@pytest.mark.parametrize("by_class", [False, True])
def test_a_decision_wants_every_label(by_class):
    hidden = LABELS.where(torch.arange(N) != 7, -1)
    refused(
        "sample 7: label -1 is out of range",
        decide,
        Predictions(LOGITS),
        hidden,
        RiskTarget(0.5, by_class=by_class),
        SOURCE,
    )


NO_TABLES = {
    "complex": (lambda: LOGITS * 1j, "complex128"),
    "boolean": (lambda: LOGITS > 0, "bool"),
    "one row": (lambda: LOGITS[0], r"shape \[5\]"),
    "three dimensions": (lambda: LOGITS[None], r"shape \[1, 40, 5\]"),
    "a list": (lambda: LOGITS.tolist(), "type list"),
    "numpy": (lambda: LOGITS.numpy(), "type ndarray"),
    "nothing": (lambda: None, "type NoneType"),
    "sparse": (lambda: LOGITS.to_sparse(), "torch.sparse_coo"),
    "compressed": (lambda: LOGITS.to_sparse_csr(), "torch.sparse_csr"),
    "meta": (lambda: LOGITS.to("meta"), "without values"),
    "nested": (lambda: torch.nested.nested_tensor([LOGITS, LOGITS[:3]]), "a nested tensor"),
}


@pytest.mark.filterwarnings("ignore:.*(nested|[Ss]parse).*")
@pytest.mark.parametrize(("made", "told"), NO_TABLES.values(), ids=NO_TABLES)
def test_outputs_are_a_dense_table_of_real_numbers(made, told):
    logits = made()
    message = f"(outputs|logits): .*{told}.*; expected a dense tensor of real numbers"
    for function in (Predictions, lambda table: evaluate(table, LABELS), lambda table: fit_temperature(table, LABELS)):
        refused(message, function, logits)
    refused(message, calibrate_sets, logits, LABELS)
    if logits is not None:
        refused(f"teacher: .*{told}", Predictions, LOGITS, teacher=logits)


def test_there_is_a_class():
    refused(r"outputs have the shape \[40, 0\]; expected at least one class", Predictions, LOGITS[:, :0])
    refused(r"\[40, 1\]; expected a class besides the reservation", evaluate, LOGITS[:, :1], LABELS, abstains=True)


def test_a_report_is_of_answers():
    refused(r"predictions are of type Tensor; expected Predictions\(logits\)", full_report, LOGITS, LABELS)
    refused("predictions are of type Tensor", full_report, Predictions(LOGITS), LABELS, held_out=(LOGITS, LABELS))


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("max_logit_p_norm", {"p": "x"}, "score max_logit_p_norm: p is 'x'; expected a number at least 0"),
        ("max_logit_p_norm", {"p": math.inf}, "p is inf"),
        ("max_logit_p_norm", {"p": True}, "p is True"),
        ("max_logit_p_norm", {"p": 10**400}, "p is 10"),
        (
            "energy",
            {"temperature": 1e-320},
            "energy: temperature is 1e-320; expected a number at least 1e-06 and at most 1,000,000",
        ),
        ("energy", {"temperature": 1e308}, r"energy: temperature is 1e\+308"),
        ("energy", {"temperature": [1.0]}, r"temperature is \[1.0\]; expected a number"),
    ],
)
def test_an_option_of_a_score_is_a_number_in_range(name, options, told):
    refused(told, confidence, name, Predictions(LOGITS), **options)
    refused(told, decide, Predictions(LOGITS), LABELS, RiskTarget(0.5, score=name, options=options), SOURCE)


def test_a_norm_is_a_number():
    refused("p is 'x'; expected a number at least 0", max_logit_p_norm, LOGITS, "x")
    refused("p is 'x'; expected a number at least 0", choose_p_norm, LOGITS, LABELS > 2, ["x"])
    assert torch.equal(max_logit_p_norm(LOGITS, math.inf) <= 1, torch.ones(N).bool())


def test_every_class_has_a_threshold():
    sure, prediction = LOGITS.amax(dim=1), LOGITS.argmax(dim=1)
    refused("predicted class is .; expected 0 to 1, with 2 thresholds", at_thresholds, sure, prediction, [0.5, 0.5])
    refused("predicted class is -1", at_thresholds, sure, prediction.where(prediction > 0, -1), [0.5] * CLASSES)
    refused(r"\[40, 1\] predictions of .* beside \[40\]", at_thresholds, sure, prediction[:, None], [0.5] * CLASSES)
    refused("predictions of torch.float64", at_thresholds, sure, prediction.double(), [0.5] * CLASSES)
    of_classes = sure, LABELS > 2, prediction + 0.5, CLASSES, 0.5
    refused("predictions of torch.float32 .*; expected one whole number", select_class_thresholds, *of_classes)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"penalty": 1e308}, r"penalty is 1e\+308; expected a number at least 0 and at most 1,000,000"),
        ({"penalty": math.nan}, "penalty is nan"),
        ({"penalty": "high"}, "penalty is 'high'"),
        (
            {"free_ranks": 10**20},
            "free_ranks is 100000000000000000000; expected a whole number at least 0 and at most 1,000,000",
        ),
        ({"free_ranks": 2.5}, "free_ranks is 2.5"),
        ({"free_ranks": -1}, "free_ranks is -1"),
        ({"alpha": "x"}, "alpha is 'x'; expected a number above 0 and below 1"),
        ({"alpha": math.nan}, "alpha is nan"),
    ],
)
def test_the_numbers_of_prediction_sets_are_in_range(options, told):
    target = SetTarget("raps", **options)
    refused(told, calibrate_sets, LOGITS, LABELS, target)
    refused(told, decide_sets, Predictions(LOGITS), LABELS, target, SOURCE)


def test_the_largest_penalty_and_as_many_free_ranks_as_may_be():
    rule = calibrate_sets(LOGITS, LABELS, SetTarget("raps", penalty=1e6, free_ranks=0))
    assert math.isfinite(rule.threshold)
    free = calibrate_sets(LOGITS, LABELS, SetTarget("raps", free_ranks=1_000_000))
    assert free.threshold == calibrate_sets(LOGITS, LABELS, SetTarget("aps")).threshold
    beyond = type(free)(**{**asdict(free), "free_ranks": 10**20})
    assert torch.equal(prediction_sets(LOGITS, beyond), prediction_sets(LOGITS, free))


def test_sets_are_booleans():
    refused("sets: expected a tensor of booleans", set_metrics, LOGITS, LABELS)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_threshold_of_a_confidence_that_is_not_finite(value):
    sure, prediction = LOGITS.amax(dim=1), LOGITS.argmax(dim=1)
    sure[7] = value
    refused("sample 7: its confidence is", select_threshold, sure, LABELS > 2, 0.5)
    refused("sample 7: its confidence is", select_class_thresholds, sure, LABELS > 2, prediction, CLASSES, 0.5)


@pytest.mark.parametrize("name", ["max_risk", "delta"])
@pytest.mark.parametrize("value", ["x", None, math.nan])
def test_a_risk_is_a_number(name, value):
    refused(
        f"{name} is {value!r}; expected a number above 0",
        select_threshold,
        **{"confidence": LOGITS[:, 0], "wrong": LABELS > 2, "max_risk": 0.5, name: value},
    )


def test_numbers_of_numpy_are_numbers():
    for number in (1, 0.5, np.float32(1), np.float64(1), np.int64(1)):
        check_number("x", number, above=0, example=1)
    check_number("x", np.int64(1), at_least=1, at_most=1, whole=True, example=1)
    for value in (True, "1", None, math.inf, math.nan, 10**400, 1j, -0.5):
        refused("x is .*; expected a number at least 0", check_number, "x", value, at_least=0, example=1)
    for value in (True, 1.0, "1"):
        refused("expected a whole number", check_number, "x", value, at_least=0, whole=True, example=1)
    decide(Predictions(LOGITS), LABELS, RiskTarget(0.5, np.float64(0.9)), SOURCE)


BY_SAMPLE = {
    "topk_correct": lambda logits, labels: accuracy.topk_correct(logits, labels, 2),
    "negative_log_likelihood": accuracy.negative_log_likelihood,
    "brier_score": accuracy.brier_score,
    "copied_error": lambda logits, labels: agreement.copied_error(logits, LOGITS, labels),
}
OF_TWO = [
    agreement.same_answer,
    agreement.divergence_from_teacher,
    agreement.rank_correlation,
    scores.teacher_probability,
]


@pytest.mark.parametrize("function", BY_SAMPLE.values(), ids=BY_SAMPLE)
def test_functions_by_sample_check_logits_and_labels(function):
    refused("39 labels for 40 rows", function, LOGITS, LABELS[:-1])
    refused("sample 0: label 5 is out of range; expected 0 to 4, or -1", function, LOGITS, torch.full((N,), CLASSES))
    refused("expected a dense tensor of real numbers", function, LOGITS[0], LABELS)
    refused("labels: .*float64 of shape", function, LOGITS, LABELS.double())


@pytest.mark.parametrize("function", OF_TWO)
def test_functions_of_two_models_check_that_they_fit(function):
    refused(r"of \[39, 5\] samples and classes, but others of \[40, 5\]", function, LOGITS, LOGITS[:-1])
    refused(r"of \[40, 4\] samples and classes", function, LOGITS, LOGITS[:, 1:])
    refused("expected a dense tensor of real numbers", function, LOGITS.tolist(), LOGITS)


def test_scores_check_their_logits():
    for function in (scores.softmax_response, scores.margin, scores.energy, scores.reservation_confidence):
        refused("expected a dense tensor of real numbers", function, LOGITS[0])
