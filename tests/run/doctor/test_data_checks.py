import pytest
import torch
from torch import nn

from preceptor.data import ImageSet
from preceptor.errors import few
from preceptor.run.doctor.data_checks import duplicates_finding, labels_finding, shapes_finding
from tests.training_helpers import digits

NAMES = ("ant", "bee", "cat")


def test_shapes_are_listed_with_the_size_of_the_student():
    finding = shapes_finding(digits(), nn.Linear(12, 5), None)
    assert finding.status == "ok"
    assert (finding.numbers["classes"], finding.numbers["height"], finding.numbers["student_parameters"]) == (10, 8, 65)


@pytest.mark.parametrize(
    ("labels", "status", "message"),
    [
        ([0, 1, 2, 2, -1], "ok", "1 of them unlabeled; 3 classes with 1 to 2 labeled images"),
        ([1, 1, -1], "problem", "all others of class 'bee'"),
        ([0, 2], "warning", "none of class 'bee'"),
        ([-1, -1], "warning", "2 of them unlabeled"),
    ],
)
def test_labels(labels, status, message):
    finding = labels_finding(torch.tensor(labels), NAMES)
    assert finding.status == status
    assert message in finding.message
    assert bool(finding.remedy) == (status != "ok")


def gray(shades: list[int], labels: list[int]) -> ImageSet:
    images = torch.tensor(shades, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return ImageSet(images.contiguous(), torch.tensor(labels))


def held(*indices: int) -> torch.Tensor:
    return torch.tensor(indices, dtype=torch.int64)


@pytest.mark.parametrize(
    ("train", "test", "held_out", "numbers"),
    [
        (gray([1, 2, 3], [0, 1, 2]), gray([4], [0]), held(2), (0, 0, None, 0, 0)),
        (gray([1, 1, 1, 2], [0, 0, -1, 1]), None, held(), (2, 0, None, 0, 0)),
        (gray([5, 1, 2, 1], [0, 0, 1, 2]), None, held(), (1, 1, (1, 3), 0, 0)),
        (gray([1, 2, 3, 1], [0, 1, 2, 0]), gray([2, 9], [1, 0]), held(3), (1, 0, None, 1, 1)),
    ],
    ids=["all different", "same label", "two labels", "leaks"],
)
def test_images_equal_in_every_pixel(train, test, held_out, numbers):
    finding = duplicates_finding(train, test, held_out)
    assert tuple(finding.numbers.values()) == numbers
    _, relabeled, pair, *leaks = numbers
    assert finding.status == ("warning" if relabeled or any(leaks) else "ok")
    assert (pair is None) or "index 1 and 3" in finding.message
    assert any(leaks) == ("1 training images are in the test set too" in finding.message)
    assert any(leaks) == ("1 training images are in the held-out images too" in finding.message)


def test_few_names():
    assert few(["a", "b"]) == "a, b"
    assert few(list("abcdef")) == "a, b, c and 3 more"
