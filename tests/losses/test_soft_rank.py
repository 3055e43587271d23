from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from preceptor.losses import permutahedron_soft_rank, window_soft_rank
from preceptor.losses.soft_rank import pooled_blocks

SoftRank = Callable[[Tensor, float], Tensor]
both = pytest.mark.parametrize("soft_rank", [window_soft_rank, permutahedron_soft_rank])
seeds, strengths = st.integers(0, 10_000), st.sampled_from([0.003, 0.03, 0.1, 0.3, 1.0, 3.0, 30.0])


def rows(seed: int, samples: int = 4, classes: int = 7) -> Tensor:
    return torch.randn(samples, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@both
@given(seed=seeds, strength=strengths)
def test_ranks_sum_to_a_constant_and_keep_the_order(soft_rank: SoftRank, seed: int, strength: float) -> None:
    values = rows(seed)
    ranks = soft_rank(values, strength)
    torch.testing.assert_close(ranks.sum(dim=1), torch.full((4,), 28.0, dtype=torch.float64))
    assert (ranks.gather(1, values.argsort(dim=1)).diff(dim=1) >= -1e-9).all()


@both
@given(seed=seeds, strength=strengths)
def test_renumbering_the_classes_renumbers_the_ranks(soft_rank: SoftRank, seed: int, strength: float) -> None:
    values = rows(seed)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(soft_rank(values[:, order], strength), soft_rank(values, strength)[:, order])


@both
@given(seed=seeds)
def test_a_strength_below_every_gap_gives_the_hard_ranks_and_no_gradient(soft_rank: SoftRank, seed: int) -> None:
    values = rows(seed)
    gap = float(values.sort(dim=1).values.diff(dim=1).min())
    values.requires_grad_()
    ranks = soft_rank(values, 0.9 * gap)
    np.testing.assert_allclose(ranks.detach().numpy(), rankdata(values.detach().numpy(), axis=1), atol=1e-6)
    (ranks * torch.arange(7)).sum().backward()
    assert values.grad is not None
    assert float(values.grad.abs().max()) < 1e-6 / gap


@both
@pytest.mark.parametrize("strength", [0.05, 0.3, 2.0])
def test_the_gradient_is_right(soft_rank: SoftRank, strength: float) -> None:
    assert torch.autograd.gradcheck(lambda values: soft_rank(values, strength), (rows(3).requires_grad_(),))


@given(seed=seeds, strength=strengths)
def test_the_window_is_the_pairwise_ramp(seed: int, strength: float) -> None:
    values = rows(seed)
    distance = values[:, :, None] - values[:, None, :]
    expected = 0.5 + (0.5 + distance / (2 * strength)).clamp(0, 1).sum(dim=2)
    torch.testing.assert_close(window_soft_rank(values, strength), expected)


@given(seed=seeds)
def test_pooling_is_isotonic_regression(seed: int) -> None:
    values = rows(seed, samples=3, classes=40).cumsum(dim=1) * (1 if seed % 2 else -1)
    block, mean = pooled_blocks(values)
    for row, numbers, means in zip(values.numpy(), block, mean, strict=True):
        np.testing.assert_allclose(means[numbers].numpy(), isotonic_regression(row, increasing=False), atol=1e-9)


def test_a_projection_that_pools_everything_is_linear() -> None:
    values = rows(5)
    expected = 4 + (values - values.mean(dim=1, keepdim=True)) / 100
    torch.testing.assert_close(permutahedron_soft_rank(values, 100.0), expected)


@both
def test_float32_stays_close_with_many_classes(soft_rank: SoftRank) -> None:
    values = rows(6, samples=2, classes=500)
    exact = soft_rank(values, 1 / 500)
    torch.testing.assert_close(soft_rank(values.float(), 1 / 500).double(), exact, atol=0.05, rtol=0)


@both
def test_ties_share_a_rank(soft_rank: SoftRank) -> None:
    actual = soft_rank(torch.tensor([[1.0, 2.0, 2.0, 4.0], [3.0, 3.0, 3.0, 3.0]]), 0.01)
    torch.testing.assert_close(actual, torch.tensor([[1.0, 2.5, 2.5, 4.0], [2.5, 2.5, 2.5, 2.5]]))


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_ranked_in_float32(soft_rank: SoftRank, dtype: torch.dtype) -> None:
    values = rows(7, classes=60).to(dtype)
    actual = soft_rank(values, 1 / 60)
    assert actual.dtype == torch.float32
    assert torch.equal(actual, soft_rank(values.float(), 1 / 60))
