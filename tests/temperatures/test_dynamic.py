from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor import CWSM, FLSW, KL, BatchContext, DistillationLoss, Fixed, InputError, ProbabilityShift
from preceptor.context import predicted_class
from preceptor.temperatures import cwsm_weight, dynamic_temperature, flsw_weight

weights_of_a_batch = st.lists(st.floats(0, 100), min_size=1, max_size=9).map(
    lambda w: torch.tensor(w, dtype=torch.float64)
)
SEED = st.integers(0, 1000)


def logits(seed: int, samples: int = 6, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, samples, classes, generator=generator, dtype=torch.float64) * 3
    return first, second


def context(student: Tensor, teacher: Tensor) -> BatchContext:
    return BatchContext(student, teacher, torch.zeros(len(student), dtype=torch.long), predicted_class(teacher))


@given(weights_of_a_batch, st.floats(0, 3), st.sampled_from(["none", "sum"]))
def test_the_batch_mean_is_the_base_temperature_before_the_clamp(weight: Tensor, beta: float, normalize: Any) -> None:
    weight = weight + 1e-3  # a batch of nothing but zeros has no sum to be normalized by
    actual = dynamic_temperature(weight, 4.0, beta, normalize, minimum=-1e9)
    torch.testing.assert_close(actual.mean(), torch.tensor(4.0, dtype=torch.float64))


@given(weights_of_a_batch, st.floats(0.01, 3))
def test_a_more_confusing_sample_never_gets_a_higher_temperature(weight: Tensor, beta: float) -> None:
    actual = dynamic_temperature(weight, 4.0, beta)
    by_weight = actual[weight.argsort(stable=True)]
    assert (by_weight.diff() <= 1e-12).all()
    assert (actual >= 1).all()


@given(weights_of_a_batch, st.floats(0, 5))
def test_normalized_weights_bound_the_temperature(weight: Tensor, beta: float) -> None:
    weight = weight + 1e-3
    actual, count = dynamic_temperature(weight, 50.0, beta, "sum"), len(weight)
    assert (actual >= 50 - beta * (1 - 1 / count) - 1e-9).all()
    assert (actual <= 50 + beta / count + 1e-9).all()


@pytest.mark.parametrize("component", [FLSW, CWSM])
@pytest.mark.parametrize("normalize", ["none", "sum"])
def test_one_sample_alone_has_the_base_temperature(component: Any, normalize: str) -> None:
    assert component(temperature=7.0, beta=3.0, normalize=normalize)(context(*logits(0, samples=1))).tolist() == [7.0]


@pytest.mark.parametrize("component", [FLSW, CWSM])
def test_beta_zero_is_a_fixed_temperature_exactly(component: Any) -> None:
    student, teacher = logits(1)
    label = torch.tensor([0, 1, 2, 3, 4, 0])
    totals = [
        DistillationLoss(correction=ProbabilityShift(), temperature=temperature, loss=KL())(
            student, teacher, label
        ).total
        for temperature in (component(temperature=3.0, beta=0.0), Fixed(3.0))
    ]
    assert torch.equal(*totals)


@given(SEED, st.floats(0.1, 50), st.floats(0.1, 50))
def test_flsw_is_blind_to_positive_factors_but_not_to_constants(seed: int, first: float, second: float) -> None:
    student, teacher = logits(seed)
    weight = flsw_weight(student, teacher, 1.0, eps=0)
    torch.testing.assert_close(flsw_weight(student * first, teacher * second, 1.0, eps=0), weight)
    assert not torch.allclose(flsw_weight(student + 10, teacher + 10, 1.0, eps=0), weight)
    assert ((weight >= 0) & (weight <= 2)).all()


@given(SEED, st.floats(-50, 50))
def test_cwsm_is_blind_to_a_constant(seed: int, constant: float) -> None:
    student, _ = logits(seed)
    torch.testing.assert_close(cwsm_weight(student + constant), cwsm_weight(student))
    assert ((cwsm_weight(student, eps=0) >= 1) & (cwsm_weight(student, eps=0) <= 5)).all()


@pytest.mark.parametrize("component", [FLSW(), CWSM()])
def test_an_abstaining_heads_extra_output_does_not_count(component: Any) -> None:
    student, teacher = logits(2)
    wider = torch.cat([student, torch.full((len(student), 1), 9.0, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(component(context(wider, teacher)), component(context(student, teacher)))


def test_the_audit_says_which_temperatures_were_clamped() -> None:
    student = torch.zeros(4, 20)
    student[:3, 0] = 9.0  # three sure samples and one that is not: raw weights of 1 and 20
    audit = DistillationLoss(temperature=CWSM(), loss=KL())(
        student, torch.randn(4, 20), torch.zeros(4, dtype=torch.long)
    ).audit
    assert audit is not None
    assert audit.clamped.tolist() == [False, False, False, True]
    fixed = DistillationLoss(temperature=Fixed(1.0), loss=KL())(
        student, torch.randn(4, 20), torch.zeros(4, dtype=torch.long)
    ).audit
    assert fixed is not None
    assert not fixed.clamped.any()


@pytest.mark.parametrize("minimum", [1.0, 1.1, 1.9999999])  # 1.1 is another number in float32
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_temperature_that_equals_the_minimum_unclamped_is_not_clamped(minimum: float, dtype: torch.dtype) -> None:
    """One raised to the minimum equals it; one that is the minimum by itself is told apart by a rounding step."""
    temperature = dynamic_temperature(torch.ones(3, dtype=dtype), minimum, 1.0, minimum=minimum)
    raised = dynamic_temperature(torch.tensor([0.0, 1.0], dtype=dtype), minimum, 1.0, minimum=minimum)
    assert (temperature > minimum).all()
    torch.testing.assert_close(temperature, torch.full((3,), minimum, dtype=dtype))
    assert (raised <= minimum).tolist() == [False, True]


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0.5}, {"minimum": 0.0}, {"minimum": 5.0}, {"beta": -1.0}, {"beta": float("inf")}, {"eps": -1.0}],
)
@pytest.mark.parametrize("component", [FLSW, CWSM])
def test_settings_that_cannot_give_a_temperature_are_refused(component: Any, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        component(**wrong)


def test_a_power_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match="expected gamma above 0"):
        FLSW(gamma=0.0)
