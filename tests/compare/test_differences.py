"""Corrected differences: against the formula in NumPy, against simulated tables, and what must not matter."""

import numpy as np
import pytest
import torch
from scipy.stats import t

from preceptor.compare.differences import corrected_differences
from preceptor.errors import InputError


def drawn(seed: int, seeds: int = 4, samples: int = 60, recipes: int = 3) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(seed)
    return {f"r{n}": torch.from_numpy(generator.random((seeds, samples)) < 0.4 + 0.1 * n) for n in range(recipes)}


def test_it_is_the_stated_formula():
    right = drawn(0)
    base = right["r0"].numpy().astype(float)
    gains = {name: one.numpy().astype(float) - base for name, one in right.items() if name != "r0"}
    n, samples = base.shape
    variances = {name: gain.mean(1).var(ddof=1) for name, gain in gains.items()}
    usual = np.mean(list(variances.values()))
    for name, difference in corrected_differences(right, "r0").items():
        s2, v = max(variances[name], usual) / n, gains[name].mean(0).var(ddof=1) / samples
        freedom = 2 * (n - 1) / (s2 / (s2 + v)) ** 2
        reach = t.ppf(1 - 0.05 / 4, freedom) * np.sqrt(s2 + v)
        assert difference.mean == pytest.approx(gains[name].mean())
        assert (difference.low, difference.high) == pytest.approx((difference.mean - reach, difference.mean + reach))
        assert (difference.seeds, difference.samples, difference.compared) == (n, samples, 2)


def test_the_order_of_samples_and_recipes_does_not_matter():
    right, order = drawn(1), torch.randperm(60, generator=torch.Generator().manual_seed(0))
    before = corrected_differences(right, "r1")
    after = corrected_differences({name: right[name][:, order] for name in reversed(right)}, "r1")
    for name, difference in before.items():
        assert (difference.low, difference.high) == pytest.approx((after[name].low, after[name].high))


def test_equal_recipes_do_not_differ():
    right = drawn(2)
    difference = corrected_differences({"a": right["r0"], "b": right["r0"]}, "a")["b"]
    assert (difference.mean, difference.low, difference.high) == (0, 0, 0)
    assert not difference.is_clear


def test_more_comparisons_make_wider_intervals():
    right = drawn(3)
    few, many = corrected_differences(right, "r0")["r1"], corrected_differences(right, "r0", comparisons=40)["r1"]
    assert many.low < few.low < few.high < many.high


def test_with_one_seed_the_samples_alone_speak():
    difference = corrected_differences(drawn(4, seeds=1), "r0")["r2"]
    assert difference.of_seeds is None
    reach = t.ppf(1 - 0.05 / 4, np.inf) * difference.of_samples
    assert difference.high - difference.mean == pytest.approx(reach)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("deviations", [(0.8,) * 5, (0.3, 0.5, 0.8, 1.2, 1.8)], ids=["equal", "unequal"])
def test_all_intervals_hold_in_about_95_of_100_tables(seeds, deviations):
    """No recipe differs, but by training: the right answers of a seed are drawn at a rate of its own."""
    generator = np.random.default_rng(5)
    held, tables, samples = 0, 300, 400
    for _ in range(tables):
        base = generator.random((seeds, samples)) < 0.7
        right = {"base": torch.from_numpy(base)}
        for number, deviation in enumerate(deviations):
            shift = generator.normal(0, deviation / 100, (seeds, 1))
            flips = generator.random((seeds, samples)) < np.abs(shift)
            right[str(number)] = torch.from_numpy(np.where(flips, shift > 0, base))
        # Flipping to right moves less where most are right: the true difference is not exactly zero, but near it.
        held += all(one.low <= 0.002 and one.high >= -0.004 for one in corrected_differences(right, "base").values())
    assert held / tables > 0.9


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="expected one of them, and another to compare"):
        corrected_differences(drawn(6), "kd")
    with pytest.raises(InputError, match="and another to compare"):
        corrected_differences({"kd": torch.ones(2, 3, dtype=torch.bool)}, "kd")
