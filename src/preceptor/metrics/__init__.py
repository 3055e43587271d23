"""Metrics of classifiers, with intervals; confidence scores; risk guarantees and prediction sets.

What is not named here is in the submodules: single metrics of selective classification in `selective`, scores in
`scores`, measures of agreement with a teacher in `agreement`, decisions for a model's card in `decisions`.
"""

from preceptor.metrics.accuracy import Metrics, brier_score, evaluate, negative_log_likelihood
from preceptor.metrics.bootstrap import Estimate, bootstrap_intervals, share_estimate
from preceptor.metrics.calibration import Reliability, calibration_error, reliability
from preceptor.metrics.class_thresholds import ClassGuarantees, select_class_thresholds
from preceptor.metrics.conformal import SetMetrics, SetRule, SetTarget, calibrate_sets, prediction_sets, set_metrics
from preceptor.metrics.decisions import RiskTarget
from preceptor.metrics.held_out import TemperatureFit, choose_p_norm, fit_temperature
from preceptor.metrics.report import FullReport
from preceptor.metrics.reporting import full_report
from preceptor.metrics.risk_control import NoGuarantee, RiskGuarantee, samples_needed, select_threshold
from preceptor.metrics.score_registry import SCORES, Predictions, confidence
from preceptor.metrics.selective import SelectiveMetrics, augrc, aurc, selective_metrics
from preceptor.metrics.statistics import PairedDifference, mean_and_deviation, paired_difference

__all__ = [
    "SCORES",
    "ClassGuarantees",
    "Estimate",
    "FullReport",
    "Metrics",
    "NoGuarantee",
    "PairedDifference",
    "Predictions",
    "Reliability",
    "RiskGuarantee",
    "RiskTarget",
    "SelectiveMetrics",
    "SetMetrics",
    "SetRule",
    "SetTarget",
    "TemperatureFit",
    "augrc",
    "aurc",
    "bootstrap_intervals",
    "brier_score",
    "calibrate_sets",
    "calibration_error",
    "choose_p_norm",
    "confidence",
    "evaluate",
    "fit_temperature",
    "full_report",
    "mean_and_deviation",
    "negative_log_likelihood",
    "paired_difference",
    "prediction_sets",
    "reliability",
    "samples_needed",
    "select_class_thresholds",
    "select_threshold",
    "selective_metrics",
    "set_metrics",
    "share_estimate",
]
