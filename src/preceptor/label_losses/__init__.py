"""Label losses: per-sample losses of the student against the label."""

from preceptor.label_losses.cross_entropy import CrossEntropy, LabelSmoothedCrossEntropy
from preceptor.label_losses.entropy import Entropy
from preceptor.label_losses.virtual_teacher import VirtualTeacher

__all__ = ["CrossEntropy", "Entropy", "LabelSmoothedCrossEntropy", "VirtualTeacher"]
