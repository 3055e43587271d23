import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor.errors import InputError
from preceptor.metrics import SetRule, SetTarget, calibrate_sets, prediction_sets, set_metrics
from preceptor.metrics.conformal import conformal_quantile, nonconformity
from tests.metrics.samples import answered, honest, softmax

METHODS = {
    "lac": {"method": "lac"},
    "aps": {"method": "aps"},
    "raps": {"method": "raps", "penalty": 0.05, "free_ranks": 2},
}


def reference_scores(row, rule):
    """Nonconformity class by class, from the definition."""
    shares = softmax(row)
    ranking = sorted(range(len(row)), key=lambda c: (-shares[c], c))
    scores = {}
    for place, number in enumerate(ranking, start=1):
        if rule.method == "lac":
            scores[number] = 1 - shares[number]
            continue
        scores[number] = sum(shares[other] for other in ranking[:place]) + rule.penalty * max(
            place - rule.free_ranks, 0
        )
    return [scores[number] for number in range(len(row))]


def rule_of(method, logits, labels, alpha=0.1):
    return calibrate_sets(logits, labels, SetTarget(alpha=alpha, **METHODS[method]))


@pytest.mark.parametrize("method", METHODS)
def test_nonconformity_agrees_with_its_definition_class_by_class(method):
    logits, _ = answered(30, 6)
    rule = SetRule(alpha=0.1, threshold=None, samples=1, **METHODS[method])
    np.testing.assert_allclose(nonconformity(logits, rule), [reference_scores(row, rule) for row in logits], atol=1e-12)


def test_equally_likely_classes_stand_in_their_order():
    rule = SetRule("aps", 0.1, None, 1)
    assert nonconformity(torch.zeros(1, 4), rule)[0].tolist() == pytest.approx([0.25, 0.5, 0.75, 1])


@given(scores=st.lists(st.integers(0, 20), min_size=1, max_size=40), percent=st.integers(1, 99))
def test_the_quantile_is_the_corrected_order_statistic(scores, percent):
    rank = -(-(len(scores) + 1) * (100 - percent) // 100)
    expected = sorted(scores)[rank - 1] if rank <= len(scores) else None
    assert conformal_quantile(torch.tensor(scores).double(), percent / 100) == expected


@pytest.mark.parametrize(("n", "alpha", "rank"), [(9, 0.1, 9), (99, 0.01, 99), (19, 0.05, 19), (10, 0.1, 10)])
def test_where_the_rank_is_whole_rounding_does_not_raise_it(n, alpha, rank):
    assert conformal_quantile(torch.arange(1.0, n + 1), alpha) == rank


def test_of_eight_scores_none_is_the_ninth():
    assert conformal_quantile(torch.arange(8.0), 0.1) is None
    assert conformal_quantile(torch.arange(8.0), 0.2) == 7


@pytest.mark.parametrize("method", METHODS)
def test_sets_hold_what_is_up_to_the_threshold_and_the_likeliest(method):
    logits, labels = answered(120, 6)
    rule = rule_of(method, logits, labels)
    scores, likeliest = nonconformity(logits, rule), logits.argmax(dim=1)
    own = scores.gather(1, labels[:, None]).squeeze(1)
    assert rule.threshold == conformal_quantile(own.where(likeliest != labels, 0), 0.1)
    inside = scores <= rule.threshold
    sets = prediction_sets(logits, rule)
    assert sets.gather(1, likeliest[:, None]).all()
    assert torch.equal(sets.sum(dim=1), inside.sum(dim=1).clamp(min=1))
    assert rule_of(method, logits, labels) == rule
    assert json.loads(json.dumps(asdict(rule), allow_nan=False)) == asdict(rule)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("alpha", "scale"), [(0.1, 3), (0.3, 1)])
