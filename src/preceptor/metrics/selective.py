"""How well a classifier knows when it is wrong: risk against coverage.

A confidence is any number a sample, higher when surer; only its order counts. ``wrong`` says whether the prediction
among the real classes misses the label; the unlabeled are the caller's to leave out. How ties are treated is said in
:mod:`preceptor.metrics.ranking`: averaged over orders, and taken together by a threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import overload

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from preceptor.errors import InputError
from preceptor.metrics.ranking import Optimum, best_aurc, check_counts, ranked

COVERAGES = (100, 95, 90, 85, 80, 70)
"""In percent; where the error is reported."""

RISKS = (1, 2, 5)
"""In percent; where the coverage is reported."""


@dataclass(frozen=True)
class RiskCoverage:
    """The risk-coverage curve, one point for each number k of samples kept, the surest first.

    Attributes:
        coverage: ``k / n``, in (0, 1]. float64.
        risk: share of errors among the k surest. float64.
    """

    coverage: Float[Tensor, " n"]
    risk: Float[Tensor, " n"]


@dataclass(frozen=True)
class AccuracyRejection:
    """The accuracy-rejection curve: the risk-coverage curve seen from the other side.

    Attributes:
        rejection: share declined, ``1 - k / n``, from just below 1 to 0. float64.
        accuracy: share of right predictions among the rest. float64.
    """

    rejection: Float[Tensor, " n"]
    accuracy: Float[Tensor, " n"]


@dataclass(frozen=True)
class SelectiveMetrics:
    """What a classifier does when it may decline the samples it is least sure of.

    Args:
        score: name of the confidence the samples were ranked by.
        error_at_coverage: share of errors among the samples kept, by coverage in percent ("100", "95", "90",
            "85", "80", "70"), as text, so that JSON keeps it.
        aurc: area under the risk-coverage curve.
        excess_aurc: by how much that exceeds the area of a perfect ranking with as many errors (finite form).
        augrc: area under the generalized risk-coverage curve.
        auroc: of failure prediction; None where all predictions are right, or all wrong.
        coverage_at_risk: the widest coverage of a threshold, by risk in percent ("1", "2", "5"), as text.
    """

    score: str
    error_at_coverage: dict[str, float]
    aurc: float
    excess_aurc: float
    augrc: float
    auroc: float | None
    coverage_at_risk: dict[str, float]


def risk_coverage(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> RiskCoverage:
    """The risk-coverage curve: ``risk_k = (errors among the k surest) / k`` at ``coverage_k = k / n``.

    Tied samples are averaged over all their orders.

    Raises:
        InputError: no sample, shapes that differ or are not one-dimensional, `wrong` not boolean, or a confidence
            that is NaN; its position is named, counted from 0.
    """
    ranking = ranked(confidence, wrong)
    return RiskCoverage(coverage=ranking.ranks / ranking.n, risk=ranking.expected_errors[0] / ranking.ranks)


def accuracy_rejection(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> AccuracyRejection:
    """The accuracy among the k surest against the share ``1 - k / n`` that is declined.

    Nadeem, Zucker and Hanczar, "Accuracy-Rejection Curves (ARCs) for Comparing Classification Methods with a Reject
    Option", 2009. Tied samples are averaged over all their orders.

    Raises:
        InputError: as `risk_coverage`.
    """
    curve = risk_coverage(confidence, wrong)
    return AccuracyRejection(rejection=1 - curve.coverage, accuracy=1 - curve.risk)


def aurc(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> float:
    """Area under the risk-coverage curve, ``(1/n) sum_k risk_k``; lower is better. Ties are averaged over orders.

    With ``w_k`` errors among the k surest that is ``(1/n) sum_{k=1..n} w_k / k``. Public code differs, which explains
    numbers that do not meet: that of Geifman et al. (geifmany/uncertainty_ICLR) is off by one,
    ``(1/n) (sum_{k=1..n-1} w_k / (k + 1) + w_n / n)``: all points but the last divide by one sample too many, and
    the area comes out too small. That of fd-shifts takes the trapezoid rule over distinct confidences, starts it at
    coverage 0 with the first risk, and shows it times 1000.
    Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation", 2019, arXiv:1805.08206.

    Raises:
        InputError: as `risk_coverage`.
    """
    return float(ranked(confidence, wrong).aurc)


def optimal_aurc(errors: int, n: int, form: Optimum = "finite") -> float:
    """The AURC of a perfect ranking, in which every error comes last.

    Args:
        errors: among the n samples.
        n: number of samples.
        form: ``finite``, exact: ``(1/n) sum_{k > n - errors} (k - (n - errors)) / k``; or ``asymptotic``, its limit
            for many samples that the literature subtracts: ``r + (1 - r) ln(1 - r)`` with the error rate r.

    Raises:
        InputError: n below 1, errors not between 0 and n, or an unknown form.
    """
    check_counts(errors, n)
    return float(best_aurc(torch.tensor(errors, dtype=torch.float64), n, form))


def excess_aurc(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], form: Optimum = "finite") -> float:
    """E-AURC: `aurc` minus `optimal_aurc` of as many errors.

    The finite form is 0 for a perfect ranking and never below; the asymptotic one compares with published numbers.
    Geifman, Uziel and El-Yaniv, 2019, arXiv:1805.08206.

    Raises:
        InputError: as `risk_coverage`, or an unknown form.
    """
    return float(ranked(confidence, wrong).excess_aurc(form))


def augrc(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> float:
    """Area under the generalized risk-coverage curve, ``(1/n) sum_k (errors among the k surest) / n``.

    Unlike AURC it does not weigh errors among the few surest samples above the rest. Ties are averaged over orders.
    Traub et al., "Overcoming Common Flaws in the Evaluation of Selective Classification Systems", 2024,
    arXiv:2407.01032.

    Raises:
        InputError: as `risk_coverage`.
    """
    return float(ranked(confidence, wrong).augrc())


def failure_auroc(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> float | None:
    """AUROC of failure prediction: how often a right prediction is surer than a wrong one, ties counting one half.

    With w errors among n it is ``1 - (n^2 AUGRC - w (w + 1) / 2) / (w (n - w))`` (our rearrangement of the
    Mann-Whitney statistic; Traub et al., 2024, give its limit), so that it needs no second sort.
    None where all predictions are right, or all wrong.
    Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples", 2017,
    arXiv:1610.02136.

    Raises:
        InputError: as `risk_coverage`.
    """
    return _if_defined(ranked(confidence, wrong).auroc())


@overload
def coverage_at_risk(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], limit: float) -> float: ...
@overload
def coverage_at_risk(
    confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], limit: Sequence[float]
) -> list[float]: ...
def coverage_at_risk(
    confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], limit: float | Sequence[float]
) -> float | list[float]:
    """The widest coverage that some threshold gives on these samples with an error not above the limit; 0 if none.

    Tied samples are answered together, or not at all. The threshold is chosen by the very labels it is judged on, so
    that this flatters: `select_threshold` gives one that holds on new samples.

    Args:
        confidence: higher when surer.
        wrong: whether the prediction misses the label.
        limit: of the risk, 0 to 1; one, or several at the cost of one sort.

    Raises:
        InputError: as `risk_coverage`, or a limit out of range.
    """
    limits = list(limit) if isinstance(limit, Sequence) else [limit]
    for each in limits:
        if not 0 <= each <= 1:
            raise InputError(f"risk {each}: give a share from 0 to 1, for example 0.02")
    found: list[float] = ranked(confidence, wrong).coverage_at_risk(limits)[0].tolist()
    return found if isinstance(limit, Sequence) else found[0]


def samples_kept(n: int, coverage: float) -> int:
    """How many of n samples a coverage keeps: ``floor(n c + 1/2)``, halves up, the coverage read as its decimal.

    Raises:
        InputError: a coverage outside (0, 1], or so small that no sample is kept.
    """
    if not 0 < coverage <= 1:
        raise InputError(f"coverage {coverage}: give a share above 0 and at most 1, for example 0.9")
    kept = int((Decimal(str(float(coverage))) * n).to_integral_value(ROUND_HALF_UP))
    if kept == 0:
        raise InputError(f"coverage {coverage} keeps none of {n} samples: give at least {1 / n:g}")
    return kept


@overload
def error_at_coverage(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], coverage: float) -> float: ...
@overload
def error_at_coverage(
    confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], coverage: Sequence[float]
) -> list[float]: ...
def error_at_coverage(
    confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], coverage: float | Sequence[float]
) -> float | list[float]:
    """Share of errors among the ``floor(n c + 1/2)`` surest samples; the expected one where ties straddle the cut.

    Args:
        confidence: higher when surer.
        wrong: whether the prediction misses the label.
        coverage: share kept, in (0, 1]; one, or several at the cost of one sort.

    Raises:
        InputError: as `risk_coverage` and `samples_kept`.
    """
    ranking = ranked(confidence, wrong)
    shares = list(coverage) if isinstance(coverage, Sequence) else [coverage]
    found: list[float] = ranking.error_among([samples_kept(ranking.n, share) for share in shares])[0].tolist()
    return found if isinstance(coverage, Sequence) else found[0]


def selective_metrics(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], score: str) -> SelectiveMetrics:
    """All of these from one sort; ``dataclasses.asdict`` makes it JSON.

    Args:
        confidence: higher when surer.
        wrong: whether the prediction misses the label.
        score: what the confidence is called in reports.

    Raises:
        InputError: as `risk_coverage`.
    """
    ranking = ranked(confidence, wrong)
    errors = ranking.error_among([samples_kept(ranking.n, percent / 100) for percent in COVERAGES])
    coverages = ranking.coverage_at_risk([percent / 100 for percent in RISKS])
    return SelectiveMetrics(
        score=score,
        error_at_coverage=_by_percent(COVERAGES, errors),
        aurc=float(ranking.aurc),
        excess_aurc=float(ranking.excess_aurc()),
        augrc=float(ranking.augrc()),
        auroc=_if_defined(ranking.auroc()),
        coverage_at_risk=_by_percent(RISKS, coverages),
    )


def _by_percent(percents: tuple[int, ...], values: Float[Tensor, "1 percents"]) -> dict[str, float]:
    return {str(percent): value for percent, value in zip(percents, values[0].tolist(), strict=True)}


def _if_defined(value: Float[Tensor, " 1"]) -> float | None:
    return None if value.isnan() else float(value)
