"""CIFAR's official binary release: plain bytes, so nothing has to be unpickled.

Each record is one label byte (CIFAR-10) or two, coarse then fine (CIFAR-100), and 3,072 pixel bytes, channel by
channel (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from preceptor.data.dataset import Contents, ImageSet
from preceptor.errors import InputError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


def read_cifar10(root: Path) -> Contents | None:
    """CIFAR-10 from ``root/cifar-10-batches-bin``, or nothing if there is no such folder."""
    batches = [f"data_batch_{number}.bin" for number in range(1, 6)]
    return _read(root / "cifar-10-batches-bin", batches, "test_batch.bin", "batches.meta.txt", label_bytes=1)


def read_cifar100(root: Path) -> Contents | None:
    """CIFAR-100 with its fine labels from ``root/cifar-100-binary``, or nothing if there is no such folder."""
    return _read(root / "cifar-100-binary", ["train.bin"], "test.bin", "fine_label_names.txt", label_bytes=2)


def _read(folder: Path, train: Sequence[str], test: str, names: str, label_bytes: int) -> Contents | None:
    if not folder.is_dir():
        return None
    return Contents(
        _read_set([folder / name for name in train], label_bytes),
        _read_set([folder / test], label_bytes),
        _read_names(folder / names),
    )


def _read_set(paths: Sequence[Path], label_bytes: int) -> ImageSet:
    batches = [_read_batch(path, label_bytes) for path in paths]
    return ImageSet(torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches]))


def _read_batch(path: Path, label_bytes: int) -> ImageSet:
    record = label_bytes + _PIXELS
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); fetch the archive again") from error
    if len(content) == 0 or len(content) % record:
        raise InputError(f"{path}: {len(content)} bytes, not whole records of {record}; fetch the archive again")
    records = content.reshape(-1, record)
    images = np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, *_SHAPE)
    return ImageSet(torch.from_numpy(images), torch.from_numpy(records[:, label_bytes - 1].astype(np.int64)))


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); fetch the archive again") from error
    return tuple(line.strip() for line in lines if line.strip())
