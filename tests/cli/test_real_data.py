"""From the official files of Fashion-MNIST and CIFAR-100 to a measured student: a few hundred images, few epochs."""

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from preceptor.models import load_student

ROOT = Path(os.environ.get("PRECEPTOR_DATA", "/nowhere"))

pytestmark = pytest.mark.real_data

SHORT = ["--batch-size", "8", "--validation", "0.01", "--device", "cpu", "--json"]


@pytest.mark.skipif(not (ROOT / "FashionMNIST").is_dir(), reason="PRECEPTOR_DATA holds no Fashion-MNIST")
def test_fashion_mnist(preceptor, tmp_path):
    data = ["--data", "fashion-mnist", "--train-images", "400", "--epochs", "3"]
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    trained = preceptor("train", *data, "--model", "convnet8", *SHORT, "--out", teacher)
    assert trained.code == 0, trained.err
    distilled = preceptor(
        "distill", *data, "--teacher", teacher, "--student", "convnet8", "--recipe", "ka-ps", *SHORT, "--out", student
    )
    assert distilled.code == 0, distilled.err
    result = json.loads(distilled.out)
    assert result["training_images"] == result["teacher"]["images"] == 400
    assert 0 < result["teacher"]["wrong"] < 400
    assert result["test"]["n"] == 10_000
    assert result["test"]["accuracy"] > 0.2  # chance is 0.1
    evaluated = preceptor("evaluate", student, "--json")
    assert evaluated.code == 0, evaluated.err
    assert json.loads(evaluated.out)["accuracy"]["value"] == pytest.approx(result["test"]["accuracy"])
    assert load_student(student)[1].class_names[9] == "Ankle boot"


def reader() -> ModuleType:
    """The reader that lies beside the data."""
    spec = importlib.util.spec_from_file_location("load", ROOT / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Positions of the first so many images of each class, in their order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


def write_few(path: Path) -> None:
    """The arrays that the reader's own ``write`` makes, of fewer images."""
    from PIL import features

    if not features.check("webp"):
        pytest.skip("this Pillow cannot read WebP")
    load, arrays = reader(), {}
    labels = load.labels("cifar100", lib="numpy")
    for split, count in (("train", 5), ("test", 2)):
        chosen = first_of_each_class(labels[split], count)
        arrays[f"{split}_images"] = load.images("cifar100", split, lib="numpy")[chosen]
        arrays[f"{split}_labels"] = labels[split][chosen]
    np.savez(path, **arrays)


@pytest.mark.skipif(not (ROOT / "cifar100").is_dir(), reason="PRECEPTOR_DATA holds no CIFAR-100")
def test_cifar_100_as_arrays(preceptor, tmp_path):
    write_few(tmp_path / "cifar100.npz")
    data = ["--data", f"arrays:{tmp_path / 'cifar100.npz'}", "--epochs", "1"]
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    trained = preceptor("train", *data, "--model", "resnet8", *SHORT, "--out", teacher)
    assert trained.code == 0, trained.err
    distilled = preceptor(
        "distill", *data, "--teacher", teacher, "--student", "resnet8", "--recipe", "kd", *SHORT, "--out", student
    )
    assert distilled.code == 0, distilled.err
    result = json.loads(distilled.out)
    assert result["training_images"] == 500 - round(0.01 * 500)
    assert result["test"]["n"] == 200
    assert len(result["test"]["per_class_accuracy"]) == 100
    assert None not in result["test"]["per_class_accuracy"]
    _, card = load_student(student)
    assert (card.classes, card.channels, card.image_size) == (100, 3, (32, 32))
    evaluated = preceptor("evaluate", student, "--json")
    assert json.loads(evaluated.out)["accuracy"]["value"] == pytest.approx(result["test"]["accuracy"])
