import weakref
from dataclasses import astuple

import numpy as np
import pytest
import torch
from scipy import stats

from preceptor.errors import InputError
from preceptor.metrics import Estimate, augrc, aurc, bootstrap_intervals, difference, in_order, of_resamples
from preceptor.metrics.bootstrap import means
from tests.metrics.samples import ranked_pair

VALUES = torch.randn(150, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).exp()


def mean_of(values):
    return lambda counts: {"mean": means(counts, values[:, None])[:, 0]}


def test_every_draw_is_as_large_as_the_set_and_all_samples_are_as_likely():
    seen = []

    def statistics(counts):
        seen.append(counts)
        return {"total": counts.sum(dim=1).double()}

    found = bootstrap_intervals(statistics, 40, resamples=3000)["total"]
    assert found.estimate() == Estimate(40, 40, 40)
    drawn = torch.cat(seen[1:])
    assert drawn.shape == (3000, 40)
    assert stats.chisquare(drawn.sum(dim=0)).pvalue > 1e-4
    share_of_absent = (drawn == 0).double().mean()
    assert share_of_absent == pytest.approx((1 - 1 / 40) ** 40, abs=0.01)


def test_the_interval_of_a_mean_is_scipys():
    found = bootstrap_intervals(mean_of(VALUES), 150, resamples=4000, confidence=0.9)["mean"].estimate()
    theirs = stats.bootstrap((VALUES.numpy(),), np.mean, n_resamples=4000, confidence_level=0.9, method="percentile")
    reach = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert found.value == pytest.approx(VALUES.mean())
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.06 * reach)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.06 * reach)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """400 samples of 200 coins put the share within 4 % of 90 % (3 standard errors, and the bootstrap's own)."""
    generator = torch.Generator().manual_seed(3)
    covered = 0
    for seed in range(400):
        coins = (torch.rand(200, generator=generator) < 0.3).double()
        found = bootstrap_intervals(mean_of(coins), 200, resamples=200, confidence=0.9, seed=seed)["mean"].estimate()
        covered += found.low <= 0.3 <= found.high
    assert covered / 400 == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize(("metric", "of_ranking"), [(aurc, lambda each: each.aurc), (augrc, lambda each: each.augrc())])
def test_a_ranking_drawn_anew_is_what_a_loop_over_resamples_gives(metric, of_ranking, levels):
    confidence, wrong = ranked_pair(60, levels=levels)
    order = in_order(confidence, wrong)
    quick = bootstrap_intervals(lambda counts: {"value": of_ranking(order.drawn(counts))}, 60, resamples=50)
    slow = bootstrap_intervals(of_resamples(metric, confidence, wrong), 60, resamples=50)
    assert astuple(quick["value"].estimate()) == pytest.approx(astuple(slow["value"].estimate()), abs=1e-12)


def test_the_seed_decides_and_the_size_of_a_chunk_does_not(monkeypatch):
    whole = bootstrap_intervals(mean_of(VALUES), 150, resamples=30, seed=1)["mean"].estimate()
    assert bootstrap_intervals(mean_of(VALUES), 150, resamples=30, seed=2)["mean"].estimate() != whole
    monkeypatch.setattr("preceptor.metrics.bootstrap.ELEMENTS_AT_ONCE", 1000)
    assert bootstrap_intervals(mean_of(VALUES), 150, resamples=30, seed=1)["mean"].estimate() == whole


def test_what_a_draw_came_to_is_not_kept_piece_by_piece():
    """Small pieces would lie between what is freed meanwhile, which the allocator could then not use again."""
    made: list[weakref.ref] = []
    alive = []

    def statistics(counts):
        alive.append(sum(piece() is not None for piece in made))
        metric = means(counts, torch.arange(1000.0)[:, None])
        made.append(weakref.ref(metric))
        return {"mean": metric}

    bootstrap_intervals(statistics, 1000, resamples=131 * 20)
    assert len(alive) == 21
    assert max(alive) <= 2  # of the samples as they are, and of the draws before


