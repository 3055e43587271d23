"""The loop taught by a cache: looked up ahead, filled where it is empty, asked about what is listened to."""

from pathlib import Path

import pytest
from torch import Tensor

from preceptor import InputError
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache
from preceptor.training import TrainingConfig, teacher_feed
from tests.classroom import digits, few, network, pupil, same_bits, taught, weights
from tests.training.test_fitted import choosy

BRIEF = TrainingConfig(epochs=3, batch_size=16)


class Telling(NetworkTeacher):
    """Remembers which cells it was asked about."""

    def __init__(self) -> None:
        super().__init__(network(99), digits().normalization, classes=10)
        self.asked: list[tuple[int, int]] = []

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        self.asked += dict.fromkeys(zip(index.tolist(), view.tolist(), strict=True))
        return TeacherOutput(super().outputs(images, index, view).logits)


def cache(folder: Path, live: NetworkTeacher | None) -> LogitCache:
    data = digits()
    layout = Layout(samples=len(data.train), views=data.augmentation.count, classes=10)
    fingerprint = CacheKey.of("teacher", "digits", data.normalization, data.augmentation, data.class_names)
    return open_cache(folder, fingerprint, layout, live)


def test_each_cell_is_asked_about_once_and_a_second_run_asks_nothing(tmp_path):
    teacher = Telling()
    first = pupil("kd")
    taught([first], training=BRIEF, teacher=cache(tmp_path / "cache", teacher))
    assert 0 < len(teacher.asked) == len(set(teacher.asked)) <= 3 * 40
    again = pupil("kd")
    taught([again], training=BRIEF, teacher=cache(tmp_path / "cache", None))
    assert same_bits(weights(first.student), weights(again.student))


@pytest.mark.parametrize("ahead", [1, 16, 20, 33, 4096])
def test_how_far_ahead_it_is_looked_up_changes_nothing(tmp_path, monkeypatch, ahead):
    one = pupil("kd")
    taught([one], training=BRIEF, teacher=cache(tmp_path / "cache", Telling()))
    monkeypatch.setattr(teacher_feed, "SAMPLES_LOOKED_UP", ahead)
    other, late = pupil("kd"), pupil("kd")
    taught([other], training=BRIEF, teacher=cache(tmp_path / "cache", None))
    taught([late], training=BRIEF, teacher=cache(tmp_path / "another", Telling()))
    assert same_bits(weights(one.student), weights(other.student))
    assert same_bits(weights(one.student), weights(late.student))


def test_it_learns_as_from_the_live_teacher_within_rounding(tmp_path):
    live, cached = pupil("kd"), pupil("kd")
    a = taught([live], training=BRIEF, teacher=Telling())
    b = taught([cached], training=BRIEF, teacher=cache(tmp_path / "cache", Telling()))
    for epoch, other in zip(a, b, strict=True):
        assert other[0].losses == pytest.approx(epoch[0].losses, rel=2e-3)


def test_a_bank_is_filled_with_what_is_listened_to_alone(tmp_path):
    teacher, chosen = Telling(), few(40)[:10]
    taught([choosy("few", chosen)], training=BRIEF, teacher=cache(tmp_path / "cache", teacher))
    assert {index for index, _ in teacher.asked} == set(chosen.tolist())
    again = choosy("few", chosen)
    taught([again], training=BRIEF, teacher=cache(tmp_path / "cache", None))  # what is missing is not asked for
    untouched = choosy("few", chosen)
    taught([untouched], training=BRIEF, teacher=cache(tmp_path / "new", Telling()))
    assert same_bits(weights(again.student), weights(untouched.student))


def test_a_cell_that_is_missing_without_a_teacher_is_named(tmp_path):
    taught([pupil("kd")], training=BRIEF, teacher=cache(tmp_path / "cache", Telling()))
    with pytest.raises(InputError, match=r"nothing cached for sample \d+, view \d+"):
        taught([pupil("kd")], training=BRIEF, seed=5, teacher=cache(tmp_path / "cache", None))


def test_the_first_batch_may_hold_nothing_that_is_listened_to(tmp_path):
    """Its rows are then as wide as the cache's all the same."""
    chosen = few(40)[:1]
    one = choosy("one", chosen)
    taught([one], training=TrainingConfig(epochs=1, batch_size=2), teacher=cache(tmp_path / "cache", Telling()))
    assert all(bool(tensor.isfinite().all()) for tensor in one.student.state_dict().values())
