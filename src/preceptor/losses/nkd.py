"""Normalized knowledge distillation: soft cross-entropy on the label's class, and on the others renormalized."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, at_class, column, is_class
from preceptor.errors import require_not_negative
from preceptor.losses.divergences import log_probs_among
from preceptor.registry import register


def target_cross_entropy(student_logits: BatchClasses, teacher_logits: BatchClasses, label: Classes) -> PerSample:
    """``-p_y ln q_y`` at temperature 1."""
    student, teacher = (at_class(logits.log_softmax(dim=1), label) for logits in (student_logits, teacher_logits))
    return -teacher.exp() * student


def non_target_cross_entropy(
    student_logits: BatchClasses, teacher_logits: BatchClasses, label: Classes, temperature: Temperatures
) -> PerSample:
    """``-sum_{c != y} p'_c ln q'_c`` over the classes but the label's, renormalized, at the temperature.

    The student's logit of the label has no part. It differs from the divergence by the teacher's entropy.
    """
    others = ~is_class(teacher_logits, label)
    student, teacher = (
        log_probs_among(logits / column(temperature), others) for logits in (student_logits, teacher_logits)
    )
    return -torch.where(others, teacher.exp() * student, 0).sum(dim=1)


@register("loss", "nkd", paper="Yang et al., 2023, arXiv:2303.13005 (NKD), as in github.com/yzd-v/cls_KD")
@dataclass(frozen=True)
class NKD:
    """Cross-entropy with the teacher's confidence in the label, and with its distribution over the other classes.

    ``-p_y ln q_y - gamma T^2 sum_{c != y} p'_c ln q'_c``: the first at temperature 1, the second of distributions
    without the label's class, each summing to 1.

    Args:
        gamma: weight of the other classes, 0 or more. Default 1.5 (public code, ImageNet at T = 1; it has 3.5 at T = 3
            on CIFAR-100).

    Raises:
        InputError: the weight is below zero, or not finite.
    """

    gamma: float = 1.5
    target_space: ClassVar[TargetSpace] = "logits"
    zero_at_teacher: ClassVar[bool] = False  # a cross-entropy
    uses_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_not_negative("nkd", gamma=self.gamma)

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        of_label = target_cross_entropy(student_logits, target, label)
        of_others = non_target_cross_entropy(student_logits, target, label, temperature)
        return of_label + self.gamma * of_others * temperature**2
