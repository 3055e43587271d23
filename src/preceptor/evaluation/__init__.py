"""How good a student is, and how sure one can be of a difference."""

from preceptor.evaluation.accuracy import (
    Metrics,
    evaluate,
    negative_log_likelihood,
    per_class_accuracy,
    topk_correct,
)
from preceptor.evaluation.statistics import PairedDifference, mean_and_deviation, paired_difference

__all__ = [
    "Metrics",
    "PairedDifference",
    "evaluate",
    "mean_and_deviation",
    "negative_log_likelihood",
    "paired_difference",
    "per_class_accuracy",
    "topk_correct",
]
