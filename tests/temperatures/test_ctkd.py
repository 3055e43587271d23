"""CTKD: the learned temperature climbs, its curriculum, its part in training, resume and compilation."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import KL, DistillationLoss, InputError
from preceptor.losses import DKD
from preceptor.temperatures import CTKD, Standardized
from preceptor.temperatures.ctkd import reversal
from preceptor.training import Student
from tests.losses.numeric import random_logits, softmax
from tests.training_helpers import BRIEF, StateAfter, make_student, same_bits, train, weights

LABEL = torch.arange(12) % 6
ADAMW = BRIEF.model_copy(update={"optimizer": "adamw", "learning_rate": 0.01})


def built(theta: float = 1.0, loss: object = None, **options: float) -> tuple[DistillationLoss, CTKD]:
    temperature = CTKD(**options).double()  # type: ignore[arg-type]
    with torch.no_grad():
        temperature.theta.fill_(theta)
    return DistillationLoss(temperature=temperature, loss=KL() if loss is None else loss), temperature  # type: ignore[arg-type]


def expected(theta: float, student: Tensor, teacher: Tensor) -> float:
    """``T^2 KL`` at the temperature of theta, in NumPy."""
    t, total = 1 + 20 / (1 + np.exp(-theta)), 0.0
    for z, row in zip(student.numpy(), teacher.numpy(), strict=True):
        p, q = softmax(row / t), softmax(z / t)
        total += t**2 * sum(p * np.log(p / q))
    return total / len(student)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("theta", [-4.0, -2.0, 0.0, 1.0, 3.0])
def test_one_step_on_theta_increases_the_loss(seed: int, theta: float) -> None:
    student, teacher = random_logits(12, 6, seed)
    loss, temperature = built(theta)
    optimizer = torch.optim.SGD([temperature.theta], lr=1e-3)
    before = loss(student, teacher, LABEL, progress=1.0).total
    before.backward()
    optimizer.step()
    after = loss(student, teacher, LABEL, progress=1.0).total
    assert temperature.theta.item() != theta
    assert after.item() > before.item()


@pytest.mark.parametrize(("progress", "factor"), [(0.0, 0.0), (0.1, -(1 - math.cos(math.pi / 4)) / 2), (0.5, -1.0)])
def test_the_gradient_is_the_reversed_one_through_target_student_and_factor(progress: float, factor: float) -> None:
    student, teacher = random_logits(12, 6)
    loss, temperature = built(0.3, warmup=0.4)
    total = loss(student, teacher, LABEL, progress=progress).total
    np.testing.assert_allclose(total.item(), expected(0.3, student, teacher), rtol=1e-10)
    total.backward()
    slope = (expected(0.3 + 1e-5, student, teacher) - expected(0.3 - 1e-5, student, teacher)) / 2e-5
    assert temperature.theta.grad is not None
    np.testing.assert_allclose(temperature.theta.grad.item(), factor * slope, rtol=1e-6, atol=1e-12)


def test_the_curriculum_ends_at_the_full_reversal() -> None:
    assert [reversal(progress, 0.5) for progress in (0.0, 0.5, 1.0)] == [0.0, -1.0, -1.0]
    assert reversal(0.25, 0.5) == pytest.approx(-0.5)
    assert reversal(0.0, 0.0) == -1.0


def test_the_temperature_stays_in_its_range() -> None:
    student, teacher = random_logits(12, 6)
    for theta, limit in ((-50.0, 1.0), (50.0, 21.0)):
        audit = built(theta)[0](student, teacher, LABEL).audit
        assert audit is not None
        assert float(audit.temperature) == pytest.approx(limit)


def test_a_decoupled_loss_reaches_theta_too() -> None:
    student, teacher = random_logits(12, 6)
    loss, temperature = built(loss=DKD())
    loss(student, teacher, LABEL, progress=1.0).total.backward()
    assert temperature.theta.grad is not None
    assert temperature.theta.grad != 0


def test_standardized_it_is_the_standardized_loss_at_its_temperature() -> None:
    student, teacher = random_logits(12, 6)
    temperature = CTKD(standardize=True).double()
    total = DistillationLoss(temperature=temperature, loss=KL())(student, teacher, LABEL).total
    fixed = Standardized(1 + 20 / (1 + math.exp(-1)))
    torch.testing.assert_close(total, DistillationLoss(temperature=fixed, loss=KL())(student, teacher, LABEL).total)
    torch.testing.assert_close(
        total, DistillationLoss(temperature=temperature, loss=KL())(3 * student - 2, 0.5 * teacher, LABEL).total
    )


def thetas(students: list[Student]) -> list[float]:
    return [student.loss.temperature.theta.item() for student in students]  # type: ignore[union-attr]


def test_it_is_trained_with_the_student_and_resumes_in_the_same_bits() -> None:
    def three() -> list[Student]:
        return [make_student(name) for name in ("ctkd", "ctkd-lsk", "kd-lsk")]

    whole, resumed, after = three(), three(), StateAfter(3)
    train(whole, training=ADAMW, callbacks=[after])
    assert all(abs(theta - 1) > 1e-3 for theta in thetas(whole[:2]))
    train(resumed, training=ADAMW, state=after.state())
    for one, other in zip(whole, resumed, strict=True):
        assert same_bits(weights(one.network), weights(other.network))
        assert same_bits(weights(one.loss), weights(other.loss))


def test_students_trained_together_learn_as_each_alone() -> None:
    names = ("ctkd", "kd-lsk", "normkd")
    together = [make_student(name) for name in names]
    train(together, training=ADAMW)
    for name, student in zip(names, together, strict=True):
        alone = make_student(name)
        train([alone], training=ADAMW)
        assert same_bits(weights(alone.network), weights(student.network))
        assert same_bits(weights(alone.loss), weights(student.loss))


def test_compiled_it_follows_the_progress_of_training() -> None:
    student, teacher = random_logits(12, 6)
    torch._dynamo.reset()
    plain, temperature = built()
    compiled, other = built()
    compiled.compile(fullgraph=True, backend="eager")
    for progress in (0.0, 0.01, 0.02, 0.5):
        totals = [loss(student, teacher, LABEL, progress=progress).total for loss in (plain, compiled)]
        for total in totals:
            total.backward()
        torch.testing.assert_close(*totals)
    torch.testing.assert_close(other.theta.grad, temperature.theta.grad)


@pytest.mark.parametrize("options", [{"start": 0.0}, {"span": -1.0}, {"warmup": 1.5}])
def test_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"ctkd: {next(iter(options))} ="):
        CTKD(**options)  # type: ignore[arg-type]
