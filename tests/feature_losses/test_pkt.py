"""Probabilistic knowledge transfer by hand, and its mean over pairs."""

import torch

from preceptor.feature_losses.pkt import neighbor_probabilities, pkt_loss

ONES = torch.ones(3, dtype=torch.float64)


def test_the_neighbors_of_three_directions_by_hand() -> None:
    """Cosines of 1, 0 and -1 are kernels of 1, 1/2 and 0."""
    rows = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[2, 1, 0], [1, 2, 1], [0, 1, 2]], dtype=torch.float64)
    expected = expected / expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(neighbor_probabilities(rows, ONES), expected)


def test_it_is_the_mean_of_divergences_over_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(3, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    own, other = (neighbor_probabilities(one, ONES) for one in (student, teacher))
    divergence = (other * (other / own).log()).sum(dim=1)
    torch.testing.assert_close(pkt_loss(student, teacher, ONES), divergence.mean() / 3, rtol=1e-5, atol=0)
    assert bool((divergence > 0).all())