@pytest.mark.parametrize("boldness", [1, 2])
def test_the_share_of_misses_is_what_was_allowed_over_many_draws(method, alpha, scale, boldness):
    """Over 400 calibration sets of 60. What is guaranteed needs no calibrated classifier."""
    logits, labels = honest(400 * 120, 5, seed=0, scale=scale)
    boldly = (boldness * logits).view(400, 120, 5)
    misses = []
    for drawn, truth in zip(boldly, labels.view(400, 120), strict=True):
        sets = prediction_sets(drawn[60:], rule_of(method, drawn[:60], truth[:60], alpha))
        misses.append(1 - set_metrics(sets, truth[60:]).coverage)
    reach = 4 * np.std(misses) / math.sqrt(400)
    assert alpha - 1 / 61 - reach <= np.mean(misses) <= alpha + reach


def test_adaptive_sets_serve_the_hard_as_well_and_the_smallest_are_lac():
    hard = np.arange(20_000) % 2 == 1
    logits, labels = honest(20_000, 8, seed=3, scale=np.where(hard, 0.5, 6)[:, None])
    new, hard = slice(10_000, None), torch.tensor(hard[10_000:])
    found = {}
    for method in ("lac", "aps"):
        sets = prediction_sets(logits[new], rule_of(method, logits[:10_000], labels[:10_000]))
        found[method] = set_metrics(sets, labels[new]), set_metrics(sets[hard], labels[new][hard])
    (lac, lac_where_hard), (aps, aps_where_hard) = found.values()
    assert lac.mean_size < aps.mean_size
    assert lac_where_hard.coverage < 0.85
    assert aps_where_hard.coverage == pytest.approx(0.9, abs=0.02)


def test_a_penalty_shortens_the_largest_sets():
    logits, labels = honest(4000, 30, seed=4)
    plain = calibrate_sets(logits, labels, SetTarget("aps"))
    penalised = calibrate_sets(logits, labels, SetTarget("raps", penalty=0.2, free_ranks=3))
    assert prediction_sets(logits, penalised).sum(dim=1).max() < prediction_sets(logits, plain).sum(dim=1).max()
    free = calibrate_sets(logits, labels, SetTarget("raps", penalty=0.0))
    assert torch.equal(prediction_sets(logits, free), prediction_sets(logits, plain))


def test_few_samples_promise_nothing_and_every_class_is_let_in():
    logits, labels = answered(8, 4)
    rule = calibrate_sets(logits, labels, SetTarget(alpha=0.1))
    assert rule.threshold is None
    assert prediction_sets(logits, rule).all()
    assert json.loads(json.dumps(asdict(rule), allow_nan=False)) == asdict(rule)


def test_metrics_of_sets_agree_with_a_loop():
    sets = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 1]]).bool()
    found = set_metrics(sets, torch.tensor([0, 1, 0, 1, 0, -1]))
    assert (found.n, found.coverage, found.mean_size) == (5, 0.6, 7 / 5)
    assert found.sizes == [1, 2, 1, 1]
    assert found.coverage_by_size == [0, 0.5, 1, 1]
    assert found.per_class_coverage == pytest.approx([1 / 3, 1, None])


LOGITS, LABELS = answered(20, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "apss"}, "unknown method of prediction sets 'apss': did you mean 'aps'"),
        ({"alpha": 0.0}, "alpha is 0.0; expected a number above 0 and below 1"),
        ({"alpha": 1.0}, "alpha is 1.0"),
        ({"method": "raps", "penalty": -1.0}, "penalty is -1.0"),
        ({"labels": LABELS[:-1]}, "19 labels for 20 rows of logits"),
        ({"labels": LABELS.where(torch.arange(20) != 7, -1)}, "sample 7: label -1 is out of range; expected 0 to 3"),
        ({"logits": LOGITS[:0], "labels": LABELS[:0]}, "no labeled sample among 0; expected at least one"),
    ],
)
def test_what_cannot_be_calibrated_on_is_refused(options, message):
    logits, labels = options.pop("logits", LOGITS), options.pop("labels", LABELS)
    with pytest.raises(InputError, match=message):
        calibrate_sets(logits, labels, SetTarget(**options))
