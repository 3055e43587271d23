"""Images and labels as plain arrays in an ``.npz`` file. Nothing is ever unpickled."""

import math
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from preceptor.data.dataset import ImageSet, LoadedData
from preceptor.errors import InputError, first_line

_KNOWN = (
    *(f"{split}_{kind}" for split in ("train", "validation", "test") for kind in ("images", "labels")),
    "class_names",
)


def read_arrays(path: Path) -> LoadedData:
    """The sets of an ``.npz`` file.

    It holds ``train_images`` (uint8, n x height x width, or n x height x width x channels with 1 or 3 channels) and
    ``train_labels`` (integers, n); perhaps the same of ``validation`` and ``test``; and perhaps ``class_names``
    (strings). Other arrays are left unread. Arrays are read one at a time: peak memory is the result and one copy of
    the largest.

    Raises:
        InputError: for a file that is missing, damaged or no ``.npz``; for an array that is missing, pickled, or of the
            wrong type or shape.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an .npz file with train_images and train_labels")
    with opened_archive(path) as archive:
        names = array_names(archive)
        _refuse_misspelled(path, names)
        sets = {
            split: _read_set(path, archive, split)
            for split in ("train", "validation", "test")
            if split == "train" or {f"{split}_images", f"{split}_labels"} & set(names)
        }
        class_names = _read_names(path, archive) if "class_names" in names else None
    return LoadedData(sets["train"], sets.get("test"), class_names, validation=sets.get("validation"))


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """An open ``.npz`` archive; whatever goes wrong with it becomes an error that names it."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (InputError, MemoryError):
        raise
    except Exception as error:  # of a damaged archive nearly anything, NotImplementedError for one
        raise InputError(
            f"{path}: not an .npz archive, or cut short ({first_line(error)}); write it with numpy.savez"
        ) from error


def array_names(archive: zipfile.ZipFile) -> list[str]:
    """The names of an archive's arrays."""
    return [name.removesuffix(".npy") for name in archive.namelist()]


def _refuse_misspelled(path: Path, names: Collection[str]) -> None:
    """A misspelled name must not make a test set go missing."""
    absent = [name for name in _KNOWN if name not in names]
    for name in sorted(set(names) - set(_KNOWN)):
        if near := get_close_matches(name, absent, n=1, cutoff=0.85):
            raise InputError(f"{path}: unknown array {name!r}: did you mean {near[0]!r}? known: {', '.join(_KNOWN)}")


def _read_set(path: Path, archive: zipfile.ZipFile, split: str) -> ImageSet:
    array = read_array(path, archive, f"{split}_images")
    check_images(path, f"{split}_images", array.dtype, array.shape)
    images = torch.from_numpy(array)
    images = images[:, None] if array.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, as_labels(f"{path}: {split}_labels", read_array(path, archive, f"{split}_labels")))


def read_array(path: Path, archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    """An array of an archive by its name.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    names = array_names(archive)
    if key not in names:
        near = get_close_matches(key, set(names) - set(_KNOWN), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r} for it?" if near else ""
        raise InputError(f"{path}: no array {key!r}; it holds {', '.join(sorted(names)) or 'nothing'}{hint}")
    try:
        with archive.open(f"{key}.npy") as file:
            read_array_header(path, archive, key, file)  # compares the sizes before NumPy allocates what is stated
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged header makes NumPy raise nearly anything, a TokenError for one
        raise InputError(
            f"{path}: array {key!r} cannot be read ({first_line(error)}); write it again as a plain array with "
            "numpy.savez, pickled objects are never loaded"
        ) from error


def read_array_header(
    path: Path, archive: zipfile.ZipFile, key: str, file: IO[bytes]
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is stored column by column, and type of an array; its file then stands at the first value.

    A damaged header raises nearly anything.

    Raises:
        InputError: the array has more or fewer bytes than its header states; both numbers are named.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = read(file)
    stated, stored = math.prod(shape) * dtype.itemsize, archive.getinfo(f"{key}.npy").file_size - file.tell()
    if stated != stored and not dtype.hasobject:
        raise InputError(
            f"{path}: array {key!r} has {stored:,} bytes, its header states {stated:,}; write it again with numpy.savez"
        )
    return shape, in_columns, dtype


def load_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """The array of an ``.npy`` file; ``mapped`` leaves it on the disk.

    Raises:
        InputError: it cannot be read, holds pickled objects, or is an archive.
    """
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # a damaged header makes NumPy raise nearly anything, a TokenError for one
        # Without NumPy's advice to unpickle it.
        reason = "it holds pickled objects, which are never loaded" if "pickle" in str(error) else first_line(error)
        raise InputError(f"{path}: not a readable .npy file of numbers ({reason}); write it with numpy.save") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: an archive of several arrays (.npz); expected one array saved by numpy.save")
    return array


def check_images(path: Path, key: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Check type and shape of an array of images.

    Raises:
        InputError: not uint8, a shape other than n x height x width or n x height x width x channels with 1 or 3
            channels, or no image.
    """
    if dtype != np.uint8:
        remedy = "scale to 0 to 255 and convert with .round().astype('uint8')"
        raise InputError(f"{path}: {key} is {dtype}; expected uint8 from 0 to 255; {remedy}")
    if len(shape) == 4 and shape[3] not in (1, 3) and shape[1] not in (1, 3):
        remedy = "; drop the alpha channel: [..., :3]" if shape[3] == 4 else ""
        raise InputError(f"{path}: {key} has {shape[3]} channels (shape {shape}); expected 1 (gray) or 3 (RGB){remedy}")
    if len(shape) != 3 and not (len(shape) == 4 and shape[3] in (1, 3)):
        remedy = "; move the channels last: .transpose(0, 2, 3, 1)" if len(shape) == 4 else ""
        raise InputError(
            f"{path}: {key} has shape {shape}; expected n x height x width, or n x height x width x channels with 1 or "
            f"3 channels{remedy}"
        )
    if math.prod(shape) == 0:
        raise InputError(f"{path}: {key} has shape {shape} and so holds no image")


def as_labels(where: str, array: NDArray[Any]) -> Int[Tensor, " n"]:
    """An array of labels as int64; ``where`` it comes from is for the message.

    Raises:
        InputError: not one-dimensional, not integers, or an integer beyond int64.
    """
    if array.dtype.kind not in "iu" or array.ndim != 1:
        one_hot = array.ndim == 2 and array.shape[1] > 1
        hint = ": .argmax(axis=1) of one-hot rows" if one_hot else ": .squeeze(1)" if array.ndim == 2 else ""
        raise InputError(
            f"{where} is {array.dtype} of shape {array.shape}; expected integers of shape (n,), one an image{hint}"
        )
    if array.max(initial=0) > np.iinfo(np.int64).max:
        # Converted without this check, 2^64 - 1 would become -1: unlabeled.
        raise InputError(f"{where} holds {array.max()}; no data set has so many classes")
    return torch.from_numpy(array.astype(np.int64))


def _read_names(path: Path, archive: zipfile.ZipFile) -> tuple[str, ...]:
    names = read_array(path, archive, "class_names")
    if names.dtype.kind != "U" or names.ndim != 1:
        raise InputError(f"{path}: class_names is {names.dtype} of shape {names.shape}, expected a list of strings")
    return tuple(str(name) for name in names)
