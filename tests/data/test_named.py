import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from preceptor.data import named
from preceptor.data.augmentation import CropFlip
from preceptor.data.dataset import ImageSet, LoadedData, Normalization, check_dataset
from preceptor.data.named import read_named
from preceptor.errors import InputError
from tests.data.files import write_cifar10_files, write_cifar100_files, write_mnist_files


def must_not_be_called(*_: object) -> LoadedData:
    raise AssertionError("torchvision was called although the files are present")


@pytest.fixture(autouse=True)
def without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "read_with_torchvision", must_not_be_called)


def test_digits_are_scikit_learns_scaled_to_bytes(tmp_path: Path) -> None:
    digits = read_named("digits", tmp_path, download=False)
    check_dataset(digits)
    assert digits.test is not None
    assert (len(digits.train), len(digits.test)) == (1348, 449)
    assert (digits.classes, digits.channels, digits.size) == (10, 1, (8, 8))
    assert digits.augmentation == CropFlip(1, False)
    assert digits.normalization == Normalization.from_images(digits.train.images)
    both = torch.cat([digits.train.images, digits.test.images]).flatten(1).numpy()
    labels = torch.cat([digits.train.labels, digits.test.labels]).numpy()
    original = load_digits()
    as_rows = {(*row, label) for row, label in zip(np.rint(both / 255.0 * 16).tolist(), labels.tolist(), strict=True)}
    assert as_rows == {
        (*row, label) for row, label in zip(original.data.tolist(), original.target.tolist(), strict=True)
    }
    assert both.max() == 255


def test_digits_are_split_class_by_class_and_always_alike(tmp_path: Path) -> None:
    once, again = (read_named("digits", tmp_path, download=False) for _ in range(2))
    assert once.test is not None
    assert again.test is not None
    assert torch.equal(once.test.images, again.test.images)
    shares = torch.bincount(once.test.labels) / (torch.bincount(once.test.labels) + torch.bincount(once.train.labels))
    assert (shares - 0.25).abs().max() < 0.006
    pinned = hashlib.sha256(once.test.images.numpy().tobytes()).hexdigest()
    assert pinned == "f222e1afef00da79ba689ff9e345da65bf3a057e632d2602f37bb3f163a46c64"


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw"), ("mnist", ".")]
)
@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("download", [True, False])
def test_mnist_family(tmp_path: Path, name: str, folder: str, gzipped: bool, download: bool) -> None:
    write_mnist_files(tmp_path / folder, gzipped=gzipped)
    dataset = read_named(name, tmp_path, download)
    check_dataset(dataset)
    assert (dataset.name, dataset.classes, dataset.channels, dataset.size) == (name, 10, 1, (28, 28))
    assert len(dataset.train) == 20


def test_cifar_binary_release_gets_the_official_names(tmp_path: Path) -> None:
    write_cifar10_files(tmp_path)
    write_cifar100_files(tmp_path)
    for name, classes in (("cifar10", 10), ("cifar100", 100)):
        dataset = read_named(name, tmp_path, download=True)
        check_dataset(dataset)
        assert dataset.class_names == named._NAMED[name].class_names
        assert dataset.classes == classes
        assert (dataset.channels, dataset.size) == (3, (32, 32))


def test_an_npz_of_the_name_comes_first_and_gets_the_official_names(tmp_path: Path) -> None:
    write_cifar10_files(tmp_path)
    images = np.full((10, 32, 32, 3), 3, dtype=np.uint8)
    np.savez(tmp_path / "cifar10.npz", train_images=images, train_labels=np.arange(10))
    dataset = read_named("cifar10", tmp_path, download=False)
    assert (dataset.train.images == 3).all()
    assert dataset.test is None
    assert dataset.class_names[3] == "cat"


def test_constants_are_the_published_ones() -> None:
    sources = named._NAMED
    assert sources["cifar100"].normalization == Normalization((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
    assert sources["cifar10"].normalization == Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    assert {name: source.augmentation for name, source in sources.items()} == {
        "mnist": CropFlip(2, False),
        "fashion-mnist": CropFlip(4, True),
        "kmnist": CropFlip(2, False),
        "svhn": CropFlip(2, False),
        "cifar10": CropFlip(4, True),
        "cifar100": CropFlip(4, True),
    }
    assert [len(set(source.class_names)) for source in sources.values()] == [10, 10, 10, 10, 10, 100]
    assert list(sources["cifar100"].class_names) == sorted(sources["cifar100"].class_names)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("fashion-mnist", r"fashion-mnist\.npz, FashionMNIST/raw/"),
        ("cifar100", r"cifar100\.npz, cifar-100-binary/, cifar-100-python/"),
    ],
)
def test_a_missing_data_set_names_the_places_searched(tmp_path: Path, name: str, places: str) -> None:
    with pytest.raises(InputError, match=rf"'{name}' is not under .* \(looked for {places}") as caught:
        read_named(name, tmp_path, download=False)
    for remedy in (str(tmp_path), "PRECEPTOR_DATA", "--download", "preceptor[vision]"):
        assert remedy in str(caught.value)


@pytest.mark.parametrize("archive", [True, False])
def test_torchvision_reads_the_python_archive_and_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bool
) -> None:
    calls = []

    def read(class_name: str, root: Path, download: bool) -> LoadedData:
        calls.append((class_name, root, download))
        images = torch.zeros(100, 3, 32, 32, dtype=torch.uint8)
        return LoadedData(ImageSet(images, torch.arange(100)))

    monkeypatch.setattr(named, "read_with_torchvision", read)
    if archive:
        (tmp_path / "cifar-100-python").mkdir()
    dataset = read_named("cifar100", tmp_path, download=not archive)
    assert calls == [("CIFAR100", tmp_path, not archive)]
    assert dataset.class_names[0] == "apple"


def test_grayscale_cannot_be_cifar(tmp_path: Path) -> None:
    np.savez(tmp_path / "cifar10.npz", train_images=np.zeros((10, 32, 32), np.uint8), train_labels=np.arange(10))
    with pytest.raises(InputError, match=r"images have 1 channels; cifar10 has 3"):
        read_named("cifar10", tmp_path, download=False)


@pytest.mark.real_data
@pytest.mark.skipif(
    not (Path(os.environ.get("PRECEPTOR_DATA", "")) / "FashionMNIST" / "raw").is_dir(),
    reason="PRECEPTOR_DATA with FashionMNIST/raw is not there",
)
def test_the_official_fashion_mnist() -> None:
    dataset = read_named("fashion-mnist", Path(os.environ["PRECEPTOR_DATA"]), download=False)
    check_dataset(dataset)
    assert dataset.test is not None
    digests = [hashlib.sha256(part.images.numpy().tobytes()).hexdigest() for part in (dataset.train, dataset.test)]
    assert digests == [
        "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    ]
    assert torch.bincount(dataset.train.labels).tolist() == [6000] * 10
    assert torch.bincount(dataset.test.labels).tolist() == [1000] * 10
    measured = Normalization.from_images(dataset.train.images)
    assert measured.mean == pytest.approx(dataset.normalization.mean, abs=1e-4)
    assert measured.std == pytest.approx(dataset.normalization.std, abs=1e-4)
