"""Matches: how far the student is from the teacher's word."""

from preceptor.match.kl import KL, kl_divergence
from preceptor.match.squared_error import (
    SquaredErrorLogits,
    SquaredErrorProbs,
    squared_error_logits,
    squared_error_probs,
)

__all__ = [
    "KL",
    "SquaredErrorLogits",
    "SquaredErrorProbs",
    "kl_divergence",
    "squared_error_logits",
    "squared_error_probs",
]
