"""Conformal prediction sets: all classes that cannot be ruled out, in place of one answer or none.

Split conformal prediction: every class of every sample gets a nonconformity, higher when it fits less; the threshold
is a quantile of that of the true classes of a calibration set; a new sample's set holds the classes up to it. If
calibration samples and new ones are exchangeable, and the calibration samples were used for nothing else, the set
misses the true class with probability at most alpha, on average over calibration sets and new samples: neither for
each class nor for each kind of sample. Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005.

Three nonconformities, of the softmax over the real classes, sorted from the likeliest class, of equals the first:

- ``lac``: ``1 - p_y``: the smallest sets on average.
  Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels", 2019,
  arXiv:1609.00451.
- ``aps``: what it and the likelier classes have together, ``sum_{j up to y} p_j``: sets that grow where the classifier
  is unsure.
  Romano, Sesia and Candès, "Classification with Valid and Adaptive Coverage", 2020, arXiv:2006.02544.
- ``raps``: that, plus ``penalty * max(rank of y - free_ranks, 0)``: without the long tails.
  Angelopoulos et al., "Uncertainty Sets for Image Classifiers using Conformal Prediction", 2021, arXiv:2009.14193.

None is randomized, so that a sample always gets the same set. The likeliest class is in every set: no set is empty.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.context import UNLABELED, at_class, is_class, predicted_class
from preceptor.errors import InputError, unknown_name
from preceptor.metrics.checks import check_finite, check_inputs, check_number

Method = Literal["lac", "aps", "raps"]

MOST = 1_000_000
"""The largest penalty of a rank, where all else in a nonconformity is at most 1, and the most free ranks."""


@dataclass(frozen=True)
class SetTarget:
    """What is to be guaranteed of prediction sets, and how they are made.

    Attributes:
        method: "lac", "aps" or "raps". Default "lac".
        alpha: share of new samples whose class a set may miss, between 0 and 1. Default 0.1.
        penalty: for each rank beyond the free ones, at most 1e6; raps only. Default 0.01 (the authors' example for
            ImageNet).
        free_ranks: how many classes go unpenalised, at most 1,000,000; raps only. Default 5 (as above).
    """

    method: Method = "lac"
    alpha: float = 0.1
    penalty: float = 0.01
    free_ranks: int = 5

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            InputError: an unknown method, or a number out of range.
        """
        if self.method not in get_args(Method):
            raise unknown_name("method of prediction sets", self.method, get_args(Method))
        check_number("alpha", self.alpha, above=0, below=1, example=0.1)
        if self.method == "raps":
            check_number("penalty", self.penalty, at_least=0, at_most=MOST, example=0.01)
            check_number("free_ranks", self.free_ranks, at_least=0, at_most=MOST, whole=True, example=5)


@dataclass(frozen=True)
class SetRule:
    """Which classes go into a set; a few numbers, ready for JSON. Those of a `SetTarget`, and:

    Attributes:
        threshold: the largest nonconformity that is let in; None lets in every class, since so few calibration samples
            guarantee no less.
        samples: size of the calibration set.
    """

    method: Method
    alpha: float
    threshold: float | None
    samples: int
    penalty: float = 0.0
    free_ranks: int = 0


@dataclass(frozen=True)
class SetMetrics:
    """How good prediction sets are.

    Attributes:
        n: number of labeled samples.
        coverage: share of samples whose set holds their class; also by the size of the set, and by class, None where
            there is none.
        mean_size: mean number of classes in a set.
        sizes: number of samples by the size of their set, from 0 to the number of classes.
    """

    n: int
    coverage: float
    mean_size: float
    sizes: list[int]
    coverage_by_size: list[float | None]
    per_class_coverage: list[float | None]


