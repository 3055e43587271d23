"""What a pretrained network takes: its normalization, size, interpolation and crop, and what its outputs are."""

from dataclasses import dataclass
from typing import Literal

from preceptor.data import Normalization


@dataclass(frozen=True)
class NetworkInput:
    """The images that pretrained weights were trained on, as their library states them.

    Attributes:
        normalization: of pixels scaled to [0, 1]; None where the library does not state it.
        size: height and width in pixels; None where it is not stated.
        interpolation: by which image files are scaled.
        crop: share of an image's shorter side that the central crop keeps.
        class_names: one an output, synonyms with commas between them; None where they are not stated.
    """

    normalization: Normalization | None = None
    size: tuple[int, int] | None = None
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    crop: float = 1.0
    class_names: tuple[str, ...] | None = None


def for_channels(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> Normalization:
    """The normalization for so many channels; for another number than stated, the mean over the stated ones."""
    if channels == len(mean):
        return Normalization(tuple(mean), tuple(std))
    return Normalization((sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels)
