"""Means, deviations and paired differences over seeds.

None stands for what one seed does not define (a deviation, an interval): neither zero, nor NaN, which JSON lacks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from preceptor.errors import InputError
from preceptor.metrics.checks import check_number


@dataclass(frozen=True)
class PairedDifference:
    """How much better one recipe does than another on the same seeds.

    Args:
        mean: of the per-seed differences, value minus baseline.
        low, high: ends of the confidence interval of the mean; None with one seed.
        n: number of seeds.
        confidence: probability that such an interval covers the true mean difference.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    confidence: float


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean over seeds and the sample standard deviation (n - 1); the deviation of one value is None.

    Raises:
        InputError: no value, or one that is not finite.
    """
    _check_finite("value", values)
    return fmean(values), stdev(values) if len(values) > 1 else None


def paired_difference(values: Sequence[float], baseline: Sequence[float], confidence: float = 0.95) -> PairedDifference:
    """The mean of ``values[i] - baseline[i]`` with its Student t interval, ``mean +- t_{n-1} s / sqrt(n)``.

    The two are paired: position i holds the same seed in both. It assumes differences that are about normal. The
    confidence is 0.95 by default.

    Raises:
        InputError: the numbers of seeds differ or are zero, a value is not finite, or the confidence is out of range.
    """
    from scipy.stats import t

    if len(values) != len(baseline):
        raise InputError(
            f"{len(values)} values but {len(baseline)} of the baseline: a paired difference needs both for every seed"
        )
    check_number("confidence", confidence, above=0, below=1, example=0.95)
    _check_finite("value", values)
    _check_finite("baseline value", baseline)
    mean, deviation = mean_and_deviation([a - b for a, b in zip(values, baseline, strict=True)])
    if deviation is None:
        return PairedDifference(mean, None, None, 1, confidence)
    reach = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))
    return PairedDifference(mean, mean - reach, mean + reach, len(values), confidence)


def _check_finite(what: str, values: Sequence[float]) -> None:
    if len(values) == 0:
        raise InputError(f"no {what}; expected one for each seed")
    for position, value in enumerate(values):
        if not math.isfinite(value):
            raise InputError(f"{what} {position} is {value}: a run that diverged has no place in a mean over seeds")
