"""What a classifier does on a class or a group of samples, and where its errors fall."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.evaluation.bootstrap import Estimate, Interval
from preceptor.evaluation.report import Confusion, PartReport
from preceptor.evaluation.selective import aurc, samples_kept

PART_COVERAGES = (90, 80)
"""In percent of all samples; where a part's coverage and error are reported."""

MOST_CONFUSIONS = 20


@dataclass(frozen=True)
class PartSection:
    """Parts of the samples, which may overlap.

    Args:
        names: of the parts.
        member: whether each sample belongs to each part.
        right: whether the prediction is the label.
        confidence: the main score.
        values: what is averaged over each part, by the names of `PartReport`.
    """

    names: Sequence[str]
    member: Bool[Tensor, "n parts"]
    right: Bool[Tensor, " n"]
    confidence: Float[Tensor, " n"]
    values: Mapping[str, Float[Tensor, " n"]]

    def statistics(self, counts: Int[Tensor, "draws n"]) -> Mapping[str, Tensor]:
        """The accuracy of each part; NaN where a draw holds none of it."""
        weight, member = counts.double(), self.member.double()
        return {"accuracy": (weight @ (member * self.right[:, None])) / (weight @ member)}

    def report(self, found: Mapping[str, Interval]) -> list[PartReport]:
        """Writes them up, one by one."""
        estimates = found["accuracy"].estimates()
        return [self._part(*each) for each in zip(self.names, estimates, self.member.T, strict=True)]

    def _part(self, name: str, accuracy: Estimate, own: Tensor) -> PartReport:
        values = {key: _mean(each[own]) for key, each in self.values.items()}
        return PartReport(
            name=name,
            n=int(own.sum()),
            accuracy=accuracy,
            aurc=aurc(self.confidence[own], ~self.right[own]) if own.any() else None,
            coverage={percent: _mean(kept[own]) for percent, kept in self._answered.items()},
            error={percent: _mean(~self.right[own & kept]) for percent, kept in self._answered.items()},
            **{**dict.fromkeys(("same_answer", "divergence")), **values},
        )

    @cached_property
    def _answered(self) -> dict[str, Tensor]:
        """Which samples reach the confidence that so many percent of all reach; more do where there are ties."""
        n, answered = len(self.confidence), {}
        for percent in PART_COVERAGES:
            kept = samples_kept(n, percent / 100)
            answered[str(percent)] = self.confidence >= self.confidence.kthvalue(n - kept + 1).values
        return answered


def confusions(labels: Int[Tensor, " n"], prediction: Int[Tensor, " n"], classes: int) -> list[Confusion]:
    """The most frequent errors, by label and prediction; of equally frequent ones the first classes."""
    wrong = labels != prediction
    count = (labels * classes + prediction)[wrong].bincount(minlength=classes * classes)
    present = labels.bincount(minlength=classes)
    pairs = count.sort(descending=True, stable=True).indices[:MOST_CONFUSIONS].tolist()
    return [
        Confusion(pair // classes, pair % classes, int(count[pair]), float(count[pair] / present[pair // classes]))
        for pair in pairs
        if count[pair] > 0
    ]


def class_members(labels: Int[Tensor, " n"], classes: int) -> Bool[Tensor, "n classes"]:
    """Which class each sample belongs to, by its label."""
    return labels[:, None] == torch.arange(classes, device=labels.device)


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None
