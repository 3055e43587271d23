"""Which order of memory suits images of a size."""

from typing import Any

import torch
from torch import Tensor

SMALLEST_CHANNELS_LAST = 16 * 16
"""Pixels from which channels-last pays; below, reordering costs more than convolutions gain (measured on 8x8)."""


def channels_last_pays(size: tuple[int, int]) -> bool:
    """Whether channels-last makes convolutions over images of this height and width faster."""
    return size[0] * size[1] >= SMALLEST_CHANNELS_LAST


def to_memory_format(
    images: Any,
) -> Any:
    """The same images, channels last where that makes convolutions faster. A network follows its input's layout.

    Inputs of another kind stay as they are.
    """
    if not isinstance(images, Tensor) or images.dim() != 4:
        return images
    size = images.shape[2], images.shape[3]
    layout = torch.channels_last if channels_last_pays(size) else torch.contiguous_format
    return images.contiguous(memory_format=layout)
