"""Selective classification: risk against coverage, and how well a confidence tells right from wrong.

A confidence is any number a sample, higher when surer; only its order counts. ``wrong`` says whether the prediction
among the real classes misses the label; the caller leaves out the unlabeled.

Ties: every curve is the average over all orders of the samples that share a confidence (a tier), inside which the
expected errors grow linearly. It is exact and does not depend on the order of the samples. A threshold, which cannot
part tied samples, takes whole tiers. Errors are counted as integers and averaged in float64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property, lru_cache
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.errors import InputError
from preceptor.metrics.bins import bin_sums
from preceptor.metrics.checks import check_confidence, check_number

COVERAGES = (100, 95, 90, 85, 80, 70)
"""In percent; where the error is reported."""

RISKS = (1, 2, 5)
"""In percent; where the coverage is reported."""

Optimum = Literal["finite", "asymptotic"]


@dataclass(frozen=True)
class Ranking:
    """Samples in tiers of equal confidence, and every metric of that order, in float64.

    It costs one sort; draws of its samples cost none, and their metrics are those of each draw.

    Attributes:
        tier: of each sample, 0 for the surest.
        wrong: whether its prediction misses the label.
        tiers: how many there are; of a draw, some may be empty.
    """

    tier: Int[Tensor, "*draws n"]
    wrong: Bool[Tensor, "*draws n"]
    tiers: int

    @classmethod
    def of(cls, confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> "Ranking":
        """Rank samples.

        Raises:
            InputError: no sample, shapes that differ or are not one-dimensional, `wrong` not boolean, or a confidence
                that is NaN; its position is named, counted from 0.
        """
        check_confidence(confidence, wrong)
        levels, place = confidence.detach().unique(return_inverse=True)
        return cls(len(levels) - 1 - place, wrong, len(levels))

    def drawn(self, index: Int[Tensor, "*draws n"]) -> "Ranking":
        """The ranking of the samples of these indices, as a bootstrap draws them."""
        return Ranking(self.tier[index], self.wrong[index], self.tiers)

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.wrong.shape[-1]

    @cached_property
    def size(self) -> Int[Tensor, "*draws tiers"]:
        """Samples of each tier."""
        return bin_sums(self.tier, self.tiers)

    @cached_property
    def errors(self) -> Int[Tensor, "*draws tiers"]:
        """Wrong predictions in each tier."""
        return bin_sums(self.tier, self.tiers, self.wrong.double()).long()

    @cached_property
    def ranks(self) -> Float[Tensor, " n"]:
        """1 to n."""
        return torch.arange(1, self.n + 1, dtype=torch.float64, device=self.wrong.device)

    @cached_property
    def expected_errors(self) -> Float[Tensor, "*draws n"]:
        """Expected errors among the k surest samples, for k = 1 to n, over all orders of the tied."""
        place = torch.arange(self.size.numel(), device=self.wrong.device).repeat_interleave(self.size.flatten())
        starts, before = self.size.cumsum(dim=-1) - self.size, self.errors.cumsum(dim=-1) - self.errors
        start, errors_before, errors, size = (
            each.flatten()[place].view_as(self.tier) for each in (starts, before, self.errors, self.size)
        )
        # Multiplied before it is divided: whole at the end of every tier.
        return errors_before + (self.ranks - start) * errors / size

    def risk(self) -> Float[Tensor, "*draws n"]:
        """The risk-coverage curve: the share of errors among the k surest, at the coverages ``k / n``.

        The accuracy-rejection curve is ``1 - risk`` against ``1 - coverage``.
        El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", 2010.
        """
        return self.expected_errors / self.ranks

    def aurc(self) -> Float[Tensor, "*draws"]:
        """Area under the risk-coverage curve; see `aurc`."""
        return self.risk().mean(dim=-1)

    def excess_aurc(self, form: Optimum = "finite") -> Float[Tensor, "*draws"]:
        """E-AURC: by how much that exceeds the area of a perfect ranking of as many errors, `optimal_aurc`.

        The finite form is 0 for a perfect ranking and never below; the asymptotic one compares with published numbers.
        Geifman, Uziel and El-Yaniv, 2019, arXiv:1805.08206.

        Raises:
            InputError: an unknown form.
        """
        errors = self.wrong.sum(dim=-1)
        best = [optimal_aurc(number, self.n, form) for number in errors.flatten().tolist()]
        return self.aurc() - torch.tensor(best, dtype=torch.float64, device=errors.device).view_as(errors)

    def augrc(self) -> Float[Tensor, "*draws"]:
        """Area under the generalized risk-coverage curve; see `augrc`."""
        return self.expected_errors.mean(dim=-1) / self.n

    def auroc(self) -> Float[Tensor, "*draws"]:
        """AUROC of failure prediction: how often a right prediction is surer than a wrong one, ties counting one half.

        With w errors among n it is ``1 - (n^2 AUGRC - w (w + 1) / 2) / (w (n - w))`` (our rearrangement of the
        Mann-Whitney statistic; Traub et al., 2024, give its limit), so that it needs no second sort. NaN where all
        predictions are right, or all wrong.
        Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples", 2017,
        arXiv:1610.02136.
        """
        total = self.wrong.sum(dim=-1).double()
        above_right = self.expected_errors.sum(dim=-1) - total * (total + 1) / 2
        return 1 - above_right / (total * (self.n - total))

    def error_among(self, kept: Sequence[int] | Int[Tensor, " coverages"]) -> Float[Tensor, "*draws coverages"]:
        """Share of errors among so many of the surest; the expected one where ties straddle the cut."""
        counts = torch.as_tensor(kept, device=self.wrong.device)
        return self.expected_errors[..., counts - 1] / counts

    def coverage_at_risk(self, limits: Sequence[float]) -> Float[Tensor, "*draws limits"]:
        """The widest coverage that a threshold gives on these samples with a risk not above the limit; 0 if none does.

        The threshold is chosen by the very labels it is judged on, so that this flatters: `select_threshold` gives one
        that holds on new samples.
        """
        covered, errors = self.size.cumsum(dim=-1), self.errors.cumsum(dim=-1)
        risk = errors / covered  # NaN above the first sample of a draw, which no limit admits
        return torch.stack([covered.where(risk <= limit, 0).amax(dim=-1) for limit in limits], dim=-1) / self.n


@dataclass(frozen=True)
class SelectiveMetrics:
    """What a classifier does when it may abstain on the samples it is least sure of; see `Ranking`.

    Args:
        score: name of the confidence the samples were ranked by.
        error_at_coverage: by coverage in percent ("100", "95", "90", "85", "80", "70"), as text, so that JSON keeps it.
        excess_aurc: in the finite form.
        auroc: None where all predictions are right, or all wrong.
        coverage_at_risk: by risk in percent ("1", "2", "5"), as text.
    """

    score: str
    error_at_coverage: dict[str, float]
    aurc: float
    excess_aurc: float
    augrc: float
    auroc: float | None
    coverage_at_risk: dict[str, float]


def selective_metrics(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], score: str) -> SelectiveMetrics:
    """All of these from one sort; ``dataclasses.asdict`` makes it JSON.

    Raises:
        InputError: as `Ranking.of`.
    """
    ranking = Ranking.of(confidence, wrong)
    errors = ranking.error_among([samples_kept(ranking.n, percent / 100) for percent in COVERAGES])
    coverages = ranking.coverage_at_risk([percent / 100 for percent in RISKS])
    auroc = float(ranking.auroc())
    return SelectiveMetrics(
        score=score,
        error_at_coverage=dict(zip(map(str, COVERAGES), errors.tolist(), strict=True)),
        aurc=float(ranking.aurc()),
        excess_aurc=float(ranking.excess_aurc()),
        augrc=float(ranking.augrc()),
        auroc=None if math.isnan(auroc) else auroc,
        coverage_at_risk=dict(zip(map(str, RISKS), coverages.tolist(), strict=True)),
    )


def aurc(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> float:
    """Area under the risk-coverage curve, ``(1/n) sum_k risk_k``; lower is better. Ties are averaged over orders.

    With ``w_k`` errors among the k surest that is ``(1/n) sum_{k=1..n} w_k / k``. Public code differs, which explains
    numbers that do not meet: that of Geifman et al. (geifmany/uncertainty_ICLR) is off by one,
    ``(1/n) (sum_{k=1..n-1} w_k / (k + 1) + w_n / n)``: all points but the last divide by one sample too many, and
    the area comes out too small. That of fd-shifts takes the trapezoid rule over distinct confidences, starts it at
    coverage 0 with the first risk, and shows it times 1000.
    Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation", 2019, arXiv:1805.08206.

    Raises:
        InputError: as `Ranking.of`.
    """
    return float(Ranking.of(confidence, wrong).aurc())


def augrc(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> float:
    """Area under the generalized risk-coverage curve, ``(1/n) sum_k (errors among the k surest) / n``.

    Unlike AURC it does not weigh errors among the few surest samples above the rest. Ties are averaged over orders.
    Traub et al., "Overcoming Common Flaws in the Evaluation of Selective Classification Systems", 2024,
    arXiv:2407.01032.

    Raises:
        InputError: as `Ranking.of`.
    """
    return float(Ranking.of(confidence, wrong).augrc())


@lru_cache(maxsize=1024)  # draws, and all scores of one, have about the same errors
def optimal_aurc(errors: int, n: int, form: Optimum = "finite") -> float:
    """The AURC of a perfect ranking of n samples, in which every error comes last.

    ``finite`` is exact: ``(1/n) sum_{k > n - errors} (k - (n - errors)) / k``, summed as that of any ranking is, so
    that none falls below it by rounding either; ``asymptotic`` its limit for many samples that the literature
    subtracts: ``r + (1 - r) ln(1 - r)`` with the error rate r.

    Raises:
        InputError: an unknown form.
    """
    if form == "finite":
        ranks = torch.arange(1, n + 1, dtype=torch.float64)
        return float(((ranks - (n - errors)).clamp(min=0) / ranks).mean())
    if form == "asymptotic":
        rate = errors / n
        return rate + ((1 - rate) * math.log1p(-rate) if rate < 1 else 0.0)
    raise InputError(f"form of the optimal AURC is {form!r}; expected 'finite' or 'asymptotic'")


def samples_kept(n: int, coverage: float) -> int:
    """How many of n samples a coverage keeps: ``floor(n c + 1/2)``, halves up, the coverage read as its decimal.

    Raises:
        InputError: a coverage outside (0, 1], or so small that no sample is kept.
    """
    check_number("coverage", coverage, above=0, at_most=1, example=0.9)
    kept = int((Decimal(str(float(coverage))) * n).to_integral_value(ROUND_HALF_UP))
    if kept == 0:
        raise InputError(f"coverage {coverage} keeps none of {n} samples; expected at least {1 / n:g}")
    return kept
