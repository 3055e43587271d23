"""SimKD's loss against a NumPy derivation."""

import numpy as np
import pytest
import torch

from preceptor import InputError
from preceptor.feature_losses import SimKD
from preceptor.feature_losses.simkd import maps_error


def maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def halved(features: np.ndarray) -> np.ndarray:
    n, c, h, w = features.shape
    return features.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))


@pytest.mark.parametrize(("own", "other"), [(4, 4), (8, 4), (4, 8)])
def test_value_and_gradient_are_those_of_the_equation(own: int, other: int) -> None:
    student, teacher = maps(3, 5, own, own).requires_grad_(), maps(3, 5, other, other, seed=1)
    loss = SimKD({"a": "b"})([student], [teacher])
    loss.sum().backward()
    s, t = student.detach().numpy(), teacher.numpy()
    s, t = halved(s) if own > other else s, halved(t) if other > own else t
    expected = np.array([((s[i] - t[i]) ** 2).sum() / s[i].size for i in range(3)])
    np.testing.assert_allclose(loss.detach(), expected, rtol=1e-12)
    gradient = 2 * (s - t) / s[0].size
    if own > other:  # each pixel is a quarter of the pooled one
        gradient = gradient.repeat(2, axis=2).repeat(2, axis=3) / 4
    np.testing.assert_allclose(student.grad, gradient, rtol=1e-9, atol=1e-15)


def test_layers_are_summed_and_equal_maps_cost_nothing() -> None:
    first, second = maps(2, 3, 4, 4), maps(2, 6, 2, 2, seed=1)
    loss = SimKD({"a": "a", "b": "b"})
    torch.testing.assert_close(
        loss([first, second], [2 * first, -second]),
        maps_error(first, 2 * first) + maps_error(second, -second),
    )
    student = first.clone().requires_grad_()
    equal = SimKD({"a": "a"})([student], [first])
    equal.sum().backward()
    assert not equal.any()
    assert student.grad is not None
    assert not student.grad.any()


@pytest.mark.parametrize("value", [0.0, 1e4])
def test_constant_and_large_maps_have_finite_loss_and_gradient(value: float) -> None:
    student = torch.full((2, 3, 4, 4), value, requires_grad=True)
    maps_error(student, torch.full((2, 3, 4, 4), -value)).sum().backward()
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())


def test_maps_of_other_channels_are_refused() -> None:
    shapes = [torch.Size((2, 64, 8, 8))], [torch.Size((2, 256, 8, 8))]
    with pytest.raises(InputError, match=r"'stage3' has 64 channels, the teacher's 'last' 256: .* simkd256-resnet8x4"):
        SimKD({"stage3": "last"}).build_adapters(*shapes)
    with pytest.raises(InputError, match="expected maps"):
        SimKD({"head": "head"}).build_adapters([torch.Size((2, 10))], [torch.Size((2, 10))])
