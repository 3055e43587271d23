"""How many of the disagreements of teacher and label are label errors, from what is known beside them."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.context import predicted_class


@dataclass(frozen=True)
class BaseRate:
    """The share of the disagreements in which the label is wrong and the teacher right.

    Attributes:
        low: its least value, 0 to 1.
        high: its largest; equal to ``low`` where it is known.
        source: what says so: "teacher accuracy" on trusted data, "gold" samples whose label was checked, or "bounds"
            from the data alone.
    """

    low: float
    high: float
    source: Literal["teacher accuracy", "gold", "bounds"]


def base_rate_of_accuracy(disagreement: float, classes: int, teacher_accuracy: float) -> float:
    """The share of label errors among the disagreements, from how often the teacher is right on trusted data.

    With teacher errors e and label errors r that do not depend on each other, and two errors that name the same class
    in one of C - 1 cases, teacher and label disagree on ``e (1 - r) + r (1 - e) + e r (C - 2) / (C - 1)`` of the
    samples. This is solved for r; the share is that of ``r (1 - e)`` in the first two parts.

    Args:
        disagreement: share of the samples on which teacher and label disagree, 0 to 1.
        classes: at least 2.
        teacher_accuracy: on samples like these whose labels can be trusted, 0 to 1.
    """
    error = 1 - teacher_accuracy
    slope = 1 - 2 * error + error * (classes - 2) / (classes - 1)
    label_error = min(max((disagreement - error) / slope, 0.0), 1.0) if slope > 0 else 0.0
    by_label, by_teacher = label_error * (1 - error), error * (1 - label_error)
    return by_label / (by_label + by_teacher) if by_label + by_teacher else 0.0


def label_noise_floor(
    teacher: Float[Tensor, "n classes"], opinion: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]
) -> float:
    """A lower bound of the share of wrong labels: how often they contradict both teacher and second opinion, if sure.

    Errors that do not depend on the sample reach easy samples as often as others. Among the half, the third and the
    fifth of the samples on which the two agree most surely, the least share of other labels counts, less 1.5 of its
    standard errors.
    """
    answer, confidence = predicted_class(teacher), teacher.amax(dim=1)
    agreed = answer == predicted_class(opinion)
    ease = torch.minimum(_rank(confidence), _rank(opinion.gather(1, answer[:, None])[:, 0]))
    floor = 1.0
    for share in (1 / 2, 1 / 3, 1 / 5):
        easy = agreed & (ease > ease.quantile(1 - share))
        count, contradicted = int(easy.sum()), int((labels != answer)[easy].sum())
        if count:
            floor = min(floor, max(0.0, contradicted - 1.5 * math.sqrt(max(contradicted, 1))) / count)
    return floor if floor < 1 else 0.0


def _rank(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return values.argsort(stable=True).argsort(stable=True).double() / len(values)
