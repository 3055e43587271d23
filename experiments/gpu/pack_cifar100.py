"""CIFAR-100 as one small file, to carry to a machine without internet, and back to an ``.npz`` file there.

Lossless WebP halves the images. 20,000 training images and the 10,000 test images take 48 MiB, which one call may
carry; all of them take 96 MiB. Packing reads ``$PRECEPTOR_DATA``; unpacking needs NumPy and Pillow alone::

    python -m experiments.gpu.pack_cifar100 pack .data/cifar100.zip --train 20000
    python -m experiments.gpu.pack_cifar100 unpack .data/cifar100.zip .data/cifar100.npz
"""

import argparse
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIP = 500
"""Images in one WebP image, whose height is at most 16,383 pixels."""

Arrays = dict[str, NDArray[Any]]


def pack(arrays: Arrays, path: Path) -> None:
    """Write ``train_images`` and ``test_images`` [n, 32, 32, 3] as WebP, and all other arrays as they are."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    digests = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            if not name.endswith("_images"):
                continue
            digests[name] = hashlib.sha256(array.tobytes()).hexdigest()
            for number, start in enumerate(range(0, len(array), STRIP)):
                content = io.BytesIO()
                stacked = array[start : start + STRIP].reshape(-1, *array.shape[2:])
                Image.fromarray(stacked).save(content, "webp", lossless=True, method=4, quality=75)
                archive.writestr(f"{name}/{number:04d}.webp", content.getvalue())
        others = io.BytesIO()
        np.savez(others, allow_pickle=False, **{name: array for name, array in arrays.items() if name not in digests})
        archive.writestr("others.npz", others.getvalue())
        archive.writestr("sha256.json", json.dumps(digests))


def unpack(path: Path) -> Arrays:
    """The arrays of a packed file; every pixel is checked against its SHA-256."""
    from PIL import Image

    with zipfile.ZipFile(path) as archive:
        with np.load(io.BytesIO(archive.read("others.npz")), allow_pickle=False) as others:
            arrays: Arrays = {name: others[name] for name in others.files}
        for name, digest in json.loads(archive.read("sha256.json")).items():
            strips = []
            for member in sorted(member for member in archive.namelist() if member.startswith(f"{name}/")):
                with Image.open(io.BytesIO(archive.read(member))) as image:
                    strips.append(np.asarray(image.convert("RGB")))
            arrays[name] = np.concatenate(strips).reshape(-1, 32, 32, 3)
            if hashlib.sha256(arrays[name].tobytes()).hexdigest() != digest:
                raise SystemExit(f"{path}: {name} differ from those that were packed; copy the file again")
    return arrays


def cifar100(train: int) -> Arrays:
    """The first training images, all test images, and the labels, as ``arrays:`` data sets have them."""
    from preceptor.data import load_dataset

    data = load_dataset("cifar100")
    if data.test is None:
        raise SystemExit("the data set has no test images; pack the whole of CIFAR-100")
    arrays: Arrays = {"class_names": np.array(data.class_names)}
    for name, images in (("train", data.train), ("test", data.test)):
        count = train if name == "train" else len(images)
        arrays[f"{name}_images"] = images.images[:count].permute(0, 2, 3, 1).contiguous().numpy()
        arrays[f"{name}_labels"] = images.labels[:count].numpy().astype(np.uint8)
    return arrays


def main() -> None:
    """Pack or unpack."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack")
    packing.add_argument("file", type=Path)
    packing.add_argument("--train", type=int, default=20_000, help="training images (default 20000)")
    unpacking = verbs.add_parser("unpack")
    unpacking.add_argument("file", type=Path)
    unpacking.add_argument("npz", type=Path)
    arguments = parser.parse_args()
    if arguments.verb == "pack":
        pack(cifar100(arguments.train), arguments.file)
    else:
        np.savez(arguments.npz, allow_pickle=False, **unpack(arguments.file))


if __name__ == "__main__":
    main()
