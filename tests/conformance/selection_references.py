"""Independent derivations of the selections that are fitted: scores row by row in NumPy, then the weights.

Nothing here calls the package. Gradients and the curvature are written out sample by sample, in full.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root
from scipy.sparse.linalg import cg
from scipy.special import expit

Array = NDArray[np.float64]
ScoreFunction = Callable[..., list[float]]


def probabilities(logits: Array) -> Array:
    powers = np.exp(logits - logits.max())
    probs: Array = powers / powers.sum()
    return probs


def inputs(features: Array, has_bias: bool) -> Array:
    return np.array([*features, 1.0] if has_bias else features, dtype=np.float64)


def error(logits: Array, label: int) -> Array:
    wrong: Array = probabilities(logits).copy()
    wrong[label] -= 1
    return wrong


def gradient(outputs: SimpleNamespace, i: int, label: int, has_bias: bool) -> Array:
    """The gradient of one sample's cross-entropy in the last layer's weights, as one long row."""
    row: Array = np.kron(error(outputs.logits[i], label), inputs(outputs.features[i], has_bias)).astype(np.float64)
    return row


def labeled(selection_data: SimpleNamespace) -> list[int]:
    """The rows of the selection data that have a label, by index in the training set."""
    return [i for i in np.argsort(selection_data.index) if selection_data.label[i] >= 0]


def gradients(selection_data: SimpleNamespace, checkpoint: SimpleNamespace) -> list[Array]:
    rows = labeled(selection_data)
    return [gradient(checkpoint.train, i, selection_data.label[i], selection_data.has_bias) for i in rows]


def held_out_gradient(selection_data: SimpleNamespace, checkpoint: SimpleNamespace) -> Array:
    pairs = enumerate(selection_data.held_out_label)
    rows = [gradient(checkpoint.held_out, i, label, selection_data.has_bias) for i, label in pairs if label >= 0]
    mean: Array = np.mean(rows, axis=0)
    return mean


def curvature(selection_data: SimpleNamespace) -> Array:
    train = selection_data.checkpoints[-1].train
    each = []
    for i in labeled(selection_data):
        p, h = probabilities(train.logits[i]), inputs(train.features[i], selection_data.has_bias)
        each.append(np.kron(np.diag(p) - np.outer(p, p), np.outer(h, h)))
    mean: Array = np.mean(each, axis=0)
    return mean


def influence_scores(
    selection_data: SimpleNamespace, damping: float = 5e-4, exact_up_to: int = 4096, steps: int = 20
) -> list[float]:
    teacher = selection_data.checkpoints[-1]
    target = held_out_gradient(selection_data, teacher)
    damped = curvature(selection_data) + damping * np.eye(len(target))
    if len(target) <= exact_up_to:
        solved = np.linalg.solve(damped, target)
    else:
        rough = kronecker_inverse(selection_data, damping)
        solved = cg(damped, target, rough @ target, rtol=1e-6, atol=0, maxiter=steps, M=rough)[0]
    return [float(solved @ g) for g in gradients(selection_data, teacher)]


def kronecker_inverse(selection_data: SimpleNamespace, damping: float) -> Array:
    teacher = selection_data.checkpoints[-1]
    rows = labeled(selection_data)
    probs = [probabilities(teacher.train.logits[i]) for i in rows]
    given = [inputs(teacher.train.features[i], selection_data.has_bias) for i in rows]
    of_classes = np.linalg.eigh(np.mean([np.diag(p) - np.outer(p, p) for p in probs], axis=0))[1]
    of_inputs = np.linalg.eigh(np.mean([np.outer(h, h) for h in given], axis=0))[1]
    basis = np.kron(of_classes, of_inputs)
    diagonal = np.diag(basis.T @ curvature(selection_data) @ basis)
    inverse: Array = basis @ np.diag(1 / (diagonal + damping)) @ basis.T
    return inverse


def tracin_scores(selection_data: SimpleNamespace) -> list[float]:
    scores = np.zeros(len(labeled(selection_data)))
    for checkpoint in selection_data.checkpoints:
        target = held_out_gradient(selection_data, checkpoint)
        scores += [checkpoint.learning_rate * float(target @ g) for g in gradients(selection_data, checkpoint)]
    return list(scores)


def gradient_cosine_scores(selection_data: SimpleNamespace) -> list[float]:
    teacher = selection_data.checkpoints[-1]
    target = held_out_gradient(selection_data, teacher)
    pairs = [(g, np.linalg.norm(g) * np.linalg.norm(target)) for g in gradients(selection_data, teacher)]
    return [float(target @ g / length) if length > 0 else 0.0 for g, length in pairs]


def el2n_scores(selection_data: SimpleNamespace) -> list[float]:
    logits = selection_data.checkpoints[-1].train.logits
    return [float(np.sqrt(sum(error(logits[i], selection_data.label[i]) ** 2))) for i in labeled(selection_data)]


def teacher_loss_scores(selection_data: SimpleNamespace) -> list[float]:
    logits = selection_data.checkpoints[-1].train.logits
    return [float(np.log(probabilities(logits[i])[selection_data.label[i]])) for i in labeled(selection_data)]


def correctness_scores(selection_data: SimpleNamespace) -> list[float]:
    logits = selection_data.checkpoints[-1].train.logits
    return [
        float(np.flatnonzero(logits[i] == logits[i].max())[0] == selection_data.label[i])
        for i in labeled(selection_data)
    ]


def random_scores(selection_data: SimpleNamespace) -> list[float]:
    """Fisher and Yates' shuffle on the raw numbers of the Mersenne twister, as torch draws a permutation."""
    twister = np.random.MT19937()
    twister._legacy_seeding(int(selection_data.seed))
    order = [float(i) for i in range(len(labeled(selection_data)))]
    for i in range(len(order) - 1):
        other = i + int(twister.random_raw()) % (len(order) - i)
        order[i], order[other] = order[other], order[i]
    return order


