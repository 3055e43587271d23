import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from torch.nn import functional as F

from preceptor import KL
from preceptor.losses import kl_divergence
from tests.strategies import LogitBatch, logit_batches, temperatures


@given(logit_batches(largest=10.0), temperatures)
def test_it_agrees_with_scipy_and_with_torch(batch: LogitBatch, temperature: float) -> None:
    actual = kl_divergence(batch.student, batch.outputs(temperature).logits, temperature)
    p, q = (softmax(logits.numpy() / temperature, axis=1) for logits in (batch.teacher, batch.student))
    torch.testing.assert_close(actual, torch.from_numpy(rel_entr(p, q).sum(axis=1)), atol=1e-10, rtol=1e-7)
    log_q = (batch.student / temperature).log_softmax(dim=1)
    theirs = F.kl_div(log_q, batch.outputs(temperature).logits, reduction="none", log_target=True).sum(dim=1)
    torch.testing.assert_close(actual, theirs)


@given(logit_batches(), temperatures)
def test_it_is_never_negative_and_zero_at_the_teacher(batch: LogitBatch, temperature: float) -> None:
    assert (kl_divergence(batch.student, batch.outputs(temperature).logits, temperature) >= -1e-12).all()
    student = batch.teacher.clone().requires_grad_()
    loss = kl_divergence(student, batch.outputs(temperature).logits, temperature)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.zeros_like(loss))
    torch.testing.assert_close(student.grad, torch.zeros_like(student))


@given(logit_batches(), temperatures, st.floats(-50, 50))
def test_a_constant_added_to_the_student_changes_nothing(
    batch: LogitBatch, temperature: float, constant: float
) -> None:
    target = batch.outputs(temperature).logits
    moved = kl_divergence(batch.student + constant, target, temperature)
    torch.testing.assert_close(moved, kl_divergence(batch.student, target, temperature), atol=1e-9, rtol=1e-7)


@given(logit_batches(), temperatures)
def test_the_direction_is_from_teacher_to_student(batch: LogitBatch, temperature: float) -> None:
    # Against a one-hot target it is cross-entropy, which the reverse direction is not.
    one_hot = torch.full_like(batch.teacher, -1e30).scatter(1, batch.label.unsqueeze(1), 0.0)
    expected = F.cross_entropy(batch.student / temperature, batch.label, reduction="none")
    torch.testing.assert_close(kl_divergence(batch.student, one_hot, temperature), expected)


@given(logit_batches())
def test_each_sample_is_scaled_by_its_own_temperature_squared(batch: LogitBatch) -> None:
    temperature = torch.linspace(1, 8, len(batch.label), dtype=torch.float64)
    target = (batch.teacher / temperature.unsqueeze(1)).log_softmax(dim=1)
    scaled, plain = KL(), KL(temperature_squared=False)
    actual = scaled(batch.student, target, temperature, batch.label)
    torch.testing.assert_close(actual, temperature**2 * plain(batch.student, target, temperature, batch.label))
    for i, degree in enumerate(temperature.tolist()):
        alone = scaled(batch.student[i : i + 1], target[i : i + 1], degree, batch.label[i : i + 1])
        torch.testing.assert_close(actual[i], alone[0])


def test_temperature_squared_keeps_the_size_of_the_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher, start = (torch.randn(64, 10, generator=generator, dtype=torch.float64) for _ in range(2))
    sizes = {}
    for squared in (True, False):
        for temperature in (20.0, 40.0):
            student = start.clone().requires_grad_()
            target = (teacher / temperature).log_softmax(dim=1)
            label = torch.zeros(64, dtype=torch.long)
            KL(temperature_squared=squared)(student, target, temperature, label).mean().backward()
            sizes[squared, temperature] = float(student.grad.norm())  # type: ignore[union-attr]
    assert sizes[True, 40.0] / sizes[True, 20.0] == pytest.approx(1, abs=0.05)
    assert sizes[False, 40.0] / sizes[False, 20.0] == pytest.approx(0.25, abs=0.05)
