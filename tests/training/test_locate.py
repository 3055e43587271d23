"""Where a failed step first becomes non-finite: spoilt in one place at a time."""

import dataclasses
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from preceptor import KL, CrossEntropy, DistillationLoss, LossTerm, recipe
from preceptor.corrections import ProbabilityShift
from preceptor.temperatures import Fixed
from preceptor.training import Student, TrainingConfig
from preceptor.training.failure import FaultLocation, Place, Sample
from tests.training.spoilt import NanGradient, NanLoss, NanTeacher, Overflowing, Root, linear, spoilt_student
from tests.training.test_guard import failure_of, sample_of, shown
from tests.training_helpers import make_student, network, untrained_teacher

STEP = 3


def fault_of(student: Student, step: int = STEP, **options: Any) -> FaultLocation:
    _, report = failure_of([student], **options)
    assert (report.context.epoch, report.context.step) == (1, step + 1)
    return report.fault


def row() -> int:
    """The row of the spoilt sample in its batch."""
    return shown()[STEP].own_index.tolist().index(sample_of(STEP))


def sample() -> Sample:
    batch = shown()[STEP]
    return Sample(sample_of(STEP), int(batch.label[row()]), int(batch.view[row()]))


def teacher_logits() -> Tensor:
    """The teacher's logits for the batch of the spoilt sample."""
    batch = shown()[STEP]
    return untrained_teacher().outputs(batch.inputs, batch.own_index, batch.view).logits


def two_terms(spoilt: object) -> DistillationLoss:
    return DistillationLoss(terms={"ce": LossTerm(CrossEntropy()), "kl": LossTerm(KL()), "spoilt": LossTerm(spoilt)})


def test_a_loss_at_one_sample():
    fault = fault_of(Student("one", network(), two_terms(NanLoss(sample_of(STEP)))))
    assert (fault.place, fault.at, fault.value, fault.terms) == ("term", "spoilt", "nan", ("spoilt",))
    assert fault.samples == (sample(),)
    assert "else the loss or its weight is at fault" in fault.line()


def test_a_derivative_at_one_sample():
    fault = fault_of(Student("one", network(), two_terms(NanGradient(sample_of(STEP)))))
    assert (fault.place, fault.at, fault.terms) == ("gradient", "the student's logits", ("spoilt",))
    assert fault.samples == (sample(),)
    assert "a derivative is at fault" in fault.line()


def test_a_teacher_at_one_sample():
    fault = fault_of(make_student("label-revision"), teacher=NanTeacher(sample_of(STEP)))
    assert (fault.place, fault.at, fault.value) == ("teacher", None, "nan")
    assert fault.samples == (sample(),)
    assert fault.teacher_largest is not None
    assert "repair the teacher" in fault.line()


class SpoiltCorrection:
    """A correction that is not finite for one sample."""

    apply_to = "all"

    def __init__(self) -> None:
        self.inner, self.spoilt = ProbabilityShift(), teacher_logits()[row()].log_softmax(0)

    def __call__(self, log_probs: Tensor, label: Tensor, teacher_class: Tensor) -> Tensor:
        spoilt = torch.isclose(log_probs, self.spoilt).all(dim=1, keepdim=True)
        return torch.where(spoilt, torch.inf, self.inner(log_probs, label, teacher_class))


class SpoiltAtSample:
    """A temperature or a selection that fails at one sample."""

    def __init__(self, usual: float, wrong: float) -> None:
        self.usual, self.wrong = usual, wrong

    def __call__(self, context: Any) -> Tensor:
        return torch.where(
            context.index == sample_of(STEP), self.wrong, torch.full_like(context.teacher_logits[:, 0], self.usual)
        )


def test_a_correction_at_one_sample():
    loss = DistillationLoss(loss=KL(), correction=SpoiltCorrection())
    fault = fault_of(Student("one", network(), loss))
    assert (fault.place, fault.at, fault.samples) == ("correction", "spoiltcorrection", (sample(),))


@pytest.mark.parametrize("wrong", [0.0, torch.nan])
def test_a_temperature_at_one_sample(wrong):
    fault = fault_of(Student("one", network(), DistillationLoss(loss=KL(), temperature=SpoiltAtSample(4.0, wrong))))
    assert (fault.place, fault.at, fault.samples) == ("temperature", "spoiltatsample", (sample(),))
    assert "temperature" in fault.line()


