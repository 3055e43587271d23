"""Images in folders, one folder a class."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from preceptor.data.dataset import Contents, ImageSet
from preceptor.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

# Formats that Pillow decodes itself: EPS, for one, would start another program on a stranger's file.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_GREYSCALE = {"1", "L", "LA"}
_COLOUR = {"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"}
_DESKTOP_LITTER = {"Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class _Form:
    """What all images are brought to."""

    channels: int
    height: int
    width: int


def read_folder(folder: Path, image_size: int | None = None) -> Contents:
    """The images of ``folder/train/CLASS/*`` and ``folder/test/CLASS/*``, or of ``folder/CLASS/*``.

    Without a ``test`` folder there is no test set, and what gets reported is the held-out share of the training images.
    Classes and files are taken in the order of their names. Images are greyscale if all of them are, else RGB; an alpha
    channel is dropped and an orientation tag not heeded. Hidden files are passed by; any other file must be an image
    (BMP, GIF, JPEG, PNG, PPM, TIFF, WebP) with 8 bits a channel.

    Args:
        folder: where the class folders, or ``train`` and ``test``, are.
        image_size: side in pixels to which each image is scaled (bicubic, antialiased) and centrally cropped; without
            it all images must have one size already.

    Raises:
        InputError: no such folder, no class folder, an empty one, a test class that isn't among the training classes;
            an image that cannot be decoded, is suspiciously large (Pillow's limit) or of another size than the first.
    """
    train_folder, test_folder = _layout(folder)
    class_names = _class_folders(train_folder)
    train_files = _files(train_folder, class_names, class_names)
    test_files = (
        [] if test_folder is None else _files(test_folder, _test_classes(test_folder, class_names), class_names)
    )
    form = _common_form([path for path, _ in train_files + test_files], image_size)
    return Contents(
        _read_set(train_files, form),
        None if test_folder is None else _read_set(test_files, form),
        tuple(class_names),
    )


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
    return names


def _test_classes(folder: Path, trained: Sequence[str]) -> list[str]:
    names = _class_folders(folder)
    for name in names:
        if name not in trained:
            raise InputError(f"{folder / name}: no training class of that name; there are {', '.join(trained)}")
    return names


def _files(folder: Path, names: Sequence[str], classes: Sequence[str]) -> list[tuple[Path, int]]:
    return [(path, classes.index(name)) for name in names for path in _images_of_class(folder / name)]


def _images_of_class(folder: Path) -> list[Path]:
    files = sorted(
        child for child in folder.iterdir() if not child.name.startswith(".") and child.name not in _DESKTOP_LITTER
    )
    if not files:
        raise InputError(f"{folder}: empty class folder; add images or remove it")
    for file in files:
        if file.is_dir():
            raise InputError(f"{file}: a folder inside a class folder, where only images may be")
    return files


def _common_form(paths: Sequence[Path], image_size: int | None) -> _Form:
    """Reads the images' headers only."""
    channels, first = 1, _header(paths[0])[1]
    for path in paths:
        greyscale, size = _header(path)
        channels = channels if greyscale else 3
        if image_size is None and size != first:
            raise InputError(
                f"{path}: {size[0]} x {size[1]} pixels, but {paths[0]} has {first[0]} x {first[1]}; "
                "give an image size to bring all to"
            )
    width, height = first if image_size is None else (image_size, image_size)
    return _Form(channels, height, width)


def _header(path: Path) -> tuple[bool, tuple[int, int]]:
    """Whether an image is greyscale, and its width and height."""
    with _opened(path) as image:
        if image.mode not in _GREYSCALE | _COLOUR:
            raise InputError(f"{path}: pixels of type {image.mode!r}, allowed are 8 bits a channel; convert it")
        return image.mode in _GREYSCALE, image.size


def _read_set(files: Sequence[tuple[Path, int]], form: _Form) -> ImageSet:
    images = torch.empty(len(files), form.channels, form.height, form.width, dtype=torch.uint8)
    for position, (path, _) in enumerate(files):
        images[position] = _pixels(path, form)
    return ImageSet(images, torch.tensor([label for _, label in files], dtype=torch.int64))


def _pixels(path: Path, form: _Form) -> UInt8[Tensor, "channels height width"]:
    from PIL import ImageOps
    from PIL.Image import Resampling

    with _opened(path) as opened:
        # Pillow advises this detour for palettes with transparency, and warns without it.
        image = opened.convert("RGBA") if "transparency" in opened.info else opened
        image = image.convert("L" if form.channels == 1 else "RGB")
        image = ImageOps.fit(image, (form.width, form.height), method=Resampling.BICUBIC)
        pixels = np.array(image).reshape(form.height, form.width, form.channels)
    return torch.from_numpy(pixels).permute(2, 0, 1)


@contextmanager
def _opened(path: Path) -> Iterator["Image"]:
    """An open image; whatever goes wrong with it becomes an error that names the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        reason = "the file is empty" if path.stat().st_size == 0 else f"not one of {', '.join(_FORMATS)}"
        raise InputError(f"{path}: not an image that can be read ({reason}); replace or remove it") from error
    except Exception as error:  # a damaged file can make Pillow's decoders raise nearly anything
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: image cannot be decoded ({reason}); replace or remove it") from error
