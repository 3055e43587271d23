"""Layer pairs: what every feature loss has in common."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.registry import registered_name

PRE = ":pre"
"""What follows a layer's path where its map before the activation is meant; see ``models.features.FeatureModel``."""


class LayerPairs(nn.Module):
    """Base class of feature losses: which layer of the student is compared with which layer of the teacher.

    ``forward(student, teacher)`` gets the features of each pair of layers, [batch, ...] each, and returns the loss of
    each sample. What else it may ask for is in :class:`preceptor.component_types.FeatureLoss`.

    Args:
        layers: module path in the student -> module path in the teacher, for example ``{"layer3": "layer3"}``. None
            (default) chooses from the layers that both networks list in their attribute ``feature_layers``.
    """

    def __init__(self, layers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.layers: dict[str, str] = dict(layers or {})

    def default_layers(self, student: Sequence[str], teacher: Sequence[str]) -> dict[str, str]:
        """The pairs where none were given: stage by stage, counted from the last."""
        pairs = min(len(student), len(teacher))
        return dict(zip(student[-pairs:], teacher[-pairs:], strict=True)) if pairs else {}

    def resolve_layers(self, student: Sequence[str], teacher: Sequence[str]) -> None:
        """Choose the layers, where none were given.

        Raises:
            InputError: a network lists none.
        """
        self.layers = self.layers or self.default_layers(student, teacher)
        if not self.layers:
            raise InputError(
                f"{registered_name(self)}: which layers are compared? Networks of this package list theirs, others do "
                "not: give layers={student path: teacher path}, paths as in named_modules()"
            )

    def build_adapters(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        """Create what adapts unequal shapes of the layers' outputs, in the order of ``layers``; by default nothing."""

    def check_maps(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        """Refuse layers that give no maps, from the shapes of their outputs.

        Raises:
            InputError: features that are not [batch, channels, height, width].
        """
        for layer, shape, other in zip(self.layers, student, teacher, strict=True):
            if len(shape) != 4 or len(other) != 4:
                raise InputError(
                    f"{registered_name(self)}: layer {layer!r} gives {tuple(shape)}, the teacher's {tuple(other)}; "
                    "expected maps [batch, channels, height, width]: choose other layers"
                )


class LastLayerPair(LayerPairs):
    """Base class of feature losses that compare the last layer of each network unless told otherwise."""

    def default_layers(self, student: Sequence[str], teacher: Sequence[str]) -> dict[str, str]:
        return {student[-1]: teacher[-1]} if student and teacher else {}


class PooledLayerPair(LastLayerPair):
    """Base class of feature losses that compare what each network pools before its head unless told otherwise."""

    pooled_maps: ClassVar[bool] = True


def pooled(features: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch dimensions"]:
    """One vector a sample: maps [batch, channels, height, width] averaged over pixels, tokens [batch, tokens,
    dimensions] over tokens, vectors as they are."""
    if features.dim() == 4:
        return features.mean(dim=(2, 3))
    return features.mean(dim=1) if features.dim() == 3 else features


def pooled_width(shape: torch.Size) -> int:
    """The dimensions of pooled features of this shape."""
    return shape[1] if len(shape) == 4 else shape[-1]
