from dataclasses import astuple

import numpy as np
import pytest
import torch
from scipy import stats

from preceptor.errors import InputError
from preceptor.metrics import Estimate, augrc, aurc, bootstrap_intervals, calibration_error, share_estimate
from preceptor.metrics.bootstrap import share_interval
from preceptor.metrics.selective import Ranking
from tests.metrics.samples import honest, ranked_pair

VALUES = torch.randn(150, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).exp()


def mean_of(values):
    return lambda index: {"mean": values[index].nanmean(dim=1)}


def one_by_one(measure):
    """Of many draws, from what measures one."""

    def of_each(index):
        measured = [measure(one) for one in index]
        return {name: torch.tensor([float(one[name]) for one in measured], dtype=torch.float64) for name in measured[0]}

    return of_each


def test_every_draw_is_as_large_as_the_set_and_all_samples_are_as_likely():
    drawn = []

    def measure(index):
        drawn.append(index)
        return {"total": torch.full((len(index),), float(index.shape[1]))}

    found = bootstrap_intervals(measure, 40, resamples=3000)["total"]
    assert found.estimate() == Estimate(40, None, None)
    assert torch.equal(drawn[0], torch.arange(40).unsqueeze(0))
    counts = torch.stack([index.bincount(minlength=40) for index in torch.cat(drawn[1:])])
    assert counts.sum(dim=1).eq(40).all()
    assert counts.shape == (3000, 40)
    assert stats.chisquare(counts.sum(dim=0)).pvalue > 1e-4
    assert (counts == 0).double().mean() == pytest.approx((1 - 1 / 40) ** 40, abs=0.01)


def test_the_interval_of_a_mean_is_scipys():
    found = bootstrap_intervals(mean_of(VALUES), 150, resamples=4000, confidence=0.9)["mean"].estimate()
    theirs = stats.bootstrap((VALUES.numpy(),), np.mean, n_resamples=4000, confidence_level=0.9, method="percentile")
    reach = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert found.value == pytest.approx(VALUES.mean())
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.06 * reach)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.06 * reach)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """400 samples of 100 numbers put the share within 4 % of 90 % (3 standard errors, and the bootstrap's own)."""
    generator = torch.Generator().manual_seed(3)
    covered = 0
    for seed in range(400):
        values = torch.rand(100, generator=generator)
        found = bootstrap_intervals(mean_of(values), 100, resamples=200, confidence=0.9, seed=seed)["mean"].estimate()
        covered += found.low <= 0.5 <= found.high
    assert covered / 400 == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize(("metric", "name"), [(aurc, "aurc"), (augrc, "augrc")])
def test_a_ranking_drawn_without_a_sort_is_the_metric_of_the_samples_drawn(metric, name, levels):
    confidence, wrong = ranked_pair(60, levels=levels)
    ranking = Ranking.of(confidence, wrong)
    quick = bootstrap_intervals(lambda index: {name: getattr(ranking.drawn(index), name)()}, 60, resamples=50)
    slow = bootstrap_intervals(
        one_by_one(lambda index: {name: metric(confidence[index], wrong[index])}),
        60,
        resamples=50,
    )
    assert astuple(quick[name].estimate()) == pytest.approx(astuple(slow[name].estimate()), abs=1e-12)


def test_the_seed_decides():
    first, same, other = (bootstrap_intervals(mean_of(VALUES), 150, resamples=30, seed=seed) for seed in (1, 1, 2))
    assert first["mean"].estimate() == same["mean"].estimate() != other["mean"].estimate()


