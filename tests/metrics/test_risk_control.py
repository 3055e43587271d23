import json
import math
from dataclasses import asdict
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from preceptor.errors import InputError
from preceptor.metrics import NoGuarantee, RiskGuarantee, risk_control, samples_needed, select_threshold
from preceptor.metrics.risk_control import risk_upper_bound

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
deltas = st.floats(1e-6, 0.5)


@given(count=counts, delta=deltas)
def test_the_bound_solves_its_equation(count, delta):
    errors, n = count
    bound = risk_upper_bound(errors, n, delta)
    exact = binomtest(errors, n, alternative="less").proportion_ci(1 - delta, method="exact").high
    assert bound == pytest.approx(exact, abs=1e-9)
    assert bound >= errors / n
    if errors < n:
        assert binom.cdf(errors, n, bound) == pytest.approx(delta, rel=1e-6)


@given(count=counts, delta=deltas)
def test_the_bound_grows_with_errors_and_falls_with_samples_and_delta(count, delta):
    errors, n = count
    bound = risk_upper_bound(errors, n, delta)
    assert bound >= risk_upper_bound(errors, n, min(1.5 * delta, 0.9))
    assert bound >= risk_upper_bound(2 * errors, 2 * n, delta)
    if errors < n:
        assert bound < risk_upper_bound(errors + 1, n, delta)


@pytest.mark.parametrize("n", [1, 100, 10**7])
def test_the_bound_without_errors_and_with_nothing_else(n):
    assert risk_upper_bound(0, n, 1e-4) == pytest.approx(-math.expm1(math.log(1e-4) / n), rel=1e-9)
    assert risk_upper_bound(n, n, 1e-4) == 1


def population(n, seed, slope=0.5):
    """Confidence uniform on [0, 1], and an error with probability slope (1 - confidence)."""
    generator = np.random.default_rng(seed)
    confidence = generator.random(n)
    wrong = generator.random(n) < slope * (1 - confidence)
    return torch.tensor(confidence), torch.tensor(wrong)


def true_risk(threshold, slope=0.5):
    return slope * (1 - threshold) / 2


def test_the_promise_adds_up():
    confidence, wrong = population(2000, seed=0)
    guarantee = select_threshold(confidence, wrong, 0.1, 0.02)
    assert isinstance(guarantee, RiskGuarantee)
    covered = confidence >= guarantee.threshold
    assert (guarantee.covered, guarantee.errors) == (int(covered.sum()), int(wrong[covered].sum()))
    assert guarantee.coverage == guarantee.covered / 2000
    assert guarantee.bound == risk_upper_bound(guarantee.errors, guarantee.covered, 0.02 / 11)
    assert guarantee.bound < guarantee.max_risk == 0.1
    assert (guarantee.delta, guarantee.samples) == (0.02, 2000)
    assert json.loads(json.dumps(asdict(guarantee), allow_nan=False)) == asdict(guarantee)


def test_the_promise_is_the_widest_that_passed_though_the_last_step_need_not():
    last_failed = 0
    for seed in range(40):
        with patch.object(risk_control, "risk_upper_bound", wraps=risk_upper_bound) as judge:
            outcome = select_threshold(*population(500, seed), 0.15)
        tried = [(call.args[1], risk_upper_bound(*call.args)) for call in judge.mock_calls]
        passed = [covered for covered, bound in tried if bound < 0.15]
        if isinstance(outcome, RiskGuarantee):
            assert outcome.covered == max(passed)
            assert outcome.bound < 0.15
        else:
            assert not passed
        last_failed += isinstance(outcome, RiskGuarantee) and tried[-1][1] >= 0.15
    assert last_failed > 0


def test_the_promise_covers_about_as_much_as_can_be():
    guarantee = select_threshold(*population(20_000, seed=1), 0.1)
    assert isinstance(guarantee, RiskGuarantee)
    assert 0.35 < guarantee.coverage < 0.4  # the true risk is 0.1 at coverage 0.4


def test_any_risk_at_all_gives_nearly_full_coverage():
    guarantee = select_threshold(*population(1000, seed=2), 1.0)
    assert isinstance(guarantee, RiskGuarantee)
    assert guarantee.coverage >= 0.999


@pytest.mark.parametrize(("n", "steps"), [(2, 1), (255, 8), (256, 8), (257, 9)])
def test_delta_is_shared_among_as_many_steps_as_halvings(n, steps):
    guarantee = select_threshold(torch.rand(n, generator=torch.Generator().manual_seed(0)), torch.zeros(n).bool(), 1.0)
    assert isinstance(guarantee, RiskGuarantee)
    assert guarantee.bound == pytest.approx(1 - (0.05 / steps) ** (1 / guarantee.covered))


@pytest.mark.parametrize("seed", range(3))
def test_an_impossible_limit_says_what_would_have_been_possible(seed):
    confidence, wrong = population(200, seed)
    outcome = select_threshold(confidence, wrong, 1e-3)
    assert isinstance(outcome, NoGuarantee)
    assert 1e-3 < outcome.lowest_bound < 1
    assert 0 < outcome.coverage < 1
    assert (outcome.max_risk, outcome.delta, outcome.samples) == (1e-3, 0.05, 200)


