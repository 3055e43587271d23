"""Samples in the order of their confidence, and what every metric of that order is computed from.

Ties: every curve is the average over all orders of the samples that share a confidence, so that inside such a group,
a tier, the expected errors grow linearly. It is exact and does not depend on the order of the samples. What is kept at
a lower coverage is thus part of what is kept at a higher one. A threshold, which cannot part the tied, takes whole
tiers.

Errors are counted as integers and averaged in float64. A ranking costs one sort; one of the same samples drawn anew,
as a bootstrap does, costs none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.errors import InputError

Optimum = Literal["finite", "asymptotic"]


@dataclass(frozen=True)
class Ranking:
    """Samples by tiers of equal confidence, the surest first, for any number of draws of the same size.

    Every metric comes back for each draw; :mod:`preceptor.metrics.selective` says what it is.

    Attributes:
        size: samples of each tier; the sum, n, is the same for every draw.
        errors: of these, wrong predictions.
    """

    size: Int[Tensor, "draws tiers"]
    errors: Int[Tensor, "draws tiers"]

    @cached_property
    def n(self) -> int:
        """Number of samples of a draw."""
        return int(self.size[0].sum())

    @cached_property
    def total(self) -> Float[Tensor, " draws"]:
        """Errors among all samples."""
        return self.errors.sum(dim=1).double()

    @cached_property
    def expected_errors(self) -> Float[Tensor, "draws n"]:
        """Expected errors among the k surest samples, for k = 1 to n, over all orders of the tied."""
        through = self.errors.cumsum(dim=1)
        if self.size.shape[1] == self.n and bool((self.size == 1).all()):
            return through.double()
        tier = torch.arange(self.size.numel(), device=self.size.device).repeat_interleave(self.size.flatten())
        starts, before = self.size.cumsum(dim=1) - self.size, through - self.errors
        tables = (starts, before, self.errors, self.size)
        start, errors_before, own, size = (each.flatten().index_select(0, tier) for each in tables)
        within = self.ranks.repeat(len(self.size)) - start
        return (errors_before + within * own / size).view(-1, self.n)

    @cached_property
    def ranks(self) -> Float[Tensor, " n"]:
        """1 to n."""
        return torch.arange(1, self.n + 1, dtype=torch.float64, device=self.size.device)

    @cached_property
    def aurc(self) -> Float[Tensor, " draws"]:
        """Area under the risk-coverage curve."""
        return (self.expected_errors / self.ranks).mean(dim=1)

    def excess_aurc(self, form: Optimum = "finite") -> Float[Tensor, " draws"]:
        """By how much that exceeds the area of a perfect ranking; the finite form is never below 0."""
        return self.aurc - best_aurc(self.total, self.n, form)

    def augrc(self) -> Float[Tensor, " draws"]:
        """Area under the generalized risk-coverage curve."""
        return self.expected_errors.mean(dim=1) / self.n

    def auroc(self) -> Float[Tensor, " draws"]:
        """Share of pairs of a right and a wrong prediction in which the right one is the surer; NaN without pairs."""
        above_rights = self.expected_errors.sum(dim=1) - self.total * (self.total + 1) / 2
        return 1 - above_rights / (self.total * (self.n - self.total))

    def error_among(self, kept: Sequence[int]) -> Float[Tensor, "draws coverages"]:
        """Share of errors among so many of the surest."""
        counts = torch.tensor(list(kept), device=self.size.device)
        return self.expected_errors.index_select(1, counts - 1) / counts

    def coverage_at_risk(self, limits: Sequence[float]) -> Float[Tensor, "draws limits"]:
        """Widest coverage that a threshold gives with a risk not above the limit; 0 where none does."""
        covered, wrong = self.size.cumsum(dim=1), self.errors.cumsum(dim=1)
        risk = wrong / covered
        widest = [torch.where(risk <= limit, covered, 0).amax(dim=1) for limit in limits]
        return torch.stack(widest, dim=1) / self.n


@dataclass(frozen=True)
class Order:
    """Where samples stand in the order of their confidence.

    Attributes:
        position: of the samples, the surest first.
        wrong: in that order.
        ends: of each tier, one past its last place.
    """

    position: Int[Tensor, " n"]
    wrong: Bool[Tensor, " n"]
    ends: Int[Tensor, " tiers"]

    @cached_property
    def ranking(self) -> Ranking:
        """Of the samples as they are."""
        return self.drawn(torch.ones(1, len(self.wrong), dtype=torch.int64, device=self.wrong.device))

    def drawn(self, counts: Int[Tensor, "draws n"]) -> Ranking:
        """Of the samples drawn anew.

        Args:
            counts: how often each sample was drawn, in the order they were given in; the sum of every row is n.
        """
        ordered = counts.gather(1, self.position.expand_as(counts))
        return Ranking(self._by_tier(ordered), self._by_tier(ordered * self.wrong))

    def _by_tier(self, samples: Int[Tensor, "draws n"]) -> Int[Tensor, "draws tiers"]:
        if len(self.ends) == len(self.wrong):
            return samples
        through = samples.cumsum(dim=1).index_select(1, self.ends - 1)
        return torch.diff(through, prepend=torch.zeros_like(through[:, :1]))


def in_order(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> Order:
    """Sort samples by confidence.

    Raises:
        InputError: no sample, shapes that differ or are not one-dimensional, `wrong` not boolean, or a confidence
            that is NaN; its position is named, counted from 0.
    """
    check_ranking(confidence, wrong)
    ordered, position = confidence.detach().sort(descending=True)
    last = torch.ones_like(wrong)
    torch.ne(ordered[1:], ordered[:-1], out=last[:-1])
    return Order(position, wrong[position], last.nonzero().squeeze(1) + 1)


def ranked(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> Ranking:
    """The one draw of samples as they are.

    Raises:
        InputError: as `in_order`.
    """
    return in_order(confidence, wrong).ranking


def best_aurc(errors: Float[Tensor, " draws"], n: int, form: Optimum = "finite") -> Float[Tensor, " draws"]:
    """The AURC of a perfect ranking of n samples, in which every error comes last.

    Summed as the area of a ranking is, so that a perfect one exceeds it by exactly 0 and none falls below it.

    Raises:
        InputError: an unknown form.
    """
    if form == "finite":
        ranks = torch.arange(1, n + 1, dtype=torch.float64, device=errors.device)
        risk = (ranks - (n - errors)[..., None]).clamp(min=0) / ranks
        return risk.mean(dim=-1)
    if form == "asymptotic":
        rate = errors / n
        right_log: Tensor = torch.special.xlog1py(1 - rate, -rate)
        return rate + right_log
    raise InputError(f"unknown form {form!r} of the optimal AURC: give 'finite' or 'asymptotic'")


def check_ranking(confidence: Tensor, wrong: Tensor) -> None:
    """Refuse what cannot be ranked.

    Raises:
        InputError: as `in_order`.
    """
    if confidence.shape != wrong.shape or confidence.ndim != 1:
        shapes = f"{list(confidence.shape)} and {list(wrong.shape)}"
        raise InputError(f"confidence and wrong have the shapes {shapes}: give one number a sample for each")
    if len(confidence) == 0:
        raise InputError("no sample: give at least one confidence, with whether its prediction is wrong")
    if wrong.dtype != torch.bool:
        raise InputError(f"wrong holds {wrong.dtype}: give booleans, for example prediction != label")
    unknown = confidence.isnan()
    if unknown.any():
        raise InputError(f"sample {int(unknown.nonzero()[0])}: its confidence is NaN and has no place in a ranking")


def check_counts(errors: int, n: int) -> None:
    """Refuse numbers of errors that n samples cannot hold.

    Raises:
        InputError: n below 1, or errors not between 0 and n.
    """
    if n < 1 or not 0 <= errors <= n:
        raise InputError(f"{errors} errors among {n} samples: give at least one sample and errors between 0 and n")
