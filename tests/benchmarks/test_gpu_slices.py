"""Trainings in slices: stopped or killed wherever, they end in the same bits, and are what one training would be."""

import pytest
import torch
from benchmarks.gpu import slices
from benchmarks.gpu.job import Clock
from benchmarks.gpu.slices import Course, slice_of_training

from preceptor import DistillationLoss, recipe
from preceptor.data import CropFlip
from preceptor.errors import InputError
from preceptor.training import Student, TrainingConfig, fit
from tests.classroom import digits, few, network, pupil, same_bits, untrained_teacher, weights

STEPS = TrainingConfig(epochs=5, batch_size=16, schedule="steps")
NO_TIME = 0.0


def course(*names: str, **changes) -> Course:
    """Fresh pupils and a fresh teacher, the same ones every time."""
    given = {
        "pupils": [pupil(name) for name in names or ("none", "kd")],
        "train": digits().train,
        "positions": few(40),
        "rule": digits().augmentation,
        "normalize": digits().normalization,
        "training": STEPS,
        "teacher": untrained_teacher(),
        "seed": 3,
        "precision": "fp32",
    }
    return Course(**{**given, **changes})


def in_one_call(folder, **changes) -> tuple[Course, slices.Stand]:
    whole = course(**changes)
    return whole, slice_of_training(whole, folder, Clock(1e9), unit=2)


def same(one: Course, other: Course) -> bool:
    pairs = zip(one.pupils, other.pupils, strict=True)
    return all(same_bits(weights(a.student), weights(b.student)) for a, b in pairs)


def numbers(stand: slices.Stand) -> list[list[tuple[object, ...]]]:
    """Its records without the clock."""
    kept = ("pupil", "epoch", "learning_rate", "losses", "train_accuracy", "temperature")
    return [[tuple(record[name] for name in kept) for record in epoch] for epoch in stand.records]


def test_stopped_after_every_stretch_it_ends_in_the_same_bits(tmp_path):
    whole, at_once = in_one_call(tmp_path / "whole")
    done = []
    for _ in range(3):
        piece = course()
        stand = slice_of_training(piece, tmp_path / "pieces", Clock(NO_TIME), unit=2)
        done.append((stand.done, stand.over))
    assert done == [(2, False), (4, False), (5, True)]
    assert same(piece, whole)
    assert numbers(stand) == numbers(at_once)
    assert [record["epoch"] for epoch in stand.records for record in epoch] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_training_that_is_over_is_found_again_as_it_ended(tmp_path):
    whole, _ = in_one_call(tmp_path)
    again = course()
    assert slice_of_training(again, tmp_path, Clock(NO_TIME), unit=2).over
    assert same(again, whole)


def test_killed_in_a_stretch_it_loses_that_stretch_alone(tmp_path, monkeypatch):
    whole, _ = in_one_call(tmp_path / "whole")
    slice_of_training(course(), tmp_path / "killed", Clock(NO_TIME), unit=2)

    def dying(*given, **options):
        yield next(fit(*given, **options))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(slices, "fit", dying)
        with pytest.raises(KeyboardInterrupt):
            slice_of_training(course(), tmp_path / "killed", Clock(NO_TIME), unit=2)
    resumed = course()
    assert slice_of_training(resumed, tmp_path / "killed", Clock(1e9), unit=2).over
    assert same(resumed, whole)


def test_momentum_and_schedule_go_on_across_stretches(tmp_path):
    """One batch an epoch, in one view: neither order nor view matters then, and a training of one piece is the same."""
    still = CropFlip(padding=0, flip=False)
    training = TrainingConfig(epochs=6, batch_size=40, schedule="steps", decay_at=(0.34, 0.5))
    pieces = course("kd", rule=still, training=training)
    stand = slice_of_training(pieces, tmp_path, Clock(1e9), unit=2)
    plain = course("kd", rule=still, training=training)
    given = (plain.train, plain.positions, still, plain.normalize, training)
    records = [epoch[0] for epoch in fit(plain.pupils, *given, teacher=plain.teacher, precision="fp32")]
    assert [epoch[0]["learning_rate"] for epoch in stand.records] == [record.learning_rate for record in records]
    assert len({record.learning_rate for record in records}) == 3
    assert [epoch[0]["total"] for epoch in stand.records] == pytest.approx([one.total for one in records], rel=1e-4)
    for name, tensor in weights(plain.pupils[0].student).items():
        torch.testing.assert_close(weights(pieces.pupils[0].student)[name], tensor, rtol=1e-3, atol=1e-5)


def test_the_cosine_ends_where_it_should(tmp_path):
    training = TrainingConfig(epochs=3, batch_size=20)
    plain = course("none", training=training)
    given = (plain.train, plain.positions, plain.rule, plain.normalize, training)
    rates = [epoch[0].learning_rate for epoch in fit(plain.pupils, *given)]
    stand = slice_of_training(course("none", training=training), tmp_path, Clock(1e9), unit=1)
    assert [epoch[0]["learning_rate"] for epoch in stand.records] == rates


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"seed": 4}, "seed"), ({"positions": few(20)}, "images"), ({"about": {"teacher": "another"}}, "teacher")],
    ids=["seed", "images", "about"],
)
def test_a_state_of_another_training_is_refused(tmp_path, changes, named):
    slice_of_training(course(), tmp_path, Clock(NO_TIME), unit=2)
    with pytest.raises(InputError, match=f"is of a training with other {named}: give another folder or remove it"):
        slice_of_training(course(**changes), tmp_path, Clock(NO_TIME), unit=2)


def test_a_term_for_a_part_of_training_is_refused(tmp_path):
    timed = Student("timed", network(outputs=11), DistillationLoss(**recipe("precise-abstain-b")))
    with pytest.raises(InputError, match="pupil 'timed': term 'ce' counts in a part of training only"):
        slice_of_training(course(pupils=[timed]), tmp_path, Clock(NO_TIME), unit=2)
