import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from preceptor.errors import InputError
from preceptor.models import load_student
from preceptor.run import cards, resolve, run
from preceptor.run.calibration_data import CalibrationSource, calibration_images
from preceptor.run.history import DatasetCache, saved_run
from tests.training_helpers import SMALL_RUN, digits

BRIEF = {**SMALL_RUN, "student": "convnet4", "training": {"epochs": 1, "batch_size": 32}}


def found(folder, **source):
    return calibration_images(folder, load_student(folder)[1], CalibrationSource(**source))


def arrays(path, images, labels, **more):
    """A file of arrays, and how to name it as a data set."""
    names = np.array(digits().class_names)
    np.savez(path, train_images=images[:, 0].numpy(), train_labels=labels.numpy(), class_names=names, **more)
    return f"arrays:{path}"


def test_by_default_what_the_run_held_out(teacher):
    result = found(teacher)
    held_out = DatasetCache().held_out(saved_run(teacher))
    assert torch.equal(result.images.images, held_out.images)
    assert torch.equal(result.images.labels, held_out.labels)
    assert result.source.model_dump(exclude={"fingerprint"}) == {"data": "digits", "part": "held_out", "samples": 135}
    assert result.notes == ()


def test_the_fingerprint_is_of_pixels_and_labels(teacher):
    prints = {found(teacher).source.fingerprint, found(teacher, part="test").source.fingerprint}
    assert len(prints) == 2
    assert {found(teacher).source.fingerprint, *prints} == prints
    assert all(len(digest) == 64 for digest in prints)


def test_the_test_set_when_asked_for_with_what_that_means(teacher):
    result = found(teacher, part="test")
    assert torch.equal(result.images.images, digits().test.images)
    assert result.source.part == "test"
    assert any("the test set has decided something now" in note for note in result.notes)


def test_other_data_has_its_unlabeled_left_out_and_its_test_set_taken(teacher, tmp_path):
    test = digits().test
    labels = test.labels[:200].clone()
    labels[::4] = -1
    spec = arrays(tmp_path / "one.npz", test.images[:200], labels)
    result = found(teacher, data=spec)
    assert (result.source.data, result.source.part, result.source.samples) == (spec, "all", 150)
    assert torch.equal(result.images.images, test.images[:200][labels >= 0])
    extra = {"test_images": test.images[200:300, 0].numpy(), "test_labels": test.labels[200:300].numpy()}
    spec = arrays(tmp_path / "two.npz", test.images[:200], test.labels[:200], **extra)
    assert torch.equal(found(teacher, data=spec).images.images, test.images[200:300])
    assert found(teacher, data=spec, part="all").source.samples == 300


def test_a_folders_images_are_brought_to_the_students_size(teacher, tmp_path):
    for number, name in enumerate(digits().class_names):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((20, 14), 10 * number, dtype=np.uint8)).save(tmp_path / name / "one.png")
    assert found(teacher, data=f"folder:{tmp_path}").images.images.shape == (10, 1, 8, 8)


def test_a_few_that_were_trained_on_are_told_and_many_refused(teacher, tmp_path):
    """Of the 60 trained on, 2 and 3 among 200 in all."""
    learned, test = DatasetCache().learned_from(saved_run(teacher)), digits().test
    for seen, refused in [(2, False), (3, True)]:
        images = torch.cat([learned[:seen], test.images[: 200 - seen]])
        spec = arrays(tmp_path / f"{seen}.npz", images, test.labels[:200])
        told = f"{seen} of these 200 images are, pixel for pixel, among those that {teacher} learned from"
        if refused:
            with pytest.raises(InputError, match=told):
                found(teacher, data=spec)
        else:
            assert found(teacher, data=spec).notes == (told,)


def test_images_that_a_teacher_learned_from_are_refused(teacher, tmp_path):
    """The teacher held out others, and trained on most of those that the student held out."""
    every = {**BRIEF, "train_images": None}
    run(resolve({**every, "split_seed": 5}), tmp_path / "teacher")
    distilled = {**BRIEF, "recipe": "kd", "teacher": tmp_path / "teacher"}
    run(resolve(distilled), tmp_path / "student")
    with pytest.raises(InputError, match=r"its teacher .*/teacher learned from; .*one --split-seed and --validation"):
        found(tmp_path / "student")
    assert found(tmp_path / "student", part="test").source.samples == 449


