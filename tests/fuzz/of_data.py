"""Images and labels: arrays, folders, CIFAR's and MNIST's own formats, and images to predict."""

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.fuzz.registry import TARGETS, target


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def sized(size: int) -> Any:
    from preceptor.data.images import Framing

    return Framing(size)


@target(lambda: [npy(np.arange(6) % 3), npy(np.zeros(6)), npy(np.zeros(6, "m8[s]"))])
def labels(folder: Path, content: bytes) -> None:
    from preceptor.data.labels import read_labels

    (folder / "labels.npy").write_bytes(content)
    read_labels(folder / "labels.npy", 6)


@target(lambda: [b"file,label\na.png,2\nb.png,cat\nc.png,-1\n", b"1\n-1\ncat\n", b'"a\n', b"\xff"])
def labels_as_text(folder: Path, content: bytes) -> None:
    from preceptor.data.labels import read_labels

    (folder / "labels.csv").write_bytes(content)
    read_labels(folder / "labels.csv", 3, ("ant", "cat"))


def _label_files() -> list[bytes]:
    archive, saved = io.BytesIO(), io.BytesIO()
    np.savez(archive, clean=np.arange(6) % 3, noisy=np.zeros(6, int))
    torch.save({"clean_label": np.arange(6) % 3, "noisy_label": torch.zeros(6, dtype=torch.int64)}, saved)
    return [archive.getvalue(), saved.getvalue()]


@target(_label_files)
def labels_by_key(folder: Path, content: bytes) -> None:
    from preceptor.data.labels import read_labels

    ending, key = ("npz", "noisy") if b"noisy.npy" in content else ("pt", "noisy_label")
    (folder / f"labels.{ending}").write_bytes(content)
    read_labels(folder / f"labels.{ending}:{key}", 6)


def _svhn() -> list[bytes]:
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.arange(1, 5, dtype=np.uint8)[:, None]})
    return [file.getvalue()]


@target(_svhn)
def svhn(folder: Path, content: bytes) -> None:
    from preceptor.data.digit_files import read_svhn

    for name in ("train", "test"):
        (folder / f"{name}_32x32.mat").write_bytes(content)
    read_svhn([folder])


def _npz() -> list[bytes]:
    file = io.BytesIO()
    images = np.zeros((6, 4, 4), np.uint8)
    np.savez(file, train_images=images, train_labels=np.arange(6) % 3, class_names=np.array(["a", "b", "c"]))
    return [file.getvalue()]


@target(_npz)
def arrays(folder: Path, content: bytes) -> None:
    from preceptor.data import load_dataset

    (folder / "set.npz").write_bytes(content)
    load_dataset(f"arrays:{folder / 'set.npz'}")


def _images() -> list[bytes]:
    from tests.bad_input.workbench import encoded, picture, several

    kinds = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM")
    return [*(encoded(picture(3), kind) for kind in kinds), several("GIF"), several("TIFF")]


@target(_images)
def image(folder: Path, content: bytes) -> None:
    from tests.data.files import read_folder

    (folder / "photos" / "a").mkdir(parents=True)
    (folder / "photos" / "a" / "1.png").write_bytes(content)
    read_folder(folder / "photos", 8)


@target(lambda: [b"path,label,split,group\n1.png,a,,x\n1.png,,train,\n", b"file,class\n1.png,3\n", b'"a\n', b"\xff"])
def image_list(folder: Path, content: bytes) -> None:
    from preceptor.data.list_file import list_file
    from preceptor.data.reading import read_images

    (folder / "1.png").write_bytes(_images()[0])
    (folder / "list.csv").write_bytes(content)
    read_images(list_file(folder / "list.csv"), sized(8))


def _tars() -> list[bytes]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in {"1.png": _images()[0], "1.cls": b"0", "2.json": b'{"label": 1}'}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return [file.getvalue()]


@target(_tars)
def image_archive(folder: Path, content: bytes) -> None:
    from preceptor.data.reading import read_images
    from preceptor.data.webdataset import list_webdataset

    (folder / "train.tar").write_bytes(content)
    read_images(list_webdataset(folder / "train.tar"), sized(8))


def _image_tables() -> list[bytes]:
    import pyarrow
    from pyarrow import parquet

    features = b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}}'
    table = pyarrow.table({"image": [{"bytes": _images()[0], "path": "1.png"}] * 2, "label": [0, 0]})
    file = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({b"huggingface": features}), file)
    return [file.getvalue()]


@target(_image_tables)
def image_table(folder: Path, content: bytes) -> None:
    from preceptor.data.parquet import list_parquet
    from preceptor.data.reading import read_images

    (folder / "train.parquet").write_bytes(content)
    read_images(list_parquet(folder / "train.parquet"), sized(8))


@target(lambda: [bytes(range(256)) * 12 + b"\1", b"\1"])
def cifar_binary(folder: Path, content: bytes) -> None:
    from preceptor.data.named import read_named

    place = folder / "cifar-10-batches-bin"
    place.mkdir()
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        (place / name).write_bytes(content)
    read_named("cifar10", folder, download=False)


@target(
    lambda: [
        b"\x00\x00\x08\x01\x00\x00\x00\x04\x01\x02\x03\x04",
        b"\x00\x00\x08\x03" + b"\x00\x00\x00\x01" * 3 + b"\x07",
    ]
)
def idx(folder: Path, content: bytes) -> None:
    from preceptor.data.official import read_idx

    (folder / "file").write_bytes(content)
    read_idx(folder / "file")


@target(lambda: [gzip.compress(seed, mtime=0) for seed in TARGETS["idx"].seeds()])
def idx_gzipped(folder: Path, content: bytes) -> None:
    from preceptor.data.official import read_idx

    (folder / "file.gz").write_bytes(content)
    read_idx(folder / "file.gz")


def _to_label() -> list[bytes]:
    pictures = np.zeros((3, 4, 4), np.uint8)
    archive = io.BytesIO()
    np.savez(archive, images=pictures)
    return [npy(pictures), archive.getvalue(), npy(np.zeros((2, 4, 4, 3), np.uint8)), *_images()]


@target(_to_label)
def to_label(folder: Path, content: bytes) -> None:
    """Images that a student is asked about, as whatever kind of file they are called."""
    from preceptor.data.images import ImageSpec
    from preceptor.data.sources import open_image_source
    from preceptor.errors import PreceptorError

    for name in ("a.npy", "a.npz", "a.png"):
        (folder / name).write_bytes(content)
        try:
            source = open_image_source(folder / name)
            if len(source) <= 100:
                list(source.images(ImageSpec(1, 4, 4)))
        except PreceptorError:
            continue
