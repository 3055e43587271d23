"""Entropy-based adaptive distillation: more of the teacher where it, and the student, are undecided."""

import math
from dataclasses import dataclass
from typing import ClassVar

from preceptor.context import BatchClasses, BatchContext, PerSample
from preceptor.errors import require_positive
from preceptor.registry import register


def softened_entropy(logits: BatchClasses, temperature: float) -> PerSample:
    """Entropy at a temperature, in nats: from 0 to ln C."""
    log_probs = (logits / temperature).log_softmax(dim=1)
    return -(log_probs.exp() * log_probs).sum(dim=1).clamp(max=0)  # rounding alone exceeds it


@register("selection", "ea", paper="Su et al., 2025, arXiv:2311.13621 (EA-KD), as in github.com/cpsu00/EA-KD")
@dataclass(frozen=True)
class EA:
    """Weigh each sample by the entropy of the teacher, more where the student is undecided too.

    ``w = H_t (1 + H_s / ln C) / 2``, detached, from 0 to ln C, whatever temperature the losses have. It looks at no
    label, and at the logits as they are, before a temperature rescales them.

    Args:
        temperature: of both entropies, above 0. Default 3 (public code).
        faithful: divide the student's entropy by 100, as the public code does on CIFAR-100, not by ln C. Default False:
            100 is the number of classes, not the largest entropy, and the student hardly counts.

    Raises:
        InputError: the temperature is not a finite number above 0.
    """

    temperature: float = 3.0
    faithful: bool = False
    PUBLISHED_BOUND: ClassVar[float] = 100.0

    def __post_init__(self) -> None:
        require_positive("ea", temperature=self.temperature)

    def __call__(self, context: BatchContext) -> PerSample:
        classes = context.teacher_logits.shape[1]
        student = context.student_logits[:, :classes].to(context.teacher_logits.dtype)
        of_teacher = softened_entropy(context.teacher_logits, self.temperature)
        of_student = softened_entropy(student, self.temperature)
        largest = self.PUBLISHED_BOUND if self.faithful else math.log(classes)
        return of_teacher * (1 + of_student / largest) / 2
