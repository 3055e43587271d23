"""Training with a cache: looked up ahead, filled where it is empty, queried only where the output is used."""

import pytest
from torch import Tensor

from preceptor import InputError
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import LogitCache
from preceptor.training import TrainingConfig, teacher_feed
from tests.training.test_fitted import selective_student
from tests.training_helpers import cache_of, digits, few, make_student, network, same_bits, train, weights

TRAINING = TrainingConfig(epochs=3, batch_size=16)


class RecordingTeacher(NetworkTeacher):
    """Keeps the samples and views that it was queried on."""

    def __init__(self) -> None:
        super().__init__(network(99), digits().normalization, classes=10)
        self.queried: set[tuple[int, int]] = set()

    def outputs(self, inputs: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        self.queried |= set(zip(index.tolist(), view.tolist(), strict=True))
        return super().outputs(inputs, index, view)


def test_a_second_training_queries_nothing_and_ends_in_the_same_bits(tmp_path):
    first, second, third = make_student("kd"), make_student("kd"), make_student("kd")
    filling, idle = RecordingTeacher(), RecordingTeacher()
    train([first], training=TRAINING, teacher=cache_of(tmp_path / "cache", filling))
    assert {index for index, _ in filling.queried} == set(few(40).tolist())
    train([second], training=TRAINING, teacher=cache_of(tmp_path / "cache", idle))
    assert not idle.queried
    train([third], training=TRAINING, teacher=cache_of(tmp_path / "cache", None))
    assert same_bits(weights(first.network), weights(second.network))
    assert same_bits(weights(first.network), weights(third.network))


@pytest.mark.parametrize("ahead", [1, 16, 20, 33, 4096])
def test_how_far_ahead_it_is_looked_up_changes_nothing(tmp_path, monkeypatch, ahead):
    usual, filled, filling = make_student("kd"), make_student("kd"), make_student("kd")
    train([usual], training=TRAINING, teacher=cache_of(tmp_path / "cache", RecordingTeacher()))
    monkeypatch.setattr(teacher_feed, "SAMPLES_LOOKED_UP", ahead)
    train([filled], training=TRAINING, teacher=cache_of(tmp_path / "cache", None))
    train([filling], training=TRAINING, teacher=cache_of(tmp_path / "another", RecordingTeacher()))
    assert same_bits(weights(usual.network), weights(filled.network))
    assert same_bits(weights(usual.network), weights(filling.network))


def test_logits_of_many_classes_are_looked_up_for_fewer_samples(tmp_path, monkeypatch):
    train([make_student("kd")], training=TRAINING, teacher=cache_of(tmp_path / "cache", RecordingTeacher()))
    sizes, lookup = [], LogitCache.lookup
    monkeypatch.setattr(LogitCache, "lookup", lambda self, *rows: sizes.append(len(rows[0])) or lookup(self, *rows))
    monkeypatch.setattr(teacher_feed, "LOGITS_LOOKED_UP", 20 * 10)
    train([make_student("kd")], training=TRAINING, teacher=cache_of(tmp_path / "cache", None))
    assert set(sizes) == {32, 8}  # of 40 samples in batches of 16


def test_a_student_learns_as_from_the_network_within_rounding(tmp_path):
    plain = train([make_student("kd")], training=TRAINING, teacher=RecordingTeacher(), precision="fp32")
    cache = cache_of(tmp_path / "cache", RecordingTeacher())
    cached = train([make_student("kd")], training=TRAINING, teacher=cache, precision="fp32")
    for [one], [other] in zip(plain, cached, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=2e-3)


def test_a_cache_is_filled_with_what_is_used_only(tmp_path):
    teacher, chosen = RecordingTeacher(), few(40)[:10]
    first, second, third = (selective_student("few", chosen) for _ in range(3))
    train([first], training=TRAINING, teacher=cache_of(tmp_path / "cache", teacher))
    assert {index for index, _ in teacher.queried} == set(chosen.tolist())
    train([second], training=TRAINING, teacher=cache_of(tmp_path / "cache", None))  # the missing ones are not used
    train([third], training=TRAINING, teacher=cache_of(tmp_path / "new", RecordingTeacher()))
    assert same_bits(weights(second.network), weights(first.network))
    assert same_bits(weights(second.network), weights(third.network))


def test_a_missing_entry_without_a_teacher_is_named(tmp_path):
    train([make_student("kd")], training=TRAINING, teacher=cache_of(tmp_path / "cache", RecordingTeacher()))
    with pytest.raises(InputError, match=r"nothing (kept|cached) for sample \d+, view \d+"):
        train([make_student("kd")], training=TRAINING, seed=5, teacher=cache_of(tmp_path / "cache", None))


def test_a_batch_may_hold_no_sample_that_is_used(tmp_path):
    """Its rows are then as wide as the cache's all the same."""
    one = selective_student("one", few(40)[:1])
    cache = cache_of(tmp_path / "cache", RecordingTeacher())
    train([one], training=TrainingConfig(epochs=1, batch_size=2), teacher=cache)
    assert all(bool(tensor.isfinite().all()) for tensor in one.network.state_dict().values())
