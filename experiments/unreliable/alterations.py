"""What makes supervision unreliable: wrong labels, long tails, distorted teacher outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.data import swap_pairs, uniform_noise


@dataclass(frozen=True)
class LabelNoise:
    """Wrong labels.

    Attributes:
        kind: "uniform" (any other class), "pairs" (the class that looks most alike) or "human" (real annotators).
        rate: share of the labels that are wrong, of each class for "pairs"; human labels have their own.
    """

    kind: Literal["uniform", "pairs", "human"]
    rate: float = 0.0


def noisy_labels(
    labels: Int[Tensor, " n"],
    noise: LabelNoise | None,
    *,
    human: Int[Tensor, " n"] | None,
    pairs: Sequence[tuple[int, int]],
    classes: int,
    seed: int,
) -> Int[Tensor, " n"]:
    """Labels of which some are wrong; the same seed makes the same wrong.

    Raises:
        ValueError: human labels, and there are none.
    """
    if noise is None:
        return labels
    if noise.kind == "human":
        if human is None:
            raise ValueError("labels of human annotators: this source has none")
        return human
    if noise.kind == "pairs":
        return swap_pairs(labels, pairs, noise.rate, seed)
    return uniform_noise(labels, classes, noise.rate, seed)


def long_tail(labels: Int[Tensor, " n"], imbalance: float, seed: int) -> Int[Tensor, " some"]:
    """Indices of a long-tailed subset: class k keeps the share ``imbalance^(-k / (classes - 1))`` of its images.

    The profile of Cui et al., "Class-Balanced Loss", 2019, arXiv:1901.05555; ``imbalance`` is how many times larger
    the first class is than the last.
    """
    random, classes = np.random.default_rng(seed), int(labels.max()) + 1
    chosen = []
    for label in range(classes):
        members = random.permutation(np.flatnonzero(labels.numpy() == label))
        chosen.append(members[: max(1, round(len(members) * imbalance ** (-label / (classes - 1))))])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def swapped_columns(
    outputs: Float[Tensor, "n classes"], pairs: Sequence[tuple[int, int]]
) -> Float[Tensor, "n classes"]:
    """The outputs of a teacher that takes the classes of each pair for each other."""
    order = list(range(outputs.shape[1]))
    for first, second in pairs:
        order[first], order[second] = second, first
    return outputs[:, order]
