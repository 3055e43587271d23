"""A run's folder: what it holds, that it can be run again, and that the test set is looked at once."""

import dataclasses
import json
import math
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from preceptor.data import ImageSet, hold_out, subset
from preceptor.models import build_model, load_student
from preceptor.run import read_config, resolve, run
from preceptor.training import Callback
from tests.measured import measure_student
from tests.training_helpers import SMALL_RUN, digits

set_up_module = import_module("preceptor.run.set_up")
measuring = import_module("preceptor.run.measuring")


@pytest.fixture(scope="module")
def distilled(teacher, tmp_path_factory):
    """A finished run, not to be changed, and its result."""
    folder = tmp_path_factory.mktemp("runs") / "student"
    return run(resolve({**SMALL_RUN, "recipe": "ka-ps", "teacher": teacher}), folder)


def small_run(out: Path, *overrides: tuple[str, object], **settings):
    return run(resolve({**SMALL_RUN, **settings}, overrides), out, force=True)


def entries(folder: Path) -> list[dict]:
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def numbers_in(thing) -> list[float]:
    if isinstance(thing, dict):
        return [number for value in thing.values() for number in numbers_in(value)]
    if isinstance(thing, list):
        return [number for value in thing for number in numbers_in(value)]
    return [thing] if isinstance(thing, int | float) else []


def test_the_folder_holds_four_files(distilled):
    names = sorted(path.name for path in distilled.folder.iterdir())
    assert names == ["metrics.jsonl", "run.yaml", "student.json", "student.safetensors"]


def test_metrics_are_lines_of_finite_numbers(distilled):
    *epochs, end = entries(distilled.folder)
    assert [(entry["event"], entry["epoch"]) for entry in epochs] == [("epoch", 1), ("epoch", 2)]
    assert all(math.isfinite(number) for entry in [*epochs, end] for number in numbers_in(entry))
    for entry in epochs:
        assert entry["total"] == pytest.approx(sum(entry["losses"].values()))
        assert entry["losses"].keys() == {"kl"}
        assert 0 < entry["corrected"] < 1


def test_the_last_line_is_the_result(distilled):
    *_, last_epoch, end = entries(distilled.folder)
    assert end["event"] == "end"
    for part in ("teacher", "validation", "test"):
        assert end[part] == dataclasses.asdict(getattr(distilled, part))
    assert end["training_images"] == 60
    assert last_epoch["validation_accuracy"] == distilled.validation.accuracy


def test_the_record_says_what_was_met(distilled, teacher):
    record = yaml.safe_load((distilled.folder / "run.yaml").read_text())["record"]
    assert (record["device"], record["training_images"], record["held_out_images"]) == ("cpu", 60, 135)
    assert record["versions"]["torch"] == torch.__version__
    of_teacher = yaml.safe_load((teacher / "run.yaml").read_text())["record"]
    assert record["fingerprints"]["data"] == of_teacher["fingerprints"]["data"]
    assert len(record["fingerprints"]["teacher"]) == 64
    assert of_teacher["fingerprints"]["teacher"] is None


def test_the_student_evaluates_to_what_was_reported(distilled):
    metrics, card = measure_student(distilled.folder)
    assert metrics == distilled.test
    assert (card.architecture, card.classes, card.data) == ("convnet8", 10, "digits")
    assert card.class_names == digits().class_names


def test_nothing_of_the_teacher_ships_with_the_student(distilled, teacher):
    student, source = load_file(distilled.folder / "student.safetensors"), load_file(teacher / "student.safetensors")
    assert student.keys() == build_model("convnet8", channels=1, classes=10).state_dict().keys()
    large = [tensor for tensor in source.values() if tensor.numel() > 10]
    assert not any(one.shape == other.shape and torch.equal(one, other) for one in student.values() for other in large)
    assert str(teacher) not in (distilled.folder / "student.json").read_text()


