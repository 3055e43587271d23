import json
import math
from dataclasses import asdict
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_curve, roc_auc_score

from preceptor.errors import InputError
from preceptor.metrics import augrc, aurc, selective_metrics
from preceptor.metrics.reporting import COVERAGES, RISKS
from preceptor.metrics.selective import Ranking, optimal_aurc, samples_kept
from tests.metrics.samples import ranked_pair as drawn


def risk(confidence, wrong):
    return Ranking.of(confidence, wrong).risk()


def excess_aurc(confidence, wrong, form="finite"):
    return float(Ranking.of(confidence, wrong).excess_aurc(form))


def failure_auroc(confidence, wrong):
    return float(Ranking.of(confidence, wrong).auroc())


def coverage_at_risk(confidence, wrong, limit):
    return float(Ranking.of(confidence, wrong).coverage_at_risk([limit]))


def error_at_coverage(confidence, wrong, coverage):
    ranking = Ranking.of(confidence, wrong)
    return float(ranking.error_among([samples_kept(ranking.n, coverage)]))


METRICS = {
    "aurc": aurc,
    "excess_aurc": excess_aurc,
    "asymptotic": lambda confidence, wrong: excess_aurc(confidence, wrong, "asymptotic"),
    "augrc": augrc,
    "error": lambda confidence, wrong: error_at_coverage(confidence, wrong, 0.7),
    "failure": lambda confidence, wrong: 1 - np.nan_to_num(failure_auroc(confidence, wrong)),
    "abstained": lambda confidence, wrong: 1 - coverage_at_risk(confidence, wrong, 0.3),
}


def reference_risk(confidence, wrong):
    """The curve for distinct confidences, by one loop."""
    ranked = [error for _, error in sorted(zip(confidence, wrong, strict=True), key=lambda pair: -pair[0])]
    return np.array([sum(ranked[:k]) / k for k in range(1, len(ranked) + 1)])


def reference_risk_of_ties(confidence, wrong):
    """The mean curve over every order of the samples that sorts them by confidence."""
    orders = [
        order
        for order in permutations(range(len(confidence)))
        if all(confidence[a] >= confidence[b] for a, b in pairwise(order))
    ]
    return np.mean([np.cumsum([wrong[i] for i in order]) / np.arange(1, len(order) + 1) for order in orders], axis=0)


@st.composite
def ranked_samples(draw, least=1, most=40, levels=6):
    n = draw(st.integers(least, most))
    confidence = draw(st.lists(st.integers(0, levels), min_size=n, max_size=n))
    wrong = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return torch.tensor(confidence, dtype=torch.float64), torch.tensor(wrong)


def test_the_curve_agrees_with_a_loop():
    confidence, wrong = drawn()
    expected = reference_risk(confidence.tolist(), wrong.tolist())
    np.testing.assert_allclose(risk(confidence, wrong), expected, atol=1e-12)
    assert aurc(confidence, wrong) == pytest.approx(expected.mean())
    assert augrc(confidence, wrong) == pytest.approx((expected * np.arange(1, 201)).sum() / 200**2)


@given(samples=ranked_samples(most=6, levels=2))
def test_ties_are_the_mean_over_all_orders(samples):
    confidence, wrong = samples
    expected = reference_risk_of_ties(confidence.tolist(), wrong.tolist())
    np.testing.assert_allclose(risk(confidence, wrong), expected, atol=1e-12)
    assert aurc(confidence, wrong) == pytest.approx(expected.mean(), abs=1e-12)


def test_selective_accuracy_is_scikit_learns_precision_at_each_threshold():
    confidence, wrong = drawn(levels=20)
    assert not wrong.all()
    precision, _, thresholds = precision_recall_curve(~wrong.numpy(), confidence.numpy())
    curve = risk(confidence, wrong)
    for share, threshold in zip(precision[:-1], thresholds, strict=True):
        covered = int((confidence >= threshold).sum())
        assert 1 - curve[covered - 1] == pytest.approx(share, abs=1e-12)


