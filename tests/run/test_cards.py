import dataclasses

import pytest
import torch

from preceptor.data import ImageSet
from preceptor.errors import InputError, NetworkFitted
from preceptor.run.cards import fitted, student_card
from tests.training_helpers import digits

NUMBERS = tuple("0123456789")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def named(names):
    return dataclasses.replace(digits(), class_names=names)


@pytest.mark.parametrize(("taught", "own"), [(NAMES, NUMBERS), (NUMBERS, NAMES), (NAMES, NAMES)])
def test_numbers_in_place_of_names_are_no_contradiction(taught: tuple[str, ...], own: tuple[str, ...]) -> None:
    dataset = named(own)
    assert fitted("student", student_card("convnet8", "digits", named(taught)), dataset) is dataset


@pytest.mark.parametrize(("taught", "own"), [(NAMES, NAMES[::-1]), (NUMBERS, NUMBERS[::-1])])
def test_classes_in_another_order_are_matched_by_name(taught: tuple[str, ...], own: tuple[str, ...]) -> None:
    dataset = named(own)
    with pytest.warns(NetworkFitted, match="student: the 10 classes of digits are matched by name to its 10"):
        matched = fitted("student", student_card("convnet8", "digits", named(taught)), dataset)
    assert matched.class_names == taught
    for before, after in ((dataset.train, matched.train), (dataset.test, matched.test)):
        assert before is not None
        assert after is not None
        assert [own[label] for label in before.labels.tolist()] == [taught[label] for label in after.labels.tolist()]


def test_data_may_lack_classes_but_not_have_others() -> None:
    card = student_card("convnet8", "digits", named(NAMES))
    few = digits().train.take((digits().train.labels < 2).nonzero().flatten())
    some = dataclasses.replace(digits(), class_names=("zero", "one"), train=few, test=None)
    with pytest.warns(NetworkFitted, match="the 2 classes"):
        assert torch.equal(fitted("student", card, some).train.labels, few.labels)
    with pytest.raises(InputError, match="student has no class 'ten' of digits; it has 'zero', 'one'"):
        fitted("student", card, named((*NAMES[:9], "ten")))


def test_images_of_another_size_are_told_of_once():
    images = digits().train.images
    larger = ImageSet(images.repeat_interleave(2, dim=2), digits().train.labels)
    told = "teacher sees images of 8x8 pixels: those of digits, of 16x8, are resized for it"
    with pytest.warns(NetworkFitted, match=told) as warned:
        fitted("teacher", student_card("convnet8", "digits", digits()), dataclasses.replace(digits(), train=larger))
    assert len(warned) == 1
