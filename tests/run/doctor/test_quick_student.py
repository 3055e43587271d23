import torch

from preceptor.data import subset
from preceptor.run.doctor.quick_student import quick_student, quick_student_finding
from tests.training_helpers import digits


def test_it_learns_digits_from_other_images():
    train = digits().train
    index = subset(train.labels, 400, seed=0)
    right = quick_student(train.images[index], train.labels[index])
    assert float(right.double().mean()) > 0.9


def test_it_cannot_name_what_nothing_tells():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (200, 3, 40, 50), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 2, (200,), generator=generator)
    assert float(quick_student(images, labels).double().mean()) < 0.65


def test_copies_of_an_image_are_not_learned_by_heart():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8, generator=generator).repeat(4, 1, 1, 1)
    labels = torch.randint(0, 2, (50,), generator=generator).repeat(4)
    assert float(quick_student(images, labels).double().mean()) < 0.75


def test_images_that_are_all_alike_are_no_error():
    labels = torch.arange(100) % 2
    images = torch.arange(100, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    assert quick_student(images, labels).shape == (100,)


def test_a_teacher_no_better_is_warned_of_with_both_accuracies():
    teacher, student = torch.arange(200) < 120, torch.arange(200) < 118
    finding = quick_student_finding(teacher, student)
    assert finding.status == "warning"
    assert "60.00%" in finding.message
    assert "59.00%" in finding.message
    assert "distillation can gain little" in finding.message
    assert "preceptor audit" in finding.remedy
    assert quick_student_finding(torch.arange(200) < 160, student).status == "ok"
