"""Images and labels in .npz, labels in .npy."""

import zipfile
from pathlib import Path

import numpy as np

from tests.bad_input.workbench import IMAGES, Row, Workbench

ZEROS = np.zeros(IMAGES, int)


def npz(bench: Workbench, **arrays: np.ndarray) -> list[object]:
    return bench.train("--data", bench.npz(**arrays))


def changed(bench: Workbench, change: object) -> list[object]:
    spec = bench.npz()
    path = bench.folder / "set.npz"
    path.write_bytes(change(path.read_bytes()))
    return bench.train("--data", spec)


def without(bench: Workbench, name: str) -> list[object]:
    spec = bench.npz()
    path = bench.folder / "set.npz"
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files if key != name}
    np.savez(path, **arrays)
    return bench.train("--data", spec)


def misspelt(bench: Workbench) -> list[object]:
    arrays = {"train_images": np.zeros((12, 8, 8), np.uint8), "train_labels": np.arange(12) % 3}
    np.savez(bench.folder / "set.npz", **arrays, test_imags=arrays["train_images"])
    return bench.train("--data", f"arrays:{bench.folder / 'set.npz'}")


def lying(bench: Workbench) -> list[object]:
    """The header of an array guarantees a million times what is there."""
    spec = bench.npz(train_images=np.zeros((12, 8, 8), np.uint8))
    path = Path(bench.folder / "set.npz")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["train_images.npy"] = parts["train_images.npy"].replace(
        b"(12, 8, 8), }" + b" " * 7, b"(12000000, 8, 8), }" + b" "
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return bench.train("--data", spec)


ODD = np.where(np.arange(12) == 5, -7, np.arange(12) % 3)

ROWS = [
    Row(
        "a label out of range",
        lambda b: npz(b, train_labels=ODD),
        ("data set 'arrays:set.npz': train label -7 at index 5 is out of range; expected 0 to 2, or -1 for unlabeled"),
    ),
    Row(
        "a test label out of range",
        lambda b: npz(b, test_labels=np.array([0, 1, 3])),
        "data set 'arrays:set.npz': test label 3 at index 2 is out of range; expected 0 to 2",
    ),
    Row(
        "an unlabeled test image",
        lambda b: npz(b, test_labels=np.array([0, 1, -1])),
        "data set 'arrays:set.npz': test label -1 at index 2 is out of range; expected 0 to 2",
    ),
    Row(
        "labels that are no whole numbers",
        lambda b: npz(b, train_labels=np.arange(12) % 3 + 0.5),
        "set.npz: train_labels is float64 of shape (12,); expected integers of shape (n,), one an image",
    ),
    Row(
        "labels in words",
        lambda b: npz(b, train_labels=np.array(["cat"] * 12)),
        "set.npz: train_labels is <U3 of shape (12,); expected integers of shape (n,), one an image",
    ),
    Row(
        "a label too few",
        lambda b: npz(b, train_labels=np.arange(11) % 3),
        "data set 'arrays:set.npz': 12 train images but 11 train labels; give one label an image",
    ),
    Row(
        "no labels",
        lambda b: without(b, "train_labels"),
        "set.npz: no array 'train_labels'; it holds test_images, test_labels, train_images",
    ),
    Row(
        "a name with a slip in it",
        misspelt,
        (
            "set.npz: unknown array 'test_imags': did you mean 'test_images'? known: train_images, "
            "train_labels, validation_images, validation_labels, test_images, test_labels, class_names"
        ),
    ),
    Row(
        "a class without an image",
        lambda b: npz(b, train_labels=2 * (np.arange(12) % 2)),
        ("data set 'arrays:set.npz': no training image of class '1' (label 1); add some or take the class out"),
    ),
    Row(
        "one class",
        lambda b: npz(b, train_labels=np.zeros(12, int), test_labels=np.zeros(3, int)),
        "data set 'arrays:set.npz': 1 class; a classifier needs at least 2",
    ),
    Row(
        "no image at all",
        lambda b: npz(b, train_images=np.zeros((0, 8, 8), np.uint8)),
        "set.npz: train_images has shape (0, 8, 8) and so holds no image",
    ),
    Row(
        "images in floating point",
        lambda b: npz(b, train_images=np.zeros((12, 8, 8), np.float32)),
        (
            "set.npz: train_images is float32; expected uint8 from 0 to 255; scale to 0 to 255 and "
            "convert with .round().astype('uint8')"
        ),
    ),
    Row(
        "images with the channels first",
        lambda b: npz(b, train_images=np.zeros((12, 3, 8, 8), np.uint8)),
        (
            "set.npz: train_images has shape (12, 3, 8, 8); expected n x height x width, or n x "
            "height x width x channels with 1 or 3 channels; move the channels last: .transpose(0, 2, "
            "3, 1)"
        ),
    ),
    Row(
        "test images of another size",
        lambda b: npz(b, test_images=np.zeros((3, 9, 9), np.uint8)),
        (
            "data set 'arrays:set.npz': test images have shape 1 x 9 x 9 (channels x height x width), "
            "training images 1 x 8 x 8; they must be the same"
        ),
    ),
    Row(
        "Python objects in an array",
        lambda b: npz(b, train_labels=np.array([{}] * 12)),
        (
            "set.npz: array 'train_labels' cannot be read (…); write it again as a plain array with "
            "numpy.savez, pickled objects are never loaded"
        ),
    ),
    Row(
        "an array shorter than it says",
        lying,
        ("set.npz: array 'train_images' has 768 bytes, its header states 768,000,000; write it again with numpy.savez"),
    ),
    Row(
        "a class name that steers a terminal",
        lambda b: npz(b, class_names=np.array(["a", "b", "c\x1b[2J"])),
        ("data set 'arrays:set.npz': the class name 'c\\x1b[2J' holds a control character or is not UTF-8; rename it"),
    ),
    Row(
        "an archive cut short",
        lambda b: changed(b, lambda content: content[:-40]),
        "set.npz: not an .npz archive, or cut short (File is not a zip file); write it with numpy.savez",
    ),
    Row(
        "an empty archive",
        lambda b: changed(b, lambda content: b""),
        "set.npz: not an .npz archive, or cut short (File is not a zip file); write it with numpy.savez",
    ),
    Row(
        "labels of another data set",
        lambda b: b.labels(np.arange(100) % 10),
        "labels.npy: 100 labels for 1348 training images; give one for each, in their order",
    ),
    Row(
        "a file of labels in floating point",
        lambda b: b.labels(np.zeros(IMAGES)),
        "labels.npy: the array is float64 of shape (1348,); expected integers of shape (n,), one an image",
    ),
    Row(
        "a file of labels with one out of range",
        lambda b: b.labels(np.full(IMAGES, 10)),
        ("data set 'digits': train label 10 at index 0 is out of range; expected 0 to 9, or -1 for unlabeled"),
    ),
    Row(
        "a file of labels that is a pickle",
        lambda b: b.labels(np.array([{}] * IMAGES)),
        (
            "labels.npy: not a readable .npy file of numbers (it holds pickled objects, which are never"
            " loaded); write it with numpy.save"
        ),
    ),
    Row(
        "a file of labels that is a CSV called .npy",
        lambda b: b.labels_text("labels.npy", "label\n" + "3\n" * IMAGES),
        "labels.npy: is a text or CSV, not a .npy file; name it .csv or .txt",
    ),
    Row(
        "a CSV of labels with a class that is not known",
        lambda b: b.labels_text("labels.csv", "label\n" + "three\n" * IMAGES),
        "labels.csv: label 1 is 'three'; expected an integer, or one of 0, 1, 2 and 7 more",
    ),
    Row(
        "several arrays of labels, and none named",
        lambda b: b.labels_by_key("", clean_label=ZEROS, worse_label=ZEROS),
        "labels.npz: holds clean_label, worse_label; name one of them, as in labels.npz:clean_label",
    ),
    Row(
        "an array of labels that is not there",
        lambda b: b.labels_by_key(":worst_label", aggre_label=ZEROS, worse_label=ZEROS),
        "unknown array of labels.npz 'worst_label': did you mean 'worse_label'? known: aggre_label, worse_label",
    ),
    Row(
        "labels of images in another order",
        lambda b: b.labels_by_key(":worse_label", clean_label=ZEROS, worse_label=ZEROS),
        (
            "labels.npz: its clean_label is not the data's own label at 1,215 of 1,348 images: the images have another "
            "order; bring the labels into the order of the data"
        ),
    ),
    Row(
        "images with an alpha channel",
        lambda b: npz(b, train_images=np.zeros((12, 8, 8, 4), np.uint8)),
        (
            "set.npz: train_images has 4 channels (shape (12, 8, 8, 4)); expected 1 (gray) or 3 (RGB); drop the alpha "
            "channel: [..., :3]"
        ),
    ),
]
