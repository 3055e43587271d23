"""Ground truth: what the label itself teaches."""

from preceptor.truth.cross_entropy import CrossEntropy, LabelSmoothedCrossEntropy

__all__ = ["CrossEntropy", "LabelSmoothedCrossEntropy"]
