import pytest
import torch
from torch import Tensor, nn

from preceptor.data import Normalization
from preceptor.run.doctor.teacher_checks import (
    accuracy_finding,
    correction_finding,
    determinism_finding,
    disagreement_finding,
    logits_finding,
    order_finding,
)
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.check import TeacherPredictions
from preceptor.teachers.label_order import label_order

NAMES = ("ant", "bee", "cat")
RIGHT = torch.tensor([[50, 2, 1], [3, 40, 0], [0, 5, 45]])
SWAPPED = RIGHT[:, [1, 0, 2]]


def test_an_able_teacher():
    finding = accuracy_finding(label_order(RIGHT), RIGHT, NAMES)
    assert finding.status == "ok"
    assert (finding.numbers["accuracy"], finding.numbers["classes_predicted"]) == (135 / 146, 3)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[50, 0, 0], [50, 0, 0], [40, 0, 0]], "it predicts 'ant' for every image"),
        ([[20, 15, 15], [15, 15, 10], [15, 15, 20]], "no better than always predicting one class"),
    ],
)
def test_a_teacher_no_better_than_a_constant(counts, message):
    confusion = torch.tensor(counts)
    finding = accuracy_finding(label_order(confusion), confusion, NAMES)
    assert finding.status == "problem"
    assert message in finding.message


def test_an_order_that_is_right_and_one_that_is_not():
    assert order_finding(label_order(RIGHT), NAMES).status == "ok"
    finding = order_finding(label_order(SWAPPED), NAMES)
    assert finding.status == "problem"
    assert "class 'ant' is output 1 ('bee'), class 'bee' is output 0 ('ant')" in finding.message
    assert finding.numbers["moved"] == [{"class": "ant", "output": 1}, {"class": "bee", "output": 0}]


VARIED = torch.tensor([[2.0, 0.1, -1.0], [0.0, 3.0, 0.5], [1.0, 1.5, 4.0]])


@pytest.mark.parametrize(
    ("logits", "status", "message"),
    [
        (VARIED, "ok", "up to 4 in size"),
        (VARIED.abs(), "ok", "finite"),
        (VARIED[:1].repeat(3, 1), "problem", "the same for all images"),
        (VARIED * torch.tensor([[1.0], [0.0], [1.0]]), "problem", "the same for all classes of 1 of them"),
        (VARIED.softmax(dim=1), "warning", "look like probabilities"),
        (VARIED.softmax(dim=1).half().float(), "warning", "look like probabilities"),
        (100 * VARIED.softmax(dim=1), "warning", "look like percentages"),
        (VARIED.log_softmax(dim=1), "ok", "finite"),
    ],
)
def test_logits(logits, status, message):
    finding = logits_finding(logits)
    assert finding.status == status
    assert message in finding.message
    assert ("--teacher-output probabilities" in finding.remedy) == (status == "warning")


class Means(nn.Module):
    """Three logits from an image's mean, with something that eval() does or does not switch off."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault, self.scale = fault, nn.Parameter(torch.tensor([1.0, -1.0, 0.5]))

    def forward(self, images: Tensor) -> Tensor:
        means = images.mean(dim=(1, 2, 3)).unsqueeze(1)
        if self.fault == "batch":
            means = means - means.mean()
        return means * self.scale + (torch.rand(3) if self.fault == "random" else 0.0)


def determinism(teacher: NetworkTeacher):
    images = torch.arange(16, dtype=torch.uint8).reshape(4, 1, 2, 2)
    return determinism_finding((teacher,), teacher, images, torch.arange(4), 0)


def teacher_of(fault: str = "") -> NetworkTeacher:
    return NetworkTeacher(Means(fault), Normalization((0.0,), (1.0,)))


def test_a_deterministic_teacher():
    assert determinism(teacher_of()).status == "ok"


@pytest.mark.parametrize(
    ("fault", "message"),
    [("random", "two queries of the same images differ"), ("batch", "depend on the others in the batch")],
)
def test_what_eval_does_not_switch_off_is_a_problem(fault, message):
    finding = determinism(teacher_of(fault))
    assert finding.status == "problem"
    assert message in finding.message


def test_a_teacher_put_in_training_mode_behind_our_back():
    teacher = teacher_of()
    teacher.network.train().requires_grad_(True)
    assert determinism(teacher).numbers["faults"] == [
        "a layer is in training mode",
        "a parameter requires its gradient",
    ]


class Random:
    classes = 3

    def outputs(self, inputs: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        return TeacherOutput(torch.rand(len(inputs), 3))


def test_a_teacher_that_is_no_network_is_queried_twice_too():
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    assert determinism_finding((), Random(), images, torch.arange(4), 0).status == "problem"


@pytest.mark.parametrize(
    ("apply_to", "affected", "status"),
    [
        (None, [1, 0], "ok"),
        ("wrong", [1, 0, 0], "ok"),
        ("wrong", [0, 0], "warning"),
        ("wrong", [1, 1, 0], "warning"),
        ("all", [1, 1, 1], "ok"),
    ],
)
def test_the_share_a_correction_changes(apply_to, affected, status):
    finding = correction_finding(apply_to, torch.tensor(affected, dtype=torch.bool))
    assert finding.status == status
    assert finding.numbers["affected"] == (0 if apply_to is None else sum(affected))


@pytest.mark.parametrize(
    ("correction", "audited", "status", "side"),
    [
        ("probability_shift", False, "warning", "probability_shift takes the label's side on all of them"),
        ("probability_shift", True, "ok", "the audit says where the teacher is corrected"),
        (None, False, "ok", "nobody is corrected"),
    ],
)
def test_disagreements_are_counted_and_a_correction_without_an_audit_is_warned_of(correction, audited, status, side):
    label = torch.tensor([0, 1, 2, 1, -1])
    answers = TeacherPredictions(
        torch.arange(5), label, torch.tensor([0, 1, 1, 0, 2]), torch.tensor([0.9, 0.8, 0.6, 0.8, 0.3])
    )
    finding = disagreement_finding(answers, correction, audited)
    assert finding.status == status
    assert "disagree on 2 of 4 images (50.00%), where its mean confidence is 70%" in finding.message
    assert "up to 35.0% of all labels are wrong" in finding.message
    assert side in finding.message


def test_no_disagreement_is_nothing_to_worry_about():
    answers = TeacherPredictions(torch.arange(2), torch.tensor([0, 1]), torch.tensor([0, 1]), torch.ones(2))
    assert disagreement_finding(answers, "probability_shift", False).status == "ok"
