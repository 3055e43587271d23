from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from preceptor.errors import InputError
from preceptor.reports.images import page_image


@pytest.mark.parametrize("shape", [(8, 8), (28, 20), (5, 7, 3)])
def test_pixels_come_back_unchanged(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = page_image(pixels, "it")
    header, _, content = image.source.partition(",")
    assert header == "data:image/png;base64"
    with Image.open(BytesIO(b64decode(content))) as decoded:
        np.testing.assert_array_equal(np.asarray(decoded), pixels)


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [(8, 8, (128, 128, True)), (28, 28, (112, 112, True)), (32, 16, (64, 128, True)), (512, 256, (64, 128, False))],
)
def test_small_images_grow_by_a_whole_factor_and_large_ones_shrink(
    height: int, width: int, shown: tuple[int, int, bool]
) -> None:
    image = page_image(np.zeros((height, width), np.uint8), "it")
    assert (image.width, image.height, image.crisp) == shown


def test_rows_that_are_not_contiguous_are_fine() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(3, 4, 4).transpose(1, 2, 0)
    assert page_image(pixels, "it") == page_image(pixels.copy(), "it")


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((8, 8)), np.zeros((3, 8, 8), np.uint8), np.zeros(8, np.uint8), np.zeros((0, 8), np.uint8)],
    ids=["float", "channels first", "one axis", "empty"],
)
def test_anything_else_is_named(pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"example 3: pixels of type .* expected uint8"):
        page_image(pixels, "example 3")
