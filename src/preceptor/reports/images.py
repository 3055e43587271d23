"""Pixels as images inside a page."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from preceptor.errors import InputError

DISPLAY_SIDE = 128
"""Longest side on the page, in CSS pixels."""


@dataclass(frozen=True)
class PageImage:
    """An image to put into a page: a ``data:`` address that holds the whole PNG, and its size in CSS pixels.

    A crisp one is enlarged by a whole factor, so that each pixel should stay a square.
    """

    source: str
    width: int
    height: int
    crisp: bool


def page_image(pixels: Any, where: str) -> PageImage:
    """Encode an image as PNG and choose its size on the page: the largest whole factor that fits, or shrunk to fit.

    Args:
        pixels: uint8 array, ``[height, width]`` (gray) or ``[height, width, 3]`` (red, green, blue).
        where: names the image in an error.

    Raises:
        InputError: another shape or type.
    """
    from PIL import Image

    array = np.asarray(pixels)
    color = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or array.size == 0 or not (array.ndim == 2 or color):
        raise InputError(
            f"{where}: pixels of type {array.dtype} and shape {array.shape}: "
            "expected uint8, [height, width] or [height, width, 3]"
        )
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(file, format="PNG", optimize=True)
    height, width = array.shape[:2]
    crisp = max(width, height) <= DISPLAY_SIDE
    scale = DISPLAY_SIDE // max(width, height) if crisp else DISPLAY_SIDE / max(width, height)
    source = f"data:image/png;base64,{b64encode(file.getvalue()).decode('ascii')}"
    return PageImage(source, max(1, round(width * scale)), max(1, round(height * scale)), crisp)
