"""Similarity-preserving distillation by hand, and what it does not depend on."""

import torch

from preceptor.feature_losses.similarity import Similarity, similarities, similarity_loss

ONES = torch.ones(3, dtype=torch.float64)


def test_the_similarities_of_three_rows_by_hand() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[0.5**0.5, 0.5**0.5, 0], [0.2**0.5, 0.8**0.5, 0], [0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(similarities(rows, ONES), expected)


def test_the_scale_of_a_network_and_turns_of_its_features_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(3, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    turn, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator))
    torch.testing.assert_close(
        similarity_loss(7 * student @ turn, teacher, ONES), similarity_loss(student, teacher, ONES)
    )


def test_the_last_layers_are_compared() -> None:
    loss = Similarity()
    loss.resolve_layers(["s1", "s2"], ["t1", "t2", "t3"])
    assert loss.layers == {"s2": "t3"}
