"""Independent derivations of the feature losses, in NumPy float64, pair by pair from the equations.

A statistic of the batch gets the weights of its samples; conformance calls it with ones.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]
Features = tuple[Array, ...]


def attention(student: Features, teacher: Features) -> Array:
    def one(features: Array) -> Array:
        energy = (features**2).mean(axis=1).reshape(len(features), -1)
        return energy / np.maximum(np.linalg.norm(energy, axis=1, keepdims=True), 1e-12)

    return sum(((one(s) - one(t)) ** 2).mean(axis=1) for s, t in zip(student, teacher, strict=True))


def hint(student: Features, teacher: Features) -> Array:
    """With the 1x1 convolution that the component draws for maps of equal size, and batch norm by the batch."""
    (own,), (other,) = student, teacher
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = torch.nn.Conv2d(own.shape[1], other.shape[1], 1)
    kernel, bias = (one.detach().double().numpy() for one in (drawn.weight, drawn.bias))
    mapped = np.einsum("oc,nchw->nohw", kernel[:, :, 0, 0], own) + bias[:, None, None]
    mean, variance = (getattr(mapped, name)(axis=(0, 2, 3), keepdims=True) for name in ("mean", "var"))
    mapped = np.maximum((mapped - mean) / np.sqrt(variance + 1e-5), 0)
    return ((mapped - other) ** 2).mean(axis=(1, 2, 3))


def pooled(features: Array) -> Array:
    return features.reshape(*features.shape[:2], -1).mean(axis=2)


def similarity(student: Features, teacher: Features, weight: Array) -> float:
    def one(features: Array) -> Array:
        rows = features.reshape(len(features), -1)
        products = np.array([[np.dot(a, b) for b in rows] for a in rows])
        return np.array([row / np.linalg.norm(row) for row in products])

    kept = weight > 0
    return sum(float(((one(s[kept]) - one(t[kept])) ** 2).mean()) for s, t in zip(student, teacher, strict=True))


def huber(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def cosine(a: Array, b: Array) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.dot(a, b)) / length if length else 0.0


def relational(
    student: Features, teacher: Features, weight: Array, distance: float = 25.0, angle: float = 50.0
) -> float:
    def distances(rows: Array) -> Array:
        own = np.array([[np.linalg.norm(a - b) for b in rows] for a in rows])
        return own / own[own > 0].mean()

    total = 0.0
    for pair in zip(student, teacher, strict=True):
        s, t = (pooled(features[weight > 0]) for features in pair)
        n = len(s)
        own, other = distances(s), distances(t)
        total += distance * sum(huber(own[i, j] - other[i, j]) for i in range(n) for j in range(n)) / n**2
        angles = (
            huber(cosine(s[i] - s[j], s[k] - s[j]) - cosine(t[i] - t[j], t[k] - t[j]))
            for i in range(n)
            for j in range(n)
            for k in range(n)
        )
        total += angle * sum(angles) / n**3
    return total


def pkt(student: Features, teacher: Features, weight: Array) -> float:
    def probabilities(rows: Array) -> Array:
        kernel = np.array([[(1 + cosine(a, b)) / 2 for b in rows] for a in rows])
        return np.array([row / row.sum() for row in kernel])

    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        own, other = (probabilities(pooled(features[weight > 0])) for features in (s, t))
        total += float((other * np.log((other + 1e-7) / (own + 1e-7))).mean())
    return total


FEATURE_LOSSES: dict[str, Callable[..., Any]] = {
    "attention": attention,
    "hint": hint,
    "pkt": pkt,
    "relational": relational,
    "similarity": similarity,
}
