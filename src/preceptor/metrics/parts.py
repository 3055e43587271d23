"""What a classifier does on a class or a group of samples, and where its errors fall."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.metrics.bootstrap import Estimate, Interval
from preceptor.metrics.report import Confusion, PartReport
from preceptor.metrics.selective import aurc, samples_kept

PART_COVERAGES = (90, 80)
"""In percent of all samples; where a part's coverage and error are reported."""

MOST_CONFUSIONS = 20


class Members(Protocol):
    """Which samples belong to which part."""

    def sums(self, values: Float[Tensor, "draws n"]) -> Float[Tensor, "draws parts"]:
        """Over the samples of each part."""

    def samples(self) -> Iterator[Int[Tensor, " some"]]:
        """Of each part, in rising order."""


@dataclass(frozen=True)
class Classes:
    """Each sample belongs to one part, that of its class. No table of samples by classes is made.

    Args:
        labels: class numbers.
        classes: how many there are.
    """

    labels: Int[Tensor, " n"]
    classes: int

    def sums(self, values: Float[Tensor, "draws n"]) -> Float[Tensor, "draws parts"]:
        """Over the samples of each class."""
        draws = len(values)
        slot = self.labels + self.classes * torch.arange(draws, device=values.device)[:, None]
        return slot.flatten().bincount(values.flatten(), minlength=draws * self.classes).view(draws, self.classes)

    def samples(self) -> Iterator[Int[Tensor, " some"]]:
        """Of each class, in rising order."""
        by_class = self.labels.sort(stable=True).indices
        yield from by_class.split(self.labels.bincount(minlength=self.classes).tolist())


@dataclass(frozen=True)
class Groups:
    """Parts that may overlap.

    Args:
        member: whether each sample belongs to each part.
    """

    member: Bool[Tensor, "n parts"]

    def sums(self, values: Float[Tensor, "draws n"]) -> Float[Tensor, "draws parts"]:
        """Over the samples of each part."""
        return values @ self.member.double()

    def samples(self) -> Iterator[Int[Tensor, " some"]]:
        """Of each part, in rising order."""
        yield from (own.nonzero().squeeze(1) for own in self.member.T)


@dataclass(frozen=True)
class PartSection:
    """Parts of the samples.

    Args:
        names: of the parts.
        members: which samples belong to each part.
        right: whether the prediction is the label.
        confidence: the main score.
        values: what is averaged over each part, by the names of `PartReport`.
    """

    names: Sequence[str]
    members: Members
    right: Bool[Tensor, " n"]
    confidence: Float[Tensor, " n"]
    values: Mapping[str, Float[Tensor, " n"]]

    def statistics(self, counts: Int[Tensor, "draws n"]) -> Mapping[str, Tensor]:
        """The accuracy of each part; NaN where a draw holds none of it."""
        weight = counts.double()
        return {"accuracy": self.members.sums(weight * self.right) / self.members.sums(weight)}

    def report(self, found: Mapping[str, Interval]) -> list[PartReport]:
        """Writes them up, one by one."""
        estimates = found["accuracy"].estimates()
        return [self._part(*each) for each in zip(self.names, estimates, self.members.samples(), strict=True)]

    def _part(self, name: str, accuracy: Estimate, own: Int[Tensor, " some"]) -> PartReport:
        values = {key: _mean(each[own]) for key, each in self.values.items()}
        right = self.right[own]
        return PartReport(
            name=name,
            n=len(own),
            accuracy=accuracy,
            aurc=aurc(self.confidence[own], ~right) if len(own) else None,
            coverage={percent: _mean(kept[own]) for percent, kept in self._answered.items()},
            error={percent: _mean(~right[kept[own]]) for percent, kept in self._answered.items()},
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


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None
