"""Readers of the official files: MNIST's idx, CIFAR's binary archive, and torchvision for the rest."""

import gzip
import os
import pickle
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preceptor.data.dataset import LoadedData
from preceptor.data.named import read_named
from preceptor.data.official import read_cifar, read_idx, read_idx_sets, read_with_torchvision
from preceptor.errors import InputError, MachineError
from tests.data.files import (
    idx_bytes,
    mnist_like,
    read_or_refusal,
    write_cifar10_files,
    write_cifar100_files,
    write_mnist_files,
)


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 3, 2), (0,)])
def test_an_array_comes_back(tmp_path: Path, shape: tuple[int, ...], gzipped: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / ("a-ubyte.gz" if gzipped else "a-ubyte")
    path.write_bytes(gzip.compress(idx_bytes(array)) if gzipped else idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path), array)


GOOD = idx_bytes(np.arange(24).reshape(4, 3, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file of bytes .it begins with nothing"),
        (b"\x00\x00\x0d\x01" + GOOD[4:], "not an idx file of bytes"),
        (b"\x00\x00\x08\x07" + GOOD[4:], "not an idx file of bytes"),
        (b"PK\x03\x04", "begins with 50 4b 03 04"),
        (GOOD[:9], "does not hold"),
        (GOOD[:-1], "not hold the 24 values"),
        (GOOD + b"x", "not hold the 24 values"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "cannot be read"),
    ],
)
@pytest.mark.parametrize("gzipped", [True, False])
def test_damaged_files(tmp_path: Path, content: bytes, message: str, gzipped: bool) -> None:
    path = tmp_path / ("bad-ubyte.gz" if gzipped else "bad-ubyte")
    path.write_bytes(gzip.compress(content) if gzipped else content)
    with pytest.raises(InputError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [gzip.compress(GOOD, mtime=0)[:-12], GOOD, gzip.compress(GOOD, mtime=0)[:5], b""])
