import builtins
import errno
import io
import os
import struct
import subprocess
import sys
import tempfile
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from preceptor.errors import InputError
from tests.data.files import read_folder, read_or_refusal


def gray(seed: int, height: int = 6, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def color(seed: int, height: int = 6, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(array: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def png_header(width: int, height: int) -> bytes:
    """A well-formed PNG of so many pixels, of which none follow."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Two classes in folders of their own, without a split."""
    for seed, name in enumerate(["cat/b.png", "cat/a.png", "ant/z.bmp", "cat/c.tif"]):
        save(gray(seed), tmp_path / name)
    return tmp_path


def test_a_folder_per_class_in_the_order_of_names(flat: Path) -> None:
    contents = read_folder(flat)
    assert contents.class_names == ("ant", "cat")
    assert contents.train.labels.tolist() == [0, 1, 1, 1]
    assert contents.test is None
    expected = np.stack([gray(2), gray(1), gray(0), gray(3)])[:, None]
    np.testing.assert_array_equal(contents.train.images.numpy(), expected)


def test_train_and_test_folders(tmp_path: Path) -> None:
    save(color(0), tmp_path / "train" / "b" / "1.png")
    save(color(1), tmp_path / "train" / "a" / "1.png")
    save(color(2), tmp_path / "test" / "b" / "1.webp")
    Image.fromarray(color(2)).save(tmp_path / "test" / "b" / "1.webp", lossless=True)
    contents = read_folder(tmp_path)
    assert contents.class_names == ("a", "b")
    assert contents.train.labels.tolist() == [0, 1]
    assert contents.test is not None
    assert contents.test.labels.tolist() == [1]
    np.testing.assert_array_equal(contents.train.images.numpy(), np.stack([color(1), color(0)]).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(contents.test.images.numpy(), color(2)[None].transpose(0, 3, 1, 2))


def test_a_train_folder_without_test(tmp_path: Path) -> None:
    save(gray(0), tmp_path / "train" / "a" / "1.png")
    contents = read_folder(tmp_path)
    assert contents.class_names == ("a",)
    assert contents.test is None


def test_images_are_named_by_their_files(flat: Path) -> None:
    (flat / "cat" / "broken.png").write_bytes(b"no image")
    strange = flat / "dog" / os.fsdecode(b"\xff.png")
    save(gray(9), strange)
    images = read_folder(flat, skip_bad_images=True).train
    assert images.names is not None
    for name, pixels in zip(images.names, images.images, strict=True):
        file = strange if "udc" in name else flat / name
        with Image.open(file) as image:
            np.testing.assert_array_equal(pixels[0], np.asarray(image.convert("L")))


def test_one_colour_image_makes_all_rgb(flat: Path) -> None:
    save(color(9), flat / "ant" / "y.png")
    images = read_folder(flat).train.images
    assert images.shape == (5, 3, 6, 5)
    np.testing.assert_array_equal(images[0].numpy(), color(9).transpose(2, 0, 1))
    for channel in range(3):
        np.testing.assert_array_equal(images[1, channel].numpy(), gray(2))


def test_palettes_and_transparency(tmp_path: Path) -> None:
    opaque = Image.fromarray(color(0)).quantize(16)
    (tmp_path / "a").mkdir()
    opaque.save(tmp_path / "a" / "1.png")
    opaque.save(tmp_path / "a" / "2.png", transparency=bytes([0] * 16))
    Image.fromarray(np.dstack([color(1), gray(1)])).save(tmp_path / "a" / "3.png")
    images = read_folder(tmp_path).train.images
    expected = np.asarray(opaque.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(images[0].numpy(), expected)
    assert (images[1] == 255).all()
    alpha = gray(1)[..., None] / 255
    on_white = (color(1) * alpha + 255 * (1 - alpha)).transpose(2, 0, 1)
    assert np.abs(images[2].numpy() - on_white).max() <= 1  # rounding


def test_what_desktops_archives_and_labelers_leave_is_passed_by(flat: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "labels.json", "notes.TXT"):
        (flat / "cat" / name).write_bytes(b"litter")
    for folder in (flat / "__MACOSX" / "cat", flat / "cat" / "__MACOSX", flat / ".git"):
        folder.mkdir(parents=True)
        (folder / "._a.png").write_bytes(b"litter")
    (flat / "README.md").write_text("about the classes")
    data = read_folder(flat)
    assert (len(data.train), data.class_names) == (4, ("ant", "cat"))


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
@pytest.mark.parametrize("test", [True, False])
def test_a_folder_of_validation_images(tmp_path: Path, name: str, test: bool) -> None:
    save(gray(0), tmp_path / "train" / "a" / "1.png")
    save(gray(1), tmp_path / "train" / "b" / "1.png")
    save(gray(2), tmp_path / name / "b" / "1.png")
    if test:
        save(gray(3), tmp_path / "test" / "a" / "1.png")
    data = read_folder(tmp_path)
    assert data.validation is not None
    np.testing.assert_array_equal(data.validation.images[0, 0].numpy(), gray(2))
    assert data.validation.labels.tolist() == [1]
    assert (len(data.train), data.test is not None) == (2, test)


def test_a_training_image_in_the_validation_set_is_refused(tmp_path: Path) -> None:
    for place in ("train/a/1.png", "val/a/2.png", "train/a/3.png"):
        save(gray(0 if place[-5] != "3" else 3), tmp_path / place)
    with pytest.raises(InputError, match=r"train/a/1\.png: the same image as .*val/a/2\.png, of the validation set"):
        read_folder(tmp_path)
    data = read_folder(tmp_path, skip_bad_images=True)
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.skipped)) == (1, 1, 1)


def test_class_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    save(gray(0), tmp_path / "train" / unicodedata.normalize("NFC", "café") / "1.png")
    save(gray(1), tmp_path / "train" / "thé" / "1.png")
    save(gray(2), tmp_path / "test" / unicodedata.normalize("NFD", "café") / "1.png")
    data = read_folder(tmp_path)
    assert data.class_names == ("café", "thé")
    assert data.test is not None
    assert data.test.labels.tolist() == [0]
    save(gray(3), tmp_path / "train" / unicodedata.normalize("NFD", "café") / "1.png")
    with pytest.raises(InputError, match=r"two class folders are called 'café', in different Unicode forms"):
        read_folder(tmp_path)


@pytest.fixture
def unreadable(flat: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that this user may not read, as large as another; simulated, since root may read everything."""
    path = save(gray(7), flat / "cat" / "locked.bmp")
    save(gray(8), flat / "cat" / "other.bmp")
    really_open = io.open

    def refuse(file: object, *arguments: object, **options: object) -> object:
        if os.fspath(file) == str(path) if isinstance(file, str | os.PathLike) else False:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return really_open(file, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(io, "open", refuse)
    monkeypatch.setattr(builtins, "open", refuse)
    return path


def test_a_file_that_may_not_be_read(flat: Path, unreadable: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_folder(flat)
    assert str(caught.value).startswith(f"{unreadable}: cannot be read (Permission denied)")
    assert "--skip-bad-images" in str(caught.value)
    data = read_folder(flat, skip_bad_images=True)
    assert len(data.train) == 5
    assert [line.split(": ")[0] for line in data.skipped] == [str(unreadable)]


def test_a_link_to_nowhere_is_left_out_as_any_bad_image(flat: Path) -> None:
    (flat / "cat" / "gone.png").symlink_to(flat / "nowhere.png")
    with pytest.raises(InputError, match=r"gone\.png: not a file, or a link to none; .*--skip-bad-images"):
        read_folder(flat)
    data = read_folder(flat, skip_bad_images=True)
    assert (len(data.train), len(data.skipped)) == (4, 1)


def test_a_folder_that_may_not_be_read(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str | Path) -> object:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
        read_folder(flat)


def test_images_of_many_sizes_need_an_image_size(flat: Path) -> None:
    odd = save(gray(4, 9, 8), flat / "cat" / "odd.png")
    with pytest.raises(
        InputError, match=r"odd\.png: 8 x 9 pixels, but .*z\.bmp has 5 x 6; bring all to one size with --image-size"
    ) as caught:
        read_folder(flat)
    assert str(odd) in str(caught.value)
    assert read_folder(flat, image_size=4).train.images.shape == (5, 1, 4, 4)


def test_scaling_down_averages_rather_than_skips(tmp_path: Path) -> None:
    """Fine stripes turn gray; without antialiasing they would stay black or white."""
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    save(stripes, tmp_path / "a" / "1.png")
    inner = read_folder(tmp_path, image_size=8).train.images[0, 0, 1:-1, 1:-1].float()
    assert (inner - 127.5).abs().max() < 12


def test_scaling_keeps_the_proportions_and_crops_the_middle(tmp_path: Path) -> None:
    wide = np.full((10, 30), 255, dtype=np.uint8)
    wide[:, 10:20] = 7
    save(wide, tmp_path / "a" / "1.png")
    image = read_folder(tmp_path, image_size=10).train.images
    assert (image == 7).all()


def test_an_image_size_that_fits_changes_nothing(tmp_path: Path) -> None:
    save(gray(0, 6, 6), tmp_path / "a" / "1.png")
    np.testing.assert_array_equal(read_folder(tmp_path, image_size=6).train.images[0, 0].numpy(), gray(0, 6, 6))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"no image at all", "not one of BMP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n", "not one of BMP"),
        (png_header(5, 6), "image cannot be decoded"),
        (png_header(8_193, 8_192), r"more than 67,108,864 pixels \(8193 x 8192\): not decoded; scale it down"),
        (png_header(12_000, 12_000), r"more than 67,108,864 pixels \(12000 x 12000\): not decoded; scale it down"),
        (png_header(60_000, 60_000), "more than 67,108,864 pixels: not decoded; scale it down"),
    ],
)
def test_files_that_are_no_images(flat: Path, content: bytes, message: str) -> None:
    bad = flat / "cat" / "bad.png"
    bad.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_folder(flat)
    assert str(caught.value).startswith(f"{bad}: ")
    assert "remove it" in str(caught.value)


def test_a_truncated_image(flat: Path) -> None:
    bad = save(gray(5, 60, 50), flat / "cat" / "bad.png")
    bad.write_bytes(bad.read_bytes()[:-900])
    with pytest.raises(InputError, match=r"bad\.png: image cannot be decoded \(.*truncated"):
        read_folder(flat, image_size=6)


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path: Path) -> None:
    save(np.full((4, 4), 300, dtype=np.uint16), tmp_path / "a" / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png: pixels of type 'I;16'; expected 8 bits a channel"):
        read_folder(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, about damaged tags
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    place=st.integers(0, 10**6), value=st.integers(0, 255), kind=st.sampled_from(["png", "jpg", "gif", "tif", "webp"])
)
def test_a_changed_byte_never_ends_in_another_error(tmp_path: Path, place: int, value: int, kind: str) -> None:
    path = save(color(0), tmp_path / "a" / f"bent.{kind}")
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(bytes(content))
    found = read_or_refusal(lambda folder: read_folder(folder, image_size=6), tmp_path)
    path.unlink()
    if isinstance(found, InputError):
        assert str(found).startswith(f"{path}: ")
    else:
        assert found.train.images.shape in [(1, 3, 6, 6), (1, 1, 6, 6)]


def test_folders_that_are_not_laid_out_by_class(tmp_path: Path, flat: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"cat: no class folders"):
        read_folder(flat / "cat")


def test_an_empty_class_folder(flat: Path) -> None:
    (flat / "bee").mkdir()
    (flat / "bee" / ".DS_Store").write_bytes(b"litter")
    with pytest.raises(InputError, match=r"bee: empty class folder; add images or remove it"):
        read_folder(flat)


def test_test_folders_must_match_the_training_ones(tmp_path: Path) -> None:
    save(gray(0), tmp_path / "test" / "cow" / "1.png")
    with pytest.raises(InputError, match=r"has a folder 'test' but none called 'train'"):
        read_folder(tmp_path)
    save(gray(0), tmp_path / "train" / "ant" / "1.png")
    save(gray(0), tmp_path / "train" / "cat" / "1.png")
    with pytest.raises(InputError, match=r"cow: no training class of that name; there are ant, cat"):
        read_folder(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("car", "train", "test"):
        (tmp_path / name).mkdir()
        save(gray(ord(name[1]), 8, 8), tmp_path / name / "one.png")
    contents = read_folder(tmp_path, None)
    assert contents.class_names == ("car", "test", "train")
    assert contents.test is None


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("Training", "DEV", "Testing"), ("TRAIN", "Valid", "test"), ("train", "Val", "TEST")],
)
def test_the_sets_in_their_usual_spellings(tmp_path: Path, train: str, validation: str, test: str) -> None:
    for number, (split, name) in enumerate([(train, "a"), (train, "b"), (validation, "b"), (test, "a")]):
        save(gray(number), tmp_path / split / name / "1.png")
    data = read_folder(tmp_path)
    assert data.validation is not None
    assert data.test is not None
    assert data.train.names == (f"{train}/a/1.png", f"{train}/b/1.png")
    assert (data.validation.names, data.test.names) == ((f"{validation}/b/1.png",), (f"{test}/a/1.png",))
    save(gray(9), tmp_path / "testing2" / "a" / "1.png")  # of no set, and not used
    assert len(read_folder(tmp_path).train) == 2
    save(gray(9), tmp_path / ("training" if train != "training" else "train") / "a" / "2.png")
    with pytest.raises(InputError, match=r"has '.*' and '.*'; keep one folder of training images"):
        read_folder(tmp_path)


def test_images_at_any_depth_inside_a_class_folder(tmp_path: Path) -> None:
    """In the order of the names, folder by folder."""
    places = ["a/2/x.png", "a/10.png", "a/2/1/deep/y.png", "a/3.png", "b/only/in/here.png"]
    for seed, place in enumerate(places):
        save(gray(seed), tmp_path / place)
    (tmp_path / "a" / "empty").mkdir()
    data = read_folder(tmp_path)
    assert data.train.names == ("a/10.png", "a/2/1/deep/y.png", "a/2/x.png", "a/3.png", "b/only/in/here.png")
    assert data.train.labels.tolist() == [0, 0, 0, 0, 1]
    np.testing.assert_array_equal(data.train.images[1, 0].numpy(), gray(2))


def test_an_empty_folder_of_a_test_class(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a"):
        save(gray(ord(name[-1]) + len(name)), tmp_path / name / "1.png")
    (tmp_path / "test" / "b").mkdir()
    test = read_folder(tmp_path).test
    assert test is not None
    assert test.labels.tolist() == [0]


def test_links_are_followed_inside_the_folder(tmp_path: Path) -> None:
    root, outside = tmp_path / "photos", tmp_path / "outside"
    save(gray(0), root / "store" / "all" / "0.png")
    save(gray(1), root / "store" / "all" / "1.png")
    save(gray(2), root / "train" / "b" / "2.png")
    (root / "train" / "a").symlink_to(root / "store" / "all", target_is_directory=True)
    (root / "train" / "b" / "same.png").symlink_to("2.png")
    data = read_folder(root)
    assert data.train.names == ("train/a/0.png", "train/a/1.png", "train/b/2.png", "train/b/same.png")
    through_a_link = tmp_path / "link"
    through_a_link.symlink_to(root, target_is_directory=True)
    assert read_folder(through_a_link).train.names == data.train.names

    save(gray(3), outside / "3.png")
    (root / "train" / "b" / "out.png").symlink_to(outside / "3.png")
    (root / "train" / "b" / "places").symlink_to(outside, target_is_directory=True)
    (root / "train" / "b" / "loop").symlink_to(root / "train", target_is_directory=True)
    (root / "train" / "b" / "self").symlink_to("self")
    with pytest.raises(InputError, match=r"; 4 files cannot be used; --skip-bad-images goes on without"):
        read_folder(root)
    skipping = read_folder(root, skip_bad_images=True)
    assert skipping.train.names == data.train.names
    loop, out, places, itself = skipping.skipped
    assert "b/loop: a link back to a folder that it is in" in loop
    assert f"b/out.png: a link out of the data set's folder, to {outside / '3.png'}" in out
    assert f"b/places: a link out of the data set's folder, to {outside}" in places
    assert "b/self: not a file, or a link to none" in itself
    (root / "train" / "c").symlink_to(outside, target_is_directory=True)
    with pytest.raises(InputError, match=r"train/c: a link out of the data set's folder"):
        read_folder(root, skip_bad_images=True)


def test_copies_are_told_apart_by_their_whole_content(tmp_path: Path) -> None:
    """Two files of one length, beginning and end that differ in the middle."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    save(pixels, tmp_path / "a" / "1.bmp")
    pixels[30, 30] ^= 1
    save(pixels, tmp_path / "b" / "1.bmp")
    assert len(read_folder(tmp_path).train) == 2
    pixels[30, 30] ^= 1
    save(pixels, tmp_path / "b" / "2.bmp")
    with pytest.raises(InputError, match=r"a/1\.bmp: the same image as .*b/2\.bmp, of another class; .*2 files"):
        read_folder(tmp_path)


@pytest.mark.parametrize("differ", [False, True])
def test_a_file_that_an_ordinary_user_may_not_read(differ: bool) -> None:
    """In a process of such a user, where this one is root."""
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.data.files import read_folder\n"
        "from PIL import BmpImagePlugin, PngImagePlugin\n"
        "if os.geteuid() == 0:\n"
        "    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "data = read_folder(Path(sys.argv[1]), 8, skip_bad_images=True)\n"
        "print(data.train.labels.tolist(), *data.skipped)\n"
    )
    # Not below pytest's own folder, which only this user may enter.
    with tempfile.TemporaryDirectory(prefix="preceptor-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        for seed in range(4):
            save(gray(seed, 6 + differ * seed), folder / "ab"[seed % 2] / f"{seed}.png")
        (folder / "a" / "2.png").chmod(0)
        done = subprocess.run([sys.executable, "-c", script, place], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reason = "cannot be read (Permission denied); allow reading it or remove it"
    assert done.stdout.strip() == f"[0, 1, 1] {folder / 'a' / '2.png'}: {reason}"
