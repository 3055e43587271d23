"""Images and labels as plain arrays in an ``.npz`` file. Nothing is ever unpickled."""

import math
import zipfile
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from torch import Tensor

from preceptor.data.dataset import Contents, ImageSet
from preceptor.errors import InputError

_KNOWN = ("train_images", "train_labels", "test_images", "test_labels", "class_names")


def read_arrays(path: Path) -> Contents:
    """The sets of an ``.npz`` file.

    It holds ``train_images`` (uint8, n x height x width, or n x height x width x channels with 1 or 3 channels) and
    ``train_labels`` (whole numbers, n), perhaps ``test_images`` and ``test_labels``, and perhaps ``class_names``
    (strings). Other arrays are left unread. One array at a time is read, so that beside the result at most one more
    copy of one of them is in memory.

    Raises:
        InputError: for a file that is missing, damaged or no ``.npz``; for an array that is missing, pickled, or of the
            wrong type or shape.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an .npz file with train_images and train_labels")
    if not _is_archive(path):
        raise InputError(f"{path}: not an .npz archive, or cut short; write it with numpy.savez")
    with _opened(path) as archive:
        return _read_contents(path, archive)


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it says of itself that it is one of several
        return False


def _opened(path: Path) -> NpzFile:
    try:
        archive = np.load(path, allow_pickle=False)
    except Exception as error:  # an archive of a later version is NotImplementedError, and there are others
        raise InputError(f"{path}: damaged archive ({error}); write it again") from error
    if not isinstance(archive, NpzFile):
        raise InputError(f"{path}: one array, not an .npz archive of several; write it with numpy.savez")
    return archive


def _read_contents(path: Path, archive: NpzFile) -> Contents:
    offered = set(archive.files)
    _refuse_misspelt(path, offered)
    has_test = bool(offered & {"test_images", "test_labels"})
    return Contents(
        _read_set(path, archive, "train"),
        _read_set(path, archive, "test") if has_test else None,
        _read_names(path, archive) if "class_names" in offered else None,
    )


def _refuse_misspelt(path: Path, offered: Collection[str]) -> None:
    """A test set must not go missing because its name has a slip in it."""
    absent = [name for name in _KNOWN if name not in offered]
    for name in sorted(set(offered) - set(_KNOWN)):
        if near := get_close_matches(name, absent, n=1, cutoff=0.85):
            raise InputError(f"{path}: unknown array {name!r}: did you mean {near[0]!r}? known: {', '.join(_KNOWN)}")


def _read_set(path: Path, archive: NpzFile, split: str) -> ImageSet:
    return ImageSet(
        _as_images(path, f"{split}_images", _read(path, archive, f"{split}_images")),
        _as_labels(path, f"{split}_labels", _read(path, archive, f"{split}_labels")),
    )


def _read(path: Path, archive: NpzFile, key: str) -> NDArray[Any]:
    if key not in archive.files:
        near = get_close_matches(key, set(archive.files) - set(_KNOWN), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r} for it?" if near else ""
        raise InputError(f"{path}: no array {key!r}; it holds {', '.join(sorted(archive.files)) or 'nothing'}{hint}")
    _check_bytes(path, archive, key)
    try:
        array = archive[key]
    except MemoryError:
        raise
    except Exception as error:  # a damaged header makes NumPy raise nearly anything, a TokenError for one
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: array {key!r} cannot be read ({reason}); write it again as a plain array with numpy.savez, "
            "pickled objects are never loaded"
        ) from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: {key!r} is not a NumPy array; write it again with numpy.savez")
    return array


def unreadable(path: Path, error: Exception) -> InputError:
    """The error for a ``.npy`` file that NumPy cannot read; its advice to unpickle is kept from the user."""
    if "pickle" in str(error):
        reason = "it holds pickled objects, which are never loaded"
    else:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"{path}: not a readable .npy file of numbers ({reason}): write it with numpy.save")


def _check_bytes(path: Path, archive: NpzFile, key: str) -> None:
    """Hold what an array's header says against what is there, before memory is taken for it."""
    if archive.zip is None:
        return
    try:
        with archive.zip.open(f"{key}.npy") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = read(file)
            start = file.tell()
    except Exception:  # whatever it is, reading the array says it better
        return
    said, there = math.prod(shape) * kind.itemsize, archive.zip.getinfo(f"{key}.npy").file_size - start
    if said != there and not kind.hasobject:
        raise InputError(
            f"{path}: array {key!r} is of {said:,} bytes by its header and of {there:,} in truth: write it again with "
            "numpy.savez"
        )


def check_images(path: Path, key: str, kind: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Make sure that an array can be one of images.

    Raises:
        InputError: it is not of uint8, of another shape than n x height x width or n x height x width x channels with
            1 or 3 channels, or holds no image.
    """
    if kind != np.uint8:
        remedy = "scale to 0 to 255 and convert with .round().astype('uint8')"
        raise InputError(f"{path}: {key} is {kind}, allowed is uint8 from 0 to 255; {remedy}")
    if len(shape) != 3 and not (len(shape) == 4 and shape[3] in (1, 3)):
        remedy = "; move the channels last: .transpose(0, 2, 3, 1)" if len(shape) == 4 else ""
        raise InputError(
            f"{path}: {key} has shape {shape}, allowed are n x height x width and "
            f"n x height x width x channels with 1 or 3 channels{remedy}"
        )
    if math.prod(shape) == 0:
        raise InputError(f"{path}: {key} has shape {shape} and so holds no image")


def _as_images(path: Path, key: str, array: NDArray[Any]) -> UInt8[Tensor, "n channels height width"]:
    check_images(path, key, array.dtype, array.shape)
    images = torch.from_numpy(array)
    return images[:, None] if array.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()


def _as_labels(path: Path, key: str, array: NDArray[Any]) -> Int[Tensor, " n"]:
    if array.dtype.kind not in "iu":
        raise InputError(f"{path}: {key} is {array.dtype}, allowed are whole numbers (int or uint)")
    if array.ndim != 1:
        raise InputError(f"{path}: {key} has shape {array.shape}, allowed is one label an image: (n,)")
    if array.max(initial=0) > np.iinfo(np.int64).max:
        raise InputError(f"{path}: {key} holds {array.max()}: no data set has so many classes")
    return torch.from_numpy(array.astype(np.int64))


def _read_names(path: Path, archive: NpzFile) -> tuple[str, ...]:
    names = _read(path, archive, "class_names")
    if names.dtype.kind != "U" or names.ndim != 1:
        raise InputError(f"{path}: class_names is {names.dtype} of shape {names.shape}, allowed is a list of strings")
    return tuple(str(name) for name in names)
