"""The demo's data: what students learn from, and what the teacher never saw."""

import numpy as np
import torch

from preceptor.compare.comparison import cells
from preceptor.compare.demo import IMAGES, RECIPES, demo_comparison, tilted, write_data
from preceptor.data import load_dataset
from preceptor.data.dataset import image_digests
from tests.training_helpers import digits


def test_students_learn_from_images_of_every_class_that_the_teacher_never_saw(tmp_path):
    teacher, students = (load_dataset(f"arrays:{path}") for path in write_data(tmp_path, digits()))
    assert len(students.train) == IMAGES
    assert len(students.train.labels.unique()) == 10
    assert len(teacher.train) > 10 * IMAGES
    straight = {image_digests(tilted(image[None]))[0] for image in teacher.train.images}
    assert straight.isdisjoint(image_digests(students.train.images))
    assert torch.equal(students.test.images, tilted(teacher.test.images))
    assert torch.equal(students.test.labels, digits().test.labels)


def test_it_is_written_in_the_same_bytes_again(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for first, second in zip(*(write_data(tmp_path / name, digits()) for name in ("a", "b")), strict=True):
        with np.load(first) as one, np.load(second) as other:
            assert all(np.array_equal(one[name], other[name]) for name in one.files)


def test_a_tilt_turns_counterclockwise_and_back():
    bar = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    bar[0, 0, 4, 5:] = 255  # to the right of the middle
    turned = tilted(bar, 90)
    assert int(turned[0, 0, :4, 4].min()) == 255  # above it
    assert torch.equal(tilted(tilted(bar, 90), -90), bar)
    assert torch.equal(tilted(bar, 0), bar)


def test_it_leaves_no_control_out(tmp_path):
    plan = demo_comparison(tmp_path / "x.npz", tmp_path / "teacher", seeds=3, device="cpu")
    assert plan.baseline == "none"
    assert {"none", "kd", "drop-wrong", "safe"} <= set(RECIPES)
    assert [cell.recipe for cell in cells(plan)] == list(RECIPES) * 3