def test_a_paired_difference_is_narrower_than_what_it_is_made_of():
    noise = torch.randn(150, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = difference(mean_of(VALUES + 0.01 * noise + 0.1), mean_of(VALUES))
    paired = bootstrap_intervals(both, 150)["mean"].estimate()
    alone = bootstrap_intervals(mean_of(VALUES), 150)["mean"].estimate()
    assert paired.low < 0.1 < paired.high
    assert paired.high - paired.low < 0.05 * (alone.high - alone.low)
    same = bootstrap_intervals(difference(mean_of(VALUES), mean_of(VALUES)), 150)["mean"]
    assert same.estimate() == Estimate(0, 0, 0)


def test_a_curve_has_an_interval_at_every_point():
    columns = torch.stack([VALUES, 2 * VALUES], dim=1)
    curve = bootstrap_intervals(lambda counts: {"curve": means(counts, columns)}, 150)["curve"]
    once, twice = curve.estimates()
    assert (twice.value, twice.low, twice.high) == pytest.approx((2 * once.value, 2 * once.low, 2 * once.high))


def test_draws_that_leave_a_metric_undefined_are_left_out():
    rare = torch.full((20, 1), float("nan"), dtype=torch.float64)
    rare[3] = 0.5
    found = bootstrap_intervals(lambda counts: {"mean": means(counts, rare)[:, 0]}, 20, resamples=100)
    assert found["mean"].estimate() == Estimate(0.5, 0.5, 0.5)
    never = torch.full((20, 1), float("nan"), dtype=torch.float64)
    found = bootstrap_intervals(lambda counts: {"mean": means(counts, never)[:, 0]}, 20, resamples=10)
    assert found["mean"].estimate() == Estimate(None, None, None)


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (0, {}, "1000 resamples of 0 samples"),
        (5, {"resamples": 0}, "0 resamples of 5 samples"),
        (5, {"resamples": 2.5}, "2.5 resamples of 5 samples: .*in whole numbers"),
        (5, {"resamples": True}, "True resamples of 5 samples"),
        (True, {}, "1000 resamples of True samples"),
        (5, {"confidence": 95}, "confidence 95: give a number between 0 and 1"),
        (5, {"confidence": "most"}, "confidence most: give a number between 0 and 1"),
        (5, {"seed": 2**70}, "seed 1180591620717411303424: give a whole number from 0 to"),
        (5, {"seed": -1}, "seed -1: give a whole number"),
        (5, {"seed": 1.5}, "seed 1.5: give a whole number"),
    ],
)
def test_numbers_out_of_range_are_refused(n, options, message):
    with pytest.raises(InputError, match=message) as raised:
        bootstrap_intervals(mean_of(VALUES[:n]), n, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        (lambda counts: {"v": torch.ones(7)}, r"metric 'v' has the shape \[7\], not \[1\]: give one row a draw"),
        (lambda counts: {"v": counts.double().sum(1)[:1]}, r"metric 'v' has the shape \[1\], not \[50\]"),
        (lambda counts: {"v": counts.double().mean()}, r"metric 'v' has the shape \[\], not \[1\]"),
        (lambda counts: {"v": counts.double()[:, : len(counts)]}, r"metric 'v' has the shape \[50, 3\], not \[50, 1\]"),
        (lambda counts: {"v": 1.0}, "metric 'v' is of type float: give a tensor"),
        (lambda counts: {"v": torch.ones(len(counts)) * 1j}, "metric 'v' is of torch.complex64"),
        (lambda counts: torch.ones(len(counts)), "statistics of type Tensor: give tensors by the names"),
        (lambda counts: {f"v{len(counts)}": torch.ones(len(counts))}, "metric 'v1' is there for some draws only"),
        (lambda counts: {"v": counts.sum(1)} if len(counts) == 1 else {}, "metric 'v' is there for some draws only"),
    ],
)
def test_statistics_that_are_not_one_row_a_draw_are_refused(statistics, message):
    with pytest.raises(InputError, match=message) as raised:
        bootstrap_intervals(statistics, 3, resamples=50)
    assert "\n" not in str(raised.value)


def test_no_difference_of_different_metrics():
    with pytest.raises(InputError, match=r"metrics \['mean'\] and \['means'\]: give the same of both"):
        bootstrap_intervals(difference(mean_of(VALUES), lambda counts: {"means": counts.sum(1)}), 150)
