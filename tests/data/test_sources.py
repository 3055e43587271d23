import os
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from preceptor.data.images import ImageSpec, pixels_from_array
from preceptor.data.sources import open_image_source
from preceptor.errors import InputError
from tests.data.files import read_folder
from tests.data.test_folder import color, gray, png_header, save

SPEC = ImageSpec(channels=1, height=6, width=5)


def pictures(path, form=SPEC):
    source = open_image_source(path)
    found = list(source.images(form))
    assert len(source) == len(found)
    return found


def test_files_have_the_pixels_that_training_sees(tmp_path):
    """Gray of many sorts, palettes, alpha, CMYK, and sizes that must be scaled and cropped."""
    rgb = Image.fromarray(color(0, 19, 11))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    rgb.save(tmp_path / "a" / "color.png")
    rgb.convert("P").save(tmp_path / "a" / "palette.png", transparency=3)
    rgb.convert("CMYK").save(tmp_path / "a" / "print.jpg")
    rgb.convert("RGBA").save(tmp_path / "b" / "alpha.webp", lossless=True)
    rgb.convert("L").save(tmp_path / "b" / "gray.bmp")
    rgb.convert("1").save(tmp_path / "b" / "black.tif")
    trained = read_folder(tmp_path, image_size=7).train.images
    found = pictures(tmp_path, ImageSpec(3, 7, 7))
    assert [picture.error for picture in found] == [None] * 6
    assert torch.equal(torch.stack([picture.pixels for picture in found]), trained)


def test_grey_training_images_have_the_same_pixels(tmp_path):
    for seed, name in enumerate(["x/1.png", "x/2.png", "y/1.png"]):
        save(gray(seed), tmp_path / name)
    trained = read_folder(tmp_path).train.images
    assert torch.equal(torch.stack([picture.pixels for picture in pictures(tmp_path)]), trained)


@pytest.mark.parametrize("form", [SPEC, ImageSpec(3, 6, 5), ImageSpec(1, 4, 4), ImageSpec(3, 9, 2)], ids=str)
def test_an_array_is_brought_to_a_form_as_its_images_saved_as_files_are(tmp_path, form):
    for name, make in (("gray", gray), ("color", color)):
        rows = np.stack([make(seed) for seed in range(4)])
        for number, row in enumerate(rows):
            save(row, tmp_path / name / f"{number}.png")
        np.save(tmp_path / f"{name}.npy", rows)
        np.savez_compressed(tmp_path / f"{name}.npz", images=rows)
        from_files = torch.stack([picture.pixels for picture in pictures(tmp_path / name, form)])
        for kind in ("npy", "npz"):
            found = pictures(tmp_path / f"{name}.{kind}", form)
            assert torch.equal(torch.stack([picture.pixels for picture in found]), from_files)
            assert [(picture.name, picture.index) for picture in found] == [
                (str(tmp_path / f"{name}.{kind}"), number) for number in range(4)
            ]


def test_one_channel_last_is_grey(tmp_path):
    np.save(tmp_path / "a.npy", gray(0)[None, :, :, None])
    (found,) = pictures(tmp_path / "a.npy")
    np.testing.assert_array_equal(found.pixels[0].numpy(), gray(0))
    assert torch.equal(found.pixels, pixels_from_array(gray(0)[:, :, None], SPEC))


def test_folders_are_walked_in_the_order_of_names(tmp_path):
    for name in ["b/2.png", "b/10.png", "a.png", "c/d/e.png", ".hidden/1.png", "b/.h.png", "Thumbs.db"]:
        save(gray(0), tmp_path / name) if name.endswith("png") else (tmp_path / name).touch()
    found = [picture.name.removeprefix(f"{tmp_path}/") for picture in pictures(tmp_path)]
    assert found == ["a.png", "b/10.png", "b/2.png", "c/d/e.png"]
    assert [picture.index for picture in pictures(tmp_path)] == [None] * 4


@pytest.mark.skipif(os.name != "posix", reason="needs links and pipes")
def test_links_are_followed_once_and_pipes_not_waited_for(tmp_path):
    save(gray(0), tmp_path / "in" / "1.png")
    (tmp_path / "in" / "round").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.png")
    found = {picture.name.removeprefix(f"{tmp_path}/"): picture.error for picture in pictures(tmp_path)}
    assert found["gone.png"] == found["pipe.png"] == "not a file, or a link to none"
    assert found["in/1.png"] is found["link/1.png"] is None


