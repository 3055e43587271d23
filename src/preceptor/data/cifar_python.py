"""CIFAR's official Python release without running it: its pickles are taken apart as a list, never unpickled.

A pickle is a program, and opening one runs it. What the release's hold is simple enough to be found in the listing of
that program by the standard library's ``pickletools``, which executes nothing: a string of pixels, and numbers after
the word "labels" (CIFAR-10) or "fine_labels" (CIFAR-100).
"""

import pickletools
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch

from preceptor.data.dataset import Contents, ImageSet
from preceptor.errors import InputError

MOST_WORDS = 1_000_000
"""Of a listing; CIFAR-100's training batch has a fraction of these. In memory they take many times their room in the
file."""

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_NUMBERS = {"BININT", "BININT1", "BININT2", "INT"}
_STRINGS = {"BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE", "STRING"}
_STORES = {"BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"}
_LIST = {"EMPTY_LIST", "MARK", "APPEND", "APPENDS"}
_IN_ROWS = "NEWFALSE"
"""What stands before an array's bytes that go row by row."""


def read_cifar10_python(root: Path) -> Contents | None:
    """CIFAR-10 from ``root/cifar-10-batches-py``, or nothing if there is no such folder."""
    folder = root / "cifar-10-batches-py"
    return _read(folder, [f"data_batch_{number}" for number in range(1, 6)], "test_batch", "labels")


def read_cifar100_python(root: Path) -> Contents | None:
    """CIFAR-100 with its fine labels from ``root/cifar-100-python``, or nothing if there is no such folder."""
    return _read(root / "cifar-100-python", ["train"], "test", "fine_labels")


def _read(folder: Path, train: Sequence[str], test: str, key: str) -> Contents | None:
    if not folder.is_dir():
        return None
    batches = [_read_batch(folder / name, key) for name in train]
    together = ImageSet(torch.cat([one.images for one in batches]), torch.cat([one.labels for one in batches]))
    return Contents(together, _read_batch(folder / test, key))


def _read_batch(path: Path, key: str) -> ImageSet:
    try:
        with path.open("rb") as file:
            listing = [(code.name, argument) for code, argument, _ in islice(pickletools.genops(file), MOST_WORDS)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); fetch the archive again") from error
    except Exception as error:  # what is no pickle makes the listing raise nearly anything
        raise InputError(f"{path}: not a batch of CIFAR's Python release ({error}); fetch the archive again") from error
    pixels, labels = _pixels(listing), list(_labels(listing, key))
    if pixels is None or not labels or len(pixels) != _PIXELS * len(labels):
        raise InputError(
            f"{path}: not a batch of CIFAR's Python release: {len(labels)} labels and {len(pixels or b'')} pixels; "
            "fetch the archive again"
        )
    images = np.frombuffer(pixels, np.uint8).reshape(-1, *_SHAPE).copy()
    return ImageSet(torch.from_numpy(images), torch.tensor(labels, dtype=torch.int64))


def _pixels(listing: Sequence[tuple[str, object]]) -> bytes | None:
    """The bytes of the one array, which stand behind its flag of order."""
    kept = [(name, argument) for name, argument in listing if name not in _STORES]
    for (before, _), (name, argument) in pairwise(kept):
        if before == _IN_ROWS and name in _STRINGS:
            return argument if isinstance(argument, bytes) else str(argument).encode("latin-1", errors="replace")
    return None


def _labels(listing: Sequence[tuple[str, object]], key: str) -> Iterator[int]:
    """The numbers that follow the key, up to whatever else comes after them."""
    keys = (key, key.encode())
    places = [place for place, (name, argument) in enumerate(listing) if name in _STRINGS and argument in keys]
    if len(places) != 1:
        return
    for name, argument in listing[places[0] + 1 :]:
        if name in _NUMBERS and isinstance(argument, int):
            yield argument
        elif name not in _STORES | _LIST:
            return
