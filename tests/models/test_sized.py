import numpy as np
import pytest
import torch
from PIL import Image

from preceptor.data import Normalization
from preceptor.models.features import ImageModel
from preceptor.models.sized import SizedNormalization, fitted_to, resized
from preceptor.teachers import NetworkTeacher

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
IMAGES = torch.randint(0, 256, (3, 3, 20, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(10, 8), (7, 13), (40, 33)])
def test_images_are_resized_as_pillow_does(size: tuple[int, int]) -> None:
    """Pillow's bilinear filter, antialiased, on each channel in floating point."""
    mine = SizedNormalization(MEAN, STD, size)(IMAGES)
    for image, result in zip(IMAGES.numpy(), mine, strict=True):
        for channel, pixels, mean, std in zip(image, result, MEAN, STD, strict=True):
            picture = Image.fromarray(channel.astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)
            expected = (np.asarray(picture) / 255 - mean) / std
            np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-4)


def test_images_of_its_own_size_are_left_alone() -> None:
    plain = Normalization(MEAN, STD)
    assert torch.equal(SizedNormalization(MEAN, STD, (20, 16))(IMAGES), plain(IMAGES))
    assert fitted_to(plain, (20, 16), (20, 16)) is plain
    assert resized(IMAGES, (20, 16)) is IMAGES
    assert resized(IMAGES, (5, 4)).dtype == torch.uint8


def test_student_and_teacher_see_their_own_size() -> None:
    seen: list[torch.Size] = []

    class Looks(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images.shape)
            return images.mean(dim=(2, 3))

    ImageModel(Looks(), SizedNormalization(MEAN, STD, (8, 8)))(IMAGES)
    NetworkTeacher(Looks(), SizedNormalization(MEAN, STD, (32, 30)))(IMAGES)
    assert [tuple(one[2:]) for one in seen] == [(8, 8), (32, 30)]
