"""Cross-entropy with the label, plain and smoothed."""

from dataclasses import dataclass

from torch.nn import functional as F

from preceptor.context import BatchOutputs, Classes, PerSample
from preceptor.errors import InputError
from preceptor.registry import register


@register("label_loss", "cross_entropy", paper="textbook")
@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy with the label at temperature 1: ``-ln softmax(z)_y`` per sample."""

    def __call__(self, student_logits: BatchOutputs, label: Classes) -> PerSample:
        return F.cross_entropy(student_logits, label, reduction="none")


@register("label_loss", "label_smoothing", paper="Szegedy et al., 2016, arXiv:1512.00567")
@dataclass(frozen=True)
class LabelSmoothedCrossEntropy:
    """Cross-entropy with the target ``(1 - eps) onehot(y) + eps / C``.

    Args:
        eps: share of the probability that is spread evenly over the classes, 0 to 1. Default 0.1 (Szegedy et al.).
    """

    eps: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.eps <= 1:
            raise InputError(f"label_smoothing: eps = {self.eps}: expected 0 to 1")

    def __call__(self, student_logits: BatchOutputs, label: Classes) -> PerSample:
        return F.cross_entropy(student_logits, label, reduction="none", label_smoothing=self.eps)
