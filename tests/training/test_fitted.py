"""Students trained on selected samples, students that may abstain, and warm-up, in training."""

import pytest
import torch
from torch import Tensor

from preceptor import KL, CrossEntropy, DistillationLoss, InputError, LossTerm
from preceptor.abstention import Gambler, SoftGambler
from preceptor.selections import Random
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.training import Student, TrainingConfig
from tests.training_helpers import BRIEF, digits, few, make_student, network, train, weights


class CountingTeacher(NetworkTeacher):
    """A teacher that notes how many inputs it was queried on, call by call."""

    def __init__(self, classes: int | None = 10) -> None:
        super().__init__(network(99), digits().normalization, classes=classes)
        self.queried: list[int] = []

    def outputs(self, inputs: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        self.queried.append(len(inputs))
        return super().outputs(inputs, index, view)


def selecting(index: Tensor) -> Random:
    size = len(digits().train)
    score = torch.zeros(size)
    score[index] = 1.0
    selection = Random(keep=len(index) / size)
    selection.set_scores(torch.arange(size), score, size)
    return selection


def selective_student(name: str, index: Tensor) -> Student:
    """A student that learns from the teacher on these samples alone, and from the labels on all."""
    loss = DistillationLoss(selection=selecting(index), loss=KL(), label_loss=CrossEntropy())
    return Student(name, network(), loss)


def test_the_teacher_is_queried_on_selected_samples_only() -> None:
    teacher, chosen = CountingTeacher(), few(40)[:10]
    train([selective_student("few", chosen)], teacher=teacher)
    assert sum(teacher.queried) == 2 * len(chosen)  # two epochs


def test_with_several_students_the_teacher_is_queried_where_any_of_them_uses_it() -> None:
    teacher, chosen = CountingTeacher(), few(40)
    train([selective_student("first", chosen[:10]), selective_student("second", chosen[5:20])], teacher=teacher)
    assert sum(teacher.queried) == 2 * 20
    everything = CountingTeacher()
    train([selective_student("first", chosen[:10]), make_student("kd")], teacher=everything)
    assert sum(everything.queried) == 2 * 40


def test_querying_fewer_samples_changes_rounding_only() -> None:
    """A network rounds otherwise in a batch of another size."""
    chosen = few(40)[:10]
    spared, beside, unselected = (
        selective_student("few", chosen),
        selective_student("few", chosen),
        selective_student("none", chosen[:0]),
    )
    train([spared], precision="fp32")
    train([beside, make_student("kd")], precision="fp32")
    train([unselected], precision="fp32")
    alone, together = weights(spared.network), weights(beside.network)
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(weights(unselected.network)["head.weight"], alone["head.weight"], atol=1e-3)


@pytest.mark.parametrize(("classes", "images"), [(10, 0), (None, 6)])
def test_a_teacher_that_no_sample_uses_is_not_queried(classes: int | None, images: int) -> None:
    """One that does not tell its number of classes is queried on one image of each of 6 batches, for the shape."""
    teacher = CountingTeacher(classes)
    train([selective_student("none", few(40)[:0])], teacher=teacher)
    assert sum(teacher.queried) == images


def test_the_teacher_is_queried_while_an_active_term_uses_it() -> None:
    teacher = CountingTeacher()
    loss = DistillationLoss(terms={"ce": LossTerm(CrossEntropy(), until=0.5), "kl": LossTerm(KL(), since=0.5)})
    train([Student("late", network(), loss)], teacher=teacher)
    assert sum(teacher.queried) == 40  # the second of two epochs


def test_a_selection_that_is_not_fitted_is_refused() -> None:
    unfitted = Student("unfitted", network(), DistillationLoss(selection=Random(), loss=KL()))
    with pytest.raises(InputError, match="random of its loss is not fitted: call"):
        train([unfitted])


def test_a_student_that_abstains_records_its_reservation_and_predicts_classes_only() -> None:
    gambler = Student("gambler", network(outputs=11), DistillationLoss(label_loss=Gambler(payoff=2.2)))
    records = [record for (record,) in train([gambler], training=TrainingConfig(epochs=6, batch_size=16))]
    assert all(record.reservation is not None and 0 < record.reservation < 1 for record in records)
    assert train([make_student("kd")])[0][0].reservation is None
    with torch.no_grad():  # outputs that always favor abstaining are right as often as the class after it
        gambler.network.head.weight.zero_()
        gambler.network.head.bias.copy_(torch.tensor([0.0] * 3 + [1.0] + [0.0] * 6 + [3.0]))
    (still,) = train([gambler], training=TrainingConfig(epochs=1, batch_size=40, learning_rate=1e-9))[0]
    assert still.train_accuracy == (digits().train.labels[few(40)] == 3).sum() / 40


def test_a_student_that_abstains_on_everything_ends_the_training_with_advice() -> None:
    module = network(outputs=11)
    with torch.no_grad():
        module.head.bias[-1] = 50.0
    with pytest.raises(InputError, match=r"epoch 1 it reserves 100\.0% .* larger payoff"):
        train([Student("shy", module, DistillationLoss(label_loss=Gambler()))])


def test_during_warm_up_nothing_is_reserved_and_no_teacher_used() -> None:
    loss = DistillationLoss(
        terms={"ce": LossTerm(CrossEntropy(), until=0.5), "gamble": LossTerm(SoftGambler(), since=0.5)}
    )
    gambler = Student("gambler", network(outputs=11), loss)
    (first, *_), (second, *_) = train([gambler, make_student("kd")])
    assert (first.reservation, first.temperature) == (None, None)
    assert second.reservation is not None
    assert second.temperature == 1.0


def test_a_term_in_whose_time_span_no_step_begins_is_refused() -> None:
    loss = DistillationLoss(terms={"ce": LossTerm(CrossEntropy()), "gamble": LossTerm(Gambler(), since=0.9)})
    with pytest.raises(InputError, match=r"term 'gamble' is active from 0.9 to 1 of training, but none of the 6 steps"):
        train([Student("late", network(outputs=11), loss)])


def test_the_mean_temperature_is_over_the_queried_samples() -> None:
    ((first,), *_) = train([make_student("dtd-flsw")], training=BRIEF)
    assert first.temperature == pytest.approx(4.0, abs=1e-4)  # what the batch averages to, with nothing clamped
    assert first.clamped == 0
    ((labels,), *_) = train([make_student("none")])
    assert labels.temperature is None
