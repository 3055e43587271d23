"""Independent derivations of the recalibrations: Newton's method with the whole Hessian, counting sample by sample."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq

Array = NDArray[np.float64]


def log_softmax(row: Array) -> Array:
    shifted = row - row.max()
    values: Array = shifted - np.log(np.exp(shifted).sum())
    return values


def samples(selection_data: SimpleNamespace, fit_on: str = "held_out") -> list[tuple[Array, int]]:
    """Logits and label of the labeled samples that a component is fitted on."""
    teacher = selection_data.checkpoints[-1]
    held_out = fit_on == "held_out"
    outputs = teacher.held_out if held_out else teacher.train
    labels = selection_data.held_out_label if held_out else selection_data.label
    return [(z, int(y)) for z, y in zip(outputs.logits, labels, strict=True) if y >= 0]


def _slope(rows: list[tuple[Array, int]], scale: float, prior: float) -> float:
    errors = sum(float(np.exp(log_softmax(scale * z)) @ z - z[y]) for z, y in rows)
    return float(errors + prior * np.log(scale) / scale)


def inverse_temperature(selection_data: SimpleNamespace, fit_on: str = "held_out", prior: float = 0.0) -> float:
    rows = samples(selection_data, fit_on)
    return float(brentq(lambda scale: _slope(rows, scale, prior), 0.05, 20.0, xtol=1e-14))


def temperature_scaling(
    logits: Array, selection_data: SimpleNamespace, fit_on: str = "held_out", prior: float = 0.0
) -> Array:
    return logits * inverse_temperature(selection_data, fit_on, prior)


def newton(rows: list[tuple[Array, int]], designs: list[Array], start: Array, l2: float) -> Array:
    """The penalized maximum of likelihood of ``softmax(design @ theta)``; the penalty pulls to ``start``."""
    theta = start.copy()
    for _ in range(60):
        gradient, hessian = l2 * (theta - start), l2 * np.eye(len(theta))
        for (_, y), design in zip(rows, designs, strict=True):
            p = np.exp(log_softmax(design @ theta))
            gradient = gradient + design.T @ (p - np.eye(len(p))[y]) / len(rows)
            hessian = hessian + design.T @ (np.diag(p) - np.outer(p, p)) @ design / len(rows)
        theta = theta - np.linalg.solve(hessian, gradient)
    return theta


def vector_scaling(logits: Array, selection_data: SimpleNamespace, fit_on: str = "held_out", l2: float = 0.01) -> Array:
    rows, classes = samples(selection_data, fit_on), logits.shape[1]
    designs = [np.hstack([np.diag(z), np.eye(classes)]) for z, _ in rows]
    theta = newton(rows, designs, np.array([1.0] * classes + [0.0] * classes), l2)
    return np.array([theta[:classes] * z + theta[classes:] for z in logits])


def dirichlet(logits: Array, selection_data: SimpleNamespace, fit_on: str = "held_out", l2: float = 0.01) -> Array:
    rows, classes = samples(selection_data, fit_on), logits.shape[1]
    designs = [np.hstack([np.kron(np.eye(classes), log_softmax(z)), np.eye(classes)]) for z, _ in rows]
    theta = newton(rows, designs, np.concatenate([np.eye(classes).ravel(), np.zeros(classes)]), l2)
    matrix = theta[:-classes].reshape(classes, classes)
    return np.array([matrix @ log_softmax(z) + theta[-classes:] for z in logits])


def prior(logits: Array, selection_data: SimpleNamespace) -> Array:
    train = selection_data.checkpoints[-1].train.logits
    mean = sum(np.exp(log_softmax(z)) for z in train) / len(train)
    return logits - np.log(mean)


def confusion(
    logits: Array, selection_data: SimpleNamespace, smoothing: float = 1.0, fit_on: str = "held_out"
) -> Array:
    classes = logits.shape[1]
    rows = [(np.exp(log_softmax(z)), y) for z, y in samples(selection_data, fit_on)]
    matrix = np.full((classes, classes), 0.5 / classes) + 0.5 * np.eye(classes)
    for _ in range(100):
        counts = smoothing * np.eye(classes)
        for p, y in rows:
            shares = [matrix[y, k] * p[k] for k in range(classes)]
            counts[y] += np.array(shares) / sum(shares)
        matrix = np.array([[counts[j, k] / counts[:, k].sum() for k in range(classes)] for j in range(classes)])
    mixed = []
    for z in logits:
        p = np.exp(log_softmax(z))
        mixed.append([np.log(sum(matrix[j, k] * p[k] for k in range(classes))) for j in range(classes)])
    return np.array(mixed)


def cross_validated(logits: Array, selection_data: SimpleNamespace, fit_on: str = "held_out") -> Array:
    """By hand: a temperature, then a diagonal or a whole matrix; the folds are drawn as in the package."""
    rows, classes = samples(selection_data, fit_on), logits.shape[1]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(int(selection_data.seed)))
    folds = [set(fold.tolist()) for fold in order.chunk(5)]

    def fit(part: list[tuple[Array, int]], form: str, strength: float) -> Any:
        scale = brentq(lambda s: _slope(part, s, 4.0), 0.05, 20.0, xtol=1e-14)
        matrix, bias = np.eye(classes), np.zeros(classes)
        if form != "temperature":
            inputs = [log_softmax(scale * z) for z, _ in part]
            if form == "per class":
                designs = [np.hstack([np.diag(x), np.eye(classes)]) for x in inputs]
                start = np.array([1.0] * classes + [0.0] * classes)
            else:
                designs = [np.hstack([np.kron(np.eye(classes), x), np.eye(classes)]) for x in inputs]
                start = np.concatenate([np.eye(classes).ravel(), np.zeros(classes)])
            theta = newton(part, designs, start, strength / len(part))
            weight, bias = theta[:-classes], theta[-classes:]
            matrix = np.diag(weight) if form == "per class" else weight.reshape(classes, classes)
        return lambda z: matrix @ log_softmax(scale * z) + bias

    def left_out(form: str, strength: float) -> float:
        total = 0.0
        for fold in folds:
            mapped = fit([row for number, row in enumerate(rows) if number not in fold], form, strength)
            total -= sum(log_softmax(mapped(rows[number][0]))[rows[number][1]] for number in fold)
        return total

    tried = [("temperature", 0.0), *((form, n) for form in ("per class", "matrix") for n in (30.0, 3.0))]
    best = fit(rows, *min(tried, key=lambda one: left_out(*one)))
    return np.array([best(z) for z in logits])


RECALIBRATIONS: dict[str, Any] = {
    "confusion": confusion,
    "cross_validated": cross_validated,
    "dirichlet": dirichlet,
    "prior": prior,
    "temperature_scaling": temperature_scaling,
    "vector_scaling": vector_scaling,
}
