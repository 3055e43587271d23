import torch

from preceptor.data import ImageSet
from preceptor.run.doctor.data_checks import duplicates, duplicates_finding, few, labels_finding

NAMES = ("ant", "bee", "cat")


def gray(*shades: int) -> torch.Tensor:
    return torch.tensor(shades, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


def test_labels_in_order():
    found = labels_finding(torch.tensor([0, 1, 2, 2, -1]), NAMES)
    assert (found.status, found.remedy) == ("ok", "")
    assert found.numbers["unlabeled"] == 1
    assert (found.numbers["smallest_class"], found.numbers["largest_class"]) == (1, 2)


def test_labels_of_one_class_are_a_problem_that_names_it():
    found = labels_finding(torch.tensor([1, 1, -1]), NAMES)
    assert found.status == "problem"
    assert "all others are of class 'bee'" in found.found


def test_a_class_without_an_image_is_named():
    found = labels_finding(torch.tensor([0, 2]), NAMES)
    assert found.status == "warning"
    assert "none of class 'bee'" in found.found


def test_nothing_labeled_is_worth_a_look():
    assert labels_finding(torch.tensor([-1, -1]), NAMES).status == "warning"


def test_images_all_different():
    found = duplicates(ImageSet(gray(1, 2, 3), torch.tensor([0, 1, 2])), ImageSet(gray(4), torch.tensor([0])), held(2))
    assert (found.extra, found.otherwise_labeled, found.in_test, found.held_out_too) == (0, 0, 0, 0)
    assert duplicates_finding(found).status == "ok"


def held(*positions: int) -> torch.Tensor:
    return torch.tensor(positions, dtype=torch.int64)


def test_images_repeated_with_one_label_are_counted_and_no_more():
    found = duplicates(ImageSet(gray(1, 1, 1, 2), torch.tensor([0, 0, -1, 1])), None, held())
    assert (found.extra, found.otherwise_labeled, found.first_pair) == (2, 0, None)
    assert duplicates_finding(found).status == "ok"


def test_one_image_with_two_labels_is_named():
    found = duplicates(ImageSet(gray(5, 1, 2, 1), torch.tensor([0, 0, 1, 2])), None, held())
    assert (found.otherwise_labeled, found.first_pair) == (1, (1, 3))
    told = duplicates_finding(found)
    assert told.status == "warning"
    assert "positions 1 and 3" in told.found


def test_images_that_are_also_measured_are_counted():
    train = ImageSet(gray(1, 2, 3, 1), torch.tensor([0, 1, 2, 0]))
    found = duplicates(train, ImageSet(gray(2, 9), torch.tensor([1, 0])), held(3))
    assert (found.in_test, found.held_out_too) == (1, 1)
    told = duplicates_finding(found)
    assert told.status == "warning"
    assert "1 training images are in the test set as well; 1 training images are in the held-out" in told.found


def test_few_names():
    assert few(["a", "b"]) == "a, b"
    assert few(list("abcdef")) == "a, b, c and 3 more"
