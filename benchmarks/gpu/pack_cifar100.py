"""CIFAR-100 as few small files, to bring to a machine without internet, and back to one file there.

Lossless WebP halves the 184 MB of the images; no other way that NumPy and Pillow have takes them below 60 MiB, so they
travel as two files of some 48 MiB::

    python benchmarks/gpu/pack_cifar100.py pack                           # writes .data/cifar100-1of2.zip and -2of2.zip
    python benchmarks/gpu/pack_cifar100.py unpack .data/cifar100-*.zip    # writes .data/cifar100.npz

Unpacking needs NumPy and Pillow alone, and checks every pixel against a SHA-256.
"""

import argparse
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".data"
STRIP = 500
"""Images that are stacked to one WebP picture; WebP allows 16,383 pixels of height."""
MANIFEST, LABELS = "manifest.json", "labels.npz"
SPLITS = ("train", "test")

Arrays = dict[str, NDArray[Any]]


def pack(root: Path | None, out: Path, most_bytes: int, strip: int = STRIP) -> list[Path]:
    """Write the parts, each of which is about as large as the others and smaller than ``most_bytes``.

    Args:
        root: folder that holds the data set, as ``load_dataset`` takes it.
        out: folder for the parts.
        most_bytes: no part is larger.
        strip: images a picture.
    """
    arrays = _loaded(root)
    members = {LABELS: _archived({name: array for name, array in arrays.items() if not name.endswith("_images")})}
    for split in SPLITS:
        members |= _pictures(split, arrays[f"{split}_images"], strip)
    manifest = {"format": 1, "strip": strip, "splits": {split: _described(arrays, split) for split in SPLITS}}
    shares = _shared_out(members, most_bytes - 2**16 - 256 * len(members))  # the archive's own words are left room
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"cifar100-{number}of{len(shares)}.zip" for number in range(1, len(shares) + 1)]
    for number, (path, names) in enumerate(zip(paths, shares, strict=True), start=1):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(MANIFEST, json.dumps({**manifest, "part": number, "of": len(shares)}))
            for name in names:
                archive.writestr(name, members[name])
    return paths


def unpack(parts: Sequence[Path], out: Path) -> None:
    """Join all parts to the ``.npz`` file that ``load_dataset("cifar100")`` reads."""
    members, manifests = _members(parts)
    _check_complete(manifests)
    manifest = manifests[0]
    with np.load(io.BytesIO(members[LABELS]), allow_pickle=False) as labels:
        arrays: Arrays = {name: labels[name] for name in labels.files}
    for split in SPLITS:
        arrays[f"{split}_images"] = _decoded(members, split, manifest["splits"][split])
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.part")
    beside.write_bytes(_archived(arrays))
    beside.replace(out)


def _loaded(root: Path | None) -> Arrays:
    from preceptor.data import load_dataset

    data = load_dataset("cifar100", root=root)
    arrays: Arrays = {"class_names": np.array(data.class_names)}
    for split, images in (("train", data.train), ("test", data.test)):
        if images is None:
            raise SystemExit("the data set has no test images: pack the whole of CIFAR-100")
        arrays[f"{split}_images"] = images.images.permute(0, 2, 3, 1).contiguous().numpy()
        arrays[f"{split}_labels"] = images.labels.numpy().astype(np.uint8)
    return arrays


def _archived(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _pictures(split: str, images: NDArray[np.uint8], strip: int) -> dict[str, bytes]:
    from PIL import Image

    pictures = {}
    for number, start in enumerate(range(0, len(images), strip)):
        stacked = images[start : start + strip].reshape(-1, *images.shape[2:])
        content = io.BytesIO()
        Image.fromarray(stacked).save(content, "webp", lossless=True, method=4, quality=75)
        pictures[f"{split}-{number:04d}.webp"] = content.getvalue()
    return pictures


def _described(arrays: Arrays, split: str) -> dict[str, Any]:
    images = arrays[f"{split}_images"]
    return {"shape": images.shape, "sha256": hashlib.sha256(images.tobytes()).hexdigest()}


def _shared_out(members: Mapping[str, bytes], most: int) -> list[list[str]]:
    """The members in order, in as few parts as can be, all of about the same size."""
    for number in range(1, len(members) + 1):
        shares = _split(members, number)
        if max(sum(len(members[name]) for name in share) for share in shares) <= most:
            return shares
    raise SystemExit("parts of that size are smaller than one strip of images: allow larger ones")


def _split(members: Mapping[str, bytes], number: int) -> list[list[str]]:
    total, before = sum(map(len, members.values())), 0
    shares: list[list[str]] = [[] for _ in range(number)]
    for name, content in members.items():
        shares[before * number // total].append(name)
        before += len(content)
    return [share for share in shares if share]


def _members(parts: Iterable[Path]) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    members: dict[str, bytes] = {}
    manifests = []
    for path in parts:
        try:
            with zipfile.ZipFile(path) as archive:
                manifests.append(json.loads(archive.read(MANIFEST)))
                members |= {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise SystemExit(f"{path}: not a whole part ({error}): copy it again") from error
    return members, manifests


def _check_complete(manifests: Sequence[Mapping[str, Any]]) -> None:
    if not manifests or len({json.dumps({**found, "part": 0}, sort_keys=True) for found in manifests}) != 1:
        raise SystemExit("these parts are not of one packing: give all parts that one call of pack wrote")
    lacking = set(range(1, manifests[0]["of"] + 1)) - {found["part"] for found in manifests}
    if lacking:
        raise SystemExit(f"part {min(lacking)} of {manifests[0]['of']} is missing: give all parts in one call")


def _decoded(members: Mapping[str, bytes], split: str, described: Mapping[str, Any]) -> NDArray[np.uint8]:
    from PIL import Image

    strips = []
    for name in sorted(name for name in members if name.startswith(f"{split}-")):
        with Image.open(io.BytesIO(members[name])) as picture:
            strips.append(np.asarray(picture.convert("RGB")))
    images = np.concatenate(strips).reshape(described["shape"])
    if hashlib.sha256(images.tobytes()).hexdigest() != described["sha256"]:
        raise SystemExit(f"the {split} images came out otherwise than they were packed: copy the parts again")
    return images


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack", help="write the parts")
    packing.add_argument("--root", type=Path, help="folder of the data set; default as everywhere, $PRECEPTOR_DATA")
    packing.add_argument("--out", type=Path, default=HOME, help="folder for the parts; default .data")
    packing.add_argument("--most", type=float, default=60, help="largest part in MiB; default 60")
    unpacking = verbs.add_parser("unpack", help="join the parts to one .npz file")
    unpacking.add_argument("parts", type=Path, nargs="+")
    unpacking.add_argument("--out", type=Path, default=HOME / "cifar100.npz", help="default .data/cifar100.npz")
    given = parser.parse_args(arguments)
    if given.verb == "unpack":
        unpack(given.parts, given.out)
        print(given.out)
        return
    sys.path.insert(0, str(ROOT / "src"))
    for path in pack(given.root, given.out, int(given.most * 2**20)):
        print(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
