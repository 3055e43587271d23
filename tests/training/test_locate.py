"""Where a step is said to go wrong first: spoilt in one place at a time."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor import KL, CrossEntropy, DistillationLoss, LossTerm, recipe
from preceptor.corrections import ProbabilityShift
from preceptor.temperatures import Fixed
from preceptor.training import NotFinite, Student, TrainingConfig
from preceptor.training.failure import FailureReport, FaultLocation, Sample
from tests.training.spoilt import NanGradient, NanLoss, NanTeacher, Overflowing, Root, linear, truth_pupil
from tests.training.test_guard import IMAGES, TRAINING, met_at, shown
from tests.training_helpers import network, make_student, train, untrained_teacher

STEP = 3


def fault(one: Student, **options: Any) -> FaultLocation:
    failures: list[FailureReport] = []
    options = {"images": IMAGES, "training": TRAINING, "precision": "fp32", **options}
    with pytest.raises(NotFinite):
        train([one], on_failure=failures.append, **options)
    [failure] = failures
    assert (failure.context.epoch, failure.context.step) == (1, STEP + 1)
    return failure.fault


def sample() -> Sample:
    position = met_at(STEP)
    batch = shown(0)[STEP]
    place = batch.index_cpu.tolist().index(position)
    return Sample(position, int(batch.label[place]), int(batch.view[place]))


def two_terms(spoilt: object) -> DistillationLoss:
    return DistillationLoss(terms={"ce": LossTerm(CrossEntropy()), "kl": LossTerm(KL()), "spoilt": LossTerm(spoilt)})


def test_a_loss_at_one_sample():
    found = fault(Student("one", network(), two_terms(NanLoss(met_at(STEP)))))
    assert (found.place, found.at, found.value, found.terms) == ("term", "spoilt", "nan", ("spoilt",))
    assert found.samples == (sample(),)
    assert "the loss itself or its weight is at fault" in found.line()


def test_a_derivative_at_one_sample():
    found = fault(Student("one", network(), two_terms(NanGradient(met_at(STEP)))))
    assert (found.place, found.at, found.terms) == ("gradient", "the student's logits", ("spoilt",))
    assert found.samples == (sample(),)
    assert "a derivative is at fault" in found.line()


def test_a_teacher_at_one_sample():
    found = fault(make_student("label-revision"), teacher=NanTeacher(met_at(STEP)))
    assert (found.place, found.at, found.value) == ("teacher", None, "nan")
    assert found.samples == (sample(),)
    assert found.teacher_largest is not None
    assert "mend the teacher" in found.line()


class OnceWrong:
    """A component that is all right but for the sample that the teacher is asked about at a certain place."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.apply_to = inner, "all"

    def __call__(self, log_probs: Tensor, label: Tensor, teacher_class: Tensor) -> Tensor:
        revised = self.inner(log_probs, label, teacher_class).clone()
        spoilt = torch.isclose(log_probs, WORD.log_softmax(1)).all(dim=1, keepdim=True)
        return torch.where(spoilt, torch.inf, revised)


class AtPosition:
    """A temperature or a selection that fails at one sample."""

    def __init__(self, usual: float, wrong: float) -> None:
        self.usual, self.wrong = usual, wrong

    def __call__(self, context: Any) -> Tensor:
        return torch.where(
            context.index == met_at(STEP), self.wrong, torch.full_like(context.teacher[:, 0], self.usual)
        )


def word() -> Tensor:
    """What the teacher says of the sample."""
    batch = shown(0)[STEP]
    place = batch.index_cpu.tolist().index(met_at(STEP))
    return untrained_teacher().outputs(batch.images, batch.index_cpu, batch.view).logits[place : place + 1]


WORD = word()


def test_a_correction_at_one_sample():
    loss = DistillationLoss(loss=KL(), correction=OnceWrong(ProbabilityShift()))
    found = fault(Student("one", network(), loss))
    assert (found.place, found.at, found.samples) == ("correction", "oncewrong", (sample(),))


@pytest.mark.parametrize("wrong", [0.0, torch.nan])
def test_a_temperature_at_one_sample(wrong):
    found = fault(Student("one", network(), DistillationLoss(loss=KL(), temperature=AtPosition(4.0, wrong))))
    assert (found.place, found.at, found.samples) == ("temperature", "atposition", (sample(),))
    assert "temperature" in found.line()


