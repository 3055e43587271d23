"""Pickles laid out like those of CIFAR's Python release, which Python 2 wrote: put together opcode by opcode."""

import pickle
import struct
from pathlib import Path

import numpy as np


def text(value: bytes) -> bytes:
    """A string of Python 2, which is bytes."""
    if len(value) < 256:
        return pickle.SHORT_BINSTRING + bytes([len(value)]) + value
    return pickle.BINSTRING + struct.pack("<i", len(value)) + value


def number(value: int) -> bytes:
    return pickle.BININT1 + bytes([value]) if value < 256 else pickle.BININT + struct.pack("<i", value)


def numbers(values: list[int]) -> bytes:
    """A list, filled a thousand at a time."""
    parts = [values[start : start + 1000] for start in range(0, len(values), 1000)]
    filled = [pickle.MARK + b"".join(map(number, part)) + pickle.APPENDS for part in parts]
    return pickle.EMPTY_LIST + pickle.BINPUT + b"\x07" + b"".join(filled)


def array(pixels: np.ndarray) -> bytes:
    made = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n"
    made += number(0) + pickle.TUPLE1 + text(b"b") + pickle.TUPLE3 + pickle.REDUCE
    kind = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + pickle.TUPLE3 + pickle.REDUCE
    kind += pickle.MARK + number(3) + text(b"|") + pickle.NONE * 3
    kind += (pickle.BININT + struct.pack("<i", -1)) * 2 + number(0) + pickle.TUPLE + pickle.BUILD
    shape = number(pixels.shape[0]) + number(pixels.shape[1]) + pickle.TUPLE2
    state = number(1) + shape + kind + pickle.NEWFALSE + text(pixels.tobytes()) + pickle.BINPUT + b"\x09"
    return made + pickle.MARK + state + pickle.TUPLE + pickle.BUILD


def batch(pixels: np.ndarray, labels: dict[str, list[int]]) -> bytes:
    """One file of the release."""
    items = [text(b"batch_label"), text(b"one"), text(b"data"), array(pixels)]
    for key, values in labels.items():
        items += [text(key.encode()), numbers(values)]
    items += [text(b"filenames"), pickle.EMPTY_LIST]
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS + pickle.STOP


def write_cifar100_python(root: Path, n: int = 200) -> tuple[np.ndarray, list[int]]:
    """The training pixels and fine labels."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3072), dtype=np.uint8)
    fine = [label % 100 for label in range(n)]
    for name in ("train", "test"):
        (folder / name).write_bytes(batch(pixels, {"fine_labels": fine, "coarse_labels": [19] * n}))
    return pixels, fine
