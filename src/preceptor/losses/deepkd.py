"""The two divergences of decoupled distillation as losses of their own, for optimizers that keep them apart."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from preceptor.component_types import GradientSource, TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column, is_class
from preceptor.errors import InputError
from preceptor.losses.divergences import divergence_among
from preceptor.losses.dkd import target_class_divergence
from preceptor.registry import register

PAPER = "Huang et al., 2025, arXiv:2505.15133 (DeepKD); Zhao et al., 2022, arXiv:2203.08679 (DKD)"


def leading_non_targets(
    target_log_probs: BatchClasses, label: Classes, share: float, *, with_label: bool = False
) -> Bool[Tensor, "batch classes"]:
    """The classes but the label's that have the largest probability, a share of them, at least two; ties all count.

    ``with_label`` ranks the label's class too, and leaves it out of those that are found.
    """
    others = ~is_class(target_log_probs, label)
    count = min(max(2, math.ceil(share * (target_log_probs.shape[1] - 1))), target_log_probs.shape[1] - 1)
    ranked = target_log_probs
    if not with_label:
        ranked = target_log_probs.masked_fill(~others, torch.finfo(target_log_probs.dtype).min)
    least = ranked.topk(count, dim=1).values[:, -1:]
    return others & (ranked >= least)


@register("loss", "tckd", paper=PAPER)
@dataclass(frozen=True)
class TCKD:
    """The divergence of the label's probability: one part of DKD, with a momentum of its own under optimizer deepkd.

    ``T^2 KL((p_y, 1 - p_y) || (q_y, 1 - q_y))``, with ``q = softmax(z / T)``.
    """

    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = True
    uses_label: ClassVar[bool] = True
    gradient_source: ClassVar[GradientSource] = "target"

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        return target_class_divergence(student_logits, target, label, temperature) * temperature**2


@register("loss", "nckd", paper=PAPER)
@dataclass(frozen=True)
class NCKD:
    """The divergence over the classes but the label's: the other part of DKD, with a momentum of its own.

    ``T^2 KL`` over the kept classes, renormalized. With ``share`` below 1 these are the ones of largest probability for
    the teacher: DeepKD's mask, whose share rises in training from 0.05 to 1, here in terms that follow one another.

    Args:
        share: of the classes but the label's, above 0, at most 1; at least two classes are kept. Default 1: all.
            Of classes of equal probability all are kept or none.
        faithful: rank the label's class among the others before it is left out, as the public code does, which keeps
            one class fewer where it is among the first. Default False.

    Raises:
        InputError: a share outside 0 to 1.
    """

    share: float = 1.0
    faithful: bool = False
    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = True
    uses_label: ClassVar[bool] = True
    gradient_source: ClassVar[GradientSource] = "non_target"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"nckd: share = {self.share}: expected a number above 0, at most 1")

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        kept = ~is_class(target, label)
        if self.share < 1:
            kept = leading_non_targets(target, label, self.share, with_label=self.faithful)
        return divergence_among(student_logits / column(temperature), target, kept) * temperature**2
