"""Selection with guaranteed risk: the error among answers stays below a limit, with stated probability."""

import math
from dataclasses import dataclass
from itertools import count

from jaxtyping import Bool, Float
from torch import Tensor

from preceptor.metrics.checks import check_confidence, check_number, refuse_first


@dataclass(frozen=True)
class RiskGuarantee:
    """The samples with ``confidence >= threshold`` are answered, and the risk on them is below `max_risk`.

    Attributes:
        threshold: the least confidence that is answered.
        coverage, covered: share and number of calibration samples that it answers.
        errors: among these.
        bound: upper limit of the risk; below `max_risk`.
        max_risk: what is guaranteed of the risk on new data.
        delta: probability, over calibration sets, that the guarantee is broken.
        samples: size of the calibration set.
    """

    threshold: float
    coverage: float
    covered: int
    errors: int
    bound: float
    max_risk: float
    delta: float
    samples: int


@dataclass(frozen=True)
class NoGuarantee:
    """The limit cannot be guaranteed at any threshold that was tried.

    Attributes:
        lowest_bound: the lowest upper limit of the risk among the thresholds that were tried: any larger risk can be
            guaranteed on this set.
        coverage: share of the calibration set answered there.
        max_risk, delta, samples: as `RiskGuarantee`.
    """

    lowest_bound: float
    coverage: float
    max_risk: float
    delta: float
    samples: int


def risk_upper_bound(errors: int, n: int, delta: float) -> float:
    """One-sided Clopper-Pearson limit: the error rate b at which n samples show so few errors with probability delta.

    ``sum_{j <= k} C(n, j) b^j (1 - b)^(n - j) = delta`` for k errors; 1 if all are errors, ``1 - delta^(1/n)`` if none
    is. The true rate exceeds it with probability at most delta.

    Raises:
        InputError: errors not from 0 to n, or delta not between 0 and 1.

    B* of Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017, arXiv:1705.08500.
    """
    from scipy.stats import beta

    check_number("n", n, at_least=1, whole=True, example=100)
    check_number("errors", errors, at_least=0, at_most=n, whole=True, example=0)
    _check_levels(delta)
    return 1.0 if errors == n else float(beta.isf(delta, errors + 1, n - errors))


def select_threshold(
    confidence: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], max_risk: float, delta: float = 0.05
) -> RiskGuarantee | NoGuarantee:
    """Selection with guaranteed risk (SGR): the widest coverage tried whose risk stays below a limit, or none.

    Bisection over the samples' confidences in ``K = ceil(log2 n)`` steps, at least one, each judged by
    `risk_upper_bound` at ``delta / K``; returned is the widest coverage among the steps that passed. Tied samples are
    answered together.

    The guarantee, risk at most `max_risk` with probability at least 1 - delta, needs calibration samples drawn like
    those met later and used for nothing else: neither training, nor model selection, nor choosing the score. The
    argument that K steps cost a factor of K is exact where the true risk does not fall as coverage grows; then only
    the path a perfect judge would take can break it. The search may miss a small feasible coverage where the risk is
    not monotone, as any bisection.

    Unlike the authors' code it takes K steps and not K + 1, counts errors as integers, and never returns a threshold
    whose bound is not below the limit.

    Args:
        confidence: higher when surer; finite.
        wrong: whether the prediction misses the label.
        max_risk: above 0 and at most 1.
        delta: probability that the guarantee may be broken. Default 0.05.

    Raises:
        InputError: as `Ranking.of`, an infinite confidence, or max_risk or delta out of range.

    Geifman and El-Yaniv, 2017, arXiv:1705.08500, algorithm 1.
    """
    check_calibration(confidence, wrong, max_risk, delta)
    tried = _bisect(confidence.detach(), wrong, max_risk, delta)
    passed = [judged for judged in tried if judged.bound < max_risk]
    if passed:
        return max(passed, key=lambda judged: judged.covered)
    nearest = min(tried, key=lambda judged: judged.bound)
    return NoGuarantee(nearest.bound, nearest.coverage, max_risk, delta, len(confidence))


def samples_needed(max_risk: float, delta: float = 0.05) -> int:
    """The fewest calibration samples on which `select_threshold` can guarantee the limit: when none of them is wrong.

    It first tries the surer half, rounded up; without errors that passes from ``c > ln(delta / K) / ln(1 - max_risk)``
    samples on, where K is the number of steps.

    Raises:
        InputError: as `select_threshold`.
    """
    _check_levels(delta, max_risk)
    if max_risk == 1:
        return 1

    def needed(steps: int) -> int:
        covered = math.floor(math.log(delta / steps) / math.log1p(-max_risk)) + 1
        return max(2 * covered - 1, 1 if steps == 1 else 2 ** (steps - 1) + 1)

    return next(needed(steps) for steps in count(1) if needed(steps) <= 2**steps)


def check_calibration(confidence: Tensor, wrong: Tensor, max_risk: float, delta: float) -> None:
    """Refuse samples and numbers that nothing can be guaranteed on.

    Raises:
        InputError: as `select_threshold`.
    """
    check_confidence(confidence, wrong)
    told = "its confidence is infinite; expected a finite number, as a threshold is one"
    refuse_first(confidence.isinf(), lambda first: told)
    _check_levels(delta, max_risk)


def _bisect(confidence: Tensor, wrong: Tensor, max_risk: float, delta: float) -> list[RiskGuarantee]:
    """Every threshold tried, each with its bound; a guarantee only where that is below the limit."""
    ordered, order = confidence.sort()
    errors_up_to = wrong[order].cumsum(dim=0)
    n = len(ordered)
    steps = max(1, (n - 1).bit_length())
    low, high, tried = 1, n, []
    for _ in range(steps):
        middle = (low + high + 1) // 2
        threshold = ordered[middle - 1]
        below = int((ordered < threshold).sum())  # all that tie with the threshold are covered
        covered, errors = n - below, int(errors_up_to[-1]) - (int(errors_up_to[below - 1]) if below else 0)
        bound = risk_upper_bound(errors, covered, delta / steps)
        tried.append(RiskGuarantee(float(threshold), covered / n, covered, errors, bound, max_risk, delta, n))
        low, high = (low, middle) if bound < max_risk else (middle, high)
    return tried


def _check_levels(delta: float, max_risk: float = 1) -> None:
    check_number("delta", delta, above=0, below=1, example=0.05)
    check_number("max_risk", max_risk, above=0, at_most=1, example=0.02)
