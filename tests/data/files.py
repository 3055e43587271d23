"""Small files in the formats of the official data sets, with contents that a test can predict."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from preceptor.data.dataset import LoadedData
from preceptor.data.folder import list_folder
from preceptor.data.images import Framing
from preceptor.data.reading import read_images
from preceptor.errors import InputError

Read = TypeVar("Read")


def read_or_refusal(read: Callable[[Path], Read], path: Path) -> Read | InputError:
    """What a reader makes of a file, or the error it refuses it with; any other error is a fault of the reader."""
    try:
        return read(path)
    except InputError as error:
        return error


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def mnist_like(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of 28 x 28 and labels in which all ten classes occur in turn."""
    return np.random.default_rng(seed).integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n) % 10


def write_mnist_files(folder: Path, n_train: int = 20, n_test: int = 10, gzipped: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in {"train": mnist_like(n_train, 0), "t10k": mnist_like(n_test, 1)}.items():
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_bytes(array)
            if gzipped:
                (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
            else:
                (folder / f"{part}-{kind}-ubyte").write_bytes(content)


def cifar_records(n: int, label_bytes: int, classes: int, seed: int) -> np.ndarray:
    """Records of the binary release; the fine label, the last label byte, goes through all classes in turn."""
    records = np.random.default_rng(seed).integers(0, 256, (n, label_bytes + 3072), dtype=np.uint8)
    records[:, 0] = 19
    records[:, label_bytes - 1] = np.arange(n) % classes
    return records


def write_cifar10_files(root: Path, a_batch: int = 4) -> np.ndarray:
    """The five training batches as one array of records."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    records = cifar_records(5 * a_batch, 1, 10, 0)
    for number in range(5):
        records[number * a_batch : (number + 1) * a_batch].tofile(folder / f"data_batch_{number + 1}.bin")
    cifar_records(10, 1, 10, 1).tofile(folder / "test_batch.bin")
    (folder / "batches.meta.txt").write_text("".join(f"kind {label}\n" for label in range(10)) + "\n")
    return records


def write_cifar100_files(root: Path) -> np.ndarray:
    """The training records."""
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    records = cifar_records(200, 2, 100, 0)
    records.tofile(folder / "train.bin")
    cifar_records(100, 2, 100, 1).tofile(folder / "test.bin")
    (folder / "fine_label_names.txt").write_text("\n".join(f"kind {label}" for label in range(100)))
    return records


def read_folder(folder: Path, image_size: int | None = None, **options: Any) -> LoadedData:
    """The images of a folder, by the reader of all encoded images."""
    return read_images(list_folder(folder), Framing(image_size), **options)
