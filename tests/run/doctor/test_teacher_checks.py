from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from preceptor.data import Normalization
from preceptor.recipes.reader import Recipe
from preceptor.run.doctor.teacher_checks import (
    accuracy_finding,
    correction_finding,
    determinism_finding,
    disagreement_finding,
    logits_finding,
    order_finding,
    range_finding,
    views_finding,
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
        ([[20, 15, 15], [15, 15, 10], [15, 15, 20]], "not clearly more than always predicting one class"),
    ],
)
def test_a_teacher_no_better_than_a_constant(counts, message):
    confusion = torch.tensor(counts)
    finding = accuracy_finding(label_order(confusion), confusion, NAMES)
    assert finding.status == "problem"
    assert message in finding.message


def test_a_teacher_of_rare_classes_need_not_beat_the_frequent_one():
    rare = torch.tensor([[900, 50, 50], [1, 9, 0], [1, 0, 9]])
    assert accuracy_finding(label_order(rare), rare, NAMES).status == "ok"


def test_a_few_images_do_not_convict_a_teacher():
    few = torch.tensor([[2, 1, 1], [1, 1, 1], [1, 2, 1]])
    assert accuracy_finding(label_order(few), few, NAMES).status == "warning"
    assert accuracy_finding(label_order(few * 10), few * 10, NAMES).status == "problem"


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
        (VARIED * torch.tensor([[1.0], [0.0], [1.0]]), "warning", "are the same for all classes of 1 of them"),
        (VARIED * torch.tensor([[1.0], [0.0], [0.0]]), "problem", "are the same for all classes of 2 of them"),
        (VARIED.softmax(dim=1), "warning", "look like probabilities"),
        (VARIED.softmax(dim=1).half().float(), "warning", "look like probabilities"),
        (100 * VARIED.softmax(dim=1), "warning", "look like percentages"),
        (VARIED.softmax(dim=1) - 1e-9, "warning", "look like probabilities"),
        (VARIED.log_softmax(dim=1), "ok", "finite"),
    ],
)
def test_logits(logits, status, message):
    finding = logits_finding(logits)
    assert finding.status == status
    assert message in finding.message
    assert bool(finding.remedy) == (status != "ok")


@pytest.mark.parametrize(
    ("whole", "kind", "remedy"),
    [
        (1, "network", "remove the softmax at its end"),
        (1, "file", "give --teacher-output probabilities"),
        (1, "ONNX file", "give --teacher-output probabilities, or export it without its softmax"),
        (100, "file", "divide them by 100 and give --teacher-output probabilities"),
        (100, "ONNX file", "export it without softmax and scaling"),
        (1, "cache alone", "fill a new cache from the teacher"),
    ],
)
def test_the_remedy_for_probabilities_called_logits_is_that_of_the_teachers_kind(whole, kind, remedy):
    finding = logits_finding(whole * VARIED.softmax(dim=1), "teacher 2", kind)
    assert finding.message.startswith("all logits of teacher 2 are 0 or more")
    assert finding.remedy.startswith(remedy)


def test_a_file_of_outputs_knows_no_views():
    files = [Path("outputs.npy")]
    assert views_finding(files, augmented=False).status == "ok"
    finding = views_finding(files, augmented=True)
    assert finding.status == "warning"
    assert finding.message.startswith("outputs.npy: one output an image, while the student sees random views")
    assert finding.remedy.startswith("augment=false")


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
    ("correction", "corrected", "audited", "status", "side"),
    [
        ("shift", [0, 0, 1, 1, 0], False, "warning", "shift takes the label's side on all of them"),
        ("shift", [0, 1, 1, 0, 0], True, "ok", "by the audit shift corrects 1 of them and leaves 1 to the teacher"),
        (None, [0] * 5, False, "ok", "nobody is corrected"),
        (None, [0] * 5, True, "ok", "nobody is corrected"),
    ],
)
def test_disagreements_are_counted_and_a_correction_without_an_audit_is_warned_of(
    correction, corrected, audited, status, side
):
    label = torch.tensor([0, 1, 2, 1, -1])
    answers = TeacherPredictions(
        torch.arange(5), label, torch.tensor([0, 1, 1, 0, 2]), torch.tensor([0.9, 0.8, 0.6, 0.8, 0.3])
    )
    finding = disagreement_finding(answers, correction, torch.tensor(corrected).bool(), audited)
    assert finding.status == status
    assert "disagree on 2 of 4 images (50.00%), where its mean confidence is 70%" in finding.message
    assert "up to 35.0% of all labels are wrong" in finding.message
    assert side in finding.message


def test_no_disagreement_is_nothing_to_worry_about():
    answers = TeacherPredictions(torch.arange(2), torch.tensor([0, 1]), torch.tensor([0, 1]), torch.ones(2))
    assert disagreement_finding(answers, "shift", torch.zeros(2, dtype=torch.bool), False).status == "ok"


@pytest.mark.parametrize(
    ("suits", "message"),
    [
        ({"accuracy": 0.7, "overconfidence": 0.3, "underconfidence": 0.0}, None),
        ({"accuracy": 0.85}, "for one that names 85% of them or more"),
        ({"overconfidence": 0.1}, "is not surer than that by more than 10 points"),
        ({"accuracy": 0.9, "overconfidence": 0.0}, "names 90% of them or more and is not surer"),
    ],
)
def test_a_recipe_says_which_teachers_it_is_for(suits, message):
    """This one names 3 of 4 labels, with a mean confidence of 0.9; the sample without a label does not count."""
    label, predicted = torch.tensor([0, 1, 2, 0, -1]), torch.tensor([0, 1, 2, 1, 1])
    answers = TeacherPredictions(torch.arange(5), label, predicted, torch.tensor([0.9, 0.9, 0.9, 0.9, 0.1]))
    recipe = Recipe.model_validate({"terms": {"kl": {"loss": "kl"}}, "suits": suits, "avoid": "try another"})
    finding = range_finding(answers, recipe)
    assert finding.numbers == pytest.approx({"accuracy": 0.75, "confidence": 0.9})
    assert (finding.status, finding.remedy) == (("ok", "") if message is None else ("warning", "try another"))
    assert message is None or message in finding.message


def test_a_teacher_may_be_too_unsure_for_a_recipe():
    answers = TeacherPredictions(*(torch.arange(4) for _ in range(3)), torch.full((4,), 0.4))
    recipe = Recipe.model_validate({"terms": {"kl": {"loss": "kl"}}, "suits": {"underconfidence": 0.2}})
    assert "is not less sure than that by more than 20 points" in range_finding(answers, recipe).message
