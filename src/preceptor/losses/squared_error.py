"""Squared errors between student and teacher, on logits and on probabilities."""

from dataclasses import dataclass
from typing import ClassVar

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column
from preceptor.registry import register


def squared_error_logits(student_logits: BatchClasses, target_logits: BatchClasses) -> PerSample:
    """``mean_i (z_i - t_i)^2`` per sample, over classes. A constant added to either row changes it."""
    return (student_logits - target_logits).square().mean(dim=1)


def squared_error_probs(
    student_logits: BatchClasses, target_log_probs: BatchClasses, temperature: Temperatures = 1.0
) -> PerSample:
    """``mean_i (softmax(z / T)_i - p_i)^2`` per sample, over classes."""
    probs = (student_logits / column(temperature)).softmax(dim=1)
    return (probs - target_log_probs.exp()).square().mean(dim=1)


@register(
    "loss",
    "squared_error_logits",
    paper="Ba, Caruana, 2014, arXiv:1312.6184; used by Lan et al., 2024, arXiv:2404.03693",
)
@dataclass(frozen=True)
class SquaredErrorLogits:
    """Squared error on logits, mean over classes; the temperature has no effect on uncorrected samples.

    A corrected sample's target is ``t + T (ln p' - ln p)``: the raw logits where nothing was corrected, the swapped
    logits under probability shift.
    """

    target_space: ClassVar[TargetSpace] = "logits"
    zero_at_teacher: ClassVar[bool] = True

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        return squared_error_logits(student_logits, target)


@register("loss", "squared_error_probs", paper="Lan et al., 2024, arXiv:2404.03693, as re-implemented in RLD")
@dataclass(frozen=True)
class SquaredErrorProbs:
    """Squared error on probabilities at the loss's temperature, mean over classes, without a factor T^2."""

    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = True

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        return squared_error_probs(student_logits, target, temperature)
