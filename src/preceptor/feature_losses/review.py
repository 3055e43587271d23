"""Knowledge review: each stage of the student, together with its deeper ones, reproduces a stage of the teacher.

Chen et al., "Distilling Knowledge via Knowledge Review" (ReviewKD), 2021, arXiv:2104.09044.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from preceptor.context import PerSample
from preceptor.errors import InputError
from preceptor.feature_losses.layers import PRE, LayerPairs
from preceptor.registry import register

WIDEST = 512
"""Most channels in which stages are fused (the publication's code)."""

LEVELS = (4, 2, 1)
"""Sides of the pooled maps that are compared beside the maps themselves."""


def hierarchical_error(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height width"]
) -> PerSample:
    """The publication's HCL: mean squared error of the maps and of maps pooled to 4x4, 2x2 and 1x1.

    Pooled maps count where they are smaller; the k-th that does counts 2^-k. The weights are divided by their sum.
    """
    levels = [level for level in LEVELS if level < min(student.shape[2:])]
    error = (student - teacher).square().mean(dim=(1, 2, 3))
    for k, level in enumerate(levels, start=1):
        pooled = functional.adaptive_avg_pool2d(student - teacher, level)
        error = error + pooled.square().mean(dim=(1, 2, 3)) / 2**k
    return error / sum(0.5**k for k in range(len(levels) + 1))


class Fusion(nn.Module):
    """The publication's ABF: a stage's map, fused with what comes from the deeper stages by two attention maps.

    Args:
        inputs: channels of the student's stage.
        middle: channels in which stages are fused.
        outputs: channels of the teacher's stage.
        deepest: whether no stage comes before it.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, *, deepest: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle))
        self.leave = nn.Sequential(nn.Conv2d(middle, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))
        self.attention = None if deepest else nn.Conv2d(2 * middle, 2, 1)

    def forward(self, maps: Tensor, deeper: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """The map that is compared with the teacher's of this size, and the one that the next stage is fused with."""
        fused: Tensor = self.enter(maps)
        if deeper is not None and self.attention is not None:
            deeper = functional.interpolate(deeper, size=fused.shape[2:], mode="nearest")
            share = self.attention(torch.cat([fused, deeper], dim=1)).sigmoid()
            fused = fused * share[:, :1] + deeper * share[:, 1:]
        if fused.shape[2:] != size:
            fused = functional.interpolate(fused, size=size, mode="nearest")
        return self.leave(fused), fused


@register("feature_loss", "review", paper="Chen et al., 2021, arXiv:2104.09044 (Knowledge Review, ReviewKD)")
class Review(LayerPairs):
    """Fused maps of the student, from its deepest stage to its first, reproduce the teacher's maps.

    The stages are the layers and, deepest of all, the last layer's map pooled to 1x1. The sum over stages of
    ``hierarchical_error(fusion(F_s), F_t)``; the fusions train with the student and do not ship with it. As in the
    publication's code the teacher's maps are those before the last ReLU of each layer (``PATH:pre``, see
    :class:`preceptor.models.features.FeatureModel`), but for the pooled one. That code pools what a network pools
    before its head, which in MobileNetV2, ShuffleNetV2 and wide students is a layer further.

    Args:
        layers: module path in the student -> module path in the teacher, from the first stage to the last; None pairs
            the stages from the last.
        activated: take the teacher's maps as the layers give them: for a teacher whose layers do not end in a ReLU.
            Default False.

    Raises:
        InputError: on the first batch, features that are no maps [batch, channels, height, width].
    """

    def __init__(self, layers: Mapping[str, str] | None = None, activated: bool = False) -> None:
        super().__init__(layers)
        self.activated = activated
        self.fusions = nn.ModuleList()

    def resolve_layers(self, student: Sequence[str], teacher: Sequence[str]) -> None:
        """Choose the layers, where none were given; the teacher's before their activation unless ``activated``.

        Raises:
            InputError: a network lists none.
        """
        super().resolve_layers(student, teacher)
        if not self.activated:
            self.layers = {own: other.removesuffix(PRE) + PRE for own, other in self.layers.items()}

    def build_adapters(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        self.check_maps(student, teacher)
        channels = [(shape[1], other[1]) for shape, other in zip(student, teacher, strict=True)]
        channels = [channels[-1], *reversed(channels)]
        middle = min(WIDEST, student[-1][1])
        self.fusions = nn.ModuleList(
            Fusion(inputs, middle, outputs, deepest=number == 0) for number, (inputs, outputs) in enumerate(channels)
        )

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> PerSample:
        """The loss of each sample.

        Raises:
            InputError: the fusions are not built.
        """
        if len(self.fusions) != len(student) + 1:
            raise InputError("review: its fusions are not built: call build_adapters with the features of a batch")
        dtype = next(self.fusions.parameters()).dtype  # a float64 network has float32 fusions
        errors, deeper = [], None
        pooled = teacher[-1] if self.activated else functional.relu(teacher[-1])
        stages = zip(_from_the_deepest(student, student[-1]), _from_the_deepest(teacher, pooled), strict=True)
        for fusion, (own, other) in zip(self.fusions, stages, strict=True):
            mapped, deeper = fusion(own.to(dtype), deeper, other.shape[2:])
            errors.append(hierarchical_error(mapped, other))
        return torch.stack(errors).sum(dim=0)


def _from_the_deepest(maps: Sequence[Tensor], last: Tensor) -> Iterator[Tensor]:
    yield last.mean(dim=(2, 3), keepdim=True)
    yield from reversed(maps)