@given(samples=ranked_samples())
def test_the_risk_at_full_coverage_is_one_minus_accuracy(samples):
    confidence, wrong = samples
    expected = 1 - accuracy_score(np.zeros(len(wrong), int), wrong.numpy().astype(int))
    assert error_at_coverage(confidence, wrong, 1.0) == pytest.approx(expected, abs=1e-12)
    assert risk(confidence, wrong)[-1] == wrong.double().mean()


@given(samples=ranked_samples(), shares=st.tuples(st.floats(0.5, 1), st.floats(0.5, 1)))
def test_what_is_kept_at_a_lower_coverage_is_kept_at_a_higher_one(samples, shares):
    confidence, wrong = samples
    few, many = (samples_kept(len(wrong), share) for share in sorted(shares))
    errors = [error_at_coverage(confidence, wrong, share) for share in sorted(shares)]
    more = errors[1] * many - errors[0] * few
    assert -1e-9 <= more <= many - few + 1e-9


@pytest.mark.parametrize("name", METRICS)
@given(samples=ranked_samples(least=2), seed=st.integers(0, 5))
def test_only_the_order_of_the_scores_counts(name, samples, seed):
    confidence, wrong = samples
    metric = METRICS[name]
    shuffle = torch.randperm(len(wrong), generator=torch.Generator().manual_seed(seed))
    assert metric(confidence[shuffle], wrong[shuffle]) == metric(confidence, wrong)
    assert metric((confidence - 3).exp(), wrong) == metric(confidence, wrong)


@pytest.mark.parametrize("name", METRICS)
def test_the_order_of_the_scores_does_count(name):
    confidence, wrong = drawn()
    assert METRICS[name](-confidence, wrong) > METRICS[name](confidence, wrong)


@given(samples=ranked_samples())
def test_no_ranking_beats_the_optimum_and_the_perfect_one_meets_it(samples):
    confidence, wrong = samples
    assert excess_aurc(confidence, wrong) >= 0
    perfect = (-wrong.double()).sort(descending=True)[0] - torch.arange(len(wrong)) / len(wrong)
    assert excess_aurc(perfect, wrong.sort()[0]) == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_constant_score_has_the_error_rate_everywhere(seed):
    _, wrong = drawn(49, seed=seed)
    rate = float(wrong.double().mean())
    np.testing.assert_allclose(risk(torch.zeros(49), wrong), rate)
    assert aurc(torch.zeros(49), wrong) == pytest.approx(rate)


@pytest.mark.parametrize(("errors", "n"), [(0, 7), (3, 7), (7, 7), (1, 1)])
def test_the_finite_optimum_by_its_sum(errors, n):
    right = n - errors
    assert optimal_aurc(errors, n) == pytest.approx(sum((k - right) / k for k in range(right + 1, n + 1)) / n)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_the_asymptotic_optimum_is_the_limit_of_the_finite_one(rate):
    n = 100_000
    assert optimal_aurc(round(rate * n), n, "asymptotic") == pytest.approx(optimal_aurc(round(rate * n), n), abs=1e-5)


@pytest.mark.parametrize(
    ("n", "coverage", "kept"),
    [
        (5, 0.5, 3),
        (10, 0.95, 10),
        (10, 0.94, 9),
        (30, 0.85, 26),
        (50, 0.29, 15),
        (1, 0.5, 1),
        (7, 1, 7),
        (100, 1e-2, 1),
    ],
)
def test_halves_are_kept_and_not_rounded_to_even(n, coverage, kept):
    assert samples_kept(n, coverage) == kept


