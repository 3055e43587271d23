"""Multi-level logit distillation with two views of each image: the published loss in full."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column, shares
from preceptor.losses.crld import other_views
from preceptor.losses.kl import kl_divergence
from preceptor.losses.mlkd import MLKD
from preceptor.registry import register


@register(
    "loss",
    "mlkd_views",
    paper="Jin, Wang, Lin, 2023, CVPR (MLKD), as in github.com/Jin-Ying/Multi-Level-Logit-Distillation",
)
@dataclass(frozen=True)
class MLKDViews:
    """MLKD on the weak view of each image, and its divergences of single samples, without a mask, on the strong one.

    The loss ``mlkd`` over the rows that are weak views, and ``sum_T mean_i T^2 KL`` over those that are strong ones. A
    batch holds both views of each image, the weak one first (see :class:`~preceptor.losses.CRLD`); without strong views
    it is ``mlkd``.

    Args:
        more_temperatures, faithful: as for :class:`~preceptor.losses.MLKD`. That the public code takes the weak view's
            logits for the strong one at two temperatures is not followed in either case.

    Raises:
        InputError: a temperature that is not a finite number above 0.
    """

    more_temperatures: Sequence[float] = (3.0, 5.0, 2.0, 6.0)
    faithful: bool = False
    target_space: ClassVar[TargetSpace] = "logits"
    zero_at_teacher: ClassVar[bool] = True
    batch_statistic: ClassVar[bool] = True
    wants_index: ClassVar[bool] = True
    two_views: ClassVar[bool] = True

    def __post_init__(self) -> None:
        MLKD(self.more_temperatures)

    def __call__(
        self,
        student_logits: BatchClasses,
        target: BatchClasses,
        temperature: Temperatures,
        label: Classes,
        index: Int[Tensor, " batch"],
        weight: PerSample,
    ) -> Float[Tensor, ""]:
        is_strong = other_views(index) < torch.arange(len(index), device=index.device)
        mlkd = MLKD(self.more_temperatures, self.faithful)
        of_weak = mlkd(student_logits, target, temperature, label, torch.where(is_strong, 0, weight))
        strong = shares(torch.where(is_strong, weight, 0))
        present = (strong > 0).unsqueeze(1)
        student, teacher = (torch.where(present, logits, 0) for logits in (student_logits, target))
        divergences = [
            kl_divergence(student, (teacher / column(one)).log_softmax(dim=1), one) * one**2
            for one in (temperature, *self.more_temperatures)
        ]
        return of_weak + (strong * torch.stack(divergences).sum(dim=0)).sum()
