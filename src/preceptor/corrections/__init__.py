"""Corrections: changes to the teacher's output where its prediction is wrong."""

from preceptor.corrections.label_revision import LabelRevision, label_revision, revision_beta
from preceptor.corrections.label_smoothing import LabelSmoothing, label_probability, smoothed_one_hot
from preceptor.corrections.probability_shift import ProbabilityShift, probability_shift

__all__ = [
    "LabelRevision",
    "LabelSmoothing",
    "ProbabilityShift",
    "label_probability",
    "label_revision",
    "probability_shift",
    "revision_beta",
    "smoothed_one_hot",
]
