"""Information-theoretic distillation: correlations and similarities by hand, and their ends."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import InputError
from preceptor.feature_losses.itrd import InformationTheoretic, correlation_loss, mutual_loss

WEIGHT = torch.ones(6, dtype=torch.float64)


def vectors(seed: int, dimensions: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, dimensions, dtype=torch.float64, generator=generator)


def test_the_correlation_loss_is_the_reference() -> None:
    student, teacher = vectors(0), vectors(1)
    c = [np.corrcoef(student[:, d], teacher[:, d])[0, 1] for d in range(4)]
    expected = math.log2(sum((1 - one) ** 2.02 for one in c) + 1e-6)
    assert float(correlation_loss(student, teacher, WEIGHT)) == pytest.approx(expected, rel=1e-9)


def test_the_ends_of_the_correlation_loss() -> None:
    """Perfect agreement: the floor under the logarithm. A constant student: a correlation of 0 in each dimension."""
    same = vectors(0).requires_grad_()
    loss = correlation_loss(same, 3 * vectors(0) + 1, WEIGHT)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log2(1e-6))
    assert float(same.grad.abs().max()) < 1e-3
    assert float(correlation_loss(torch.ones(6, 4), vectors(0), WEIGHT)) == pytest.approx(2, abs=1e-5)


def test_the_mutual_loss_by_hand() -> None:
    """Two pairs of equal directions for the student; for the teacher all four are at right angles."""
    student = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 5.0]], dtype=torch.float64)
    weight = torch.ones(4, dtype=torch.float64)
    assert float(mutual_loss(student, torch.eye(4, dtype=torch.float64), weight)) == pytest.approx(4 / 16)
    assert float(mutual_loss(torch.eye(4, dtype=torch.float64), student, weight)) == pytest.approx(0)
    assert float(mutual_loss(student, student, weight)) == pytest.approx(0)


def test_the_weights_of_both_parts() -> None:
    student, teacher = vectors(0), vectors(1, dimensions=3)

    def total(**weights: float) -> Tensor:
        torch.manual_seed(0)
        loss = InformationTheoretic(**weights, layers={"a": "a"})
        loss.build_adapters([student.shape], [teacher.shape])
        return loss.double()([student], [teacher], WEIGHT).detach()

    mutual = mutual_loss(student, teacher, WEIGHT)
    torch.testing.assert_close(total(correlation=0.0, mutual=3.0), 3 * mutual)
    torch.testing.assert_close(total(), 2 * total(correlation=1.0, mutual=0.0) + mutual)


@pytest.mark.parametrize("options", [{"correlation": -1.0}, {"correlation": 0.0, "mutual": 0.0}, {"alpha": 0.9}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="itrd: "):
        InformationTheoretic(**options)


def test_embeddings_must_be_built() -> None:
    with pytest.raises(InputError, match="itrd: its embeddings are not built"):
        InformationTheoretic(layers={"a": "a"})([vectors(0)], [vectors(1)], WEIGHT)
