"""The idx files of the MNIST family, gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray

from preceptor.data.dataset import Contents, ImageSet
from preceptor.errors import InputError

_UNSIGNED_BYTES = b"\x00\x00\x08"
_MOST_DIMENSIONS = 3


def read_idx_sets(folders: list[Path]) -> Contents | None:
    """Training and test set from the official four files, each from the first folder that has it.

    Returns:
        the sets, images of shape [n, 1, height, width], or nothing if one of the files is in none of the folders.

    Raises:
        InputError: for a damaged file, naming it.
    """
    paths = [
        _find(folders, f"{part}-{kind}-ubyte") for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    ]
    found = [path for path in paths if path is not None]
    if len(found) < len(paths):
        return None
    return Contents(_read_set(found[0], found[1]), _read_set(found[2], found[3]))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an idx file of unsigned bytes, in up to 3 dimensions.

    Raises:
        InputError: if it cannot be read, is cut short, too long, or not an idx file of bytes.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _parse(path, cast(BinaryIO, file))
    except (OSError, EOFError, zlib.error, OverflowError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read ({error or type(error).__name__}); fetch it again") from error


def _parse(path: Path, file: BinaryIO) -> NDArray[np.uint8]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != _UNSIGNED_BYTES or not 1 <= magic[3] <= _MOST_DIMENSIONS:
        raise InputError(f"{path}: not an idx file of bytes (it begins with {magic.hex(' ') or 'nothing'})")
    sizes = file.read(4 * magic[3])
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4", count=len(sizes) // 4))
    content = bytearray(file.read(math.prod(shape)))
    if len(shape) < magic[3] or len(content) < math.prod(shape) or file.read(1):
        raise InputError(f"{path}: holds other than the {math.prod(shape)} values that its header says; fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _find(folders: list[Path], name: str) -> Path | None:
    candidates = (folder / file for folder in folders for file in (f"{name}.gz", name))
    return next((path for path in candidates if path.is_file()), None)


def _read_set(images_path: Path, labels_path: Path) -> ImageSet:
    images, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, dimensions in ((images_path, images, 3), (labels_path, labels, 1)):
        if array.ndim != dimensions:
            raise InputError(f"{path}: {array.ndim} dimensions, {dimensions} expected")
    return ImageSet(torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64)))