@pytest.mark.parametrize("wrong", [True, False])
def test_one_sample_promises_little(wrong):
    outcome = select_threshold(torch.tensor([0.5]), torch.tensor([wrong]), 0.96)
    assert isinstance(outcome, NoGuarantee if wrong else RiskGuarantee)


@given(seed=st.integers(0, 100), levels=st.integers(1, 8))
def test_tied_samples_are_answered_together_in_whatever_order(seed, levels):
    confidence, wrong = population(300, seed)
    confidence = (confidence * levels).floor()
    shuffle = torch.randperm(300, generator=torch.Generator().manual_seed(seed))
    outcome = select_threshold(confidence, wrong, 0.2)
    assert outcome == select_threshold(confidence[shuffle], wrong[shuffle], 0.2)
    if isinstance(outcome, RiskGuarantee):
        covered = confidence >= outcome.threshold
        assert (outcome.covered, outcome.errors) == (int(covered.sum()), int(wrong[covered].sum()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_threshold_cuts_the_calibration_set_where_it_says_in_its_own_precision(dtype):
    confidence, wrong = population(1000, seed=3)
    guarantee = select_threshold(confidence.to(dtype), wrong, 0.15)
    assert isinstance(guarantee, RiskGuarantee)
    assert int((confidence.to(dtype) >= guarantee.threshold).sum()) == guarantee.covered


@pytest.mark.parametrize(("max_risk", "n"), [(0.1, 400), (0.15, 200), (0.2, 100)])
def test_few_promises_are_broken_where_confidence_tells_right_from_wrong(max_risk, n):
    outcomes = [select_threshold(*population(n, seed), max_risk, 0.2) for seed in range(200)]
    guarantees = [outcome for outcome in outcomes if isinstance(outcome, RiskGuarantee)]
    assert len(guarantees) > 20
    assert sum(true_risk(guarantee.threshold) > guarantee.bound for guarantee in guarantees) <= 0.2 * len(outcomes)


def test_of_500_calibration_sets_at_most_one_in_twenty_breaks_a_promise_of_95_percent():
    outcomes = [select_threshold(*population(600, seed), 0.15, 0.05) for seed in range(500)]
    guarantees = [outcome for outcome in outcomes if isinstance(outcome, RiskGuarantee)]
    assert len(guarantees) > 250
    assert sum(true_risk(guarantee.threshold) > guarantee.max_risk for guarantee in guarantees) <= 0.05 * 500


def test_few_promises_are_made_where_any_would_be_broken():
    # The true risk is 0.3 at every threshold, so that each step has its own chance to be fooled.
    generator = np.random.default_rng(0)
    draws = [(torch.tensor(generator.random(256)), torch.tensor(generator.random(256) < 0.3)) for _ in range(400)]
    broken = [isinstance(select_threshold(*draw, 0.2999, 0.2), RiskGuarantee) for draw in draws]
    assert 0 < sum(broken) <= 0.2 * len(draws)


SCORES, WRONG = torch.tensor([0.1, 0.9]), torch.tensor([True, False])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(0), WRONG[:0], 0.1), "no sample"),
        ((SCORES, WRONG[:1], 0.1), r"shapes \[2\] and \[1\]"),
        ((torch.tensor([0.1, math.nan]), WRONG, 0.1), "sample 1: .*NaN"),
        ((torch.tensor([-math.inf, 0.1]), WRONG, 0.1), "sample 0: .*infinite"),
        ((SCORES, WRONG, 0.0), "max_risk is 0.0; expected a number above 0 and at most 1"),
        ((SCORES, WRONG, 2), "max_risk is 2"),
        ((SCORES, WRONG, math.nan), "max_risk is nan"),
        ((SCORES, WRONG, 0.1, 0.0), "delta is 0.0; expected a number above 0 and below 1"),
        ((SCORES, WRONG, 0.1, 95), "delta is 95"),
    ],
)
def test_what_cannot_be_guaranteed_on_is_refused(arguments, message):
    with pytest.raises(InputError, match=message) as raised:
        select_threshold(*arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2, 0.1), "errors is 3; expected a whole number at least 0 and at most 2"),
        ((-1, 2, 0.1), "errors is -1"),
        ((0, 0, 0.1), "n is 0"),
        ((0, 1, 1.0), "delta"),
    ],
)
def test_counts_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        risk_upper_bound(*arguments)


@pytest.mark.parametrize("max_risk", [0.02, 0.1, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("delta", [0.001, 0.05, 0.4])
def test_with_as_few_samples_as_are_needed_and_no_error_there_is_a_promise_and_with_one_less_none(max_risk, delta):
    needed = samples_needed(max_risk, delta)
    for n in range(max(1, needed - 3), needed + 1):
        outcome = select_threshold(torch.arange(n).double(), torch.zeros(n).bool(), max_risk, delta)
        assert isinstance(outcome, RiskGuarantee) == (n >= needed)


@pytest.mark.parametrize("numbers", [(0.0, 0.05), (1.1, 0.05), (0.02, 0.0), (0.02, 1.0)])
def test_how_many_samples_are_needed_for_what_cannot_be_is_not_answered(numbers):
    with pytest.raises(InputError):
        samples_needed(*numbers)
