"""CIFAR-100 as small files, to carry to a machine without internet, and back to an ``.npz`` file there.

Lossless WebP halves the images: all of them take 96 MiB, in as many files of about one size as are named. Packing reads
``$PRECEPTOR_DATA``; unpacking takes all of the files, and needs NumPy and Pillow alone::

    python -m experiments.gpu.pack_cifar100 pack .data/part-0.zip .data/part-1.zip
    python -m experiments.gpu.pack_cifar100 unpack .data/part-0.zip .data/part-1.zip .data/cifar100.npz
"""

import argparse
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIP = 500
"""Images in one WebP image, whose height is at most 16,383 pixels."""

Arrays = dict[str, NDArray[Any]]


def pack(arrays: Arrays, paths: Sequence[Path]) -> None:
    """Write ``train_images`` and ``test_images`` [n, 32, 32, 3] as WebP, dealt out to the files; the rest to each."""
    from PIL import Image

    with ExitStack() as stack:
        archives = []
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            archives.append(stack.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)))
        digests = {}
        for name, array in arrays.items():
            if not name.endswith("_images"):
                continue
            digests[name] = hashlib.sha256(array.tobytes()).hexdigest()
            for number, start in enumerate(range(0, len(array), STRIP)):
                content = io.BytesIO()
                stacked = array[start : start + STRIP].reshape(-1, *array.shape[2:])
                Image.fromarray(stacked).save(content, "webp", lossless=True, method=4, quality=75)
                archives[number % len(archives)].writestr(f"{name}/{number:04d}.webp", content.getvalue())
        others = io.BytesIO()
        np.savez(others, allow_pickle=False, **{name: array for name, array in arrays.items() if name not in digests})
        for archive in archives:
            archive.writestr("others.npz", others.getvalue())
            archive.writestr("sha256.json", json.dumps(digests))


def unpack(paths: Sequence[Path]) -> Arrays:
    """The arrays of packed files; every pixel is checked against its SHA-256."""
    from PIL import Image

    members: dict[str, bytes] = {}
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            members |= {name: archive.read(name) for name in archive.namelist()}
    with np.load(io.BytesIO(members["others.npz"]), allow_pickle=False) as others:
        arrays: Arrays = {name: others[name] for name in others.files}
    for name, digest in json.loads(members["sha256.json"]).items():
        strips = []
        for member in sorted(member for member in members if member.startswith(f"{name}/")):
            with Image.open(io.BytesIO(members[member])) as image:
                strips.append(np.asarray(image.convert("RGB")))
        arrays[name] = np.concatenate(strips).reshape(-1, 32, 32, 3)
        if hashlib.sha256(arrays[name].tobytes()).hexdigest() != digest:
            raise SystemExit(f"{name} differ from those that were packed: name every file, or copy them again")
    return arrays


def cifar100() -> Arrays:
    """All images and labels, as ``arrays:`` data sets have them."""
    from preceptor.data import load_dataset

    data = load_dataset("cifar100")
    if data.test is None:
        raise SystemExit("the data set has no test images; pack the whole of CIFAR-100")
    arrays: Arrays = {"class_names": np.array(data.class_names)}
    for name, images in (("train", data.train), ("test", data.test)):
        arrays[f"{name}_images"] = images.images[:].permute(0, 2, 3, 1).contiguous().numpy()
        arrays[f"{name}_labels"] = images.labels.numpy().astype(np.uint8)
    return arrays


def main() -> None:
    """Pack or unpack."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("pack").add_argument("files", type=Path, nargs="+")
    unpacking = verbs.add_parser("unpack")
    unpacking.add_argument("files", type=Path, nargs="+")
    unpacking.add_argument("npz", type=Path)
    arguments = parser.parse_args()
    if arguments.verb == "pack":
        pack(cifar100(), arguments.files)
    else:
        np.savez(arguments.npz, allow_pickle=False, **unpack(arguments.files))


if __name__ == "__main__":
    main()
