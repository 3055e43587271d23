"""What every feature loss that is a statistic of the batch has: weights, zero at the teacher, degenerate batches."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import DistillationLoss, LossTerm
from preceptor.feature_losses import InformationTheoretic, ProbabilisticTransfer, Relational, Similarity
from preceptor.feature_losses.batch import directions, pair_shares
from tests.conformance.feature_references import itrd, pkt, relational, similarity

STATISTICS = {
    "similarity": (Similarity, similarity),
    "relational": (Relational, relational),
    "pkt": (ProbabilisticTransfer, pkt),
    "itrd": (InformationTheoretic, itrd),
}
WEIGHT = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64)


def maps(samples: int = 6, channels: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, channels, 2, 2, dtype=torch.float64, generator=generator)


def built(name: str, student: Tensor, teacher: Tensor) -> Any:
    loss = STATISTICS[name][0](layers={"a": "a"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss.build_adapters([student.shape], [teacher.shape])
    return loss.to(student.dtype)


def value_and_gradient(name: str, student: Tensor, teacher: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    student = student.clone().requires_grad_()
    loss = built(name, student, teacher)([student], [teacher], weight)
    loss.backward()
    assert student.grad is not None
    return loss.detach(), student.grad


@pytest.fixture(params=STATISTICS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_value_and_gradient_are_the_references(name: str) -> None:
    """The gradient against central differences of the NumPy derivation, in a random direction."""
    student, teacher = maps(), maps(channels=3, seed=1)
    loss, gradient = value_and_gradient(name, student, teacher, WEIGHT)
    reference = STATISTICS[name][1]

    def derived(features: Tensor) -> float:
        return float(reference((features.numpy(),), (teacher.numpy(),), WEIGHT.numpy()))

    assert float(loss) == pytest.approx(derived(student), rel=1e-9)
    step = 1e-6 * maps(seed=2)
    difference = (derived(student + step) - derived(student - step)) / 2
    assert float((gradient * step).sum()) == pytest.approx(difference, rel=1e-5)


def test_rows_of_weight_zero_are_as_if_absent(name: str) -> None:
    kept, student, teacher = WEIGHT > 0, maps(), maps(channels=3, seed=1)
    student[~kept], teacher[~kept] = torch.nan, torch.inf
    loss, gradient = value_and_gradient(name, student, teacher, WEIGHT)
    alone, alone_gradient = value_and_gradient(name, student[kept], teacher[kept], WEIGHT[kept])
    torch.testing.assert_close(loss, alone)
    torch.testing.assert_close(gradient[kept], alone_gradient)
    assert torch.equal(gradient[~kept], torch.zeros_like(gradient[~kept]))


def test_the_weights_of_a_distillation_loss_reach_it(name: str) -> None:
    """A term limited to the samples where the teacher is right, through the whole loss."""
    student, teacher = maps(), maps(channels=3, seed=1)
    label, logits = torch.arange(6) % 3, torch.eye(3, dtype=torch.float64).repeat(2, 1) * 4
    logits[1], logits[4] = logits[0], logits[0]  # wrong there
    whole = DistillationLoss(terms={"term": LossTerm(built(name, student, teacher), 2.0, where="right")})
    output = whole(
        torch.zeros(6, 3, dtype=torch.float64),
        logits,
        label,
        student_features={"a": student},
        teacher_features={"a": teacher},
    )
    expected, _ = value_and_gradient(name, student, teacher, WEIGHT)
    torch.testing.assert_close(output.total, 2 * expected)


def test_equal_weights_of_any_size_mean_the_same(name: str) -> None:
    student, teacher, ones = maps(), maps(seed=1), torch.ones(6, dtype=torch.float64)
    torch.testing.assert_close(
        value_and_gradient(name, student, teacher, 0.3 * ones)[0], value_and_gradient(name, student, teacher, ones)[0]
    )


@pytest.mark.parametrize("name", [name for name in STATISTICS if name != "itrd"])
def test_a_student_equal_to_the_teacher_has_no_loss_and_no_gradient(name: str) -> None:
    loss, gradient = value_and_gradient(name, maps(), maps(), WEIGHT)
    assert float(loss) == pytest.approx(0, abs=1e-15)
    assert float(gradient.abs().max()) < 1e-8  # pkt adds 1e-7 to its probabilities


DEGENERATE = {
    "one sample": (maps(1), maps(1, seed=1)),
    "constant": (torch.ones(4, 5, 2, 2), torch.ones(4, 3, 2, 2)),
    "zeros": (torch.zeros(4, 5, 2, 2), maps(4, seed=1)),
    "equal rows": (maps(1).expand(4, -1, -1, -1), maps(4, seed=1)),
    "two equal rows": (maps(3)[[0, 1, 1, 2]], maps(4, seed=1)),
    "large": (1e4 * maps(4), maps(4, seed=1)),
    "large teacher": (maps(4), 1e4 * maps(4, seed=1)),
}


@pytest.mark.parametrize("batch", DEGENERATE)
@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_degenerate_batches_are_finite(name: str, batch: str, weight: float) -> None:
    student, teacher = (one.float() for one in DEGENERATE[batch])
    loss, gradient = value_and_gradient(name, student, teacher, torch.full((len(student),), weight))
    assert bool(loss.isfinite())
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) < 1e6
    if not weight:
        assert float(loss) == 0
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_row_of_zeros_has_no_direction_and_no_gradient() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    unit = directions(rows)
    np.testing.assert_allclose(unit.detach(), [[0.6, 0.8], [0, 0]], rtol=1e-6)
    unit.sum().backward()
    assert rows.grad is not None
    assert torch.equal(rows.grad[1], torch.zeros(2))


def test_pair_shares_are_a_mean_over_pairs_of_kept_rows() -> None:
    assert torch.equal(
        pair_shares(torch.tensor([1.0, 0.0, 1.0])), torch.tensor([[0.25, 0, 0.25], [0] * 3, [0.25, 0, 0.25]])
    )
    assert torch.equal(pair_shares(torch.zeros(2)), torch.zeros(2, 2))
