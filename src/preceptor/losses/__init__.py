"""Losses: distances of the student's logits from the teacher's corrected output."""

from preceptor.losses.correlation import (
    CMKD,
    Pearson,
    Spearman,
    difficulty,
    pearson,
    pearson_loss,
    spearman_loss,
    z_score,
)
from preceptor.losses.intra_class import IntraClass, intra_class_loss
from preceptor.losses.kl import KL, kl_divergence
from preceptor.losses.soft_rank import permutahedron_soft_rank, window_soft_rank
from preceptor.losses.squared_error import (
    SquaredErrorLogits,
    SquaredErrorProbs,
    squared_error_logits,
    squared_error_probs,
)

__all__ = [
    "CMKD",
    "KL",
    "IntraClass",
    "Pearson",
    "Spearman",
    "SquaredErrorLogits",
    "SquaredErrorProbs",
    "difficulty",
    "intra_class_loss",
    "kl_divergence",
    "pearson",
    "pearson_loss",
    "permutahedron_soft_rank",
    "spearman_loss",
    "squared_error_logits",
    "squared_error_probs",
    "window_soft_rank",
    "z_score",
]
