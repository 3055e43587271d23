"""Knowledge review: the hierarchical error by hand, sizes and channels that differ, degenerate maps."""

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import InputError
from preceptor.feature_losses.review import Review, hierarchical_error


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(student: list[Tensor], teacher: list[Tensor]) -> Review:
    torch.manual_seed(0)
    review = Review({str(number): str(number) for number in range(len(student))})
    review.build_adapters([one.shape for one in student], [one.shape for one in teacher])
    return review


@pytest.mark.parametrize(("side", "levels"), [(8, [4, 2, 1]), (4, [2, 1]), (2, [1]), (1, [])])
def test_the_hierarchical_error_is_the_reference(side: int, levels: list[int]) -> None:
    student, teacher = maps(3, 5, side, side), maps(3, 5, side, side, seed=1)
    error = (student - teacher).double().numpy()
    total, weights, weight = (error**2).mean(axis=(1, 2, 3)), 1.0, 1.0
    for level in levels:
        weight /= 2
        pooled = error.reshape(3, 5, level, side // level, level, side // level).mean(axis=(3, 5))
        total, weights = total + weight * (pooled**2).mean(axis=(1, 2, 3)), weights + weight
    np.testing.assert_allclose(hierarchical_error(student, teacher), total / weights, rtol=1e-5)


def test_equal_maps_have_no_error_and_no_gradient() -> None:
    own = maps(2, 3, 8, 8).requires_grad_()
    error = hierarchical_error(own, maps(2, 3, 8, 8)).sum()
    error.backward()
    assert float(error.detach()) == 0
    assert torch.equal(own.grad, torch.zeros_like(own))


def test_sizes_and_channels_of_the_networks_may_differ() -> None:
    student = [maps(3, 2, 12, 10), maps(3, 4, 6, 5), maps(3, 6, 3, 3)]
    teacher = [maps(3, 7, 8, 8), maps(3, 9, 8, 4), maps(3, 11, 2, 2)]
    review = built(student, teacher)
    assert [fusion.leave[0].out_channels for fusion in review.fusions] == [11, 11, 9, 7]
    assert [fusion.attention is None for fusion in review.fusions] == [True, False, False, False]
    own = [one.requires_grad_() for one in student]
    loss = review(own, teacher)
    loss.sum().backward()
    assert loss.shape == (3,)
    assert all(float(one.grad.abs().max()) > 0 for one in own)


def test_deeper_stages_reach_shallower_ones() -> None:
    """Each stage's loss depends on the deeper maps alone: shut off the deepest and only it goes without."""
    student, teacher = [maps(3, 2, 4, 4), maps(3, 2, 2, 2)], [maps(3, 2, 4, 4), maps(3, 2, 2, 2)]
    review, deepest = built(student, teacher), student[1].requires_grad_()
    _, fused = review.fusions[0](deepest.mean(dim=(2, 3), keepdim=True), None, torch.Size((1, 1)))
    mapped, fused = review.fusions[1](torch.zeros(3, 2, 2, 2), fused, torch.Size((2, 2)))
    mapped.square().sum().backward()
    assert float(deepest.grad.abs().max()) > 0


@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_constant_and_large_maps_are_finite(value: float) -> None:
    student = [torch.full((2, 3, 4, 4), value, requires_grad=True)]
    teacher = [torch.full((2, 5, 4, 4), value)]
    loss = built(student, teacher)(student, teacher).sum()
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(student[0].grad.isfinite().all())


def test_the_teachers_maps_are_those_before_the_activation() -> None:
    """The value against NumPy: the fused maps as the loss makes them, the teacher's pooled map after its ReLU."""
    review = Review()
    review.resolve_layers(["s1", "s2"], ["t1", "t2"])
    assert review.layers == {"s1": "t1:pre", "s2": "t2:pre"}
    review.resolve_layers([], ["t1:pre", "t2:pre"])
    assert review.layers == {"s1": "t1:pre", "s2": "t2:pre"}
    student, teacher = ([maps(3, 2, 4, 4, seed=seed), maps(3, 2, 2, 2, seed=seed + 1)] for seed in (0, 7))
    review.build_adapters([one.shape for one in student], [one.shape for one in teacher])
    own, deeper, expected = [student[-1].mean(dim=(2, 3), keepdim=True), *reversed(student)], None, np.zeros(3)
    pooled = np.maximum(teacher[-1].numpy(), 0).mean(axis=(2, 3), keepdims=True)
    for fusion, one, other in zip(review.fusions, own, [pooled, *(t.numpy() for t in reversed(teacher))], strict=True):
        mapped, deeper = fusion(one, deeper, torch.Size(other.shape[2:]))
        expected += hierarchical_error(mapped, torch.from_numpy(other)).detach().numpy()
    np.testing.assert_allclose(review(student, teacher).detach(), expected, rtol=1e-5)
    plain = Review({"s1": "t1", "s2": "t2"}, activated=True)
    plain.fusions = review.fusions
    assert not torch.allclose(plain(student, teacher), review(student, teacher))


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(InputError, match=r"review: layer '0' gives \(3, 2\), the teacher's \(3, 2\); expected maps"):
        built([maps(3, 2)], [maps(3, 2)])
    with pytest.raises(InputError, match="review: its fusions are not built"):
        Review({"a": "a"})([maps(2, 3, 4, 4)], [maps(2, 3, 4, 4)])
