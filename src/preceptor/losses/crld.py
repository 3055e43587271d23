"""Cross-view distillation: the student's output on each view of an image follows the teacher's on both."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column
from preceptor.errors import InputError, require_not_negative
from preceptor.losses.kl import kl_divergence
from preceptor.registry import register


def other_views(index: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """The row of the other view of each row's sample: the other row of the same index, or the row itself."""
    rows = torch.arange(len(index), device=index.device)
    other = (index.unsqueeze(1) == index) & (rows.unsqueeze(1) != rows)
    return torch.where(other.any(dim=1), other.int().argmax(dim=1), rows)


@register("loss", "crld", paper="Zhang et al., 2024, arXiv:2412.16493 (CRLD), as in github.com/arcaninez/CRLD")
@dataclass(frozen=True)
class CRLD:
    """Plain distillation on each view and across the views, where the teacher is sure enough.

    For the views v, w of an image, of which w is the other one: ``within 1[c_weak >= sure] T^2 KL(p_v || q_v) + across
    1[c_strong >= least] T^2 KL(p_w || q_v)``, where c is the teacher's confidence on the weak or the strong view at
    temperature 1. A batch holds both views of each image (``augment``: a weak and a strong augmentation with a comma
    between them), the weak one first; a row without another view is its own.

    The publication sums the losses of the two views; here they are two samples of a mean, so that its weights, those
    of the labels too, are doubled in the recipe. It also shows the student one view after the other, where batch norm
    here sees both at once.

    Args:
        within: weight on the same view, 0 or more. Default 2 (public code, for CIFAR-100).
        across: weight across views, 0 or more. Default 0.5 (public code).
        sure: least confidence of the teacher on the weak view for the first part. Default 0.9 (public code).
        least: least confidence on the strong view for the second part. Default 0.2 (public code).

    Raises:
        InputError: a weight below zero or not finite, or a confidence outside 0 to 1.
    """

    within: float = 2.0
    across: float = 0.5
    sure: float = 0.9
    least: float = 0.2
    target_space: ClassVar[TargetSpace] = "logits"
    zero_at_teacher: ClassVar[bool] = False  # the teacher's views differ
    wants_index: ClassVar[bool] = True
    two_views: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_not_negative("crld", within=self.within, across=self.across)
        for name in ("sure", "least"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"crld: {name} = {getattr(self, name)}: expected a confidence, 0 to 1")

    def __call__(
        self,
        student_logits: BatchClasses,
        target: BatchClasses,
        temperature: Temperatures,
        label: Classes,
        index: Int[Tensor, " batch"],
    ) -> PerSample:
        rows, other = torch.arange(len(index), device=index.device), other_views(index)
        confidence = target.softmax(dim=1).amax(dim=1)
        weak, strong = confidence[torch.minimum(rows, other)], confidence[torch.maximum(rows, other)]
        soft = (target / column(temperature)).log_softmax(dim=1)
        within = torch.where(weak >= self.sure, kl_divergence(student_logits, soft, temperature), 0)
        across = torch.where(strong >= self.least, kl_divergence(student_logits, soft[other], temperature), 0)
        return (self.within * within + self.across * across) * temperature**2
