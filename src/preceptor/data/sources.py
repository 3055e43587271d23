"""Images without labels, one after the other: from files, folders and arrays, never all of them in memory."""

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from preceptor.data.arrays import check_images, unreadable
from preceptor.data.images import MOST_PIXELS, Form, pixels_in_form, read_header, read_pixels
from preceptor.errors import InputError
from preceptor.files import check_is_file

_LITTER = {"Thumbs.db", "desktop.ini"}
_IMAGES = "images"


@dataclass(frozen=True)
class ImageItem:
    """One image, or why there is none.

    Attributes:
        name: of its file, or of the array's; bytes in it that are not UTF-8 are written ``\\udcNN``.
        index: its place in an array, from 0; None for a file.
        pixels: None where it cannot be used.
        error: why; None where it can be.
    """

    name: str
    index: int | None
    pixels: UInt8[Tensor, "channels height width"] | None
    error: str | None


class Source(Protocol):
    """Images of one input."""

    def __len__(self) -> int:
        """How many there are, those among them that cannot be used."""
        ...

    def pictures(self, form: Form) -> Iterator[ImageItem]:
        """Each of them brought to a form, in order."""
        ...


def open_image_source(path: Path) -> Source:
    """An image file, a folder with images at any depth, or an ``.npy`` or ``.npz`` file of uint8 images.

    A folder's files come in the order of their names, folder by folder; hidden ones are passed by. An array is
    n x height x width, or n x height x width x channels with 1 or 3 channels; of an ``.npz`` file it is the one called
    ``images``, else ``test_images``, else the only one. Files and arrays are brought to a form as a training folder's
    images are; nothing is unpickled.

    Raises:
        InputError: nothing there, a folder without a file, or an array that is damaged or not one of images.
    """
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder: give images, a folder of images, FILE.npy or FILE.npz")
    if path.suffix == ".npy":
        return _Array(path)
    return _Archive(path) if path.suffix == ".npz" else _File(path)


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __len__(self) -> int:
        return 1

    def pictures(self, form: Form) -> Iterator[ImageItem]:
        yield _picture(self._path, form)


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = sum(1 for _ in _files_under(path))
        if self._count == 0:
            raise InputError(f"{path}: no image in this folder: give one that holds some")

    def __len__(self) -> int:
        return self._count

    def pictures(self, form: Form) -> Iterator[ImageItem]:
        return (_picture(path, form) for path in _files_under(self._path))


def _files_under(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Every file that is not hidden; a link to a folder that one is already in leads nowhere new."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for child in sorted(folder.iterdir()):
        if child.name.startswith(".") or child.name in _LITTER:
            continue
        if child.is_dir():
            yield from _files_under(child, above | {here})
        else:
            yield child


def _picture(path: Path, form: Form) -> ImageItem:
    name = _as_text(path)
    try:
        if not path.is_file():  # a pipe would be waited for without end
            raise InputError(f"{path}: not a file, or a link to none")
        read_header(path)
        return ImageItem(name, None, read_pixels(path, form), None)
    except InputError as error:
        return ImageItem(name, None, None, _as_text(str(error).removeprefix(f"{path}: ")))


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
            raise unreadable(path, error) from error
        if not isinstance(self._array, np.ndarray):
            raise InputError(f"{path}: an archive of several arrays: call it .npz")
        _check(path, "the array", self._array.dtype, self._array.shape)

    def __len__(self) -> int:
        return len(self._array)

    def pictures(self, form: Form) -> Iterator[ImageItem]:
        return _from_rows(self._path, self._array, form)


class _Archive:
    """An array of an ``.npz`` file, unpacked image by image."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _opened(path) as archive:
            self._key = _key_of(path, [name.removesuffix(".npy") for name in archive.namelist()])
            with archive.open(f"{self._key}.npy") as file:
                self._shape = _header(path, self._key, file)
                said, there = math.prod(self._shape), archive.getinfo(f"{self._key}.npy").file_size - file.tell()
        if said != there:
            raise InputError(
                f"{path}: array {self._key!r} is of {said:,} bytes by its header and of {there:,} in truth: write it "
                "again with numpy.savez"
            )

    def __len__(self) -> int:
        return self._shape[0]

    def pictures(self, form: Form) -> Iterator[ImageItem]:
        return _from_rows(self._path, self._rows(), form)

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
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a whole .npz archive ({reason}): write it with numpy.savez") from error


def _key_of(path: Path, names: Sequence[str]) -> str:
    known = [name for name in (_IMAGES, "test_images") if name in names]
    if known or len(names) == 1:
        return (known or names)[0]
    held = ", ".join(sorted(names)) or "nothing"
    raise InputError(f"{path}: holds {held}: call the array of images {_IMAGES!r}, so that it can be told")


def _header(path: Path, key: str, file: IO[bytes]) -> tuple[int, ...]:
    """The shape of an array of images; the file then stands at its first byte."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, kind = read(file)
    _check(path, key, kind, shape)
    if in_columns:
        raise InputError(f"{path}: {key} is stored column by column: save numpy.ascontiguousarray({key})")
    return tuple(shape)


def _check(path: Path, key: str, kind: np.dtype[Any], shape: tuple[int, ...]) -> None:
    check_images(path, key, kind, shape)
    if math.prod(shape[1:3]) > MOST_PIXELS:
        raise InputError(f"{path}: {key} holds images of more than {MOST_PIXELS:,} pixels: scale them down")


def _from_rows(path: Path, rows: Any, form: Form) -> Iterator[ImageItem]:
    name = _as_text(path)
    for number, row in enumerate(rows):
        yield ImageItem(name, number, _pixels(np.array(row), form), None)


def _pixels(row: NDArray[np.uint8], form: Form) -> UInt8[Tensor, "channels height width"]:
    if row.shape[:2] == (form.height, form.width) and (row.ndim == 2 or row.shape[2] == 1) == (form.channels == 1):
        return torch.from_numpy(row.reshape(form.height, form.width, form.channels)).permute(2, 0, 1)
    return pixels_in_form(row, form)
