"""How good a student is, and how sure one can be of a difference."""

from preceptor.evaluation.accuracy import (
    Metrics,
    evaluate,
    negative_log_likelihood,
    per_class_accuracy,
    topk_correct,
)
from preceptor.evaluation.risk_control import NoPromise, Promise, risk_upper_bound, select_threshold
from preceptor.evaluation.selective import (
    COVERAGES,
    RiskCoverage,
    SelectiveMetrics,
    augrc,
    aurc,
    error_at_coverage,
    excess_aurc,
    optimal_aurc,
    reservation_confidence,
    risk_coverage,
    samples_kept,
    selective_metrics,
    softmax_response,
)
from preceptor.evaluation.statistics import PairedDifference, mean_and_deviation, paired_difference

__all__ = [
    "COVERAGES",
    "Metrics",
    "NoPromise",
    "PairedDifference",
    "Promise",
    "RiskCoverage",
    "SelectiveMetrics",
    "augrc",
    "aurc",
    "error_at_coverage",
    "evaluate",
    "excess_aurc",
    "mean_and_deviation",
    "negative_log_likelihood",
    "optimal_aurc",
    "paired_difference",
    "per_class_accuracy",
    "reservation_confidence",
    "risk_coverage",
    "risk_upper_bound",
    "samples_kept",
    "select_threshold",
    "selective_metrics",
    "softmax_response",
    "topk_correct",
]
