"""Confidence intervals over samples: exact ones of shares, and percentile bootstrap intervals of any metric.

A bootstrap draw is a tensor of sample indices. All metrics of a report are computed on the same draws, by the very
functions that give their values, so that what they say is paired: a difference of two models varies less than either.
An interval speaks of the samples, with the network fixed: another seed of training varies on top of that.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.errors import InputError
from preceptor.metrics.checks import check_number, check_seed
from preceptor.threads import one_thread

MOST_RESAMPLES = 100_000

LEVEL = 0.95
"""Confidence of an interval, unless another is stated."""

Measure = Callable[[Int[Tensor, "draws n"]], Mapping[str, Tensor]]
"""Metrics by name from the indices of the samples that each draw is of: a number or a curve for each draw, NaN where it
is not defined."""

SAMPLES_AT_A_TIME = 2**16
"""In the draws that are measured together: of few samples a draw alone would be many small steps."""


@dataclass(frozen=True)
class Estimate:
    """A metric and its interval; None for what is not defined.

    An interval is None as well where no draw differs from the samples: these few say nothing of its width.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Interval:
    """A metric, number or curve, and its interval at every point; NaN for what is not defined."""

    value: Float[Tensor, "..."]
    low: Float[Tensor, "..."]
    high: Float[Tensor, "..."]

    def estimates(self) -> list[Estimate]:
        """One for each point, ready for JSON."""
        columns = (each.flatten().tolist() for each in (self.value, self.low, self.high))
        return [
            Estimate(*(None if number != number else number for number in row)) for row in zip(*columns, strict=True)
        ]

    def estimate(self) -> Estimate:
        """Of a metric that is one number."""
        (only,) = self.estimates()
        return only


def share_interval(successes: Float[Tensor, "*shape"], n: Int[Tensor, "*shape"], confidence: float = LEVEL) -> Interval:
    """Exact (Clopper-Pearson) intervals of shares: they hold their level for any share and any number of samples.

    60 of 60 give 94.0 % to 100 %, where every bootstrap draw would give 100 %. Successes may be fractions, where ties
    were shared out; NaN comes back where n is 0.

    Raises:
        InputError: a confidence that is not between 0 and 1.

    Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial", 1934.
    """
    from scipy.stats import beta

    check_number("confidence", confidence, above=0, below=1, example=0.95)
    k, samples = successes.double().cpu(), n.double().cpu()
    tail = (1 - confidence) / 2
    # The quantiles are not defined at 0 and n, where the limit is known.
    low = torch.as_tensor(beta.ppf(tail, k.numpy(), (samples - k + 1).numpy())).where(k > 0, 0.0)
    high = torch.as_tensor(beta.ppf(1 - tail, (k + 1).numpy(), (samples - k).numpy())).where(k < samples, 1.0)
    return Interval(k / samples, low.where(samples > 0, torch.nan), high.where(samples > 0, torch.nan))


def share_estimate(successes: int, n: int, confidence: float = LEVEL) -> Estimate:
    """`share_interval` of one share; all None of no sample."""
    return share_interval(torch.tensor(successes), torch.tensor(n), confidence).estimate()


def bootstrap_intervals(
    measure: Measure,
    n: int,
    *,
    resamples: int = 1000,
    confidence: float = LEVEL,
    seed: int = 0,
    biased: Collection[str] = (),
) -> dict[str, Interval]:
    """The value of each metric on all samples, and its percentile bootstrap interval.

    n samples are drawn with replacement; the interval holds the middle of the metric over the draws that define it,
    and its value. It is NaN where all draws agree. As many draws are in memory at a time as are of 65,536 samples
    together, at least one.

    Args:
        measure: the metrics of each draw, [draws, ...], from sample indices [draws, n].
        n: number of samples.
        resamples: draws. Default 1000 (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, for intervals).
        confidence: share of the draws inside. Default 0.95.
        seed: of the draws. Default 0.
        biased: metrics at least 0 whose draws lie too high, since a draw adds noise of its own: their draws are
            moved so that their mean is the value.

    Raises:
        InputError: a number out of range, or metrics that are not, by the same names and shapes for every draw, tensors
            of real numbers.
    """
    check_number("n", n, at_least=1, whole=True, example=100)
    check_number("resamples", resamples, at_least=1, at_most=MOST_RESAMPLES, whole=True, example=1000)
    check_number("confidence", confidence, above=0, below=1, example=0.95)
    check_seed(seed)
    whole = measure(torch.arange(n).unsqueeze(0))
    _check_like(whole, whole, 1)
    values = {name: value[0] for name, value in whole.items()}
    # Room for all is taken at once: small results kept one by one would pin the memory between them.
    drawn = {name: torch.empty(resamples, *value.shape, dtype=torch.float64) for name, value in values.items()}
    generator = torch.Generator().manual_seed(seed)
    with one_thread():  # a draw is many small steps: waking other threads for each costs ten times what they save
        for rows in torch.arange(resamples).split(max(1, SAMPLES_AT_A_TIME // n)):
            # In rising order, so that the samples are read in order, which is several times as fast.
            metrics = measure(torch.randint(n, (len(rows), n), generator=generator).sort(dim=1).values)
            _check_like(metrics, whole, len(rows))
            for name, value in metrics.items():
                drawn[name][rows] = value.double()
    return {name: _interval(value.double(), drawn[name], confidence, name in biased) for name, value in values.items()}


def _check_like(metrics: Mapping[str, Tensor], like: Mapping[str, Tensor], draws: int) -> None:
    if not isinstance(metrics, Mapping) or metrics.keys() != like.keys():
        raise InputError("a bootstrap needs a dict of metrics, with the same names for every draw")
    for name, value in metrics.items():
        shape = (draws, *getattr(like[name], "shape", ())[1:])
        if not isinstance(value, Tensor) or value.is_complex() or value.shape != shape:
            raise InputError(f"metric {name!r}: expected a tensor of real numbers, [draws, ...], of one shape a draw")


def _interval(value: Tensor, drawn: Tensor, confidence: float, biased: bool) -> Interval:
    if biased:
        drawn = (drawn + (value - drawn.nanmean(dim=0))).clamp(min=0)
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    low, high = drawn.nanquantile(tails, dim=0)
    constant = low == high
    # Without a value there is no interval, even where some draws define one.
    low, high = (torch.fmin(low, value), torch.fmax(high, value))
    unknown = constant | value.isnan()
    return Interval(value, low.where(~unknown, torch.nan), high.where(~unknown, torch.nan))
