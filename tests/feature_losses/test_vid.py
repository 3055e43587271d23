"""Variational information distillation against SciPy-free NumPy: likelihoods, their optimum, sizes that differ."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import InputError
from preceptor.feature_losses.vid import VariationalInformation, gaussian_loss


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def built(student: list[Tensor], teacher: list[Tensor]) -> VariationalInformation:
    torch.manual_seed(0)
    vid = VariationalInformation({str(number): str(number) for number in range(len(student))})
    vid.build_adapters([one.shape for one in student], [one.shape for one in teacher])
    return vid


def test_it_is_a_negative_log_likelihood() -> None:
    mean, target, variance = maps(3, 4, 2, 2), maps(3, 4, 2, 2, seed=1), torch.tensor([0.5, 1.0, 2.0, 9.0]).double()
    spread = variance.numpy()[:, None, None]
    density = np.exp(-((target - mean).numpy() ** 2) / (2 * spread)) / np.sqrt(2 * np.pi * spread)
    expected = -np.log(density).mean(axis=(1, 2, 3)) - math.log(2 * math.pi) / 2
    np.testing.assert_allclose(gaussian_loss(mean, variance, target), expected, rtol=1e-9)


def test_the_best_variance_is_the_mean_squared_error() -> None:
    mean, target = maps(3, 1, 2, 2), maps(3, 1, 2, 2, seed=1)
    variance = (target - mean).square().mean().reshape(1).requires_grad_()
    gaussian_loss(mean, variance, target).mean().backward()
    assert float(variance.grad) == pytest.approx(0, abs=1e-12)


def test_variances_start_at_five() -> None:
    vid = built([maps(2, 3, 4, 4)], [maps(2, 5, 4, 4)])
    _, variance = vid.regressors[0](maps(2, 3, 4, 4).float())
    torch.testing.assert_close(variance, torch.full((5,), 5.0))


@pytest.mark.parametrize(("own", "other"), [(8, 4), (4, 8)])
def test_the_larger_map_is_pooled(own: int, other: int) -> None:
    student, teacher = maps(2, 3, own, own), maps(2, 5, other, other, seed=1)
    vid = built([student], [teacher]).double()

    def halved(one: Tensor) -> Tensor:
        return one.reshape(*one.shape[:2], 4, 2, 4, 2).mean(dim=(3, 5)) if one.shape[2] == 8 else one

    expected = gaussian_loss(*vid.regressors[0](halved(student)), halved(teacher))
    torch.testing.assert_close(vid([student], [teacher]), expected)


def test_the_gradient_is_right() -> None:
    student, teacher = maps(2, 2, 2, 2).requires_grad_(), maps(2, 3, 2, 2, seed=1)
    vid = built([student], [teacher]).double()
    torch.autograd.gradcheck(lambda one, *_: vid([one], [teacher]), (student, *vid.parameters()))


@pytest.mark.parametrize("value", [0.0, 1e4])
def test_constant_and_large_maps_are_finite(value: float) -> None:
    student, teacher = torch.full((2, 3, 4, 4), value, requires_grad=True), torch.full((2, 5, 4, 4), -value)
    loss = built([student], [teacher])([student], [teacher]).sum()
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(student.grad.isfinite().all())


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(InputError, match="vid: layer '0' gives"):
        built([maps(3, 2)], [maps(3, 2)])
    with pytest.raises(InputError, match="vid: its regressors are not built"):
        VariationalInformation({"a": "a"})([maps(2, 3, 4, 4)], [maps(2, 3, 4, 4)])