def test_a_selection_at_one_sample():
    fault = fault_of(
        Student(
            "one",
            network(),
            DistillationLoss(loss=KL(), temperature=Fixed(4.0), selection=SpoiltAtSample(1.0, torch.nan)),
        )
    )
    assert (fault.place, fault.at, fault.samples) == ("selection", "spoiltatsample", (sample(),))


class Later(nn.Module):
    """Passes on what it is given, until the step in which another layer takes its place."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, values: Tensor) -> Tensor:
        self.calls += 1
        return torch.where(self.calls > STEP, self.inner(values), values)


def test_a_layer_whose_output_overflows():
    fault = fault_of(spoilt_student(CrossEntropy(), linear(Later(Overflowing()))))
    assert (fault.place, fault.at, fault.value) == ("student", "network.2.inner (Overflowing)", "inf")
    assert len(fault.samples) == fault.batch == 8
    assert "lower the learning rate (now 0.05)" in fault.line()


def test_a_layer_that_spoils_the_gradient():
    fault = fault_of(spoilt_student(CrossEntropy(), linear(Root())), step=0)
    at = "the output of layer network.1 (Linear), coming back from layer network.2 (Root)"
    assert (fault.place, fault.at, fault.value, len(fault.terms)) == ("gradient", at, "nan", 1)
    assert f"the losses are finite, the gradient is nan, at {at}" in fault.line()


def test_an_update_that_is_too_large():
    huge = TrainingConfig(epochs=1, batch_size=8, learning_rate=1e38, weight_decay=100.0)
    fault = fault_of(make_student("none"), step=0, training=huge)
    assert fault.place == "update"
    assert "losses and gradients are finite, the weights after the step are not, in " in fault.line()


def test_a_sum_over_the_epoch_that_overflows():
    def large(logits: Tensor, label: Tensor) -> Tensor:
        return logits[:, 0] * 0 + 2e37

    fault = fault_of(spoilt_student(large, linear()), step=2)
    assert (fault.place, fault.value) == ("total", "inf")
    assert "the sum of the losses is inf" in fault.line()


def test_the_largest_logits_are_reported():
    fault = fault_of(Student("one", network(), two_terms(NanLoss(sample_of(STEP)))))
    assert fault.teacher_largest == pytest.approx(float(teacher_logits().abs().max()))
    assert fault.student_largest is not None
    assert f"largest logits: student {fault.student_largest:.4g}, teacher {fault.teacher_largest:.4g}" in fault.line()


def test_what_a_loss_keeps_for_every_sample_is_no_obstacle():
    """Self-adaptive training writes to its memory whenever it is called; the examination must not."""
    loss = DistillationLoss(**recipe("precise-abstain-b"))
    terms = {**loss.terms, "spoilt": LossTerm(NanLoss(sample_of(STEP)))}
    one = Student("one", network(outputs=11), DistillationLoss(temperature=loss.temperature, terms=terms))
    assert fault_of(one).at == "spoilt"


def test_a_line_names_some_of_the_samples_only():
    samples = tuple(Sample(index, 1, 0) for index in range(9))
    fault = FaultLocation("teacher", None, "nan", (), samples, 16, None, None, 0.1)
    advice = "repair the teacher or its file, leave these samples out, or set on_nonfinite=skip"
    assert fault.line() == (
        "the teacher's logits are nan; 9 of 16 samples, position 0 (label 1), position 1 (label 1), position 2 "
        f"(label 1), position 3 (label 1), position 4 (label 1) and others; {advice}"
    )
    assert dataclasses.replace(fault, samples=()).line() == f"the teacher's logits are nan; {advice}"


@pytest.mark.parametrize("place", get_args(Place))
def test_every_place_has_advice_in_one_line(place):
    line = FaultLocation(place, "some name", "inf", (), (), 16, 1.0, None, 0.125).line()
    assert "\n" not in line
    assert "largest logits: student 1; " in line
    assert ("now 0.125" in line) == (place in {"student", "term", "total", "gradient", "update"})
