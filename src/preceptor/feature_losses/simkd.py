"""SimKD's loss: a student with a projector of its own reproduces the maps that its teacher's classifier takes."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from preceptor.context import PerSample
from preceptor.errors import InputError
from preceptor.feature_losses.layers import PooledLayerPair
from preceptor.registry import register


def maps_error(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height2 width2"]
) -> PerSample:
    """``mean_chw (F_s - F_t)^2``; the larger map is average-pooled to the size of the smaller."""
    size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    own, other = (
        one if one.shape[2:] == size else functional.adaptive_avg_pool2d(one, size) for one in (student, teacher)
    )
    return (own - other).square().mean(dim=(1, 2, 3))


@register("feature_loss", "simkd", paper="Chen et al., 2022, arXiv:2203.14001 (SimKD)")
class SimKD(PooledLayerPair):
    """Mean squared error between maps of equal channels, as they are, summed over the layers.

    ``sum_l mean_chw (F_s^l - F_t^l)^2``, no weights of its own. The publication's student, of which it is the only
    loss, is ``simkd{width}-NAME``: a network, a projector to the teacher's ``width`` channels and the teacher's
    classifier (:class:`preceptor.models.simkd.SimKDStudent`). There a larger map of the student is pooled before the
    projector (``simkd{width}x{side}-NAME``), here after it unless the student does so.

    Args:
        layers: module path in the student -> module path in the teacher; None is the map that each network pools before
            its head, of a student with a projector the projected one.

    Raises:
        InputError: on the first batch, features that are no maps, or of unequal channels.
    """

    equal_channels: ClassVar[bool] = True

    def build_adapters(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        """Nothing to build: checks that the layers give maps of equal channels."""
        self.check_maps(student, teacher)
        for (layer, path), own, other in zip(self.layers.items(), student, teacher, strict=True):
            if own[1] != other[1]:
                raise InputError(
                    f"simkd: layer {layer!r} has {own[1]} channels, the teacher's {path!r} {other[1]}: choose a "
                    f"student with a projector to as many, such as simkd{other[1]}-resnet8x4, or other layers"
                )

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> PerSample:
        errors = [maps_error(own, other) for own, other in zip(student, teacher, strict=True)]
        return torch.stack(errors).sum(dim=0)
