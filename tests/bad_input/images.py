"""Images and folders of them."""

import os
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.bad_input.workbench import Row, Workbench, encoded, picture, png_of_size, several


def with_test_set(bench: Workbench, train: str, test: str) -> Path:
    """Photos with a test set, one image of which is also a training image of this class."""
    photos = bench.photos()
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (bench.folder / "split" / split / name).mkdir(parents=True)
    for name in ("cat", "dog"):
        for file in (photos / name).iterdir():
            (bench.folder / "split" / "train" / name / file.name).write_bytes(file.read_bytes())
        (bench.folder / "split" / "test" / name / "t.png").write_bytes(encoded(picture(50 + ord(name[0]))))
    (bench.folder / "split" / "test" / test / "same.png").write_bytes((photos / train / "1.png").read_bytes())
    return bench.folder / "split"


def with_stray_test_class(bench: Workbench) -> Path:
    split = with_test_set(bench, "cat", "cat")
    (split / "test" / "cow").mkdir()
    (split / "test" / "cow" / "1.png").write_bytes(encoded(picture(60)))
    return split


def with_two_validation_sets(bench: Workbench) -> Path:
    split = with_test_set(bench, "cat", "cat")
    for name in ("val", "valid"):
        (split / name / "cat").mkdir(parents=True)
        (split / name / "cat" / "1.png").write_bytes(encoded(picture(70)))
    return split


def with_link(bench: Workbench) -> Path:
    photos = bench.photos()
    (photos / "cat" / "3.png").symlink_to(bench.folder / "nowhere.png")
    return photos


def with_link_out(bench: Workbench) -> Path:
    photos = bench.photos()
    (bench.folder / "elsewhere.png").write_bytes(encoded(picture(80)))
    (photos / "cat" / "3.png").symlink_to(bench.folder / "elsewhere.png")
    return photos


def listed(bench: Workbench, *lines: str) -> Path:
    bench.photos()
    (bench.folder / "list.csv").write_text("\n".join(lines))
    return bench.folder / "list.csv"


def archive(bench: Workbench, mode: str) -> Path:
    with tarfile.open(bench.folder / "train.tar", mode) as tar:
        tar.add(bench.photos() / "cat" / "1.png", "1.png")
    return bench.folder / "train.tar"


def with_pipe(bench: Workbench) -> Path:
    photos = bench.photos()
    os.mkfifo(photos / "cat" / "3.png")
    return photos


def with_folder(bench: Workbench, *names: str) -> Path:
    photos = bench.photos()
    photos.joinpath(*names).mkdir(parents=True)
    return photos


def damaged(content: bytes) -> bytes:
    """One byte of the compressed pixels turned over."""
    place = content.index(b"IDAT") + 12
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


SKIP = "--skip-bad-images"
SKIPPABLE = "; --skip-bad-images goes on without"

