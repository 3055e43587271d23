"""Refined logit distillation: the teacher's confidence for the label, and its ranking below the label."""

from dataclasses import dataclass
from typing import ClassVar

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, at_class, column
from preceptor.errors import require_not_negative, require_positive
from preceptor.losses.divergences import binary_divergence, divergence_among
from preceptor.registry import register


def confidence_divergence(
    student_logits: BatchClasses, teacher_logits: BatchClasses, label: Classes, temperature: Temperatures
) -> PerSample:
    """SCD: ``KL((p_t[max], 1 - p_t[max]) || (p_s[y], 1 - p_s[y]))``, the teacher's confidence, for the label."""
    student, teacher = (
        (logits / column(temperature)).log_softmax(dim=1) for logits in (student_logits, teacher_logits)
    )
    # Of equal maxima any has the same probability.
    return binary_divergence(student, teacher, student_class=label, teacher_class=teacher.argmax(dim=1))


def masked_divergence(
    student_logits: BatchClasses, teacher_logits: BatchClasses, label: Classes, temperature: Temperatures
) -> PerSample:
    """MCD: ``KL`` over the classes that the teacher ranks below the label, renormalized; 0 where there is none."""
    below = teacher_logits < at_class(teacher_logits, label).unsqueeze(1)
    divisor = column(temperature)
    return divergence_among(student_logits / divisor, teacher_logits / divisor, below)


@register("loss", "rld", paper="Sun et al., ICCV 2025 (RLD), as in github.com/zju-SWJ/RLD")
@dataclass(frozen=True)
class RLD:
    """Teach the teacher's confidence for the label and its ranking below the label; mask what it ranks above.

    ``alpha T_a^2 SCD + beta T^2 MCD``. Where the teacher is right and ``T_a = T`` it is decoupled distillation (DKD).
    It needs no correction: what a wrong teacher ranks above the label is left out.

    Args:
        alpha: weight of SCD, 0 or more. Default 1 (public code).
        beta: weight of MCD, 0 or more. Default 8 (public code, for ResNet 32x4 to 8x4).
        confidence_temperature: ``T_a``, above 0; None is the loss's temperature. Default 1 (public code).

    Raises:
        InputError: a weight below zero, or a temperature that is not above zero.
    """

    alpha: float = 1.0
    beta: float = 8.0
    confidence_temperature: float | None = 1.0
    target_space: ClassVar[TargetSpace] = "logits"
    zero_at_teacher: ClassVar[bool] = False  # a wrong teacher has its confidence elsewhere
    uses_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_not_negative("rld", alpha=self.alpha, beta=self.beta)
        if self.confidence_temperature is not None:
            require_positive("rld", confidence_temperature=self.confidence_temperature)

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        of_confidence = temperature if self.confidence_temperature is None else self.confidence_temperature
        confidence = confidence_divergence(student_logits, target, label, of_confidence) * of_confidence**2
        ranking = masked_divergence(student_logits, target, label, temperature) * temperature**2
        return self.alpha * confidence + self.beta * ranking
