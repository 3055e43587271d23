"""Kullback-Leibler divergence from the teacher's distribution to the student's."""

from dataclasses import dataclass
from typing import ClassVar

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column
from preceptor.registry import register


def kl_divergence(
    student_logits: BatchClasses, target_log_probs: BatchClasses, temperature: Temperatures = 1.0
) -> PerSample:
    """``sum_i p_i (ln p_i - ln q_i)`` per sample, with ``q = softmax(z / T)`` and ``p`` in log-space.

    The target's log-probabilities must be finite (every correction here keeps them so).
    """
    student_log_probs = (student_logits / column(temperature)).log_softmax(dim=1)
    return (target_log_probs.exp() * (target_log_probs - student_log_probs)).sum(dim=1)


@register("loss", "kl", paper="Hinton, Vinyals, Dean, 2015, arXiv:1503.02531")
@dataclass(frozen=True)
class KL:
    """Kullback-Leibler divergence at the loss's temperature, times T squared.

    Args:
        temperature_squared: multiply each sample's loss by its own T^2, which keeps the size of the gradient
            when T changes. Default True (Hinton et al., section 2).
    """

    temperature_squared: bool = True
    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = True

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        divergence = kl_divergence(student_logits, target, temperature)
        return divergence * temperature**2 if self.temperature_squared else divergence
