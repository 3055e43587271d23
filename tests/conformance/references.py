"""Independent derivations of every built-in stage, written row by row from the equations, in NumPy float64.

Nothing here calls the package. A correction's reference returns probabilities.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def softmax(row: Array) -> Array:
    powers = np.exp(row - row.max())
    probs: Array = powers / powers.sum()
    return probs


def first_argmax(row: Array) -> int:
    best = 0
    for position, value in enumerate(row):
        if value > row[best]:
            best = position
    return best


def label_revision(log_probs: Array, label: Labels, teacher_class: Labels, eta: float = 0.8, **_: Any) -> Array:
    revised = []
    for p, y in zip(np.exp(log_probs), label, strict=True):
        beta = eta / (p.max() - p[y] + 1)
        revised.append([beta * p_i + (1 - beta) * (i == y) for i, p_i in enumerate(p)])
    return np.array(revised)


def label_smoothing_target(
    log_probs: Array,
    label: Labels,
    teacher_class: Labels,
    eps: float | None = None,
    correct_prob: float = 0.9,
    **_: Any,
) -> Array:
    rows, classes = log_probs.shape
    target = np.empty((rows, classes))
    for row, y in enumerate(label):
        for i in range(classes):
            if eps is None:
                target[row, i] = correct_prob if i == y else (1 - correct_prob) / (classes - 1)
            else:
                target[row, i] = (1 - eps) * (i == y) + eps / classes
    return target


def probability_shift(log_probs: Array, label: Labels, teacher_class: Labels) -> Array:
    shifted = np.exp(log_probs)
    for p, y in zip(shifted, label, strict=True):
        k = first_argmax(p)
        p[k], p[y] = p[y], p[k]
    return shifted


def fixed(lesson: SimpleNamespace, temperature: float = 4.0) -> Array:
    return np.array(temperature, dtype=np.float64)


def dynamic_temperatures(
    weights: list[float], temperature: float, beta: float, normalise: str, minimum: float
) -> Array:
    if normalise == "sum":
        weights = [weight / sum(weights) for weight in weights]
    mean = sum(weights) / len(weights)
    return np.array([max(minimum, temperature + (mean - weight) * beta) for weight in weights])


def flsw(
    lesson: SimpleNamespace,
    temperature: float = 4.0,
    beta: float = 1.0,
    gamma: float = 2.0,
    normalise: str = "none",
    minimum: float = 1.0,
    eps: float = 1e-4,
) -> Array:
    weights = []
    for z, t in zip(lesson.student[:, : lesson.teacher.shape[1]], lesson.teacher, strict=True):
        cosine = sum(z * t) / ((np.sqrt(sum(z**2)) + eps) * (np.sqrt(sum(t**2)) + eps))
        weights.append((1 - cosine) ** gamma)
    return dynamic_temperatures(weights, temperature, beta, normalise, minimum)


def cwsm(
    lesson: SimpleNamespace,
    temperature: float = 4.0,
    beta: float = 1.0,
    normalise: str = "none",
    minimum: float = 1.0,
    eps: float = 1e-3,
) -> Array:
    weights = [1 / (max(softmax(z)) + eps) for z in lesson.student[:, : lesson.teacher.shape[1]]]
    return dynamic_temperatures(weights, temperature, beta, normalise, minimum)


def drop_wrong(lesson: SimpleNamespace) -> Array:
    weights = []
    for logits, y in zip(lesson.teacher, lesson.label, strict=True):
        weights.append(0.0 if y >= 0 and first_argmax(logits) != y else 1.0)
    return np.array(weights)


def kl(student: Array, target: Array, temperature: float, label: Labels, temperature_squared: bool = True) -> Array:
    losses = []
    for z, log_p in zip(student, target, strict=True):
        q = softmax(z / temperature)
        divergence = sum(np.exp(lp) * (lp - np.log(q_i)) for lp, q_i in zip(log_p, q, strict=True))
        losses.append(divergence * temperature**2 if temperature_squared else divergence)
    return np.array(losses)


def squared_error_logits(student: Array, target: Array, temperature: float, label: Labels) -> Array:
    classes = student.shape[1]
    return np.array([sum((z - t) ** 2) / classes for z, t in zip(student, target, strict=True)])


def squared_error_probs(student: Array, target: Array, temperature: float, label: Labels) -> Array:
    classes = student.shape[1]
    pairs = zip(student, target, strict=True)
    return np.array([sum((softmax(z / temperature) - np.exp(log_p)) ** 2) / classes for z, log_p in pairs])


def cross_entropy(student: Array, label: Labels) -> Array:
    return np.array([-np.log(softmax(z)[y]) for z, y in zip(student, label, strict=True)])


def label_smoothed_cross_entropy(student: Array, label: Labels, eps: float = 0.1) -> Array:
    losses = []
    for z, y in zip(student, label, strict=True):
        target = np.full(len(z), eps / len(z))
        target[y] += 1 - eps
        losses.append(-(target * np.log(softmax(z))).sum())
    return np.array(losses)


REFERENCES: dict[tuple[str, str], Callable[..., Array]] = {
    ("correct", "label_revision"): label_revision,
    ("correct", "label_smoothing"): label_smoothing_target,
    ("correct", "probability_shift"): probability_shift,
    ("temper", "cwsm"): cwsm,
    ("temper", "fixed"): fixed,
    ("temper", "flsw"): flsw,
    ("select", "drop_wrong"): drop_wrong,
    ("match", "kl"): kl,
    ("match", "squared_error_logits"): squared_error_logits,
    ("match", "squared_error_probs"): squared_error_probs,
    ("truth", "cross_entropy"): cross_entropy,
    ("truth", "label_smoothing"): label_smoothed_cross_entropy,
}
