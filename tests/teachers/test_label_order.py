from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor.teachers.label_order import convincing, label_order


def confusion_of(accuracy: float, order: list[int], images: int = 100) -> Tensor:
    """Of a teacher that is as often right on every class, its errors evenly spread, its outputs in this order."""
    classes = len(order)
    wrong = round(images * (1 - accuracy) / (classes - 1))
    counts = torch.full((classes, classes), wrong)
    counts[torch.arange(classes), torch.tensor(order)] = images - wrong * (classes - 1)
    return counts


@given(st.lists(st.integers(0, 9), min_size=16, max_size=16).filter(any))
def test_the_best_order_is_the_best_of_all_permutations(cells):
    counts = torch.tensor(cells).reshape(4, 4)
    found = label_order(counts)
    total = int(counts.sum())
    right = [sum(int(counts[label, output]) for label, output in enumerate(order)) for order in permutations(range(4))]
    assert found.best_accuracy == max(right) / total
    assert found.accuracy == int(counts.trace()) / total
    assert sorted(found.order) == [0, 1, 2, 3]
    assert sum(int(counts[label, output]) for label, output in enumerate(found.order)) == max(right)


@pytest.mark.parametrize("accuracy", [0.4, 0.7, 1.0])
def test_classes_in_order_are_not_in_another(accuracy):
    found = label_order(confusion_of(accuracy, list(range(10))))
    assert (found.is_another, found.moved, found.order) == (False, (), tuple(range(10)))


@pytest.mark.parametrize("accuracy", [0.7, 1.0])
def test_two_swapped_classes_of_many_are_named(accuracy):
    order = list(range(50))
    order[7], order[30] = 30, 7
    found = label_order(confusion_of(accuracy, order))
    assert found.is_another
    assert found.moved == ((7, 30), (30, 7))
    assert found.best_accuracy > found.accuracy


def test_the_order_of_a_weak_teacher_is_reported_as_a_whole():
    order = [*range(1, 50), 0]
    found = label_order(confusion_of(0.25, order, images=1000))
    assert found.is_another
    assert found.order == tuple(order)
    assert len(found.moved) == 50


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("seed", range(5))
def test_guesses_have_no_order(classes, seed):
    draws = torch.Generator().manual_seed(seed)
    cells = torch.randint(classes**2, (20 * classes,), generator=draws)
    found = label_order(torch.bincount(cells, minlength=classes**2).reshape(classes, classes))
    assert not found.is_another
    assert found.best_accuracy >= found.accuracy


def test_a_teacher_that_always_says_the_same_has_no_order():
    counts = torch.zeros(10, 10, dtype=torch.int64)
    counts[:, 3] = 100
    assert not label_order(counts).is_another


def test_labels_that_are_wrong_in_part_are_no_other_order():
    """40 % of the images of one class are labeled as another, and the teacher knows better."""
    counts = confusion_of(0.95, list(range(10)))
    counts[4, 4], counts[4, 5] = 55, 40
    assert not label_order(counts).is_another


def test_what_is_convincing_falls_with_the_number_of_classes():
    assert [convincing(classes) for classes in (2, 20, 40, 50, 1000)] == [0.5, 0.5, 0.25, 0.2, 0.2]
