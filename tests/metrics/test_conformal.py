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
from preceptor.metrics.conformal import conformal_quantile, draw_shares, nonconformity
from tests.metrics.samples import answered, honest, softmax

COMPONENT_TYPES = {
    "lac": {"method": "lac"},
    "aps": {"method": "aps"},
    "aps, randomized": {"method": "aps", "randomized": True},
    "raps": {"method": "raps", "penalty": 0.05, "free_ranks": 2},
    "raps, randomized": {"method": "raps", "penalty": 0.05, "free_ranks": 2, "randomized": True},
}


def reference_scores(row, rule, share):
    """Nonconformity class by class, from the definition."""
    shares = softmax(row)
    ranking = sorted(range(len(row)), key=lambda c: (-shares[c], c))
    scores = {}
    for place, number in enumerate(ranking, start=1):
        if rule.method == "lac":
            scores[number] = 1 - shares[number]
            continue
        likelier = sum(shares[other] for other in ranking[: place - 1])
        scores[number] = likelier + share * shares[number] + rule.penalty * max(place - rule.free_ranks, 0)
    return [scores[number] for number in range(len(row))]


def rule_of(kind, logits, labels, alpha=0.1, seed=0, **options):
    target = dict(COMPONENT_TYPES[kind])
    share = draw_shares(len(logits), seed) if target.pop("randomized", False) else None
    return calibrate_sets(logits, labels, SetTarget(alpha=alpha, **target), share, **options)


def sets_of(rule, logits, seed=1, **options):
    share = draw_shares(len(logits), seed) if rule.randomized else None
    return prediction_sets(logits, rule, share, **options)


@pytest.mark.parametrize("kind", COMPONENT_TYPES)
def test_nonconformity_agrees_with_its_definition_class_by_class(kind):
    logits, _ = answered(30, 6)
    rule = SetRule(alpha=0.1, threshold=None, samples=1, **COMPONENT_TYPES[kind])
    share = draw_shares(30) if rule.randomized else torch.ones(30)
    expected = [reference_scores(*each) for each in zip(logits, [rule] * 30, share.tolist(), strict=True)]
    np.testing.assert_allclose(nonconformity(logits, rule, share), expected, atol=1e-12)


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


@pytest.mark.parametrize("kind", COMPONENT_TYPES)
def test_sets_hold_what_is_up_to_the_threshold_and_the_likeliest(kind):
    logits, labels = answered(120, 6)
    rule = rule_of(kind, logits, labels)
    share = draw_shares(120, 1) if rule.randomized else None
    inside = nonconformity(logits, rule, share) <= rule.threshold
    assert torch.equal(prediction_sets(logits, rule, share, allow_empty=True), inside)
    sets = prediction_sets(logits, rule, share)
    assert sets.gather(1, logits.argmax(dim=1, keepdim=True)).all()
    assert torch.equal(sets.sum(dim=1), inside.sum(dim=1).clamp(min=1))
    again = rule_of(kind, logits, labels)
    assert again == rule
    assert json.loads(json.dumps(asdict(rule), allow_nan=False)) == asdict(rule)


@pytest.mark.parametrize("kind", COMPONENT_TYPES)
@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_the_share_of_misses_is_what_was_allowed_over_many_draws(kind, alpha):
    """Over 400 calibration sets of 60; randomized scores hardly ever tie, so that they miss no less either."""
    logits, labels = honest(400 * 120, 5, seed=0)
    boldly = (2 * logits).view(400, 120, 5)  # what is guaranteed needs no calibrated classifier
    misses = []
    for number, (drawn, truth) in enumerate(zip(boldly, labels.view(400, 120), strict=True)):
        rule = rule_of(kind, drawn[:60], truth[:60], alpha, seed=number)
        sets = sets_of(rule, drawn[60:], seed=1000 + number, allow_empty=True)
        misses.append(1 - set_metrics(sets, truth[60:]).coverage)
    reach = 4 * np.std(misses) / math.sqrt(400)
    assert np.mean(misses) <= alpha + reach
    if kind == "lac" or "randomized" in kind:
        assert np.mean(misses) >= alpha - 1 / 61 - reach


@pytest.mark.parametrize("kind", COMPONENT_TYPES)
def test_sets_that_are_never_empty_miss_what_was_allowed_when_calibrated_as_such(kind):
    """Over 400 calibration sets of 60; and they are no larger for it."""
    logits, labels = honest(400 * 120, 5, seed=0, scale=3)
    misses = {True: [], False: []}
    sizes = {True: 0.0, False: 0.0}
    for number, (drawn, truth) in enumerate(zip(logits.view(400, 120, 5), labels.view(400, 120), strict=True)):
        for allow_empty, missed in misses.items():
            rule = rule_of(kind, drawn[:60], truth[:60], seed=number, allow_empty=allow_empty)
            found = set_metrics(sets_of(rule, drawn[60:], seed=1000 + number), truth[60:])
            missed.append(1 - found.coverage)
            sizes[allow_empty] += found.mean_size / 400
    reach = 4 * np.std(misses[False]) / math.sqrt(400)
    assert np.mean(misses[False]) <= 0.1 + reach
    assert np.mean(misses[False]) >= 0.1 - 1 / 61 - reach
    assert np.mean(misses[True]) <= np.mean(misses[False])
    assert sizes[False] <= sizes[True]


def test_adaptive_sets_serve_the_hard_as_well_and_the_smallest_are_lac():
    hard = np.arange(20_000) % 2 == 1
    logits, labels = honest(20_000, 8, seed=3, scale=np.where(hard, 0.5, 6)[:, None])
    new, hard = slice(10_000, None), torch.tensor(hard[10_000:])
    found = {}
    for kind in ("lac", "aps, randomized"):
        sets = sets_of(rule_of(kind, logits[:10_000], labels[:10_000]), logits[new], allow_empty=True)
        found[kind] = set_metrics(sets, labels[new]), set_metrics(sets[hard], labels[new][hard])
    (lac, lac_where_hard), (aps, aps_where_hard) = found.values()
    assert lac.mean_size < aps.mean_size
    assert lac_where_hard.coverage < 0.85
    assert aps_where_hard.coverage == pytest.approx(0.9, abs=0.02)


def test_a_penalty_shortens_the_largest_sets():
    logits, labels = honest(4000, 30, seed=4)
    plain = calibrate_sets(logits, labels, SetTarget("aps"))
    penalised = calibrate_sets(logits, labels, SetTarget("raps", penalty=0.2, free_ranks=3))
    assert sets_of(penalised, logits).sum(dim=1).max() < sets_of(plain, logits).sum(dim=1).max()
    free = calibrate_sets(logits, labels, SetTarget("raps", penalty=0.0))
    assert torch.equal(sets_of(free, logits), sets_of(plain, logits))


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


@pytest.mark.parametrize("share", [None, torch.rand(3), torch.full((20,), 1.5)])
def test_randomized_sets_want_their_shares(share):
    rule = calibrate_sets(LOGITS, LABELS, SetTarget("aps"), draw_shares(20))
    with pytest.raises(InputError, match="randomized aps needs one share from 0 to 1 for each of 20 samples"):
        prediction_sets(LOGITS, rule, share)
    if share is not None:
        with pytest.raises(InputError, match="randomized aps needs one share"):
            calibrate_sets(LOGITS, LABELS, SetTarget("aps"), share)