def test_the_look_at_the_teacher_is_right(distilled, teacher):
    network, card = load_student(teacher)
    labels = digits().train.labels
    positions = hold_out(labels, 0.1, 0)[0]
    positions = positions[subset(labels[positions], 60, 0)]
    with torch.no_grad():
        predicted = network(card.normalization()(digits().train.images[positions])).argmax(dim=1)
    right = int((predicted == labels[positions]).sum())
    assert dataclasses.asdict(distilled.teacher) == {"images": 60, "accuracy": right / 60, "wrong": 60 - right}


def test_the_written_configuration_runs_to_the_same_bits(distilled, tmp_path):
    torch.manual_seed(123)  # whatever state the caller's generator is in
    again = run(resolve(read_config(distilled.folder / "run.yaml")), tmp_path / "again")
    for name in ("student.safetensors", "student.json"):
        assert (again.folder / name).read_bytes() == (distilled.folder / name).read_bytes()
    assert (again.test, again.validation) == (distilled.test, distilled.validation)
    assert (again.folder / "run.yaml").read_text() == (distilled.folder / "run.yaml").read_text()


def test_another_seed_is_another_run(distilled, tmp_path):
    other = run(resolve(read_config(distilled.folder / "run.yaml"), [("seed", 1)]), tmp_path / "other")
    assert (other.folder / "student.safetensors").read_bytes() != (
        distilled.folder / "student.safetensors"
    ).read_bytes()