@pytest.mark.skipif(os.name != "posix", reason="names are bytes")
def test_a_name_that_is_no_text_is_written_as_some(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.png"
    save(gray(0), tmp_path / "a.png").rename(os.fsdecode(path))
    (found,) = pictures(tmp_path)
    assert found.error is None
    assert found.name == f"{tmp_path}/\\udcff.png"
    found.name.encode()


def test_an_unusable_image_is_reported_and_not_the_end(tmp_path):
    save(gray(0), tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "d.bin").write_text("not an image")
    (tmp_path / "labels.json").write_text("{}")
    (tmp_path / "e.png").write_bytes(png_header(100_000, 100_000))
    Image.fromarray(gray(1)).convert("I;16").save(tmp_path / "f.png")
    frames = [Image.fromarray(gray(seed)) for seed in range(2)]
    frames[0].save(tmp_path / "g.gif", save_all=True, append_images=frames[1:])
    save(gray(0), tmp_path / "h.png")
    found = pictures(tmp_path)
    assert [picture.pixels is not None for picture in found] == [True, *[False] * 6, True]
    message = ["cannot be decoded", "the file is empty", "not one of BMP", "pixels", "8 bits a channel", "2 pictures"]
    for picture, words in zip(found[1:7], message, strict=True):
        assert words in picture.error
        assert not picture.error.startswith(str(tmp_path))


def test_which_array_of_several(tmp_path):
    few, many = np.stack([gray(0)]), np.stack([gray(1), gray(2)])
    np.savez(tmp_path / "a.npz", test_images=few, images=many)
    np.savez(tmp_path / "b.npz", test_images=few, test_labels=np.zeros(1, dtype=int))
    np.savez(tmp_path / "c.npz", whatever=many)
    np.savez(tmp_path / "d.npz", x=many, y=few)
    assert [len(open_image_source(tmp_path / f"{name}.npz")) for name in "abc"] == [2, 1, 2]
    with pytest.raises(InputError, match=r"d\.npz: holds x, y: call the array of images 'images'"):
        open_image_source(tmp_path / "d.npz")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_is_never_in_memory_as_a_whole(tmp_path, suffix):
    path, rows = tmp_path / f"many{suffix}", np.zeros((4000, 64, 64), dtype=np.uint8)
    np.save(path, rows) if suffix == ".npy" else np.savez_compressed(path, images=rows)
    size = rows.nbytes
    del rows
    tracemalloc.start()
    try:
        assert (
            sum(picture.pixels is not None for picture in open_image_source(path).images(ImageSpec(1, 64, 64))) == 4000
        )
        assert tracemalloc.get_traced_memory()[1] < size / 20
    finally:
        tracemalloc.stop()


def fortran(path):
    np.savez(path, images=np.asfortranarray(np.zeros((4, 3, 2), dtype=np.uint8)))


def cut_short(path):
    np.savez_compressed(path, images=np.stack([gray(seed) for seed in range(30)]))
    path.write_bytes(path.read_bytes()[:400])


def stated_to_be_more(path):
    np.savez(path, images=np.zeros((2, 3, 3), dtype=np.uint8))
    with zipfile.ZipFile(path) as archive:
        content = archive.read("images.npy").replace(b"(2, 3, 3)", b"(9, 3, 3)")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", content)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("nothing.png", lambda path: None, "no such file or folder"),
        ("empty", lambda path: path.mkdir(), "no image in this folder"),
        ("a.npy", lambda path: path.write_bytes(b"nothing"), "not a readable .npy file"),
        ("a.npy", lambda path: np.save(path, np.array([{}], dtype=object)), "Python objects in dtype"),
        ("a.npy", lambda path: np.save(path, np.zeros((2, 3, 3))), "float64; expected uint8"),
        ("a.npy", lambda path: np.save(path, np.zeros((2, 3, 8, 8), np.uint8)), "move the channels last"),
        ("a.npy", lambda path: np.save(path, np.zeros((0, 3, 3), np.uint8)), "holds no image"),
        ("a.npz", lambda path: path.write_bytes(b"nothing"), "not an .npz archive, or cut short"),
        ("a.npz", cut_short, "not an .npz archive, or cut short"),
        ("a.npz", stated_to_be_more, "has 18 bytes, its header states 81"),
        ("a.npz", fortran, "numpy.ascontiguousarray"),
        ("a.npz", lambda path: np.savez(path, images=np.zeros(3)), "float64; expected uint8"),
        ("a.npz", lambda path: np.savez(path, images=np.array([{}], dtype=object)), "object; expected uint8"),
        ("a.npz", lambda path: zipfile.ZipFile(path, "w").close(), "holds nothing"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_no_input_is_refused_before_anything_is_read(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        open_image_source(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_npy_file_that_is_an_archive(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.stack([gray(0)]))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(InputError, match=r"a\.npy: an archive of several arrays \(\.npz\)"):
        open_image_source(tmp_path / "a.npy")


def test_an_archive_that_is_damaged_further_on(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.stack([gray(seed) for seed in range(3000)]))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[50_000] ^= 255
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: not an \.npz archive, or cut short"):
        pictures(tmp_path / "a.npz")


def test_images_too_large_to_be_meant(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1, 2**13 + 1, 2**13), dtype=np.uint8))
    with pytest.raises(InputError, match="images of more than 67,108,864 pixels"):
        open_image_source(tmp_path / "a.npz")
