"""KL divergence taken apart: one class against all others, and among a part of the classes."""

import torch
from jaxtyping import Bool
from torch import Tensor

from preceptor.context import BatchClasses, Classes, PerSample, at_class, is_class


def one_against_rest(log_probs: BatchClasses, index: Classes) -> tuple[PerSample, PerSample]:
    """``ln p_k`` and ``ln (1 - p_k)``, the latter as the sum of the others in log-space."""
    others = log_probs.masked_fill(is_class(log_probs, index), torch.finfo(log_probs.dtype).min)
    return at_class(log_probs, index), others.logsumexp(dim=1)


def binary_divergence(
    student_log_probs: BatchClasses, teacher_log_probs: BatchClasses, student_class: Classes, teacher_class: Classes
) -> PerSample:
    """``KL((p_j, 1 - p_j) || (q_k, 1 - q_k))``, j the teacher's class and k the student's."""
    of_teacher = one_against_rest(teacher_log_probs, teacher_class)
    of_student = one_against_rest(student_log_probs, student_class)
    divergence: Tensor = sum(p.exp() * (p - q) for p, q in zip(of_teacher, of_student, strict=True))  # type: ignore[assignment]
    return divergence


def log_probs_among(logits: BatchClasses, kept: Bool[Tensor, "batch classes"]) -> BatchClasses:
    """Log-probabilities over the kept classes of each row, renormalized; what stands at the others means nothing."""
    return logits.masked_fill(~kept, torch.finfo(logits.dtype).min).log_softmax(dim=1)


def divergence_among(
    student_logits: BatchClasses, teacher_logits: BatchClasses, kept: Bool[Tensor, "batch classes"]
) -> PerSample:
    """``KL`` over the kept classes of each row, renormalized; 0 where there is none. Logits or log-probabilities."""
    student, teacher = (log_probs_among(logits, kept) for logits in (student_logits, teacher_logits))
    return torch.where(kept, teacher.exp() * (teacher - student), 0).sum(dim=1)
