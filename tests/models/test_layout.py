import pytest
import torch

from preceptor.models.layout import to_memory_format

CHANNELS_LAST, CONTIGUOUS = torch.channels_last, torch.contiguous_format


@pytest.mark.parametrize(
    ("height", "width", "layout"),
    [(8, 8, CONTIGUOUS), (15, 17, CONTIGUOUS), (16, 16, CHANNELS_LAST), (8, 32, CHANNELS_LAST)],
)
@pytest.mark.parametrize("given", [CHANNELS_LAST, CONTIGUOUS])
def test_channels_last_from_256_pixels_on(height, width, layout, given):
    images = torch.randn(2, 3, height, width).contiguous(memory_format=given)
    arranged = to_memory_format(images)
    assert arranged.is_contiguous(memory_format=layout)
    assert torch.equal(arranged, images)


def test_images_that_already_are_so_are_not_copied():
    images = torch.randn(2, 3, 32, 32).contiguous(memory_format=CHANNELS_LAST)
    assert to_memory_format(images).data_ptr() == images.data_ptr()
