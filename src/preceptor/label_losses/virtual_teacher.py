"""Teacher-free distillation: a designed teacher that is right on every label and says nothing of the other classes."""

import math
from dataclasses import dataclass

import torch

from preceptor.context import BatchClasses, Classes, PerSample, is_class
from preceptor.errors import InputError, require_positive
from preceptor.registry import register


def designed_probs(logits: BatchClasses, label: Classes, correct_prob: float) -> BatchClasses:
    """``a`` at the label and ``(1 - a) / (C - 1)`` elsewhere, in the shape and type of ``logits``."""
    elsewhere = (1 - correct_prob) / (logits.shape[1] - 1)
    return torch.full_like(logits, elsewhere).masked_fill(is_class(logits, label), correct_prob)


@register(
    "label_loss",
    "virtual_teacher",
    paper="Yuan et al., 2020, arXiv:1909.11723 (Tf-KD, regularization); reconstruction: how its target is softened",
)
@dataclass(frozen=True)
class VirtualTeacher:
    """Plain distillation from a designed teacher, which is ``a`` sure of the label and of nothing else.

    ``T^2 KL(p_T || softmax(z / T))``, ``p_T`` the designed probabilities softened as a network's would be: in
    proportion to ``p^(1 / T)``. It is a regularization as label smoothing is, and no teacher is needed. The factor T
    squared is this project's.

    Args:
        correct_prob: ``a``, above 0 and below 1. Default 0.99 (public code).
        temperature: T, above 0. Default 20.
        faithful: ``KL(softmax(p / T) || softmax(z))``, as the public code has it: probabilities taken for logits, which
            makes a nearly uniform target, and a student that is not softened. There it is averaged over classes, too,
            and multiplied by a factor. Default False.

    Raises:
        InputError: a probability outside 0 to 1, or a temperature that is not a finite number above 0.
    """

    correct_prob: float = 0.99
    temperature: float = 20.0
    faithful: bool = False

    def __post_init__(self) -> None:
        require_positive("virtual_teacher", temperature=self.temperature)
        if not 0 < self.correct_prob < 1:
            raise InputError(f"virtual_teacher: correct_prob = {self.correct_prob}: expected above 0 and below 1")

    def check_classes(self, classes: int) -> None:
        """Refuse a probability with which the label would not lead.

        Raises:
            InputError: it is at most 1 / classes.
        """
        if self.correct_prob * classes <= 1 + math.ulp(1):
            raise InputError(
                f"virtual_teacher: correct_prob = {self.correct_prob} with {classes} classes: expected more than "
                f"1 / {classes}, so that the label leads"
            )

    def __call__(self, student_logits: BatchClasses, label: Classes) -> PerSample:
        probs, softness = designed_probs(student_logits, label, self.correct_prob), self.temperature
        teacher = ((probs if self.faithful else probs.log()) / softness).log_softmax(dim=1)
        if self.faithful:
            return _divergence(teacher, student_logits)
        return softness**2 * _divergence(teacher, student_logits / softness)


def _divergence(teacher_log_probs: BatchClasses, student_logits: BatchClasses) -> PerSample:
    difference = teacher_log_probs - student_logits.log_softmax(dim=1)
    return (teacher_log_probs.exp() * difference).sum(dim=1)
