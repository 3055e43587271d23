"""Probabilistic knowledge transfer: the distribution over its neighbors that each sample sees in feature space."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.context import PerSample, shares
from preceptor.feature_losses.batch import directions, kept_rows, pair_shares
from preceptor.feature_losses.layers import PooledLayerPair, pooled
from preceptor.registry import register

EPS = 1e-7
"""Added to probabilities under the logarithm (RepDistiller)."""


def neighbor_probabilities(
    features: Float[Tensor, "batch dimensions"], weight: PerSample
) -> Float[Tensor, "batch batch"]:
    """``K_ij / sum_k K_ik`` with the kernel ``K = (1 + cos) / 2``; the sample itself is among its neighbors.

    The sum is over samples of a weight above zero, as many as these times their weighted mean.
    """
    unit = directions(kept_rows(features, weight))
    kernel = (1 + unit @ unit.T) / 2
    total = (weight > 0).sum() * (kernel * shares(weight)).sum(dim=1, keepdim=True)
    return kernel / total.clamp(min=EPS)


def pkt_loss(
    student: Float[Tensor, "batch dimensions"], teacher: Float[Tensor, "batch dimensions2"], weight: PerSample
) -> Float[Tensor, ""]:
    """``mean_ij P_t ln((P_t + eps) / (P_s + eps))``; 0 when no sample has weight.

    The sum over neighbors, averaged over samples, is larger by the batch size: it is RepDistiller's mean over pairs.
    """
    own, other = (neighbor_probabilities(features, weight) for features in (student, teacher))
    divergence = other * ((other + EPS) / (own + EPS)).log()
    return (divergence * pair_shares(weight)).sum()


@register("feature_loss", "pkt", paper="Passalis, Tefas, 2018, arXiv:1803.10837 (PKT)")
class ProbabilisticTransfer(PooledLayerPair):
    """Kullback-Leibler divergence between the teacher's and the student's distributions over neighbors in the batch.

    ``mean_ij P_t ln(P_t / P_s)`` of cosine kernels on pooled features, summed over the layers. The literature's weight
    on CIFAR-100 is 30000 (RepDistiller), which the recipe ``pkt`` uses. It is a statistic of the batch.

    Args:
        layers: module path in the student -> module path in the teacher; None is what each network pools
            before its head.
    """

    batch_statistic: ClassVar[bool] = True

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], weight: PerSample) -> Float[Tensor, ""]:
        losses = [pkt_loss(pooled(one), pooled(other), weight) for one, other in zip(student, teacher, strict=True)]
        return torch.stack(losses).sum()