def nonconformity(class_logits: Float[Tensor, "batch classes"], rule: SetRule) -> Float[Tensor, "batch classes"]:
    """How little each class fits, by the rule's method; float64. The rule's threshold is not looked at."""
    probabilities = class_logits.double().softmax(dim=1)
    if rule.method == "lac":
        return 1 - probabilities
    ordered, classes = probabilities.sort(dim=1, descending=True, stable=True)
    ranks = torch.arange(1, ordered.shape[1] + 1, dtype=torch.float64, device=ordered.device)
    penalty = rule.penalty * (ranks - min(rule.free_ranks, len(ranks))).clamp(min=0)
    return torch.empty_like(ordered).scatter_(1, classes, ordered.cumsum(dim=1) + penalty)


def calibrate_sets(
    class_logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], target: SetTarget | None = None
) -> SetRule:
    """The rule whose sets miss at most a share alpha of the classes of new samples.

    Its threshold is the ``ceil((n + 1) (1 - alpha))``-th smallest nonconformity of the n calibration labels; every
    class is let in where that exceeds n. The likeliest class, always let in, has nonconformity 0 here: the sets would
    else be larger, and miss far fewer than alpha (ours; any nonconformity keeps the guarantee).

    Args:
        class_logits: of the real classes, finite.
        labels: class numbers, all known; drawn like the samples met later and used for nothing else.
        target: what to guarantee. Default ``SetTarget()``.

    Raises:
        InputError: an unknown method; alpha, a penalty or a number of ranks out of range; no sample; labels that do not
            fit, or are no class; or a logit that is not finite, or beyond 1e30.
    """
    target = target or SetTarget()
    target.check()
    labels = check_inputs(class_logits, labels, known="all")
    check_finite(class_logits)
    numbers = (float(target.penalty), int(target.free_ranks)) if target.method == "raps" else (0.0, 0)
    rule = SetRule(target.method, target.alpha, None, len(labels), *numbers)
    own = at_class(nonconformity(class_logits, rule), labels).where(labels != predicted_class(class_logits), 0.0)
    return replace(rule, threshold=conformal_quantile(own, target.alpha))


def conformal_quantile(scores: Float[Tensor, " n"], alpha: float) -> float | None:
    """The ``ceil((n + 1) (1 - alpha))``-th smallest score; None, for infinity, where there are not that many."""
    rank = math.ceil(round((len(scores) + 1) * (1 - alpha), 9))  # rounded: 10 * (1 - 0.1) may exceed 9 by a hair
    return None if rank > len(scores) else float(scores.kthvalue(rank).values)


def prediction_sets(class_logits: Float[Tensor, "batch classes"], rule: SetRule) -> Bool[Tensor, "batch classes"]:
    """Which classes are in each sample's set: those up to the threshold, and the likeliest."""
    scores = nonconformity(class_logits, rule)
    inside = scores <= (math.inf if rule.threshold is None else rule.threshold)
    return inside | is_class(scores, predicted_class(class_logits))


def set_metrics(sets: Bool[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> SetMetrics:
    """Coverage and size of prediction sets, as a whole, by size and by class; the unlabeled, -1, are left out.

    Raises:
        InputError: sets that are no table of booleans, labels that do not fit or are no class, or no labeled sample.
    """
    if not isinstance(sets, Tensor) or sets.dtype != torch.bool or sets.dim() != 2:
        raise InputError("sets: expected a tensor of booleans, [samples, classes], as prediction_sets returns")
    labels = check_inputs(sets.byte(), labels, name="sets", known="some")
    labeled = labels != UNLABELED
    sets, labels = sets[labeled], labels[labeled]
    classes, size = sets.shape[1], sets.sum(dim=1)
    covered = sets.gather(1, labels[:, None]).squeeze(1)
    return SetMetrics(
        n=len(labels),
        coverage=float(covered.double().mean()),
        mean_size=float(size.double().mean()),
        sizes=size.bincount(minlength=classes + 1).tolist(),
        coverage_by_size=_share_by(size, covered, classes + 1),
        per_class_coverage=_share_by(labels, covered, classes),
    )


def _share_by(place: Tensor, covered: Tensor, places: int) -> list[float | None]:
    present, inside = (chosen.bincount(minlength=places) for chosen in (place, place[covered]))
    return [share / count if count else None for share, count in zip(inside.tolist(), present.tolist(), strict=True)]