def test_what_is_not_whole_gzip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad-ubyte\.gz: "):
        read_idx(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none-ubyte: cannot be read"):
        read_idx(tmp_path / "none-ubyte")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(place=st.integers(0, 200), value=st.integers(0, 255))
def test_a_changed_byte_is_noticed_or_harmless(tmp_path: Path, place: int, value: int) -> None:
    content = bytearray(gzip.compress(GOOD, mtime=0))
    content[place % len(content)] = value
    path = tmp_path / "bent-ubyte.gz"
    path.write_bytes(bytes(content))
    result = read_or_refusal(read_idx, path)
    if isinstance(result, InputError):
        assert str(path) in str(result)
    else:
        np.testing.assert_array_equal(result, np.arange(24).reshape(4, 3, 2))


@pytest.mark.parametrize("gzipped", [True, False])
def test_the_four_files_make_two_sets(tmp_path: Path, gzipped: bool) -> None:
    write_mnist_files(tmp_path, gzipped=gzipped)
    data = read_idx_sets([tmp_path / "elsewhere", tmp_path])
    assert data is not None
    assert data.test is not None
    for image_set, n, seed in ((data.train, 20, 0), (data.test, 10, 1)):
        images, labels = mnist_like(n, seed)
        assert image_set.images.shape == (n, 1, 28, 28)
        np.testing.assert_array_equal(image_set.images[:, 0].numpy(), images)
        np.testing.assert_array_equal(image_set.labels.numpy(), labels)


def test_the_first_folder_wins_and_a_missing_file_means_none(tmp_path: Path) -> None:
    write_mnist_files(tmp_path / "a", n_train=10)
    write_mnist_files(tmp_path / "b", n_train=30)
    data = read_idx_sets([tmp_path / "a", tmp_path / "b"])
    assert data is not None
    assert len(data.train) == 10
    (tmp_path / "a" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert read_idx_sets([tmp_path / "a"]) is None


def test_labels_where_images_should_be(tmp_path: Path) -> None:
    write_mnist_files(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(labels.read_bytes())
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz: 1 dimensions; expected 3"):
        read_idx_sets([tmp_path])


def read_cifar10(root: Path) -> LoadedData | None:
    return read_cifar(
        root / "cifar-10-batches-bin",
        train=[f"data_batch_{number}.bin" for number in range(1, 6)],
        test="test_batch.bin",
        label_bytes=1,
    )


def read_cifar100(root: Path) -> LoadedData | None:
    return read_cifar(
        root / "cifar-100-binary",
        train=["train.bin"],
        test="test.bin",
        label_bytes=2,
    )


def test_cifar10_batches_in_their_order(tmp_path: Path) -> None:
    records = write_cifar10_files(tmp_path)
    data = read_cifar10(tmp_path)
    assert data is not None
    assert data.test is not None
    assert data.train.images.shape == (20, 3, 32, 32)
    assert data.test.images.shape == (10, 3, 32, 32)
    np.testing.assert_array_equal(data.train.labels.numpy(), records[:, 0])
    np.testing.assert_array_equal(data.train.images.flatten(1).numpy(), records[:, 1:])


def test_a_pixel_is_where_the_format_says(tmp_path: Path) -> None:
    """First 1,024 bytes red, row by row, then green, then blue."""
    records = write_cifar10_files(tmp_path)
    data = read_cifar10(tmp_path)
    assert data is not None
    assert data.train.images[7, 1, 3, 30] == records[7, 1 + 1024 + 3 * 32 + 30]


def test_cifar100_has_its_fine_labels(tmp_path: Path) -> None:
    records = write_cifar100_files(tmp_path)
    data = read_cifar100(tmp_path)
    assert data is not None
    np.testing.assert_array_equal(data.train.labels.numpy(), np.arange(200) % 100)
    np.testing.assert_array_equal(data.train.images.flatten(1).numpy(), records[:, 2:])


def test_no_folder_means_none(tmp_path: Path) -> None:
    assert read_cifar10(tmp_path) is None
    assert read_cifar100(tmp_path) is None


def test_a_missing_a_truncated_and_an_empty_batch(tmp_path: Path) -> None:
    write_cifar10_files(tmp_path)
    batch = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"data_batch_3\.bin: 12291 bytes; expected whole records of 3073"):
        read_cifar10(tmp_path)
    batch.write_bytes(b"")
    with pytest.raises(InputError, match=r"data_batch_3\.bin: 0 bytes"):
        read_cifar10(tmp_path)
    batch.unlink()
    with pytest.raises(InputError, match=r"data_batch_3\.bin: cannot be read \(No such file"):
        read_cifar10(tmp_path)


class StandIn:
    """What torchvision's data set classes have in common: arguments, ``data``, ``targets``."""

    calls: list[dict[str, Any]] = []  # noqa: RUF012
    failure: Exception | None = None

    def __init__(self, root: str, train: bool, download: bool) -> None:
        if self.failure is not None:
            raise self.failure
        self.calls.append({"root": root, "train": train, "download": download})
        print("Files already downloaded and verified")
        n = 20 if train else 10
        self.fill(np.random.default_rng(n), n)

    def fill(self, draw: np.random.Generator, n: int) -> None:
        self.data: Any = draw.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        self.targets: Any = [label % 10 for label in range(n)]


class GrayStandIn(StandIn):
    def fill(self, draw: np.random.Generator, n: int) -> None:
        self.data = torch.from_numpy(draw.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        self.targets = torch.arange(n) % 10


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    class Fresh(StandIn):
        calls: list[dict[str, Any]] = []  # noqa: RUF012

    package, datasets = ModuleType("torchvision"), ModuleType("torchvision.datasets")
    datasets.CIFAR10 = Fresh  # type: ignore[attr-defined]
    datasets.MNIST = GrayStandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    return Fresh


def test_colour_sets_come_channels_first(torchvision: type[StandIn], tmp_path: Path) -> None:
    data = read_with_torchvision("CIFAR10", tmp_path, download=False)
    expected = np.random.default_rng(20).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(data.train.images.numpy(), expected.transpose(0, 3, 1, 2))
    assert data.train.labels.tolist() == [label % 10 for label in range(20)]
    assert data.test is not None
    assert len(data.test) == 10
    assert torchvision.calls == [
        {"root": str(tmp_path), "train": True, "download": False},
        {"root": str(tmp_path), "train": False, "download": False},
    ]


@pytest.mark.usefixtures("torchvision")
def test_greyscale_sets_get_a_channel(tmp_path: Path) -> None:
    data = read_with_torchvision("MNIST", tmp_path, download=True)
    expected = np.random.default_rng(20).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(data.train.images.numpy(), expected[:, None])
    assert data.train.labels.dtype == torch.int64


def test_svhn_has_splits_and_labels_and_channels_first(torchvision: type[StandIn], tmp_path: Path) -> None:
    calls = []

    class Svhn:
        def __init__(self, root: str, split: str, download: bool) -> None:
            calls.append((root, split, download))
            n = {"train": 20, "test": 10}[split]
            self.data = np.random.default_rng(n).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
            self.labels = np.arange(n) % 10

    sys.modules["torchvision.datasets"].SVHN = Svhn  # type: ignore[attr-defined]
    data = read_with_torchvision("SVHN", tmp_path, download=True)
    assert calls == [(str(tmp_path), "train", True), (str(tmp_path), "test", True)]
    expected = np.random.default_rng(20).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(data.train.images.numpy(), expected)
    assert data.train.labels.tolist() == [label % 10 for label in range(20)]


@pytest.mark.usefixtures("torchvision")
def test_its_chatter_stays_off_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_with_torchvision("CIFAR10", tmp_path, download=False)
    output = capsys.readouterr()
    assert output.out == ""
    assert "verified" in output.err


def test_damaged_files_are_the_users_to_replace(torchvision: type[StandIn], tmp_path: Path) -> None:
    torchvision.failure = RuntimeError("Dataset not found or corrupted.")
    with pytest.raises(InputError, match=r"CIFAR10 under .*: incomplete, .* official files \(Dataset not found"):
        read_with_torchvision("CIFAR10", tmp_path, download=False)


def test_a_failed_download_is_the_environments(torchvision: type[StandIn], tmp_path: Path) -> None:
    torchvision.failure = OSError("no route to host")
    with pytest.raises(MachineError, match=r"download of CIFAR10 to .* failed \(no route to host\); check the network"):
        read_with_torchvision("CIFAR10", tmp_path, download=True)


class Raising(MetaPathFinder):
    """Makes the import of torchvision, or of what it imports, fail in a chosen way."""

    def __init__(self, name: str, error: Exception) -> None:
        self.name, self.error = name, error

    def find_spec(self, name: str, *_: Any) -> None:
        if name == self.name:
            raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), r"cannot be imported \(operator torchvision::nms"),
        (ImportError("libcudart.so.12: cannot open"), r"cannot be imported \(libcudart"),
        (ModuleNotFoundError("No module named 'PIL'", name="PIL"), r"cannot be imported \(No module named 'PIL'"),
        (
            ModuleNotFoundError("No module named 'torchvision'", name="torchvision"),
            r"not installed: pip install 'preceptor\[vision\]'",
        ),
    ],
)
def test_torchvision_that_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, message: str
) -> None:
    for name in ("torchvision", "torchvision.datasets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Raising("torchvision", error), *sys.meta_path])
    with pytest.raises(MachineError, match=message) as caught:
        read_with_torchvision("CIFAR10", tmp_path, download=True)
    if "not installed" not in message:
        assert f"the torchvision build that matches torch {torch.__version__}" in str(caught.value)


class Trap:
    """Pickled, it makes a folder when it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.usefixtures("torchvision_ops")
@pytest.mark.parametrize(
    ("name", "folder", "files"),
    [
        ("cifar10", "cifar-10-batches-py", [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]),
        ("cifar100", "cifar-100-python", ["train", "test"]),
    ],
)
def test_a_pickle_without_the_official_checksum_is_never_opened(
    tmp_path: Path, name: str, folder: str, files: list[str]
) -> None:
    """By torchvision itself, where it is installed; without it nothing opens the archive."""
    (tmp_path / folder).mkdir()
    for file in [*files, "meta", "batches.meta"]:
        (tmp_path / folder / file).write_bytes(pickle.dumps({"data": Trap(tmp_path / "sprung"), "labels": [1]}))
    try:
        with pytest.raises(InputError, match=r"not the official files .*; remove it and fetch it again"):
            read_named(name, tmp_path, download=False)
    except MachineError as error:
        pytest.skip(str(error))
    finally:
        assert not (tmp_path / "sprung").exists()
