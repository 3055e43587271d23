"""Images in folders, one folder a class."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from preceptor.data.class_names import check_printable
from preceptor.data.dataset import Contents, ImageSet
from preceptor.data.duplicates import LabeledData, contradictions
from preceptor.data.images import Form, read_header, read_pixels
from preceptor.errors import InputError

_DESKTOP_LITTER = {"Thumbs.db", "desktop.ini"}

Read = TypeVar("Read")


def read_folder(folder: Path, image_size: int | None = None, *, skip_bad_images: bool = False) -> Contents:
    """The images of ``folder/train/CLASS/*`` and ``folder/test/CLASS/*``, or of ``folder/CLASS/*``.

    Without a ``test`` folder there is no test set, and what gets reported is the held-out share of the training images.
    Classes and files are taken in the order of their names. Images are grayscale if all of them are, else RGB: black
    and white, palettes, CMYK, YCbCr and LAB are converted, and of 16-bit color the upper 8 bits are taken. An alpha
    channel is dropped and an orientation tag not heeded. Hidden files are passed by; any other file must be an image
    (BMP, GIF, JPEG, PNG, PPM, TIFF, WebP) of one picture with 8 bits a channel and at most ``images.MOST_PIXELS``.

    Args:
        folder: where the class folders, or ``train`` and ``test``, are.
        image_size: side in pixels to which each image is scaled (bicubic, antialiased) and centrally cropped; without
            it all images must have one size already.
        skip_bad_images: leave out images that cannot be used, and say so in ``Contents.skipped``, rather than raise.
            Which ones follows from the files alone. Of an image in two classes every copy is left out; of one in both
            the training and the test set, the training one.

    Raises:
        InputError: no such folder, no class folder, an empty one, a test class that isn't among the training classes;
            an image that cannot be decoded, has too many pixels, is an animation, is that of another class or of the
            test set, or is of another size than the first; or no image of a class is left.
    """
    train_folder, test_folder = _layout(folder)
    names = _class_folders(train_folder)
    files = _files(train_folder, names, names, test=False)
    if test_folder is not None:
        files += _files(test_folder, _test_classes(test_folder, names), names, test=True)
    gate = _Gate(skip_bad_images)
    files = gate.without(files, contradictions(files))
    files, form = _common_form(files, image_size, gate)
    train = _read_set([file for file in files if not file.test], form, gate)
    test = _read_set([file for file in files if file.test], form, gate)
    _check_left(train, test, names, train_folder, test_folder, gate)
    return Contents(train, None if test_folder is None else test, tuple(names), tuple(sorted(gate.skipped)))


class _Gate:
    """Lets through what can be used; raises what cannot, or notes it where that is to be skipped."""

    def __init__(self, skipping: bool) -> None:
        self.skipping = skipping
        self.skipped: list[str] = []

    def read(self, path: Path, read: Callable[[Path], Read]) -> Read | None:
        try:
            return read(path)
        except InputError as error:
            self._refuse(error)
            return None

    def without(self, files: Sequence[LabeledData], wrong: dict[Path, InputError]) -> list[LabeledData]:
        for error in wrong.values():
            self._refuse(error)
        return [file for file in files if file.path not in wrong]

    def _refuse(self, error: InputError) -> None:
        if not self.skipping:
            raise error
        self.skipped.append(str(error))


def _layout(folder: Path) -> tuple[Path, Path | None]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one with a subfolder of images for each class")
    train, test = folder / "train", folder / "test"
    if _holds_folders(train):
        return train, test if _holds_folders(test) else None
    if _holds_folders(test):
        raise InputError(f"{folder}: has a folder 'test' but none called 'train'; put the training images there")
    return folder, None


def _holds_folders(folder: Path) -> bool:
    """Whether it is a split rather than a class that happens to be called 'train' or 'test'."""
    return folder.is_dir() and any(child.is_dir() for child in folder.iterdir())


def _class_folders(folder: Path) -> list[str]:
    names = sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not names:
        raise InputError(f"{folder}: no class folders; put the images of each class in a subfolder of their own")
    check_printable(names, f"class folders of {folder}")
    return names


def _test_classes(folder: Path, trained: Sequence[str]) -> list[str]:
    names = _class_folders(folder)
    for name in names:
        if name not in trained:
            raise InputError(f"{folder / name}: no training class of that name; there are {', '.join(trained)}")
    return names


def _files(folder: Path, names: Sequence[str], classes: Sequence[str], test: bool) -> list[LabeledData]:
    return [LabeledData(path, classes.index(name), test) for name in names for path in _images_of_class(folder / name)]


def _images_of_class(folder: Path) -> list[Path]:
    files = sorted(
        child for child in folder.iterdir() if not child.name.startswith(".") and child.name not in _DESKTOP_LITTER
    )
    if not files:
        raise InputError(f"{folder}: empty class folder; add images or remove it")
    for file in files:
        if file.is_dir():
            raise InputError(f"{file}: a folder inside a class folder, where only images may be")
        if not file.is_file():  # a pipe would be waited for without end
            raise InputError(f"{file}: not a file, or a link to none; replace or remove it")
    return files


def _common_form(files: Sequence[LabeledData], image_size: int | None, gate: _Gate) -> tuple[list[LabeledData], Form]:
    """Reads the images' headers only; the files whose headers can be read, and what they are brought to."""
    headers = {file: header for file in files if (header := gate.read(file.path, read_header)) is not None}
    if not headers:
        raise InputError(f"{files[0].path if files else 'the folder'}: no image can be used: replace what is there")
    first, size = next((file, header.size) for file, header in headers.items())
    for file, header in headers.items():
        if image_size is None and header.size != size:
            raise InputError(
                f"{file.path}: {header.size[0]} x {header.size[1]} pixels, but {first.path} has {size[0]} x {size[1]}; "
                "give an image size to bring all to"
            )
    width, height = size if image_size is None else (image_size, image_size)
    channels = 1 if all(header.grayscale for header in headers.values()) else 3
    return list(headers), Form(channels, height, width)


def _read_set(files: Sequence[LabeledData], form: Form, gate: _Gate) -> ImageSet:
    images = torch.empty(len(files), form.channels, form.height, form.width, dtype=torch.uint8)
    labels: list[int] = []
    for file in files:
        pixels = gate.read(file.path, lambda path: read_pixels(path, form))
        if pixels is not None:
            images[len(labels)] = pixels
            labels.append(file.label)
    return ImageSet(images[: len(labels)], torch.tensor(labels, dtype=torch.int64))


def _check_left(
    train: ImageSet, test: ImageSet, names: Sequence[str], train_folder: Path, test_folder: Path | None, gate: _Gate
) -> None:
    """What is skipped must not take a class, or the test set, with it."""
    left = set(train.labels.tolist())
    for label, name in enumerate(names):
        if label not in left:
            raise _none_left(train_folder / name, gate)
    if test_folder is not None and len(test) == 0:
        raise _none_left(test_folder, gate)


def _none_left(folder: Path, gate: _Gate) -> InputError:
    reasons = [reason for reason in sorted(gate.skipped) if reason.startswith(f"{folder}{os.sep}")]
    return InputError(f"{folder}: none of its images can be used, the first for this reason: {reasons[0]}")
