"""Prediction sets against those of MAPIE, through its public interface, where it is installed."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from preceptor.metrics import SetRule
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


CALIBRATION, LABELS = honest(400, 5, seed=0)
NEW, _ = honest(300, 5, seed=1)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_the_sets_of_the_likeliest_are_the_same(alpha):
    mapie = classification.SplitConformalClassifier(Spoken(5), 1 - alpha, "lac", prefit=True)
    theirs = mapie.conformalize(softmax(CALIBRATION), LABELS.numpy()).predict_set(softmax(NEW))[1][:, :, 0]
    rule = SetRule("lac", alpha, None, 400)
    own = nonconformity(CALIBRATION, rule).gather(1, LABELS[:, None]).squeeze(1)
    np.testing.assert_array_equal(nonconformity(NEW, rule) <= conformal_quantile(own, alpha), theirs)
