import pytest
import torch
from torch import Tensor, nn

from preceptor.data import Normalization
from preceptor.run.doctor.teacher_checks import (
    accuracy_finding,
    constant_finding,
    correction_finding,
    order_finding,
    rest_finding,
    variety_finding,
)
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.label_order import label_order

NAMES = ("ant", "bee", "cat")
RIGHT = torch.tensor([[50, 2, 1], [3, 40, 0], [0, 5, 45]])
SWAPPED = RIGHT[:, [1, 0, 2]]


def test_an_able_teacher():
    found = accuracy_finding(label_order(RIGHT), RIGHT)
    assert found.status == "ok"
    assert found.numbers["accuracy"] == 135 / 146


@pytest.mark.parametrize("counts", [[[50, 0, 0], [50, 0, 0], [40, 0, 0]], [[20, 15, 15], [15, 15, 10], [15, 15, 20]]])
def test_a_teacher_no_better_than_a_constant(counts):
    confusion = torch.tensor(counts)
    found = accuracy_finding(label_order(confusion), confusion)
    assert found.status == "problem"
    assert "no better than always giving the same answer" in found.found


def test_an_order_that_is_right_and_one_that_is_not():
    assert order_finding(label_order(RIGHT), NAMES).status == "ok"
    found = order_finding(label_order(SWAPPED), NAMES)
    assert found.status == "problem"
    assert "'ant' is answered by output 1 ('bee'), 'bee' is answered by output 0 ('ant')" in found.found
    assert "would be in the best order" in found.found
    assert found.numbers["moved"] == [{"class": "ant", "output": 1}, {"class": "bee", "output": 0}]


def test_a_teacher_with_one_answer():
    assert variety_finding(RIGHT, NAMES).status == "ok"
    found = variety_finding(torch.tensor([[0, 9, 0], [0, 5, 0], [0, 7, 0]]), NAMES)
    assert found.status == "problem"
    assert "'bee' to every image" in found.found


@pytest.mark.parametrize(
    ("corrects", "affected", "status"),
    [(None, [1, 0], "ok"), ("wrong", [1, 0, 0], "ok"), ("wrong", [0, 0], "warning"), ("wrong", [1, 1, 0], "warning")],
)
def test_the_share_a_correction_touches(corrects, affected, status):
    found = correction_finding(corrects, torch.tensor(affected, dtype=torch.bool))
    assert found.status == status
    assert found.numbers["affected"] == (0 if corrects is None else sum(affected))


def test_a_correction_of_everything_is_meant():
    assert correction_finding("all", torch.ones(3, dtype=torch.bool)).status == "ok"


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


def at_rest(teacher: NetworkTeacher):
    images = torch.arange(16, dtype=torch.uint8).reshape(4, 1, 2, 2)
    return rest_finding((teacher,), teacher, images, torch.arange(4), 0)


def teacher_of(fault: str = "") -> NetworkTeacher:
    return NetworkTeacher(Means(fault), Normalization((0.0,), (1.0,)))


def test_a_teacher_at_rest():
    assert at_rest(teacher_of()).status == "ok"


@pytest.mark.parametrize(
    ("fault", "told"),
    [("random", "answers differently when asked twice"), ("batch", "depends on the others in the batch")],
)
def test_what_eval_does_not_switch_off_is_found(fault, told):
    found = at_rest(teacher_of(fault))
    assert found.status == "problem"
    assert told in found.found


def test_a_teacher_woken_behind_our_back():
    teacher = teacher_of()
    teacher.network.train().requires_grad_(True)
    assert at_rest(teacher).numbers["faults"] == ["a layer is in training mode", "a parameter asks for its gradient"]


class Fickle:
    classes = 3

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        return TeacherOutput(torch.rand(len(images), 3))


def test_a_teacher_that_is_no_network_is_asked_twice_as_well():
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    assert rest_finding((), Fickle(), images, torch.arange(4), 0).status == "problem"


def test_logits_that_vary_and_logits_that_do_not():
    assert constant_finding(torch.tensor([[1.0, 2.0], [3.0, 1.0]])).status == "ok"
    same = constant_finding(torch.tensor([[1.0, 2.0], [1.0, 2.0]]))
    assert (same.status, same.numbers["unlike_the_first"]) == ("problem", 0)
    flat = constant_finding(torch.tensor([[1.0, 1.0], [3.0, 1.0]]))
    assert (flat.status, flat.numbers["all_classes_alike"]) == ("problem", 1)
