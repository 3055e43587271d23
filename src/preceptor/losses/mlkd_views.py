"""Multi-level logit distillation with two views of each image: the published loss in full."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, shares
from preceptor.losses.crld import other_views
from preceptor.losses.mlkd import MLKD, present_rows
from preceptor.registry import register

_WEAK_IN_PUBLIC_CODE = (3, 4)
"""At which of its temperatures 4, 3, 5, 2 and 6 the public code takes the weak view's logits for the strong one's."""


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
        more_temperatures, standardized: as for :class:`~preceptor.losses.MLKD`.
        faithful: as there; and the last two of the strong view's divergences (temperatures 2 and 6) are of the weak
            one, as in the public code. Default False.

    Raises:
        InputError: a temperature that is not a finite number above 0.
    """

    more_temperatures: Sequence[float] = (3.0, 5.0, 2.0, 6.0)
    faithful: bool = False
    standardized: bool = False
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
        of_weak_view, of_strong_view = (torch.where(view, weight, 0) for view in (~is_strong, is_strong))
        mlkd = MLKD(self.more_temperatures, self.faithful, self.standardized)
        student, teacher = present_rows(weight, student_logits, target)
        factors = mlkd.factors(teacher.softmax(dim=1), of_weak_view)
        weak, strong = shares(of_weak_view), shares(of_strong_view)
        rows = [
            factors[0] * weak + (weak if self.faithful and number in _WEAK_IN_PUBLIC_CODE else strong)
            for number in range(1 + len(self.more_temperatures))
        ]
        instances = (torch.stack(rows) * mlkd.divergences(student, teacher, temperature)).sum()
        return instances + mlkd.relations(student, teacher, temperature, of_weak_view, *factors)
