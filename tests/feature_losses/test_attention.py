"""Attention transfer against a NumPy derivation."""

import numpy as np
import pytest
import torch

from preceptor import Attention, InputError
from preceptor.feature_losses.attention import attention_distance, attention_map


def reference_map(features: np.ndarray) -> np.ndarray:
    energy = (features.astype(np.float64) ** 2).mean(axis=1).reshape(len(features), -1)
    return energy / np.linalg.norm(energy, axis=1, keepdims=True)


def pooled(features: np.ndarray, factor: int) -> np.ndarray:
    n, c, h, w = features.shape
    return features.reshape(n, c, h // factor, factor, w // factor, factor).mean(axis=(3, 5))


def maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_map_has_length_one_and_is_the_reference() -> None:
    features = maps(3, 5, 4, 6)
    np.testing.assert_allclose(attention_map(features), reference_map(features.numpy()), rtol=1e-5)
    torch.testing.assert_close(attention_map(features).norm(dim=1), torch.ones(3))


def test_the_loss_is_the_reference_summed_over_layers() -> None:
    student = [maps(4, 2, 8, 8), maps(4, 3, 4, 4, seed=1)]
    teacher = [maps(4, 7, 8, 8, seed=2), maps(4, 5, 4, 4, seed=3)]
    expected = sum(
        ((reference_map(one.numpy()) - reference_map(other.numpy())) ** 2).mean(axis=1)
        for one, other in zip(student, teacher, strict=True)
    )
    np.testing.assert_allclose(Attention({"a": "a", "b": "b"})(student, teacher), expected, rtol=1e-4)


def test_the_larger_map_is_pooled() -> None:
    student, teacher = maps(2, 3, 4, 4), maps(2, 3, 8, 8, seed=1)
    small = pooled(teacher.numpy(), 2)
    expected = ((reference_map(student.numpy()) - reference_map(small)) ** 2).mean(axis=1)
    np.testing.assert_allclose(attention_distance(student, teacher), expected, rtol=1e-4)
    torch.testing.assert_close(attention_distance(student, teacher), attention_distance(teacher, student))


def test_scale_and_channels_of_a_network_do_not_matter() -> None:
    features = maps(2, 3, 4, 4)
    assert float(attention_distance(features, 7 * torch.cat([features, features], dim=1)).max()) < 1e-12


@pytest.mark.parametrize("value", [0.0, 1e4])
def test_constant_and_large_features_have_finite_loss_and_gradient(value: float) -> None:
    student = torch.full((2, 3, 4, 4), value, requires_grad=True)
    loss = attention_distance(student, maps(2, 3, 4, 4)).sum()
    loss.backward()
    assert student.grad is not None
    assert bool(loss.isfinite())
    assert bool(student.grad.isfinite().all())


def test_pairs_are_stages_counted_from_the_last() -> None:
    loss = Attention()
    loss.resolve_layers(["s1", "s2", "s3"], ["t1", "t2", "t3", "t4"])
    assert loss.layers == {"s1": "t2", "s2": "t3", "s3": "t4"}


def test_vectors_are_refused() -> None:
    with pytest.raises(InputError, match=r"layer 'head' gives \(2, 10\)"):
        Attention({"head": "head"}).build_adapters([torch.Size((2, 10))], [torch.Size((2, 10))])
