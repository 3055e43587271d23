import pytest
import torch

from preceptor import KL, DistillationLoss, Fixed, InputError


def test_the_teacher_is_softened_by_the_temperature_given() -> None:
    teacher = torch.tensor([[4.0, 0.0, -4.0], [1.0, 2.0, 3.0]])
    audit = DistillationLoss(temperature=Fixed(2.0), loss=KL())(teacher, teacher, torch.tensor([0, 2])).audit
    assert audit is not None
    assert audit.temperature == 2.0
    torch.testing.assert_close(audit.teacher_log_probs, (teacher / 2).log_softmax(dim=1))


def test_without_a_temperature_the_teacher_speaks_at_one() -> None:
    audit = DistillationLoss(loss=KL())(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([0])).audit
    assert audit is not None
    assert audit.temperature == 1.0


def test_the_default_is_four() -> None:
    assert Fixed() == Fixed(4.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temperature_that_divides_badly_is_refused(temperature: float) -> None:
    with pytest.raises(InputError, match=r"fixed: temperature = .*: expected a finite number above 0"):
        Fixed(temperature)
