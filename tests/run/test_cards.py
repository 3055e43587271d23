import dataclasses

import pytest

from preceptor.data import ImageSet
from preceptor.errors import InputError, NetworkFitted
from preceptor.run.cards import check_card, student_card
from tests.training_helpers import digits

NUMBERS = tuple("0123456789")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def named(names):
    return dataclasses.replace(digits(), class_names=names)


@pytest.mark.parametrize(("taught", "given"), [(NAMES, NUMBERS), (NUMBERS, NAMES), (NAMES, NAMES)])
def test_numbers_in_place_of_names_are_no_contradiction(taught, given):
    check_card("teacher", student_card("convnet8", "digits", named(taught)), named(given))


@pytest.mark.parametrize(
    ("taught", "given"), [(NAMES, NAMES[::-1]), (NUMBERS, NUMBERS[::-1]), (NAMES, (*NAMES[:9], "ten"))]
)
def test_other_names_or_another_order_are(taught, given):
    with pytest.raises(InputError, match=r"teacher has class .* in the same order"):
        check_card("teacher", student_card("convnet8", "digits", named(taught)), named(given))


def test_images_of_another_size_are_told_of():
    images = digits().train.images
    larger = ImageSet(images.repeat_interleave(2, dim=2), digits().train.labels)
    told = "teacher sees images of 8x8 pixels: those of digits, of 16x8, are resized for it"
    with pytest.warns(NetworkFitted, match=told):
        check_card("teacher", student_card("convnet8", "digits", digits()), dataclasses.replace(digits(), train=larger))
