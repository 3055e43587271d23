"""What is converted, and what ``--skip-bad-images`` leaves out."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from preceptor.data import load_dataset
from preceptor.errors import InputError, SkippedImages
from tests.bad_input.images import with_test_set
from tests.bad_input.workbench import Workbench, encoded, picture, png_of_size, several
from tests.cli.conftest import Command
from tests.data.files import read_folder

RED = np.zeros((8, 8, 3), np.uint8) + np.array([200, 10, 10], np.uint8)
BAD = {"cat_3": b"", "cat_4": png_of_size(60_000, 60_000), "cat_5": several("GIF"), "cat_6": encoded(picture(5))[:-60]}


@pytest.fixture
def bench(tmp_path: Path, teacher: Path) -> Workbench:
    return Workbench(tmp_path, teacher)


def alone(folder: Path, content: bytes, name: str = "1.png") -> np.ndarray:
    """An image as it is read from a folder of its own, channels last."""
    (folder / "a").mkdir()
    (folder / "a" / name).write_bytes(content)
    pixels: np.ndarray = read_folder(folder).train.images[0].permute(1, 2, 0).numpy()
    return pixels


def test_sixteen_bit_colour_keeps_its_upper_eight(tmp_path: Path) -> None:
    deep = b"P6 2 1 65535\n" + np.array([[[0x1234, 0xFF00, 0x0080], [0, 0x8000, 0xFFFF]]], ">u2").tobytes()
    found = alone(tmp_path, deep, "1.ppm").astype(int)
    assert np.abs(found[0] - np.array([[0x12, 0xFF, 0x00], [0, 0x80, 0xFF]])).max() <= 1


def test_cmyk_becomes_the_colour_it_prints(tmp_path: Path) -> None:
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    np.testing.assert_array_equal(alone(tmp_path, encoded(ink, "TIFF"))[0, 0], [255, 0, 0])


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    half = np.dstack([RED, np.zeros((8, 8), np.uint8)])
    half[4:, :, 3] = 255
    pixels = alone(tmp_path, encoded(half))
    assert (pixels[:4] == 255).all()
    np.testing.assert_array_equal(pixels[4:], RED[4:])


def test_black_and_white_is_grey(tmp_path: Path) -> None:
    found = alone(tmp_path, encoded(Image.fromarray(picture(1, channels=1) > 127)))
    assert found.shape == (8, 8, 1)
    assert set(np.unique(found).tolist()) == {0, 255}


def test_a_photograph_with_a_preview_is_the_photograph(tmp_path: Path) -> None:
    preview = Image.new("RGB", (4, 4))
    found = alone(tmp_path, encoded(RED, "MPO", save_all=True, append_images=[preview]), "1.jpg")
    assert np.abs(found.astype(int) - RED).max() < 20


def test_bad_images_are_left_out_and_named(bench: Workbench) -> None:
    photos = bench.photos(**BAD)
    with pytest.raises(InputError, match=r"cat/3\.png"):
        read_folder(photos)
    with pytest.warns(SkippedImages, match=r"left out 4 of 10 images: .*3\.png: .*5\.png: .*; and 1 more") as told:
        dataset = load_dataset(f"folder:{photos}", skip_bad_images=True)
    assert len(told) == 1
    assert [line.split(":")[0].split("/")[-1] for line in dataset.skipped] == ["3.png", "4.png", "5.png", "6.png"]
    without = load_dataset(f"folder:{bench_of(bench).photos()}")
    assert dataset.train.images.equal(without.train.images)
    assert dataset.train.labels.equal(without.train.labels)


def bench_of(bench: Workbench) -> Workbench:
    """Another workbench beside it."""
    folder = bench.folder / "beside"
    folder.mkdir()
    return Workbench(folder, bench.sound_teacher)


def test_every_copy_of_an_image_in_two_classes_is_left_out(bench: Workbench) -> None:
    contents = read_folder(bench.photos(dog_9=encoded(picture(1))), skip_bad_images=True)
    assert [line.split(":")[0].split("photos/")[1] for line in contents.skipped] == ["cat/1.png", "dog/9.png"]
    assert contents.train.labels.tolist() == [0, 0, 1, 1, 1]


def test_of_an_image_in_both_sets_the_training_copy_is_left_out(bench: Workbench) -> None:
    contents = read_folder(with_test_set(bench, "cat", "cat"), skip_bad_images=True)
    assert len(contents.skipped) == 1
    assert "train/cat/1.png" in contents.skipped[0]
    assert contents.test is not None
    assert (len(contents.train), len(contents.test)) == (5, 3)


def test_an_image_twice_in_a_class_counts_twice(bench: Workbench) -> None:
    assert len(read_folder(bench.photos(cat_3=encoded(picture(1)))).train) == 7


def test_a_run_says_what_it_left_out(bench: Workbench, preceptor: Command) -> None:
    outcome = preceptor(*bench.on_photos("--skip-bad-images", "--validation", "0", "--batch-size", "4", **BAD))
    assert outcome.code == 0, outcome.err
    told = [line for line in outcome.err.splitlines() if line.startswith("preceptor: folder:")]
    assert len(told) == 1
    assert "left out 4 of 10 images" in told[0]
    assert (bench.out / "skipped_images.txt").read_text().count("\n") == 4
    run = yaml.safe_load((bench.out / "run.yaml").read_text())
    assert run["config"]["skip_bad_images"] is True
    assert run["record"]["skipped_images"] == 4
    measured = preceptor("evaluate", bench.out, "--skip-bad-images", "--split", "train", "--quiet")
    assert measured.code == 0, measured.err
    assert "of 6 images" in measured.out
