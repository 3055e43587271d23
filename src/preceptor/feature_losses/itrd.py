"""Information-theoretic distillation: correlation with the teacher's features, and what their similarities share.

Miles, Rodriguez, Mikolajczyk, "Information Theoretic Representation Distillation" (ITRD), 2022, arXiv:2112.00459.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from preceptor.context import PerSample, shares
from preceptor.errors import InputError
from preceptor.feature_losses.batch import directions, kept_rows, pair_shares
from preceptor.feature_losses.layers import PooledLayerPair, pooled, pooled_width
from preceptor.registry import register

LEAST_SUM = 1e-6
"""Added under the logarithm, which would fall without bound as the student comes to agree: this project's."""

LEAST_SPREAD = 1e-4
"""Floor under the standard deviation of a dimension, which bounds the gradient of a constant one: this project's."""


def correlations(
    first: Float[Tensor, "batch dimensions"], second: Float[Tensor, "batch dimensions"], weight: PerSample
) -> Float[Tensor, " dimensions"]:
    """Pearson correlation over the batch, dimension by dimension, rows weighted; 0 for a constant one."""
    share = shares(weight).unsqueeze(1)
    first, second = (rows - (share * rows).sum(dim=0) for rows in (first, second))
    spreads = [(share * rows.square()).sum(dim=0).clamp(min=LEAST_SPREAD**2).sqrt() for rows in (first, second)]
    return (share * first * second).sum(dim=0) / (spreads[0] * spreads[1])


def correlation_loss(
    student: Float[Tensor, "batch dimensions"],
    teacher: Float[Tensor, "batch dimensions"],
    weight: PerSample,
    alpha: float = 1.01,
) -> Float[Tensor, ""]:
    """``log2 sum_d ((1 - c_d)^2)^alpha``, c_d the correlation over the batch in dimension d; 0 for no weight.

    A dimension that is the same in every sample has a correlation of 0.
    """
    distance = (1 - correlations(student, teacher, weight)).square()
    return torch.where(weight.sum() > 0, (distance.pow(alpha).sum() + LEAST_SUM).log2(), 0)


def mutual_loss(
    student: Float[Tensor, "batch dimensions"], teacher: Float[Tensor, "batch dimensions2"], weight: PerSample
) -> Float[Tensor, ""]:
    """``sum_ij G_s^2 - (G_s o G_t)^2``, from 0 to 1, G the Gram matrices of features of length 1, of trace 1 each.

    The diagonal of a Gram matrix is 1 before its trace is made 1, so that of their product is too, and the sum is the
    mean over pairs of ``cos_s^2 (1 - cos_t^2)``.
    """
    own, other = (directions(kept_rows(features, weight)) for features in (student, teacher))
    cosines, cosines_t = own @ own.T, other @ other.T
    return (pair_shares(weight) * cosines.square() * (1 - cosines_t.square())).sum()


@register("feature_loss", "itrd", paper="Miles et al., 2022, arXiv:2112.00459 (ITRD)")
class InformationTheoretic(PooledLayerPair):
    """Correlation with the teacher's features, dimension by dimension, and similarities like the teacher's.

    ``correlation * log2 sum_d ((1 - c_d)^2)^alpha + mutual * sum_ij (G_s^2 - (G_s o G_t)^2)`` on pooled features,
    summed over the layers. The correlation is that of a learned linear map of the student's features to the teacher's
    dimensions, which does not ship; the Gram matrices are of the features as they are. The first part is below zero
    where the student agrees. It is a statistic of the batch.

    Args:
        correlation: weight of the first part. Default 2 (the publication's code).
        mutual: weight of the second. Default 1 (the same).
        alpha: order of the entropy, 1 or more. Default 1.01 (the same).
        layers: module path in the student -> module path in the teacher; None is what each network pools
            before its head.

    Raises:
        InputError: a weight below 0, both 0, or an order below 1.
    """

    batch_statistic: ClassVar[bool] = True

    def __init__(
        self,
        correlation: float = 2.0,
        mutual: float = 1.0,
        alpha: float = 1.01,
        layers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(layers)
        if not (correlation >= 0 and mutual >= 0 and 0 < correlation + mutual < float("inf")):
            raise InputError(
                f"itrd: correlation = {correlation}, mutual = {mutual}: expected weights of 0 or more, one above 0"
            )
        if not 1 <= alpha < float("inf"):
            raise InputError(f"itrd: alpha = {alpha}: expected a number from 1 on")
        self.correlation, self.mutual, self.alpha = correlation, mutual, alpha
        self.embeddings = nn.ModuleList()

    def build_adapters(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        self.embeddings = nn.ModuleList(
            nn.Linear(pooled_width(shape), pooled_width(other)) for shape, other in zip(student, teacher, strict=True)
        )

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], weight: PerSample) -> Float[Tensor, ""]:
        if len(self.embeddings) != len(student):
            raise InputError("itrd: its embeddings are not built: call build_adapters with the features of a batch")
        total = weight.new_zeros(())
        for embed, *pair in zip(self.embeddings, student, teacher, strict=True):
            own, other = (kept_rows(pooled(features), weight) for features in pair)
            dtype = next(embed.parameters()).dtype
            embedded = embed(own.to(dtype)).to(own.dtype)  # a float64 network has float32 embeddings
            total = total + self.correlation * correlation_loss(embedded, other, weight, self.alpha)
            total = total + self.mutual * mutual_loss(own, other, weight)
        return total

    def extra_repr(self) -> str:
        return f"correlation={self.correlation}, mutual={self.mutual}, alpha={self.alpha}"
