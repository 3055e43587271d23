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
    """An image to put into a page.

    Args:
        source: a ``data:`` address that holds the whole PNG.
        width: on the page, CSS pixels.
        height: on the page, CSS pixels.
        crisp: enlarged by a whole factor, so that each pixel should stay a square.
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
    width, height, crisp = _display_size(array.shape[1], array.shape[0])
    return PageImage(f"data:image/png;base64,{b64encode(file.getvalue()).decode('ascii')}", width, height, crisp)


def _display_size(width: int, height: int) -> tuple[int, int, bool]:
    factor = DISPLAY_SIDE // max(width, height)
    if factor >= 1:
        return width * factor, height * factor, True
    shrink = DISPLAY_SIDE / max(width, height)
    return max(1, round(width * shrink)), max(1, round(height * shrink)), False
