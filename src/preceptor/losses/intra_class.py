"""DIST's intra-class loss: correlation, over the batch, of each class's probability with the teacher's."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column, shares
from preceptor.losses.correlation import MIN_NORM
from preceptor.registry import register


def weighted_pearson(
    first: BatchClasses, second: BatchClasses, weight: PerSample, eps: float = MIN_NORM
) -> Float[Tensor, " classes"]:
    """Pearson correlation of each column with the same column of the other tensor, rows weighted; 0 for a constant one.

    With weights of 0 and 1 it is the correlation over the rows of weight 1, bit for bit, whatever the other rows hold.
    ``eps`` is a floor under the norm of each centered column, as in :func:`~preceptor.losses.pearson`: it bounds the
    gradient where a class has the same probability in every row.
    """
    share = shares(weight).unsqueeze(1)
    first, second = (torch.where(share > 0, rows, 0) for rows in (first, second))
    first = first - (share * first).sum(dim=0)
    second = second - (share * second).sum(dim=0)
    products = (share * first * second).sum(dim=0)
    # Shares sum to 1, so these are norms over sqrt(total); clamped before the root, which has no gradient at 0.
    floor = eps**2 / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    norms = [(share * rows.square()).sum(dim=0).clamp(min=floor).sqrt() for rows in (first, second)]
    return products / (norms[0] * norms[1])


def intra_class_loss(
    student_logits: BatchClasses, target_log_probs: BatchClasses, temperature: Temperatures, weight: PerSample
) -> Float[Tensor, ""]:
    """``1 - mean over classes of rho(p_T[:, c], q_T[:, c])``, from 0 to 2; 0 when no row has weight.

    Huang et al., "Knowledge Distillation from A Stronger Teacher" (DIST), 2022, arXiv:2205.10536, equation 10. Its code
    multiplies by T squared; a correlation does not shrink with T, so the factor belongs into the term's weight.
    """
    student = (student_logits / column(temperature)).softmax(dim=1)
    rho = weighted_pearson(student, target_log_probs.exp(), weight)
    return torch.where(weight.sum() > 0, 1 - rho.mean(), 0)


@register("loss", "intra_class", paper="Huang et al., 2022, arXiv:2205.10536 (DIST, the intra-class term)")
@dataclass(frozen=True)
class IntraClass:
    """One minus the correlation, over the batch, of each class's probability with the teacher's; mean over classes.

    It is a statistic of the batch: a sample's weight is the weight of its row.
    """

    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = True
    batch_statistic: ClassVar[bool] = True

    def __call__(
        self,
        student_logits: BatchClasses,
        target: BatchClasses,
        temperature: Temperatures,
        label: Classes,
        weight: PerSample,
    ) -> Float[Tensor, ""]:
        return intra_class_loss(student_logits, target, temperature, weight)
