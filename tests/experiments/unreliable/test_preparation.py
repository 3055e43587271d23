import dataclasses

import numpy as np
import pytest
import torch

from experiments.unreliable.preparation import prepare, students_images, students_labels
from experiments.unreliable.settings import SETTINGS, STORED
from experiments.unreliable.sources import Part
from experiments.unreliable.teachers import TEACHERS, train_teacher, training_set
from preceptor.data import load_dataset
from preceptor.data.dataset import image_digests
from preceptor.errors import InputError
from tests.experiments.unreliable import tiny


@pytest.fixture(scope="module")
def source():
    return tiny.digits()


@pytest.fixture(scope="module")
def teachers(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    train_teacher("tiny", tiny.TEACHERS["tiny"], source, folder)
    return folder


def arrays(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_setting_follows_from_its_seed(source, teachers, tmp_path):
    shifted = tiny.setting(blur=0.5, noise=tiny.NOISE, unlabeled=20)
    first, again = (prepare(shifted, 3, source, teachers, tmp_path / name).folder for name in ("first", "again"))
    assert arrays(first) == arrays(again)
    other = prepare(shifted, 4, source, teachers, tmp_path / "first").folder
    assert arrays(first)["data.npz"] != arrays(other)["data.npz"]


def test_students_test_and_teachers_images_are_different_ones(source, teachers, tmp_path):
    prepared = prepare(tiny.setting(unlabeled=40), 0, source, teachers, tmp_path)
    data = load_dataset(f"arrays:{prepared.folder / 'data.npz'}")
    own, test = (set(image_digests(part.images)) for part in (data.train, data.test))
    taught = set(image_digests(training_set(tiny.TEACHERS["tiny"], source)[0]))
    assert len(data.train) == 100
    assert not own & taught
    assert not test & (own | taught)


def test_what_is_there_is_left_and_what_is_of_something_else_is_refused(source, teachers, tmp_path):
    folder = prepare(tiny.setting(), 0, source, teachers, tmp_path).folder
    (folder / "mark").touch()
    prepare(tiny.setting(), 0, source, teachers, tmp_path)
    assert (folder / "mark").exists()
    with pytest.raises(InputError, match="other settings"):
        prepare(tiny.setting(labels=50), 0, source, teachers, tmp_path)


def test_the_teachers_outputs_are_on_the_students_own_images(source, teachers, tmp_path):
    plain, scaled = (
        prepare(tiny.setting(name, scale=scale), 0, source, teachers, tmp_path)
        for name, scale in (("plain", 1.0), ("scaled", 3.0))
    )
    outputs = [np.load(own.folder / "teacher.npy") for own in (plain, scaled)]
    assert outputs[0].shape == (60, 10)
    np.testing.assert_allclose(3 * outputs[0], outputs[1], rtol=1e-6)
    assert plain.measures["accuracy_on_test"] == scaled.measures["accuracy_on_test"] > 0.3
    assert plain.measures["confidence_on_test"] < scaled.measures["confidence_on_test"]


def test_swapped_classes_make_the_teacher_wrong(source, teachers, tmp_path):
    plain, swapped = (
        prepare(tiny.setting(f"swapped-{pairs}", swapped=pairs), 0, source, teachers, tmp_path).measures
        for pairs in (0, 2)
    )
    assert swapped["accuracy_on_students"] < plain["accuracy_on_students"] - 0.1


def test_the_share_of_wrong_labels_is_measured_and_the_last_images_have_none(source, teachers, tmp_path):
    noisy = tiny.setting(noise=tiny.NOISE, unlabeled=20)
    assert prepare(noisy, 0, source, teachers, tmp_path).measures["wrong_labels"] == pytest.approx(0.2, abs=0.1)
    own = source.students.take(students_images(noisy, 0, source))
    labels = students_labels(noisy, 0, source, own)
    assert (labels[60:] == -1).all()
    assert (labels[:60] >= 0).all()


def test_students_without_a_teacher_learn_from_the_labeled_images_alone(source, teachers, tmp_path):
    prepared = prepare(tiny.setting(unlabeled=20, labeled_epochs=7), 0, source, teachers, tmp_path)
    taught, alone = (prepared.config(uses_teacher) for uses_teacher in (True, False))
    assert len(load_dataset(taught["data"]).train) == 80
    assert len(load_dataset(alone["data"]).train) == 60
    assert (taught["training"]["epochs"], alone["training"]["epochs"]) == (1, 7)
    assert "teacher" not in alone


def test_a_teacher_sees_a_long_tail_or_a_rare_class(source):
    spec = tiny.TEACHERS["tiny"]
    tail = training_set(dataclasses.replace(spec, imbalance=10), source)[1].bincount().tolist()
    assert tail[0] > 5 * tail[-1]
    assert training_set(dataclasses.replace(spec, rare=4), source)[1].bincount()[4] == 10


def test_parts_take_all_they_have():
    part = Part(torch.zeros(3, 1, 2, 2), torch.arange(3), human=torch.arange(3), outputs=torch.eye(3))
    taken = part.take(torch.tensor([2, 0]))
    assert taken.human.tolist() == taken.labels.tolist() == [2, 0]
    assert taken.outputs.argmax(dim=1).tolist() == [2, 0]


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_a_setting_says_what_it_is_and_has_its_teacher(setting):
    assert setting.about.endswith(".")
    assert setting.teacher == STORED or TEACHERS[setting.teacher].source == setting.source
    assert setting.wrong in ("labels", "both") or setting.noise is None
