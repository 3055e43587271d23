import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss

from preceptor.errors import InputError
from preceptor.metrics import fit_temperature
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
