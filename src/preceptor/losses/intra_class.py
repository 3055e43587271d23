"""DIST's intra-class term: how each class's probability varies over the batch, held to the teacher's."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.context import column
from preceptor.registry import TargetSpace, register


def weighted_pearson(
    first: Float[Tensor, "batch classes"],
    second: Float[Tensor, "batch classes"],
    weight: Float[Tensor, " batch"],
    eps: float = 1e-8,
) -> Float[Tensor, " classes"]:
    """Pearson correlation of each column of one with the same column of the other, rows weighted; 0 for a constant one.

    With weights of 0 and 1 it is the correlation over the rows of weight 1, bit for bit whatever stands in the others.
    ``eps`` is a floor under the product of the lengths of the two centerd columns, as sums over the rows (as in DIST).
    """
    total = weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    share = (weight / total).unsqueeze(1)
    first, second = (torch.where(share > 0, rows, 0) for rows in (first, second))
    first = first - (share * first).sum(dim=0)
    second = second - (share * second).sum(dim=0)
    products = (share * first * second).sum(dim=0)
    squares = (share * first.square()).sum(dim=0) * (share * second.square()).sum(dim=0)
    varies = squares > 0
    lengths = torch.where(varies, squares, 1).sqrt()  # the root has no gradient at 0
    return torch.where(varies, products / torch.maximum(lengths, eps / total), 0)


def intra_class_loss(
    student_logits: Float[Tensor, "batch classes"],
    target_log_probs: Float[Tensor, "batch classes"],
    temperature: float | Float[Tensor, " batch"],
    weight: Float[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """``1 - mean over classes of rho(p_T[:, c], q_T[:, c])``, from 0 to 2; 0 when no row has weight.

    Huang et al., "Knowledge Distillation from A Stronger Teacher" (DIST), 2022, arXiv:2205.10536, equation 10, without
    the factor T squared of its code: with a correlation that is a plain weight, so the term's weight holds it.
    """
    student = (student_logits / column(temperature)).softmax(dim=1)
    rho = weighted_pearson(student, target_log_probs.exp(), weight)
    return torch.where(weight.sum() > 0, 1 - rho.mean(), 0)


@register("loss", "intra_class", paper="Huang et al., 2022, arXiv:2205.10536 (DIST, the intra-class term)")
@dataclass(frozen=True)
class IntraClass:
    """One minus the correlation, over the batch, of each class's probability with the teacher's; mean over classes.

    A statistic of the batch: the samples' weights are the weights of its rows.
    """

    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = True
    batch_statistic: ClassVar[bool] = True

    def __call__(
        self,
        student_logits: Float[Tensor, "batch classes"],
        target: Float[Tensor, "batch classes"],
        temperature: float | Float[Tensor, " batch"],
        label: Int[Tensor, " batch"],
        weight: Float[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Apply :func:`intra_class_loss`."""
        return intra_class_loss(student_logits, target, temperature, weight)