def kept_samples(scores: list[float], index: list[int], keep: float, ascending: bool) -> set[int]:
    """The indices of the best samples, taken one after the other; among equal scores the smaller index."""
    left = dict(zip(index, scores, strict=True))
    best: set[int] = set()
    for _ in range(int(np.floor(keep * len(scores) + 0.5))):
        extreme = min(left.values()) if ascending else max(left.values())
        chosen = min(i for i, score in left.items() if score == extreme)
        best.add(chosen)
        del left[chosen]
    return best


def selection(score: ScoreFunction) -> Callable[..., Array]:
    """The reference of a component that selects the samples of highest score, and all without a label."""

    def weights(
        context: SimpleNamespace,
        selection_data: SimpleNamespace,
        keep: float = 0.7,
        ascending: bool = False,
        **options: Any,
    ) -> Array:
        ranked = [int(selection_data.index[i]) for i in labeled(selection_data)]
        selected = kept_samples(score(selection_data, **options), ranked, keep, ascending)
        selected |= {int(i) for i in selection_data.index} - set(ranked)
        return np.array([float(i in selected) for i in context.index])

    return weights


def trust_columns(logits: Array) -> Array:
    row = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
    ordered = sorted(row)
    columns: Array = np.array([*row, ordered[-1] - ordered[-2], -sum(np.exp(row) * row)])
    return columns


