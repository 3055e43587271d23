"""The loop taught by a bank: looked up ahead, filled where it is empty, asked about what is listened to."""

from pathlib import Path

import pytest
from torch import Tensor

from preceptor import InputError
from preceptor.teachers import LiveTeacher
from preceptor.teachers.bank import Bank, Fingerprint, Layout, open_bank
from preceptor.training import Protocol, lectern
from tests.classroom import digits, few, network, pupil, same_bits, taught, weights
from tests.training.test_fitted import choosy

BRIEF = Protocol(epochs=3, batch_size=16)


class Telling(LiveTeacher):
    """Remembers which cells it was asked about."""

    def __init__(self) -> None:
        super().__init__(network(99), digits().normalisation, classes=10)
        self.asked: list[tuple[int, int]] = []

    def said(self, images: Tensor, index: Tensor, view: Tensor) -> Tensor:
        self.asked += zip(index.tolist(), view.tolist(), strict=True)
        return super().said(images, index, view)


def bank(folder: Path, live: LiveTeacher | None) -> Bank:
    data = digits()
    layout = Layout(samples=len(data.train), views=data.view_rule.count, classes=10)
    fingerprint = Fingerprint.of("teacher", "digits", data.normalisation, data.view_rule, data.class_names)
    return open_bank(folder, fingerprint, layout, live)


def test_each_cell_is_asked_about_once_and_a_second_run_asks_nothing(tmp_path):
    teacher = Telling()
    first = pupil("kd")
    taught([first], protocol=BRIEF, teacher=bank(tmp_path / "bank", teacher))
    assert 0 < len(teacher.asked) == len(set(teacher.asked)) <= 3 * 40
    again = pupil("kd")
    taught([again], protocol=BRIEF, teacher=bank(tmp_path / "bank", None))
    assert same_bits(weights(first.student), weights(again.student))


@pytest.mark.parametrize("ahead", [1, 16, 20, 33, 4096])
def test_how_far_ahead_it_is_looked_up_changes_nothing(tmp_path, monkeypatch, ahead):
    one = pupil("kd")
    taught([one], protocol=BRIEF, teacher=bank(tmp_path / "bank", Telling()))
    monkeypatch.setattr(lectern, "SAMPLES_LOOKED_UP", ahead)
    other, late = pupil("kd"), pupil("kd")
    taught([other], protocol=BRIEF, teacher=bank(tmp_path / "bank", None))
    taught([late], protocol=BRIEF, teacher=bank(tmp_path / "another", Telling()))
    assert same_bits(weights(one.student), weights(other.student))
    assert same_bits(weights(one.student), weights(late.student))


def test_it_learns_as_from_the_live_teacher_within_rounding(tmp_path):
    live, banked = pupil("kd"), pupil("kd")
    a = taught([live], protocol=BRIEF, teacher=Telling())
    b = taught([banked], protocol=BRIEF, teacher=bank(tmp_path / "bank", Telling()))
    for epoch, other in zip(a, b, strict=True):
        assert other[0].losses == pytest.approx(epoch[0].losses, rel=2e-3)


def test_a_bank_is_filled_with_what_is_listened_to_alone(tmp_path):
    teacher, chosen = Telling(), few(40)[:10]
    taught([choosy("few", chosen)], protocol=BRIEF, teacher=bank(tmp_path / "bank", teacher))
    assert {index for index, _ in teacher.asked} == set(chosen.tolist())
    again = choosy("few", chosen)
    taught([again], protocol=BRIEF, teacher=bank(tmp_path / "bank", None))  # what is missing is not asked for
    untouched = choosy("few", chosen)
    taught([untouched], protocol=BRIEF, teacher=bank(tmp_path / "new", Telling()))
    assert same_bits(weights(again.student), weights(untouched.student))


def test_a_cell_that_is_missing_without_a_teacher_is_named(tmp_path):
    taught([pupil("kd")], protocol=BRIEF, teacher=bank(tmp_path / "bank", Telling()))
    with pytest.raises(InputError, match=r"nothing kept for sample \d+, view \d+"):
        taught([pupil("kd")], protocol=BRIEF, seed=5, teacher=bank(tmp_path / "bank", None))


def test_the_first_batch_may_hold_nothing_that_is_listened_to(tmp_path):
    """Its rows are then as wide as the bank's all the same."""
    chosen = few(40)[:1]
    one = choosy("one", chosen)
    taught([one], protocol=Protocol(epochs=1, batch_size=2), teacher=bank(tmp_path / "bank", Telling()))
    assert all(bool(tensor.isfinite().all()) for tensor in one.student.state_dict().values())
