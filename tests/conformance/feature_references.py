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
        """Of different samples 1e-6 or more."""
        own = np.array([[max(np.linalg.norm(a - b), 1e-6) for b in rows] for a in rows])
        np.fill_diagonal(own, 0)
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
    held: Features | None = None,
) -> float:
    """The first call, with the embeddings and memories that the component draws: all it has met is the batch.

    The mean that scores are divided by carries no gradient.
    """
    features = [pooled(one[0]) for one in (student, teacher, student if held is None else held)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        maps = [drawn_linear(one.shape[1], 128) for one in features[:2]]
    generator = torch.Generator().manual_seed(0)
    memories = [(2 * torch.rand(samples, 128, generator=generator) - 1) * (3 / 128) ** 0.5 for _ in range(2)]
    pairs = zip(features, [*maps, maps[0]], strict=True)
    own, other, constant = (unit(one @ matrix.T + bias) for one, (matrix, bias) in pairs)
    label = np.where(context.label >= 0, context.label, context.teacher_class)
    losses = np.zeros(len(label))
    for embedded, of_mean, memory in ((own, constant, memories[1]), (other, other, memories[0])):
        columns = memory.double().numpy().T / temperature
        score = np.exp(embedded @ columns) / (np.exp(of_mean @ columns).mean() * samples)
        for i, (y, at) in enumerate(zip(label, context.index, strict=True)):
            negatives = [other for other, c in zip(context.index, label, strict=True) if c != y]
            noise = len(negatives) / samples
            losses[i] -= np.log(score[i, at] / (score[i, at] + noise + 1e-7))
            losses[i] -= sum(np.log(noise / (score[i, j] + noise + 1e-7)) for j in negatives)
    return float(losses @ weight / weight.sum())


def itrd(
    student: Features,
    teacher: Features,
    weight: Array,
    embedding: tuple[Array, Array] | None = None,
    correlation: float = 2.0,
    mutual: float = 1.0,
    alpha: float = 1.01,
) -> float:
    """With the embedding that the component draws, unless one is given; a constant dimension has a correlation of 0."""
    ((own,), (other,)) = ([pooled(one[weight > 0]) for one in side] for side in (student, teacher))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        matrix, bias = embedding or drawn_linear(own.shape[1], other.shape[1])
    mapped = own @ matrix.T + bias
    centered = [rows - rows.mean(axis=0) for rows in (mapped, other)]
    spreads = [np.maximum(rows.std(axis=0), 1e-4) for rows in centered]
    c = (centered[0] * centered[1]).mean(axis=0) / (spreads[0] * spreads[1])
    first = np.log2(sum(((one - 1) ** 2) ** alpha for one in c) + 1e-6)
    gram, gram_t = unit(own) @ unit(own).T, unit(other) @ unit(other).T
    gram, gram_t = gram / np.trace(gram), gram_t / np.trace(gram_t)
    joint = gram * gram_t / np.trace(gram * gram_t)
    return float(correlation * first + mutual * ((gram**2).sum() - (joint**2).sum()))


def drawn_convolution(inputs: int, outputs: int, size: int, **options: Any) -> tuple[Array, Array | None]:
    layer = torch.nn.Conv2d(inputs, outputs, size, **options)
    bias = None if layer.bias is None else layer.bias.detach().double().numpy()
    return layer.weight.detach().double().numpy(), bias


def convolved(maps: Array, kernel: Array, bias: Array | None = None) -> Array:
    """An odd kernel, stride 1, zeros at the edge."""
    around, (height, width) = kernel.shape[2] // 2, maps.shape[2:]
    padded = np.pad(maps, ((0, 0), (0, 0), (around, around), (around, around)))
    result = sum(
        np.einsum("oc,nchw->nohw", kernel[:, :, y, x], padded[:, :, y : y + height, x : x + width])
        for y in range(kernel.shape[2])
        for x in range(kernel.shape[3])
    )
    return result if bias is None else result + bias[:, None, None]


def batch_normalized(maps: Array) -> Array:
    mean, variance = (getattr(maps, name)(axis=(0, 2, 3), keepdims=True) for name in ("mean", "var"))
    return (maps - mean) / np.sqrt(variance + 1e-5)


def review(student: Features, teacher: Features, activated: bool = False) -> Array:
    """Maps of 4x4, which are compared whole, as 2x2 and as 1x1; the pooled ones are of 1x1. Fusions as drawn."""
    own, other = ([maps[-1].mean(axis=(2, 3), keepdims=True), *reversed(maps)] for maps in (student, teacher))
    if not activated:
        other[0] = np.maximum(teacher[-1], 0).mean(axis=(2, 3), keepdims=True)
    middle, total, deeper = own[0].shape[1], np.zeros(len(own[0])), None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for maps, target in zip(own, other, strict=True):
            enter, _ = drawn_convolution(maps.shape[1], middle, 1, bias=False)
            leave, _ = drawn_convolution(middle, target.shape[1], 3, padding=1, bias=False)
            fused = batch_normalized(convolved(maps, enter))
            if deeper is not None:
                kernel, bias = drawn_convolution(2 * middle, 2, 1)
                deeper = deeper * np.ones((1, 1, 4, 4))  # nearest: a 1x1 map is repeated
                share = 1 / (1 + np.exp(-convolved(np.concatenate([fused, deeper], axis=1), kernel, bias)))
                fused = fused * share[:, :1] + deeper * share[:, 1:]
            deeper = fused
            error = batch_normalized(convolved(fused, leave)) - target
            n, c, side, _ = error.shape
            losses = [(error**2).mean(axis=(1, 2, 3))]
            if side > 1:
                halves = error.reshape(n, c, 2, 2, 2, 2).mean(axis=(3, 5))
                losses += [(halves**2).mean(axis=(1, 2, 3)) / 2, (error.mean(axis=(2, 3)) ** 2).mean(axis=1) / 4]
            total += sum(losses) / (1.75 if side > 1 else 1)
    return total


def vid(student: Features, teacher: Features) -> Array:
    """With the convolutions that the component draws, and a variance of 5, which it keeps as a float32 number."""
    variance = np.log1p(np.exp(float(np.float32(np.log(np.expm1(5 - 1e-5)))))) + 1e-5
    total = np.zeros(len(student[0]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for own, other in zip(student, teacher, strict=True):
            outputs = other.shape[1]
            kernels = [drawn_convolution(c, outputs, 1, bias=False)[0] for c in (own.shape[1], outputs, outputs)]
            mean = np.maximum(convolved(np.maximum(convolved(own, kernels[0]), 0), kernels[1]), 0)
            mean = convolved(mean, kernels[2])
            total += (((other - mean) ** 2 / variance + np.log(variance)) / 2).mean(axis=(1, 2, 3))
    return total


def simkd(student: Features, teacher: Features) -> Array:
    (own,), (other,) = student, teacher
    return np.array([((own[i] - other[i]) ** 2).mean() for i in range(len(own))])


FEATURE_LOSSES: dict[str, Callable[..., Any]] = {
    "attention": attention,
    "contrastive": contrastive,
    "hint": hint,
    "itrd": itrd,
    "pkt": pkt,
    "relational": relational,
    "review": review,
    "similarity": similarity,
    "simkd": simkd,
    "vid": vid,
}
