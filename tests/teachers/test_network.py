import math

import pytest
import torch
from torch import Tensor, nn

from preceptor.data import Normalization
from preceptor.errors import InputError
from preceptor.teachers import NetworkTeacher, check_teacher
from tests.training_helpers import (
    BRIEF,
    digits,
    few,
    make_student,
    network,
    same_bits,
    train,
    untrained_teacher,
    weights,
)

AS_IT_IS = Normalization((0.0,), (1.0,))


def some_images(n: int = 12) -> Tensor:
    return digits().train.images[few(n)]


class Dropping(nn.Module):
    """Batch norm and dropout: both differ between training and eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.drop = network(3), nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.drop(self.body(images))


def test_it_is_in_eval_mode_whatever_the_network_is_in():
    source = Dropping().train()
    teacher = NetworkTeacher(source, digits().normalization)
    first = teacher(some_images())
    assert torch.equal(first, teacher(some_images()))
    with torch.no_grad():
        assert torch.equal(first, source.eval()(digits().normalization(some_images())))


def test_a_sample_is_judged_alike_in_any_batch():
    teacher, images = untrained_teacher(), some_images()
    torch.testing.assert_close(teacher(images)[:1], teacher(images[:1]))


def test_its_network_is_left_as_it_was():
    source = Dropping().train()
    before = weights(source)
    NetworkTeacher(source, digits().normalization)(some_images())
    assert source.training
    assert all(parameter.requires_grad for parameter in source.parameters())
    assert same_bits(before, weights(source))


def test_what_happens_to_the_network_later_does_not_reach_it():
    source = make_student("none")
    teacher = NetworkTeacher(source.network, digits().normalization)
    before = teacher(some_images())
    train([source])
    after = teacher(some_images())
    assert torch.equal(before, after)
    assert not torch.equal(after, NetworkTeacher(source.network, digits().normalization)(some_images()))


def test_teaching_changes_nothing_in_it():
    teacher = untrained_teacher()
    before = weights(teacher.network)  # running statistics of batch norm too
    train([make_student("kd")], teacher=teacher)
    assert same_bits(before, weights(teacher.network))
    assert not teacher.network.training


def test_its_word_carries_no_gradient():
    teacher = untrained_teacher()
    assert not teacher(some_images()).requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


def test_it_is_no_module_and_so_in_nobodys_state():
    teacher = untrained_teacher()
    assert not isinstance(teacher, nn.Module)

    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.teacher = network(), teacher

    assert not any("teacher" in name for name in Student().state_dict())


def test_it_brings_its_own_normalization():
    source = network(3)
    unlike = Normalization((0.9,), (0.1,))
    teacher = NetworkTeacher(source, unlike)
    with torch.no_grad():
        torch.testing.assert_close(teacher(some_images()), source.eval()(unlike(some_images())))
    assert not torch.allclose(teacher(some_images()), NetworkTeacher(source, AS_IT_IS)(some_images()))


def test_its_logits_are_float32_even_under_autocast():
    teacher = untrained_teacher()
    with torch.autocast("cpu", torch.bfloat16):
        assert teacher(some_images()).dtype == torch.float32


class Fixed(nn.Module):
    """Predicts class 1 of 3 for a dark image, class 2 for a bright one; a black image gets its logits from the test."""

    def __init__(self, of_black: float = 0.0) -> None:
        super().__init__()
        self.of_black = of_black

    def forward(self, images: Tensor) -> Tensor:
        light = images.mean(dim=(1, 2, 3))
        logits = torch.stack([torch.zeros_like(light), 1 - light, light], dim=1)
        return torch.where(light[:, None] == 0, self.of_black, logits)


def shades(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)


def test_the_check_counts_right_and_wrong():
    teacher = NetworkTeacher(Fixed(), AS_IT_IS)
    found = check_teacher(teacher, shades(20, 30, 240, 250), torch.tensor([1, 2, 2, 0]), classes=3)
    assert (found.images, found.accuracy, found.wrong) == (4, 0.5, 2)


@pytest.mark.parametrize("batch_size", [1, 3, 512])
def test_the_batch_size_does_not_change_the_count(batch_size):
    teacher = NetworkTeacher(Fixed(), AS_IT_IS)
    images, labels = shades(*range(10, 250, 10)), torch.arange(24) % 3
    found = check_teacher(teacher, images, labels, 3, batch_size=batch_size)
    expected = [2 if value > 127 else 1 for value in range(10, 250, 10)]
    assert found.wrong == sum(prediction != label for prediction, label in zip(expected, labels.tolist(), strict=True))
    assert found.accuracy == pytest.approx(1 - found.wrong / 24)


def test_the_unlabeled_count_neither_as_right_nor_as_wrong():
    teacher = NetworkTeacher(Fixed(), AS_IT_IS)
    found = check_teacher(teacher, shades(20, 30, 240, 250), torch.tensor([1, -1, 1, -1]), classes=3)
    assert (found.images, found.accuracy, found.wrong) == (4, 0.5, 1)


def test_without_a_label_there_is_no_accuracy():
    teacher = NetworkTeacher(Fixed(), AS_IT_IS)
    found = check_teacher(teacher, shades(20, 240), torch.tensor([-1, -1]), classes=3)
    assert (found.images, found.accuracy, found.wrong) == (2, None, 0)


def test_a_tie_goes_to_the_smallest_class():
    teacher = NetworkTeacher(Fixed(of_black=0.0), AS_IT_IS)
    assert check_teacher(teacher, shades(0, 0), torch.tensor([0, 1]), classes=3).wrong == 1


@pytest.mark.parametrize("classes", [2, 4])
def test_another_number_of_classes(classes):
    teacher = NetworkTeacher(Fixed(), AS_IT_IS)
    with pytest.raises(InputError, match=f"the teacher has 3 classes, the data set {classes}: use a teacher trained"):
        check_teacher(teacher, shades(20, 30), torch.tensor([0, 1]), classes)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("batch_size", [2, 512])
def test_logits_that_are_not_finite_are_placed(broken, batch_size):
    teacher = NetworkTeacher(Fixed(of_black=broken), AS_IT_IS)
    images = shades(20, 30, 40, 0, 50, 0)
    with pytest.raises(InputError, match="not finite for 2 of 6 training images, the first at index 3: check its"):
        check_teacher(teacher, images, torch.zeros(6, dtype=torch.int64), 3, batch_size=batch_size)


def test_a_network_on_which_bf16_teaching_has_been_done_is_unchanged():
    teacher = untrained_teacher()
    before = weights(teacher.network)
    train([make_student("kd")], teacher=teacher, training=BRIEF, precision="bf16")
    assert same_bits(before, weights(teacher.network))


def test_a_bad_image_is_named_by_its_place_in_the_training_set():
    class Diverged(nn.Module):
        def forward(self, images):
            logits = torch.zeros(len(images), 10)
            logits[2] = torch.nan
            return logits

    teacher = NetworkTeacher(Diverged(), digits().normalization)
    images, labels = digits().train.images[:4], digits().train.labels[:4]
    for index, named in ((None, 2), (torch.tensor([5, 9, 70, 71]), 70)):
        with pytest.raises(InputError, match=f"the first at index {named}:"):
            check_teacher(teacher, images, labels, 10, index=index)


def test_the_same_logits_for_many_images_of_several_classes_are_refused():
    teacher = NetworkTeacher(Fixed(of_black=0.0), AS_IT_IS)
    black, labels = shades(*[0] * 16), torch.arange(16) % 3
    with pytest.raises(InputError, match="logits are the same for all 16 training images"):
        check_teacher(teacher, black, labels, classes=3)
    assert check_teacher(teacher, black[:15], labels[:15], classes=3).images == 15
    assert check_teacher(teacher, black, torch.zeros_like(labels), classes=3).wrong == 0
