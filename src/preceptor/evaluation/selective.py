"""How well a classifier knows when it is wrong: risk against coverage, and the scores that rank the samples.

A confidence is any number a sample, higher when surer; only its order counts. ``wrong`` says whether the prediction
among the real classes misses the label; the unlabelled are the caller's to leave out.

Ties: every curve is the average over all orders of the samples that share a confidence, so that inside such a group
the expected errors grow linearly. It is exact and does not depend on the order of the samples. What is kept at a lower
coverage is thus part of what is kept at a higher one.

Errors are counted as integers and averaged in float64. Everything costs one sort.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal, overload

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from preceptor.errors import InputError

COVERAGES = (100, 95, 90, 85, 80, 70)
"""In percent; where `SelectiveMetrics` reports the error."""

Optimum = Literal["finite", "asymptotic"]


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
class SelectiveMetrics:
    """What a classifier does when it may decline the samples it is least sure of.

    Args:
        score: name of the confidence the samples were ranked by.
        error_at_coverage: share of errors among the samples kept, by coverage in percent ("100", "95", "90",
            "85", "80", "70"), as text, so that JSON keeps it.
        aurc: area under the risk-coverage curve.
        excess_aurc: by how much that exceeds the area of a perfect ranking with as many errors (finite form).
    """

    score: str
    error_at_coverage: dict[str, float]
    aurc: float
    excess_aurc: float


def softmax_response(class_logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """The largest softmax probability over the real classes; an abstaining head's extra output is not among them.

    In float64: in float32 every probability above 1 - 6e-8 would be 1 and the surest samples would tie.
    Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017, arXiv:1705.08500.
    """
    return class_logits.double().softmax(dim=1).amax(dim=1)


def reservation_confidence(logits: Float[Tensor, "batch outputs"]) -> Float[Tensor, " batch"]:
    """Minus the probability of the extra output, the last of classes + 1: ``-q_{m+1}``, in [-1, 0]. float64.

    Liu et al., "Deep Gamblers: Learning to Abstain with Portfolio Theory", 2019, arXiv:1907.00208.
    """
    return -logits.double().softmax(dim=1)[:, -1]


def risk_coverage(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> RiskCoverage:
    """The risk-coverage curve: ``risk_k = (errors among the k surest) / k`` at ``coverage_k = k / n``.

    Tied samples are averaged over all their orders, see the top of this module.

    Raises:
        InputError: no sample, shapes that differ or are not one-dimensional, `wrong` not boolean, or a confidence
            that is NaN; its position is named, counted from 0.
    """
    errors = _expected_errors(confidence, wrong)
    kept = _ranks(errors)
    return RiskCoverage(coverage=kept / len(errors), risk=errors / kept)


def aurc(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> float:
    """Area under the risk-coverage curve, ``(1/n) sum_k risk_k``; lower is better. Ties are averaged over orders.

    Public code differs. That of Geifman et al. divides by one too many at all points but the first; fd-shifts takes
    the trapezoid rule over distinct confidences, starts it at coverage 0 and shows it times 1000.
    Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation", 2019, arXiv:1805.08206.

    Raises:
        InputError: as `risk_coverage`.
    """
    return _mean_risk(_expected_errors(confidence, wrong))


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
    if form == "finite":
        return _mean_risk((torch.arange(1, n + 1, dtype=torch.float64) - (n - errors)).clamp(min=0))
    if form == "asymptotic":
        rate = errors / n
        return rate + (1 - rate) * math.log1p(-rate) if errors < n else 1.0
    raise InputError(f"unknown form {form!r} of the optimal AURC: give 'finite' or 'asymptotic'")


def excess_aurc(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], form: Optimum = "finite") -> float:
    """E-AURC: `aurc` minus `optimal_aurc` of as many errors.

    The finite form is 0 for a perfect ranking and never below; the asymptotic one compares with published numbers.
    Geifman, Uziel and El-Yaniv, 2019, arXiv:1805.08206.

    Raises:
        InputError: as `risk_coverage`, or an unknown form.
    """
    return _excess(_expected_errors(confidence, wrong), form)


def augrc(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> float:
    """Area under the generalised risk-coverage curve, ``(1/n) sum_k (errors among the k surest) / n``.

    Unlike AURC it does not weigh errors among the few surest samples above the rest. Ties are averaged over orders.
    Traub et al., "Overcoming Common Flaws in the Evaluation of Selective Classification Systems", 2024,
    arXiv:2407.01032.

    Raises:
        InputError: as `risk_coverage`.
    """
    errors = _expected_errors(confidence, wrong)
    return float(errors.mean() / len(errors))


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
    errors = _expected_errors(confidence, wrong)
    if isinstance(coverage, Sequence):
        return [_error_among(errors, samples_kept(len(errors), share)) for share in coverage]
    return _error_among(errors, samples_kept(len(errors), coverage))


def selective_metrics(confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], score: str) -> SelectiveMetrics:
    """Error at the usual coverages, AURC and finite E-AURC of a ranking; ``dataclasses.asdict`` makes it JSON.

    Args:
        confidence: higher when surer.
        wrong: whether the prediction misses the label.
        score: what the confidence is called in reports.

    Raises:
        InputError: as `risk_coverage`.
    """
    errors = _expected_errors(confidence, wrong)
    kept = {percent: samples_kept(len(errors), percent / 100) for percent in COVERAGES}
    return SelectiveMetrics(
        score=score,
        error_at_coverage={str(percent): _error_among(errors, count) for percent, count in kept.items()},
        aurc=_mean_risk(errors),
        excess_aurc=_excess(errors, "finite"),
    )


def check_ranking(confidence: Tensor, wrong: Tensor) -> None:
    """Refuses what cannot be ranked.

    Raises:
        InputError: as `risk_coverage`.
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
    """Refuses numbers of errors that n samples cannot hold.

    Raises:
        InputError: n below 1, or errors not between 0 and n.
    """
    if n < 1 or not 0 <= errors <= n:
        raise InputError(f"{errors} errors among {n} samples: give at least one sample and errors between 0 and n")


def _expected_errors(confidence: Tensor, wrong: Tensor) -> Float[Tensor, " n"]:
    """Expected errors among the k surest samples, for k = 1 to n, over all orders of the tied."""
    check_ranking(confidence, wrong)
    ordered, order = confidence.sort(descending=True)
    sizes = torch.unique_consecutive(ordered, return_counts=True)[1]
    ends = sizes.cumsum(dim=0)
    total = wrong[order].cumsum(dim=0)[ends - 1]
    starts, before = ends - sizes, torch.nn.functional.pad(total[:-1], (1, 0))
    within = _ranks(ordered) - starts.repeat_interleave(sizes)
    own = within * (total - before).repeat_interleave(sizes) / sizes.repeat_interleave(sizes)
    return torch.add(before.repeat_interleave(sizes), own)


def _ranks(samples: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return torch.arange(1, len(samples) + 1, dtype=torch.float64, device=samples.device)


def _mean_risk(errors: Float[Tensor, " n"]) -> float:
    return float((errors / _ranks(errors)).mean())


def _excess(errors: Float[Tensor, " n"], form: Optimum) -> float:
    return _mean_risk(errors) - optimal_aurc(round(float(errors[-1])), len(errors), form)


def _error_among(errors: Float[Tensor, " n"], kept: int) -> float:
    return float(errors[kept - 1]) / kept
