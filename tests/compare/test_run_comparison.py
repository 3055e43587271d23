"""A comparison end to end: its numbers against the students themselves, stops, growth, failures."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from preceptor.compare.comparison import comparison
from preceptor.compare.comparison_result import ComparisonResult
from preceptor.compare.run_comparison import run_comparison
from preceptor.data import load_dataset
from preceptor.errors import InputError
from preceptor.metrics import calibration_error, negative_log_likelihood
from preceptor.models import load_student
from preceptor.result_files import read_result
from preceptor.run import resolve, run
from preceptor.run.doctor import ProblemsFound
from preceptor.run.resume import run_state
from tests.data.encoded_files import save_png
from tests.run.kinds import rows_file
from tests.training_helpers import SMALL_RUN

RUN = {**SMALL_RUN, "student": "convnet4", "precision": "fp32"}  # processes of passes see the real CPU


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("teachers") / "teacher"
    run(resolve({**RUN, "seed": 1, "training": {"epochs": 10, "batch_size": 16}}), folder)
    return folder


def plan(teacher: Path | None, recipes=("none", "kd", "ka-ps"), **options):
    teachers = [] if teacher is None else [teacher]
    return comparison(recipes, run={**RUN, **options.pop("run", {})}, **{"teachers": teachers, "seeds": 2, **options})


@pytest.fixture(scope="module")
def compared(tmp_path_factory, teacher):
    out = tmp_path_factory.mktemp("compared") / "out"
    return out, run_comparison(plan(teacher), out, jobs=1, force=True)


def test_its_numbers_are_those_of_the_students(compared, teacher):
    out, result = compared
    data = load_dataset("digits")
    labels, images = data.test.labels, data.normalization(data.test.images)
    with torch.no_grad():
        wrong = load_student(teacher)[0](images).argmax(dim=1) != labels
    assert result.teachers[0].accuracy == pytest.approx(1 - float(wrong.double().mean()))
    for arm in result.arms:
        for number, folder in enumerate(arm.folders):
            with torch.no_grad():
                logits = load_student(out / folder)[0](images)
            right = logits.argmax(dim=1) == labels
            assert arm.accuracy.values[number] == pytest.approx(float(right.double().mean()))
            assert arm.nll.values[number] == pytest.approx(
                float(negative_log_likelihood(logits, labels).mean()), rel=1e-4
            )
            ece = calibration_error(logits.softmax(dim=1).amax(dim=1), right)
            assert arm.ece.values[number] == pytest.approx(ece, abs=1e-4)
        assert sum(arm.beside_teacher.values()) == pytest.approx(1)
        copied = [arm.beside_teacher[kind] for kind in ("mended", "copied", "other_mistake")]
        assert sum(copied) == pytest.approx(float(wrong.double().mean()))
        assert arm.risk[-1] == pytest.approx(1 - arm.accuracy.mean)
        assert len(arm.curve) == 2
        assert (arm.cost.queried.mean > 0) == (arm.recipe != "none")
    kd, none = (next(arm for arm in result.arms if arm.recipe == name) for name in ("kd", "none"))
    assert kd.difference is None
    assert none.difference.mean == pytest.approx(none.accuracy.mean - kd.accuracy.mean)
    assert none.difference.compared == 2
    assert read_result(ComparisonResult, out / "compare.json") == result


def test_a_class_that_no_image_is_measured_of_has_no_accuracy(tmp_path):
    """Here the last two of four."""
    for number, name in enumerate("abcd" * 8):
        save_png(tmp_path / "images" / "train" / name / f"{number}.png", number, side=8)
    for number, name in enumerate("ab" * 4):
        save_png(tmp_path / "images" / "test" / name / f"{number}.png", 100 + number, side=8)
    settings = {"data": f"folder:{tmp_path / 'images'}", "train_images": None}
    result = run_comparison(plan(None, ("none",), seeds=1, run=settings), tmp_path / "out", jobs=1, force=True)
    (arm,) = result.arms
    assert result.class_names == ("a", "b", "c", "d")
    assert sum(arm.per_class[:2]) / 2 == pytest.approx(arm.accuracy.mean)
    assert arm.per_class[2:] == [None, None]


def test_each_is_the_run_that_distill_would_write(compared, teacher, tmp_path):
    out, _ = compared
    run(resolve({**RUN, "recipe": "ka-ps", "teacher": teacher, "seed": 1}), tmp_path / "alone", force=True)
    weights = (tmp_path / "alone/student.safetensors").read_bytes()
    assert (out / "runs/ka-ps/seed-1/student.safetensors").read_bytes() == weights


def test_given_again_it_trains_nothing(compared, teacher, monkeypatch):
    out, result = compared
    monkeypatch.setattr("preceptor.compare.run_comparison.collect", None)
    (out / "runs/kd/seed-0/answers.safetensors").write_bytes(b"damaged")
    again = run_comparison(plan(teacher), out)
    assert [arm.model_copy(update={"cost": None}) for arm in again.arms] == [
        arm.model_copy(update={"cost": None}) for arm in result.arms
    ]


def test_a_larger_one_keeps_what_is_complete(compared, teacher, tmp_path):
    before, result = compared
    out = Path(shutil.copytree(before, tmp_path / "out"))
    stamp = (out / "runs/kd/seed-0/metrics.jsonl").read_bytes()
    larger = run_comparison(plan(teacher, ("none", "kd", "ka-ps", "cmkd"), seeds=3, baseline="none"), out, force=True)
    assert (out / "runs/kd/seed-0/metrics.jsonl").read_bytes() == stamp
    assert {len(arm.seeds) for arm in larger.arms} == {3}
    kd = next(arm for arm in larger.arms if arm.recipe == "kd")
    assert kd.accuracy.values[:2] == next(arm for arm in result.arms if arm.recipe == "kd").accuracy.values


def test_it_does_not_matter_what_is_trained_together_or_side_by_side(compared, teacher, tmp_path, monkeypatch):
    _, result = compared
    monkeypatch.setattr("preceptor.compare.run_comparison.largest_pass", lambda *_: 1)
    apart = run_comparison(plan(teacher), tmp_path / "out", jobs=2, force=True)
    numbers = [(arm.recipe, arm.accuracy.values, arm.nll.values, arm.risk) for arm in result.arms]
    assert [(arm.recipe, arm.accuracy.values, arm.nll.values, arm.risk) for arm in apart.arms] == numbers


def test_killed_and_given_again_it_ends_in_the_same_table(tmp_path, teacher):
    longer = {"training.epochs": 24, "train_images": 100}

    def numbers(result):
        return [(arm.recipe, arm.accuracy.values, arm.nll.values, [p.loss for p in arm.curve]) for arm in result.arms]

    script = (
        "from pathlib import Path; from tests.compare.test_run_comparison import plan; "
        "from preceptor.compare.run_comparison import run_comparison; "
        f"run_comparison(plan(Path({str(teacher)!r}), run={longer!r}), Path({str(tmp_path / 'out')!r}), jobs=1, "
        "force=True, checkpoint_seconds=0)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    checkpoints = tmp_path / "out/runs/none/seed-0/checkpoint"
    until = time.monotonic() + 120
    while not any(checkpoints.glob("epoch-00000[3-9]*.pt")) and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert run_state(tmp_path / "out/runs/none/seed-0") == "stopped"
    again = run_comparison(plan(teacher, run=longer), tmp_path / "out", jobs=1, force=True)
    whole = run_comparison(plan(teacher, run=longer), tmp_path / "whole", jobs=1, force=True)
    assert numbers(again) == numbers(whole)


def test_a_student_that_fails_is_named_and_the_others_are_compared(tmp_path, teacher):
    recipes = {"none": None, "kd": None, "wild": {"recipe": "kd", "training.learning_rate": 1e30}}
    result = run_comparison(plan(teacher, recipes), tmp_path / "out", jobs=1, force=True)
    assert [arm.recipe for arm in result.arms] == ["none", "kd"]
    (failures,) = result.unfinished.values()
    assert [failure.seed for failure in failures] == [0, 1]
    assert "not finite" in failures[0].message or "inf" in failures[0].message or "nan" in failures[0].message


def test_two_teachers_share_the_students_of_labels_alone(tmp_path, teacher):
    rows = rows_file(teacher, tmp_path / "rows.npy")
    settings = {"augment": False, "teacher_output": "logits"}
    result = run_comparison(
        comparison(("none", "kd"), run={**RUN, **settings}, teachers=[teacher, rows], seeds=2, baseline="none"),
        tmp_path / "out",
        jobs=1,
        force=True,
    )
    assert [(arm.recipe, arm.teacher) for arm in result.arms] == [("none", None), ("kd", "teacher"), ("kd", "rows")]
    network, file = result.teachers
    assert network.training_accuracy == file.training_accuracy
    assert file.accuracy is None
    assert file.unasked == "a file holds outputs of the training images only"
    assert result.compared == 2
    by_file = next(arm for arm in result.arms if arm.teacher == "rows")
    assert by_file.beside_teacher is None
    assert by_file.difference is not None


def test_without_a_test_set_the_held_out_images_count(tmp_path, teacher):
    data = load_dataset("digits").train
    np.savez(tmp_path / "data.npz", train_images=data.images.squeeze(1).numpy(), train_labels=data.labels.numpy())
    rows = rows_file(teacher, tmp_path / "rows.npy")
    settings = {"data": f"arrays:{tmp_path / 'data.npz'}", "augment": False, "teacher_output": "logits"}
    made = comparison(("none", "kd"), run={**RUN, **settings}, teachers=[rows], seeds=1)
    result = run_comparison(made, tmp_path / "out", jobs=1, force=True)
    assert result.measured_on == "held-out training images"
    assert abs(result.samples - len(data) / 10) <= 10
    assert result.teachers[0].accuracy is not None  # a file answers about training images
    for arm in result.arms:
        assert arm.held_out.values == pytest.approx(arm.accuracy.values)


def test_the_doctor_is_heard_before_anything_is_trained(tmp_path, teacher):
    np.save(tmp_path / "labels.npy", np.arange(1348) % 10)
    settings = {"train_labels": str(tmp_path / "labels.npy")}
    findings = []
    with pytest.raises(ProblemsFound):
        run_comparison(plan(teacher, run=settings), tmp_path / "out", on_finding=findings.append)
    assert {"teacher accuracy", "recipe kd"} <= {finding.name for finding in findings}
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path, compared, teacher):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty, and no comparison"):
        run_comparison(plan(teacher), tmp_path)
    out = Path(shutil.copytree(compared[0], tmp_path / "out"))
    with pytest.raises(InputError, match="holds a run of other settings"):
        run_comparison(plan(teacher, run={"training.learning_rate": 0.01}), out)
    settings = {"data": f"arrays:{_without_test(tmp_path)}", "validation": 0.0}
    with pytest.raises(InputError, match="no labeled image to measure on"):
        run_comparison(plan(None, ["none"], run=settings), tmp_path / "another")


def _without_test(folder: Path) -> Path:
    data = load_dataset("digits").train
    np.savez(folder / "train.npz", train_images=data.images.squeeze(1).numpy(), train_labels=data.labels.numpy())
    return folder / "train.npz"


def test_the_plan_is_kept_and_can_be_given_again(compared):
    out, result = compared
    assert json.loads(json.dumps(result.plan))["recipes"] == {
        name: {"recipe": name} for name in ("none", "kd", "ka-ps")
    }
    assert (out / "plan.yaml").read_text().startswith("run:")
