"""Where teacher and label disagree: is the teacher wrong, is the label, or can it not be told?

The method is this project's own, a positive-unlabeled learning of label errors. A *second opinion*, a classifier
cross-fitted on the given labels, is asked beside the teacher. What the two say about a wrong label can be imitated:
take a sample on which teacher and label agree, and give it another class's label. What they say about a wrong teacher
cannot, so that the disagreements are a mixture of label errors, whose evidence is known, and teacher errors, whose is
not. How much of the mixture is label errors (the *base rate*) must come from outside, from the teacher's accuracy on
trusted data; without it the data give only a lower and an upper bound, and a verdict holds only if it does at both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from preceptor.audit.base_rate import BaseRate, base_rate_of_accuracy, label_noise_floor
from preceptor.context import UNLABELED, VERDICTS, predicted_class
from preceptor.errors import InputError

Depth = Literal["sure", "likely"]
DEPTHS: dict[Depth, float] = {"sure": 0.9, "likely": 2 / 3}
"""The least probability of a verdict at each depth."""

LEAST_PROBABILITY = 1e-3
"""Added to probabilities before their logarithm: below it, how sure a witness is says nothing more."""

IMITATIONS = (4_000, 20_000)
"""Least and largest number of imitated label errors; between them three a disagreement."""

SYSTEMATIC_COUNT, SYSTEMATIC_EXCESS = 10, 3.0
"""A pair of classes is systematic from so many disagreements on, and so many times the mean of all pairs."""

ROUNDS = 10
"""Of expectation and maximization."""

FEW = 10
"""With fewer disagreements there is nothing to learn from: the base rate is each one's probability."""


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Who is wrong on each sample on which teacher and label disagree.

    Attributes:
        index: positions of these samples, rising.
        label_wrong_low: the probability that the label is the wrong one, at the lower end of the base rate.
        label_wrong_high: at the upper end.
        base_rate: the share of label errors among them.
        systematic: whether the two classes are exchanged more often than other pairs.
    """

    index: Int[Tensor, " d"]
    label_wrong_low: Float[Tensor, " d"]
    label_wrong_high: Float[Tensor, " d"]
    base_rate: BaseRate
    systematic: Bool[Tensor, " d"]

    @property
    def label_wrong(self) -> Float[Tensor, " d"]:
        """The middle of the two probabilities."""
        return (self.label_wrong_low + self.label_wrong_high) / 2

    def at(self, depth: Depth = "likely") -> Int[Tensor, " d"]:
        """Verdicts as numbers in ``context.VERDICTS``: ambiguous where no side is as probable as the depth asks."""
        least = DEPTHS[depth]
        verdict = torch.full_like(self.index, VERDICTS.index("ambiguous"))
        verdict[self.label_wrong_high <= 1 - least] = VERDICTS.index("wrong_teacher")
        verdict[self.label_wrong_low >= least] = VERDICTS.index("wrong_label")
        return verdict


def judge(
    teacher: Float[Tensor, "n classes"],
    opinions: Sequence[Float[Tensor, "n classes"]],
    labels: Int[Tensor, " n"],
    *,
    teacher_accuracy: float | tuple[float, float] | None = None,
    seed: int = 0,
) -> Verdicts:
    """Judge every disagreement of teacher and label.

    Args:
        teacher: its probabilities. Not of samples whose labels it learned from, or it repeats their errors.
        opinions: probabilities of classifiers that were fitted on other samples' given labels (cross-fitted), at least
            one; the first decides where the easy samples lie.
        labels: given class numbers; -1 marks an unlabeled sample, on which nobody disagrees.
        teacher_accuracy: on trusted data of this kind, 0 to 1, or the two ends of an interval; None: not known.
        seed: of the imitated label errors.

    Raises:
        InputError: tables of other shapes, values that are no probabilities, no second opinion, or an accuracy outside
            0 to 1.
    """
    _check(teacher, opinions, labels, teacher_accuracy)
    labeled = (labels != UNLABELED).nonzero().squeeze(1)
    own, known = teacher[labeled].double(), labels[labeled]
    witnesses = [own, *(opinion[labeled].double() for opinion in opinions)]
    answer = predicted_class(own)
    disagreed = (answer != known).nonzero().squeeze(1)
    share = len(disagreed) / max(len(known), 1)
    evidence = _Evidence(witnesses, answer, known, disagreed, seed) if len(disagreed) >= FEW else None
    rate = _base_rate(teacher_accuracy, share, own, witnesses[1], known, evidence)
    if evidence is None:
        low_high = [torch.full((len(disagreed),), end, dtype=torch.float64) for end in (rate.low, rate.high)]
        systematic = torch.zeros(len(disagreed), dtype=torch.bool)
    else:
        low_high = [torch.from_numpy(evidence.label_wrong(rate.low))]
        low_high.append(low_high[0] if rate.high == rate.low else torch.from_numpy(evidence.label_wrong(rate.high)))
        systematic = torch.from_numpy(evidence.group > 0)
    low_end, high_end = torch.minimum(*low_high), torch.maximum(*low_high)
    return Verdicts(labeled[disagreed], low_end, high_end, rate, systematic)


def _base_rate(
    teacher_accuracy: float | tuple[float, float] | None,
    disagreement: float,
    teacher: Float[Tensor, "n classes"],
    opinion: Float[Tensor, "n classes"],
    labels: Int[Tensor, " n"],
    evidence: "_Evidence | None",
) -> BaseRate:
    """From the accuracy where it is known; else bounds from the data, where there are enough disagreements."""
    if teacher_accuracy is not None:
        ends = teacher_accuracy if isinstance(teacher_accuracy, tuple) else (teacher_accuracy, teacher_accuracy)
        low, high = (base_rate_of_accuracy(disagreement, teacher.shape[1], end) for end in ends)
        return BaseRate(low, high, "teacher accuracy" if low == high else "gold")
    if evidence is None:
        return BaseRate(0.0, 1.0, "bounds")
    high = evidence.largest_base_rate()
    floor = label_noise_floor(teacher, opinion, labels)
    # Label errors are this share of all samples; those on which the teacher is right disagree with it.
    return BaseRate(min(high, floor * (1 - disagreement + floor) / disagreement), high, "bounds")


class _Evidence:
    """What the witnesses say about the disagreements and about imitated label errors, and what may be concluded."""

    def __init__(
        self,
        witnesses: Sequence[Float[Tensor, "n classes"]],
        answer: Int[Tensor, " n"],
        labels: Int[Tensor, " n"],
        disagreed: Int[Tensor, " d"],
        seed: int,
    ) -> None:
        classes = witnesses[0].shape[1]
        random = np.random.default_rng(seed)
        group = _systematic_pairs(answer[disagreed].numpy(), labels[disagreed].numpy(), classes)
        count = min(max(IMITATIONS[0], 3 * len(disagreed)), IMITATIONS[1])
        copied = random.choice(len(disagreed), count)
        pairs_answer, pairs_label = answer[disagreed].numpy()[copied], labels[disagreed].numpy()[copied]
        agreed = [((answer == labels) & (answer == number)).nonzero().squeeze(1).numpy() for number in range(classes)]
        # Most labels of a class are right: its label errors are no more than the samples on which both name it.
        self._most = np.ones(group.max() + 1)
        for number in range(1, len(self._most)):
            ours = group == number
            self._most[number] = min(1.0, len(agreed[answer[disagreed].numpy()[ours][0]]) / ours.sum())
        possible = np.array([len(agreed[number]) > 0 for number in pairs_answer], dtype=bool)
        pairs_answer, pairs_label, copied = pairs_answer[possible], pairs_label[possible], copied[possible]
        rows = np.array([random.choice(agreed[number]) for number in pairs_answer], dtype=np.int64)

        imitated = _log_odds(witnesses, torch.from_numpy(rows), torch.from_numpy(pairs_label))
        real = _log_odds(witnesses, disagreed, labels[disagreed])
        both = np.concatenate([imitated, real])
        both = (both - both.mean(axis=0)) / (both.std(axis=0) + 1e-9)
        products = [both[:, i] * both[:, j] for i in range(both.shape[1]) for j in range(i + 1)]
        self._inputs = np.column_stack([both, *products])
        self._imitated = len(imitated)
        self._imitated_group, self.group = group[copied], group

    def largest_base_rate(self) -> float:
        """An upper bound of the share of label errors.

        If label errors are a share b of the disagreements, then in any region of the evidence the disagreements are at
        least b times as frequent as imitated label errors. Regions are the surest 30 to 100 % of the latter; the
        bound holds in each group of pairs by itself (Garg et al., 2021, arXiv:2111.00980, the best bin). Two standard
        errors are added.
        """
        score = self._fit(np.ones(len(self.group)))
        imitated, real = score[: self._imitated], score[self._imitated :]
        largest = 0.0
        for group in np.unique(self.group):
            theirs, own = imitated[self._imitated_group == group], real[self.group == group]
            bound = float(self._most[group])
            if len(theirs) >= 2 * FEW and len(own) >= FEW // 2:
                regions = np.quantile(theirs, np.linspace(0, 0.7, 36))
                among_imitated, among_real = (np.mean(values[:, None] >= regions, axis=0) for values in (theirs, own))
                error = 2 * np.sqrt(among_real * (1 - among_real) / len(own)) + 2 / len(own)
                bound = min(bound, float(((among_real + error) / among_imitated).min()))
            largest += bound * len(own)
        return largest / len(self.group)

    def label_wrong(self, base_rate: float) -> NDArray[np.float64]:
        """The probability of a label error for each disagreement, on average the base rate.

        Expectation and maximization: a logistic regression tells imitated label errors from the disagreements, each of
        these weighted by the probability that it is none; its odds and those of the group make new probabilities.
        """
        count = len(self.group)
        # A rate that so few samples cannot tell from 0 or 1 is that one; without imitations nothing can be learned.
        if not 0.5 / count < base_rate < 1 - 0.5 / count or self._imitated == 0:
            return np.full(count, base_rate)
        probability = np.full(count, base_rate)
        for _ in range(ROUNDS):
            odds = self._fit(1 - probability)[self._imitated :]
            for group in np.unique(self.group):
                inside = self.group == group
                # Two more samples at the base rate keep a group from certainty.
                share = (probability[inside].sum() + 2 * base_rate) / (inside.sum() + 2)
                share = min(share, max(self._most[group], 1e-3), 1 - 1e-3)
                odds[inside] += math.log(share / (1 - share))
            probability = _with_mean(odds, base_rate)
        return probability

    def _fit(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log odds of an imitated label error against a weighted disagreement, for both, equally many of each."""
        from sklearn.linear_model import LogisticRegression

        target = np.arange(len(self._inputs)) < self._imitated
        total = max(float(weight.sum()), 1e-6)
        weights = np.concatenate([np.full(self._imitated, total / self._imitated), weight])
        fitted = LogisticRegression(max_iter=1000).fit(self._inputs, target, sample_weight=weights)
        scores: NDArray[np.float64] = fitted.decision_function(self._inputs)
        return scores


