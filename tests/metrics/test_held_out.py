import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss

from preceptor.errors import InputError
from preceptor.metrics import Predictions, aurc, choose_p_norm, confidence, fit_temperature
from preceptor.metrics.scores import max_logit_p_norm, softmax_response
from tests.metrics.samples import answered, honest, softmax


class Spoken(ClassifierMixin, BaseEstimator):
    """A classifier, as scikit-learn knows it, whose decision is its input."""

    def __init__(self, classes):
        self.classes = classes
        self.classes_ = np.arange(classes)

    def fit(self, logits, labels):
        return self

    def decision_function(self, logits):
        return logits

    def predict(self, logits):
        return logits.argmax(axis=1)


@pytest.mark.parametrize("boldness", [0.3, 1.0, 4.0])
def test_it_is_scikit_learns_and_the_minimum_of_the_likelihood(boldness):
    logits, labels = honest(500, 4, seed=0)
    logits = boldness * logits
    fit = fit_temperature(logits, labels)
    theirs = CalibratedClassifierCV(FrozenEstimator(Spoken(4)), method="temperature").fit(logits.numpy(), labels)
    best = minimize_scalar(
        lambda log: log_loss(labels, softmax(logits / np.exp(log))), bounds=(-4, 4), method="bounded"
    )
    assert fit.temperature == pytest.approx(np.exp(best.x), rel=1e-3)
    np.testing.assert_allclose(softmax(logits / fit.temperature), theirs.predict_proba(logits.numpy()), atol=1e-3)
    assert fit.nll_after == pytest.approx(best.fun, abs=1e-9)
    assert fit.nll_before == pytest.approx(log_loss(labels, softmax(logits)))
    assert (fit.samples, fit.at_limit) == (500, False)


@pytest.mark.parametrize("boldness", [0.2, 1.0, 7.0])
def test_it_undoes_a_boldness(boldness):
    logits, labels = honest(50_000, 5, seed=1)
    assert fit_temperature(boldness * logits, labels).temperature == pytest.approx(boldness, rel=0.03)


def test_the_unlabeled_are_left_out():
    logits, labels = answered(200)
    keep = torch.arange(200) % 3 > 0
    assert fit_temperature(logits, labels.where(keep, -1)) == fit_temperature(logits[keep], labels[keep])
    with pytest.raises(InputError, match="no labeled sample"):
        fit_temperature(logits, torch.full_like(labels, -1))


def test_where_all_is_right_it_stops_at_the_lowest_and_where_all_is_wrong_at_the_highest():
    logits, labels = torch.eye(3), torch.arange(3)
    sure, lost = fit_temperature(logits, labels), fit_temperature(logits, labels.roll(1))
    assert (sure.temperature, sure.at_limit) == (0.01, True)
    assert (lost.temperature, lost.at_limit) == (100, True)
    assert sure.nll_after < sure.nll_before
    assert lost.nll_after < lost.nll_before


def test_large_logits_stay_finite():
    logits, labels = honest(300, 4, seed=2)
    fit = fit_temperature((3000 * logits).float(), labels)
    assert np.isfinite([fit.temperature, fit.nll_before, fit.nll_after]).all()
    assert fit.at_limit


def of_odd_scale(seed=0):
    """Samples whose logits are stretched at random: softmax response is misled, a direction is not."""
    logits, labels = answered(600, 6, seed=seed)
    stretch = torch.rand(600, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(3).exp()
    return logits * stretch, logits.argmax(dim=1) != labels


def test_the_best_p_is_found_and_beats_softmax_response_on_new_samples():
    logits, wrong = of_odd_scale()
    choice = choose_p_norm(logits, wrong)
    areas = {p: aurc(max_logit_p_norm(logits, p), wrong) for p in range(9)}
    assert choice.score == "max_logit_p_norm"
    assert choice.aurc == min(areas.values()) == areas[choice.options["p"]]
    assert choice.aurc_of_softmax_response == aurc(softmax_response(logits), wrong) > choice.aurc
    assert choice.samples == 600
    others, wrong_there = of_odd_scale(seed=1)
    found = confidence(choice.score, Predictions(others), **choice.options)
    assert aurc(found, wrong_there) < aurc(softmax_response(others), wrong_there)


def test_where_no_p_helps_it_is_softmax_response():
    """With two classes the centerd logits are (a, -a), whose normalized maximum is the same for all samples."""
    logits, labels = answered(300, 2)
    choice = choose_p_norm(logits, logits.argmax(dim=1) != labels, norms=[1, 2, 4])
    assert (choice.score, choice.options) == ("softmax_response", {})
    assert choice.aurc == choice.aurc_of_softmax_response


def test_without_an_error_nothing_can_be_better():
    logits, _ = answered(50, 6)
    assert choose_p_norm(logits, torch.zeros(50, dtype=torch.bool)).score == "softmax_response"


def test_the_smallest_p_of_equals():
    """With two classes every p-norm ties all samples, which is better than to be surest where it is wrong."""
    logits = torch.tensor([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    choice = choose_p_norm(logits, torch.tensor([False, False, True]), norms=[4, 1, 2])
    assert choice.options == {"p": 1}
    assert choice.aurc == pytest.approx(1 / 3)


def test_without_a_p_there_is_nothing_to_try():
    with pytest.raises(InputError, match="norms is empty; expected at least one"):
        choose_p_norm(*of_odd_scale(), norms=[])