def test_the_summary_is_made_of_its_parts_and_survives_json():
    confidence, wrong = drawn(levels=9)
    metrics = selective_metrics(confidence, wrong, "softmax_response")
    assert metrics.score == "softmax_response"
    assert (
        list(metrics.error_at_coverage) == [str(cover) for cover in COVERAGES] == ["100", "95", "90", "85", "80", "70"]
    )
    assert metrics.error_at_coverage["85"] == error_at_coverage(confidence, wrong, 0.85)
    assert (metrics.aurc, metrics.excess_aurc) == (aurc(confidence, wrong), excess_aurc(confidence, wrong))
    assert (metrics.augrc, metrics.auroc) == (augrc(confidence, wrong), failure_auroc(confidence, wrong))
    assert list(metrics.coverage_at_risk) == [str(percent) for percent in RISKS] == ["1", "2", "5"]
    assert metrics.coverage_at_risk["5"] == coverage_at_risk(confidence, wrong, 0.05)
    stored = json.loads(json.dumps(asdict(metrics), allow_nan=False))
    assert stored["error_at_coverage"] == metrics.error_at_coverage


def test_public_code_is_off_by_one_as_the_docstring_says():
    """uncertainty_ICLR walks from full coverage down and divides the errors that remain by one sample too many."""
    confidence, wrong = drawn(60)
    ranked = [error for _, error in sorted(zip(confidence.tolist(), wrong.tolist(), strict=True), reverse=True)]
    n, remaining = 60, sum(ranked)
    theirs = [remaining / n]
    for i in range(n - 1):
        remaining -= ranked[n - 1 - i]
        theirs.append(remaining / (n - i))
    errors = risk(confidence, wrong) * torch.arange(1, n + 1)
    as_documented = (float((errors[:-1] / torch.arange(2, n + 1)).sum()) + float(errors[-1]) / n) / n
    assert np.mean(theirs) == pytest.approx(as_documented)
    assert as_documented < aurc(confidence, wrong)


def test_failure_is_predicted_as_well_as_scikit_learn_says():
    confidence, wrong = drawn(levels=9)
    assert failure_auroc(confidence, wrong) == pytest.approx(roc_auc_score(~wrong.numpy(), confidence.numpy()))
    assert selective_metrics(confidence, torch.ones_like(wrong), "").auroc is None


@given(samples=ranked_samples(least=2))
def test_failure_auroc_is_the_share_of_pairs_in_the_right_order(samples):
    confidence, wrong = samples
    pairs = [(a, b) for a in confidence[~wrong].tolist() for b in confidence[wrong].tolist()]
    expected = np.mean([(a > b) + (a == b) / 2 for a, b in pairs]) if pairs else math.nan
    assert failure_auroc(confidence, wrong) == pytest.approx(expected, nan_ok=True)


BOTH = torch.tensor([True, False])
BAD_RANKINGS = [
    (torch.zeros(0), torch.zeros(0, dtype=torch.bool), "no sample"),
    (torch.zeros(3), BOTH, r"shapes \[3\] and \[2\]"),
    (torch.zeros(2, 1), BOTH[:, None], r"shapes \[2, 1\]"),
    (torch.tensor([0.0, math.nan]), BOTH, "sample 1: .*NaN"),
    (torch.zeros(2), torch.tensor([1, 0]), "torch.int64; expected booleans"),
]


@pytest.mark.parametrize(("confidence", "wrong", "message"), BAD_RANKINGS)
@pytest.mark.parametrize("name", METRICS)
def test_what_cannot_be_ranked_is_refused(name, confidence, wrong, message):
    with pytest.raises(InputError, match=message) as raised:
        METRICS[name](confidence, wrong)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("coverage", [0, -0.1, 1.1, 95, math.nan])
def test_a_coverage_that_is_no_share_is_refused(coverage):
    with pytest.raises(InputError, match="above 0 and at most 1"):
        error_at_coverage(torch.zeros(2), BOTH, coverage)


def test_a_coverage_that_keeps_nothing_is_refused():
    with pytest.raises(InputError, match="keeps none of 2 samples"):
        error_at_coverage(torch.zeros(2), BOTH, 0.1)
