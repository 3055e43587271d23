"""Images without labels, one after the other: from files, folders and arrays, never all of them in memory."""

import math
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from preceptor.data.arrays import check_images, check_stored_size, not_readable, read_array_header
from preceptor.data.images import MOST_PIXELS, ImageSpec, is_passed_by, pixels_from_array, read_header, read_pixels
from preceptor.errors import InputError, first_line
from preceptor.files import check_is_file

_IMAGES = "images"


@dataclass(frozen=True)
class ImageItem:
    """One image, or why there is none.

    Attributes:
        name: of its file, or of the array's file; bytes in it that are not UTF-8 are written ``\\udcNN``.
        index: in an array, from 0; None for a file.
        pixels: None where it cannot be used.
        error: why; None where it can be.
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
        return _Files(path)
    if path.suffix == ".npy":
        return _Array(path)
    return _Archive(path) if path.suffix == ".npz" else _Files(path)


class _Files:
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
            name, error = _as_text(path), None
            try:
                if not path.is_file():  # reading a pipe would wait without end
                    raise InputError(f"{path}: not a file, or a link to none")
                read_header(path)
                pixels = read_pixels(path, spec)
            except InputError as refusal:
                pixels, error = None, _as_text(str(refusal).removeprefix(f"{path}: "))
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


def _as_text(name: str | Path) -> str:
    return str(name).encode("utf-8", "backslashreplace").decode()


class _Array:
    """An ``.npy`` file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        check_is_file(path)
        try:
            self._array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # a damaged header makes NumPy raise nearly anything, a TokenError for one
            raise not_readable(path, error) from error
        if not isinstance(self._array, np.ndarray):
            raise InputError(f"{path}: an archive of several arrays: call it .npz")
        _check_images(path, "the array", self._array.dtype, self._array.shape)

    def __len__(self) -> int:
        return len(self._array)

    def images(self, spec: ImageSpec) -> Iterator[ImageItem]:
        return _from_rows(self._path, self._array, spec)


class _Archive:
    """An array of an ``.npz`` file, unpacked image by image."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _opened(path) as archive:
            self._key = _key_of(path, [name.removesuffix(".npy") for name in archive.namelist()])
            with archive.open(f"{self._key}.npy") as file:
                self._shape = _header(path, self._key, file)
                stated, stored = math.prod(self._shape), archive.getinfo(f"{self._key}.npy").file_size - file.tell()
        check_stored_size(path, self._key, stated, stored)

    def __len__(self) -> int:
        return self._shape[0]

    def images(self, spec: ImageSpec) -> Iterator[ImageItem]:
        return _from_rows(self._path, self._rows(), spec)

    def _rows(self) -> Iterator[NDArray[np.uint8]]:
        shape = self._shape[1:]
        with _opened(self._path) as archive, archive.open(f"{self._key}.npy") as file:
            _header(self._path, self._key, file)
            for _ in range(len(self)):
                yield np.frombuffer(file.read(math.prod(shape)), dtype=np.uint8).reshape(shape)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An open archive; whatever goes wrong with it becomes an error that names it."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (InputError, MemoryError):
        raise
    except Exception as error:  # of a damaged archive nearly anything, NotImplementedError for one
        raise InputError(
            f"{path}: not a whole .npz archive ({first_line(error)}); write it with numpy.savez"
        ) from error


def _key_of(path: Path, names: Sequence[str]) -> str:
    known = [name for name in (_IMAGES, "test_images") if name in names]
    if known or len(names) == 1:
        return (known or names)[0]
    held = ", ".join(sorted(names)) or "nothing"
    raise InputError(f"{path}: holds {held}: call the array of images {_IMAGES!r}")


def _header(path: Path, key: str, file: IO[bytes]) -> tuple[int, ...]:
    """The shape of an array of images; the file then stands at its first byte."""
    shape, in_columns, dtype = read_array_header(file)
    _check_images(path, key, dtype, shape)
    if in_columns:
        raise InputError(f"{path}: {key} is stored column by column; save numpy.ascontiguousarray({key})")
    return tuple(shape)


def _check_images(path: Path, key: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    check_images(path, key, dtype, shape)
    if math.prod(shape[1:3]) > MOST_PIXELS:
        raise InputError(f"{path}: {key} holds images of more than {MOST_PIXELS:,} pixels; scale them down")


def _from_rows(path: Path, rows: Iterable[NDArray[np.uint8]], spec: ImageSpec) -> Iterator[ImageItem]:
    name = _as_text(path)
    for index, row in enumerate(rows):
        yield ImageItem(name, index, _pixels(np.array(row), spec), None)


def _pixels(row: NDArray[np.uint8], spec: ImageSpec) -> UInt8[Tensor, "channels height width"]:
    # Most arrays have the model's own size: without Pillow they are read many times faster.
    if row.shape[:2] == (spec.height, spec.width) and (row.ndim == 2 or row.shape[2] == 1) == (spec.channels == 1):
        return torch.from_numpy(row.reshape(spec.height, spec.width, spec.channels)).permute(2, 0, 1)
    return pixels_from_array(row, spec)
