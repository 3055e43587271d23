"""Corruptions of images against their formulas, and what all of them keep."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from preceptor.data import CORRUPTIONS, Normalization, corrupt_images
from preceptor.data.image_corruption import blurred, contrast_scaled, jpeg_compressed, noised, pixelated
from preceptor.errors import InputError


def pictures(n: int = 6, channels: int = 3, side: int = 32) -> torch.Tensor:
    """Images with a slope, an edge and texture, so that every corruption has something to spoil."""
    row = torch.linspace(20, 235, side)
    images = (row[:, None] + row[None, :]) / 2
    images = torch.where(row[None, :] > 128, 255 - images, images)
    texture = torch.randint(-20, 21, (n, channels, side, side), generator=torch.Generator().manual_seed(0))
    return (images + texture).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (9, 14)])
def test_severities_grow_and_keep_the_form(kind: str, channels: int, size: tuple[int, int]) -> None:
    images = pictures(channels=channels)[:, :, : size[0], : size[1]]
    before = images.clone()
    distances = []
    for severity in range(1, 6):
        after = corrupt_images(images, kind, severity)
        assert (after.shape, after.dtype) == (images.shape, torch.uint8)
        assert torch.equal(after, corrupt_images(images, kind, severity))
        distances.append(float((after.float() - images.float()).square().mean()))
    assert torch.equal(images, before)
    assert distances[-1] > 0
    if kind != "pixelate":  # whose distance depends on how cells meet edges
        assert distances == sorted(distances)
        assert distances[0] < distances[-1]


def test_each_image_is_corrupted_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(5)
    whole = {kind: corrupt_images(images, kind, 3) for kind in CORRUPTIONS}
    monkeypatch.setattr("preceptor.data.image_corruption._CHUNK", 2)
    for kind in CORRUPTIONS:
        assert torch.equal(corrupt_images(images, kind, 3), whole[kind])
        assert torch.equal(corrupt_images(images[:3], kind, 3), whole[kind][:3])


def test_noise_is_normal_of_the_stated_deviation_and_seeded() -> None:
    gray = torch.full((40, 3, 32, 32), 128, dtype=torch.uint8)
    once, other = (corrupt_images(gray, "gaussian_noise", 1, seed=seed).double() - 128 for seed in (0, 1))
    assert float(once.mean()) == pytest.approx(0, abs=0.15)
    assert float(once.std()) == pytest.approx(0.04 * 255, rel=0.01)
    assert float((once / once.std()).pow(4).mean()) == pytest.approx(3, rel=0.05)  # the normal distribution's kurtosis
    assert not torch.equal(once, other)
    assert abs(float((once * other).mean())) < 0.5
    assert abs(float((once[0] * once[1]).mean())) < 8


def test_noise_of_one_value_is_the_formula() -> None:
    """Box and Muller from the first word of the stream."""
    word = int(np.random.Philox(key=np.array([7, 11], dtype=np.uint64)).random_raw(1)[0])
    radius, angle = ((word >> 32) + 1) / 2**32, (word & 0xFFFFFFFF) / 2**32
    expected = round(128 + 20 * (-2 * np.log(radius)) ** 0.5 * np.cos(2 * np.pi * angle))
    assert noised(torch.full((1, 1, 1, 1), 128, dtype=torch.uint8), 20, seed=7).item() == expected


def test_a_blur_keeps_the_mean_and_spreads_a_point() -> None:
    images = torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 250
    after = blurred(images, 0.6)
    assert after.dtype == torch.uint8
    assert 50 < int(after[0, 0, 4, 4]) < 250
    assert int(after[0, 0, 4, 5]) == int(after[0, 0, 5, 4]) > 0
    assert abs(int(after[0, 0].sum()) - 250) < 10
    assert blurred(images, 0) is images


def test_contrast_shrinks_towards_gray() -> None:
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    assert contrast_scaled(images, 0.5, around=128).flatten().tolist() == [64, 128, 192]
    assert contrast_scaled(images, 1, around=128) is images


def test_contrast_keeps_the_mean_of_each_image_and_channel() -> None:
    images = pictures()
    after = contrast_scaled(images, 0.4)
    mean = images.double().mean(dim=(2, 3), keepdim=True)
    expected = (mean + 0.4 * (images.double() - mean)).round()
    assert (after.double() - expected).abs().max() <= 1  # a half may be rounded either way
    assert float((after.double().mean(dim=(2, 3)) - mean[..., 0, 0]).abs().max()) < 0.5


def test_a_blur_grows_with_the_image() -> None:
    small, large = pictures(side=32), pictures(side=64)
    assert torch.equal(corrupt_images(small, "blur", 4), blurred(small, 1.0))
    assert torch.equal(corrupt_images(large, "blur", 4), blurred(large, 2.0))


def test_pixels_are_the_means_of_cells() -> None:
    images = pictures(side=8)
    after = pixelated(images, 0.5)
    cells = images.double().reshape(6, 3, 4, 2, 4, 2).mean(dim=(3, 5))
    expected = cells.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert (after.double() - expected).abs().max() <= 0.5
    assert len(pixelated(images, 0.0001)[0, 0].unique()) == 1


def test_fewer_cells_at_each_severity() -> None:
    images = torch.arange(32).repeat(32, 1).mul(8)[None, None].to(torch.uint8)
    cells = [len(corrupt_images(images, "pixelate", severity)[0, 0, 0].unique()) for severity in range(1, 6)]
    assert cells == [19, 16, 13, 10, 8]


def test_jpeg_is_pillows() -> None:
    image = pictures(1)
    file = io.BytesIO()
    Image.fromarray(image[0].permute(1, 2, 0).numpy()).save(file, "JPEG", quality=25)
    expected = np.asarray(Image.open(file))
    np.testing.assert_array_equal(jpeg_compressed(image, 25)[0].permute(1, 2, 0).numpy(), expected)
    assert torch.equal(corrupt_images(image, "jpeg", 3), jpeg_compressed(image, 25))


def test_no_images() -> None:
    for kind in CORRUPTIONS:
        assert len(corrupt_images(pictures()[:0], kind, 2)) == 0


@pytest.mark.parametrize(
    ("kind", "severity", "message"),
    [
        ("gausian_noise", 1, "unknown corruption 'gausian_noise': did you mean 'gaussian_noise'"),
        ("blur", 0, "severity is 0; expected 1, 2, 3, 4 or 5"),
        ("blur", 6, "severity is 6"),
    ],
)
def test_what_there_is_not(kind: str, severity: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        corrupt_images(pictures(), kind, severity)


def test_images_of_another_kind() -> None:
    with pytest.raises(InputError, match="expected a uint8 tensor of images"):
        corrupt_images(Normalization((0.5,) * 3, (0.5,) * 3)(pictures()), "blur", 1)
    with pytest.raises(InputError, match="jpeg: images have 4 channels"):
        corrupt_images(pictures(channels=4), "jpeg", 1)
