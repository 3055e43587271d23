"""Local dense relations: the leading classes two by two, all together, and the classes behind them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column
from preceptor.errors import InputError, require_not_negative
from preceptor.losses.divergences import divergence_among
from preceptor.registry import register

RankedBy = Literal["student", "teacher"]
"""Whose logits say which classes lead."""

SCALE, OFFSET, DECAY = 2.0, 1.5, 0.05
"""Constants of the weight of a pair (public code)."""


def pairs_divergence(student_logits: BatchClasses, teacher_logits: BatchClasses) -> PerSample:
    """``sum_{i < j} w_ij KL`` of the softmax over columns i and j alone, where columns stand in order of rank.

    ``w_ij = 2 / (1.5 + j - i) exp(-0.05 (i + j))``, ranks from 1.
    """
    student, teacher = (logits.unsqueeze(2) - logits.unsqueeze(1) for logits in (student_logits, teacher_logits))
    divergence = sum(
        logsigmoid(sign * teacher).exp() * (logsigmoid(sign * teacher) - logsigmoid(sign * student)) for sign in (1, -1)
    )
    rank = torch.arange(1, student_logits.shape[1] + 1, device=student_logits.device, dtype=student_logits.dtype)
    apart = rank - rank.unsqueeze(1)
    weight = SCALE / (OFFSET + apart.abs()) * (-DECAY * (rank + rank.unsqueeze(1))).exp()
    total: Tensor = (torch.where(apart > 0, weight, 0) * divergence).sum(dim=(1, 2))
    return total


@register("loss", "ldrld", paper="Xu et al., 2025, arXiv:2507.15911 (LDRLD), as in github.com/yema-web/LDRLD")
@dataclass(frozen=True)
class LDRLD:
    """Compare the leading classes two by two and all together, and the classes behind them, with the teacher's.

    ``T^2 (alpha (pairs + all) / (k (k - 1) / 2 + 1) + beta rest)``: the divergence of each pair of the k leading
    classes, weighted more the nearer and the higher they rank; that over the k together; that over the other classes.
    None sees the odds between leading classes and the others.

    Args:
        alpha: weight of the leading classes, 0 or more. Default 10.5 (public code, for ResNet 32x4 to 8x4).
        beta: weight of the other classes, 0 or more. Default 7 (the same).
        depth: k, 2 or more; all classes where there are fewer. Default 7 (public code).
        ranked_by: whose logits rank the classes. Default "student" (public code); "teacher" is how the method is
            described elsewhere.

    Raises:
        InputError: a weight below zero, or a depth below 2.
    """

    alpha: float = 10.5
    beta: float = 7.0
    depth: int = 7
    ranked_by: RankedBy = "student"
    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_not_negative("ldrld", alpha=self.alpha, beta=self.beta)
        if self.depth < 2:
            raise InputError(f"ldrld: depth = {self.depth}: expected 2 or more classes to compare")

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        student, depth = student_logits / column(temperature), min(self.depth, target.shape[1])
        ranked = student.detach() if self.ranked_by == "student" else target
        leading = ranked.argsort(dim=1, descending=True, stable=True)[:, :depth]
        own, other = student.gather(1, leading), target.gather(1, leading)
        together = divergence_among(own, other, torch.ones_like(own, dtype=torch.bool))
        local = (pairs_divergence(own, other) + together) / (depth * (depth - 1) / 2 + 1)
        behind = torch.ones_like(target, dtype=torch.bool).scatter(1, leading, False)
        rest = divergence_among(student, target, behind)
        return (self.alpha * local + self.beta * rest) * temperature**2