def test_a_selection_at_one_sample():
    found = fault(
        Student(
            "one", network(), DistillationLoss(loss=KL(), temperature=Fixed(4.0), selection=AtPosition(1.0, torch.nan))
        )
    )
    assert (found.place, found.at, found.samples) == ("selection", "atposition", (sample(),))


class Late(nn.Module):
    """Harmless until it has been called so often."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, values: Tensor) -> Tensor:
        self.calls += 1
        return torch.where(self.calls > STEP, self.inner(values), values)


def test_a_layer_whose_output_overflows():
    found = fault(truth_pupil(CrossEntropy(), linear(Late(Overflowing()))))
    assert (found.place, found.at, found.value) == ("student", "2.inner (Overflowing)", "inf")
    assert len(found.samples) == found.batch == 8
    assert found.student_largest is None or found.student_largest > 0
    assert "lower the learning rate (now 0.05)" in found.line()


def test_a_layer_that_nothing_comes_back_through():
    failures: list[FailureReport] = []
    with pytest.raises(NotFinite, match=r"the gradient is nan, at the output of layer 1 .Linear., coming back from"):
        train(
            [truth_pupil(CrossEntropy(), linear(Root()))],
            images=IMAGES,
            training=TRAINING,
            precision="fp32",
            on_failure=failures.append,
        )
    found = failures[0].fault
    assert found.at == "the output of layer 1 (Linear), coming back from layer 2 (Root)"
    assert len(found.terms) == 1


def test_an_update_that_is_too_large():
    failures: list[FailureReport] = []
    huge = TrainingConfig(epochs=1, batch_size=8, learning_rate=1e38, weight_decay=100.0)
    with pytest.raises(NotFinite, match="losses and gradients are finite, the weights after the step are not, in "):
        train([make_student("none")], training=huge, precision="fp32", on_failure=failures.append)
    assert failures[0].fault.component == "update"


def test_a_sum_over_the_epoch_that_overflows():
    class Large:
        def __call__(self, logits: Tensor, label: Tensor) -> Tensor:
            return logits[:, 0] * 0 + 2e37

    with pytest.raises(NotFinite, match="step 3 of 10: the sum of the losses is inf"):
        train([truth_pupil(Large(), linear())], images=IMAGES, training=TRAINING, precision="fp32")


def test_it_tells_the_sizes_of_the_logits():
    found = fault(Student("one", network(), two_terms(NanLoss(met_at(STEP)))))
    batch = shown(0)[STEP]
    said = untrained_teacher().outputs(batch.images, batch.index_cpu, batch.view).logits
    assert found.teacher_largest == pytest.approx(float(said.abs().max()))
    assert found.student_largest is not None
    assert f"largest logits: student {found.student_largest:.4g}, teacher {found.teacher_largest:.4g}" in found.line()


def test_what_is_kept_for_every_sample_is_no_obstacle():
    """Self-adaptive training writes to its memory whenever it is called; the look at it must not."""
    loss = DistillationLoss(**recipe("precise-abstain-b"))
    terms = {**loss.terms, "spoilt": LossTerm(NanLoss(met_at(STEP)))}
    one = Student("one", network(outputs=11), DistillationLoss(temperature=loss.temperature, terms=terms))
    assert fault(one).at == "spoilt"


def test_a_line_names_some_of_the_samples_only():
    many = tuple(Sample(position, 1, 0) for position in range(9))
    found = FaultLocation("teacher", None, "nan", (), many, 16, None, None, 0.1, "mend it")
    assert found.line() == (
        "the teacher's logits are nan; 9 of 16 samples, position 0 (label 1), position 1 (label 1), position 2 "
        "(label 1), position 3 (label 1), position 4 (label 1) and others; mend it"
    )
    assert dataclasses.replace(found, samples=()).line() == "the teacher's logits are nan; mend it"


def test_advice_goes_by_what_is_seen():
    assert "training has diverged" in advice("term", 0.1, 2 * LARGE, "fp32")
    assert "training has diverged" in advice("gradient", 0.1, None, "fp32")
    assert "diverged" not in advice("gradient", 0.1, 3.0, "fp32")
    assert "precision=fp32" in advice("student", 0.1, None, "bf16")
    assert "precision" not in advice("student", 0.1, None, "fp32")
