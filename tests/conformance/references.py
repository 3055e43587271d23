"""Independent derivations of every built-in component, written row by row from the equations, in NumPy float64.

Nothing here calls the package. A correction's reference returns probabilities.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.conformance.feature_references import FEATURE_LOSSES
from tests.conformance.recalibration_references import RECALIBRATIONS, inverse_temperature, samples
from tests.conformance.selection_references import (
    SELECTIONS,
    conformal_weight,
    near_miss,
    selection,
    trust_weight,
    wsld,
)

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def softmax(row: Array) -> Array:
    powers = np.exp(row - row.max())
    probs: Array = powers / powers.sum()
    return probs


def first_argmax(row: Array) -> int:
    best = 0
    for i, value in enumerate(row):
        if value > row[best]:
            best = i
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


def right_labels(selection_data: SimpleNamespace, fit_on: str) -> Array:
    """The share of right labels in each class, by the confident joint."""
    scale, rows = inverse_temperature(selection_data, fit_on), samples(selection_data, fit_on)
    probs, labels = [softmax(scale * z) for z, _ in rows], [y for _, y in rows]
    classes = len(probs[0])
    own = {c: [p[c] for p, y in zip(probs, labels, strict=True) if y == c] for c in range(classes)}
    means = {c: sum(values) / len(values) for c, values in own.items() if values}
    joint = np.zeros((classes, classes))
    for p, y in zip(probs, labels, strict=True):
        reached = [c for c, mean in means.items() if p[c] >= mean - 1e-6]
        if reached:
            joint[y, max(reached, key=lambda c: p[c])] += 1
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    return joint.diagonal() / joint.sum(axis=1)


def arbitrate(
    log_probs: Array,
    label: Labels,
    teacher_class: Labels,
    context: SimpleNamespace,
    selection_data: SimpleNamespace,
    label_trust: float | None = None,
    fit_on: str = "held_out",
    **_: Any,
) -> Array:
    trust, rows = right_labels(selection_data, fit_on), samples(selection_data, fit_on)
    if label_trust is not None:
        trust = np.full_like(trust, label_trust)
    classes = len(trust)

    def likelihood(scale: float) -> float:
        total = 0.0
        for z, y in rows:
            own = softmax(scale * z)[y]
            total += np.log(max(trust[y] * own + (1 - trust[y]) * (1 - own) / (classes - 1), 1e-300))
        return float(total)

    scale = max(np.exp(np.linspace(np.log(0.05), np.log(20.0), 241)), key=likelihood)
    mixed = []
    for log_p, y, z in zip(log_probs, label, context.teacher_logits, strict=True):
        believed = softmax(scale * z)
        right, wrong = trust[y] * believed[y], (1 - trust[y]) * (1 - believed[y]) / (classes - 1)
        t, q = max(believed), right / (right + wrong)
        mixed.append([(t * p + q * (c == y)) / (t + q) for c, p in enumerate(np.exp(log_p))])
    return np.array(mixed)


def probability_shift(log_probs: Array, label: Labels, teacher_class: Labels) -> Array:
    shifted = np.exp(log_probs)
    for p, y in zip(shifted, label, strict=True):
        k = first_argmax(p)
        p[k], p[y] = p[y], p[k]
    return shifted


def fixed(context: SimpleNamespace, temperature: float = 4.0) -> Array:
    return np.array(temperature, dtype=np.float64)


def standardized(context: SimpleNamespace, temperature: float = 2.0) -> Array:
    return np.array(temperature, dtype=np.float64)


def annealed(context: SimpleNamespace, start: float = 10.0, end: float = 1.0, until: float = 1.0) -> Array:
    done = min(1.0, context.progress / until)
    return np.array((1 - done) * start + done * end)


def ctkd(
    context: SimpleNamespace,
    start: float = 1.0,
    span: float = 20.0,
    warmup: float = 0.0417,
    standardize: bool = False,
) -> Array:
    return np.array(start + span / (1 + np.exp(-1.0)))


def normkd(context: SimpleNamespace, factor: float = 2.0) -> Array:
    """A row of equal logits counts as one of deviation 1."""
    deviations = [np.sqrt(sum((t - t.mean()) ** 2) / (len(t) - 1)) for t in context.teacher_logits]
    return np.array([factor * (deviation if deviation > 0 else 1.0) for deviation in deviations])


def dynamic_temperatures(
    weights: list[float], temperature: float, beta: float, normalize: str, minimum: float
) -> Array:
    if normalize == "sum":
        weights = [weight / sum(weights) for weight in weights]
    mean = sum(weights) / len(weights)
    return np.array([max(minimum, temperature + (mean - weight) * beta) for weight in weights])


def flsw(
    context: SimpleNamespace,
    temperature: float = 4.0,
    beta: float = 1.0,
    gamma: float = 2.0,
    normalize: str = "none",
    minimum: float = 1.0,
    eps: float = 1e-4,
) -> Array:
    weights = []
    for z, t in zip(context.student_logits[:, : context.teacher_logits.shape[1]], context.teacher_logits, strict=True):
        cosine = sum(z * t) / ((np.sqrt(sum(z**2)) + eps) * (np.sqrt(sum(t**2)) + eps))
        weights.append((1 - cosine) ** gamma)
    return dynamic_temperatures(weights, temperature, beta, normalize, minimum)


def cwsm(
    context: SimpleNamespace,
    temperature: float = 4.0,
    beta: float = 1.0,
    normalize: str = "none",
    minimum: float = 1.0,
    eps: float = 1e-3,
) -> Array:
    weights = [1 / (max(softmax(z)) + eps) for z in context.student_logits[:, : context.teacher_logits.shape[1]]]
    return dynamic_temperatures(weights, temperature, beta, normalize, minimum)


def ea(context: SimpleNamespace, temperature: float = 3.0, faithful: bool = False) -> Array:
    weights = []
    for z, t in zip(context.student_logits, context.teacher_logits, strict=True):
        own, other = (-sum(p * np.log(p) for p in softmax(row / temperature)) for row in (z[: len(t)], t))
        weights.append(0.5 * other * (1 + own / (100 if faithful else np.log(len(t)))))
    return np.array(weights)


def drop_wrong(context: SimpleNamespace) -> Array:
    weights = []
    for logits, y in zip(context.teacher_logits, context.label, strict=True):
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


def z_score_row(row: Array) -> Array:
    deviation = np.sqrt(sum((row - row.mean()) ** 2) / (len(row) - 1))
    return (row - row.mean()) / (deviation + 1e-7) if deviation > 0 else np.zeros(len(row))


def correlation(first: Array, second: Array) -> float:
    a, b = first - first.mean(), second - second.mean()
    norms = (max(np.sqrt(sum(row * row)), 1e-4) for row in (a, b))
    return float(sum(a * b) / np.prod(list(norms)))


def pairwise_rank(row: Array, strength: float) -> Array:
    return np.array([0.5 + sum(np.clip(0.5 + (x - row) / (2 * strength), 0, 1)) for x in row])


def pearson(student: Array, target: Array, temperature: float, label: Labels, on: str = "prob") -> Array:
    losses = []
    for z, t in zip(student, target, strict=True):
        first, second = (z, t) if on == "plain_prob" else (z_score_row(z), z_score_row(t))
        if on != "z":
            first, second = softmax(first / temperature), softmax(second / temperature)
        losses.append(1 - correlation(first, second))
    return np.array(losses)


def intra_class(student: Array, target: Array, temperature: float, label: Labels, weight: Array) -> Array:
    probs = np.array([softmax(z / temperature) for z in student])
    rho = [correlation(q, p) for q, p in zip(probs.T, np.exp(target).T, strict=True)]
    return np.array(1 - sum(rho) / len(rho))


def spearman(student: Array, target: Array, temperature: float, label: Labels) -> Array:
    losses = []
    for z, t in zip(student, target, strict=True):
        ranks = (pairwise_rank(z_score_row(row), 1 / len(row)) for row in (z, t))
        losses.append(1 - correlation(*ranks))
    return np.array(losses)


def cmkd(student: Array, target: Array, temperature: float, label: Labels) -> Array:
    values = pearson(student, target, temperature, label)
    ranks = spearman(student, target, temperature, label)
    hard = [-sum(p * np.log(p) for p in softmax(t)) / np.log(len(t)) for t in target]
    return 2 * (1 - np.array(hard)) * values + 2 * np.array(hard) * ranks


def cross_entropy(student: Array, label: Labels) -> Array:
    return np.array([-np.log(softmax(z)[y]) for z, y in zip(student, label, strict=True)])


def label_smoothed_cross_entropy(student: Array, label: Labels, eps: float = 0.1) -> Array:
    losses = []
    for z, y in zip(student, label, strict=True):
        target = np.full(len(z), eps / len(z))
        target[y] += 1 - eps
        losses.append(-(target * np.log(softmax(z))).sum())
    return np.array(losses)


def virtual_teacher(
    student: Array, label: Labels, correct_prob: float = 0.99, temperature: float = 20.0, faithful: bool = False
) -> Array:
    losses = []
    for z, y in zip(student, label, strict=True):
        teacher = np.full(len(z), (1 - correct_prob) / (len(z) - 1))
        teacher[y] = correct_prob
        p = softmax((teacher if faithful else np.log(teacher)) / temperature)
        q = softmax(z if faithful else z / temperature)
        losses.append((1 if faithful else temperature**2) * sum(p * np.log(p / q)))
    return np.array(losses)


def gambler(student: Array, label: Labels, payoff: float = 2.2) -> Array:
    losses = []
    for z, y in zip(student, label, strict=True):
        q = softmax(z)
        losses.append(-np.log(q[y] + q[-1] / payoff))
    return np.array(losses)


def self_adaptive(
    student: Array, label: Labels, index: Labels, momentum: float = 0.9, held: Array | None = None
) -> Array:
    """At the first visit of every sample; the belief carries no gradient."""
    losses = []
    for z, own, y in zip(student, student if held is None else held, label, strict=True):
        belief, p = momentum + (1 - momentum) * softmax(own[:-1])[y], softmax(z)
        losses.append(-belief * np.log(p[y]) - (1 - belief) * np.log(p[-1]))
    return np.array(losses)


def entropy(student: Array, label: Labels, paper_faithful: bool = False) -> Array:
    rows = [softmax(z) for z in student]
    values = student if paper_faithful else np.log(rows)
    return np.array([-sum(p * v for p, v in zip(*pair, strict=True)) for pair in zip(rows, values, strict=True)])


def soft_gambler(student: Array, target: Array, temperature: float, label: Labels, payoff: float = 2.2) -> Array:
    losses = []
    for z, log_p in zip(student, target, strict=True):
        q = softmax(z / temperature)
        rate = sum(p * np.log(bet + q[-1] / payoff) for p, bet in zip(np.exp(log_p), q[:-1], strict=True))
        losses.append(-(temperature**2) * rate)
    return np.array(losses)


def binary_divergence(p: float, q: float) -> float:
    return float(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


def mlkd(
    student: Array,
    target: Array,
    temperature: float,
    label: Labels,
    weight: Array,
    more_temperatures: tuple[float, ...] = (3.0, 5.0, 2.0, 6.0),
    faithful: bool = False,
    standardized: bool = False,
) -> Array:
    """With every weight 1."""
    probs = np.array([softmax(t) for t in target])
    samples = probs.max(axis=1) <= np.median(probs.max(axis=1))
    classes = probs.sum(axis=0) <= np.median(probs.sum(axis=0))
    rows, columns = (np.full(len(m), m.mean()) if faithful else m * 1.0 for m in (samples, classes))
    total = 0.0
    for one in (float(temperature), *more_temperatures):
        p, q = (np.array([softmax(row / one) for row in logits]) for logits in (target, student))
        scaled = [np.array([softmax(z_score_row(row) / one) for row in z]) for z in (target, student)]
        p_alone, q_alone = scaled if standardized else (p, q)
        instances = one**2 * (p_alone * np.log(p_alone / q_alone)).sum(axis=1)
        pairs = ((p @ p.T - q @ q.T) ** 2).sum(axis=1)
        of_classes = ((p.T @ p - q.T @ q) ** 2).sum(axis=1)
        total += rows @ (instances + pairs) / len(target) + columns @ of_classes / len(classes)
    return np.array(total)


def mlkd_views(
    student: Array, target: Array, temperature: float, label: Labels, index: Labels, weight: Array, **options: Any
) -> Array:
    """Without a strong view."""
    return mlkd(student, target, temperature, label, weight, **options)


def nkd(student: Array, target: Array, temperature: float, label: Labels, gamma: float = 1.5) -> Array:
    losses = []
    for z, t, y in zip(student, target, label, strict=True):
        p, q = (softmax(np.delete(row, y) / temperature) for row in (t, z))
        of_others = -float(sum(p * np.log(q)))
        losses.append(-softmax(t)[y] * np.log(softmax(z)[y]) + gamma * temperature**2 * of_others)
    return np.array(losses)


def ttm(student: Array, target: Array, temperature: float, label: Labels, gamma: float = 0.1) -> Array:
    losses = []
    for z, log_p in zip(student, target, strict=True):
        powers, q = np.exp(log_p) ** gamma, softmax(z / temperature)
        p = powers / sum(powers)
        losses.append(sum(p * np.log(p / q)))
    return np.array(losses)


def wttm(student: Array, target: Array, temperature: float, label: Labels, gamma: float = 0.2) -> Array:
    power_sums = [sum(np.exp(log_p) ** gamma) for log_p in target]
    return np.array(power_sums) * ttm(student, target, temperature, label, gamma)


def rld(
    student: Array,
    target: Array,
    temperature: float,
    label: Labels,
    alpha: float = 1.0,
    beta: float = 8.0,
    confidence_temperature: float | None = 1.0,
) -> Array:
    first = temperature if confidence_temperature is None else confidence_temperature
    losses = []
    for z, t, y in zip(student, target, label, strict=True):
        confidence = first**2 * binary_divergence(max(softmax(t / first)), softmax(z / first)[y])
        below = [c for c in range(len(t)) if t[c] < t[y]]
        ranking = 0.0
        if below:
            p, q = softmax(t[below] / temperature), softmax(z[below] / temperature)
            ranking = temperature**2 * float(sum(p * np.log(p / q)))
        losses.append(alpha * confidence + beta * ranking)
    return np.array(losses)


def dkd(
    student: Array, target: Array, temperature: float, label: Labels, alpha: float = 1.0, beta: float = 8.0
) -> Array:
    losses = []
    for z, log_p, y in zip(student, target, label, strict=True):
        p, q = np.exp(log_p), softmax(z / temperature)
        rest, own = np.delete(p, y) / (1 - p[y]), np.delete(q, y) / (1 - q[y])
        others = float(sum(rest * np.log(rest / own)))
        losses.append(temperature**2 * (alpha * binary_divergence(p[y], q[y]) + beta * others))
    return np.array(losses)


def crld(
    student: Array,
    target: Array,
    temperature: float,
    label: Labels,
    index: Labels,
    within: float = 2.0,
    across: float = 0.5,
    sure: float = 0.9,
    least: float = 0.2,
) -> Array:
    """Of single views, each of which is its own other one."""
    losses = []
    for z, t in zip(student, target, strict=True):
        p, q, confidence = softmax(t / temperature), softmax(z / temperature), max(softmax(t))
        weight = within * (confidence >= sure) + across * (confidence >= least)
        losses.append(temperature**2 * weight * sum(p * np.log(p / q)))
    return np.array(losses)


def tckd(student: Array, target: Array, temperature: float, label: Labels) -> Array:
    return dkd(student, target, temperature, label, 1.0, 0.0)


def nckd(
    student: Array, target: Array, temperature: float, label: Labels, share: float = 1.0, faithful: bool = False
) -> Array:
    """Classes as probable as the last one that is kept are kept, too."""
    losses = []
    for z, log_p, y in zip(student, target, label, strict=True):
        count = min(max(2, int(np.ceil(share * (len(z) - 1)))), len(z) - 1)
        ranked = log_p if faithful and share < 1 else np.delete(log_p, y)
        kept = [c for c in range(len(z)) if c != y and log_p[c] >= sorted(ranked)[-count]]
        p, q = softmax(log_p[kept]), softmax(z[kept] / temperature)
        losses.append(temperature**2 * sum(p * np.log(p / q)))
    return np.array(losses)


def rc(student: Array, target: Array, temperature: float, label: Labels, held: Array | None = None) -> Array:
    """What it compares with carries no gradient."""
    losses = []
    for z, own, y in zip(student, student if held is None else held, label, strict=True):
        raised = own.copy()
        raised[y] += max(own)
        p, q = softmax(raised / temperature), softmax(z / temperature)
        losses.append(temperature**2 * sum(p * np.log(p / q)))
    return np.array(losses)


def sld(
    student: Array,
    target: Array,
    temperature: float,
    label: Labels,
    temperatures: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
) -> Array:
    losses = []
    for z, t in zip(student, target, strict=True):
        pairs = [(one, softmax(t / one), softmax(z / one)) for one in temperatures]
        losses.append(sum(one**2 * sum(p * np.log(p / q)) for one, p, q in pairs))
    return np.array(losses)


def sld_student(
    student: Array,
    target: Array,
    temperature: float,
    label: Labels,
    faithful: bool = False,
    held: Array | None = None,
    **options: Any,
) -> Array:
    """What it compares with carries no gradient, unless ``faithful``."""
    own = (student if faithful or held is None else held).copy()
    for z, y in zip(own, label, strict=True):
        k = first_argmax(z)
        z[k], z[y] = z[y], z[k]
    return sld(student, own, temperature, label, **options)


def ldrld(
    student: Array,
    target: Array,
    temperature: float,
    label: Labels,
    alpha: float = 10.5,
    beta: float = 7.0,
    depth: int = 7,
    ranked_by: str = "student",
) -> Array:
    losses = []
    for z, log_p in zip(student, target, strict=True):
        order = sorted(range(len(z)), key=lambda c: -(z if ranked_by == "student" else log_p)[c])
        groups = [(list(pair), ranks) for pair, ranks in _pairs(order[:depth])]
        parts = [(2 / (1.5 + j - i) * np.exp(-0.05 * (i + j)), pair) for pair, (i, j) in groups]
        parts.append((1.0, order[:depth]))
        local = sum(factor * _among(log_p, z / temperature, kept) for factor, kept in parts) / len(parts)
        rest = _among(log_p, z / temperature, order[depth:]) if order[depth:] else 0.0
        losses.append(temperature**2 * (alpha * local + beta * rest))
    return np.array(losses)


def _pairs(leading: list[int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    numbers = range(len(leading))
    return [((leading[i], leading[j]), (i + 1, j + 1)) for i in numbers for j in numbers if i < j]


def _among(teacher: Array, student: Array, kept: list[int]) -> float:
    p, q = softmax(teacher[kept]), softmax(student[kept])
    return float(sum(p * np.log(p / q)))


def slam(
    student: Array,
    target: Array,
    temperature: float,
    label: Labels,
    selection_data: SimpleNamespace,
    fit_on: str = "held_out",
) -> Array:
    scale, losses = inverse_temperature(selection_data, fit_on), []
    for z, t in zip(student, target, strict=True):
        a, p, q = max(softmax(scale * t)), softmax(t / temperature), softmax(z / temperature)
        mixed = a * q + (1 - a) * (1 - q) / (len(q) - 1)
        losses.append(temperature**2 * sum(p * np.log(p / mixed)))
    return np.array(losses)


def ltkd(
    student: Array,
    target: Array,
    temperature: float,
    label: Labels,
    weight: Array,
    selection_data: SimpleNamespace,
    between: float = 1.0,
    within: float = 1.0,
    groups: int = 3,
) -> float:
    classes = student.shape[1]
    counts = [int((selection_data.label == c).sum()) for c in range(classes)]
    parts = np.array_split(sorted(range(classes), key=lambda c: (-counts[c], c)), groups)
    p, q = np.exp(target), np.array([softmax(z / temperature) for z in student])
    masses = np.array([[row[part].sum() for part in parts] for row in p])
    balanced = masses / (weight @ masses / weight.sum())
    total = 0.0
    for i, w in enumerate(weight):
        share = balanced[i] / balanced[i].sum()
        total += w * between * sum(s * np.log(s / q[i][part].sum()) for s, part in zip(share, parts, strict=True))
        for part in parts:
            own, other = p[i][part] / p[i][part].sum(), q[i][part] / q[i][part].sum()
            total += w * within * sum(own * np.log(own / other)) / groups
    return float(temperature**2 * total / weight.sum())


REFERENCES: dict[tuple[str, str], Callable[..., Array]] = {
    ("correction", "arbitrate"): arbitrate,
    ("correction", "label_revision"): label_revision,
    ("correction", "label_smoothing"): label_smoothing_target,
    ("correction", "probability_shift"): probability_shift,
    ("temperature", "ctkd"): ctkd,
    ("temperature", "annealed"): annealed,
    ("temperature", "cwsm"): cwsm,
    ("temperature", "fixed"): fixed,
    ("temperature", "flsw"): flsw,
    ("temperature", "normkd"): normkd,
    ("temperature", "standardized"): standardized,
    ("selection", "conformal_weight"): conformal_weight,
    ("selection", "drop_wrong"): drop_wrong,
    ("selection", "ea"): ea,
    ("selection", "near_miss"): near_miss,
    ("selection", "trust_weight"): trust_weight,
    ("selection", "wsld"): wsld,
    ("loss", "cmkd"): cmkd,
    ("loss", "crld"): crld,
    ("loss", "mlkd_views"): mlkd_views,
    ("loss", "dkd"): dkd,
    ("loss", "ltkd"): ltkd,
    ("loss", "tckd"): tckd,
    ("loss", "nckd"): nckd,
    ("loss", "intra_class"): intra_class,
    ("loss", "kl"): kl,
    ("loss", "mlkd"): mlkd,
    ("loss", "nkd"): nkd,
    ("loss", "pearson"): pearson,
    ("loss", "ldrld"): ldrld,
    ("loss", "rc"): rc,
    ("loss", "rld"): rld,
    ("loss", "sld"): sld,
    ("loss", "sld_student"): sld_student,
    ("loss", "slam"): slam,
    ("loss", "soft_gambler"): soft_gambler,
    ("loss", "spearman"): spearman,
    ("loss", "squared_error_logits"): squared_error_logits,
    ("loss", "squared_error_probs"): squared_error_probs,
    ("loss", "ttm"): ttm,
    ("loss", "wttm"): wttm,
    ("label_loss", "cross_entropy"): cross_entropy,
    ("label_loss", "entropy"): entropy,
    ("label_loss", "gambler"): gambler,
    ("label_loss", "label_smoothing"): label_smoothed_cross_entropy,
    ("label_loss", "self_adaptive"): self_adaptive,
    ("label_loss", "virtual_teacher"): virtual_teacher,
    **{("feature_loss", name): reference for name, reference in FEATURE_LOSSES.items()},
    **{("recalibration", name): reference for name, reference in RECALIBRATIONS.items()},
    **{("selection", name): selection(score) for name, score in SELECTIONS.items()},
}
