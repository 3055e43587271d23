"""Relational distillation: distances between images, and angles of triplets of them, in feature space."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from preceptor.context import PerSample, shares
from preceptor.errors import InputError
from preceptor.feature_losses.batch import inverse_root, kept_rows, pair_shares
from preceptor.feature_losses.layers import PooledLayerPair, pooled
from preceptor.registry import register

CHUNK = 256
"""Samples at whose corner angles are computed at a time: of a larger batch the cube of angles is never held whole."""

LEAST_DISTANCE = 1e-6
"""Of two equal rows: the root of the 1e-12 under a squared distance in RepDistiller."""


def relative_distances(features: Float[Tensor, "batch dimensions"], weight: PerSample) -> Float[Tensor, "batch batch"]:
    """Euclidean distances between rows, divided by their mean over pairs of different samples; zero diagonal."""
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist").clamp(min=LEAST_DISTANCE)
    different = 1 - torch.eye(len(features), dtype=features.dtype, device=features.device)
    pairs = different * pair_shares(weight)
    mean = (pairs * distances).sum() / pairs.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    return different * distances / mean.clamp(min=LEAST_DISTANCE)


def distance_loss(
    student: Float[Tensor, "batch dimensions"], teacher: Float[Tensor, "batch dimensions2"], weight: PerSample
) -> Float[Tensor, ""]:
    """``mean_ij huber(D_s - D_t)`` of relative distances, Huber's threshold 1."""
    own, other = relative_distances(student, weight), relative_distances(teacher, weight)
    return (functional.smooth_l1_loss(own, other, reduction="none") * pair_shares(weight)).sum()


def _angles_at(
    corners: Float[Tensor, "corners dimensions"], features: Float[Tensor, "batch dimensions"]
) -> Float[Tensor, "corners batch batch"]:
    """``cos`` of the angle at each corner between the directions to two samples; 0 where one is the corner."""
    to = features - corners.unsqueeze(1)
    products = to @ to.transpose(1, 2)
    inverse = inverse_root(products.diagonal(dim1=1, dim2=2))  # of the lengths
    return products * inverse.unsqueeze(1) * inverse.unsqueeze(2)


def angle_loss(
    student: Float[Tensor, "batch dimensions"],
    teacher: Float[Tensor, "batch dimensions2"],
    weight: PerSample,
    chunk: int = CHUNK,
) -> Float[Tensor, ""]:
    """``mean_ijk huber(cos_s - cos_t)`` of the angle at j between i and k.

    Time grows with the cube of the batch. Above ``chunk`` samples so does not memory: angles are computed chunk by
    chunk, and again in the backward pass.
    """
    pairs, share = pair_shares(weight), shares(weight)

    def at(corner: slice) -> Tensor:
        own, other = _angles_at(student[corner], student), _angles_at(teacher[corner], teacher)
        return share[corner] @ (functional.smooth_l1_loss(own, other, reduction="none").flatten(1) @ pairs.flatten())

    size = len(student)
    call: Callable[..., Any] = at if size <= chunk else lambda corner: checkpoint(at, corner, use_reentrant=False)
    return torch.stack([call(slice(first, first + chunk)) for first in range(0, size, chunk)]).sum()


@register("feature_loss", "relational", paper="Park et al., 2019, arXiv:1904.05068 (Relational KD, RKD)")
class Relational(PooledLayerPair):
    """Distances between the samples of a batch, and angles of all triplets, follow the teacher's.

    ``distance * mean_ij huber(D_s - D_t) + angle * mean_ijk huber(cos_s - cos_t)`` on pooled features, summed over the
    layers. D are Euclidean distances over their mean, so the scale of either network does not matter. It is a statistic
    of the batch.

    Args:
        distance: weight of the distances. Default 25 (RepDistiller on CIFAR-100).
        angle: weight of the angles, whose cost grows with the cube of the batch; 0 leaves them out. Default 50.
        layers: module path in the student -> module path in the teacher; None is what each network pools
            before its head.

    Raises:
        InputError: a weight below 0, or both 0.
    """

    batch_statistic: ClassVar[bool] = True

    def __init__(self, distance: float = 25.0, angle: float = 50.0, layers: Mapping[str, str] | None = None) -> None:
        super().__init__(layers)
        if not (distance >= 0 and angle >= 0 and 0 < distance + angle < float("inf")):
            raise InputError(
                f"relational: distance = {distance}, angle = {angle}: expected weights of 0 or more, one above 0"
            )
        self.distance, self.angle = distance, angle

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], weight: PerSample) -> Float[Tensor, ""]:
        total = weight.new_zeros(())
        for pair in zip(student, teacher, strict=True):
            one, other = (kept_rows(pooled(features), weight) for features in pair)
            if self.distance:
                total = total + self.distance * distance_loss(one, other, weight)
            if self.angle:
                total = total + self.angle * angle_loss(one, other, weight)
        return total

    def extra_repr(self) -> str:
        return f"distance={self.distance}, angle={self.angle}"
