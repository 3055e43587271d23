"""Made-up answers of classifiers, and plain NumPy for what is computed from them."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


def answered(n: int = 200, classes: int = 6, seed: int = 0, signal: float = 2.0) -> tuple[Tensor, Tensor]:
    """Class logits in float64 that are right more often than not, and the labels; every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (n - classes,), generator=generator)])
    logits = torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return logits + signal * torch.nn.functional.one_hot(labels, classes), labels


def honest(n: int, classes: int, seed: int, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Class logits in float64 and labels drawn from their softmax: calibrated at temperature 1."""
    generator = np.random.default_rng(seed)
    logits = scale * generator.normal(size=(n, classes))
    labels = (softmax(logits).cumsum(axis=1) > generator.random((n, 1))).argmax(axis=1)
    return torch.tensor(logits), torch.tensor(labels)


def softmax(logits: np.ndarray | Tensor) -> np.ndarray:
    logits = np.asarray(logits, dtype=np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def ranked_pair(n: int = 200, levels: int | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Confidences on [0, 1], tied where there are levels, and errors that are rarer where they are high."""
    generator = torch.Generator().manual_seed(seed)
    confidence = torch.rand(n, generator=generator, dtype=torch.float64)
    wrong = torch.rand(n, generator=generator, dtype=torch.float64) > confidence
    return (confidence * levels).floor() / levels if levels else confidence, wrong


def error_of(confidence: np.ndarray, right: np.ndarray, groups: Iterable[np.ndarray]) -> float:
    """The calibration error by its definition, of groups of positions."""
    return sum(
        len(group) / len(right) * abs(right[group].mean() - confidence[group].mean()) for group in groups if len(group)
    )


def equal_width_groups(confidence: np.ndarray, bins: int) -> list[np.ndarray]:
    edges = np.arange(bins + 1) / bins
    inside = [(confidence > low) & (confidence <= high) for low, high in pairwise(edges)]
    inside[0] |= confidence == 0
    return [np.flatnonzero(each) for each in inside]


def classwise_error(probabilities: np.ndarray, labels: Tensor) -> float:
    """The mean over classes of the calibration error of that class's probability, in 15 bins of equal width."""
    truth = labels.numpy()
    errors = [
        error_of(column, truth == number, equal_width_groups(column, 15))
        for number, column in enumerate(probabilities.T)
    ]
    return float(np.mean(errors))
