"""The bets of a gambler who knows the odds, against numerical optimization and against training on the loss."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from preceptor import InputError
from preceptor.abstention import optimal_bets, reservation, soft_gambler_loss

seeds = st.integers(0, 10_000)


def outcomes(seed: int, rows: int = 6, classes: int = 5, spread: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(rows, classes, generator=generator, dtype=torch.float64)).softmax(dim=1)


def expected_loss(bets: Tensor, reserved: Tensor, probs: Tensor, payoff: float) -> Tensor:
    return -(probs * (bets + reserved.unsqueeze(1) / payoff).log()).sum(dim=1)


def numerical_optimum(probs: np.ndarray, payoff: float) -> np.ndarray:
    def loss(stake: np.ndarray) -> float:
        return float(-probs @ np.log(stake[:-1] + stake[-1] / payoff))

    def slope(stake: np.ndarray) -> np.ndarray:
        share = -probs / (stake[:-1] + stake[-1] / payoff)
        return np.append(share, share.sum() / payoff)

    start = np.full(len(probs) + 1, 1 / (len(probs) + 1))
    whole = {"type": "eq", "fun": lambda stake: stake.sum() - 1}
    bounds = [(1e-6, 1)] * len(start)  # inside of zero, where the logarithm ends
    options = {"maxiter": 500, "ftol": 1e-13}
    actual = minimize(loss, start, jac=slope, method="SLSQP", bounds=bounds, constraints=whole, options=options)
    assert actual.success, actual.message
    stake: np.ndarray = actual.x
    return stake


@pytest.mark.parametrize("payoff", [1.2, 1.7, 2.2, 3.3, 4.7, 6.0])
def test_it_is_the_numerical_optimum(payoff: float) -> None:
    probs = outcomes(0, spread=1.0)
    bets, reserved = optimal_bets(probs, payoff)
    for row in range(len(probs)):
        stake = numerical_optimum(probs[row].numpy(), payoff)
        np.testing.assert_allclose(torch.cat([bets[row], reserved[row : row + 1]]).numpy(), stake, atol=2e-4)


def test_training_on_the_loss_ends_there() -> None:
    teacher = torch.tensor([[6.0, 2.0] + 8 * [0.0]], dtype=torch.float64)
    probs = torch.cat([(teacher / temperature).softmax(dim=1) for temperature in (1, 2, 4)] + [outcomes(1, 5, 10)])
    logits = torch.zeros(len(probs), 11, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(1500):
        optimizer.zero_grad()
        soft_gambler_loss(logits, probs.log(), 1.0, 2.2).sum().backward()
        optimizer.step()
    bets, reserved = optimal_bets(probs, 2.2)
    torch.testing.assert_close(logits.detach().softmax(dim=1)[:, :-1], bets, atol=2e-3, rtol=0)
    torch.testing.assert_close(reservation(logits.detach()), reserved, atol=2e-3, rtol=0)
    assert reserved[:3].tolist() == pytest.approx([0.067, 0.638, 1.0], abs=1e-3)  # the collapse of softened targets


@given(seeds, st.floats(0.2, 12), st.floats(0.1, 8))
def test_no_other_stake_is_better(seed: int, payoff: float, spread: float) -> None:
    probs = outcomes(seed, spread=spread)
    best = expected_loss(*optimal_bets(probs, payoff), probs, payoff)
    other = outcomes(seed + 1, rows=6, classes=6, spread=spread)
    assert (expected_loss(other[:, :-1], other[:, -1], probs, payoff) >= best - 1e-12).all()
    assert (expected_loss(probs, torch.zeros(6, dtype=torch.float64), probs, payoff) >= best - 1e-12).all()


@given(seeds, st.floats(0.2, 12), st.floats(0.1, 8))
def test_bets_and_reservation_are_one_stake(seed: int, payoff: float, spread: float) -> None:
    bets, reserved = optimal_bets(outcomes(seed, spread=spread), payoff)
    assert (bets >= 0).all()
    assert ((reserved >= 0) & (reserved <= 1)).all()
    torch.testing.assert_close(bets.sum(dim=1) + reserved, torch.ones(6, dtype=torch.float64))


@given(seeds, st.floats(1.01, 4.99), st.floats(0.1, 8))
def test_everything_is_kept_back_where_no_class_reaches_one_over_the_payoff(
    seed: int, payoff: float, spread: float
) -> None:
    probs = outcomes(seed, spread=spread)
    _, reserved = optimal_bets(probs, payoff)
    assert torch.equal(reserved == 1, probs.amax(dim=1) <= 1 / payoff)
    assert (reserved > 0).all()


@given(seeds, st.floats(5.001, 100))
def test_a_payoff_above_the_number_of_classes_keeps_nothing_back(seed: int, payoff: float) -> None:
    probs = outcomes(seed)
    bets, reserved = optimal_bets(probs, payoff)
    assert (reserved == 0).all()
    assert torch.equal(bets, probs)


@given(seeds, st.floats(0.1, 1))
def test_a_payoff_of_at_most_one_keeps_everything_back(seed: int, payoff: float) -> None:
    bets, reserved = optimal_bets(outcomes(seed), payoff)
    assert (reserved == 1).all()
    assert (bets == 0).all()


def test_a_certain_outcome_is_worth_the_whole_stake() -> None:
    bets, reserved = optimal_bets(torch.eye(3), 2.2)
    assert torch.equal(bets, torch.eye(3))
    assert (reserved == 0).all()


@pytest.mark.parametrize("payoff", [2.0, 3.0, 5.0])
def test_a_whole_number_divides_by_no_zero(payoff: float) -> None:
    probs = outcomes(2, spread=1.0)
    bets, reserved = optimal_bets(probs, payoff)
    for actual, near in zip((bets, reserved), optimal_bets(probs, payoff - 1e-9), strict=True):
        torch.testing.assert_close(actual, near, atol=1e-6, rtol=0)


def test_many_classes_in_single_precision() -> None:
    probs = outcomes(3, rows=4, classes=1000, spread=4.0)
    for actual, exact in zip(optimal_bets(probs.float(), 900.5), optimal_bets(probs, 900.5), strict=True):
        torch.testing.assert_close(actual.double(), exact, atol=1e-5, rtol=0)


def test_a_payoff_below_zero_is_refused() -> None:
    with pytest.raises(InputError, match="payoff = -1: expected a number above 0"):
        optimal_bets(torch.eye(3), -1)
