"""Pupils taught on chosen samples, pupils that may abstain, and warm-up, in the loop."""

import pytest
import torch
from torch import Tensor

from preceptor import KL, CrossEntropy, DistillationLoss, InputError, LossTerm
from preceptor.abstention import Gambler, SoftGambler
from preceptor.selections import Random
from preceptor.teachers import NetworkTeacher
from preceptor.training import Student, TrainingConfig
from tests.training_helpers import BRIEF, digits, few, network, make_student, train, weights


class Counting(NetworkTeacher):
    """A teacher that remembers how many images it was asked about, call by call."""

    def __init__(self, classes: int | None = 10) -> None:
        super().__init__(network(99), digits().normalization, classes=classes)
        self.asked: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        return super().__call__(images)


def selecting(positions: Tensor) -> Random:
    size = len(digits().train)
    score = torch.zeros(size)
    score[positions] = 1.0
    select = Random(keep=len(positions) / size)
    select.set_scores(torch.arange(size), score, size)
    return select


def choosy(name: str, positions: Tensor) -> Student:
    return Student(
        name, network(), DistillationLoss(selection=selecting(positions), loss=KL(), label_loss=CrossEntropy())
    )


def test_the_teacher_is_asked_about_the_samples_it_teaches_alone() -> None:
    teacher, chosen = Counting(), few(40)[:10]
    train([choosy("few", chosen)], teacher=teacher)
    assert sum(teacher.asked) == 2 * len(chosen)  # two epochs


def test_with_several_pupils_it_is_asked_about_what_any_of_them_is_taught() -> None:
    teacher, chosen = Counting(), few(40)
    train([choosy("first", chosen[:10]), choosy("second", chosen[5:20])], teacher=teacher)
    assert sum(teacher.asked) == 2 * 20
    everything = Counting()
    train([choosy("first", chosen[:10]), make_student("kd")], teacher=everything)
    assert sum(everything.asked) == 2 * 40


def test_sparing_the_teacher_changes_what_is_learned_by_rounding_alone() -> None:
    """Alone it is asked about other samples at a time, and a network rounds otherwise in a batch of another size."""
    chosen = few(40)[:10]
    spared, beside = choosy("few", chosen), choosy("few", chosen)
    train([spared])
    train([beside, make_student("kd")])
    alone, together = weights(spared.student), weights(beside.student)
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-3)
    untaught = choosy("none", few(40)[:0])
    train([untaught])
    assert not torch.allclose(weights(untaught.student)["head.weight"], alone["head.weight"], atol=1e-3)


@pytest.mark.parametrize(("classes", "images"), [(10, 0), (None, 1)])
def test_a_teacher_that_teaches_nothing_is_asked_nothing(classes: int | None, images: int) -> None:
    """One that does not tell how many classes it has is asked about one image, to see."""
    teacher = Counting(classes)
    train([choosy("none", few(40)[:0])], teacher=teacher)
    assert sum(teacher.asked) == images


def test_it_is_asked_when_a_term_that_counts_needs_it() -> None:
    teacher = Counting()
    loss = DistillationLoss(terms={"ce": LossTerm(CrossEntropy(), until=0.5), "kl": LossTerm(KL(), since=0.5)})
    train([Student("late", network(), loss)], teacher=teacher)
    assert sum(teacher.asked) == 40  # the second of two epochs


def test_a_selection_that_is_not_fitted_is_noticed_before_the_first_step() -> None:
    unfitted = Student("unfitted", network(), DistillationLoss(selection=Random(), loss=KL()))
    with pytest.raises(InputError, match="not fitted yet"):
        train([unfitted])


def test_an_abstaining_pupil_logs_what_it_reserves_and_predicts_classes_alone() -> None:
    gambler = Student("gambler", network(outputs=11), DistillationLoss(label_loss=Gambler(payoff=2.2)))
    records = [record for (record,) in train([gambler], training=TrainingConfig(epochs=6, batch_size=16))]
    assert all(record.reservation is not None and 0 < record.reservation < 1 for record in records)
    assert train([make_student("kd")])[0][0].reservation is None
    with torch.no_grad():  # outputs that always favor declining are right as often as the class below it
        gambler.student.head.weight.zero_()
        gambler.student.head.bias.copy_(torch.tensor([0.0] * 3 + [1.0] + [0.0] * 6 + [3.0]))
    (still,) = train([gambler], training=TrainingConfig(epochs=1, batch_size=40, learning_rate=1e-9))[0]
    assert still.train_accuracy == (digits().train.labels[few(40)] == 3).sum() / 40


def test_a_pupil_that_declines_everything_stops_the_run_with_an_explanation() -> None:
    student = network(outputs=11)
    with torch.no_grad():
        student.head.bias[-1] = 50.0
    with pytest.raises(InputError, match=r"epoch 1 it reserves 100\.0% .* larger payoff"):
        train([Student("shy", student, DistillationLoss(label_loss=Gambler()))])


def test_warm_up_is_no_part_of_what_is_reserved_and_is_alone_without_the_teacher() -> None:
    loss = DistillationLoss(
        terms={"ce": LossTerm(CrossEntropy(), until=0.5), "gamble": LossTerm(SoftGambler(), since=0.5)}
    )
    gambler = Student("gambler", network(outputs=11), loss)
    (first, *_), (second, *_) = train([gambler, make_student("kd")])
    assert (first.reservation, first.temperature) == (None, None)
    assert second.reservation is not None
    assert second.temperature == 1.0


def test_a_term_in_whose_time_no_step_begins_is_refused() -> None:
    loss = DistillationLoss(terms={"ce": LossTerm(CrossEntropy()), "gamble": LossTerm(Gambler(), since=0.9)})
    with pytest.raises(InputError, match=r"term 'gamble' counts from 0.9 to 1 of training, but none of the 6 steps"):
        train([Student("late", network(outputs=11), loss)])


def test_mean_temperature_is_of_the_samples_taught() -> None:
    ((first,), *_) = train([make_student("dtd-flsw")], training=BRIEF)
    assert first.temperature == pytest.approx(4.0, abs=1e-4)  # what the batch averages to, with nothing clamped
    assert first.clamped == 0
    ((labels,), *_) = train([make_student("none")])
    assert labels.temperature is None
