"""Independent derivations of the feature losses, in NumPy float64, pair by pair from the equations.

A statistic of the batch gets the weights of its samples; conformance calls it with ones.
"""

from collections.abc import Callable
from types import SimpleNamespace
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


def drawn_linear(inputs: int, outputs: int) -> tuple[Array, Array]:
    layer = torch.nn.Linear(inputs, outputs)
    return layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()


def unit(rows: Array) -> Array:
    return np.array([row / np.linalg.norm(row) for row in rows])


def contrastive(
    student: Features,
    teacher: Features,
    context: SimpleNamespace,
    weight: Array,
    temperature: float = 0.07,
    samples: int = 256,
) -> float:
    """The first call, with the embeddings and memories that the component draws: all it has met is the batch."""
    features = [pooled(student[0]), pooled(teacher[0])]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        maps = [drawn_linear(one.shape[1], 128) for one in features]
    generator = torch.Generator().manual_seed(0)
    memories = [(2 * torch.rand(samples, 128, generator=generator) - 1) * (3 / 128) ** 0.5 for _ in range(2)]
    embedded = [unit(one @ matrix.T + bias) for one, (matrix, bias) in zip(features, maps, strict=True)]
    label = np.where(context.label >= 0, context.label, context.teacher_class)
    losses = np.zeros(len(label))
    for own, memory in zip(embedded, reversed(memories), strict=True):
        exponentials = np.exp(own @ memory.double().numpy().T / temperature)
        score = exponentials / (exponentials.mean() * len(label))
        for i, (y, at) in enumerate(zip(label, context.index, strict=True)):
            negatives = [other for other, c in zip(context.index, label, strict=True) if c != y]
            noise = len(negatives) / len(label)
            losses[i] -= np.log(score[i, at] / (score[i, at] + noise + 1e-7))
            losses[i] -= sum(np.log(noise / (score[i, j] + noise + 1e-7)) for j in negatives)
    return float(losses @ weight / weight.sum())


FEATURE_LOSSES: dict[str, Callable[..., Any]] = {
    "attention": attention,
    "contrastive": contrastive,
    "hint": hint,
    "pkt": pkt,
    "relational": relational,
    "similarity": similarity,
}
