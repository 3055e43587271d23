"""Prediction sets against those of MAPIE, through its public interface, where it is installed."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin

from preceptor.metrics import SetRule, SetTarget, calibrate_sets, prediction_sets
from preceptor.metrics.conformal import conformal_quantile, nonconformity
from tests.metrics.samples import honest, softmax

classification = pytest.importorskip("mapie.classification", reason="MAPIE is not installed")


class Spoken(ClassifierMixin, BaseEstimator):
    """A classifier, as scikit-learn knows it, whose probabilities are its input."""

    def __init__(self, classes):
        self.classes = classes
        self.classes_ = np.arange(classes)
        self.n_features_in_ = classes

    def fit(self, probabilities, labels):
        return self

    def predict_proba(self, probabilities):
        return np.asarray(probabilities)

    def predict(self, probabilities):
        return np.asarray(probabilities).argmax(axis=1)


def calibrated(score, logits, labels, alpha, seed=None):
    theirs = classification.SplitConformalClassifier(Spoken(5), 1 - alpha, score, prefit=True, random_state=seed)
    return theirs.conformalize(softmax(logits), labels.numpy())


CALIBRATION, LABELS = honest(400, 5, seed=0)
NEW, _ = honest(300, 5, seed=1)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_the_sets_of_the_likeliest_are_the_same(alpha):
    theirs = calibrated("lac", CALIBRATION, LABELS, alpha).predict_set(softmax(NEW))[1][:, :, 0]
    ours = prediction_sets(NEW, calibrate_sets(CALIBRATION, LABELS, SetTarget(alpha=alpha)), allow_empty=True)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_randomized_adaptive_sets_are_the_same(alpha):
    """Their share is the one left out, drawn anew from the same seed for calibration and for prediction."""
    theirs = calibrated("aps", CALIBRATION, LABELS, alpha, seed=3)
    share = [torch.tensor(1 - np.random.RandomState(3).uniform(size=n)) for n in (400, 300)]
    rule = SetRule("aps", alpha, None, 400, randomized=True)
    own = nonconformity(CALIBRATION, rule, share[0]).gather(1, LABELS[:, None]).squeeze(1)
    np.testing.assert_allclose(own, theirs.conformity_scores.ravel(), atol=1e-12)
    rule = SetRule("aps", alpha, conformal_quantile(own, alpha), 400, randomized=True)
    sets = theirs.predict_set(softmax(NEW), {"include_last_label": "randomized"})[1][:, :, 0]
    np.testing.assert_array_equal(prediction_sets(NEW, rule, share[1], allow_empty=True), sets)
