"""Decoupled distillation: the label's probability, and the distribution over the other classes."""

from dataclasses import dataclass
from typing import ClassVar

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column, is_class
from preceptor.errors import require_not_negative
from preceptor.losses.divergences import binary_divergence, divergence_among
from preceptor.registry import register


def target_class_divergence(
    student_logits: BatchClasses, target_log_probs: BatchClasses, label: Classes, temperature: Temperatures
) -> PerSample:
    """TCKD: ``KL((p_y, 1 - p_y) || (q_y, 1 - q_y))``, with ``q = softmax(z / T)``."""
    student = (student_logits / column(temperature)).log_softmax(dim=1)
    return binary_divergence(student, target_log_probs, student_class=label, teacher_class=label)


def non_target_divergence(
    student_logits: BatchClasses, target_log_probs: BatchClasses, label: Classes, temperature: Temperatures
) -> PerSample:
    """NCKD: ``KL`` over the classes but the label's, renormalized. The student's logit of the label has no part."""
    others = ~is_class(target_log_probs, label)
    return divergence_among(student_logits / column(temperature), target_log_probs, others)


@register("loss", "dkd", paper="Zhao et al., 2022, arXiv:2203.08679 (DKD), as in github.com/megvii-research/mdistiller")
@dataclass(frozen=True)
class DKD:
    """Weigh the teacher's confidence in the label and its distribution over the other classes apart.

    ``T^2 (alpha TCKD + beta NCKD)``. With alpha = 1 and ``beta = 1 - p_y`` for each sample it would be the divergence
    of plain distillation, in which a sure teacher's distribution over the other classes hardly counts.

    Args:
        alpha: weight of TCKD, 0 or more. Default 1 (public code).
        beta: weight of NCKD, 0 or more. Default 8 (public code, for ResNet 32x4 to 8x4 on CIFAR-100; it has 2 for
            ResNet 56 to 20, 6 for VGG 13 to 8, and 0.5 at T = 1 for ResNet 34 to 18 on ImageNet).

    Raises:
        InputError: a weight below zero, or not finite.
    """

    alpha: float = 1.0
    beta: float = 8.0
    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = True
    uses_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_not_negative("dkd", alpha=self.alpha, beta=self.beta)

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        of_label = target_class_divergence(student_logits, target, label, temperature)
        of_others = non_target_divergence(student_logits, target, label, temperature)
        return (self.alpha * of_label + self.beta * of_others) * temperature**2
