"""Images without labels, one after the other: from files, folders and arrays, never all of them in memory."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from preceptor.data.arrays import array_names, check_images, load_array, opened_archive, read_array_header
from preceptor.data.images import MOST_PIXELS, ImageSpec, is_passed_by, pixels_from_array, read_header, read_pixels
from preceptor.errors import InputError
from preceptor.files import check_is_file, name_as_text

_IMAGES = "images"


@dataclass(frozen=True)
class ImageItem:
    """One image, or the ``error`` for which it cannot be used; ``index`` is that in an array, from 0.

    Bytes in the file's name that are not UTF-8 are written ``\\udcNN``.
    """

    name: str
    index: int | None
    pixels: UInt8[Tensor, "channels height width"] | None
    error: str | None


class ImageSource(Protocol):
    """Images of one input."""

    def __len__(self) -> int:
        """Number of images, those included that cannot be used."""
        ...

    def images(self, spec: ImageSpec) -> Iterator[ImageItem]:
        """Each of them in order, brought to a spec."""
        ...


def open_image_source(path: Path) -> ImageSource:
    """An image file, a folder with images at any depth, or an ``.npy`` or ``.npz`` file of uint8 images.

    A folder's files come in the order of their names, folder by folder, without those of ``is_passed_by``. An array is
    n x height x width, or n x height x width x channels with 1 or 3 channels; of an ``.npz`` file it is the one called
    ``images``, else ``test_images``, else the only one. Files and arrays are brought to a spec as a training folder's
    images are; nothing is unpickled.

    Raises:
        InputError: nothing there, a folder without a file, or an array that is damaged or not one of images.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder: give images, a folder of images, FILE.npy or FILE.npz")
    if path.is_dir():
        return _ImageFiles(path)
    if path.suffix == ".npy":
        return _Array(path)
    return _Archive(path) if path.suffix == ".npz" else _ImageFiles(path)


class _ImageFiles:
    """One image file, or those of a folder at any depth."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = sum(1 for _ in self._paths())
        if self._count == 0:
            raise InputError(f"{path}: no image in this folder; give a folder with images")

    def __len__(self) -> int:
        return self._count

    def images(self, spec: ImageSpec) -> Iterator[ImageItem]:
        for path in self._paths():
            name, error = name_as_text(path), None
            try:
                if not path.is_file():  # reading a pipe would wait without end
                    raise InputError(f"{path}: not a file, or a link to none")
                read_header(path)
                pixels = read_pixels(path, spec)
            except InputError as refusal:
                pixels, error = None, name_as_text(str(refusal).removeprefix(f"{path}: "))
            yield ImageItem(name, None, pixels, error)

    def _paths(self) -> Iterator[Path]:
        # Walked anew each time: the names of millions of files need not be in memory.
        return _files_under(self._path) if self._path.is_dir() else iter((self._path,))


def _files_under(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Every file that is not passed by; a link back to a folder above is not followed."""
    try:
        status, children = folder.stat(), sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); allow reading it or remove it") from error
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    for child in children:
        if is_passed_by(child):
            continue
        if child.is_dir():
            yield from _files_under(child, above | {identity})
        else:
            yield child


class _Array:
    """An ``.npy`` file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        check_is_file(path)
        self._path, self._array = path, load_array(path, mapped=True)
        _check_images(path, "the array", self._array.dtype, self._array.shape)

    def __len__(self) -> int:
        return len(self._array)

    def images(self, spec: ImageSpec) -> Iterator[ImageItem]:
        return _from_rows(self._path, self._array, spec)


class _Archive:
    """An array of an ``.npz`` file, unpacked image by image."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with opened_archive(path) as archive:
            self._key = _key_of(path, array_names(archive))
            with archive.open(f"{self._key}.npy") as file:
                self._shape, in_columns, dtype = read_array_header(path, archive, self._key, file)
        _check_images(path, self._key, dtype, self._shape)
        if in_columns:
            key = self._key
            raise InputError(f"{path}: {key} is stored column by column; save numpy.ascontiguousarray({key})")

    def __len__(self) -> int:
        return self._shape[0]

    def images(self, spec: ImageSpec) -> Iterator[ImageItem]:
        return _from_rows(self._path, self._rows(), spec)

    def _rows(self) -> Iterator[NDArray[np.uint8]]:
        shape = self._shape[1:]
        with opened_archive(self._path) as archive, archive.open(f"{self._key}.npy") as file:
            read_array_header(self._path, archive, self._key, file)
            for _ in range(len(self)):
                yield np.frombuffer(file.read(math.prod(shape)), dtype=np.uint8).reshape(shape)


def _key_of(path: Path, names: Sequence[str]) -> str:
    known = [name for name in (_IMAGES, "test_images") if name in names]
    if known or len(names) == 1:
        return (known or names)[0]
    held = ", ".join(sorted(names)) or "nothing"
    raise InputError(f"{path}: holds {held}: call the array of images {_IMAGES!r}")


def _check_images(path: Path, key: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    check_images(path, key, dtype, shape)
    if math.prod(shape[1:3]) > MOST_PIXELS:
        raise InputError(f"{path}: {key} holds images of more than {MOST_PIXELS:,} pixels; scale them down")


def _from_rows(path: Path, rows: Iterable[NDArray[np.uint8]], spec: ImageSpec) -> Iterator[ImageItem]:
    name = name_as_text(path)
    for index, row in enumerate(rows):
        yield ImageItem(name, index, _pixels(np.array(row), spec), None)


def _pixels(row: NDArray[np.uint8], spec: ImageSpec) -> UInt8[Tensor, "channels height width"]:
    # Most arrays have the model's own size: without Pillow they are read many times faster.
    if row.shape[:2] == (spec.height, spec.width) and (row.ndim == 2 or row.shape[2] == 1) == (spec.channels == 1):
        return torch.from_numpy(row.reshape(spec.height, spec.width, spec.channels)).permute(2, 0, 1)
    return pixels_from_array(row, spec)
