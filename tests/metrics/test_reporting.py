import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss

from preceptor.errors import InputError
from preceptor.metrics import (
    SCORES,
    Estimate,
    Predictions,
    calibration_error,
    choose_p_norm,
    confidence,
    evaluate,
    fit_temperature,
    full_report,
    reliability,
    selective_metrics,
    share_estimate,
)
from preceptor.metrics.agreement import copied_error, rank_correlation
from preceptor.metrics.reporting import COVERAGES
from preceptor.metrics.scores import softmax_response
from preceptor.metrics.selective import Ranking
from tests.metrics.samples import answered, classwise_error, softmax

N, CLASSES = 400, 7
LOGITS, LABELS = answered(N, CLASSES, signal=1.5)
DOUBT = torch.randn(N, 1, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
TEACHER = LOGITS + answered(N, CLASSES, seed=1, signal=0)[0]
PREDICTIONS = Predictions(torch.cat([LOGITS, DOUBT], dim=1), abstains=True, teacher=TEACHER)
HELD_OUT = Predictions(answered(300, CLASSES, seed=2)[0]), answered(300, CLASSES, seed=2)[1]
WRONG = LOGITS.argmax(dim=1) != LABELS


@pytest.fixture(scope="module")
def report():
    return full_report(PREDICTIONS, LABELS, held_out=HELD_OUT, resamples=60)


def every_estimate(value):
    if isinstance(value, Estimate):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from every_estimate(each)
    elif hasattr(value, "__dataclass_fields__"):
        yield from every_estimate(vars(value))


def test_what_is_simple_agrees_with_evaluate_and_scikit_learn(report):
    plain, shares = evaluate(LOGITS, LABELS), softmax(LOGITS)
    assert (report.n, report.unlabeled, report.classes, report.resamples) == (N, 0, CLASSES, 60)
    assert report.accuracy.value == pytest.approx(plain.accuracy)
    assert report.top5_accuracy.value == pytest.approx(plain.top5_accuracy)
    assert report.mean_confidence.value == pytest.approx(plain.mean_confidence)
    assert report.calibration.nll.value == pytest.approx(log_loss(LABELS, shares))
    assert report.calibration.brier.value == pytest.approx(brier_score_loss(LABELS, shares))


def test_calibration_is_that_of_the_functions(report):
    found, response = report.calibration, softmax_response(LOGITS)
    assert found.ece.value == pytest.approx(calibration_error(response, ~WRONG))
    assert found.adaptive_ece.value == pytest.approx(calibration_error(response, ~WRONG, binning="equal_mass"))
    assert found.classwise_ece.value == pytest.approx(classwise_error(softmax(LOGITS), LABELS))
    assert found.reliability == reliability(response, ~WRONG)


def test_scaling_is_fitted_on_what_was_held_out_and_shown_on_the_rest(report):
    fit = fit_temperature(HELD_OUT[0].class_logits, HELD_OUT[1])
    scaled = LOGITS / fit.temperature
    assert report.scaled.fit == fit
    assert report.scaled.calibration.nll.value == pytest.approx(log_loss(LABELS, softmax(scaled)))
    assert report.scaled.calibration.ece.value == pytest.approx(calibration_error(softmax_response(scaled), ~WRONG))
    assert report.scaled.aurc.value == pytest.approx(selective_metrics(softmax_response(scaled), WRONG, "").aurc)


def test_every_score_that_can_be_computed_is_reported(report):
    choice = choose_p_norm(HELD_OUT[0].class_logits, HELD_OUT[0].prediction != HELD_OUT[1])
    names = [each.score for each in report.selective]
    assert names[0] == report.main_score == "softmax_response"
    assert set(names) == set(SCORES) - ({"max_logit_p_norm"} - {choice.score})
    for each in report.selective:
        expected = selective_metrics(confidence(each.score, PREDICTIONS, **each.options), WRONG, each.score)
        assert each.aurc.value == pytest.approx(expected.aurc)
        assert each.excess_aurc.value == pytest.approx(expected.excess_aurc)
        assert each.augrc.value == pytest.approx(expected.augrc)
        assert each.auroc.value == pytest.approx(expected.auroc)
        assert {key: found.value for key, found in each.error_at_coverage.items()} == pytest.approx(
            expected.error_at_coverage
        )
        assert {key: found.value for key, found in each.coverage_at_risk.items()} == pytest.approx(
            expected.coverage_at_risk
        )


def test_the_curve_is_the_risk_coverage_curve_at_each_percent(report):
    found, whole = report.selective[0].curve, Ranking.of(softmax_response(LOGITS), WRONG).risk()
    places = [round(share * N) - 1 for share in found.coverage]
    assert found.coverage == pytest.approx([percent / 100 for percent in range(1, 101)])
    assert found.risk == pytest.approx(whole[places].tolist())
    for coverage in COVERAGES[:3]:
        assert found.risk[coverage - 1] == pytest.approx(report.selective[0].error_at_coverage[str(coverage)].value)
    assert all(low <= high for low, high in zip(found.low, found.high, strict=True))


def test_every_value_lies_in_its_interval(report):
    estimates = [each for each in every_estimate(report) if each.low is not None]
    assert len(estimates) > 100
    assert all(each.low <= each.value <= each.high for each in estimates)


def test_shares_have_exact_intervals(report):
    right = int((~WRONG).sum())
    assert report.accuracy == share_estimate(right, N)
    for number, part in enumerate(report.per_class):
        own = number == LABELS
        assert part.accuracy == share_estimate(int((~WRONG[own]).sum()), int(own.sum()))
    same = LOGITS.argmax(dim=1) == TEACHER.argmax(dim=1)
    assert report.agreement.same_answer == share_estimate(int(same.sum()), N)
    assert report.largest_class == float(LABELS.bincount().max()) / N


def test_without_an_error_no_interval_claims_certainty():
    """Bootstrap draws of 60 right predictions are all alike; what is known of the error is not that it is 0."""
    labels = torch.arange(60) % 3
    found = full_report(Predictions(5 * torch.eye(3)[labels]), labels, resamples=20)
    assert found.accuracy.low == pytest.approx(0.025 ** (1 / 60))
    error = found.selective[0].error_at_coverage["90"]
    assert (error.value, error.low) == (0, 0)
    assert error.high == pytest.approx(1 - 0.025 ** (1 / 54))
    assert found.selective[0].curve.high[-1] == pytest.approx(1 - found.accuracy.low)
    assert found.selective[0].aurc == Estimate(0, None, None)
    assert found.selective[0].coverage_at_risk["2"] == Estimate(1, None, None)


def test_a_difference_to_the_teacher_is_paired(report):
    right, taught = ~WRONG, TEACHER.argmax(dim=1) == LABELS
    found = report.agreement.accuracy_difference
    assert found.value == pytest.approx(float(right.double().mean() - taught.double().mean()))
    generator = np.random.default_rng(0)
    index = generator.integers(N, size=(4000, N))
    draws = (right.double() - taught.double()).numpy()[index].mean(axis=1)
    assert found.low == pytest.approx(np.quantile(draws, 0.025), abs=0.02)
    assert found.high == pytest.approx(np.quantile(draws, 0.975), abs=0.02)


def test_many_samples_get_fewer_draws_and_the_report_states_them(monkeypatch):
    monkeypatch.setattr("preceptor.metrics.reporting.MANY_SAMPLES", 50)
    logits, labels = answered(60, 3)
    assert full_report(Predictions(logits), labels, scores={}).resamples == 100
    assert full_report(Predictions(logits), labels, scores={}, resamples=7).resamples == 7


def test_agreement_with_the_teacher(report):
    found = report.agreement
    assert found.same_answer.value == pytest.approx(
        float((LOGITS.argmax(dim=1) == TEACHER.argmax(dim=1)).double().mean())
    )
    assert found.teacher_accuracy.value == pytest.approx(evaluate(TEACHER, LABELS).accuracy)
    assert found.rank_correlation.value == pytest.approx(float(rank_correlation(LOGITS, TEACHER).mean()))
    assert found.copied_error.value == pytest.approx(float(copied_error(LOGITS, TEACHER, LABELS).nanmean()))


def test_parts_are_what_their_samples_alone_would_give(report):
    plain = evaluate(LOGITS, LABELS)
    assert [part.accuracy.value for part in report.per_class] == pytest.approx(plain.per_class_accuracy)
    assert [part.name for part in report.per_class] == [str(number) for number in range(CLASSES)]
    for number, part in enumerate(report.per_class):
        own = number == LABELS
        alone = evaluate(LOGITS[own], LABELS[own])
        assert (part.nll, part.mean_confidence) == pytest.approx((alone.nll, alone.mean_confidence))
        assert part.aurc == pytest.approx(alone.selective[0].aurc)
    assert sum(part.n for part in report.per_class) == N


def test_parts_are_answered_at_one_threshold_for_all(report):
    response = softmax_response(LOGITS)
    answered_there = response >= response.sort(descending=True).values[round(0.9 * N) - 1]
    first, own = report.per_class[0], LABELS == 0
    assert first.coverage["90"] == pytest.approx(float(answered_there[own].double().mean()))
    assert first.error["90"] == pytest.approx(float(WRONG[own & answered_there].double().mean()))
    covered = sum(part.n * part.coverage["90"] for part in report.per_class)
    assert covered == pytest.approx(round(0.9 * N))


def test_where_errors_fall(report):
    matrix = confusion_matrix(LABELS, LOGITS.argmax(dim=1))
    np.fill_diagonal(matrix, 0)
    counts = [each.count for each in report.confusions]
    assert counts == sorted(matrix.flatten(), reverse=True)[:20]
    for each in report.confusions:
        assert each.count == matrix[each.label, each.prediction]
        assert each.share == pytest.approx(each.count / int((each.label == LABELS).sum()))


def test_the_lists_name_the_samples(report):
    response = softmax_response(LOGITS)
    surest_errors = [i for i in response.argsort(descending=True).tolist() if WRONG[i]]
    assert report.confidently_wrong == surest_errors[:50]
    assert report.least_sure == response.argsort().tolist()[:50]


def test_a_report_is_ready_for_json_and_the_same_again(report):
    plain = asdict(report)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert full_report(PREDICTIONS, LABELS, held_out=HELD_OUT, resamples=60) == report


def test_the_unlabeled_change_nothing_but_where_samples_are_found():
    hidden = torch.arange(N) % 4 == 1
    found = full_report(PREDICTIONS, LABELS.where(~hidden, -1), resamples=5)
    without = full_report(PREDICTIONS.of(~hidden), LABELS[~hidden], resamples=5)
    assert (found.n, found.unlabeled) == (300, 100)
    positions = (~hidden).nonzero().squeeze(1)
    assert found.least_sure == positions[without.least_sure].tolist()
    different = ("unlabeled", "least_sure", "confidently_wrong")
    plain = [{key: value for key, value in asdict(each).items() if key not in different} for each in (found, without)]
    assert plain[0] == plain[1]


def test_a_small_set_with_an_absent_class_and_no_error():
    found = full_report(
        Predictions(5 * torch.eye(4)[:3]), torch.arange(3), class_names=["a", "b", "c", "d"], resamples=9
    )
    assert found.accuracy == share_estimate(3, 3)
    assert found.top5_accuracy is found.scaled is found.agreement is None
    assert found.selective[0].auroc == Estimate(None, None, None)
    assert (found.per_class[3].name, found.per_class[3].n, found.per_class[3].accuracy.value) == ("d", 0, None)
    assert found.confusions == found.confidently_wrong == []
    assert json.dumps(asdict(found), allow_nan=False)


def test_scores_can_be_chosen_and_the_main_one_comes_first():
    scores = {"energy": {"temperature": 2.0}, "margin": {}}
    found = full_report(PREDICTIONS, LABELS, main_score="reservation", scores=scores, resamples=5)
    assert [each.score for each in found.selective] == ["reservation", "energy", "margin"]
    assert found.selective[1].options == {"temperature": 2.0}
    assert found.least_sure[0] == int(confidence("reservation", PREDICTIONS).argmin())


def test_many_classes_have_a_class_wise_error_without_an_interval():
    logits, labels = answered(150, 101)
    found = full_report(Predictions(logits), labels, scores={}, resamples=5).calibration.classwise_ece
    assert found.value == pytest.approx(classwise_error(softmax(logits), labels))
    assert (found.low, found.high) == (None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": LABELS[:-1]}, "399 labels for 400 rows"),
        ({"labels": LABELS + 1}, "is out of range; expected 0 to 6"),
        ({"class_names": ["a"]}, "1 class names; expected one for each of 7 classes"),
        ({"main_score": "softmax"}, "unknown score 'softmax'"),
        ({"held_out": (Predictions(LOGITS[:, :5]), LABELS % 5)}, "held-out logits are of 5 classes; expected 7"),
        ({"held_out": (Predictions(LOGITS), LABELS - 2)}, "label -2 is out of range"),
        ({"resamples": 0}, "resamples is 0"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message) as raised:
        full_report(**{"predictions": PREDICTIONS, "labels": LABELS, "resamples": 5, **changes})
    assert "\n" not in str(raised.value)
