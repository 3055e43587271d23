"""Ground truth: what the label itself teaches."""

from preceptor.truth.cross_entropy import CrossEntropy, LabelSmoothedCrossEntropy
from preceptor.truth.entropy import Entropy

__all__ = ["CrossEntropy", "Entropy", "LabelSmoothedCrossEntropy"]