ROWS = [
    Row(
        "a zero-byte image",
        lambda b: b.on_photos(cat_3=b""),
        "photos/cat/3.png: not an image that can be read (the file is empty); replace or remove it" + SKIPPABLE,
    ),
    Row(
        "a text called an image",
        lambda b: b.on_photos(cat_3=b"not an image"),
        (
            "photos/cat/3.png: not an image that can be read (not one of BMP, GIF, JPEG, PNG, PPM, "
            "TIFF, WEBP); convert, replace or remove it" + SKIPPABLE
        ),
    ),
    Row(
        "a program for a printer called an image",
        lambda b: b.on_photos(cat_3=b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        (
            "photos/cat/3.png: not an image that can be read (not one of BMP, GIF, JPEG, PNG, PPM, "
            "TIFF, WEBP); convert, replace or remove it" + SKIPPABLE
        ),
    ),
    Row(
        "an image cut short",
        lambda b: b.on_photos(cat_3=encoded(picture(5))[:-60]),
        "photos/cat/3.png: image cannot be decoded (…); replace or remove it" + SKIPPABLE,
    ),
    Row(
        "an image with a damaged byte",
        lambda b: b.on_photos(cat_3=damaged(encoded(picture(5)))),
        "photos/cat/3.png: image cannot be decoded (…); replace or remove it" + SKIPPABLE,
    ),
    Row(
        "an image of 16 bits a pixel",
        lambda b: b.on_photos(cat_3=encoded(picture(5)[..., 0].astype(np.uint16))),
        "photos/cat/3.png: pixels of type 'I;16'; expected 8 bits a channel; convert it" + SKIPPABLE,
    ),
    Row(
        "an image of floating-point numbers",
        lambda b: b.on_photos(cat_3=encoded(Image.fromarray(picture(5)[..., 0].astype(np.float32)), "TIFF")),
        "photos/cat/3.png: pixels of type 'F'; expected 8 bits a channel; convert it" + SKIPPABLE,
    ),
    Row(
        "an animation",
        lambda b: b.on_photos(cat_3=several("GIF")),
        "photos/cat/3.png: 3 pictures in one file; expected one; save the one you mean" + SKIPPABLE,
    ),
    Row(
        "an animation called a PNG",
        lambda b: b.on_photos(cat_3=several("PNG")),
        "photos/cat/3.png: 3 pictures in one file; expected one; save the one you mean" + SKIPPABLE,
    ),
    Row(
        "a stack of pages",
        lambda b: b.on_photos(cat_3=several("TIFF")),
        "photos/cat/3.png: 3 pictures in one file; expected one; save the one you mean" + SKIPPABLE,
    ),
    Row(
        "a small file of 3,600,000,000 pixels",
        lambda b: b.on_photos(cat_3=png_of_size(60_000, 60_000)),
        "photos/cat/3.png: more than 67,108,864 pixels: not decoded; scale it down or remove it" + SKIPPABLE,
    ),
    Row(
        "a small file of 67,117,056 pixels",
        lambda b: b.on_photos(cat_3=png_of_size(8_193, 8_192)),
        "photos/cat/3.png: more than 67,108,864 pixels (8193 x 8192): not decoded; scale it down or remove it"
        + SKIPPABLE,
    ),
    Row(
        "an image of another size",
        lambda b: b.on_photos(cat_3=encoded(picture(5, size=9))),
        "photos/cat/3.png: 9 x 9 pixels, but photos/cat/0.png has 8 x 8; bring all to one size with --image-size",
    ),
    Row(
        "an image in two classes",
        lambda b: b.on_photos(dog_9=encoded(picture(1))),
        "photos/cat/1.png: the same image as photos/dog/9.png, of another class; keep it in the right one; 2 files "
        "cannot be used" + SKIPPABLE,
    ),
    Row(
        "a training image in the test set",
        lambda b: b.on_photos(folder=with_test_set(b, "cat", "cat")),
        (
            "split/train/cat/1.png: the same image as split/test/cat/same.png, of the test set; keep one of the two"
            + SKIPPABLE
        ),
    ),
    Row(
        "a training image in the test set, as another class",
        lambda b: b.on_photos(folder=with_test_set(b, "cat", "dog")),
        (
            "split/test/dog/same.png: the same image as split/train/cat/1.png, of another class; keep it in the right "
            "one; 2 files cannot be used" + SKIPPABLE
        ),
    ),
    Row(
        "an HEIC photograph",
        lambda b: b.on_photos(cat_3=b"\0\0\0\x18ftypheic" + bytes(60)),
        "photos/cat/3.png: not an image that can be read (HEIC or AVIF); convert it to JPEG or PNG" + SKIPPABLE,
    ),
    Row(
        "three images that cannot be used",
        lambda b: b.on_photos(cat_3=b"", dog_3=b"", dog_4=b""),
        "photos/cat/3.png: not an image that can be read (the file is empty); replace or remove it; 3 files cannot be "
        "used" + SKIPPABLE,
    ),
    Row(
        "two folders of validation images",
        lambda b: b.on_photos(folder=with_two_validation_sets(b)),
        "split: has 'val' and 'valid'; keep one folder of validation images",
    ),
    Row(
        "a link to nowhere",
        lambda b: b.on_photos(folder=with_link(b)),
        "photos/cat/3.png: not a file, or a link to none; replace or remove it" + SKIPPABLE,
    ),
    Row(
        "a pipe among the images",
        lambda b: b.on_photos(folder=with_pipe(b)),
        "photos/cat/3.png: not a file, or a link to none; replace or remove it" + SKIPPABLE,
    ),
    Row(
        "a link out of the folder",
        lambda b: b.on_photos(folder=with_link_out(b)),
        "photos/cat/3.png: a link out of the data set's folder, to elsewhere.png; put the images into the folder"
        + SKIPPABLE,
    ),
    Row(
        "an empty class folder",
        lambda b: b.on_photos(folder=with_folder(b, "emu")),
        "photos/emu: empty class folder; add images or remove it",
    ),
    Row(
        "a class whose name steers a terminal",
        lambda b: b.on_photos(folder=with_folder(b, "emu\x1b[2J")),
        ("class folders of photos: the class name 'emu\\x1b[2J' holds a control character or is not UTF-8; rename it"),
    ),
    Row(
        "no class folders",
        lambda b: b.on_photos(folder=b.photos() / "cat"),
        "photos/cat: no class folders; put the images of each class in a subfolder of their own",
    ),
    Row(
        "no such folder",
        lambda b: b.on_photos(folder=b.folder / "nowhere"),
        "nowhere: no such folder; give one with a subfolder of images for each class",
    ),
    Row(
        "a test class that is not taught",
        lambda b: b.on_photos(folder=with_stray_test_class(b)),
        "split/test/cow: no training class of that name; there are cat, dog",
    ),
    Row(
        "a class of nothing but bad images, these to be skipped",
        lambda b: b.on_photos(SKIP, cat_0=b"", cat_1=b"", cat_2=b"x"),
        (
            "photos: none of its 3 images of class 'cat' can be used; the first: photos/cat/0.png: "
            "not an image that can be read (the file is empty); replace or remove it"
        ),
    ),
    Row(
        "bad images to be skipped where there are no files",
        lambda b: b.train(SKIP),
        "skip_bad_images for 'digits': goes with folder:DIR, list:FILE.csv, parquet:PATH, wds:PATH and hf:NAME only; "
        "leave it out",
    ),
    Row(
        "a list without labels",
        lambda b: b.train("--data", f"list:{listed(b, 'path,split')}"),
        "list.csv: no column 'label' among 'path', 'split'; name one so, or labels, class, target, fine_label, cls",
    ),
    Row(
        "a list of a file that is not there",
        lambda b: b.train("--data", f"list:{listed(b, 'path,label', 'photos/cat/9.png,cat', 'photos/dog/1.png,dog')}"),
        "photos/cat/9.png: listed, but no file is there; correct the path or remove the line" + SKIPPABLE,
    ),
    Row(
        "a listed set that is none",
        lambda b: b.train("--data", f"list:{listed(b, 'path,label,split', 'photos/cat/1.png,cat,tset')}"),
        "list.csv: image 1 is of the set 'tset'; expected train, training, val, valid, validation, dev, test, testing",
    ),
    Row(
        "a compressed archive",
        lambda b: b.train("--data", f"wds:{archive(b, 'w:gz')}"),
        "train.tar: not an uncompressed tar archive (…); unpack its compression, or write it again",
    ),
    Row(
        "an archive without labels",
        lambda b: b.train("--data", f"wds:{archive(b, 'w')}"),
        "train.tar: sample '1' has no label; add 1.cls, or 1.json with a label",
    ),
    Row(
        "a text called Parquet",
        lambda b: b.train("--data", f"parquet:{b.file('train.parquet', b'path,label')}"),
        "train.parquet: not a readable Parquet file: …",
    ),
]
