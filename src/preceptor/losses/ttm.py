"""Transformed teacher matching: a power of the teacher's probabilities, for a student at its own temperature."""

from dataclasses import dataclass
from typing import ClassVar

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures
from preceptor.errors import require_positive
from preceptor.losses.kl import kl_divergence
from preceptor.registry import register, registered_name


def power_transform(log_probs: BatchClasses, gamma: float) -> tuple[BatchClasses, PerSample]:
    """``ln(p^gamma / U)`` and ``U = sum_c p_c^gamma``: the teacher at temperature 1 / gamma, and its power sum.

    U is 1 for a certain teacher, and C^(1 - gamma) for an undecided one.
    """
    powers = gamma * log_probs
    return powers.log_softmax(dim=1), powers.logsumexp(dim=1).exp()


@register("loss", "ttm", paper="Zheng, Yang, 2024, arXiv:2402.11148 (TTM), as in github.com/zkxufo/TTM")
@dataclass(frozen=True)
class TTM:
    """Divergence from a power of the teacher's probabilities to the student's, without a factor T squared.

    ``KL(p^gamma / U || q)``, p and q at the loss's temperature, which is 1 in the paper: the teacher is softened to
    1 / gamma and the student is not.

    Args:
        gamma: the power, above 0; below 1 it softens. Default 0.1 (paper, for VGG 13 to 8 on CIFAR-100).

    Raises:
        InputError: the power is not a finite number above 0.
    """

    gamma: float = 0.1
    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = False  # smallest at the softened teacher

    def __post_init__(self) -> None:
        require_positive(registered_name(self), gamma=self.gamma)

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        return kl_divergence(student_logits, power_transform(target, self.gamma)[0], temperature)


@register("loss", "wttm", paper="Zheng, Yang, 2024, arXiv:2402.11148 (WTTM), as in github.com/zkxufo/TTM")
@dataclass(frozen=True)
class WTTM(TTM):
    """TTM, each sample weighted by the power sum of the teacher's probabilities: more where the teacher is undecided.

    ``U KL(p^gamma / U || q)``, p and q at the loss's temperature, which is 1 in the paper.

    Args:
        gamma: the power, above 0. Default 0.2 (paper, beside CRD).

    Raises:
        InputError: the power is not a finite number above 0.
    """

    gamma: float = 0.2

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        transformed, power_sum = power_transform(target, self.gamma)
        return power_sum * kl_divergence(student_logits, transformed, temperature)