def test_a_paired_difference_is_narrower_than_what_it_is_made_of():
    noise = torch.randn(150, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    better = VALUES + 0.01 * noise + 0.1

    def measure(index):
        alone = VALUES[index].mean(dim=1)
        return {"difference": better[index].mean(dim=1) - alone, "alone": alone}

    found = bootstrap_intervals(measure, 150)
    paired, alone = found["difference"].estimate(), found["alone"].estimate()
    assert paired.low < 0.1 < paired.high
    assert paired.high - paired.low < 0.05 * (alone.high - alone.low)


def test_a_curve_has_an_interval_at_every_point():
    columns = torch.stack([VALUES, 2 * VALUES], dim=1)
    once, twice = bootstrap_intervals(mean_of(columns), 150)["mean"].estimates()
    assert (twice.value, twice.low, twice.high) == pytest.approx((2 * once.value, 2 * once.low, 2 * once.high))


def test_draws_that_leave_a_metric_undefined_are_left_out_and_a_constant_one_has_no_interval():
    rare = torch.full((20,), float("nan"), dtype=torch.float64)
    rare[3], rare[4] = 0.5, 1.5
    found = bootstrap_intervals(mean_of(rare), 20, resamples=100)["mean"].estimate()
    assert (found.value, found.low, found.high) == (1.0, 0.5, 1.5)
    rare[4] = 0.5
    assert bootstrap_intervals(mean_of(rare), 20, resamples=100)["mean"].estimate() == Estimate(0.5, None, None)
    never = torch.full((20,), float("nan"))
    assert bootstrap_intervals(mean_of(never), 20, resamples=9)["mean"].estimate() == Estimate(None, None, None)


def test_the_draws_of_a_calibration_error_lie_too_high_and_are_moved_onto_its_value():
    """The corrected interval covers the expected error of so many samples, which the plain one often misses."""

    def measure_of(logits, labels):
        confidence, right = logits.softmax(dim=1).amax(dim=1), logits.argmax(dim=1) == labels
        return one_by_one(lambda index: {"ece": calibration_error(confidence[index], right[index])})

    samples = [honest(200, 4, seed) for seed in range(100)]
    expected = np.mean([float(measure_of(*each)(torch.arange(200).unsqueeze(0))["ece"]) for each in samples])
    covered = {True: 0, False: 0}
    for seed, each in enumerate(samples):
        for corrected in covered:
            biased = ["ece"] if corrected else []
            intervals = bootstrap_intervals(measure_of(*each), 200, resamples=60, biased=biased, seed=seed)
            found = intervals["ece"].estimate()
            assert 0 <= found.low <= found.value <= found.high
            covered[corrected] += found.low <= expected <= found.high
    assert covered[True] >= 85
    assert covered[False] < covered[True]


@pytest.mark.parametrize(("k", "n"), [(0, 50), (1, 50), (25, 50), (60, 60), (1, 1), (999, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_of_a_share_is_scipys_exact_one(k, n, confidence):
    theirs = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    assert astuple(share_estimate(k, n, confidence)) == pytest.approx((k / n, theirs.low, theirs.high), abs=1e-12)


def test_all_right_is_no_certainty_and_no_sample_no_share():
    found = share_estimate(60, 60)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.9404, abs=1e-4)
    assert share_estimate(0, 50).high == pytest.approx(0.0711, abs=1e-4)
    assert share_estimate(0, 0) == Estimate(None, None, None)


def test_several_shares_at_once_and_fractions_of_ties():
    several = share_interval(torch.tensor([0.0, 2.5, 0.0]), torch.tensor([4, 4, 0]))
    assert several.estimates()[::2] == [share_estimate(0, 4), share_estimate(0, 0)]
    assert share_estimate(2, 4).low < several.low[1] < share_estimate(3, 4).low


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (0, {}, "n is 0; expected a whole number at least 1"),
        (5, {"resamples": 0}, "resamples is 0; expected a whole number at least 1"),
        (5, {"resamples": 2.5}, "resamples is 2.5; expected a whole number"),
        (5, {"resamples": True}, "resamples is True; expected a whole number"),
        (5, {"resamples": 10**6}, "resamples is 1000000; .* at most 100,000"),
        (True, {}, "n is True"),
        (5, {"confidence": 95}, "confidence is 95; expected a number above 0 and below 1"),
        (5, {"confidence": "most"}, "confidence is 'most'; expected a number above 0 and below 1"),
        (5, {"seed": 2**70}, "seed is 1180591620717411303424; expected a whole number at least 0"),
        (5, {"seed": -1}, "seed is -1; expected a whole number"),
        (5, {"seed": 1.5}, "seed is 1.5; expected a whole number"),
    ],
)
def test_numbers_out_of_range_are_refused(n, options, message):
    with pytest.raises(InputError, match=message) as raised:
        bootstrap_intervals(mean_of(VALUES[:n]), n, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda index: {"v": index[:, : len(index)].double()}, "metric 'v': .* of one shape a draw"),
        (lambda index: {"v": index.double().mean()}, r"metric 'v': expected .* \[draws, ...\]"),
        (lambda index: {"v": 1.0}, "metric 'v': expected a tensor"),
        (lambda index: {"v": index.sum() * 1j}, "metric 'v': expected a tensor of real numbers"),
        (lambda index: torch.ones(3), "a dict of metrics"),
        (lambda index: {f"v{int(index.sum())}": torch.ones(len(index))}, "the same names for every draw"),
    ],
)
def test_metrics_that_are_not_alike_for_every_draw_are_refused(measure, message):
    with pytest.raises(InputError, match=message):
        bootstrap_intervals(measure, 30, resamples=50)