def test_the_callers_generator_and_settings_are_left_alone(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    small_run(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.are_deterministic_algorithms_enabled() is before[1]


@pytest.fixture
def looks(monkeypatch) -> list[torch.Tensor]:
    """The images measured on, in the order of the measurements."""
    measured, measure = [], measuring.network_logits

    def spy(network, normalize, images, **options):
        measured.append(images)
        return measure(network, normalize, images, **options)

    monkeypatch.setattr(measuring, "network_logits", spy)
    return measured


def test_the_test_set_is_looked_at_once_at_the_end(looks, tmp_path):
    small_run(tmp_path / "run")
    *before, last = looks
    assert torch.equal(last, digits().test.images)
    held_out = digits().train.images[hold_out(digits().train.labels, 0.1, 0)[1]]
    assert len(before) == 2 + 1  # each epoch, and after the last
    assert all(torch.equal(images, held_out) for images in before)


def test_what_is_in_the_test_set_does_not_touch_the_student(monkeypatch, tmp_path):
    honest = small_run(tmp_path / "honest")
    test = digits().test
    spoilt = dataclasses.replace(digits(), test=ImageSet(255 - test.images, (test.labels + 1) % 10))
    monkeypatch.setattr(set_up_module, "load_dataset", lambda *_, **__: spoilt)
    fooled = small_run(tmp_path / "fooled")
    assert (fooled.folder / "student.safetensors").read_bytes() == (honest.folder / "student.safetensors").read_bytes()
    assert fooled.test != honest.test
    assert fooled.validation == honest.validation


def test_the_last_epoch_counts_even_if_an_earlier_one_was_better(tmp_path):
    class Spoil(Callback):
        def on_epoch_end(self, trainer, records):
            if records[0].epoch == 6:
                torch.nn.init.zeros_(trainer.students[0].student.network.network.head.weight)

    settings = {"train_images": 400, "training": {"epochs": 6, "batch_size": 32}}
    result = run(resolve({**SMALL_RUN, **settings}), tmp_path / "run", [Spoil()])
    *epochs, end = entries(result.folder)
    by_epoch = [entry["validation_accuracy"] for entry in epochs]
    assert max(by_epoch) > 0.4
    assert by_epoch[-1] == end["validation"]["accuracy"] == result.validation.accuracy < 0.2
    assert measure_student(result.folder)[0] == result.test
    assert result.test.accuracy < 0.2


def test_without_validation_all_images_are_trained_on(tmp_path, looks):
    result = small_run(tmp_path / "run", validation=0, train_images=None, training={"epochs": 1, "batch_size": 512})
    assert result.training_images == len(digits().train)
    assert result.validation is None
    assert [len(images) for images in looks] == [len(digits().test)]
    *epochs, end = entries(result.folder)
    assert not any("validation_accuracy" in entry for entry in epochs)
    assert end["validation"] is None


def test_labels_from_a_file_take_the_place_of_the_data_sets(teacher, tmp_path):
    labels = (digits().train.labels.numpy() + 2) % 10
    np.save(tmp_path / "labels.npy", labels)
    given = {"recipe": "kd", "teacher": teacher}
    own = small_run(tmp_path / "own", **given)
    other = small_run(tmp_path / "other", **given, train_labels=tmp_path / "labels.npy")
    assert other.teacher.wrong != own.teacher.wrong
    records = [yaml.safe_load((result.folder / "run.yaml").read_text())["record"] for result in (own, other)]
    assert records[0]["fingerprints"]["data"] != records[1]["fingerprints"]["data"]
    np.save(tmp_path / "same.npy", digits().train.labels.numpy().astype(np.int16))
    same = small_run(tmp_path / "same", **given, train_labels=tmp_path / "same.npy")
    assert (same.folder / "student.safetensors").read_bytes() == (own.folder / "student.safetensors").read_bytes()


def test_unlabeled_images_are_taught_by_the_teacher_alone(teacher, tmp_path):
    labels = torch.full_like(digits().train.labels, -1)
    labels[:40] = digits().train.labels[:40]
    np.save(tmp_path / "labels.npy", labels.numpy())
    result = small_run(tmp_path / "run", recipe="kd", teacher=teacher, train_labels=tmp_path / "labels.npy")
    assert result.teacher.images == 60
    assert result.teacher.wrong < 60
    assert measure_student(result.folder)[0] == result.test


def test_a_run_in_which_no_image_that_is_trained_on_has_a_label(teacher, tmp_path):
    """There is then no accuracy of the teacher to write down, and the run must not break on it."""
    labels = torch.full_like(digits().train.labels, -1)
    labels[:10] = torch.arange(10)
    np.save(tmp_path / "labels.npy", labels.numpy())
    given = {"recipe": "kd", "teacher": teacher, "train_labels": tmp_path / "labels.npy", "train_images": 2}
    result = small_run(tmp_path / "run", **given)
    assert result.teacher.accuracy is None
    assert entries(result.folder)[-1]["teacher"] == {"images": 2, "accuracy": None, "wrong": 0}
    assert (result.folder / "student.safetensors").is_file()


@pytest.mark.usefixtures("bf16_units")
def test_bf16_trains_another_student_of_the_same_kind(tmp_path):
    exact, rough = (small_run(tmp_path / precision, precision=precision) for precision in ("fp32", "bf16"))
    weights = [load_file(result.folder / "student.safetensors") for result in (exact, rough)]
    assert {tensor.dtype for tensor in weights[1].values()} == {torch.float32, torch.int64}
    assert not torch.equal(weights[0]["head.weight"], weights[1]["head.weight"])
    assert measure_student(rough.folder)[0] == rough.test


def test_without_augmentation_images_are_shown_as_they_are(tmp_path):
    views = []

    class Views(Callback):
        def on_train_start(self, trainer):
            views.append(trainer.data.augmentation.count)

    for augment in (False, True):
        run(resolve({**SMALL_RUN, "augment": augment}), tmp_path / str(augment), [Views()])
    assert views == [1, digits().augmentation.count]


def test_a_data_set_without_a_test_set(tmp_path):
    from PIL import Image

    generator = np.random.default_rng(0)
    for name in ("dark", "light"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 100, (8, 8), dtype=np.uint8) + (120 if name == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / name / f"{number}.png")
    result = small_run(tmp_path / "run", data=f"folder:{tmp_path / 'images'}", train_images=None, validation=0.2)
    assert result.test is None
    assert result.validation.n == 4
    assert entries(result.folder)[-1]["test"] is None
    assert load_student(result.folder)[1].class_names == ("dark", "light")
    assert measure_student(result.folder, split="train")[0].n == 20
