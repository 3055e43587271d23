"""NumPy for the tests of losses: softmax, central differences, random logits. Nothing calls the package."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def gradient_by_differences(loss: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences, entry by entry."""
    gradient = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        gradient[place] = (loss(up) - loss(down)) / (2 * step)
    return gradient


def random_logits(samples: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of a student and a teacher, float64."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(samples, classes, generator=generator, dtype=torch.float64) for _ in range(2))
    return student, teacher
