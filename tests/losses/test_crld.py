"""Cross-view distillation against the equations, image by image; which rows belong together; edges."""

import numpy as np
import pytest
import torch

from preceptor import DistillationLoss, InputError
from preceptor.losses import CRLD, kl_divergence, other_views
from tests.losses.numeric import gradient_by_differences, random_logits, softmax

IMAGES, CLASSES, TEMPERATURE = 6, 5, 4.0
STUDENT, TEACHER = random_logits(2 * IMAGES, CLASSES)
INDEX = torch.tensor([7, 3, 9, 0, 5, 4]).repeat(2)
LABEL = torch.arange(IMAGES).repeat(2) % CLASSES


def expected(student: np.ndarray, within: float, across: float, sure: float, least: float) -> np.ndarray:
    """Of each view, the weak ones first."""
    t = TEACHER.numpy()
    losses = np.zeros(2 * IMAGES)

    def divergence(teacher_row: int, student_row: int) -> float:
        p, q = softmax(t[teacher_row] / TEMPERATURE), softmax(student[student_row] / TEMPERATURE)
        return float(TEMPERATURE**2 * sum(p * np.log(p / q)))

    for weak in range(IMAGES):
        strong = weak + IMAGES
        is_sure, is_enough = softmax(t[weak]).max() >= sure, softmax(t[strong]).max() >= least
        for view, other in ((weak, strong), (strong, weak)):
            losses[view] = within * is_sure * divergence(view, view) + across * is_enough * divergence(other, view)
    return losses


@pytest.mark.parametrize("options", [(2.0, 0.5, 0.9, 0.2), (1.0, 0.0, 0.5, 0.0), (0.0, 3.0, 1.0, 0.8)])
def test_value_and_gradient_are_those_of_the_equations(options: tuple[float, float, float, float]) -> None:
    student = STUDENT.clone().requires_grad_()
    loss = CRLD(*options)(student, TEACHER, TEMPERATURE, LABEL, INDEX)
    np.testing.assert_allclose(loss.detach().numpy(), expected(STUDENT.numpy(), *options), rtol=1e-10)
    loss.sum().backward()
    by_differences = gradient_by_differences(lambda z: expected(z, *options).sum(), STUDENT.numpy())
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), by_differences, atol=1e-6)
    confidence = TEACHER.softmax(dim=1).amax(dim=1)
    assert confidence.min() < 0.8 < 0.9 < confidence.max()  # thresholds with samples on either side


def test_rows_of_the_same_sample_belong_together_wherever_they_stand() -> None:
    assert other_views(INDEX).tolist() == [*range(IMAGES, 2 * IMAGES), *range(IMAGES)]
    assert other_views(torch.tensor([4, 2, 4, 8])).tolist() == [2, 1, 0, 3]
    order = torch.tensor([2, 0, 1, 3, 5, 4])
    order = torch.cat([order, order + IMAGES])  # the weak views first, as in a batch
    loss = CRLD(least=0.8)(STUDENT, TEACHER, TEMPERATURE, LABEL, INDEX)
    reordered = CRLD(least=0.8)(STUDENT[order], TEACHER[order], TEMPERATURE, LABEL[order], INDEX[order])
    torch.testing.assert_close(reordered, loss[order])


def test_a_single_view_is_its_own_other_one() -> None:
    loss = CRLD(within=1.0, across=1.0, sure=0.0, least=0.0)(STUDENT, TEACHER, TEMPERATURE, LABEL, torch.arange(12))
    soft = (TEACHER / TEMPERATURE).log_softmax(dim=1)
    torch.testing.assert_close(loss, 2 * TEMPERATURE**2 * kl_divergence(STUDENT, soft, TEMPERATURE))


def test_the_recipe_is_the_published_sum_over_views() -> None:
    """``CE_w + CE_s + 2 mean(KD_w + KD_s) + 0.5 mean(...)``, each a mean over images."""
    output = DistillationLoss.from_recipe("crld")(STUDENT, TEACHER, LABEL, index=INDEX)
    ce = torch.nn.functional.cross_entropy(STUDENT, LABEL, reduction="none")
    torch.testing.assert_close(output["ce"], ce.reshape(2, IMAGES).mean(dim=1).sum())
    both = expected(STUDENT.numpy(), 2.0, 0.5, 0.9, 0.2).reshape(2, IMAGES).sum(axis=0).mean()
    np.testing.assert_allclose(output["crld"].item(), both, rtol=1e-10)


@pytest.mark.parametrize("teacher", [torch.zeros(4, 3), 1e4 * torch.eye(4, 3), -1e4 * torch.eye(4, 3)])
@pytest.mark.parametrize("student", [torch.zeros(4, 3), 1e4 * torch.eye(4, 3).flip(1)])
def test_constant_and_certain_rows_are_finite(student: torch.Tensor, teacher: torch.Tensor) -> None:
    student = student.clone().requires_grad_()
    loss = CRLD()(student, teacher, 1.0, torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 0, 1]))
    loss.sum().backward()
    assert student.grad is not None
    assert loss.isfinite().all()
    assert student.grad.isfinite().all()


def test_what_it_needs_is_said() -> None:
    with pytest.raises(InputError, match="CRLD compares two views of a sample: give index="):
        DistillationLoss.from_recipe("crld")(STUDENT, TEACHER, LABEL)
    with pytest.raises(InputError, match=r"crld: sure = 1\.5: expected a confidence"):
        CRLD(sure=1.5)
    with pytest.raises(InputError, match="crld: across = -1"):
        CRLD(across=-1)