def test_a_teacher_that_tells_nothing_is_named(teacher, tmp_path):
    np.save(tmp_path / "outputs.npy", np.random.default_rng(0).normal(size=(1348, 10)).astype(np.float32))
    content = {**BRIEF, "recipe": "kd", "teacher": tmp_path / "outputs.npy", "teacher_output": "logits"}
    run(resolve(content), tmp_path / "student", force=True)
    assert found(tmp_path / "student").notes == (
        f"whether the teacher {tmp_path / 'outputs.npy'} was trained on these images is not known",
    )


def test_images_that_the_selection_was_fitted_against_are_refused(teacher, tmp_path):
    recipe = {"selection": {"name": "influence"}, "terms": {"kl": {"loss": "kl"}}}
    run(resolve({**BRIEF, "teacher": teacher, "recipe": recipe}), tmp_path / "student")
    with pytest.raises(InputError, match="influence of its recipe was fitted on the held-out images"):
        found(tmp_path / "student")
    assert found(tmp_path / "student", part="test").source.samples == 449


def test_labels_of_a_file_are_told(tmp_path):
    labels = digits().train.labels.clone()
    labels[::3] = -1
    np.save(tmp_path / "labels.npy", labels.numpy())
    run(resolve({**BRIEF, "train_labels": tmp_path / "labels.npy"}), tmp_path / "student")
    result = found(tmp_path / "student")
    assert result.source.samples < 135
    assert result.notes == (f"errors are counted by the labels in {tmp_path / 'labels.npy'}, those it was trained on",)


@pytest.mark.parametrize(
    ("changes", "source", "message"),
    [
        ({"validation": 0.0}, {}, "held no images out"),
        ({}, {"part": "all"}, "was trained on most of digits"),
        ({}, {"data": "digits", "part": "held_out"}, "leave out --data"),
        ({}, {"data": "digits", "part": "all"}, "learned from"),
        ({}, {"data": "nothing"}, "unknown data set"),
        ({}, {"image_size": 8}, "image_size and skip_bad_images are those of the run"),
    ],
)
def test_images_that_cannot_be_had_are_refused(tmp_path, changes, source, message):
    run(resolve({**BRIEF, **changes}), tmp_path / "student")
    with pytest.raises(InputError, match=message) as caught:
        found(tmp_path / "student", **source)
    assert "\n" not in str(caught.value)


def test_without_a_test_set(teacher, tmp_path, monkeypatch):
    dataset = dataclasses.replace(digits(), test=None)
    monkeypatch.setattr(DatasetCache, "dataset", lambda *_: dataset)
    with pytest.raises(InputError, match="digits has no test set; calibrate on the held-out images"):
        found(teacher, part="test")
    spec = arrays(tmp_path / "some.npz", digits().test.images, digits().test.labels)
    with pytest.raises(InputError, match="has no test set; use --split all"):
        found(teacher, data=spec, part="test")


def test_none_that_is_labeled(teacher, monkeypatch):
    test = dataclasses.replace(digits().test, labels=torch.full_like(digits().test.labels, -1))
    dataset = dataclasses.replace(digits(), test=test)
    monkeypatch.setattr(cards, "load_dataset", lambda *_, **__: dataset)
    with pytest.raises(InputError, match="none of the 449 images has a label"):
        found(teacher, data="digits")


def test_a_student_that_was_copied_knows_no_held_out_images(teacher, tmp_path):
    for name in ("student.json", "student.safetensors"):
        (tmp_path / name).write_bytes((teacher / name).read_bytes())
    with pytest.raises(InputError, match=r"no run\.yaml, so that its held-out images are not known; name others"):
        found(tmp_path)
    notes = found(tmp_path, data="digits").notes
    assert any("whether it was trained on these images is not known" in note for note in notes)


def test_training_data_that_is_gone_leaves_it_open(teacher, tmp_path, monkeypatch):
    spec = arrays(tmp_path / "some.npz", digits().test.images, digits().test.labels)

    def gone(*_):
        raise InputError("digits: gone")

    monkeypatch.setattr(DatasetCache, "dataset", gone)
    (note,) = found(teacher, data=spec).notes
    assert note == f"whether {teacher} was trained on these images is not known (digits: gone)"
