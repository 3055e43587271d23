"""Similarity-preserving distillation: which images of a batch look alike to the network."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.context import PerSample
from preceptor.feature_losses.batch import inverse_root, kept_rows, pair_shares
from preceptor.feature_losses.layers import LastLayerPair
from preceptor.registry import register


def similarities(features: Float[Tensor, "batch ..."], weight: PerSample) -> Float[Tensor, "batch batch"]:
    """``F F^T`` with rows of Euclidean length 1, from features flattened to one row a sample.

    Rows and columns of weight zero are zero, and so is the row of a sample whose features are all zero.
    """
    rows = kept_rows(features, weight)
    products = rows @ rows.T
    return products * inverse_root(products.square().sum(dim=1, keepdim=True))


def similarity_loss(
    student: Float[Tensor, "batch ..."], teacher: Float[Tensor, "batch ..."], weight: PerSample
) -> Float[Tensor, ""]:
    """``sum_ij (G_t - G_s)_ij^2 / B^2``, the mean over pairs of samples; 0 when no sample has weight.

    With weights of 0 and 1 it is the loss of the samples of weight 1.
    """
    difference = similarities(teacher, weight) - similarities(student, weight)
    return (difference.square() * pair_shares(weight)).sum()


@register("feature_loss", "similarity", paper="Tung, Mori, 2019, arXiv:1907.09682 (Similarity-Preserving, SP)")
class Similarity(LastLayerPair):
    """Squared difference between the similarities of all pairs of a batch; features of any shape.

    ``mean_ij (G_s - G_t)_ij^2``, ``G = F F^T`` with rows of length 1, summed over the layers. The literature's weight
    on CIFAR-100 is 3000 (RepDistiller), which the recipe ``sp`` uses. It is a statistic of the batch: other batch sizes
    give other values.

    Args:
        layers: module path in the student -> module path in the teacher; None is the last stage of each.
    """

    batch_statistic: ClassVar[bool] = True

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], weight: PerSample) -> Float[Tensor, ""]:
        losses = [similarity_loss(one, other, weight) for one, other in zip(student, teacher, strict=True)]
        return torch.stack(losses).sum()
