"""Ground truth: what the label itself teaches."""

from preceptor.label_losses.cross_entropy import CrossEntropy, LabelSmoothedCrossEntropy
from preceptor.label_losses.entropy import Entropy

__all__ = ["CrossEntropy", "Entropy", "LabelSmoothedCrossEntropy"]
