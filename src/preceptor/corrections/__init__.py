"""Corrections: what the teacher's word becomes where it is wrong."""

from preceptor.corrections.label_revision import LabelRevision, label_revision, revision_beta
from preceptor.corrections.label_smoothing import LabelSmoothing, smoothed_one_hot, truth_probability
from preceptor.corrections.probability_shift import ProbabilityShift, probability_shift

__all__ = [
    "LabelRevision",
    "LabelSmoothing",
    "ProbabilityShift",
    "label_revision",
    "probability_shift",
    "revision_beta",
    "smoothed_one_hot",
    "truth_probability",
]
