import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from preceptor.errors import InputError
from preceptor.metrics import PairedDifference, mean_and_deviation, paired_difference

measured = st.floats(-100, 100)
pairs = st.lists(st.tuples(measured, measured), min_size=2, max_size=8)


@given(st.lists(measured, min_size=2, max_size=10))
def test_mean_and_deviation_agree_with_numpy(values):
    mean, deviation = mean_and_deviation(values)
    assert mean == pytest.approx(np.mean(values), abs=1e-9)
    assert deviation == pytest.approx(np.std(values, ddof=1), abs=1e-9)


def test_one_value_has_no_deviation():
    assert mean_and_deviation([0.75]) == (0.75, None)


@given(pairs=pairs, confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_agrees_with_scipy(pairs, confidence):
    values, baseline = np.array(pairs).T
    difference = paired_difference(values, baseline, confidence)
    assert difference.mean == pytest.approx(np.mean(values - baseline), abs=1e-9)
    if np.ptp(values - baseline) > 1e-6:  # scipy divides by the deviation
        expected = stats.ttest_rel(values, baseline).confidence_interval(confidence)
        assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_case_from_a_t_table():
    """Differences 1, 2, 3: mean 2, deviation 1, t = 4.303 with two degrees of freedom."""
    difference = paired_difference([2, 4, 6], [1, 2, 3])
    reach = 4.3027 / math.sqrt(3)
    assert (difference.mean, difference.n, difference.confidence) == (2, 3, 0.95)
    assert (difference.low, difference.high) == pytest.approx((2 - reach, 2 + reach), abs=1e-3)


def test_equal_differences_leave_no_doubt():
    assert paired_difference([3, 4, 5], [1, 2, 3]) == PairedDifference(2, 2, 2, n=3, confidence=0.95)


def test_one_seed_gives_a_mean_and_no_interval():
    assert paired_difference([0.75], [0.5]) == PairedDifference(0.25, None, None, n=1, confidence=0.95)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Seeds share a large common part; 2,000 studies put the share within 2 % of 95 % (4 standard errors)."""
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        common = generator.normal(0, 10, size=3)
        difference = paired_difference(common + generator.normal(0.3, 1, 3), common + generator.normal(0, 1, 3))
        covered += difference.low <= 0.3 <= difference.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


@given(pairs)
def test_swapping_the_two_turns_the_sign(pairs):
    values, baseline = zip(*pairs, strict=True)
    one, other = paired_difference(values, baseline), paired_difference(baseline, values)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low), abs=1e-9)


def test_every_seed_needs_its_pair():
    with pytest.raises(InputError, match="3 values but 2 of the baseline"):
        paired_difference([1, 2, 3], [1, 2])


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, math.nan])
def test_a_confidence_between_0_and_1(confidence):
    with pytest.raises(InputError, match="expected a number above 0 and below 1"):
        paired_difference([1, 2], [1, 2], confidence)


def test_a_diverged_run_is_named():
    with pytest.raises(InputError, match="baseline value 1 is nan"):
        paired_difference([1, 2], [1, math.nan])
    with pytest.raises(InputError, match="value 0 is inf"):
        mean_and_deviation([math.inf, 1])


def test_no_seed_at_all():
    with pytest.raises(InputError, match="expected one for each seed"):
        mean_and_deviation([])
    with pytest.raises(InputError, match="expected one for each seed"):
        paired_difference([], [])
