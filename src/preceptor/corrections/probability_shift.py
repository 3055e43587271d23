"""Probability Shift: a swap of the probabilities of the teacher's top class and the label."""

from dataclasses import dataclass

from preceptor.component_types import Scope
from preceptor.context import BatchClasses, Classes, swapped
from preceptor.registry import register


def probability_shift(values: BatchClasses, label: Classes, teacher_class: Classes) -> BatchClasses:
    """Swap each row's values at the teacher's class and at the label.

    As a permutation it applies to logits, log-probabilities and probabilities alike, and commutes with the softmax at
    any temperature. It is the identity where the teacher is right.

    Wen, Lai and Qian, "Preparing Lessons: Improve Knowledge Distillation with Better Supervision",
    arXiv:1911.07471 (Knowledge Adjustment, PS).
    """
    return swapped(values, teacher_class, label)


@register("correction", "probability_shift", paper="Wen, Lai, Qian, 2019, arXiv:1911.07471 (Knowledge Adjustment, PS)")
@dataclass(frozen=True)
class ProbabilityShift:
    """Swap the probabilities of the teacher's top class and the label, where the teacher is wrong."""

    @property
    def apply_to(self) -> Scope:
        """Always "wrong": on a right sample the swap is the identity."""
        return "wrong"

    def __call__(self, log_probs: BatchClasses, label: Classes, teacher_class: Classes) -> BatchClasses:
        return probability_shift(log_probs, label, teacher_class)
