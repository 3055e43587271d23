"""Detection of a teacher whose classes are in another order than the labels, by the best permutation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

CLEAR_SHARE = 0.5
"""A class has clearly moved when more than this share of its images is answered by one other output, and more than this
share of that output's answers (every class counted as equally frequent) is for its images ..."""

CLEAR_IMAGES = 5
"""... of which there are at least so many ..."""

LEFT_BEHIND = 0.25
"""... and no more than this share of them is answered by the class's own output."""

LEAST_GAIN = 0.1
"""Where no class has clearly moved, as of a weak teacher: the order is another one when the best would gain this much,
at least double the accuracy and reach :func:`convincing`."""

LEAST_IMAGES = 20
"""That takes so many images a class: the best of all permutations suits few images well by chance."""


@dataclass(frozen=True)
class LabelOrder:
    """The order of a teacher's classes.

    Attributes:
        accuracy: share of the images whose label it answers, with its classes as they are.
        best_accuracy: the same with its classes in the best order.
        order: by class, the output that answers for it in the best order.
        moved: (class, output) of the classes that have clearly moved; or, where the whole order is another one and none
            of them is clear, of all whose output is another.
        is_another: whether its classes stand in another order than the labels.
    """

    accuracy: float
    best_accuracy: float
    order: tuple[int, ...]
    moved: tuple[tuple[int, int], ...]
    is_another: bool


def convincing(classes: int) -> float:
    """The accuracy that no order of the classes gives an untrained network: 0.5 of up to 20 classes, less of
    more (10 times chance), but at least 0.2."""
    return min(0.5, max(0.2, 10 / classes))


def label_order(confusion: Int[Tensor, "labels outputs"]) -> LabelOrder:
    """The best order of a teacher's classes, and whether it is another than that of the labels.

    The best order maximizes the images answered rightly, an assignment problem (``scipy.optimize.
    linear_sum_assignment``). It is never worse than the order as it is, and by chance a little better: what counts as
    another order is our own rule, by the constants of this module.

    Args:
        confusion: how many images of each label (row) each output answers (column), as many of either; not all zero.
    """
    counts = confusion.cpu().numpy()
    order, total = _best(counts), int(counts.sum())
    accuracy = int(counts.trace()) / total
    best = int(counts[np.arange(len(counts)), order].sum()) / total
    clear = _clearly_moved(counts, order)
    elsewhere = [(label, int(output)) for label, output in enumerate(order) if output != label]
    as_a_whole = _gains(accuracy, best, classes=len(counts), images=total)
    moved = clear or (elsewhere if as_a_whole else [])
    return LabelOrder(accuracy, best, tuple(int(output) for output in order), tuple(moved), bool(moved))


def _best(counts: Int[ndarray, "labels outputs"]) -> Int[ndarray, " labels"]:
    if (counts.diagonal() == counts.max(axis=1)).all():  # nothing could be better: scipy need not be loaded
        return np.arange(len(counts))
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(counts, maximize=True)[1])


def _clearly_moved(counts: Int[ndarray, "labels outputs"], order: Int[ndarray, " labels"]) -> list[tuple[int, int]]:
    recall = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    precision = recall / np.maximum(np.finfo(float).tiny, recall.sum(axis=0, keepdims=True))

    def is_clear(label: int, output: int) -> bool:
        shares = min(recall[label, output], precision[label, output])
        images, own = counts[label, output], counts[label, label]
        return bool(shares > CLEAR_SHARE and images >= CLEAR_IMAGES and own <= LEFT_BEHIND * images)

    pairs = [(label, int(output)) for label, output in enumerate(order)]
    return [(label, output) for label, output in pairs if output != label and is_clear(label, output)]


def _gains(accuracy: float, best: float, *, classes: int, images: int) -> bool:
    enough = images >= LEAST_IMAGES * classes
    return enough and best >= max(convincing(classes), 2 * accuracy, accuracy + LEAST_GAIN)
