"""Pixels as people see them: upright, on white, and the same however a file stores them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preceptor.data.images import ImageSpec, is_passed_by, read_header, read_pixels
from preceptor.errors import InputError

UPRIGHT = np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)
# What a camera stores of an upright picture, by EXIF orientation: the inverse of what a viewer does.
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: UPRIGHT.transpose(1, 0, 2)[::-1],
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: UPRIGHT.transpose(1, 0, 2)[:, ::-1],
}


def saved(path: Path, stored: np.ndarray, orientation: int, **options: object) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("kind", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_images_are_turned_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    options = {"lossless": True} if kind == "webp" else {}
    path = saved(tmp_path / f"a.{kind}", STORED[orientation], orientation, **options)
    assert read_header(path).size == (8, 12)
    np.testing.assert_array_equal(read_pixels(path, ImageSpec(3, 12, 8)).permute(1, 2, 0).numpy(), UPRIGHT)


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    upright, turned = np.zeros((32, 16, 3), np.uint8), np.zeros((16, 32, 3), np.uint8)
    upright[:16], turned[:, :16] = 250, 250
    path = saved(tmp_path / "turned.jpg", turned, 6)
    pixels = read_pixels(path, ImageSpec(3, 32, 16)).permute(1, 2, 0).numpy()
    assert read_header(path).size == (16, 32)
    assert np.abs(pixels.astype(int) - upright).max() < 20


@pytest.mark.parametrize("tag", [b"Exif\0\0 nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_metadata_leaves_the_pixels(tmp_path: Path, tag: bytes) -> None:
    path = tmp_path / "a.webp"
    Image.fromarray(UPRIGHT).save(path, lossless=True, exif=tag)
    np.testing.assert_array_equal(read_pixels(path, ImageSpec(3, 12, 8)).permute(1, 2, 0).numpy(), UPRIGHT)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_the_color_under_transparent_pixels_does_not_show(tmp_path: Path, mode: str) -> None:
    images = []
    for number, under in enumerate((0, 90, 255)):
        pixels = np.full((8, 8, 4), under, np.uint8)
        pixels[..., 3] = 0
        pixels[2:6, 2:6] = (90, 90, 90, 255)
        image = Image.fromarray(pixels)
        path = tmp_path / f"{number}.png"
        if mode == "P":
            indices = np.zeros((8, 8), np.uint8)
            indices[2:6, 2:6] = 1
            image = Image.fromarray(indices, "L").convert("P")
            image.putpalette([under] * 3 + [90] * 3)
            image.save(path, transparency=0)
        else:
            image.convert(mode).save(path)
        images.append(read_pixels(path, ImageSpec(3, 4, 4)))
    assert all(image.equal(images[0]) for image in images)
    assert images[0].min() > 60
    assert (images[0][:, 0, 0] > 200).all()


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_heic_and_avif_are_to_be_converted(tmp_path: Path, brand: bytes) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x1cftyp" + brand + bytes(40))
    with pytest.raises(InputError, match=r"a\.heic: .*\(HEIC or AVIF\); convert it to JPEG or PNG$"):
        read_header(tmp_path / "a.heic")


def test_what_is_passed_by(tmp_path: Path) -> None:
    (tmp_path / "v1.txt").mkdir()
    passed = [".hidden.png", "Thumbs.db", "desktop.ini", "__MACOSX", "labels.json", "names.CSV"]
    assert all(is_passed_by(tmp_path / name) for name in passed)
    assert not any(is_passed_by(tmp_path / name) for name in ["a.png", "b", "c.bin", "v1.txt"])