def trust_function(
    selection_data: SimpleNamespace, l2: float = 0.01, fit_on: str = "held_out", features: bool = False
) -> Callable[[SimpleNamespace, int], float]:
    """The trust on a row of outputs, by a solver of its own for the logistic regression."""
    teacher = selection_data.checkpoints[-1]
    outputs, labels = teacher.held_out, selection_data.held_out_label
    if fit_on == "train":
        outputs, labels = teacher.train, selection_data.label

    def columns(of: SimpleNamespace, i: int) -> Array:
        return np.array([*trust_columns(of.logits[i]), *(of.features[i] if features else [])])

    known = [i for i, y in enumerate(labels) if y >= 0]
    right = np.array([np.flatnonzero(outputs.logits[i] == outputs.logits[i].max())[0] == labels[i] for i in known])
    table = np.array([columns(outputs, i) for i in known])
    mean, deviation = table.mean(axis=0), table.std(axis=0)
    rows = np.hstack([(table - mean) / deviation, np.ones((len(known), 1))])
    share = np.where(right, 0.5 / right.sum(), 0.5 / (~right).sum())

    def slope(theta: Array) -> Array:
        result: Array = rows.T @ (share * (expit(rows @ theta) - right)) + l2 * theta
        return result

    theta = root(slope, np.zeros(rows.shape[1]), tol=1e-14).x
    return lambda of, i: float(expit(theta[:-1] @ ((columns(of, i) - mean) / deviation) + theta[-1]))


def trust_scores(selection_data: SimpleNamespace, **options: Any) -> list[float]:
    trust, train = trust_function(selection_data, **options), selection_data.checkpoints[-1].train
    return [trust(train, i) for i in labeled(selection_data)]


def trust_weight(context: SimpleNamespace, selection_data: SimpleNamespace, **options: Any) -> Array:
    trust, outputs = trust_function(selection_data, **options), SimpleNamespace(logits=context.teacher_logits)
    return np.array([trust(outputs, i) for i in range(len(context.label))])


def conformal_weight(
    context: SimpleNamespace,
    selection_data: SimpleNamespace,
    alpha: float = 0.1,
    decay: str = "inverse",
    fit_on: str = "held_out",
) -> Array:
    teacher = selection_data.checkpoints[-1]
    outputs, labels = teacher.held_out, selection_data.held_out_label
    if fit_on == "train":
        outputs, labels = teacher.train, selection_data.label
    pairs = [(z, y) for z, y in zip(outputs.logits, labels, strict=True) if y >= 0]
    scores = sorted(1 - probabilities(z)[y] for z, y in pairs)
    position = int(np.ceil((len(scores) + 1) * (1 - alpha)))
    largest = scores[position - 1] if position <= len(scores) else 1.0
    weights = []
    for logits in context.teacher_logits:
        size = max(1, sum(1 - p <= largest for p in probabilities(logits)))
        weights.append(1 / size if decay == "inverse" else 1 - (size - 1) / (len(logits) - 1))
    return np.array(weights)


def near_miss(
    context: SimpleNamespace, near: float = 1.0, hard: float = 1.0, easy: float = 0.0, margin: float = 0.05
) -> Array:
    weights = []
    for logits, label in zip(context.teacher_logits, context.label, strict=True):
        order = sorted(range(len(logits)), key=lambda c: (-logits[c], c))
        first, second = (probabilities(logits)[c] for c in order[:2])
        rank = order.index(label) + 1 if label >= 0 else None
        if rank is None:
            weights.append(1.0)
        elif rank > 3:
            weights.append(hard)
        else:
            weights.append(near if rank in (2, 3) or first - second <= margin else easy)
    return np.array(weights)


def wsld(context: SimpleNamespace) -> Array:
    weights = []
    for z, t, y in zip(context.student_logits, context.teacher_logits, context.label, strict=True):
        ratio = np.log(probabilities(z[: len(t)])[y]) / np.log(probabilities(t)[y])
        weights.append(1 - np.exp(-ratio) if y >= 0 else 1.0)
    return np.array(weights)


SELECTIONS: dict[str, ScoreFunction] = {
    "correctness": correctness_scores,
    "el2n": el2n_scores,
    "gradient_cosine": gradient_cosine_scores,
    "influence": influence_scores,
    "random": random_scores,
    "teacher_loss": teacher_loss_scores,
    "tracin": tracin_scores,
    "trust": trust_scores,
}
