"""Pixels as images inside a page."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.data.encoded import EncodedImages
from preceptor.data.lazy import Inputs
from preceptor.errors import InputError

DISPLAY_SIDE = 128
"""Longest side on the page, in CSS pixels."""

THUMBNAIL_SIDE, THUMBNAIL_DISPLAY = 64, 96
"""Longest side of a thumbnail in its own pixels and on the page."""

LARGE = 2_500
"""Bytes from which on a thumbnail's PNG becomes a JPEG; one that is as large again is coarser."""

LARGE_IMAGE = 20_000
"""Bytes from which on another image's PNG becomes a JPEG."""


@dataclass(frozen=True)
class PageImage:
    """An image to put into a page: a ``data:`` address that holds the whole PNG or JPEG, and its size in CSS pixels.

    A crisp one is enlarged by a whole factor, so that each pixel should stay a square.
    """

    source: str
    width: int
    height: int
    crisp: bool


PHOTOGRAPH_SIDE = 256
"""Longest side of a photograph in its own pixels: what it shows may lie outside the crop that a network sees."""


def shown_pixels(images: Inputs, index: int) -> NDArray[np.uint8]:
    """Gray pixels [height, width], or color [height, width, 3], of an image; of a photograph the whole of it.

    Of other numbers of channels the first.
    """
    pixels = images.picture(index, PHOTOGRAPH_SIDE) if isinstance(images, EncodedImages) else images[index]
    array: NDArray[np.uint8] = pixels.cpu().numpy()
    return array.transpose(1, 2, 0) if len(array) == 3 else array[0]


def page_image(pixels: Any, where: str) -> PageImage:
    """Encode an image and choose its size on the page: the largest whole factor that fits, or shrunk to fit.

    It is a PNG of all pixels where that is small, else a JPEG of twice the size that is shown.

    Args:
        pixels: uint8 array, ``[height, width]`` (gray) or ``[height, width, 3]`` (red, green, blue).
        where: names the image in an error.

    Raises:
        InputError: another shape or type.
    """
    array = _checked(pixels, where)
    width, height, crisp = _display_size(array.shape[1], array.shape[0], DISPLAY_SIDE)
    content = _encoded(array, "PNG", optimize=True)
    if len(content) < LARGE_IMAGE:
        return PageImage(_address(content, "png"), width, height, crisp)
    return PageImage(_address(_encoded(array, "JPEG", 2 * DISPLAY_SIDE, quality=85), "jpeg"), width, height, crisp)


def thumbnail(pixels: Any, where: str) -> PageImage:
    """Encode an image as one of hundreds: at most 64 pixels a side, as JPEG where a PNG is large, a few kB.

    A photograph, of more than twice as many, gets twice the side.

    Args:
        pixels: as :func:`page_image` takes them.
        where: names the image in an error.

    Raises:
        InputError: another shape or type.
    """
    array = _checked(pixels, where)
    width, height, crisp = _display_size(array.shape[1], array.shape[0], THUMBNAIL_DISPLAY)
    if max(width, height) < THUMBNAIL_DISPLAY * 3 // 4:  # no whole factor comes near
        width, height, crisp = (*(side * THUMBNAIL_DISPLAY // max(width, height) for side in (width, height)), False)
    finer = 2 if max(array.shape) > 2 * THUMBNAIL_SIDE else 1
    side, large = finer * THUMBNAIL_SIDE, finer**2 * LARGE
    content = _encoded(array, "PNG", side, optimize=True)
    if len(content) < large:
        return PageImage(_address(content, "png"), width, height, crisp)
    for quality in (85, 60):
        content = _encoded(array, "JPEG", side, quality=quality)
        if len(content) < large:
            break
    return PageImage(_address(content, "jpeg"), width, height, crisp)


def _checked(pixels: Any, where: str) -> NDArray[np.uint8]:
    array = np.asarray(pixels)
    color = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or array.size == 0 or not (array.ndim == 2 or color):
        raise InputError(
            f"{where}: pixels of type {array.dtype} and shape {array.shape}: "
            "expected uint8, [height, width] or [height, width, 3]"
        )
    return array


def _encoded(array: NDArray[np.uint8], kind: str, longest: int | None = None, **options: Any) -> bytes:
    from PIL import Image

    image, file = Image.fromarray(np.ascontiguousarray(array)), BytesIO()
    if longest is not None:
        image.thumbnail((longest, longest))  # shrinks only
    image.save(file, format=kind, **options)
    return file.getvalue()


def _address(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"


def _display_size(width: int, height: int, longest: int) -> tuple[int, int, bool]:
    factor = longest // max(width, height)
    if factor >= 1:
        return width * factor, height * factor, True
    shrink = longest / max(width, height)
    return max(1, round(width * shrink)), max(1, round(height * shrink)), False
