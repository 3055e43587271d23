"""Images of another size than a network's own are resized for it, after normalization."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from preceptor.data import Normalization


@dataclass(frozen=True)
class SizedNormalization(Normalization):
    """The normalization of a network's images, and the size that it sees them in.

    Args:
        size: height and width in pixels. Images of another are resized (bilinear, antialiased), whatever their shape.
    """

    size: tuple[int, int]

    def __call__(
        self, images: UInt8[Tensor, "batch channels _ _"] | Float[Tensor, "batch channels _ _"]
    ) -> Float[Tensor, "batch channels height width"]:
        """As of :class:`Normalization`, then resized where they have another size."""
        normalized = super().__call__(images)
        if normalized.shape[2:] == self.size:
            return normalized
        return functional.interpolate(normalized, self.size, mode="bilinear", antialias=True)


def resized(images: UInt8[Tensor, "n channels _ _"], size: tuple[int, int]) -> UInt8[Tensor, "n channels height width"]:
    """Images in another size as uint8, rounded; the same tensor where they have that size."""
    if images.shape[2:] == size:
        return images
    scaled = functional.interpolate(images.float(), size, mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8)


def fitted_to(normalization: Normalization, own: tuple[int, int], data: tuple[int, int]) -> Normalization:
    """A normalization that resizes images of the data's size to the network's own, plain where the two are one."""
    if own == data:
        return normalization
    return SizedNormalization(normalization.mean, normalization.std, own)
