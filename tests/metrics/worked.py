"""The worked numbers of selective classification: risk against coverage, and thresholds with a guarantee."""

from unittest.mock import patch

import torch
from scipy.stats import binom
from torch import Tensor

from preceptor.metrics import NoGuarantee, RiskGuarantee, augrc, aurc, risk_control, select_threshold
from preceptor.metrics.risk_control import risk_upper_bound
from preceptor.metrics.scores import reservation_confidence, softmax_response
from preceptor.metrics.selective import Ranking, optimal_aurc, samples_kept
from tests.worked import VECTORS, Vector, checks, doubles, same


@checks("dg.coverage_error")
def error_of_the_least_reserved(vector: Vector) -> None:
    reservation, wrong = doubles(vector["reservation"]), ~torch.tensor(vector["correct"]).bool()
    outputs = torch.stack([(1 - reservation) / 2, (1 - reservation) / 2, reservation], dim=1).log()
    for confidence in (-reservation, reservation_confidence(outputs)):
        for percent, error in vector["errors"].items():
            kept = samples_kept(vector["n"], int(percent) / 100)
            assert kept == vector["kept_half_up"][percent]
            same(Ranking.of(confidence, wrong).error_among([kept])[0], error)


@checks("sel.rc_aurc", "sel.rc_perfect", "sel.rc_worst")
def curve_and_area(vector: Vector) -> None:
    confidence, wrong = doubles(vector["confidence"]), torch.tensor(vector["error"]).bool()
    ranking = Ranking.of(confidence, wrong)
    same(ranking.risk(), vector["risk"])
    same(aurc(confidence, wrong), vector["aurc"])
    same(ranking.excess_aurc(), vector["eaurc_finite"])
    if "coverage" in vector:
        same(ranking.ranks / ranking.n, vector["coverage"])
        same(optimal_aurc(int(wrong.sum()), len(wrong)), vector["aurc_star_finite"])
        same(optimal_aurc(int(wrong.sum()), len(wrong), "asymptotic"), vector["aurc_star_asymptotic"])
        same(ranking.excess_aurc("asymptotic"), vector["eaurc_asymptotic"])
        same(augrc(confidence, wrong), vector["augrc_mean"])
        others_areas(vector, ranking.risk())


def others_areas(vector: Vector, risk: Tensor) -> None:
    """What public code makes of the same curve, as the docstring of `aurc` says."""
    kept = torch.arange(1, len(risk) + 1)
    too_many = torch.where(kept < len(risk), kept + 1, kept)
    same((risk * kept / too_many).mean(), vector["aurc_geifman_code_off_by_one"])
    from_zero = torch.cat([risk[:1], risk])
    same(torch.trapezoid(from_zero, dx=1 / len(risk)), vector["aurc_fdshifts_trapezoid"])


@checks(*(key for key in VECTORS if key.startswith("sel.sgr_bound_")))
def bound(vector: Vector) -> None:
    found = risk_upper_bound(vector["errors"], vector["m"], vector["delta"])
    same(found, vector["bound"])
    same(binom.cdf(vector["errors"], vector["m"], found), vector["binom_cdf_at_bound"])
    if vector["closed_form_k0"] is not None:
        same(found, vector["closed_form_k0"])


def calibration_set(n: int) -> tuple[Tensor, Tensor]:
    i = torch.arange(n)
    unsure, middling, sure = i % 3 == 0, (i - 300) % 30 == 0, (i - 600) % 200 == 0
    return (i.double() + 0.5) / n, torch.where(i < 300, unsure, torch.where(i < 600, middling, sure))


@checks("sel.sgr_run_r0.05", "sel.sgr_run_r0.02")
def guaranteed_risk(vector: Vector) -> None:
    confidence, wrong = calibration_set(vector["m"])
    assert wrong.sum() == vector["total_errors"]
    with patch.object(risk_control, "risk_upper_bound", wraps=risk_upper_bound) as judge:
        outcome = select_threshold(confidence, wrong, vector["rstar"], vector["delta"])
    assert len(judge.mock_calls) == vector["iterations"]
    trace = vector["trace_z_theta_n_k_bound"]
    ordered = confidence.sort().values
    for call, (z, theta, covered, errors, limit) in zip(judge.mock_calls, trace, strict=True):
        assert call.args[:2] == (errors, covered)
        assert covered == vector["m"] - z + 1
        same(ordered[-covered], theta)
        same(call.args[2], vector["delta_per_step"])
        same(risk_upper_bound(*call.args), limit)
    if vector["result"] is None:
        assert isinstance(outcome, NoGuarantee)
        same(outcome.lowest_bound, min(row[4] for row in trace))
    else:
        assert isinstance(outcome, RiskGuarantee)
        expected = vector["result"]
        assert (outcome.covered, outcome.errors) == (expected["kept"], expected["errors"])
        same(outcome.threshold, expected["theta"])
        same(outcome.coverage, expected["coverage"])
        same(outcome.bound, expected["bound"])
        same(outcome.errors / outcome.covered, expected["empirical_risk"])


@checks("sel.temperature_reorders_msp")
def temperature_changes_the_order(vector: Vector) -> None:
    logits = doubles([vector["logits_a"], vector["logits_b"]])
    for temperature, expected in vector["msp"].items():
        same(softmax_response(logits / float(temperature)), expected)
    assert softmax_response(logits).argmax() != softmax_response(logits / 5).argmax()
