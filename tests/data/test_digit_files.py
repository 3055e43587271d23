"""SVHN's and KMNIST's official files, made small."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

from preceptor.data.dataset import check_dataset
from preceptor.data.digit_files import read_mat, read_svhn
from preceptor.data.named import read_named
from preceptor.errors import InputError
from tests.data.files import read_or_refusal, write_mnist_files


def write_svhn(folder: Path, **changes: Any) -> np.ndarray:
    """Both files; the training images as n x 32 x 32 x 3. Digits 1 to 9, then 10 for zero, in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, n) in enumerate({"test": 10, "train": 20}.items()):
        images = np.random.default_rng(seed).integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        content = {"X": images, "y": (np.arange(n, dtype=np.uint8) % 10 + 1)[:, None]}
        scipy.io.savemat(folder / f"{name}_32x32.mat", {**content, **changes}, do_compression=True)
    return images.transpose(3, 0, 1, 2)


@pytest.mark.parametrize("folder", ["SVHN", "svhn", "."])
def test_svhn_with_ten_for_the_digit_zero(tmp_path: Path, folder: str) -> None:
    images = write_svhn(tmp_path / folder)
    dataset = read_named("svhn", tmp_path, download=False)
    check_dataset(dataset)
    assert dataset.test is not None
    assert (len(dataset.train), len(dataset.test), dataset.size, dataset.channels) == (20, 10, (32, 32), 3)
    assert dataset.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    np.testing.assert_array_equal(dataset.train.images.permute(0, 2, 3, 1).numpy(), images)
    assert dataset.class_names == tuple("0123456789")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((32, 32, 3, 20))}, r"X is float64 of shape \(32, 32, 3, 20\); expected uint8"),
        ({"X": np.zeros((20, 32, 32, 3), np.uint8)}, r"shape \(20, 32, 32, 3\); expected uint8, 32 x 32 x 3 x n"),
        ({"y": np.full((20, 1), 11, np.uint8)}, "20 labels, from 11 to 11"),
        ({"y": np.ones((3, 1), np.uint8)}, "3 labels, from 1 to 1, for"),
        ({"y": np.ones((20, 1))}, "y is float64"),
    ],
)
def test_svhn_of_another_content(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_svhn(tmp_path, **changes)
    with pytest.raises(InputError, match=rf"train_32x32\.mat: .*{message}"):
        read_svhn([tmp_path])


def test_svhn_without_its_arrays(tmp_path: Path) -> None:
    for name in ("train", "test"):
        scipy.io.savemat(tmp_path / f"{name}_32x32.mat", {"images": np.zeros(3)})
    with pytest.raises(InputError, match="holds images; expected X and y"):
        read_svhn([tmp_path])


@pytest.mark.parametrize("content", [b"", b"text", b"\x00" * 200, b"MATLAB 5.0 MAT-file" + b" " * 200])
def test_a_damaged_mat_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    result = read_or_refusal(read_mat, tmp_path / "a.mat")
    assert result == {} or str(result).startswith(f"{tmp_path / 'a.mat'}: not a readable .mat file")


def test_a_changed_byte_is_noticed_or_gives_arrays(tmp_path: Path) -> None:
    write_svhn(tmp_path)
    content = (tmp_path / "test_32x32.mat").read_bytes()
    for place in range(0, len(content), 997):
        (tmp_path / "bent.mat").write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        result = read_or_refusal(read_mat, tmp_path / "bent.mat")
        assert isinstance(result, dict) or "bent.mat: not a readable" in str(result)


def test_half_of_svhn_is_none(tmp_path: Path) -> None:
    write_svhn(tmp_path)
    (tmp_path / "test_32x32.mat").unlink()
    assert read_svhn([tmp_path]) is None
    with pytest.raises(InputError, match=r"'svhn' is not under .*svhn\.npz, SVHN/\{train,test\}_32x32\.mat"):
        read_named("svhn", tmp_path, download=False)


def write_kmnist(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        np.savez_compressed(folder / f"kmnist-{split}-imgs.npz", images)
        np.savez_compressed(folder / f"kmnist-{split}-labels.npz", labels)


def test_kmnist_as_npz(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    write_kmnist(tmp_path / "KMNIST", images, np.arange(20, dtype=np.uint8) % 10)
    dataset = read_named("kmnist", tmp_path, download=False)
    check_dataset(dataset)
    np.testing.assert_array_equal(dataset.train.images[:, 0].numpy(), images)
    assert dataset.train.labels.dtype == torch.int64
    assert dataset.class_names[:3] == ("o", "ki", "su")


@pytest.mark.parametrize("gzipped", [True, False])
def test_kmnist_as_idx(tmp_path: Path, gzipped: bool) -> None:
    write_mnist_files(tmp_path / "KMNIST" / "raw", gzipped=gzipped)
    dataset = read_named("kmnist", tmp_path, download=False)
    assert len(dataset.train) == 20


def test_kmnist_of_another_shape(tmp_path: Path) -> None:
    write_kmnist(tmp_path / "KMNIST", np.zeros((20, 784), np.uint8), np.arange(20) % 10)
    with pytest.raises(InputError, match=r"kmnist-train-imgs\.npz: uint8 of shape \(20, 784\)"):
        read_named("kmnist", tmp_path, download=False)


def test_kmnist_with_two_arrays_in_a_file(tmp_path: Path) -> None:
    write_kmnist(tmp_path / "KMNIST", np.zeros((20, 28, 28), np.uint8), np.arange(20) % 10)
    np.savez(tmp_path / "KMNIST" / "kmnist-train-labels.npz", np.zeros(2), np.zeros(3))
    with pytest.raises(InputError, match=r"labels\.npz: holds arr_0, arr_1; expected one array"):
        read_named("kmnist", tmp_path, download=False)
