"""Relational distillation: triangles by hand, chunks of the angles, what it does not depend on."""

import pytest
import torch
from torch import Tensor

from preceptor import InputError
from preceptor.feature_losses.relational import Relational, angle_loss, distance_loss, relative_distances

WEIGHT = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.0, 1.0, 1.0], dtype=torch.float64)


def vectors(seed: int, dimensions: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(7, dimensions, dtype=torch.float64, generator=generator)


def test_the_distances_of_a_triangle_by_hand() -> None:
    triangle = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    expected = torch.tensor([[0.0, 3.0, 4.0], [3.0, 0.0, 5.0], [4.0, 5.0, 0.0]], dtype=torch.float64) / 4
    torch.testing.assert_close(relative_distances(triangle, torch.ones(3, dtype=torch.float64)), expected)


def test_a_right_angle_that_becomes_straight_by_hand() -> None:
    """Cosines of 0 at the middle point become -1: twice (i, k and k, i) a Huber loss of 1/2; the others change too."""
    bent = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    straight = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    at_the_ends = 4 * 0.5 * (1 - 0.5**0.5) ** 2
    expected = torch.tensor((2 * 0.5 + at_the_ends) / 27, dtype=torch.float64)
    torch.testing.assert_close(angle_loss(straight, bent, torch.ones(3, dtype=torch.float64)), expected)


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_angles_in_chunks_are_the_same_with_the_same_gradient(chunk: int) -> None:
    whole, parts = vectors(0).requires_grad_(), vectors(0).requires_grad_()
    expected, actual = angle_loss(whole, vectors(1), WEIGHT), angle_loss(parts, vectors(1), WEIGHT, chunk)
    expected.backward()
    actual.backward()
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(parts.grad, whole.grad)


def test_angles_in_chunks_compile_into_one_graph() -> None:
    compiled = torch.compile(angle_loss, fullgraph=True, backend="eager")
    one, other = vectors(0).requires_grad_(), vectors(0).requires_grad_()
    loss, expected = compiled(one, vectors(1), WEIGHT, 3), angle_loss(other, vectors(1), WEIGHT)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(one.grad, other.grad)


def test_scale_place_and_turns_of_the_features_do_not_matter() -> None:
    student, teacher = vectors(0), vectors(1, dimensions=6)
    turn, _ = torch.linalg.qr(vectors(2)[:4])
    moved = 3 * student @ turn + 5
    for loss in (distance_loss, angle_loss):
        torch.testing.assert_close(loss(moved, teacher, WEIGHT), loss(student, teacher, WEIGHT))


def test_the_weights_of_distances_and_angles() -> None:
    student, teacher = vectors(0), vectors(1)
    distance, angle = distance_loss(student, teacher, WEIGHT), angle_loss(student, teacher, WEIGHT)

    def total(**weights: float) -> Tensor:
        return Relational(**weights, layers={"a": "a"})([student], [teacher], WEIGHT)

    torch.testing.assert_close(total(), 25 * distance + 50 * angle)
    torch.testing.assert_close(total(angle=0.0), 25 * distance)
    torch.testing.assert_close(total(distance=0.0, angle=2.0), 2 * angle)


@pytest.mark.parametrize("weights", [{"distance": -1.0}, {"angle": float("nan")}, {"distance": 0.0, "angle": 0.0}])
def test_weights_that_make_no_sense_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InputError, match="relational: distance = "):
        Relational(**weights)
