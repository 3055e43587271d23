"""Readers of the files that MNIST, Fashion-MNIST and CIFAR were published as.

MNIST's idx files and CIFAR's binary archive are plain bytes and have small readers here. CIFAR's Python archive is
pickles, and opening a pickle runs what is in it. It is left to torchvision, which compares each file with the official
MD5 before opening it: a file that was changed is refused, not opened.
"""

import contextlib
import gzip
import math
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray

from preceptor.data.dataset import ImageSet, LoadedData
from preceptor.errors import InputError, MachineError, first_line
from preceptor.extras import import_extra

_CIFAR_SHAPE = (3, 32, 32)


def read_idx_sets(folders: Sequence[Path]) -> LoadedData | None:
    """Training and test set from the official four files, gzipped or not, each from the first folder that has it.

    None if one of the files is in none of the folders.

    Raises:
        InputError: for a damaged file, naming it.
    """
    arrays = []
    for name, dimensions in (
        ("train-images-idx3-ubyte", 3),
        ("train-labels-idx1-ubyte", 1),
        ("t10k-images-idx3-ubyte", 3),
        ("t10k-labels-idx1-ubyte", 1),
    ):
        candidates = (folder / file for folder in folders for file in (f"{name}.gz", name))
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            return None
        array = read_idx(path)
        if array.ndim != dimensions:
            raise InputError(f"{path}: {array.ndim} dimensions; expected {dimensions}")
        arrays.append(array)
    train, test = (
        ImageSet(torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64)))
        for images, labels in (arrays[:2], arrays[2:])
    )
    return LoadedData(train, test)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an idx file of unsigned bytes, in up to 3 dimensions (http://yann.lecun.com/exdb/mnist).

    Raises:
        InputError: it cannot be read, is cut short, too long, or not an idx file of bytes.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _parse_idx(path, cast(BinaryIO, file))
    except (OSError, EOFError, zlib.error, OverflowError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); fetch it again") from error


def _parse_idx(path: Path, file: BinaryIO) -> NDArray[np.uint8]:
    magic = file.read(4)  # two zeros, 8 for unsigned bytes, the number of dimensions
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or not 1 <= magic[3] <= 3:
        raise InputError(f"{path}: not an idx file of bytes (it begins with {magic.hex(' ') or 'nothing'})")
    sizes = file.read(4 * magic[3])
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4", count=len(sizes) // 4))
    content = bytearray(file.read(math.prod(shape)))
    if len(shape) < magic[3] or len(content) < math.prod(shape) or file.read(1):
        raise InputError(f"{path}: does not hold the {math.prod(shape)} values that its header states; fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_cifar(folder: Path, *, train: Sequence[str], test: str, label_bytes: int) -> LoadedData | None:
    """CIFAR's official binary archive, unpacked; None without the folder.

    Each record is one label byte (CIFAR-10) or two, coarse then fine (CIFAR-100), and 3,072 pixel bytes, channel by
    channel (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html). The last label byte is read.

    Raises:
        InputError: for a missing or damaged file, naming it.
    """
    if not folder.is_dir():
        return None
    train_set = _read_records([folder / name for name in train], label_bytes)
    return LoadedData(train_set, _read_records([folder / test], label_bytes))


def _read_records(paths: Sequence[Path], label_bytes: int) -> ImageSet:
    size, batches = label_bytes + math.prod(_CIFAR_SHAPE), []
    for path in paths:
        try:
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); fetch the archive again") from error
        if len(content) == 0 or len(content) % size:
            raise InputError(f"{path}: {len(content)} bytes; expected whole records of {size}; fetch the archive again")
        batches.append(content.reshape(-1, size))
    records = np.concatenate(batches)
    images = np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, *_CIFAR_SHAPE)
    return ImageSet(torch.from_numpy(images), torch.from_numpy(records[:, label_bytes - 1].astype(np.int64)))


def read_with_torchvision(class_name: str, root: Path, download: bool) -> LoadedData:
    """Training and test set of one of ``torchvision.datasets``, which check the official MD5.

    Without ``download`` the network is never used.

    Raises:
        MachineError: torchvision is missing or cannot load, or the download failed.
        InputError: the files are incomplete, or not the official ones.
    """
    library = import_extra("torchvision.datasets", "vision", "this data set (except CIFAR's binary archive)")
    dataset_class = getattr(library, class_name)
    sets = []
    for train in (True, False):
        part = {"split": "train" if train else "test"} if class_name == "SVHN" else {"train": train}
        try:
            # torchvision prints its progress, which would end up in the middle of --json.
            with contextlib.redirect_stdout(sys.stderr):
                dataset = dataset_class(root=str(root), download=download, **part)
        except (RuntimeError, OSError, EOFError) as error:
            if download:
                raise MachineError(
                    f"download of {class_name} to {root} failed ({first_line(error)}); check the network and the space "
                    "on disk, then try again"
                ) from error
            raise InputError(
                f"{class_name} under {root}: incomplete, or not the official files ({first_line(error)}); remove it "
                "and fetch it again"
            ) from error
        sets.append(_as_image_set(dataset))
    return LoadedData(sets[0], sets[1])


def _as_image_set(dataset: Any) -> ImageSet:
    pixels = torch.as_tensor(dataset.data, dtype=torch.uint8)
    if pixels.ndim == 3:
        images = pixels[:, None]
    else:
        images = (pixels if pixels.shape[1] == 3 else pixels.permute(0, 3, 1, 2)).contiguous()  # SVHN's channels first
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    return ImageSet(images, torch.as_tensor(labels, dtype=torch.int64))
