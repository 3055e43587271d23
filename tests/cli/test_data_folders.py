"""Folders of images as people have them, from training to a calibrated student."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLORS = {"cat": (200, 60, 60), "dog": (60, 200, 60), "emu": (60, 60, 200)}
SHORT = ["--model", "convnet4", "--epochs", "3", "--batch-size", "8", "--device", "cpu", "--json"]


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def write_split(folder: Path, count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    for name, color in COLORS.items():
        for number in range(count):
            save(np.clip(color + draw.normal(0, 25, (8, 8, 3)), 0, 255), folder / name / f"{number:03}.png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Training and validation images, and no test set."""
    write_split(tmp_path / "photos" / "train", 12, 0)
    write_split(tmp_path / "photos" / "valid", 7, 1)
    return tmp_path / "photos"


@pytest.mark.parametrize("test", [True, False])
def test_own_validation_images_are_the_held_out_ones(preceptor, photos, tmp_path, test):
    if test:
        write_split(photos / "test", 5, 2)
    out = tmp_path / "run"
    trained = preceptor("train", "--data", f"folder:{photos}", *SHORT, "--out", out)
    assert trained.code == 0, trained.err
    assert trained.err.count("its own 21 validation images are held out") == 1
    result = json.loads(trained.out)
    assert result["training_images"] == 36
    assert result["validation"]["n"] == 21
    if test:
        evaluated = preceptor("evaluate", out, "--json")
        assert evaluated.code == 0, evaluated.err
        assert "its own 21 validation images are held out" in evaluated.err
        assert json.loads(evaluated.out)["held_out"] == 21
    calibrated = preceptor("calibrate", out, "--sets", "lac", "--alpha", "0.2", "--json")
    assert calibrated.code == 0, calibrated.err
    assert json.loads((out / "student.json").read_text())["sets"]["calibrated_on"]["samples"] == 21


def test_teacher_and_student_with_own_validation_images(preceptor, photos, tmp_path):
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    data = ["--data", f"folder:{photos}"]
    assert preceptor("train", *data, *SHORT, "--out", teacher).code == 0
    distill = ["--student", "convnet4", *SHORT[2:], "--teacher", teacher, "--recipe", "ka-ps"]
    distilled = preceptor("distill", *data, *distill, "--out", student)
    assert distilled.code == 0, distilled.err
    assert json.loads(distilled.out)["teacher"]["images"] == 36
    assert json.loads(distilled.out)["validation"]["n"] == 21
    diagnosed = preceptor("doctor", *data, "--teacher", teacher, "--student", "convnet4", "--device", "cpu", "--json")
    assert diagnosed.code == 0, diagnosed.err


def test_copies_of_an_image_are_held_out_together(preceptor, tmp_path):
    """Every image five times. Held out one by one, nearly all held-out images would be among those trained on."""
    draw = np.random.default_rng(0)
    for name in ("left", "right"):
        for number in range(20):
            pixels = draw.integers(0, 256, (8, 8))
            for copy in range(5):
                save(pixels, tmp_path / "data" / name / f"{number}-{copy}.png")
    run = ["--data", f"folder:{tmp_path / 'data'}", "--validation", "0.25", *SHORT, "--out", tmp_path / "run"]
    trained = preceptor("train", *run)
    assert trained.code == 0, trained.err
    result = json.loads(trained.out)
    assert (result["training_images"], result["validation"]["n"]) == (150, 50)


def test_labels_by_name_from_a_csv(preceptor, photos, tmp_path):
    """Cats and dogs are swapped, and so a student that learns them is wrong on the validation images."""
    other = {"cat": "dog", "dog": "cat"}
    rows = [f"train/{name}/{n:03d}.png,{other.get(name, name)}" for name in COLORS for n in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *reversed(rows)]))
    trained = preceptor(
        "train", "--data", f"folder:{photos}", *SHORT[:2], "--epochs", "12", *SHORT[4:],
        "--train-labels", tmp_path / "labels.csv", "--out", tmp_path / "run",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    accuracy = json.loads(trained.out)["validation"]["per_class_accuracy"]
    assert accuracy[0] < 0.2
    assert accuracy[1] < 0.2
    assert accuracy[2] > 0.8


def test_a_bare_path_is_answered_with_what_was_meant(preceptor, photos, tmp_path):
    refused = preceptor("train", "--data", photos, *SHORT, "--out", tmp_path / "run")
    assert refused.code == 2
    assert f"did you mean folder:{photos}?" in refused.err
