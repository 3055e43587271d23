"""Attention transfer: where in the image the activations are large."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from preceptor.context import PerSample
from preceptor.feature_losses.layers import LayerPairs
from preceptor.registry import register


def attention_map(features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch pixels"]:
    """Mean squared activation over the channels, flattened and normalized to Euclidean length 1 per sample."""
    return functional.normalize(features.square().mean(dim=1).flatten(1), dim=1)


def attention_distance(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels2 height2 width2"]
) -> PerSample:
    """Mean squared difference of two attention maps; the larger map is average-pooled to the size of the smaller."""
    height, width = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    maps = [attention_map(functional.adaptive_avg_pool2d(one, (height, width))) for one in (student, teacher)]
    return (maps[0] - maps[1]).square().mean(dim=1)


@register("feature_loss", "attention", paper="Zagoruyko, Komodakis, 2017, arXiv:1612.03928 (attention transfer)")
class Attention(LayerPairs):
    """Distance between spatial attention maps, summed over the layers.

    ``sum_l mean_hw (A(F_s^l) - A(F_t^l))^2`` with ``A(F) = vec(mean_c F^2) / ||vec(mean_c F^2)||_2``. The literature's
    weight on CIFAR-100 is 1000 (RepDistiller, mdistiller), which the recipe ``at`` uses.

    Args:
        layers: module path in the student -> module path in the teacher; None pairs the stages from the last.

    Raises:
        InputError: on the first batch, features that are no maps [batch, channels, height, width].
    """

    def __init__(self, layers: Mapping[str, str] | None = None) -> None:
        super().__init__(layers)

    def build_adapters(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        """Nothing to build: maps of unequal size are pooled. Checks that they are maps."""
        self.check_maps(student, teacher)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> PerSample:
        distances = [attention_distance(one, other) for one, other in zip(student, teacher, strict=True)]
        return torch.stack(distances).sum(dim=0)