def _with_mean(log_odds: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Probabilities of these odds, shifted so that their mean is given."""
    from scipy.optimize import brentq
    from scipy.special import expit

    reach = float(np.abs(log_odds).max()) + abs(math.log(mean / (1 - mean))) + 1
    shift = brentq(lambda shift: float(expit(log_odds + shift).mean()) - mean, -reach, reach)
    probability: NDArray[np.float64] = expit(log_odds + shift)
    return probability.clip(1e-6, 1 - 1e-6)


def _systematic_pairs(answer: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The group of each disagreement: from 1 for each pair of classes that stands out, 0 for all others."""
    count = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(count, (answer, labels), 1)
    typical = len(answer) / (classes * (classes - 1))
    stands_out = (count >= SYSTEMATIC_COUNT) & (count > SYSTEMATIC_EXCESS * typical)
    number = np.zeros((classes, classes), dtype=np.int64)
    number[stands_out] = 1 + np.arange(stands_out.sum())
    return number[answer, labels]


def _log_odds(
    witnesses: Sequence[Float[Tensor, "n classes"]], rows: Int[Tensor, " d"], labels: Int[Tensor, " d"]
) -> NDArray[np.float64]:
    """By witness, the log odds of the teacher's class against a label, for samples of these rows."""
    answer = predicted_class(witnesses[0])[rows]
    columns = []
    for witness in witnesses:
        log_probs = (witness[rows] + LEAST_PROBABILITY).log()
        columns.append(log_probs.gather(1, answer[:, None]) - log_probs.gather(1, labels[:, None]))
    odds: NDArray[np.float64] = torch.cat(columns, dim=1).numpy()
    return odds


def _check(
    teacher: Tensor,
    opinions: Sequence[Tensor],
    labels: Tensor,
    teacher_accuracy: float | tuple[float, float] | None,
) -> None:
    if not opinions:
        raise InputError("no second opinion: give probabilities of a classifier cross-fitted on the labels")
    for name, table in [("the teacher's", teacher), *(("a second opinion's", opinion) for opinion in opinions)]:
        if table.dim() != 2 or table.shape != (len(labels), teacher.shape[1]):
            raise InputError(
                f"{name} probabilities have shape {list(table.shape)}; expected [{len(labels)}, {teacher.shape[1]}], "
                "one row a label"
            )
        if not bool(((table >= 0) & (table <= 1 + 1e-3)).all()):
            raise InputError(f"{name} probabilities: a value outside 0 to 1: give probabilities, not logits")
    classes = teacher.shape[1]
    if not bool(((labels >= UNLABELED) & (labels < classes)).all()):
        raise InputError(
            f"labels go from {int(labels.min())} to {int(labels.max())}; expected 0 to {classes - 1}, or -1"
        )
    accuracies = teacher_accuracy if isinstance(teacher_accuracy, tuple) else (teacher_accuracy,)
    for accuracy in accuracies:
        if accuracy is not None and not 0 <= accuracy <= 1:
            raise InputError(f"teacher accuracy is {accuracy:g}; expected a share from 0 to 1")
