import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from preceptor.data import CropFlip, Normalization, ResizedCrops, load_dataset
from preceptor.data.images import Framing
from preceptor.errors import InputError, ValidationSetUsed
from tests.data.files import write_mnist_files


def write_arrays(path: Path, side: int = 8, **changes: Any) -> str:
    draw = np.random.default_rng(0)
    arrays = {
        "train_images": draw.integers(0, 256, (12, side, side, 3), dtype=np.uint8),
        "train_labels": np.arange(12) % 4,
        "test_images": draw.integers(0, 256, (4, side, side, 3), dtype=np.uint8),
        "test_labels": np.arange(4),
    } | changes
    np.savez(path, **arrays)
    return f"arrays:{path}"


def test_arrays_are_named_numbered_measured_and_augmented(tmp_path: Path) -> None:
    spec = write_arrays(tmp_path / "a.npz")
    dataset = load_dataset(spec)
    assert dataset.name == spec
    assert dataset.class_names == ("0", "1", "2", "3")
    assert dataset.normalization == Normalization.from_images(dataset.train.images)
    assert dataset.augmentation == CropFlip(1, False)
    assert load_dataset(write_arrays(tmp_path / "b.npz", side=24)).augmentation == CropFlip(4, True)


def test_class_names_in_the_file_decide_the_classes(tmp_path: Path) -> None:
    spec = write_arrays(tmp_path / "a.npz", class_names=list("wxyz"))
    assert load_dataset(spec).class_names == tuple("wxyz")


def test_a_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_arrays(tmp_path / "a.npz")
    assert len(load_dataset("arrays:~/a.npz").train) == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": np.array([0, 1, 2, 3] * 2 + [0, 1, 2, 4_000_000_000])}, r"label 4000000000 at index 11"),
        ({"train_labels": np.array([0, 1, 3] * 4)}, r"no training image of class '2' \(label 2\)"),
        ({"train_labels": np.full(12, -1)}, r"0 class; a classifier needs at least 2"),
        ({"train_labels": np.array([], dtype=int)}, r"0 class"),
        ({"train_labels": np.arange(11) % 4}, r"12 train images but 11 train labels"),
        ({"test_labels": np.array([0, 1, 2, 4])}, r"test label 4 at index 3 is out of range; expected 0 to 3"),
        ({"test_images": np.zeros((4, 9, 9, 3), np.uint8)}, r"test images have shape 3 x 9 x 9"),
        ({"class_names": ["a", "b"]}, r"train label 2 at index 2 is out of range"),
    ],
)
def test_every_data_set_is_checked(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(write_arrays(tmp_path / "a.npz", **changes))


def test_a_folder_with_an_image_size(tmp_path: Path) -> None:
    for name, side in (("ant", 9), ("bee", 30)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (side, side), "red").save(tmp_path / name / "1.png")
    dataset = load_dataset(f"folder:{tmp_path}", framing=Framing(24))
    assert dataset.class_names == ("ant", "bee")
    # Photographs of several sizes get random crops of the whole.
    assert (dataset.size, dataset.augmentation) == ((24, 24), ResizedCrops())
    assert dataset.test is None
    assert dataset.normalization.mean == pytest.approx((1.0, 0.0, 0.0))


def test_images_of_one_size_keep_their_augmentation(tmp_path: Path) -> None:
    for name, color in (("ant", "red"), ("bee", "blue")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (30, 30), color).save(tmp_path / name / "1.png")
    assert load_dataset(f"folder:{tmp_path}", framing=Framing(24)).augmentation == CropFlip(4, True)


def test_own_validation_images_of_arrays_are_announced(tmp_path: Path) -> None:
    images, labels = np.zeros((2, 8, 8, 3), np.uint8), np.array([3, 1])
    spec = write_arrays(tmp_path / "a.npz", validation_images=images, validation_labels=labels)
    with pytest.warns(ValidationSetUsed, match="its own 2 validation images are held out"):
        dataset = load_dataset(spec)
    assert dataset.validation is not None
    assert dataset.validation.labels.tolist() == [3, 1]
    assert len(dataset.train) == 12


def test_a_bare_path_offers_what_was_meant(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz")
    for path, kind in ((tmp_path, "folder"), (tmp_path / "a.npz", "arrays")):
        with pytest.raises(InputError, match=f"did you mean {kind}:{path}\\? known: "):
            load_dataset(str(path))


@pytest.mark.parametrize("spec", ["folder:", "parquet:", "hf:"])
def test_a_kind_alone_is_no_data_set(spec: str) -> None:
    with pytest.raises(InputError, match=f"unknown data set '{spec}': did you mean '{spec}[A-Z]+'"):
        load_dataset(spec, framing=Framing(8))


@pytest.mark.parametrize(("spec", "size"), [("digits", 8), ("arrays:a.npz", 8), ("folder:a", 0)])
def test_image_sizes_that_make_no_sense(spec: str, size: int) -> None:
    with pytest.raises(InputError, match=rf"image size {size} for '{spec}': goes with folder:DIR, .* and hf:NAME only"):
        load_dataset(spec, framing=Framing(size))


@pytest.mark.parametrize(
    ("spec", "near"),
    [
        ("digit", "digits"),
        ("fashionmnist", "fashion-mnist"),
        ("cifar-100", "cifar100"),
        ("arrays:", "arrays:FILE.npz"),
        ("folders:DIR", "folder:DIR"),
        ("digits:x", "digits"),
    ],
)
def test_unknown_names_offer_the_nearest(spec: str, near: str) -> None:
    with pytest.raises(InputError, match=f"unknown data set '{spec}': did you mean '{near}'"):
        load_dataset(spec)


@pytest.mark.parametrize(
    "spec", ["x" * 5000, "a\0b", "~no-such-user/data", "folder:~no-such-user", "folder:" + "x" * 5000]
)
def test_names_that_no_file_can_have_are_refused(spec: str) -> None:
    with pytest.raises(InputError):
        load_dataset(spec)


def test_the_root_is_the_argument_then_the_environment_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist_files(tmp_path / "given", n_train=10)
    write_mnist_files(tmp_path / "named", n_train=20)
    write_mnist_files(tmp_path / ".cache" / "preceptor" / "data", n_train=30)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PRECEPTOR_DATA", str(tmp_path / "named"))
    assert len(load_dataset("mnist", root=tmp_path / "given").train) == 10
    assert len(load_dataset("mnist").train) == 20
    monkeypatch.setenv("PRECEPTOR_DATA", "")
    assert len(load_dataset("mnist").train) == 30


def test_importing_the_room_loads_nothing_heavy() -> None:
    script = (
        "import sys, preceptor.data; "
        "print([name for name in ('sklearn', 'scipy', 'PIL', 'torchvision', 'vl_convert') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
